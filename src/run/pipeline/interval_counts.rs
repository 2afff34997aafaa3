//! Prints a line of counts at regular intervals, by which a recorder that runs for weeks is watched: what was received
//! is what was written, rejected by the filter, and lost.

use std::fmt;
use std::time::{Duration, Instant};

use super::Counts;
use crate::record::Loss;
use crate::sink::Rejected;

/// The lines of `--stats-interval`.
pub struct IntervalCounts {
    interval: Duration,
    began: Instant,
    next: Instant,
    last: ReceivedDrops,
}

/// The drops that the kernel reported, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ReceivedDrops {
    written: u64,
    /// Kept, but not to be expressed in the file's format.
    left_out: u64,
    /// `None` where the kernel rejects without counting.
    rejected: Option<u64>,
    /// `None` where it is unknown.
    lost: Option<u64>,
}

impl IntervalCounts {
    /// Begins the first interval.
    pub fn new(interval: Duration) -> Self {
        let began = Instant::now();
        Self {
            interval,
            began,
            next: began + interval,
            last: ReceivedDrops {
                rejected: Some(0),
                lost: Some(0),
                ..ReceivedDrops::default()
            },
        }
    }

    /// Returns when the interval ends.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Returns the line of the interval that ends now, with the counts since the start, and begins the next one.
    pub fn line(&mut self, now: Instant, counts: Counts, loss: Option<Loss>) -> String {
        let sum = ReceivedDrops::of(counts, loss);
        let latest = sum.since(self.last);
        self.last = sum;
        let since_start = now.saturating_duration_since(self.began).as_secs();
        // A machine that was too busy skips intervals, and the next one ends at the planned time.
        let length = now.saturating_duration_since(self.next) + self.interval;
        while self.next <= now {
            self.next += self.interval;
        }
        format!(
            "in {} s {latest}; since the start, {since_start} s ago, {sum}",
            length.as_secs_f64().round()
        )
    }
}

impl ReceivedDrops {
    fn of(counts: Counts, loss: Option<Loss>) -> Self {
        let left_out = counts.left_out + counts.without_time;
        Self {
            written: counts.captured.saturating_sub(left_out),
            left_out,
            rejected: match counts.rejected {
                Rejected::Counted(count) => Some(count),
                Rejected::InKernel => None,
            },
            lost: loss.map(Loss::sum),
        }
    }

    fn since(self, earlier: Self) -> Self {
        let less = |now: Option<u64>, before: Option<u64>| {
            now.map(|now| now.saturating_sub(before.unwrap_or(0)))
        };
        Self {
            written: self.written - earlier.written,
            left_out: self.left_out - earlier.left_out,
            rejected: less(self.rejected, earlier.rejected),
            lost: less(self.lost, earlier.lost),
        }
    }
}

impl fmt::Display for ReceivedDrops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            written,
            left_out,
            rejected,
            lost,
        } = *self;
        let received = written + left_out + rejected.unwrap_or(0) + lost.unwrap_or(0);
        write!(f, "received {received} = {written} written")?;
        if left_out > 0 {
            write!(f, " + {left_out} left out")?;
        }
        if let Some(rejected) = rejected {
            write!(f, " + {rejected} rejected")?;
        }
        if let Some(lost) = lost {
            write!(f, " + {lost} lost")?;
        }
        if rejected.is_none() {
            f.write_str(", not counting those that the kernel rejects")?;
        }
        if lost.is_none() {
            f.write_str(", not counting those that were lost, which is unknown")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_the_interval_and_the_sum() {
        let mut lines = IntervalCounts::new(Duration::from_mins(1));
        let after = |seconds| lines.began + Duration::from_secs(seconds);
        let times = [60, 120, 250].map(after);
        let counts = |captured, rejected| Counts {
            captured,
            rejected: Rejected::Counted(rejected),
            ..Counts::default()
        };
        let lost = |queue| {
            Some(Loss {
                queue,
                ..Loss::default()
            })
        };
        assert_eq!(
            lines.line(times[0], counts(10, 2), lost(3)),
            "in 60 s received 15 = 10 written + 2 rejected + 3 lost; \
             since the start, 60 s ago, received 15 = 10 written + 2 rejected + 3 lost"
        );
        assert_eq!(
            lines.line(times[1], counts(11, 2), lost(5)),
            "in 60 s received 3 = 1 written + 0 rejected + 2 lost; \
             since the start, 120 s ago, received 18 = 11 written + 2 rejected + 5 lost"
        );
        let late = lines.line(times[2], counts(11, 2), None);
        assert!(late.starts_with(
            "in 130 s received 0 = 0 written + 0 rejected, not counting those that were lost"
        ));
        assert_eq!(lines.due(), lines.began + Duration::from_mins(5));
    }

    #[test]
    fn what_cannot_be_counted_is_told() {
        let counts = Counts {
            captured: 5,
            left_out: 1,
            without_time: 1,
            rejected: Rejected::InKernel,
            ..Counts::default()
        };
        assert_eq!(
            ReceivedDrops::of(counts, Some(Loss::default())).to_string(),
            "received 5 = 3 written + 2 left out + 0 lost, not counting those that the kernel rejects"
        );
    }
}
