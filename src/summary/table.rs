//! Counts in rows, and how they went over the last intervals.

use indexmap::IndexMap;

use super::{Counted, Grouping, Key, KeyView};
use crate::record::{Cause, Timestamp};

/// The most rows of a table. When it is full, the rows that count least are folded into
/// [`Table::others`] at the end of an interval, and new keys until then.
pub const MAX_ROWS: usize = 10_000;
/// The rows that stay when the table is full.
const KEPT_ROWS: usize = MAX_ROWS / 2;
/// Past intervals that a row remembers.
pub const HISTORY: usize = 16;

/// Drops counted by one grouping.
#[derive(Clone, Debug)]
pub struct Table {
    grouping: Grouping,
    rows: IndexMap<Key, Row>,
    others: Row,
    sum: Row,
}

/// What is known of the drops with one key.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Drops since the beginning.
    pub total: u64,
    /// Drops in the interval that is not over yet.
    pub current: u64,
    /// Drops in past intervals, at positions that go round.
    past: [u32; HISTORY],
    /// Intervals that were ended.
    intervals: usize,
    /// Of the drop seen last.
    pub last: Seen,
}

/// What the last drop of a row was.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When; `None` where the kernel counted.
    pub time: Option<Timestamp>,
    /// Its reason, or its trap; empty where none is known.
    pub reason: Vec<u8>,
    /// Its symbol, or its trap group; empty where none is known.
    pub place: Vec<u8>,
    /// Whether the row has drops with another reason.
    pub several_reasons: bool,
    /// Whether the row has drops at another place.
    pub several_places: bool,
}

/// How rows are sorted; equal ones by their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Most drops in the interval that is not over yet first.
    Current,
    /// Most drops in the last interval first.
    Rate,
    /// Most drops since the beginning first.
    Total,
    /// By name.
    Name,
}

impl Table {
    /// Nothing counted yet.
    pub fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            rows: IndexMap::new(),
            others: Row::default(),
            sum: Row::default(),
        }
    }

    /// What rows are.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// Counts. Allocates nothing for a key that has a row.
    pub fn count(&mut self, counted: &Counted<'_, '_>) {
        self.sum.count(counted);
        let key = KeyView::of(self.grouping, counted);
        if let Some(row) = self.rows.get_mut(&key) {
            row.count(counted);
        } else if self.rows.len() < MAX_ROWS {
            let mut row = Row {
                intervals: self.sum.intervals,
                ..Row::default()
            };
            row.count(counted);
            self.rows.insert(key.to_owned(), row);
        } else {
            self.others.count(counted);
        }
    }

    /// Ends the interval: what was current becomes the past.
    pub fn end_interval(&mut self) {
        for row in self.rows.values_mut() {
            row.end_interval();
        }
        self.others.end_interval();
        self.sum.end_interval();
        if self.rows.len() == MAX_ROWS {
            self.fold();
        }
    }

    /// Makes one interval of every two, so that as many as before find room: possible when
    /// [`HISTORY`] intervals are over, no more and no less.
    pub fn join_intervals(&mut self) {
        if self.sum.intervals != HISTORY {
            return;
        }
        for row in self.rows.values_mut() {
            row.join_intervals();
        }
        self.others.join_intervals();
        self.sum.join_intervals();
    }

    /// Intervals that are over.
    pub fn intervals(&self) -> usize {
        self.sum.intervals
    }

    /// Keeps the rows that count most: a table of stale flows would have no room for those of now.
    fn fold(&mut self) {
        self.rows.sort_unstable_by(|_, row, _, other| {
            (other.last_interval(), other.total).cmp(&(row.last_interval(), row.total))
        });
        for (_, row) in self.rows.drain(KEPT_ROWS..) {
            self.others.add(&row);
        }
    }

    /// The rows in this order.
    pub fn rows(&self, order: Order) -> Vec<(&Key, &Row)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_cached_key(|(key, row)| {
            let most_first = match order {
                Order::Current => row.current,
                Order::Rate => row.last_interval(),
                Order::Total => row.total,
                Order::Name => 0,
            };
            (std::cmp::Reverse(most_first), key.to_string())
        });
        rows
    }

    /// How many rows there are, at most [`MAX_ROWS`].
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row of a key.
    pub fn row(&self, key: &Key) -> Option<&Row> {
        self.rows.get(key)
    }

    /// Drops whose keys have no row.
    pub fn others(&self) -> &Row {
        &self.others
    }

    /// All drops.
    pub fn sum(&self) -> &Row {
        &self.sum
    }
}

impl Row {
    fn count(&mut self, counted: &Counted<'_, '_>) {
        let is_first = self.total == 0;
        self.total = self.total.saturating_add(counted.count());
        self.current = self.current.saturating_add(counted.count());
        let (reason, place) = match counted.cause() {
            Cause::Software { location, reason } => {
                (reason, location.symbol.map(|symbol| symbol.0))
            }
            Cause::Hardware { trap, group, .. } => (trap, group),
            Cause::Unknown => (None, None),
        };
        let Seen {
            time,
            reason: last_reason,
            place: last_place,
            several_reasons,
            several_places,
        } = &mut self.last;
        *time = match counted {
            Counted::Packet(record) => record.time,
            Counted::Kernel { .. } => None,
        };
        for (last, now, several) in [
            (last_reason, reason, several_reasons),
            (last_place, place, several_places),
        ] {
            let now = now.map_or(&[][..], |name| name.as_bytes());
            if *last != now {
                *several |= !is_first;
                last.clear();
                last.extend_from_slice(now);
            }
        }
    }

    fn end_interval(&mut self) {
        self.past[self.intervals % HISTORY] = u32::try_from(self.current).unwrap_or(u32::MAX);
        self.intervals += 1;
        self.current = 0;
    }

    fn join_intervals(&mut self) {
        for joined in 0..HISTORY / 2 {
            let [first, second] = [self.past[2 * joined], self.past[2 * joined + 1]];
            self.past[joined] = first.saturating_add(second);
        }
        self.intervals = HISTORY / 2;
    }

    /// Takes over another row's counts.
    fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.current = self.current.saturating_add(other.current);
        for (past, others) in self.past.iter_mut().zip(other.past) {
            *past = past.saturating_add(others);
        }
    }

    /// Drops in the interval before the current one.
    pub fn last_interval(&self) -> u64 {
        self.history().last().unwrap_or(0)
    }

    /// Drops in each of the last intervals, the oldest first, without the current one.
    pub fn history(&self) -> impl ExactSizeIterator<Item = u64> {
        let first = self.intervals.saturating_sub(HISTORY);
        (first..self.intervals).map(|interval| u64::from(self.past[interval % HISTORY]))
    }
}
