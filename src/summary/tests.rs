//! Tests the counts with the project's own captures and with made-up floods.

use std::fs::File;
use std::ops::ControlFlow;

mod filters;
mod heavy;

use super::*;
use crate::record::{Location, Name, Symbol};
use crate::source::savefile::Savefile;

const CAPTURES: [&str; 3] = [
    "fixtures/software-6.1.pcap",
    "fixtures/software-6.12.pcap",
    "fixtures/hardware-6.12.pcap",
];

fn each_record(mut take: impl FnMut(&DropRecord<'_>)) {
    for path in CAPTURES {
        let mut file = Savefile::open(File::open(path).unwrap()).unwrap();
        let _ = file.for_each(|record| {
            take(record);
            ControlFlow::<()>::Continue(())
        });
    }
}

fn place(pc: u64, symbol: &'static str) -> Cause<'static> {
    Cause::Software {
        location: Location {
            pc: Some(pc),
            symbol: Name::new(symbol.as_bytes()).map(Symbol),
            ..Location::default()
        },
        reason: None,
    }
}

#[test]
fn rows_are_sorted_by_what_counts_and_then_by_name() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    let count = |cause, count| Counted::Kernel { cause, count };
    counts.count(&count(place(1, "b+0x1/0x2"), 5));
    counts.count(&count(place(2, "a+0x1/0x2"), 5));
    counts.end_interval();
    counts.count(&count(place(3, "c+0x1/0x2"), 1));
    let names = |counts: &GroupedCounts, order| {
        let rows = counts.groups(order);
        let names: Vec<String> = rows.iter().map(|(key, _)| key.to_string()).collect();
        names.join(" ")
    };
    assert_eq!(
        names(&counts, GroupOrder::Rate),
        "a+0x1/0x2 b+0x1/0x2 c+0x1/0x2"
    );
    assert_eq!(
        names(&counts, GroupOrder::Current),
        "c+0x1/0x2 a+0x1/0x2 b+0x1/0x2"
    );
    counts.end_interval();
    assert_eq!(
        names(&counts, GroupOrder::Rate),
        "c+0x1/0x2 a+0x1/0x2 b+0x1/0x2"
    );
    assert_eq!(
        names(&counts, GroupOrder::Total),
        "a+0x1/0x2 b+0x1/0x2 c+0x1/0x2"
    );
    assert_eq!(
        names(&counts, GroupOrder::Name),
        "a+0x1/0x2 b+0x1/0x2 c+0x1/0x2"
    );
    // A row that came later has the same past as the others.
    let histories = counts.groups(GroupOrder::Name);
    let histories: Vec<Vec<u64>> = histories
        .iter()
        .map(|(_, row)| row.history().collect())
        .collect();
    assert_eq!(histories, [[5, 0], [5, 0], [0, 1]]);
    assert_eq!(counts.sum().history().collect::<Vec<_>>(), [10, 1]);
}

#[test]
fn the_history_has_the_last_16_intervals() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    for count in 1..=40 {
        counts.count(&Counted::Kernel {
            cause: place(1, ""),
            count,
        });
        counts.end_interval();
    }
    let past: Vec<u64> = counts.sum().history().collect();
    assert_eq!(past, (25..=40).collect::<Vec<u64>>());
    assert_eq!(counts.sum().last_interval(), 40);
}

#[test]
fn joined_intervals_have_the_sums_of_their_counts() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    for count in 1..=16 {
        counts.count(&Counted::Kernel {
            cause: place(1, ""),
            count,
        });
        counts.join_intervals();
        assert_eq!(counts.intervals(), usize::try_from(count).unwrap() - 1);
        counts.end_interval();
    }
    counts.join_intervals();
    let past: Vec<u64> = counts.sum().history().collect();
    assert_eq!(past, [3, 7, 11, 15, 19, 23, 27, 31]);
    counts.end_interval();
    let past: Vec<u64> = counts.groups(GroupOrder::Name)[0].1.history().collect();
    assert_eq!(past, [3, 7, 11, 15, 19, 23, 27, 31, 0]);
}

