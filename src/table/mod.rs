//! The live table of `--summary`: what it shows, what each key does, and how it is drawn. No I/O:
//! `run` owns the terminal, the events and the clock.

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

use crate::record::Escaped;
use crate::sink::TextStyle;
use crate::summary::{GroupCounts, GroupKey, Grouping};

/// What the table shows.
#[derive(Clone, Debug)]
pub struct TableView {
    /// What is counted: `software drops`, or a file's name.
    pub subject: String,
    /// Who counts.
    pub counted_by: CountedBy,
    /// The counts.
    pub counters: Counters,
    /// The counts of when it was paused.
    frozen: Option<Box<Counters>>,
    /// What rows are.
    pub grouping: Grouping,
    order: Order,
    is_reversed: bool,
    /// The rows, sorted.
    keys: Vec<GroupKey>,
    /// [`GroupedCounts::changes`](crate::summary::GroupedCounts::changes) when they were sorted.
    changes: u64,
    selected: Option<GroupKey>,
    /// Its position among the rows.
    position: usize,
    /// The first row on the screen.
    top: usize,
    /// Rows on the screen.
    height: usize,
    page: Page,
    prompt: Option<Prompt>,
    /// The filter, as it was understood; empty keeps all.
    pub filter: String,
    /// The capture of a row that is being written.
    pub writing: Option<Writing>,
    /// What happened last.
    pub status: String,
    /// Drops of the rows are read no more: the end of the file.
    pub is_over: bool,
    /// How it looks.
    pub look: Appearance,
}

/// Who counts drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedBy {
    /// The kernel: only places, modules and traps are known.
    Kernel,
    /// We do, packet by packet.
    Packets,
}

/// A capture of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// The file's name, safe for a terminal.
    pub name: String,
    /// Packets in it so far.
    pub packets: u64,
}

/// How the table looks.
#[derive(Clone, Copy, Debug)]
pub struct Appearance {
    /// Whether colours are used.
    pub color: ColorSupport,
    /// What the terminal can show.
    pub glyphs: Glyphs,
    /// How a packet's line looks.
    pub text: TextStyle,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorSupport {
    /// Colours are used.
    Yes,
    /// Bold and reverse video alone.
    No,
}

/// What is below the header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    /// The rows.
    Rows,
    /// One row, scrolled by so many lines.
    Row(usize),
    /// Lines about the drop monitor, scrolled.
    Settings(Vec<String>, usize),
    /// The keys, scrolled.
    Help(usize),
}

/// What is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prompt {
    /// A filter.
    Filter(LineEditor),
    /// The name of a file for the row's packets.
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

    /// Nothing counted yet.
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
            prompt: None,
            filter: String::new(),
            writing: None,
            status: String::new(),
            is_over: false,
            look,
        }
    }

    /// What is shown: the counts, or those of when it was paused.
    fn shown(&self) -> &Counters {
        self.frozen.as_deref().unwrap_or(&self.counters)
    }

    /// Whether the view stands still.
    pub fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The key of the selected row.
    pub fn selected(&self) -> Option<&GroupKey> {
        self.selected.as_ref()
    }

    /// Begins the counts anew.
    pub fn begin_anew(&mut self, pace: Pace) {
        self.counters = Counters::new(pace);
        self.frozen = None;
        self.is_over = false;
        self.arrange();
    }

    /// Sorts the rows; the selection stays with its row, or where that was.
    pub fn arrange(&mut self) {
        self.keys = self.shown().keys(self.grouping, self.order);
        self.changes = self.shown().by(self.grouping).changes();
        if self.is_reversed {
            self.keys.reverse();
        }
        let position = self.selected.as_ref().and_then(|selected| {
            // A file may give a row twice for a while: read again, it counts anew.
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

    /// Rows were added or replaced since they were sorted.
    fn is_stale(&self) -> bool {
        self.changes != self.shown().by(self.grouping).changes()
    }

    /// What a filter was refused for; the one before stays.
    pub fn refuse_filter(&mut self, text: &str, error: LineError) {
        let mut input = LineEditor::new(text);
        input.error = Some(error);
        self.prompt = Some(Prompt::Filter(input));
    }

    /// What a file name was refused for.
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

    /// Whether those lines are on the screen.
    pub fn shows_settings(&self) -> bool {
        matches!(self.page, Page::Settings(..))
    }

    /// Asks for the name of a file, and proposes one.
    pub fn ask_name(&mut self, proposal: String) {
        self.prompt = Some(Prompt::FileName(LineEditor::new(proposal)));
    }

    /// What to call the selected row.
    fn selected_name(&self) -> String {
        self.selected
            .as_ref()
            .map(GroupKey::to_string)
            .unwrap_or_default()
    }
}

/// A part of a file's name for a key: letters, digits and what is harmless in a shell.
pub fn file_stem(key: &GroupKey) -> String {
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
