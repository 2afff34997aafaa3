//! Draws the pages that replace the rows: one row with its packets, or a page of text.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::column_text::{count, rate, width, wrap};
use super::paint::{bold, put, take_top};
use super::{Page, TableView, explain};
use crate::record::DropRecord;

/// Draws the page of the selected row: what it means, and its last packets.
pub(super) fn row_page(buffer: &mut Buffer, mut rest: Rect, view: &mut TableView) {
    let Page::Row(scrolled) = view.page else {
        return;
    };
    let title = take_top(&mut rest, 1, 1);
    let columns = usize::from(rest.width);
    let height = usize::from(rest.height);
    view.height = height;
    let Some((key, row)) = view.selected_row() else {
        put(buffer, rest, 0, "no drops in this row yet", Style::new());
        return;
    };
    let counters = view.shown();
    let more = match row.error {
        0 => String::new(),
        more => format!(" (at most {} more)", count(more)),
    };
    let rate = rate(counters.rate(row));
    let numbers = format!("{} drops{more}, {rate}/s", count(row.total));
    let name = format!("{}  {numbers}", view.selected_name());
    put(
        buffer,
        title,
        0,
        &name,
        bold().add_modifier(Modifier::UNDERLINED),
    );
    let lines = explain::lines(view, key, row, columns);
    let packets: Vec<DropRecord<'_>> = counters.packets_of(view.grouping, key).collect();
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

/// Draws a page of text. Returns how many lines it is scrolled by, at most up to its end.
pub(super) fn text_page(
    buffer: &mut Buffer,
    mut rest: Rect,
    view: &mut TableView,
    title: &str,
    lines: &[String],
    scrolled: usize,
) -> usize {
    let head = take_top(&mut rest, 1, 1);
    put(
        buffer,
        head,
        0,
        title,
        bold().add_modifier(Modifier::UNDERLINED),
    );
    let columns = usize::from(rest.width);
    let height = usize::from(rest.height);
    view.height = height;
    let lines: Vec<String> = lines
        .iter()
        .flat_map(|line| {
            if width(line) <= columns {
                vec![line.clone()]
            } else {
                wrap(line, columns)
            }
        })
        .collect();
    let scrolled = scrolled.min(lines.len().saturating_sub(height));
    for (number, line) in lines.iter().skip(scrolled).take(height).enumerate() {
        put(buffer, rest, number, line, Style::new());
    }
    scrolled
}
