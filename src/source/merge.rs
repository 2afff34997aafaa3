//! Orders the events of several live sources by time.
//!
//! Each event waits until the other sources have no more events of its time, or until it is [`WINDOW`] ago, so
//! that an earlier one of another source can still come before it. Events of the same time keep the order in which they arrived. The waiting is
//! bounded:
//!
//! - in time: no event waits longer than [`WINDOW`] after its arrival. One whose time is in the future is
//!   treated as if it happened at its arrival. One that arrives later than the window leaves at once, out
//!   of order.
//! - in memory: when more than [`MAX_BYTES`] wait, the earliest leaves before its time.
//!
//! eBPF knows up to which time it has passed on all. The drop monitor is taken to have done so after two seconds
//! without an alert: the first one that comes then may leave out of order, if the kernel sends it late.
//!
//! A drop without a time is treated as if it happened at its arrival; the end of counts stays after the
//! counts. When this machine's clock is set back, all waiting events leave at once.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::Event;
use crate::record::{DropRecord, Link, LinkType, OwnedRecord, Timestamp};

/// The longest time that an event waits for earlier ones of other sources. The event loop lets
/// alerts gather for up to 20 ms; this leaves room for a busy machine.
pub const WINDOW: Duration = Duration::from_millis(100);
/// The most memory that waiting events may use.
pub const MAX_BYTES: usize = 8 << 20;

/// The events that wait.
#[derive(Default)]
pub struct Merger {
    /// By time, then by arrival, with the number of the source.
    waiting: BTreeMap<(Timestamp, u64), (usize, Waiting)>,
    bytes: usize,
    arrivals: u64,
    /// The time by which the latest event of each source was ordered.
    latest: Vec<Timestamp>,
    /// The latest reading of the clock.
    clock: Timestamp,
}

/// An event that owns its bytes.
enum Waiting {
    Drop(OwnedRecord),
    /// The record has only the cause and the time.
    Count {
        record: OwnedRecord,
        count: u64,
    },
    Rejected(u64),
    Drops {
        record: OwnedRecord,
        count: u64,
    },
    Unnamed {
        time: Timestamp,
        count: u64,
    },
    EndOfCounts {
        is_full: bool,
    },
}

impl Merger {
    /// Expects events of one more source.
    pub fn add_source(&mut self) {
        self.latest.push(Timestamp::default());
    }

    /// Adds an event that arrived from a source at `now`. Passes on the earliest events while too
    /// many wait.
    pub fn add<B>(
        &mut self,
        source: usize,
        event: Event<'_, '_>,
        now: Timestamp,
        receive: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let time = match event {
            Event::EndOfCounts { .. } => self.latest[source],
            _ => event.time().unwrap_or(now).min(now),
        };
        self.latest[source] = time;
        self.arrivals += 1;
        let waiting = Waiting::new(event);
        self.bytes += waiting.size();
        self.waiting
            .insert((time, self.arrivals), (source, waiting));
        while self.bytes > MAX_BYTES {
            self.hand_on_first(receive)?;
        }
        ControlFlow::Continue(())
    }

    /// Returns whether an event comes before all others: those that wait, and those of the other sources,
    /// which have none any more up to the time `settled`. The counts of eBPF programs are of the time that has
    /// just passed, and wait for nothing.
    pub fn is_next(&self, event: &Event<'_, '_>, settled: Option<Timestamp>) -> bool {
        if matches!(event, Event::Drops { .. } | Event::Unnamed { .. }) {
            return true;
        }
        let (Some(time), Some(settled)) = (event.time(), settled) else {
            return false;
        };
        let first = self.waiting.first_key_value();
        time <= settled && first.is_none_or(|((first, _), _)| time < *first)
    }

    /// Returns whether any event waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the time by which the earliest waiting event is ordered, and its source.
    pub fn first(&self) -> Option<(Timestamp, usize)> {
        let ((time, _), (source, _)) = self.waiting.first_key_value()?;
        Some((*time, *source))
    }

