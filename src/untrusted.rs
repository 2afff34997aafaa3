//! Text from outside, and how it may be shown. Files, the kernel, debug information and devices give
//! texts that nobody checked: a terminal would obey their control characters, and a reader would be
//! deceived by invisible ones and by those that turn the direction of writing.

use std::fmt;

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

/// Whether a terminal may have a character of a message.
pub fn is_showable(character: char) -> bool {
    is_printable(character) || character == '\\'
}

/// Bytes as printable text: what is not printable UTF-8, and `\`, is written `\xNN`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nearly every name there is.
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

/// Rust's own table of what is safe to show decides: controls, bidirectional overrides, combining
/// marks and unassigned code points are not.
pub(crate) fn is_printable(character: char) -> bool {
    match character {
        '\'' | '"' => true,
        // Letters by name, but nothing shows: Hangul's fillers.
        '\\' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => false,
        _ => character.escape_debug().len() == 1,
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control sequence, a C1 control, a separator of lines, a turn of direction, and more.
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
