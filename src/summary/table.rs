//! A table of counts, with a history of the last intervals.
//!
//! Up to [`MAX_ROWS`] keys every count is exact. Beyond that, a new key replaces the row with the
//! smallest count (the Space-Saving algorithm: Metwally, Agrawal and El Abbadi, "Efficient computation
//! of frequent and top-k elements in data streams", 2005), whose drops go to [`Table::others`]. So a
//! key with more than one of [`MAX_ROWS`] drops always has a row, and each row knows how many drops
//! of its key can be among the others at most: [`Row::error`]. The rows and the others together are
//! always all drops.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::lightest::Lightest;
use super::{Counted, Grouping, Key, KeyView};
use crate::record::{Cause, Timestamp};

/// The most rows of a table.
pub const MAX_ROWS: usize = 10_000;
/// Past intervals that a row remembers.
pub const HISTORY: usize = 16;

/// Drops counted by one grouping.
#[derive(Clone, Debug)]
pub struct Table {
    grouping: Grouping,
    /// The most rows.
    room: usize,
    rows: IndexMap<Key, Row, RandomState>,
    lightest: Lightest,
    /// Rows that gave their place to another key.
    replaced: u64,
    others: Row,
    sum: Row,
}

/// What is known of the drops with one key.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Drops since the beginning, as far as they were counted in this row.
    pub total: u64,
    /// Drops in the interval that is not over yet, likewise.
    pub current: u64,
    /// Drops of the same key that were counted among the others instead, at most.
    pub error: u64,
    /// Those of the interval that is not over yet, at most.
    pub current_error: u64,
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
        Self::with_room(grouping, MAX_ROWS)
    }

    /// Nothing counted yet, with at most so many rows.
    pub(super) fn with_room(grouping: Grouping, room: usize) -> Self {
        Self {
            grouping,
            room,
            rows: IndexMap::default(),
            lightest: Lightest::default(),
            replaced: 0,
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
            return;
        }
        let mut row = Row {
            intervals: self.sum.intervals,
            ..Row::default()
        };
        let rows = self.rows.len();
        let lightest = if rows < self.room {
            None
        } else {
            self.lightest.find(rows, |at| self.rows[at].weight())
        };
        let Some(at) = lightest else {
            row.count(counted);
            self.rows.insert(key.to_owned(), row);
            return;
        };
        let replaced = &mut self.rows[at];
        self.others.add(replaced);
        // No key without a row has more drops than the lightest row may have.
        row.error = replaced.weight();
        row.current_error = row.error.min(self.others.current);
        // Its buffers serve again.
        row.last.reason = std::mem::take(&mut replaced.last.reason);
        row.last.place = std::mem::take(&mut replaced.last.place);
        row.count(counted);
        *replaced = row;
        // The key is new: it cannot be another row's.
        let _ = self.rows.replace_index(at, key.to_owned());
        self.replaced += 1;
    }

    /// Ends the interval: what was current becomes the past.
    pub fn end_interval(&mut self) {
        for row in self.rows.values_mut() {
            row.end_interval();
        }
        self.others.end_interval();
        self.sum.end_interval();
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

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How often the keys of the rows changed, so that a sorted list of them can be told to be stale.
    pub fn changes(&self) -> u64 {
        self.replaced.saturating_add(self.rows.len() as u64)
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
        self.current_error = 0;
    }

    fn join_intervals(&mut self) {
        for joined in 0..HISTORY / 2 {
            let [first, second] = [self.past[2 * joined], self.past[2 * joined + 1]];
            self.past[joined] = first.saturating_add(second);
        }
        self.intervals = HISTORY / 2;
    }

    /// The most drops that the row's key may have.
    fn weight(&self) -> u64 {
        self.total.saturating_add(self.error)
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
