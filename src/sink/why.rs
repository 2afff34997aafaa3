//! Writes what a diagnosis found: a block below the packet's line, or JSON.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::block_rows::{BlockRows, hue_of, shown};
use super::hue::paint;
use super::json::JsonSink;
use super::text::{TextSink, TextStyle};
use super::{Color, Detail, Sink};
use crate::record::{DropRecord, Likeness};
use crate::why::counter::CounterRise;
use crate::why::{CauseFinding, Grade};

/// The form of the output.
#[derive(Clone, Copy, Debug)]
pub enum BlockForm {
    /// Text.
    Text {
        /// The style of the packet's line, and the colours of all.
        style: TextStyle,
        /// The columns of the terminal; `None`: no terminal.
        width: Option<usize>,
    },
    /// A JSON object a line.
    Json,
}

/// The first drop of a kind, until its cause is found.
pub struct CauseBlock {
    first: Vec<u8>,
    form: BlockForm,
}

/// A row of the summary.
#[derive(Serialize)]
pub struct CauseRow<'a> {
    /// The number of drops.
    pub count: u64,
    /// Their cause.
    #[serde(flatten)]
    pub finding: &'a CauseFinding,
    /// The reason of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The place of the first of them.
    #[serde(rename = "location", skip_serializing_if = "Option::is_none")]
    pub place: Option<&'a str>,
}

impl CauseBlock {
    /// Begins the block of a drop.
    pub fn new(record: &DropRecord<'_>, form: BlockForm) -> io::Result<Self> {
        let mut first = Vec::new();
        // The host is looked at now: what an earlier look found stands in the file.
        let record = &DropRecord {
            notes: &[],
            likeness: Likeness::default(),
            ..*record
        };
        match form {
            BlockForm::Text { style, .. } => {
                let style = TextStyle {
                    // What -v shows stands below each packet of a capture; here, the cause does.
                    detail: Detail::Line,
                    ..style
                };
                TextSink::new(&mut first, style).write(record)?;
            }
            BlockForm::Json => {
                JsonSink::new(&mut first).write(record)?;
            }
        }
        Ok(Self { first, form })
    }

    /// Writes the block.
    pub fn write(&self, writer: &mut impl Write, finding: &CauseFinding) -> io::Result<()> {
        match self.form {
            BlockForm::Text { style, width } => {
                writer.write_all(&self.first)?;
                let color = style.color;
                BlockRows::new(writer, color, width).write_finding(finding)
            }
            BlockForm::Json => {
                let mut object: Value = serde_json::from_slice(&self.first)?;
                object["why"] = serde_json::to_value(finding)?;
                serde_json::to_writer(&mut *writer, &object)?;
                writeln!(writer)
            }
        }
    }
}

/// Returns the lines of a finding, for a screen of so many columns.
pub fn finding_lines(finding: &CauseFinding, columns: usize) -> Vec<String> {
    let mut text = Vec::new();
    // Writing into memory cannot fail.
    let _ = BlockRows::new(&mut text, Color::Never, Some(columns)).write_finding(finding);
    let text = String::from_utf8_lossy(&text);
    text.lines().map(str::to_owned).collect()
}

/// Writes the summary.
pub fn write_summary(
    writer: &mut impl Write,
    form: BlockForm,
    rows: &[CauseRow<'_>],
    counters: &[CounterRise],
) -> io::Result<()> {
    let BlockForm::Text { style, .. } = form else {
        let summary = json!({ "causes": rows, "counters": counters });
        serde_json::to_writer(&mut *writer, &summary)?;
        return writeln!(writer);
    };
    let width = rows.first().map_or(0, |row| row.count.to_string().len());
    if !rows.is_empty() {
        writeln!(writer, "in all:")?;
    }
    for row in rows {
        let grade = row.finding.grade;
        let place = match grade {
            Grade::Unknown => row.place.map(|place| format!(" ({})", shown(place))),
            _ => None,
        };
        let word = format!("{:<7}", grade.word());
        writeln!(
            writer,
            "  {:>width$} {} {}{}",
            row.count,
            paint(style.color, hue_of(grade), &word),
            shown(&row.finding.claim),
            place.unwrap_or_default()
        )?;
    }
    write_counters(writer, counters)
}

fn write_counters(writer: &mut impl Write, counters: &[CounterRise]) -> io::Result<()> {
    if counters.is_empty() {
        return Ok(());
    }
    writeln!(writer, "counted beyond the drops that were seen:")?;
    let width = counters.iter().map(|rise| rise.count.to_string().len());
    let width = width.max().unwrap_or(0);
    for rise in counters {
        let place = match (&rise.netns_name, rise.netns) {
            (Some(name), _) => format!(" in {}", shown(name)),
            (None, Some(netns)) => format!(" in netns {netns}"),
            (None, None) => String::new(),
        };
        writeln!(
            writer,
            "  {:>width$} {}{place}: {}",
            rise.count,
            shown(&rise.name),
            rise.meaning
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
