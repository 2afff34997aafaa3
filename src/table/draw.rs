//! Draws the live table at any size: header, rows or a page, the meaning of the selected row, keys.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color as Hue, Modifier, Style};
use unicode_width::UnicodeWidthChar;

use super::column_text::{count, fit, rate, width, wrap};
use super::keys::KEYS;
use super::line_editor::LineEditor;
use super::pages::{row_page, text_page};
use super::paint::{WIDE, bold, put, take_top};
use super::rows::rows;
use super::{ColorSupport, CountedBy, Glyphs, Pace, Page, Prompt, TableView, explain};
use crate::untrusted::is_showable;

/// Draws the whole screen. Parts that do not fit are left out, the least useful first.
pub fn draw(frame: &mut Frame<'_>, view: &mut TableView) {
    if view.is_stale() {
        view.arrange();
    }
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let mut rest = area;
    header(frame.buffer_mut(), &mut rest, view);
    if let Some(cursor) = footer(frame.buffer_mut(), &mut rest, view) {
        frame.set_cursor_position(cursor);
    }
    let buffer = frame.buffer_mut();
    match view.page.clone() {
        Page::Rows => {
            meaning(buffer, &mut rest, view);
            rows(buffer, rest, view);
        }
        Page::Row(_) => row_page(buffer, rest, view),
        Page::Settings(lines, scrolled) => {
            let scrolled = text_page(buffer, rest, view, "drop monitor", &lines, scrolled);
            view.page = Page::Settings(lines, scrolled);
        }
        Page::Help(scrolled) => {
            let lines: Vec<String> = KEYS
                .iter()
                .map(|(key, what)| format!("{key:<20} {what}"))
                .collect();
            let scrolled = text_page(buffer, rest, view, "keys", &lines, scrolled);
            view.page = Page::Help(scrolled);
        }
    }
    hide_unprintable(frame.buffer_mut());
    if view.look.glyphs == Glyphs::Ascii {
        to_ascii(frame.buffer_mut());
    }
}

/// Takes up to `lines` lines off the bottom of an area, so that at least `spare` remain.
fn take_bottom(rest: &mut Rect, lines: u16, spare: u16) -> Rect {
    let height = lines.min(rest.height.saturating_sub(spare));
    rest.height -= height;
    Rect {
        y: rest.y + rest.height,
        height,
        ..*rest
    }
}

fn style(view: &TableView, hue: Hue) -> Style {
    match view.look.color {
        ColorSupport::Yes => Style::new().fg(hue),
        ColorSupport::No => Style::new(),
    }
}

/// Draws the header: what is counted, totals, loss, and the states of [`states`].
fn header(buffer: &mut Buffer, rest: &mut Rect, view: &TableView) {
    let states = states(view);
    let has_states = !states.is_empty();
    let lines = match rest.height {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2 + u16::from(has_states),
    };
    let area = take_top(rest, lines, 1);
    let columns = usize::from(area.width);
    let mut line = 0;
    if lines > 1 {
        let time = time(view);
        let title = format!("{} by {}{}", view.subject, view.grouping, source(view));
        let room = columns.saturating_sub(width(&time) + 2);
        put(buffer, area, 0, &fit(&title, room), bold());
        if room > 0 {
            let at = columns - width(&time);
            put_at(buffer, area, 0, at, &time, Style::new());
        }
        line = 1;
    }
    let counters = view.shown();
    let sum = counters.by(view.grouping).sum();
    let mut text = format!("{} drops, {}/s", count(sum.total), rate(counters.rate(sum)));
    if lines == 1 && view.is_paused() {
        text.insert_str(0, "paused: ");
    }
    put(buffer, area, line, &text, Style::new());
    let at = width(&text) + 2;
    if let Some(loss) = counters.loss {
        let lost = loss.sum();
        let text = match lost {
            0 => "none lost".to_owned(),
            lost if columns < usize::from(WIDE) || loss.perf + loss.interrupts > 0 => {
                format!("{} lost", count(lost))
            }
            _ => format!(
                "lost: {} in the queue, {} in the socket",
                count(loss.queue),
                count(loss.socket)
            ),
        };
        let style = match lost {
            0 => Style::new(),
            _ => style(view, Hue::Red).add_modifier(Modifier::BOLD),
        };
        put_at(buffer, area, line, at, &text, style);
    }
    if has_states {
        let text = states.join("  ");
        put(buffer, area, 2, &text, style(view, Hue::Yellow));
    }
}

/// Writes text into a line of an area, starting at a column.
fn put_at(buffer: &mut Buffer, area: Rect, line: usize, column: usize, text: &str, style: Style) {
    let Ok(column) = u16::try_from(column) else {
        return;
    };
    if column < area.width {
        let area = Rect {
            x: area.x + column,
            width: area.width - column,
            ..area
        };
        put(buffer, area, line, text, style);
    }
}

fn source(view: &TableView) -> &'static str {
    match (view.counted_by, view.shown().pace) {
        (CountedBy::Kernel | CountedBy::Programs, Pace::Clock { .. }) => ", counted by the kernel",
        _ => "",
    }
}

/// Returns the time since the beginning, or the length of the capture file.
fn time(view: &TableView) -> String {
    match &view.shown().pace {
        Pace::Clock { elapsed, .. } => {
            let seconds = elapsed.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            format!("{hours}:{minutes:02}:{:02}", seconds % 60)
        }
        Pace::Recorded(recording) => {
            let length = recording.length().unwrap_or(Duration::ZERO);
            let reading = if view.is_over { "" } else { "reading, " };
            format!("{reading}{:.1} s", length.as_secs_f64())
        }
    }
}

