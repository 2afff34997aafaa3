//! More keys than a table has rows: those with the most drops stay, and no drop is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Counted, Grouping, Key, Order, Table, place};
use crate::summary::MAX_ROWS;

fn count(table: &mut Table, key: u64, count: u64) {
    let cause = place(key, "");
    table.count(&Counted::Kernel { cause, count });
}

fn number_of(key: &Key) -> u64 {
    match key {
        Key::Place { pc, .. } => pc.unwrap(),
        _ => unreachable!("only places are counted here"),
    }
}

fn in_rows(table: &Table) -> u64 {
    let rows = table.rows(Order::Total);
    rows.iter().map(|(_, row)| row.total).sum()
}

const BOUND: u64 = MAX_ROWS as u64;

#[test]
fn up_to_the_bound_every_count_is_exact() {
    let mut table = Table::new(Grouping::Location);
    for round in 0..3 {
        (0..BOUND).for_each(|key| count(&mut table, key, 1 + key % 7));
        assert_eq!(table.others().current, 0);
        table.end_interval();
        assert_eq!((table.len(), table.others().total), (MAX_ROWS, 0));
        assert_eq!(in_rows(&table), table.sum().total);
        for (key, row) in table.rows(Order::Name) {
            let wanted = (1 + number_of(key) % 7) * (round + 1);
            assert_eq!((row.total, row.error), (wanted, 0));
        }
    }
}

#[test]
fn the_heaviest_has_a_row_however_late_it_comes() {
    let mut table = Table::new(Grouping::Location);
    (0..BOUND).for_each(|key| count(&mut table, key, 1));
    (0..100_000).for_each(|_| count(&mut table, BOUND, 1));
    let (_, row) = table.rows(Order::Total)[0];
    assert_eq!((row.total, row.error), (100_000, 1));
    assert_eq!((row.current, row.current_error), (100_000, 1));
    assert_eq!(table.others().total, 1);
    table.end_interval();
    let (_, row) = table.rows(Order::Total)[0];
    assert_eq!((row.total, row.error, row.current_error), (100_000, 1, 0));
    assert_eq!(row.last_interval(), 100_000);
}

#[test]
fn the_heavy_stay_among_a_million_that_come_once() {
    let mut table = Table::new(Grouping::Location);
    for key in 0..1_000_000 {
        count(&mut table, key, 1);
        if key % 500 == 499 {
            count(&mut table, u64::MAX, 7);
        }
        if key % 20_000 == 0 {
            assert!(table.len() <= MAX_ROWS);
            table.end_interval();
        }
    }
    let (key, row) = table.rows(Order::Total)[0];
    assert_eq!(key.to_string(), format!("{:#x}", u64::MAX));
    assert_eq!((row.total, row.error), (14_000, 0));
    assert_eq!(in_rows(&table) + table.others().total, 1_014_000);
    assert_eq!(table.sum().total, 1_014_000);
}

/// What a table of unlimited size would hold.
#[derive(Default)]
struct Exact {
    total: BTreeMap<u64, u64>,
    current: BTreeMap<u64, u64>,
}

proptest! {
    #[test]
    fn counts_are_right_within_their_errors(
        drops in proptest::collection::vec((0..40_u64, 1..30_u64, 0..15_u8), 0..400),
        room in 1..12_usize,
    ) {
        let mut tables = [0, 1].map(|_| Table::with_room(Grouping::Location, room));
        let mut exact = Exact::default();
        for (key, number, end) in drops {
            // Low keys are much heavier.
            let number = if key < 4 { number * 10 } else { number };
            for table in &mut tables {
                count(table, key, number);
            }
            *exact.total.entry(key).or_default() += number;
            *exact.current.entry(key).or_default() += number;
            let table = &tables[0];
            prop_assert!(table.len() <= room);
            let rows: BTreeMap<u64, _> = table
                .rows(Order::Total)
                .into_iter()
                .map(|(key, row)| (number_of(key), row))
                .collect();
            let sum: u64 = exact.total.values().sum();
            prop_assert_eq!(in_rows(table) + table.others().total, sum);
            for (key, total) in &exact.total {
                let current = exact.current.get(key).copied().unwrap_or(0);
                let Some(row) = rows.get(key) else {
                    prop_assert!(*total <= sum / room as u64, "{} of {} has no row", total, sum);
                    continue;
                };
                prop_assert!((row.total..=row.total + row.error).contains(total));
                prop_assert!((row.current..=row.current + row.current_error).contains(&current));
                prop_assert!(row.error <= table.others().total);
            }
            let in_rows: u64 = rows.values().map(|row| row.current).sum();
            prop_assert_eq!(in_rows + table.others().current, table.sum().current);
            if end == 0 {
                for table in &mut tables {
                    table.end_interval();
                }
                exact.current.clear();
                let table = &tables[0];
                let mut past = vec![0; table.sum().history().len()];
                let rows = table.rows(Order::Total);
                for row in rows.iter().map(|(_, row)| *row).chain([table.others()]) {
                    prop_assert_eq!(row.history().len(), past.len());
                    past.iter_mut().zip(row.history()).for_each(|(sum, drops)| *sum += drops);
                }
                prop_assert_eq!(past, table.sum().history().collect::<Vec<_>>());
            }
        }
        // The same drops always give the same rows.
        let [one, other] = tables.map(|table| {
            let rows = table.rows(Order::Total);
            let rows = rows.iter().map(|(key, row)| (key.to_string(), row.total, row.error));
            rows.collect::<Vec<_>>()
        });
        prop_assert_eq!(one, other);
    }
}
