//! Writes one line a drop for people, like tcpdump, with further lines below it for `-v`.

use std::fmt;
use std::io::{self, Write};

use chrono::{DateTime, Local, TimeZone, Utc};

use super::block_rows::BlockRows;
use super::hue::{Hue, paint};
use super::{Ending, SharedFinder, Sink, SourceLine, Written, frame_line, source_line};
use crate::dissect;
use crate::reason;
use crate::record::{Cause, DropRecord, Fact, Timestamp, Value};
use crate::why::CauseFinding;

/// The style of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// The time zone of the time of day.
    pub zone: Zone,
    /// The digits of the time of day.
    pub precision: Precision,
    /// The lines of a drop.
    pub detail: Detail,
    /// The use of colours for reasons and locations.
    pub color: Color,
}

/// The time zone of the time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// The time zone of this machine.
    #[default]
    Local,
    /// UTC.
    Utc,
}

/// The digits of a fraction of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Six digits, as tcpdump shows.
    #[default]
    Microseconds,
    /// Nine, all that the kernel reports.
    Nanoseconds,
}

/// The lines that are shown of a drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// One line.
    #[default]
    Line,
    /// One line, and indented lines below it with address, module, interface and lengths.
    Full,
}

/// The use of colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    #[default]
    Never,
    /// Escape sequences for a terminal.
    Always,
}

/// A sink that writes lines of text.
pub struct TextSink<W: Write> {
    writer: W,
    style: TextStyle,
    details: Vec<Fact>,
    finder: Option<SharedFinder>,
}

impl<W: Write> TextSink<W> {
    /// Writes lines of this style to `writer`.
    pub fn new(writer: W, style: TextStyle) -> Self {
        Self {
            writer,
            style,
            details: facts_of_detail(),
            finder: None,
        }
    }

    /// Adds source lines.
    #[must_use]
    pub fn finding(self, finder: Option<SharedFinder>) -> Self {
        Self { finder, ..self }
    }
}

impl<W: Write> Sink for TextSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        match self.style.zone {
            Zone::Local => {
                write_clock(&mut self.writer, record.time, &Local, self.style.precision)?;
            }
            Zone::Utc => write_clock(&mut self.writer, record.time, &Utc, self.style.precision)?,
        }
        let line = Line {
            record,
            color: self.style.color,
        };
        write!(self.writer, " {line}")?;
        let source = source_line(self.finder.as_ref(), record);
        if let Some(SourceLine { line, .. }) = &source {
            write!(self.writer, " ({line})")?;
        }
        writeln!(self.writer)?;
        if self.style.detail == Detail::Full {
            write_details(
                &mut self.writer,
                record,
                &self.details,
                self.finder.as_ref(),
            )?;
            for frame in source.iter().flat_map(|source| &source.chain) {
                writeln!(self.writer, "\tsource: {frame}")?;
            }
        }
        // Of a capture with --why.
        if let Some(finding) = CauseFinding::of_comments(record.notes) {
            let color = self.style.color;
            BlockRows::new(&mut self.writer, color, None).write_finding(&finding)?;
        }
        Ok(Written::Yes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        self.flush()
    }
}

/// Writes the time of day.
fn write_clock<Z: TimeZone<Offset: fmt::Display>>(
    writer: &mut impl Write,
    time: Option<Timestamp>,
    zone: &Z,
    precision: Precision,
) -> io::Result<()> {
    let Some(time) = time else {
        return writer.write_all(match precision {
            Precision::Microseconds => b"--:--:--.------",
            Precision::Nanoseconds => b"--:--:--.---------",
        });
    };
    let format = match precision {
        Precision::Microseconds => "%H:%M:%S%.6f",
        Precision::Nanoseconds => "%H:%M:%S%.9f",
    };
    let time = DateTime::from(time).with_timezone(zone);
    write!(writer, "{}", time.format(format))
}

/// Writes a line without its time: interface, packet, reason, location.
struct Line<'r, 'a> {
    record: &'r DropRecord<'a>,
    color: Color,
}

impl Line<'_, '_> {
    fn write_standing_out(
        &self,
        f: &mut fmt::Formatter<'_>,
        hue: Hue,
        text: impl fmt::Display,
    ) -> fmt::Result {
        write!(f, " {}", paint(self.color, Some(hue), text))
    }
}

impl fmt::Display for Line<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record;
        match (record.input, record.cause) {
            (Some(input), _) => write!(f, "{input} ")?,
            // Nothing is known about drops in other captures.
            (None, Cause::Unknown) => {}
            (None, _) if record.lacks_input() => f.write_str("unknown ")?,
            (None, _) => f.write_str("local ")?,
        }
        write!(f, "{}", dissect::DissectedPacket::new(record))?;
        match record.cause {
            Cause::Software { location, reason } => {
                if let Some(reason) = reason {
                    self.write_standing_out(f, Hue::Red, reason)?;
                }
                match (location.symbol, location.pc) {
                    (Some(symbol), _) => self.write_standing_out(f, Hue::Cyan, symbol),
                    (None, Some(pc)) => {
                        self.write_standing_out(f, Hue::Cyan, format_args!("{pc:#x}"))
                    }
                    (None, None) => Ok(()),
                }
            }
            Cause::Hardware { group, trap, .. } => {
                if let Some(group) = group {
                    self.write_standing_out(f, Hue::Cyan, group)?;
                }
                match trap {
                    Some(trap) => self.write_standing_out(f, Hue::Red, trap),
                    None => Ok(()),
                }
            }
            Cause::Unknown => Ok(()),
        }
    }
}

/// Returns the facts that have a line of their own below the first, in order.
fn facts_of_detail() -> Vec<Fact> {
    let facts = Fact::ALL.iter().copied();
    let mut facts: Vec<Fact> = facts.filter(|fact| fact.about().line.is_some()).collect();
    facts.sort_by_key(|fact| fact.about().line);
    facts
}

/// Writes the lines below the first, one for each fact, spelled as in comments and JSON.
fn write_details(
    writer: &mut impl Write,
    record: &DropRecord<'_>,
    facts: &[Fact],
    finder: Option<&SharedFinder>,
) -> io::Result<()> {
    for fact in facts {
        let name = fact.about().name;
        match fact.get(record).filter(Value::is_shown) {
            Some(Value::Stack(stack)) => {
                writeln!(writer, "\t{name}:")?;
                for frame in stack.frames() {
                    match frame_line(finder, frame) {
                        Some(line) => writeln!(writer, "\t\t{frame} ({line})")?,
                        None => writeln!(writer, "\t\t{frame}")?,
                    }
                }
            }
            Some(value) => writeln!(writer, "\t{name}: {value}")?,
            None => {}
        }
    }
    if let Some(fault) = dissect::DissectedPacket::new(record).fault() {
        writeln!(writer, "\tfault: {}", dissect::InFull(fault))?;
    }
    if let Some(meaning) = reason::of_record(record) {
        writeln!(writer, "\tmeaning: {meaning}")?;
    }
    writeln!(
        writer,
        "\tlength: {}, captured: {}",
        record.original_len,
        record.data.len()
    )
}