/// Returns the states that the user should keep in mind: a pause, a capture, a filter.
fn states(view: &TableView) -> Vec<String> {
    let mut states = Vec::new();
    if view.is_paused() {
        states.push("paused, still counting".to_owned());
    }
    if let Some(writing) = &view.writing {
        let packets = count(writing.packets);
        states.push(format!("writing {}: {packets} packets", writing.name));
    }
    if view.is_over && matches!(view.shown().pace, Pace::Clock { .. }) {
        states.push("the input has ended".to_owned());
    }
    if !view.filter.is_empty() {
        states.push(format!("filter: {}", view.filter));
    }
    states
}

/// Draws the last line: a prompt, the status, or the keys. Returns the position of the cursor.
fn footer(buffer: &mut Buffer, rest: &mut Rect, view: &TableView) -> Option<Position> {
    if let Some(prompt) = &view.prompt {
        return prompt_lines(buffer, rest, view, prompt);
    }
    let area = take_bottom(rest, 1, 1);
    if !view.status.is_empty() {
        put(buffer, area, 0, &view.status, style(view, Hue::Yellow));
        return None;
    }
    let keys: &[&str] = match view.page {
        Page::Rows => &[
            "q quit",
            "? keys",
            "Enter why",
            "g group",
            "s sort",
            "/ filter",
            "w write",
            "Space pause",
            "i settings",
        ],
        _ => &["q quit", "? keys", "Esc back", "w write", "Space pause"],
    };
    let mut text = String::new();
    for key in keys {
        let room = usize::from(area.width);
        if !text.is_empty() && width(&text) + 2 + width(key) > room {
            break;
        }
        if !text.is_empty() {
            text.push_str("  ");
        }
        text.push_str(key);
    }
    put(
        buffer,
        area,
        0,
        &text,
        Style::new().add_modifier(Modifier::DIM),
    );
    None
}

/// Draws the line that is typed, and its error below. Returns the position of the cursor.
fn prompt_lines(
    buffer: &mut Buffer,
    rest: &mut Rect,
    view: &TableView,
    prompt: &Prompt,
) -> Option<Position> {
    let input = prompt.input();
    let below = input
        .error
        .as_ref()
        .map_or(0, |error| 1 + u16::from(error.span.is_some()));
    let area = take_bottom(rest, 1 + below, 0);
    let columns = usize::from(area.width);
    let label = if columns > 30 { prompt.label() } else { "" };
    let label_columns = width(label);
    let room = columns.saturating_sub(label_columns).max(1);
    let skipped = skipped(input, room);
    let text = format!("{label}{}", &input.text()[skipped..]);
    put(buffer, area, 0, &text, bold());
    if let Some(error) = &input.error {
        let style = style(view, Hue::Red);
        let mut line = 1;
        if let Some(span) = &error.span {
            let at = |byte: usize| {
                let text = input.text().get(skipped..byte.min(input.text().len()));
                label_columns + text.map_or(0, width)
            };
            let (start, end) = (at(span.start), at(span.end));
            let carets = "^".repeat(end.saturating_sub(start).max(1));
            put_at(buffer, area, line, start, &carets, style);
            line += 1;
        }
        put(buffer, area, line, &error.message, style);
    }
    let before = &input.before_cursor()[skipped..];
    let column = (label_columns + width(before)).min(columns.saturating_sub(1));
    let column = u16::try_from(column).ok()?;
    (area.height > 0).then_some(Position::new(area.x + column, area.y))
}

/// Returns how many bytes at the start of the text are scrolled out, so that the cursor is visible.
fn skipped(input: &LineEditor, room: usize) -> usize {
    let before = input.before_cursor();
    let mut columns = 0;
    let backwards = before.char_indices().rev();
    let fitting = backwards.take_while(|(_, character)| {
        columns += character.width().unwrap_or(0);
        columns < room
    });
    fitting.last().map_or(before.len(), |(at, _)| at)
}

/// Draws the selected row's whole name, and what it means.
fn meaning(buffer: &mut Buffer, rest: &mut Rect, view: &TableView) {
    let lines = match rest.height {
        0..=5 => 0,
        6..=8 => 1,
        9..=14 => 2,
        _ => 4,
    };
    let area = take_bottom(rest, lines, 2);
    let Some((key, row)) = view.selected_row() else {
        return;
    };
    let columns = usize::from(area.width);
    let mut line = 0;
    if lines > 3 {
        // An empty line separates it from the rows.
        line = 1;
        let mut parts = vec![key.to_string()];
        for part in [explain::reason_column(row), explain::location_column(row)] {
            if !part.is_empty() && !parts.contains(&part) {
                parts.push(part);
            }
        }
        put(buffer, area, line, &parts.join("  "), bold());
        line += 1;
    }
    let room = usize::from(area.height).saturating_sub(line);
    let meaning = explain::meaning(key, row);
    let mut wrapped = wrap(&meaning, columns);
    if wrapped.len() > room && room > 0 {
        let tail = wrapped[room - 1..].join(" ");
        wrapped.truncate(room - 1);
        wrapped.push(fit(&tail, columns));
    }
    for (number, text) in wrapped.iter().take(room).enumerate() {
        put(buffer, area, line + number, text, Style::new());
    }
}

/// Replaces characters that a terminal would obey or that could deceive a reader. Text from outside
/// is escaped where it enters the program; this also covers what the user types.
fn hide_unprintable(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().chars().all(is_showable) {
            cell.set_symbol("?");
        }
    }
}

/// Replaces what is not ASCII, for terminals that show nothing else.
fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let shown = match cell.symbol() {
            symbol if symbol.is_ascii() => continue,
            "…" => "~",
            "▼" => "v",
            "▲" => "^",
            _ => "?",
        };
        cell.set_symbol(shown);
    }
}