    /// Passes on the events that have waited long enough.
    pub fn release<B>(
        &mut self,
        now: Timestamp,
        receive: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let was_set_back = now < self.clock;
        self.clock = now;
        if was_set_back {
            return self.release_all(receive);
        }
        while self.remaining(now) == Some(Duration::ZERO) {
            self.hand_on_first(receive)?;
        }
        ControlFlow::Continue(())
    }

    /// Passes on all events, because no more will come.
    pub fn release_all<B>(
        &mut self,
        receive: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        while !self.waiting.is_empty() {
            self.hand_on_first(receive)?;
        }
        ControlFlow::Continue(())
    }

    /// Returns how long the earliest event still has to wait; `None` where none waits.
    pub fn remaining(&self, now: Timestamp) -> Option<Duration> {
        let ((time, _), _) = self.waiting.first_key_value()?;
        let waited = now.as_duration().saturating_sub(time.as_duration());
        Some(WINDOW.saturating_sub(waited))
    }

    /// Passes on the earliest waiting event.
    pub fn hand_on_first<B>(
        &mut self,
        receive: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some((_, (_, first))) = self.waiting.pop_first() else {
            return ControlFlow::Continue(());
        };
        self.bytes -= first.size();
        match first {
            Waiting::Drop(record) => receive(Event::Drop(&record.record())),
            Waiting::Count { record, count } => {
                let DropRecord { cause, time, .. } = record.record();
                receive(Event::Count { cause, count, time })
            }
            Waiting::Rejected(count) => receive(Event::Rejected(count)),
            Waiting::Drops { record, count } => receive(Event::Drops {
                record: &record.record(),
                count,
            }),
            Waiting::Unnamed { time, count } => receive(Event::Unnamed { count, time }),
            Waiting::EndOfCounts { is_full } => receive(Event::EndOfCounts { is_full }),
        }
    }
}

impl Waiting {
    fn new(event: Event<'_, '_>) -> Self {
        match event {
            Event::Drop(record) => Self::Drop(OwnedRecord::new(record)),
            Event::Count { cause, count, time } => {
                let record = DropRecord {
                    time,
                    cause,
                    ..DropRecord::new(Link::known(LinkType::NO_PACKET), &[])
                };
                Self::Count {
                    record: OwnedRecord::new(&record),
                    count,
                }
            }
            Event::Rejected(count) => Self::Rejected(count),
            Event::Drops { record, count } => Self::Drops {
                record: OwnedRecord::new(record),
                count,
            },
            Event::Unnamed { count, time } => Self::Unnamed { time, count },
            Event::EndOfCounts { is_full } => Self::EndOfCounts { is_full },
        }
    }

    /// Returns the bytes of memory that the event uses.
    fn size(&self) -> usize {
        let bytes = match self {
            Self::Drop(record) | Self::Count { record, .. } | Self::Drops { record, .. } => {
                record.byte_count()
            }
            Self::Rejected(_) | Self::Unnamed { .. } | Self::EndOfCounts { .. } => 0,
        };
        size_of::<(Self, usize)>() + size_of::<(Timestamp, u64)>() + bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::simulated::Simulated;
    use proptest::prelude::*;

    const MILLISECOND: u64 = 1_000_000;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp(milliseconds * MILLISECOND)
    }

    fn drop(time: u64, byte: u8) -> Simulated {
        Simulated::Drop(Some(at(time)), byte)
    }

    fn merger(sources: usize) -> Merger {
        let mut merger = Merger::default();
        (0..sources).for_each(|_| merger.add_source());
        merger
    }

    /// A merger with the events that have left it.
    struct Merging {
        merger: Merger,
        left: Vec<Simulated>,
    }

    impl Merging {
        fn new(sources: usize) -> Self {
            Self {
                merger: merger(sources),
                left: Vec::new(),
            }
        }

