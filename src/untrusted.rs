//! Shows text from outside safely. Text from files, the kernel, debug information and devices is
//! unchecked: a terminal would obey its control characters, and a reader could be deceived by
//! invisible characters and by those that change the direction of writing.
//!
//! # Example
//!
//! ```
//! use dwdump::untrusted::Untrusted;
//!
//! let name = Untrusted::new("eth0\u{1b}[31m");
//! assert_eq!(name.to_string(), "eth0\\x1b[31m");
//! assert_eq!(name.raw(), "eth0\u{1b}[31m");
//! ```

use std::fmt;

/// A text from outside, which is printed escaped: [`Display`](fmt::Display) and [`Debug`] escape what a
/// terminal must not receive. Only [`raw`](Self::raw) returns the text itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Untrusted<T = String>(T);

impl<T: AsRef<str>> Untrusted<T> {
    /// Wraps a text.
    pub fn new(text: T) -> Self {
        Self(text)
    }

    /// Returns the unescaped text, for writing it into a file and for parsing it, never for printing.
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

/// A message for standard error, escaped once more. The texts from outside in it are escaped already;
/// this catches any that were forgotten. Line ends and backslashes stay.
pub struct EscapedMessage<T>(pub T);

impl<T: fmt::Display> fmt::Display for EscapedMessage<T> {
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

/// Returns whether a character of a message may be sent to a terminal.
pub fn is_showable(character: char) -> bool {
    is_printable(character) || character == '\\'
}

/// Bytes that are shown as printable text: whatever is not printable UTF-8, and `\`, is written `\xNN`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The fast path, for nearly every name.
        if self
            .0
            .iter()
            .all(|&byte| matches!(byte, b' '..=b'~') && byte != b'\\')
        {
            return f.write_str(std::str::from_utf8(self.0).unwrap_or_default());
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_printable(character) {
                    write!(f, "{character}")?;
                } else {
                    write_hex(f, character.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
            }
            write_hex(f, chunk.invalid())?;
        }
        Ok(())
    }
}

/// Returns whether a character can be shown as it is. Rust's `escape_debug` decides: control
/// characters, bidirectional overrides, combining marks and unassigned code points cannot.
pub(crate) fn is_printable(character: char) -> bool {
    match character {
        '\'' | '"' => true,
        // Hangul fillers are letters, but invisible.
        '\\' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => false,
        _ => character.escape_debug().len() == 1,
    }
}

/// Writes each byte as `\xNN`.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An escape sequence, a C1 control, a line separator, a bidirectional override, and more.
    const HOSTILE: &str = "a\u{1b}[31m\u{9b}0m\u{2028}\u{202e}\u{200b}\u{7f}\r\n\\b";

    #[test]
    fn escaping_leaves_no_byte_that_a_terminal_would_obey() {
        #[track_caller]
        fn check(bytes: &[u8], shown: &str) {
            assert_eq!(Escaped(bytes).to_string(), shown);
        }
        check(b"eth0", "eth0");
        check("žluťoučký".as_bytes(), "žluťoučký");
        check(b"\x1b[31m", "\\x1b[31m");
        check(b"a\\b", "a\\x5cb");
        check(b"\xff\xfe", "\\xff\\xfe");
        check("\u{202e}x".as_bytes(), "\\xe2\\x80\\xaex");
        check(b"tab\tquote'\"", "tab\\x09quote'\"");
    }

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
        assert_eq!(EscapedMessage(message).to_string(), shown);
    }
}
