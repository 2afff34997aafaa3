//! The screen: header, rows or a page, meaning of the selected row, keys. Whatever its size is.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color as Hue, Modifier, Style};

use super::input::Input;
use super::keys::KEYS;
use super::text::{count, fit, history, rate, share, width, wrap};
use super::{Color, CountedBy, Glyphs, Order, Pace, Page, Prompt, View, explain};
use crate::record::DropRecord;
use crate::sink::summary::Elsewhere;
use crate::summary::{Grouping, Key, Row};

/// Columns from which rows show shares and histories.
const WIDE: u16 = 60;
/// Columns from which histories are long, and a row has both reason and place.
const VERY_WIDE: u16 = 110;

/// Draws everything. What does not fit is left out, the least useful first.
pub fn draw(frame: &mut Frame<'_>, view: &mut View) {
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
    if view.look.glyphs == Glyphs::Ascii {
        to_ascii(frame.buffer_mut());
    }
}

/// Takes lines off the top, where there are more than `spare` left.
fn take_top(rest: &mut Rect, lines: u16, spare: u16) -> Rect {
    let height = lines.min(rest.height.saturating_sub(spare));
    let taken = Rect { height, ..*rest };
    rest.y += height;
    rest.height -= height;
    taken
}

/// Takes lines off the bottom, where there are more than `spare` left.
fn take_bottom(rest: &mut Rect, lines: u16, spare: u16) -> Rect {
    let height = lines.min(rest.height.saturating_sub(spare));
    rest.height -= height;
    Rect {
        y: rest.y + rest.height,
        height,
        ..*rest
    }
}

/// Text on a line of an area, cut to its width.
fn put(buffer: &mut Buffer, area: Rect, line: usize, text: &str, style: Style) {
    let Ok(line) = u16::try_from(line) else {
        return;
    };
    if line < area.height {
        let text = fit(text, area.width.into());
        buffer.set_string(area.x, area.y + line, text, style);
    }
}