        fn add(&mut self, source: usize, event: Simulated, now: u64) {
            let mut keep = keep(&mut self.left);
            let added = event.with(|event| self.merger.add(source, event, at(now), &mut keep));
            assert_eq!(added, ControlFlow::Continue(()));
        }

        /// Returns the events that leave by then.
        fn release(&mut self, now: u64) -> Vec<Simulated> {
            let released = self.merger.release(at(now), &mut keep(&mut self.left));
            assert_eq!(released, ControlFlow::Continue(()));
            std::mem::take(&mut self.left)
        }
    }

    fn keep(left: &mut Vec<Simulated>) -> impl FnMut(Event<'_, '_>) -> ControlFlow<()> {
        |event| {
            left.push(Simulated::of(event));
            ControlFlow::Continue(())
        }
    }

    #[test]
    fn events_leave_in_order_of_time_when_the_window_has_passed() {
        let mut merging = Merging::new(2);
        merging.add(0, drop(1000, 1), 1010);
        merging.add(0, drop(1020, 2), 1030);
        merging.add(1, drop(1005, 3), 1040);
        assert_eq!(merging.release(1099), []);
        assert_eq!(
            merging.merger.remaining(at(1099)),
            Some(Duration::from_millis(1))
        );
        assert_eq!(merging.release(1105), [drop(1000, 1), drop(1005, 3)]);
        assert_eq!(merging.release(1120), [drop(1020, 2)]);
        assert_eq!(merging.merger.remaining(at(1120)), None);
    }

    #[test]
    fn equal_times_keep_the_order_of_arrival() {
        let mut merging = Merging::new(3);
        for (source, byte) in [(2, 1), (0, 2), (1, 3), (2, 4)] {
            merging.add(source, drop(1000, byte), 1000);
        }
        let expected = [1, 2, 3, 4].map(|byte| drop(1000, byte));
        assert_eq!(merging.release(1100), expected);
    }

    #[test]
    fn a_source_that_goes_back_in_time_is_ordered_within_the_window() {
        let mut merging = Merging::new(2);
        merging.add(0, drop(1050, 1), 1050);
        merging.add(0, drop(1040, 2), 1051);
        assert_eq!(merging.release(1150), [drop(1040, 2), drop(1050, 1)]);
        // Later than the window, so it leaves at once.
        merging.add(0, drop(900, 3), 1150);
        merging.add(1, drop(1150, 4), 1150);
        assert_eq!(merging.release(1150), [drop(900, 3)]);
    }

    #[test]
    fn a_time_in_the_future_counts_as_of_the_arrival() {
        let mut merging = Merging::new(2);
        merging.add(0, drop(999_999, 1), 1000);
        merging.add(1, drop(1001, 2), 1001);
        assert_eq!(merging.release(1101), [drop(999_999, 1), drop(1001, 2)]);
    }

    #[test]
    fn an_absent_time_counts_as_of_the_arrival_and_stays_absent() {
        let mut merging = Merging::new(2);
        merging.add(0, Simulated::Drop(None, 1), 1010);
        merging.add(1, drop(1005, 2), 1012);
        merging.add(1, drop(1011, 3), 1012);
        let expected = [drop(1005, 2), Simulated::Drop(None, 1), drop(1011, 3)];
        assert_eq!(merging.release(1200), expected);
    }

    #[test]
    fn the_end_of_counts_stays_behind_the_counts() {
        let mut merging = Merging::new(2);
        let counts = [
            Simulated::Count(Some(at(1000)), 3),
            Simulated::Count(Some(at(1000)), 4),
            Simulated::End,
        ];
        for event in counts {
            merging.add(0, event, 1001);
        }
        merging.add(1, drop(1001, 1), 1001);
        assert_eq!(
            merging.release(1200),
            [&counts[..], &[drop(1001, 1)]].concat()
        );
    }

