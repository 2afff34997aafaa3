//! The live table of `--summary`: its state in `TableView`, its keys, and its drawing. There is no
//! I/O: `run::table` owns the terminal, the events and the clock.

mod column_text;
mod counters;
mod draw;
mod explain;
mod keys;
mod last_packets;
mod line_editor;
mod pages;
mod paint;
mod rows;
#[cfg(test)]
mod tests;

pub(crate) use column_text::Glyphs;
pub(crate) use counters::{Counters, Order, Pace, Recording};
pub(crate) use draw::draw;
pub(crate) use keys::Action;
pub use keys::KEYS;
pub(crate) use line_editor::{LineEditor, LineError};

use crate::record::{Cause, DropRecord, Escaped};
use crate::sink::TextStyle;
use crate::summary::{GroupCounts, GroupKey, Grouping};
use crate::why::CauseFinding;

/// The state of the live table.
#[derive(Clone, Debug)]
pub(crate) struct TableView {
    /// The name of what is counted: `software drops`, or a file.
    pub subject: String,
    /// The drops are counted in the kernel or by dwdump.
    pub counted_by: CountedBy,
    /// The counts.
    pub counters: Counters,
    /// A copy of the counts during a pause.
    frozen: Option<Box<Counters>>,
    /// The property that a row stands for.
    pub grouping: Grouping,
    order: Order,
    is_reversed: bool,
    /// The keys of the rows, sorted.
    keys: Vec<GroupKey>,
    /// [`GroupedCounts::changes`](crate::summary::GroupedCounts::changes) at the time of sorting.
    changes: u64,
    selected: Option<GroupKey>,
    /// The position of the selected row.
    position: usize,
    /// The position of the first row on the screen.
    top: usize,
    /// The number of rows on the screen.
    height: usize,
    page: Page,
    /// The cause of the last packet of the row that is open, as far as it is known.
    pub cause: RowCause,
    prompt: Option<Prompt>,
    /// The filter in its canonical form; empty if every drop is counted.
    pub filter: String,
    /// The capture of a row that is being written.
    pub writing: Option<Writing>,
    /// The message in the last line.
    pub status: String,
    /// The end of the file was reached.
    pub is_over: bool,
    /// The appearance of the table.
    pub look: Appearance,
}

/// The counting is done in the kernel or by dwdump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedBy {
    /// The drop monitor counts: only locations, modules and traps are known.
    Kernel,
    /// eBPF programs count: reasons and interfaces are known as well.
    Programs,
    /// dwdump counts, packet by packet.
    Packets,
}

/// A capture of one row, as the header shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Writing {
    /// The file's name, safe for a terminal.
    pub name: String,
    /// The number of packets in it so far.
    pub packets: u64,
}

/// The appearance of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appearance {
    /// The colours that the terminal shows.
    pub color: ColorSupport,
    /// The characters that the terminal can show.
    pub glyphs: Glyphs,
    /// The style of a packet's line.
    pub text: TextStyle,
}

/// The colours that a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColorSupport {
    /// Colours are shown.
    Yes,
    /// Only bold and reverse video are shown.
    No,
}

/// The cause of a row's last packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowCause {
    /// The host has not been looked at.
    Unasked,
    /// The look at the host has begun.
    Awaited,
    /// The look found this.
    Found(Box<CauseFinding>),
    /// The look failed, for this reason.
    Failed(String),
}

/// The page below the header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    /// The rows.
    Rows,
    /// One row with its packets, scrolled by so many lines.
    Row(usize),
    /// Lines about the drop monitor, scrolled by so many lines.
    Settings(Vec<String>, usize),
    /// The keys, scrolled by so many lines.
    Help(usize),
}

/// A prompt at which the user types.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prompt {
    /// Asks for a filter.
    Filter(LineEditor),
    /// Asks for the name of a file for the row's packets.
    FileName(LineEditor),
}

impl Prompt {
    fn label(&self) -> &'static str {
        match self {
            Self::Filter(_) => "filter: ",
            Self::FileName(_) => "write to: ",
        }
    }

    fn input(&self) -> &LineEditor {
        match self {
            Self::Filter(input) | Self::FileName(input) => input,
        }
    }

    fn input_mut(&mut self) -> &mut LineEditor {
        match self {
            Self::Filter(input) | Self::FileName(input) => input,
        }
    }
}

impl TableView {
    /// Returns the selected row, unless it is no longer counted.
    fn selected_row(&self) -> Option<(&GroupKey, &GroupCounts)> {
        let key = self.selected.as_ref()?;
        Some((key, self.shown().by(self.grouping).group(key)?))
    }

