//! Counts more keys than there can be groups: those with the most drops stay, and no drop is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Counted, GroupKey, GroupOrder, GroupedCounts, Grouping, place};
use crate::summary::MAX_GROUPS;

fn count(counts: &mut GroupedCounts, key: u64, count: u64) {
    let cause = place(key, "");
    counts.count(&Counted::Kernel { cause, count });
}

fn number_of(key: &GroupKey) -> u64 {
    match key {
        GroupKey::Location { pc, .. } => pc.unwrap(),
        _ => unreachable!("only places are counted here"),
    }
}

fn in_rows(counts: &GroupedCounts) -> u64 {
    let rows = counts.groups(GroupOrder::Total);
    rows.iter().map(|(_, row)| row.total).sum()
}

const BOUND: u64 = MAX_GROUPS as u64;

#[test]
fn up_to_the_bound_every_count_is_exact() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    for round in 0..3 {
        (0..BOUND).for_each(|key| count(&mut counts, key, 1 + key % 7));
        assert_eq!(counts.others().current, 0);
        counts.end_interval();
        assert_eq!((counts.len(), counts.others().total), (MAX_GROUPS, 0));
        assert_eq!(in_rows(&counts), counts.sum().total);
        for (key, row) in counts.groups(GroupOrder::Name) {
            let wanted = (1 + number_of(key) % 7) * (round + 1);
            assert_eq!((row.total, row.error), (wanted, 0));
        }
    }
}

#[test]
fn the_heaviest_has_a_row_however_late_it_comes() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    (0..BOUND).for_each(|key| count(&mut counts, key, 1));
    (0..100_000).for_each(|_| count(&mut counts, BOUND, 1));
    let (_, row) = counts.groups(GroupOrder::Total)[0];
    assert_eq!((row.total, row.error), (100_000, 1));
    assert_eq!((row.current, row.current_error), (100_000, 1));
    assert_eq!(counts.others().total, 1);
    counts.end_interval();
    let (_, row) = counts.groups(GroupOrder::Total)[0];
    assert_eq!((row.total, row.error, row.current_error), (100_000, 1, 0));
    assert_eq!(row.last_interval(), 100_000);
}

#[test]
fn the_heavy_stay_among_a_million_that_come_once() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    for key in 0..1_000_000 {
        count(&mut counts, key, 1);
        if key % 500 == 499 {
            count(&mut counts, u64::MAX, 7);
        }
        if key % 20_000 == 0 {
            assert!(counts.len() <= MAX_GROUPS);
            counts.end_interval();
        }
    }
    let (key, row) = counts.groups(GroupOrder::Total)[0];
    assert_eq!(key.to_string(), format!("{:#x}", u64::MAX));
    assert_eq!((row.total, row.error), (14_000, 0));
    assert_eq!(in_rows(&counts) + counts.others().total, 1_014_000);
    assert_eq!(counts.sum().total, 1_014_000);
}

/// The exact counts of all keys.
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
        let mut tables = [0, 1].map(|_| GroupedCounts::with_room(Grouping::Location, room));
        let mut exact = Exact::default();
        for (key, number, end) in drops {
            // Low keys are much heavier.
            let number = if key < 4 { number * 10 } else { number };
            for counts in &mut tables {
                count(counts, key, number);
            }
            *exact.total.entry(key).or_default() += number;
            *exact.current.entry(key).or_default() += number;
            let counts = &tables[0];
            prop_assert!(counts.len() <= room);
            let rows: BTreeMap<u64, _> = counts
                .groups(GroupOrder::Total)
                .into_iter()
                .map(|(key, row)| (number_of(key), row))
                .collect();
            let sum: u64 = exact.total.values().sum();
            prop_assert_eq!(in_rows(counts) + counts.others().total, sum);
            for (key, total) in &exact.total {
                let current = exact.current.get(key).copied().unwrap_or(0);
                let Some(row) = rows.get(key) else {
                    prop_assert!(*total <= sum / room as u64, "{} of {} has no row", total, sum);
                    continue;
                };
                prop_assert!((row.total..=row.total + row.error).contains(total));
                prop_assert!((row.current..=row.current + row.current_error).contains(&current));
                prop_assert!(row.error <= counts.others().total);
            }
            let in_rows: u64 = rows.values().map(|row| row.current).sum();
            prop_assert_eq!(in_rows + counts.others().current, counts.sum().current);
            if end == 0 {
                for counts in &mut tables {
                    counts.end_interval();
                }
                exact.current.clear();
                let counts = &tables[0];
                let mut past = vec![0; counts.sum().history().len()];
                let rows = counts.groups(GroupOrder::Total);
                for row in rows.iter().map(|(_, row)| *row).chain([counts.others()]) {
                    prop_assert_eq!(row.history().len(), past.len());
                    past.iter_mut().zip(row.history()).for_each(|(sum, drops)| *sum += drops);
                }
                prop_assert_eq!(past, counts.sum().history().collect::<Vec<_>>());
            }
        }
        // The same drops always give the same rows.
        let [one, other] = tables.map(|counts| {
            let rows = counts.groups(GroupOrder::Total);
            let rows = rows.iter().map(|(key, row)| (key.to_string(), row.total, row.error));
            rows.collect::<Vec<_>>()
        });
        prop_assert_eq!(one, other);
    }
}