fn style(view: &View, hue: Hue) -> Style {
    match view.look.color {
        Color::Yes => Style::new().fg(hue),
        Color::No => Style::new(),
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// What is counted, how much of it, what was lost, and what is not as usual.
fn header(buffer: &mut Buffer, rest: &mut Rect, view: &View) {
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
    let book = view.shown();
    let sum = book.table(view.grouping).sum();
    let mut text = format!("{} drops, {}/s", count(sum.total), rate(book.rate(sum)));
    if lines == 1 && view.is_paused() {
        text.insert_str(0, "paused: ");
    }
    put(buffer, area, line, &text, Style::new());
    let at = width(&text) + 2;
    if let Some(loss) = book.loss {
        let lost = loss.queue.saturating_add(loss.socket);
        let text = match lost {
            0 => "none lost".to_owned(),
            lost if columns < usize::from(WIDE) => format!("{} lost", count(lost)),
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

/// Text behind others on a line.
fn put_at(
    buffer: &mut Buffer,
    area: Rect,
    line: usize,
    column: usize,
    text: &str,
    style: Style,
) {
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

fn source(view: &View) -> &'static str {
    match (view.counted_by, view.shown().pace) {
        (CountedBy::Kernel, Pace::Clock { .. }) => ", counted by the kernel",
        _ => "",
    }
}

/// How long it has been, or how long the recording is.
fn time(view: &View) -> String {
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

/// What is not as usual.
fn states(view: &View) -> Vec<String> {
    let mut states = Vec::new();
    if view.is_paused() {
        states.push("paused, counting goes on".to_owned());
    }
    if let Some(writing) = &view.writing {
        let packets = count(writing.packets);
        states.push(format!("writing {}: {packets} packets", writing.name));
    }
    if view.is_over && matches!(view.shown().pace, Pace::Clock { .. }) {
        states.push("the input is over".to_owned());
    }
    if !view.filter.is_empty() {
        states.push(format!("filter: {}", view.filter));
    }
    states
}

/// What is typed, what happened, or the keys. Gives the place of the cursor.
fn footer(buffer: &mut Buffer, rest: &mut Rect, view: &View) -> Option<Position> {
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
            "Enter explain",
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
    put(buffer, area, 0, &text, Style::new().add_modifier(Modifier::DIM));
    None
}

/// The line that is typed, and below it what is wrong with it, and where.
fn prompt_lines(
    buffer: &mut Buffer,
    rest: &mut Rect,
    view: &View,
    prompt: &Prompt,
) -> Option<Position> {
    let input = prompt.input();
    let below = input.error.as_ref().map_or(0, |error| {
        1 + u16::from(error.span.is_some())
    });
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

/// Bytes at the beginning of the text that are scrolled out, so that the cursor is seen.
fn skipped(input: &Input, room: usize) -> usize {
    let before = input.before_cursor();
    let starts = before.char_indices().map(|(at, _)| at);
    let mut starts = starts.chain([before.len()]);
    let fits = |at: &usize| width(&before[*at..]) < room;
    starts.find(fits).unwrap_or(before.len())
}

/// The selected row's whole name, and what it means.
fn meaning(buffer: &mut Buffer, rest: &mut Rect, view: &View) {
    let lines = match rest.height {
        0..=5 => 0,
        6..=8 => 1,
        9..=14 => 2,
        _ => 4,
    };
    let area = take_bottom(rest, lines, 2);
    let Some((key, row)) = selected(view) else {
        return;
    };
    let columns = usize::from(area.width);
    let mut line = 0;
    if lines > 3 {
        // An empty line sets it off from the rows.
        line = 1;
        let mut parts = vec![key.to_string()];
        for part in [explain::reason_column(row), explain::place_column(row)] {
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

/// The selected row, as far as it is counted.
fn selected(view: &View) -> Option<(&Key, &Row)> {
    let key = view.selected.as_ref()?;
    Some((key, view.shown().table(view.grouping).row(key)?))
}

/// Which columns there is room for.
struct Columns {
    marker: usize,
    rate: usize,
    share: usize,
    total: usize,
    history: usize,
    name: usize,
    second: usize,
    third: usize,
}

impl Columns {
    fn new(width: u16) -> Self {
        let all = usize::from(width);
        let mut columns = Self {
            marker: 2,
            rate: 8,
            share: 0,
            total: 8,
            history: 0,
            name: 0,
            second: 0,
            third: 0,
        };
        if width < 30 {
            (columns.marker, columns.rate) = (1, 0);
        }
        if width >= WIDE {
            columns.share = 7;
            columns.history = if width >= VERY_WIDE { 16 } else { 8 };
        }
        let gaps = 1 + usize::from(columns.history > 0);
        let left = columns.marker + columns.rate + columns.share + columns.total;
        let rest = all.saturating_sub(left + columns.history + gaps);
        if width >= VERY_WIDE {
            columns.third = rest * 3 / 10;
        }
        if rest >= 36 {
            columns.second = if columns.third > 0 {
                rest * 3 / 10
            } else {
                rest * 2 / 5
            };
        }
        let others = columns.second + columns.third;
        columns.name = rest.saturating_sub(others);
        columns
    }

    /// A line of the table; names are cut, numbers stand at the right.
    fn line(&self, cells: &Cells) -> String {
        let mut line = fit_to(&cells.marker, self.marker);
        for (text, columns) in [
            (&cells.rate, self.rate),
            (&cells.share, self.share),
            (&cells.total, self.total),
        ] {
            if columns > 0 {
                line.push_str(&format!("{text:>columns$}"));
            }
        }
        if self.history > 0 {
            line.push(' ');
            line.push_str(&fit_to(&cells.history, self.history));
        }
        line.push(' ');
        for (text, columns) in [
            (&cells.name, self.name),
            (&cells.second, self.second),
            (&cells.third, self.third),
        ] {
            // A column's last place keeps it from the next one.
            if columns > 1 {
                line.push_str(&fit_to(&fit(text, columns - 1), columns));
            } else {
                line.push_str(&fit_to(text, columns));
            }
        }
        line
    }
}

/// What stands in a line.
#[derive(Default)]
struct Cells {
    marker: String,
    rate: String,
    share: String,
    total: String,
    history: String,
    name: String,
    second: String,
    third: String,
}

/// Cut or filled up to exactly so many columns.
fn fit_to(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The table itself.
fn rows(buffer: &mut Buffer, mut rest: Rect, view: &mut View) {
    let columns = Columns::new(rest.width);
    let head = take_top(&mut rest, 1, 2);
    put(buffer, head, 0, &columns.line(&heads(view)), underlined(view));
    let others = view.shown().table(view.grouping).others();
    let (others_total, others_history) = (others.total, others.last_interval());
    let height = usize::from(rest.height);
    let has_others = others_total > 0 && height > 2;
    let height = height - usize::from(has_others);
    view.height = height;
    scroll(view, height);
    if view.keys.is_empty() {
        put(buffer, rest, 0, "no drops yet", Style::new());
        return;
    }
    for (line, position) in (view.top..view.keys.len()).take(height).enumerate() {
        let key = &view.keys[position];
        let Some(row) = view.shown().table(view.grouping).row(key) else {
            continue;
        };
        let is_selected = position == view.position;
        let mut cells = cells(view, &columns, row);
        cells.name = key.to_string();
        if is_selected {
            cells.marker = ">".into();
        }
        let style = if is_selected {
            bold().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        put(buffer, rest, line, &columns.line(&cells), style);
        if !is_selected {
            colour(buffer, rest, line, view, &columns);
        }
    }
    if has_others {
        let _ = others_history;
        let cells = Cells {
            total: count(others_total),
            name: Elsewhere(view.grouping).to_string(),
            ..Cells::default()
        };
        let style = Style::new().add_modifier(Modifier::DIM);
        put(buffer, rest, height, &columns.line(&cells), style);
    }
}

/// The first row on the screen, so that the selected one is on it.
fn scroll(view: &mut View, height: usize) {
    let height = height.max(1);
    let last = view.keys.len().saturating_sub(height);
    view.top = view
        .top
        .min(view.position)
        .max((view.position + 1).saturating_sub(height))
        .min(last);
}

fn underlined(view: &View) -> Style {
    let _ = view;
    Style::new().add_modifier(Modifier::UNDERLINED)
}

/// The heads of the columns; the one that rows are sorted by is marked.
fn heads(view: &View) -> Cells {
    let mark = |order: Order, head: &str| {
        let sign = match (view.order == order, view.is_reversed) {
            (false, _) => "",
            (true, false) => "▼",
            (true, true) => "▲",
        };
        format!("{sign}{head}")
    };
    let is_recorded = matches!(view.shown().pace, Pace::Recorded(_));
    let rate = if is_recorded { "mean/s" } else { "rate/s" };
    let (second, third) = match view.grouping {
        Grouping::Location => ("reason", ""),
        Grouping::Reason => ("location", ""),
        Grouping::Interface | Grouping::Flow | Grouping::Module => ("reason", "location"),
    };
    Cells {
        marker: String::new(),
        rate: mark(Order::Rate, rate),
        share: "share".into(),
        total: mark(Order::Total, "total"),
        history: "history".into(),
        name: mark(Order::Name, &view.grouping.to_string()),
        second: second.into(),
        third: third.into(),
    }
}

/// A row's numbers and what it is about, without its name.
fn cells(view: &View, columns: &Columns, row: &Row) -> Cells {
    let book = view.shown();
    let (reason, place) = (explain::reason_column(row), explain::place_column(row));
    let (second, third) = match view.grouping {
        Grouping::Location => (reason, String::new()),
        Grouping::Reason => (place, String::new()),
        Grouping::Interface | Grouping::Flow | Grouping::Module => (reason, place),
    };
    Cells {
        marker: String::new(),
        rate: rate(book.rate(row)),
        share: share(row.total, book.table(view.grouping).sum().total),
        total: count(row.total),
        history: history(row.history(), columns.history, view.look.glyphs),
        name: String::new(),
        second,
        third,
    }
}

/// Reasons red, places cyan, as in the lines of packets.
fn colour(buffer: &mut Buffer, area: Rect, line: usize, view: &View, columns: &Columns) {
    let (Color::Yes, Ok(line)) = (view.look.color, u16::try_from(line)) else {
        return;
    };
    let gaps = 1 + usize::from(columns.history > 0);
    let left = columns.marker + columns.rate + columns.share + columns.total + columns.history;
    let mut at = left + gaps;
    let hues = match view.grouping {
        Grouping::Location => [Some(Hue::Cyan), Some(Hue::Red), None],
        Grouping::Reason => [Some(Hue::Red), Some(Hue::Cyan), None],
        Grouping::Interface | Grouping::Flow | Grouping::Module => {
            [None, Some(Hue::Red), Some(Hue::Cyan)]
        }
    };
    let parts = [columns.name, columns.second, columns.third];
    for (hue, columns) in hues.into_iter().zip(parts) {
        let part = u16::try_from(at).ok().zip(u16::try_from(columns).ok());
        if let (Some(hue), Some((x, width))) = (hue, part) {
            let part = Rect {
                x: area.x.saturating_add(x),
                y: area.y + line,
                width,
                height: 1,
            };
            buffer.set_style(part.intersection(area), Style::new().fg(hue));
        }
        at += columns;
    }
}

/// What a row means, and its last packets.
fn row_page(buffer: &mut Buffer, mut rest: Rect, view: &mut View) {
    let Page::Row(scrolled) = view.page else {
        return;
    };
    let title = take_top(&mut rest, 1, 1);
    let columns = usize::from(rest.width);
    let height = usize::from(rest.height);
    view.height = height;
    let Some((key, row)) = selected(view) else {
        put(buffer, rest, 0, "no drops in this row yet", Style::new());
        return;
    };
    let book = view.shown();
    let numbers = format!("{} drops, {}/s", count(row.total), rate(book.rate(row)));
    let name = format!("{}  {numbers}", view.selected_name());
    put(buffer, title, 0, &name, bold().add_modifier(Modifier::UNDERLINED));
    let lines = explain::lines(view, key, row, columns);
    let packets: Vec<DropRecord<'_>> = book.packets_of(view.grouping, key).collect();
    let all = lines.len() + packets.len();
    let scrolled = scrolled.min(all.saturating_sub(height));
    for line in 0..height {
        let position = scrolled + line;
        if let Some(text) = lines.get(position) {
            put(buffer, rest, line, text, Style::new());
        } else if let Some(record) = packets.get(position - lines.len()) {
            let text = explain::packet_line(view, record);
            put(buffer, rest, line, &text, Style::new());
        }
    }
    view.page = Page::Row(scrolled);
}

/// Lines that are scrolled; by how many they are.
fn text_page(
    buffer: &mut Buffer,
    mut rest: Rect,
    view: &mut View,
    title: &str,
    lines: &[String],
    scrolled: usize,
) -> usize {
    let head = take_top(&mut rest, 1, 1);
    put(buffer, head, 0, title, bold().add_modifier(Modifier::UNDERLINED));
    let columns = usize::from(rest.width);
    let height = usize::from(rest.height);
    view.height = height;
    let lines: Vec<String> = lines
        .iter()
        .flat_map(|line| match width(line) <= columns {
            true => vec![line.clone()],
            false => wrap(line, columns),
        })
        .collect();
    let scrolled = scrolled.min(lines.len().saturating_sub(height));
    for (number, line) in lines.iter().skip(scrolled).take(height).enumerate() {
        put(buffer, rest, number, line, Style::new());
    }
    scrolled
}

/// For terminals that show nothing else.
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
