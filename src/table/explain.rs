//! Explains a row, below the rows and on the row's own page.

use super::column_text::{fit, width, wrap};
use super::{RowCause, TableView};
use crate::reason::{self, Explanation};
use crate::record::{DropRecord, Escaped};
use crate::sink::why::finding_lines;
use crate::sink::{Sink, TextSink};
use crate::summary::{GroupCounts, GroupKey};

/// The reason and the function that a row's drops have in common.
struct SharedNames<'a> {
    reason: Option<&'a [u8]>,
    function: Option<&'a [u8]>,
}

impl<'a> SharedNames<'a> {
    fn of(key: &'a GroupKey, row: &'a GroupCounts) -> Self {
        let last = &row.last;
        let known = |name: &'a [u8]| (!name.is_empty()).then_some(name);
        let reason = match key {
            GroupKey::Reason(name) => known(name),
            GroupKey::Trap(_) => None,
            _ => known(&last.reason).filter(|_| !last.several_reasons),
        };
        let function = match key {
            GroupKey::Location { symbol, .. } => known(symbol),
            GroupKey::Trap(_) => None,
            _ => known(&last.location).filter(|_| !last.several_locations),
        };
        let function = function.map(|symbol| {
            let end = symbol.iter().position(|byte| matches!(byte, b'+' | b' '));
            &symbol[..end.unwrap_or(symbol.len())]
        });
        Self { reason, function }
    }

    /// Returns the explanation of the reason, or of the function where the reason says nothing.
    fn explanation(&self) -> Option<Explanation> {
        let reason = self.reason.and_then(reason::explain);
        let place = self.function.and_then(reason::explain_function);
        let reason = reason.map(Explanation::Reason);
        let place = place.map(Explanation::Function);
        match self.reason {
            Some(b"NOT_SPECIFIED") | None => place.or(reason),
            Some(_) => reason.or(place),
        }
    }
}

/// Returns what the drops of a row mean, in a sentence or two.
pub fn meaning(key: &GroupKey, row: &GroupCounts) -> String {
    let names = SharedNames::of(key, row);
    if let Some(meaning) = reason::meaning(names.reason, names.function) {
        return meaning.to_owned();
    }
    match key {
        GroupKey::Trap(_) => {
            "A device dropped the packets and reported them to the kernel by this trap.".into()
        }
        GroupKey::Location { pc: Some(0), .. } => {
            "A network device's own counter of dropped packets rose.".into()
        }
        GroupKey::NotDropped => {
            "The file does not say why or where these packets were dropped.".into()
        }
        GroupKey::Unseen => "The kernel counted these drops without sending the packets.".into(),
        _ if row.last.several_reasons || row.last.several_locations => {
            "Several reasons or locations: g changes the grouping, / filters.".into()
        }
        _ => "The catalogue has no entry for this reason or location.".into(),
    }
}

/// Returns the lines above the packets on a row's page.
pub fn lines(view: &TableView, key: &GroupKey, row: &GroupCounts, columns: usize) -> Vec<String> {
    let mut text = match SharedNames::of(key, row).explanation() {
        Some(explanation) => explanation.to_string(),
        None => meaning(key, row) + "\n",
    };
    text.push('\n');
    text.push_str("Filter: ");
    text.push_str(&key.filter(view.grouping));
    // First, for an explanation can fill the screen.
    let mut lines = cause_lines(&view.cause, columns);
    lines.extend(wrap(&text, columns));
    let seen = view.shown().packets_of(view.grouping, key).count();
    lines.push(String::new());
    lines.push(match seen {
        0 => fit("None of the last packets belongs to this row.", columns),
        1 => fit("Last packet:", columns),
        _ => fit(&format!("Last {seen} packets, the newest first:"), columns),
    });
    lines
}

/// Returns what a look at the host found.
fn cause_lines(cause: &RowCause, columns: usize) -> Vec<String> {
    let heading = |text: &str| vec![fit(text, columns)];
    let mut lines = match cause {
        RowCause::Unasked => return Vec::new(),
        RowCause::Awaited => heading("Looking at this host for the cause of the last packet."),
        RowCause::Failed(text) => heading(text),
        RowCause::Found(finding) => {
            let mut lines = heading("Why the last packet was dropped:");
            let rows = finding_lines(finding, columns);
            lines.extend(rows.into_iter().flat_map(|row| {
                if width(&row) <= columns {
                    vec![row]
                } else {
                    // A command, which is to be copied whole.
                    wrap(&row, columns)
                }
            }));
            lines
        }
    };
    lines.push(String::new());
    lines
}

/// Returns a packet in one line.
pub fn packet_line(view: &TableView, record: &DropRecord<'_>) -> String {
    let mut line = Vec::new();
    // Writing into memory cannot fail.
    let _ = TextSink::new(&mut line, view.look.text).write(record);
    String::from_utf8_lossy(&line).trim_end().to_owned()
}

/// Returns the reason of a row for a column, with `+` where there are others.
pub fn reason_column(row: &GroupCounts) -> String {
    marked(&row.last.reason, row.last.several_reasons)
}

/// Returns the location of a row for a column, with `+` where there are others.
pub fn location_column(row: &GroupCounts) -> String {
    marked(&row.last.location, row.last.several_locations)
}

fn marked(name: &[u8], has_several: bool) -> String {
    let several = if has_several { " +" } else { "" };
    if name.is_empty() && !has_several {
        return String::new();
    }
    let name: &[u8] = if name.is_empty() { b"-" } else { name };
    format!("{}{several}", Escaped(name))
}
