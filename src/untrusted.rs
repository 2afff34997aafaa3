//! Text from outside, and how it may be shown. Files, the kernel, debug information and devices give
//! texts that nobody checked: a terminal would obey their control characters, and a reader would be
//! deceived by invisible ones and by those that turn the direction of writing.

use std::fmt;

use crate::record::{Escaped, is_printable, write_hex};

/// A text from outside. It can be compared and carried along; its [`Display`](fmt::Display) and its
/// [`Debug`] escape what no terminal must see, and there is no other way to print it. Bytes and
/// strings do not come out by themselves: [`raw`](Self::raw) asks for them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Untrusted<T = String>(T);

impl<T: AsRef<str>> Untrusted<T> {
    /// Takes a text as it came.
    pub fn new(text: T) -> Self {
        Self(text)
    }

    /// The text as it came: for files, which keep it, and for looking into it. Never for people.
    pub fn raw(&self) -> &str {
        self.0.as_ref()
    }
}

impl<T: AsRef<str>> From<T> for Untrusted<T> {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Untrusted<String> {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl<T: AsRef<str>> fmt::Display for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.raw().as_bytes()).fmt(f)
    }
}

impl<T: AsRef<str>> fmt::Debug for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A message that holds texts from outside, which should be escaped already. What is still in it and
/// must not reach a terminal is escaped now; line ends and backslashes stay. The last thing before
/// standard error.
pub struct Message<T>(pub T);

impl<T: fmt::Display> fmt::Display for Message<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            if is_showable(character) || character == '\n' {
                write!(f, "{character}")?;
            } else {
                write_hex(f, character.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Whether a terminal may have a character of a message.
pub fn is_showable(character: char) -> bool {
    is_printable(character) || character == '\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control sequence, a C1 control, a separator of lines, a turn of direction, and more.
    const HOSTILE: &str = "a\u{1b}[31m\u{9b}0m\u{2028}\u{202e}\u{200b}\u{7f}\r\n\\b";

    #[test]
    fn a_text_from_outside_is_shown_escaped() {
        let shown = "a\\x1b[31m\\xc2\\x9b0m\\xe2\\x80\\xa8\\xe2\\x80\\xae\\xe2\\x80\\x8b\\x7f\\x0d\\x0a\\x5cb";
        let text = Untrusted::new(HOSTILE);
        assert_eq!(text.to_string(), shown);
        assert_eq!(format!("{text:?}"), format!("\"{shown}\""));
        assert_eq!(text.raw(), HOSTILE);
    }

    #[test]
    fn a_message_keeps_its_lines_and_what_is_escaped() {
        let message = format!("cannot read {HOSTILE}: ž\nhint: \\x1b");
        let shown = "cannot read a\\x1b[31m\\xc2\\x9b0m\\xe2\\x80\\xa8\\xe2\\x80\\xae\\xe2\\x80\\x8b\\x7f\\x0d\n\\b: ž\nhint: \\x1b";
        assert_eq!(Message(message).to_string(), shown);
    }
}