#[test]
fn a_row_knows_its_last_drop_and_whether_there_were_others() {
    let mut counts = GroupedCounts::new(Grouping::Interface);
    each_record(|record| counts.count(&Counted::Packet(record)));
    let local = counts.group(&GroupKey::Local).unwrap();
    assert!(local.last.several_locations);
    let mut counts = GroupedCounts::new(Grouping::Reason);
    each_record(|record| counts.count(&Counted::Packet(record)));
    let row = counts
        .group(&GroupKey::Reason((*b"NETFILTER_DROP").into()))
        .unwrap();
    assert_eq!(row.last.reason, b"NETFILTER_DROP");
    assert!(!row.last.several_reasons);
}

#[test]
fn keys_have_names_that_a_person_reads() {
    #[track_caller]
    fn check(grouping: Grouping, cause: Cause<'_>, name: &str) {
        let mut room = Vec::new();
        let key = GroupKeyView::of(grouping, &Counted::Kernel { cause, count: 1 }, &mut room);
        assert_eq!(key.to_owned().to_string(), name);
    }
    let trap = Cause::Hardware {
        group: None,
        trap: Name::new(b"blackhole_route"),
        cookie: None,
    };
    check(Grouping::Location, place(0, ""), "rx_dropped");
    check(Grouping::Location, place(16, ""), "0x10");
    check(Grouping::Location, trap, "blackhole_route");
    check(Grouping::Reason, trap, "blackhole_route");
    check(Grouping::Reason, place(16, ""), "counted without a packet");
    check(Grouping::Module, place(16, ""), "unknown module");
    check(Grouping::Module, place(16, "f+0x1/0x2 [gre]"), "gre");
    check(Grouping::Module, place(16, "f+0x1/0x2"), "kernel");
    check(Grouping::Module, trap, "device");
    check(Grouping::Flow, trap, "counted without a packet");
    check(Grouping::Location, place(16, "\x1b[31m"), "\\x1b[31m");
}

#[test]
fn drops_without_a_name_may_belong_to_any_row() {
    let mut counts = GroupedCounts::new(Grouping::Location);
    let at = |pc, count| Counted::Kernel {
        cause: place(pc, ""),
        count,
    };
    counts.count(&at(1, 5));
    counts.count(&Counted::Unnamed { count: 3 });
    counts.count(&at(2, 7));
    let rows = |counts: &GroupedCounts| {
        let rows = counts.groups(GroupOrder::Name);
        let rows = rows
            .iter()
            .map(|(_, row)| (row.total, row.error, row.current_error));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(rows(&counts), [(5, 3, 3), (7, 3, 3)]);
    assert_eq!((counts.others().total, counts.unnamed()), (3, 3));
    assert_eq!(counts.sum().total, 15);
    counts.end_interval();
    counts.count(&at(1, 1));
    assert_eq!(rows(&counts), [(6, 3, 0), (7, 3, 0)]);
    assert_eq!(counts.others().history().collect::<Vec<_>>(), [3]);
}

#[test]
fn facts_without_a_packet_have_the_rows_of_the_packet() {
    each_record(|record| {
        let without = DropRecord {
            data: &[],
            original_len: 0,
            protocol: None,
            ..*record
        };
        let counted = Counted::Drops {
            record: &without,
            count: 2,
        };
        for grouping in Grouping::ALL {
            let (mut room, mut other_room) = (Vec::new(), Vec::new());
            let key = GroupKeyView::of(grouping, &counted, &mut room);
            if grouping.needs_no_packet() {
                let packet = Counted::Packet(record);
                let packets = GroupKeyView::of(grouping, &packet, &mut other_room);
                assert_eq!(key, packets, "{grouping}");
            } else {
                assert_eq!(key, GroupKeyView::Unseen, "{grouping}");
            }
        }
    });
}