    /// Creates a table without any drop.
    pub fn new(subject: String, counted_by: CountedBy, pace: Pace, look: Appearance) -> Self {
        Self {
            subject,
            counted_by,
            counters: Counters::new(pace),
            frozen: None,
            grouping: Grouping::Location,
            order: Order::Rate,
            is_reversed: false,
            keys: Vec::new(),
            changes: 0,
            selected: None,
            position: 0,
            top: 0,
            height: 1,
            page: Page::Rows,
            cause: RowCause::Unasked,
            prompt: None,
            filter: String::new(),
            writing: None,
            status: String::new(),
            is_over: false,
            look,
        }
    }

    /// Returns the counts that are shown: during a pause, those of its beginning.
    fn shown(&self) -> &Counters {
        self.frozen.as_deref().unwrap_or(&self.counters)
    }

    /// Returns whether the view is paused.
    pub fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Returns the key of the selected row.
    pub fn selected(&self) -> Option<&GroupKey> {
        self.selected.as_ref()
    }

    /// Returns the last packet of the row that is open, if the host has not been looked at for it.
    pub fn unexplained_packet(&self) -> Option<DropRecord<'_>> {
        if !matches!(self.page, Page::Row(_)) || self.cause != RowCause::Unasked {
            return None;
        }
        let (key, _) = self.selected_row()?;
        let mut packets = self.shown().packets_of(self.grouping, key);
        packets
            .next()
            .filter(|packet| packet.cause != Cause::Unknown)
    }

    /// Resets the counts.
    pub fn reset(&mut self, pace: Pace) {
        self.counters = Counters::new(pace);
        self.counters.add(self.grouping);
        self.frozen = None;
        self.is_over = false;
        self.arrange();
    }

    /// Sorts the rows. The selection stays with its row, or at its position if the row is gone.
    pub fn arrange(&mut self) {
        self.keys = self.shown().keys(self.grouping, self.order);
        self.changes = self.shown().by(self.grouping).changes();
        if self.is_reversed {
            self.keys.reverse();
        }
        let position = self.selected.as_ref().and_then(|selected| {
            // The row may be gone for a while when a file is read again.
            self.keys.iter().position(|key| key == selected)
        });
        match position {
            Some(position) => self.position = position,
            None => self.select(self.position),
        }
    }

    fn select(&mut self, position: usize) {
        self.position = position.min(self.keys.len().saturating_sub(1));
        if let Some(key) = self.keys.get(self.position) {
            self.selected = Some(key.clone());
        }
    }

    /// Returns whether rows were added or replaced since they were sorted.
    fn is_stale(&self) -> bool {
        self.changes != self.shown().by(self.grouping).changes()
    }

    /// Shows the prompt again with the error of a refused filter; the earlier filter stays in force.
    pub fn refuse_filter(&mut self, text: &str, error: LineError) {
        let mut input = LineEditor::new(text);
        input.error = Some(error);
        self.prompt = Some(Prompt::Filter(input));
    }

    /// Shows the prompt again with the error of a refused file name.
    pub fn refuse_name(&mut self, name: &str, message: String) {
        let mut input = LineEditor::new(name);
        input.error = Some(LineError {
            message,
            span: None,
        });
        self.prompt = Some(Prompt::FileName(input));
    }

    /// Shows lines about the drop monitor.
    pub fn show_settings(&mut self, lines: Vec<String>) {
        let scrolled = match self.page {
            Page::Settings(_, scrolled) => scrolled,
            _ => 0,
        };
        self.page = Page::Settings(lines, scrolled);
    }

    /// Returns whether the lines about the drop monitor are shown.
    pub fn shows_settings(&self) -> bool {
        matches!(self.page, Page::Settings(..))
    }

    /// Asks for the name of a file with a proposal.
    pub fn ask_name(&mut self, proposal: String) {
        self.prompt = Some(Prompt::FileName(LineEditor::new(proposal)));
    }

    /// Returns the name of the selected row.
    fn selected_name(&self) -> String {
        self.selected
            .as_ref()
            .map(GroupKey::to_string)
            .unwrap_or_default()
    }
}

/// Returns the part of a file's name that stands for a key: letters, digits, `_`, `.` and `-`.
pub(crate) fn file_stem(key: &GroupKey) -> String {
    const LONGEST: usize = 40;

    let name = match key.symbol() {
        Some(symbol) => Escaped(symbol.function()).to_string(),
        None => key.to_string(),
    };
    let mut stem = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.') {
            stem.push(character);
        } else if !stem.is_empty() && !stem.ends_with('-') {
            stem.push('-');
        }
        if stem.len() == LONGEST {
            break;
        }
    }
    stem.trim_matches(['-', '.']).to_owned()
}
