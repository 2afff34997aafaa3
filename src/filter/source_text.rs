//! The text of an expression and the positions of its primitives, for messages about them.

use std::ops::Range;

use super::words;

/// The text of an expression, and the span of each primitive in order.
#[derive(Clone, Debug, Default)]
pub struct SourceText {
    text: String,
    primitives: Vec<Range<usize>>,
}

impl SourceText {
    pub fn new(text: &str, primitives: Vec<Range<usize>>) -> Self {
        Self {
            text: text.to_owned(),
            primitives,
        }
    }

    /// Returns the text with one more primitive at its beginning, which was given as `text`
    /// elsewhere.
    pub fn behind(mut self, text: &str) -> Self {
        let start = self.text.len();
        self.text.push_str(text);
        self.primitives.insert(0, start..self.text.len());
        self
    }

    /// Returns the text of these primitives, in one line, if it can stand alone: `port 443`, but
    /// not the `443` of `port 80 or 443`.
    pub fn text(&self, primitives: Range<usize>) -> Option<&str> {
        let written = self.primitives.get(primitives.clone())?;
        let (first, last) = (written.first()?, written.last()?);
        // Primitives that share a span are a list or the addresses of one name, and not all of them
        // are meant.
        let shared = |outside: Option<usize>, inside: &Range<usize>| {
            outside.and_then(|at| self.primitives.get(at)) == Some(inside)
        };
        if shared(primitives.start.checked_sub(1), first) || shared(Some(primitives.end), last) {
            return None;
        }
        let text = self.text.get(first.start..last.end)?.trim_end();
        let word_end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
        let word = &text[..word_end.unwrap_or(text.len())];
        let stands_alone =
            words::is_keyword(word) || text.starts_with("-i ") || text.contains(['=', '<', '>']);
        let is_line = text.chars().all(|c| matches!(c, ' '..='~'));
        (stands_alone && is_line && is_balanced(text)).then_some(text)
    }
}

fn is_balanced(text: &str) -> bool {
    let mut open = 0_usize;
    for character in text.chars() {
        match character {
            '(' => open += 1,
            ')' => match open.checked_sub(1) {
                Some(less) => open = less,
                None => return false,
            },
            _ => {}
        }
    }
    open == 0
}
