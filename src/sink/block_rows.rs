//! Writes the rows of a diagnosis below the line of its packet.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::Color;
use super::hue::{Hue, paint};
use crate::record::Escaped;
use crate::why::{CauseFinding, Effect, Evidence, Grade, Remedy};

/// The column at which the grade stands, where the terminal is wide enough.
const GRADE_AT: usize = 78;
/// The column at which the text of a row begins.
const TEXT_AT: usize = 9;
/// The columns that the longest word on the right takes, with the space before it.
const RIGHT: usize = 2 + "after restart".len();
/// A terminal narrower than this is written to as if it had this width.
const MIN_WIDTH: usize = 40;

/// Returns text that comes from the host, as it can be shown: names of devices, chains, processes.
pub fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// Writes the rows of a block: a name, a text, and on the right a word about it.
pub struct BlockRows<'w, W> {
    writer: &'w mut W,
    color: Color,
    width: Option<usize>,
}

impl<'w, W: Write> BlockRows<'w, W> {
    /// Writes to `writer`, which is a terminal of so many columns, or none.
    pub fn new(writer: &'w mut W, color: Color, width: Option<usize>) -> Self {
        Self {
            writer,
            color,
            width,
        }
    }

    /// Writes a finding.
    pub fn write_finding(&mut self, finding: &CauseFinding) -> io::Result<()> {
        let grade = finding.grade;
        self.prose("why", &finding.claim, grade.word(), hue_of(grade))?;
        for Evidence { source, value } in &finding.evidence {
            self.prose("seen", &format!("{source}: {value}"), "", None)?;
        }
        if let Some(proof) = &finding.proof {
            self.prose("proof", proof, "", None)?;
        }
        for Remedy {
            advice,
            command,
            effect,
            ..
        } in &finding.remedy
        {
            match (advice, command) {
                (Some(advice), Some(command)) => {
                    self.prose("do", &format!("{advice}:"), "", None)?;
                    self.command("", command, *effect)?;
                }
                (Some(advice), None) => self.prose("do", advice, effect.words(), None)?,
                (None, Some(command)) => self.command("do", command, *effect)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Writes words, which a terminal's width divides into several lines.
    fn prose(&mut self, name: &str, text: &str, right: &str, hue: Option<Hue>) -> io::Result<()> {
        let text = shown(text);
        let room = match self.width {
            None => usize::MAX,
            Some(_) if !right.is_empty() => self.right_at() - TEXT_AT,
            Some(width) => width.max(MIN_WIDTH) - TEXT_AT,
        };
        let mut lines = wrapped(&text, room).into_iter();
        self.row(name, lines.next().unwrap_or_default(), None, right, hue)?;
        for line in lines {
            self.row("", line, None, "", None)?;
        }
        Ok(())
    }

    /// Writes a command, which stays in one piece: it is to be copied.
    fn command(&mut self, name: &str, command: &str, effect: Effect) -> io::Result<()> {
        let hue = Some(Hue::Cyan);
        self.row(name, &shown(command), hue, effect.words(), None)
    }

    fn row(
        &mut self,
        name: &str,
        text: &str,
        hue: Option<Hue>,
        right: &str,
        right_hue: Option<Hue>,
    ) -> io::Result<()> {
        let Self { color, width, .. } = *self;
        write!(self.writer, "  {name:<6} {}", paint(color, hue, text))?;
        if right.is_empty() {
            return writeln!(self.writer);
        }
        let (right_at, end) = (self.right_at(), TEXT_AT + text.width());
        let word = paint(color, right_hue, right);
        if end > right_at && width.is_some_and(|width| end + 2 + right.len() > width) {
            // Below the text, at its column, rather than cut in two by the terminal's edge.
            return writeln!(self.writer, "\n{:right_at$}  {word}", "");
        }
        let gap = right_at.saturating_sub(end);
        writeln!(self.writer, "{:gap$}  {word}", "")
    }

    /// Returns the column at which the words on the right end their text.
    fn right_at(&self) -> usize {
        let room = self.width.map(|width| width.max(MIN_WIDTH) - RIGHT);
        room.map_or(GRADE_AT, |room| room.min(GRADE_AT))
    }
}

/// The colour of a grade that claims something.
pub fn hue_of(grade: Grade) -> Option<Hue> {
    (grade != Grade::Unknown).then_some(Hue::Red)
}

/// Divides a text between words, into lines of at most so many columns unless a word is longer.
pub(super) fn wrapped(text: &str, room: usize) -> Vec<&str> {
    // A character of several bytes takes fewer columns.
    let fits = |text: &str| {
        text.len() <= room || text.len() <= room.saturating_mul(4) && text.width() <= room
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while !fits(rest) {
        let mut spaces = rest.match_indices(' ').map(|(at, _)| at);
        let last = spaces
            .clone()
            .take_while(|&at| rest[..at].width() <= room)
            .last();
        let Some(end) = last.or_else(|| spaces.next()) else {
            break;
        };
        lines.push(&rest[..end]);
        rest = &rest[end + 1..];
    }
    lines.push(rest);
    lines
}
