//! Writes what a diagnosis found: a block below the packet's line, or JSON.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::json::JsonSink;
use super::text::{TextSink, TextStyle};
use super::{Detail, Sink};
use crate::record::{DropRecord, Escaped};
use crate::why::counter::CounterRise;
use crate::why::{CauseFinding, Grade};

/// The column at which the grade stands.
const GRADE_AT: usize = 78;

/// The form of the output.
#[derive(Clone, Copy, Debug)]
pub enum BlockForm {
    /// Text.
    Text(TextStyle),
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
        match form {
            BlockForm::Text(style) => {
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
            BlockForm::Text(_) => {
                writer.write_all(&self.first)?;
                write_finding(writer, finding)
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

/// Text that comes from the host: names of devices, chains, processes.
fn shown(text: &str) -> impl fmt::Display + '_ {
    Escaped(text.as_bytes())
}

fn write_finding(writer: &mut impl Write, finding: &CauseFinding) -> io::Result<()> {
    let mut row = |name: &str, text: &str, right: &str| {
        let line = format!("  {name:<6} {}", shown(text));
        if right.is_empty() {
            return writeln!(writer, "{line}");
        }
        writeln!(writer, "{line:<GRADE_AT$}  {right}")
    };
    row("why", &finding.claim, finding.grade.word())?;
    for evidence in &finding.evidence {
        row(
            "seen",
            &format!("{}: {}", evidence.source, evidence.value),
            "",
        )?;
    }
    if let Some(proof) = &finding.proof {
        row("proof", proof, "")?;
    }
    for remedy in &finding.remedy {
        let text = match (&remedy.advice, &remedy.command) {
            (Some(advice), Some(command)) => format!("{advice}: {command}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => continue,
        };
        row("do", &text, remedy.effect.words())?;
    }
    Ok(())
}

/// Writes the summary.
pub fn write_summary(
    writer: &mut impl Write,
    form: BlockForm,
    rows: &[CauseRow<'_>],
    counters: &[CounterRise],
) -> io::Result<()> {
    match form {
        BlockForm::Json => {
            serde_json::to_writer(
                &mut *writer,
                &json!({ "causes": rows, "counters": counters }),
            )?;
            writeln!(writer)
        }
        BlockForm::Text(_) => {
            let width = rows.first().map_or(0, |row| row.count.to_string().len());
            if !rows.is_empty() {
                writeln!(writer, "in all:")?;
            }
            for row in rows {
                let place = match row.finding.grade {
                    Grade::Unknown => row.place.map(|place| format!(" ({})", shown(place))),
                    _ => None,
                };
                writeln!(
                    writer,
                    "  {:>width$} {:<7} {}{}",
                    row.count,
                    row.finding.grade.word(),
                    shown(&row.finding.claim),
                    place.unwrap_or_default()
                )?;
            }
            write_counters(writer, counters)
        }
    }
}

fn write_counters(writer: &mut impl Write, counters: &[CounterRise]) -> io::Result<()> {
    if counters.is_empty() {
        return Ok(());
    }
    writeln!(writer, "counted, but no packet was freed as dropped:")?;
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
