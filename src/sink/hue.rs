//! Colours of text.

use std::fmt;

use super::Color;

/// Colours that are readable on dark and on light backgrounds (ECMA-48, 8.3.117).
#[derive(Clone, Copy)]
pub(super) enum Hue {
    Red = 31,
    Cyan = 36,
}

/// Returns the text in a colour, if there are to be any.
pub(super) fn paint(color: Color, hue: Option<Hue>, text: impl fmt::Display) -> impl fmt::Display {
    fmt::from_fn(move |f| match hue.filter(|_| color == Color::Always) {
        Some(hue) => write!(f, "\x1b[{}m{text}\x1b[0m", hue as u8),
        None => write!(f, "{text}"),
    })
}
