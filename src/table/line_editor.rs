//! A line editor with the keys of a shell.

use std::ops::Range;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The longest line: nobody types a longer one.
const MAX_LEN: usize = 4096;

/// What is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEditor {
    text: String,
    /// Where the next character goes, in bytes.
    cursor: usize,
    /// What is wrong with it, and where.
    pub error: Option<LineError>,
}

/// Why a line was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Lower case, no full stop.
    pub message: String,
    /// The offending bytes; `None` where it is all of it.
    pub span: Option<Range<usize>>,
}

/// What a key does to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// It goes on.
    On,
    /// It is complete.
    Done,
    /// It was given up.
    Cancelled,
}

impl LineEditor {
    /// Begins with a proposal.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            cursor: text.len(),
            text,
            error: None,
        }
    }

    /// What stands there.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Typed {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Typed::Done,
            KeyCode::Esc => return Typed::Cancelled,
            KeyCode::Char('c' | 'g') if is_control => return Typed::Cancelled,
            KeyCode::Char('h') if is_control => self.delete_before(),
            KeyCode::Backspace => self.delete_before(),
            KeyCode::Char('d') if is_control => self.delete_behind(),
            KeyCode::Delete => self.delete_behind(),
            KeyCode::Char('a') if is_control => self.cursor = 0,
            KeyCode::Home => self.cursor = 0,
            KeyCode::Char('e') if is_control => self.cursor = self.text.len(),
            KeyCode::End => self.cursor = self.text.len(),
            KeyCode::Left => self.cursor -= self.len_before(),
            KeyCode::Right => self.cursor += self.len_behind(),
            KeyCode::Char('u') if is_control => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            KeyCode::Char('k') if is_control => self.text.truncate(self.cursor),
            KeyCode::Char('w') if is_control => self.delete_word(),
            KeyCode::Char(character)
                if !is_control && !character.is_control() && self.text.len() < MAX_LEN =>
            {
                self.text.insert(self.cursor, character);
                self.cursor += character.len_utf8();
            }
            _ => return Typed::On,
        }
        // What it was about may have changed.
        self.error = None;
        Typed::On
    }

    fn len_before(&self) -> usize {
        let last = self.text[..self.cursor].chars().next_back();
        last.map_or(0, char::len_utf8)
    }

    fn len_behind(&self) -> usize {
        let next = self.text[self.cursor..].chars().next();
        next.map_or(0, char::len_utf8)
    }

    fn delete_before(&mut self) {
        let start = self.cursor - self.len_before();
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }

    fn delete_behind(&mut self) {
        let end = self.cursor + self.len_behind();
        self.text.drain(self.cursor..end);
    }

    /// Back to the blank before the last word.
    fn delete_word(&mut self) {
        let before = self.text[..self.cursor].trim_end();
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| {
            blank + before[blank..].chars().next().map_or(0, char::len_utf8)
        });
        self.text.drain(start..self.cursor);
        self.cursor = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn control(letter: char) -> KeyEvent {
        KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)
    }

    #[test]
    fn keys_do_what_fingers_know() {
        let mut input = LineEditor::new("tcp");
        let mut press = |keys: &[KeyEvent]| {
            for key in keys {
                assert_eq!(input.key(*key), Typed::On);
            }
            input.text().to_owned()
        };
        let plain = |code: KeyCode| KeyEvent::from(code);
        assert_eq!(press(&[plain(KeyCode::Char('é'))]), "tcpé");
        assert_eq!(press(&[plain(KeyCode::Backspace)]), "tcp");
        assert_eq!(press(&[plain(KeyCode::Home), plain(KeyCode::Delete)]), "cp");
        assert_eq!(press(&[plain(KeyCode::Right), control('k')]), "c");
        for letter in "ut port 80".chars() {
            press(&[plain(KeyCode::Char(letter))]);
        }
        assert_eq!(press(&[control('w')]), "cut port ");
        assert_eq!(press(&[control('w')]), "cut ");
        assert_eq!(press(&[plain(KeyCode::Left), control('u')]), " ");
        assert_eq!(press(&[control('e'), control('h'), control('h')]), "");
        assert_eq!(press(&[control('a'), control('d'), control('x')]), "");
        assert_eq!(input.key(plain(KeyCode::Enter)), Typed::Done);
        assert_eq!(input.key(plain(KeyCode::Esc)), Typed::Cancelled);
        assert_eq!(input.key(control('c')), Typed::Cancelled);
    }

    proptest! {
        #[test]
        fn no_keys_panic(text in "\\PC{0,10}", keys in proptest::collection::vec(0..14usize, 0..40)) {
            let codes = [
                KeyEvent::from(KeyCode::Left),
                KeyEvent::from(KeyCode::Right),
                KeyEvent::from(KeyCode::Backspace),
                KeyEvent::from(KeyCode::Delete),
                KeyEvent::from(KeyCode::Char('界')),
                KeyEvent::from(KeyCode::Char(' ')),
                KeyEvent::from(KeyCode::Char('\u{2003}')),
                KeyEvent::from(KeyCode::Char('x')),
                KeyEvent::from(KeyCode::Home),
                KeyEvent::from(KeyCode::End),
                control('u'),
                control('k'),
                control('w'),
                KeyEvent::from(KeyCode::F(1)),
            ];
            let mut input = LineEditor::new(text);
            for key in keys {
                input.key(codes[key]);
                prop_assert!(input.text().starts_with(input.before_cursor()));
            }
        }
    }
}
