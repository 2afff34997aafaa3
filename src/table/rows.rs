//! Draws the rows of the live table: chooses the columns that fit, and fills them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color as Hue, Modifier, Style};

use super::column_text::{count, fit, history, rate, share, width};
use super::paint::{WIDE, bold, put, take_top};
use super::{ColorSupport, Order, Pace, TableView, explain};
use crate::sink::summary::OtherLocations;
use crate::summary::{GroupCounts, Grouping};

/// The width in columns from which histories are long, and a row has both reason and location.
const VERY_WIDE: u16 = 110;

/// The width of each column; 0 where there is no room for it.
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
    fn new(width: u16, grouping: Grouping) -> Self {
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
        let has_third = !matches!(
            grouping,
            Grouping::Location | Grouping::Reason | Grouping::Stack
        );
        if width >= VERY_WIDE && has_third {
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

    /// Returns a line of the table, with names cut and numbers aligned to the right.
    fn line(&self, cells: &Cells) -> String {
        let mut line = fit_to(&cells.marker, self.marker);
        for (text, columns) in [
            (&cells.rate, self.rate),
            (&cells.share, self.share),
            (&cells.total, self.total),
        ] {
            if columns > 0 {
                line.extend(std::iter::repeat_n(
                    ' ',
                    columns.saturating_sub(width(text)),
                ));
                line.push_str(text);
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
            // The last character of a column separates it from the next one.
            if columns > 1 {
                line.push_str(&fit_to(&fit(text, columns - 1), columns));
            } else {
                line.push_str(&fit_to(text, columns));
            }
        }
        line
    }
}

/// The texts of a line.
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

/// Cuts or fills a text to exactly so many columns.
fn fit_to(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Draws the heads and the rows.
pub(super) fn rows(buffer: &mut Buffer, mut rest: Rect, view: &mut TableView) {
    let columns = Columns::new(rest.width, view.grouping);
    let head = take_top(&mut rest, 1, 2);
    let underlined = Style::new().add_modifier(Modifier::UNDERLINED);
    put(buffer, head, 0, &columns.line(&heads(view)), underlined);
    let others = view.shown().by(view.grouping).others().total;
    let height = usize::from(rest.height);
    let has_others = others > 0 && height > 2;
    let height = height - usize::from(has_others);
    view.height = height;
    scroll(view, height);
    if view.keys.is_empty() {
        put(buffer, rest, 0, "no drops yet", Style::new());
        return;
    }
    for (line, position) in (view.top..view.keys.len()).take(height).enumerate() {
        let key = &view.keys[position];
        let Some(row) = view.shown().by(view.grouping).group(key) else {
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
        let cells = Cells {
            total: count(others),
            name: OtherLocations(view.grouping).to_string(),
            ..Cells::default()
        };
        let style = Style::new().add_modifier(Modifier::DIM);
        put(buffer, rest, height, &columns.line(&cells), style);
    }
}

/// Sets the first row on the screen so that the selected one is visible.
fn scroll(view: &mut TableView, height: usize) {
    let height = height.max(1);
    let last = view.keys.len().saturating_sub(height);
    view.top = view
        .top
        .min(view.position)
        .max((view.position + 1).saturating_sub(height))
        .min(last);
}

/// Returns the heads of the columns; the one that rows are sorted by is marked.
fn heads(view: &TableView) -> Cells {
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
        Grouping::Location | Grouping::Stack => ("reason", ""),
        Grouping::Reason => ("location", ""),
        _ => ("reason", "location"),
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

/// Returns a row's numbers, reason and location, without its name.
fn cells(view: &TableView, columns: &Columns, row: &GroupCounts) -> Cells {
    let counters = view.shown();
    let (reason, place) = (explain::reason_column(row), explain::location_column(row));
    let (second, third) = match view.grouping {
        Grouping::Location | Grouping::Stack => (reason, String::new()),
        Grouping::Reason => (place, String::new()),
        _ => (reason, place),
    };
    Cells {
        marker: String::new(),
        rate: rate(counters.rate(row)),
        share: share(row.total, counters.by(view.grouping).sum().total),
        total: match row.error {
            0 => count(row.total),
            _ => format!("{}+", count(row.total)),
        },
        history: match counters.pace {
            Pace::Clock { .. } => history(&newest(row, columns.history), view.look.glyphs),
            Pace::Recorded(_) => history(&joined(row, columns.history), view.look.glyphs),
        },
        name: String::new(),
        second,
        third,
    }
}

/// Returns the counts of the last intervals, as many as there is room for.
fn newest(row: &GroupCounts, columns: usize) -> Vec<u64> {
    let skipped = row.history().len().saturating_sub(columns);
    row.history().skip(skipped).collect()
}

/// Returns the counts of all intervals, joined where there is no room for each.
fn joined(row: &GroupCounts, columns: usize) -> Vec<u64> {
    let counts: Vec<u64> = row.history().collect();
    let together = counts.len().div_ceil(columns.max(1)).max(1);
    let joined = counts.chunks(together);
    joined.map(|counts| counts.iter().sum()).collect()
}

/// Colours reasons red and locations cyan, as in the lines of packets.
fn colour(buffer: &mut Buffer, area: Rect, line: usize, view: &TableView, columns: &Columns) {
    let (ColorSupport::Yes, Ok(line)) = (view.look.color, u16::try_from(line)) else {
        return;
    };
    let gaps = 1 + usize::from(columns.history > 0);
    let left = columns.marker + columns.rate + columns.share + columns.total + columns.history;
    let mut at = left + gaps;
    let hues = match view.grouping {
        Grouping::Location | Grouping::Stack => [Some(Hue::Cyan), Some(Hue::Red), None],
        Grouping::Reason => [Some(Hue::Red), Some(Hue::Cyan), None],
        _ => [None, Some(Hue::Red), Some(Hue::Cyan)],
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
