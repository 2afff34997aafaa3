//! The counters behind the live table. Drops are counted by every grouping at once, so that changing
//! the grouping loses nothing. The last packets are kept too, and the time that the counts cover.

use std::time::Duration;

use super::last_packets::LastPackets;
use crate::record::{Loss, Timestamp};
use crate::summary::{Counted, GroupCounts, GroupKey, GroupedCounts, Grouping, HISTORY};

/// The first interval of a file for which the user chose none: it grows with the file.
const FIRST_INTERVAL: Duration = Duration::from_millis(1);

/// Everything that the live table counts.
#[derive(Clone, Debug)]
pub struct Counters {
    by_grouping: Vec<GroupedCounts>,
    /// The packets that were counted last.
    pub recent: LastPackets,
    /// The source of time.
    pub pace: Pace,
    /// The lost drops; `None` where their number is unknown.
    pub loss: Option<Loss>,
}

/// The source of time, which also defines what a rate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// This machine's clock. The owner of the counters ends the intervals, and the rate is that of the
    /// last interval.
    Clock {
        /// The length of the last interval; zero before the first one ends.
        last: Duration,
        /// The time since the beginning.
        elapsed: Duration,
    },
    /// The times of the drops of a capture file. The rate is that of the whole file.
    Recorded(Recording),
}

/// The intervals of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The length of an interval, in nanoseconds.
    interval: u128,
    /// The interval grows, so that the history covers the whole file.
    grows: bool,
    /// The times of the earliest and the latest drop.
    period: Option<(Timestamp, Timestamp)>,
    /// The start of the first interval, in nanoseconds since the epoch.
    start: u128,
    /// The end of the current interval, likewise.
    end: u128,
}

impl Recording {
    /// Creates intervals of this length, or, without one, such that the whole file has 16 at most.
    pub fn new(interval: Option<Duration>) -> Self {
        Self {
            interval: interval.unwrap_or(FIRST_INTERVAL).as_nanos().max(1),
            grows: interval.is_none(),
            period: None,
            start: 0,
            end: 0,
        }
    }

    /// Returns the time between the earliest and the latest drop.
    pub fn length(&self) -> Option<Duration> {
        let (first, last) = self.period?;
        Some(Duration::from_nanos(last.0.saturating_sub(first.0)))
    }
}

impl Counters {
    /// Creates counters without any drop.
    pub fn new(pace: Pace) -> Self {
        Self {
            by_grouping: Grouping::ALL.map(GroupedCounts::new).into(),
            recent: LastPackets::default(),
            pace,
            loss: None,
        }
    }

    /// Counts by a grouping that is not among those for every source, too.
    pub fn add(&mut self, grouping: Grouping) {
        let mut all = self.by_grouping.iter();
        if all.all(|counts| counts.grouping() != grouping) {
            self.by_grouping.push(GroupedCounts::new(grouping));
        }
    }

    /// Returns the grouping behind this one; the first follows the last.
    pub fn next(&self, grouping: Grouping) -> Grouping {
        self.step(grouping, 1)
    }

    /// Returns the grouping before this one; the last precedes the first.
    pub fn previous(&self, grouping: Grouping) -> Grouping {
        self.step(grouping, self.by_grouping.len() - 1)
    }

    fn step(&self, grouping: Grouping, by: usize) -> Grouping {
        let mut all = self.by_grouping.iter();
        let at = all.position(|counts| counts.grouping() == grouping);
        self.by_grouping[(at.unwrap_or(0) + by) % self.by_grouping.len()].grouping()
    }

    /// Counts a drop. Allocates nothing for a packet whose keys all have groups.
    pub fn count(&mut self, counted: &Counted<'_, '_>) {
        for counts in &mut self.by_grouping {
            counts.count(counted);
        }
        if let Counted::Packet(record) = counted {
            self.recent.push(record);
        }
    }

    /// Returns the counts of a grouping.
    pub fn by(&self, grouping: Grouping) -> &GroupedCounts {
        let counts = self
            .by_grouping
            .iter()
            .find(|counts| counts.grouping() == grouping);
        // Every grouping has counts.
        counts.unwrap_or(&self.by_grouping[0])
    }

    /// Ends the current interval.
    pub fn end_interval(&mut self) {
        self.by_grouping
            .iter_mut()
            .for_each(GroupedCounts::end_interval);
    }

    /// Ends the intervals before the time of a drop in a capture file. The drops of several CPUs are
    /// not quite in order; one that comes late is counted in the current interval.
    pub fn advance(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else {
            return;
        };
        let Pace::Recorded(mut recording) = self.pace else {
            return;
        };
        let now = u128::from(time.0);
        let (first, last) = *recording.period.get_or_insert_with(|| {
            recording.start = now;
            recording.end = now + recording.interval;
            (time, time)
        });
        recording.period = Some((first.min(time), last.max(time)));
        let mut ended = 0;
        while now >= recording.end {
            if recording.grows && self.by_grouping[0].intervals() == HISTORY {
                self.by_grouping
                    .iter_mut()
                    .for_each(GroupedCounts::join_intervals);
                recording.interval *= 2;
                let over = self.by_grouping[0].intervals() as u128;
                recording.end = recording.start + (over + 1) * recording.interval;
            } else if !recording.grows && ended == HISTORY {
                // The gap without drops is longer than the history.
                let more = (now - recording.end) / recording.interval + 1;
                recording.end += more * recording.interval;
            } else {
                self.end_interval();
                ended += 1;
                recording.end += recording.interval;
            }
        }
        self.pace = Pace::Recorded(recording);
    }

