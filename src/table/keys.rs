//! The keys of the live table, and what each of them does.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::line_editor::{LineEditor, Typed};
use super::{CountedBy, Page, Prompt, RowCause, TableView};
use crate::summary::Grouping;

/// An action that the owner of the view has to carry out for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// End the program.
    Quit,
    /// Stop until the shell continues the program (Ctrl-Z).
    Suspend,
    /// Draw everything again (Ctrl-L).
    Repaint,
    /// Count only what this filter keeps.
    Filter(String),
    /// Propose a name for a capture of the selected row.
    ProposeName,
    /// Write the packets of the selected row to this file.
    Write(String),
    /// End the capture of a row.
    StopWriting,
    /// Make the kernel send packets, which the chosen page or grouping needs.
    NeedPackets,
    /// Show the drop monitor's settings and statistics.
    ShowSettings,
    /// Reset the counts.
    Clear,
}

/// The keys and what they do, for the page that lists them and the manual.
pub const KEYS: [(&str, &str); 16] = [
    ("Up Down j k", "select a row"),
    (
        "PgUp PgDn Home End",
        "move by a screen, or to the first or last row",
    ),
    (
        "Enter Right",
        "its meaning, the cause of its last drop, its last packets",
    ),
    ("Esc Left Enter", "back"),
    ("g G Tab Shift-Tab", "next or previous grouping"),
    ("s", "sort by rate, total or name"),
    ("r", "reverse the order"),
    ("Space p", "pause or continue the view; counting goes on"),
    ("/", "type a filter; an empty one keeps every drop"),
    ("w", "write the row's packets to a file; w again ends it"),
    ("i", "settings and statistics of the drop monitor"),
    ("c", "reset the counts"),
    ("? h", "show these keys"),
    ("Ctrl-L", "draw the screen again"),
    ("Ctrl-Z", "suspend; the shell's fg continues"),
    ("q Ctrl-C", "quit"),
];

impl TableView {
    /// Handles a key. Returns the action that the view cannot carry out itself.
    pub fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if let Some(prompt) = &mut self.prompt {
            let typed = prompt.input_mut().key(key);
            return self.typed(typed);
        }
        self.status.clear();
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Some(Action::Quit),
            KeyCode::Char('z') if is_control => return Some(Action::Suspend),
            KeyCode::Char('l') if is_control => return Some(Action::Repaint),
            KeyCode::Char(_) if is_control => return None,
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char(' ' | 'p') => self.pause(),
            KeyCode::Char('g') | KeyCode::Tab => {
                return self.group_by(self.counters.next(self.grouping));
            }
            KeyCode::Char('G') | KeyCode::BackTab => {
                return self.group_by(self.counters.previous(self.grouping));
            }
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.arrange();
            }
            KeyCode::Char('/') => {
                self.prompt = Some(Prompt::Filter(LineEditor::new(self.filter.clone())));
            }
            KeyCode::Char('w') => return self.write(),
            KeyCode::Char('i') => return Some(Action::ShowSettings),
            KeyCode::Char('c') => return Some(Action::Clear),
            KeyCode::Char('?' | 'h') => self.page = Page::Help(0),
            KeyCode::Enter if matches!(self.page, Page::Row(_)) => self.page = Page::Rows,
            KeyCode::Enter | KeyCode::Right => return self.open(),
            KeyCode::Esc | KeyCode::Left => self.page = Page::Rows,
            _ => self.go(key.code),
        }
        None
    }

    fn typed(&mut self, typed: Typed) -> Option<Action> {
        if typed == Typed::On {
            return None;
        }
        let prompt = self.prompt.take()?;
        if typed == Typed::Cancelled {
            return None;
        }
        let text = prompt.input().text().to_owned();
        match prompt {
            Prompt::Filter(_) => Some(Action::Filter(text)),
            Prompt::FileName(_) if text.is_empty() => None,
            Prompt::FileName(_) => Some(Action::Write(text)),
        }
    }

    /// Pauses or continues the view. Drops are counted during a pause too.
    fn pause(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(Box::new(self.counters.clone())),
        };
        self.arrange();
    }

    fn group_by(&mut self, grouping: Grouping) -> Option<Action> {
        self.page = Page::Rows;
        self.grouping = grouping;
        self.selected = None;
        self.top = 0;
        self.position = 0;
        self.arrange();
        let is_known = match self.counted_by {
            CountedBy::Kernel => matches!(grouping, Grouping::Location | Grouping::Module),
            CountedBy::Programs => grouping.needs_no_packet(),
            CountedBy::Packets => true,
        };
        (!is_known).then_some(Action::NeedPackets)
    }

    fn sort(&mut self) {
        self.order = self.order.next();
        self.is_reversed = false;
        self.arrange();
    }

    fn write(&self) -> Option<Action> {
        if self.writing.is_some() {
            return Some(Action::StopWriting);
        }
        self.selected.is_some().then_some(Action::ProposeName)
    }

    fn open(&mut self) -> Option<Action> {
        if self.page != Page::Rows || self.selected.is_none() {
            return None;
        }
        self.page = Page::Row(0);
        self.cause = RowCause::Unasked;
        (self.counted_by != CountedBy::Packets).then_some(Action::NeedPackets)
    }

    /// Moves the selection, or scrolls a page.
    fn go(&mut self, key: KeyCode) {
        let screen = self.height.max(1);
        let move_by = |at: usize| match key {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at.saturating_add(1),
            KeyCode::PageUp => at.saturating_sub(screen),
            KeyCode::PageDown => at.saturating_add(screen),
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX / 2,
            _ => at,
        };
        match &mut self.page {
            Page::Rows => {
                let position = move_by(self.position);
                self.select(position);
            }
            // Drawing limits the position to the end of the page.
            Page::Row(scrolled) | Page::Settings(_, scrolled) | Page::Help(scrolled) => {
                *scrolled = move_by(*scrolled);
            }
        }
    }
}
