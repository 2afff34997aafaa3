use std::ops::ControlFlow;
use std::time::Duration;

use allocation_counter::measure;

use super::*;
use crate::filter::SystemNames;
use crate::record::{Cause, Interface, Link, LinkType, Location, Name, PacketFlags, Stack, Symbol};
use crate::untrusted::Untrusted;

const SECOND: u64 = 1_000_000_000;

fn trigger(memory: usize) -> Trigger {
    let filter = Filter::parse("reason BAD", &SystemNames).unwrap();
    let choice = TriggerChoice {
        filter: String::new(),
        before: Duration::from_secs(10),
        after: Duration::from_secs(5),
        memory,
    };
    Trigger::with_filter(filter, &choice)
}

fn record(second: u64, reason: &'static str, data: &'static [u8]) -> DropRecord<'static> {
    let mut record = DropRecord::new(Link::known(LinkType::RAW), data);
    record.time = Some(Timestamp(1_000_000 * SECOND + second * SECOND));
    record.cause = Cause::Software {
        location: Location::new(Some(7), Name::new(b"f+0x1/0x2 [m]").map(Symbol)),
        reason: Name::new(reason.as_bytes()),
    };
    record
}

/// Takes drops of these seconds and returns the seconds of those that are kept.
fn kept(trigger: &mut Trigger, drops: &[(u64, &'static str)]) -> Vec<u64> {
    let mut kept = Vec::new();
    for (second, reason) in drops {
        let flow = trigger.take(&record(*second, reason, b"E..."), |record| {
            kept.push(record.time.unwrap().0 / SECOND - 1_000_000);
            ControlFlow::<()>::Continue(())
        });
        assert!(flow.is_continue());
    }
    kept
}

#[test]
fn what_surrounds_a_match_is_kept_in_order() {
    let mut trigger = trigger(1 << 20);
    let drops = [
        (0, ""),
        (9, ""),
        (10, ""),
        (15, "A"),
        (20, "BAD"),
        (21, ""),
        (25, ""),
        (26, ""),
    ];
    assert_eq!(kept(&mut trigger, &drops), [10, 15, 20, 21, 25]);
    let counts = TriggerCounts {
        matches: 1,
        passed_over: 2,
        given_up: 0,
    };
    assert_eq!(trigger.counts(), counts);
    // What was delivered is not delivered again, and what waited is.
    assert_eq!(
        kept(&mut trigger, &[(30, "BAD"), (31, "BAD")]),
        [26, 30, 31]
    );
    kept(&mut trigger, &[(40, ""), (41, "")]);
    assert_eq!(trigger.counts().passed_over, 2);
    trigger.forget_all();
    assert_eq!(trigger.forgotten(), 4);
}

#[test]
fn what_there_was_no_memory_for_is_counted() {
    let mut one = trigger(1 << 20);
    kept(&mut one, &[(0, "")]);
    let len = one.string.len() + 4;
    let mut full = trigger(3 * len);
    let drops = [(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, "BAD")];
    assert_eq!(kept(&mut full, &drops), [3, 4, 5, 6]);
    let counts = full.counts();
    assert_eq!((counts.passed_over, counts.given_up), (2, 2));
    // Those that were too old anyway are no loss.
    let drops = [(100, ""), (101, ""), (102, ""), (103, ""), (130, "BAD")];
    assert_eq!(kept(&mut full, &drops), [130]);
    assert_eq!(full.counts().given_up, 2);
    let mut tiny = trigger(10);
    assert_eq!(kept(&mut tiny, &[(1, ""), (2, "BAD")]), [2]);
    assert_eq!(tiny.counts().given_up, 1);
}

#[test]
fn a_record_comes_back_as_it_was() {
    let notes = [Untrusted::new("look here"), Untrusted::new("")];
    let mut whole = record(3, "R", b"E\0\0\x14abcdef");
    whole.original_len = 1500;
    whole.flags = PacketFlags(0x0100_0002);
    whole.link = Link {
        kind: LinkType::ETHERNET,
        basis: crate::record::Basis::Assumed,
    };
    whole.input = Some(Interface::new(5, Name::new(b"eth0")));
    whole.notes = &notes;
    let mut stacked = Location::new(None, None);
    stacked.stack = Stack::new(b"a+0x1/0x2;b+0x1/0x3");
    let mut bare = DropRecord::new(Link::known(LinkType::NETLINK), &[]);
    bare.cause = Cause::Software {
        location: stacked,
        reason: None,
    };
    for record in [whole, bare, record(0, "", b"")] {
        let mut string = Vec::new();
        entry::write(&record, Timestamp(9), &mut string);
        assert_eq!(entry::read(&string, |read| *read == record), Some(true));
        for len in 0..string.len() - record.data.len() {
            let _ = entry::read(&string[..len], |_| ());
        }
    }
}

#[test]
fn a_drop_allocates_nothing() {
    let mut trigger = trigger(10_000);
    let mut pass = |count: u64| {
        for number in 0..count {
            let _ = trigger.take(&record(number / 100, "", b"E..."), |_| {
                ControlFlow::<()>::Continue(())
            });
        }
    };
    pass(200);
    assert_eq!(measure(|| pass(50)).count_total, 0);
}