    /// Ends the last interval of a capture file.
    pub fn end_recording(&mut self) {
        let Pace::Recorded(recording) = &self.pace else {
            return;
        };
        if recording.grows && self.by_grouping[0].intervals() == HISTORY {
            self.by_grouping
                .iter_mut()
                .for_each(GroupedCounts::join_intervals);
        }
        self.end_interval();
    }

    /// Returns the drops per second of a group; `None` where no time has passed.
    pub fn rate(&self, row: &GroupCounts) -> Option<f64> {
        let (drops, length) = match &self.pace {
            Pace::Clock { last, .. } => (row.last_interval(), Some(*last)),
            Pace::Recorded(recording) => (row.total, recording.length()),
        };
        let seconds = length.filter(|length| !length.is_zero())?.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // Three digits of it are shown.
        Some(drops as f64 / seconds)
    }

    /// Returns the keys of the groups in the given order; equal ones by their totals, then by name.
    pub fn keys(&self, grouping: Grouping, order: Order) -> Vec<GroupKey> {
        let counts = self.by(grouping);
        let mut rows = counts.groups(match order {
            Order::Rate | Order::Total => crate::summary::GroupOrder::Total,
            Order::Name => crate::summary::GroupOrder::Name,
        });
        if order == Order::Rate && matches!(self.pace, Pace::Clock { .. }) {
            rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.last_interval()));
        }
        rows.into_iter().map(|(key, _)| key.clone()).collect()
    }

    /// Returns the last packets of a group, the newest first.
    pub fn packets_of<'b>(
        &'b self,
        grouping: Grouping,
        key: &'b GroupKey,
    ) -> impl Iterator<Item = crate::record::DropRecord<'b>> {
        let records = self.recent.records();
        records.filter(move |record| key.is_of(grouping, &Counted::Packet(record)))
    }
}

/// The order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Most drops per second first.
    Rate,
    /// Most drops first.
    Total,
    /// By name.
    Name,
}

impl Order {
    /// Returns the next order; the first follows the last.
    pub fn next(self) -> Self {
        match self {
            Self::Rate => Self::Total,
            Self::Total => Self::Name,
            Self::Name => Self::Rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cause, Location};

    fn count(counters: &mut Counters, time: u64) {
        counters.advance(Some(Timestamp(time)));
        counters.count(&Counted::Kernel {
            cause: Cause::Software {
                location: Location::default(),
                reason: None,
            },
            count: 1,
        });
    }

    fn history(counters: &Counters) -> Vec<u64> {
        counters.by(Grouping::Location).sum().history().collect()
    }

    #[test]
    fn the_history_of_a_file_covers_all_of_it() {
        const SECOND: u64 = 1_000_000_000;
        for length in [1, 5, 100, 86_400, 10_000_000_000] {
            let mut counters = Counters::new(Pace::Recorded(Recording::new(None)));
            for number in 0..=1000 {
                count(&mut counters, SECOND + number * length * (SECOND / 1000));
            }
            counters.end_recording();
            let history = history(&counters);
            assert_eq!(history.iter().sum::<u64>(), 1001, "{length}");
            assert!((8..=16).contains(&history.len()), "{length}: {history:?}");
            let row = counters.by(Grouping::Location).sum();
            let rate = counters.rate(row).unwrap();
            #[allow(clippy::cast_precision_loss)]
            let expected = 1001.0 / length as f64;
            assert!((rate / expected - 1.0).abs() < 1e-6, "{length}: {rate}");
        }
    }

    #[test]
    fn intervals_that_were_chosen_stay_as_they_are() {
        let interval = Some(Duration::from_secs(1));
        let mut counters = Counters::new(Pace::Recorded(Recording::new(interval)));
        let times = [10.0, 10.5, 11.2, 13.0, 12.9];
        for time in times {
            count(
                &mut counters,
                Timestamp::from_duration(Duration::from_secs_f64(time)).0,
            );
        }
        counters.end_recording();
        assert_eq!(history(&counters), [2, 1, 0, 2]);
        // A year later, and 0.4 seconds after that.
        let year = 365 * 86_400 * 1_000_000_000;
        count(&mut counters, year + 10_000_000_000);
        count(&mut counters, year + 10_400_000_000);
        counters.end_recording();
        assert_eq!(history(&counters).iter().sum::<u64>(), 2);
        assert_eq!(history(&counters).last(), Some(&2));
    }

    #[test]
    fn no_time_panics() {
        for interval in [None, Some(Duration::from_nanos(1)), Some(Duration::MAX)] {
            let mut counters = Counters::new(Pace::Recorded(Recording::new(interval)));
            for time in [5, u64::MAX, 0, 7, u64::MAX - 1] {
                count(&mut counters, time);
            }
            counters.end_recording();
            assert_eq!(counters.by(Grouping::Flow).sum().total, 5);
        }
    }
}
