//! A line editor with the usual keys of a shell.

use std::ops::Range;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The longest line in bytes; longer ones are not typed by hand.
const MAX_LEN: usize = 4096;

/// A line that is being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineEditor {
    text: String,
    /// The byte position of the next character.
    cursor: usize,
    /// The error in the line, which is shown until a key changes the line.
    pub error: Option<LineError>,
}

/// The reason for which a line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The message, in lower case and without a full stop.
    pub message: String,
    /// The offending bytes; `None` where the whole line is wrong.
    pub span: Option<Range<usize>>,
}

/// The state of a line after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The line is still being typed.
    On,
    /// The line is complete.
    Done,
    /// The line was given up.
    Cancelled,
}

impl LineEditor {
    /// Creates an editor with a proposed text.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            cursor: text.len(),
            text,
            error: None,
        }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text before the cursor.
    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Handles a key.
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
        // The error may no longer apply to the changed text.
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

    /// Deletes the word before the cursor.
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
    fn editing_keys_work_as_in_a_shell() {
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
