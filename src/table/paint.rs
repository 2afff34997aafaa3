//! Splits areas of the screen and writes text into them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::column_text::fit;

/// The width in columns from which rows show shares and histories.
pub(super) const WIDE: u16 = 60;

/// Takes up to `lines` lines off the top of an area, so that at least `spare` remain.
pub(super) fn take_top(rest: &mut Rect, lines: u16, spare: u16) -> Rect {
    let height = lines.min(rest.height.saturating_sub(spare));
    let taken = Rect { height, ..*rest };
    rest.y += height;
    rest.height -= height;
    taken
}

/// Writes text into a line of an area, cut to its width.
pub(super) fn put(buffer: &mut Buffer, area: Rect, line: usize, text: &str, style: Style) {
    let Ok(line) = u16::try_from(line) else {
        return;
    };
    if line < area.height {
        let text = fit(text, area.width.into());
        buffer.set_string(area.x, area.y + line, text, style);
    }
}

/// Returns the style of bold text.
pub(super) fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}
