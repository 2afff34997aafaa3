//! Decides when a file of a ring is followed by the next, as tcpdump does. No I/O, and no clock of its own.

use std::time::{Duration, Instant};

use crate::cli::Rotation;
use crate::record::Timestamp;

/// The limits of a file, and how far the ring is.
#[derive(Clone, Debug)]
pub struct Schedule {
    size: Option<u64>,
    interval: Option<Duration>,
    count: Option<u32>,
    /// The number of the file, which begins at 0 again with each interval.
    number: u32,
    /// The intervals that are over.
    intervals: u32,
    began: Timestamp,
    due: Option<Instant>,
}

/// The successor of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another file.
    Next,
    /// The end of the run: there are as many files as were asked for.
    End,
}

impl Schedule {
    /// Begins with the first file.
    pub fn new(rotation: &Rotation, now: Instant, began: Timestamp) -> Self {
        Self {
            size: rotation.size,
            interval: rotation.interval,
            count: rotation.count,
            number: 0,
            intervals: 0,
            began,
            due: rotation.interval.map(|interval| now + interval),
        }
    }

    /// Returns the number of the file and the time in its name.
    pub fn place(&self) -> (Timestamp, u32) {
        (self.began, self.number)
    }

    /// Returns when the interval is over.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns whether a file of so many bytes takes no further packet: one that has more than the limit.
    pub fn is_full(&self, bytes: u64) -> bool {
        self.size.is_some_and(|size| bytes > size)
    }

    /// Goes on with the next number, which is 0 after the last of `-W`.
    pub fn turn_by_size(&mut self) -> Turn {
        let next = self.number.saturating_add(1);
        self.number = match self.count {
            Some(count) if next >= count => 0,
            _ => next,
        };
        Turn::Next
    }

    /// Goes on with the next interval if the present one is over.
    pub fn turn_by_time(&mut self, now: Instant, time: Timestamp) -> Option<Turn> {
        let (due, interval) = (self.due?, self.interval?);
        if now < due {
            return None;
        }
        self.intervals = self.intervals.saturating_add(1);
        let is_last =
            self.size.is_none() && self.count.is_some_and(|count| self.intervals >= count);
        if is_last {
            self.due = None;
            return Some(Turn::End);
        }
        // Without what the delay would add up to; after a longer one, as of a suspended machine, intervals are left out.
        let next = due + interval;
        self.due = Some(if next > now { next } else { now + interval });
        self.number = 0;
        self.began = time;
        Some(Turn::Next)
    }

    /// Goes on before its time, as a signal asks.
    pub fn turn_early(&mut self, now: Instant, time: Timestamp) -> Option<Turn> {
        if self.size.is_some() {
            return Some(self.turn_by_size());
        }
        self.due = Some(now);
        self.turn_by_time(now, time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(
        size: Option<u64>,
        seconds: Option<u64>,
        count: Option<u32>,
    ) -> (Schedule, Instant) {
        let rotation = Rotation {
            size,
            interval: seconds.map(Duration::from_secs),
            count,
            ..Rotation::default()
        };
        let now = Instant::now();
        (Schedule::new(&rotation, now, Timestamp(0)), now)
    }

    #[test]
    fn a_file_is_full_once_it_has_more_than_its_limit() {
        let (schedule, _) = schedule(Some(1000), None, None);
        assert!(!schedule.is_full(1000) && schedule.is_full(1001));
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        let (mut counted, _) = schedule(Some(1), None, Some(3));
        let numbers: Vec<_> = (0..7)
            .map(|_| {
                let (_, number) = counted.place();
                assert_eq!(counted.turn_by_size(), Turn::Next);
                number
            })
            .collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1, 2, 0]);
        let (mut endless, _) = schedule(Some(1), None, None);
        (0..100_000).for_each(|_| assert_eq!(endless.turn_by_size(), Turn::Next));
        assert_eq!(endless.place().1, 100_000);
    }

    #[test]
    fn intervals_end_the_run_only_without_a_size() {
        let (mut timed, start) = schedule(None, Some(10), Some(2));
        let second = Duration::from_secs(1);
        assert_eq!(timed.turn_by_time(start + 9 * second, Timestamp(1)), None);
        assert_eq!(
            timed.turn_by_time(start + 10 * second, Timestamp(2)),
            Some(Turn::Next)
        );
        assert_eq!(timed.place(), (Timestamp(2), 0));
        assert_eq!(
            timed.turn_by_time(start + 20 * second, Timestamp(3)),
            Some(Turn::End)
        );
        let (mut both, start) = schedule(Some(5), Some(10), Some(2));
        for turn in 1..50 {
            assert_eq!(both.turn_by_size(), Turn::Next);
            let now = start + 10 * turn * second;
            assert_eq!(
                both.turn_by_time(now, Timestamp(turn.into())),
                Some(Turn::Next)
            );
            assert_eq!(both.place(), (Timestamp(turn.into()), 0));
        }
    }

    #[test]
    fn a_late_turn_delays_no_later_one_unless_an_interval_was_missed() {
        let (mut timed, start) = schedule(None, Some(10), None);
        let second = Duration::from_secs(1);
        timed.turn_by_time(start + 13 * second, Timestamp(1));
        assert_eq!(timed.due(), Some(start + 20 * second));
        timed.turn_by_time(start + 1000 * second, Timestamp(1));
        assert_eq!(timed.due(), Some(start + 1010 * second));
    }
}
