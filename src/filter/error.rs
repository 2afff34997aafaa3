//! The error for an expression that cannot be parsed: what was expected, and where.

use std::fmt;
use std::ops::Range;

/// The reason why an expression is not a filter. It is displayed with the expression and carets
/// under the offending part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The expected text, without a full stop.
    message: String,
    /// The offending bytes of the expression; empty at its end.
    span: Range<usize>,
    expression: String,
}

impl FilterError {
    pub(super) fn new(message: String, span: Range<usize>, expression: &str) -> Self {
        Self {
            message,
            span,
            expression: expression.to_owned(),
        }
    }

    /// Returns what was expected: one line, lower case, no full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the offending bytes of the expression; empty if something is missing.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl FilterError {
    /// Returns the part of a long expression that is shown, around the offending part.
    fn window(&self) -> Range<usize> {
        const AROUND: usize = 100;
        self.span.start.saturating_sub(AROUND)..self.span.start.saturating_add(AROUND)
    }
}

impl std::error::Error for FilterError {}

/// ```text
/// invalid filter: expected a port number from 0 to 65535
///   tcp and port 70000
///                ^^^^^
/// ```
impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid filter: {}", self.message)?;
        let (mut line, mut before, mut marked) = (String::new(), 0, 0);
        let window = self.window();
        if window.start > 0 {
            line.push('…');
            before += 1;
        }
        for (at, character) in self.expression.trim_end().char_indices() {
            if !window.contains(&at) {
                continue;
            }
            let shown = shown(character);
            let width = shown.chars().count();
            if at < self.span.start {
                before += width;
            } else if at < self.span.end {
                marked += width;
            }
            line.push_str(&shown);
        }
        if window.end < self.expression.trim_end().len() {
            line.push('…');
        }
        let carets = "^".repeat(marked.max(1));
        write!(f, "\n  {line}\n  {:before$}{carets}", "")
    }
}

/// Returns a character in a form that a terminal shows in as many columns as it has characters:
/// white space becomes a blank (a filter from a file has lines), and anything but plain text is
/// escaped.
fn shown(character: char) -> String {
    match character {
        '\t' | '\n' | '\r' => " ".to_owned(),
        ' '..='~' => character.to_string(),
        _ if character.is_alphanumeric() && (character as u32) < 0x0300 => character.to_string(),
        _ => character.escape_unicode().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_offending_part() {
        let error = FilterError::new("expected x".into(), 4..7, "tcp\tfoo\n");
        assert_eq!(
            error.to_string(),
            "invalid filter: expected x\n  tcp foo\n      ^^^"
        );
    }

    #[test]
    fn control_and_wide_characters_keep_the_carets_in_line() {
        let error = FilterError::new("expected x".into(), 8..9, "a\u{1b}é界 b c");
        assert_eq!(
            error.to_string(),
            "invalid filter: expected x\n  a\\u{1b}é\\u{754c} b c\n                   ^"
        );
    }

    #[test]
    fn a_missing_end_is_marked_by_a_caret_after_it() {
        let error = FilterError::new("expected x".into(), 3..3, "tcp");
        assert_eq!(
            error.to_string(),
            "invalid filter: expected x\n  tcp\n     ^"
        );
    }
}