    #[test]
    fn the_earliest_leave_early_where_too_much_waits() {
        const LEN: usize = MAX_BYTES / 4;
        let data = vec![0; LEN];
        let mut merger = merger(2);
        let mut left = Vec::new();
        let mut receive = |event: Event<'_, '_>| {
            left.push(event.time());
            ControlFlow::<()>::Continue(())
        };
        for time in [1003, 1001, 1004, 1002, 1000] {
            let record = DropRecord {
                time: Some(at(time)),
                ..DropRecord::new(Link::known(LinkType::RAW), &data)
            };
            let _ = merger.add(0, Event::Drop(&record), at(1005), &mut receive);
            assert!(merger.bytes <= MAX_BYTES);
        }
        assert_eq!(left, [1001, 1000].map(|time| Some(at(time))));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_back() {
        let mut merging = Merging::new(2);
        merging.add(0, drop(5000, 1), 5000);
        assert_eq!(merging.release(5001), []);
        assert_eq!(merging.release(1000), [drop(5000, 1)]);
    }

    #[test]
    fn the_end_releases_all_and_a_break_stops() {
        let mut merging = Merging::new(2);
        for byte in 1..=3 {
            merging.add(0, drop(1000, byte), 1000);
        }
        let mut stop = |_: Event<'_, '_>| ControlFlow::Break(7);
        assert_eq!(merging.merger.release_all(&mut stop), ControlFlow::Break(7));
        let released = merging.merger.release_all(&mut keep(&mut merging.left));
        assert_eq!(released, ControlFlow::Continue(()));
        assert_eq!(merging.left, [drop(1000, 2), drop(1000, 3)]);
        assert_eq!(merging.merger.bytes, 0);
    }

    /// Generates events of three sources: the time since the previous arrival and the age at
    /// arrival, both in milliseconds, and the source.
    fn arrivals(max_age: u64) -> impl Strategy<Value = Vec<(u64, u64, usize)>> {
        proptest::collection::vec((0..30_u64, 0..max_age, 0..3_usize), 0..60)
    }

    proptest! {
        #[test]
        fn what_arrives_within_the_window_leaves_ordered_and_in_time(arrivals in arrivals(100)) {
            let mut merging = Merging::new(3);
            let mut expected = Vec::new();
            let mut left = Vec::new();
            let (mut now, mut byte) = (1000, 0);
            for (later, age, source) in arrivals {
                now += later;
                byte += 1;
                left.extend(merging.release(now));
                merging.add(source, drop(now - age, byte), now);
                expected.push((now - age, byte));
                let is_late = |(time, byte): &(u64, u8)| {
                    time + 100 < now && !left.contains(&drop(*time, *byte))
                };
                prop_assert!(!expected[..expected.len() - 1].iter().any(is_late));
            }
            left.extend(merging.release(now + 100));
            expected.sort_unstable();
            let expected: Vec<_> = expected.iter().map(|&(time, byte)| drop(time, byte)).collect();
            prop_assert_eq!(left, expected);
            prop_assert_eq!(merging.merger.bytes, 0);
        }

        #[test]
        fn nothing_is_lost_or_doubled_however_late_it_is(arrivals in arrivals(900)) {
            let mut merging = Merging::new(3);
            let (mut now, mut byte, mut left) = (1000, 0, Vec::new());
            for (later, age, source) in arrivals {
                now += later;
                byte += 1;
                merging.add(source, Simulated::Drop(Some(at(now - age)), byte), now);
                left.extend(merging.release(now));
            }
            left.extend(merging.release(now + 100));
            let mut bytes: Vec<_> = left.iter().map(|event| match event {
                Simulated::Drop(_, byte) => *byte,
                _ => 0,
            }).collect();
            bytes.sort_unstable();
            prop_assert_eq!(bytes, (1..=byte).collect::<Vec<_>>());
        }
    }
}
