//! Drops counted by group, with a history of the last intervals.
//!
//! Up to [`MAX_GROUPS`] keys every count is exact. Beyond that, a new key replaces the group with the
//! smallest count (the Space-Saving algorithm: Metwally, Agrawal and El Abbadi, "Efficient computation
//! of frequent and top-k elements in data streams", 2005), whose drops go to [`GroupedCounts::others`]. So a
//! key with more than one of [`MAX_GROUPS`] drops always has a group, and each group knows how many drops
//! of its key can be among the others at most: [`GroupCounts::error`]. The groups and the others together are
//! always all drops.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::lightest::Lightest;
use super::{Counted, GroupKey, GroupKeyView, Grouping};
use crate::record::{Cause, Timestamp};

/// The most groups that are counted one by one.
pub const MAX_GROUPS: usize = 10_000;
/// Past intervals that a group remembers.
pub const HISTORY: usize = 16;

/// Drops counted by one grouping.
#[derive(Clone, Debug)]
pub struct GroupedCounts {
    grouping: Grouping,
    /// The most groups.
    room: usize,
    groups: IndexMap<GroupKey, GroupCounts, RandomState>,
    lightest: Lightest,
    /// Groups that gave their place to another key.
    replaced: u64,
    others: GroupCounts,
    sum: GroupCounts,
}

/// What is known of the drops with one key.
#[derive(Clone, Debug, Default)]
pub struct GroupCounts {
    /// Drops since the beginning, as far as they were counted in this group.
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
    pub last: LastDrop,
}

/// What the last drop of a group was.
#[derive(Clone, Debug, Default)]
pub struct LastDrop {
    /// When; `None` where the kernel counted.
    pub time: Option<Timestamp>,
    /// Its reason, or its trap; empty where none is known.
    pub reason: Vec<u8>,
    /// Its symbol, or its trap group; empty where none is known.
    pub place: Vec<u8>,
    /// Whether the group has drops with another reason.
    pub several_reasons: bool,
    /// Whether the group has drops at another place.
    pub several_places: bool,
}

/// How groups are sorted; equal ones by their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupOrder {
    /// Most drops in the interval that is not over yet first.
    Current,
    /// Most drops in the last interval first.
    Rate,
    /// Most drops since the beginning first.
    Total,
    /// By name.
    Name,
}

impl GroupedCounts {
    /// Nothing counted yet.
    pub fn new(grouping: Grouping) -> Self {
        Self::with_room(grouping, MAX_GROUPS)
    }

    /// Nothing counted yet, with at most so many groups.
    pub(super) fn with_room(grouping: Grouping, room: usize) -> Self {
        Self {
            grouping,
            room,
            groups: IndexMap::default(),
            lightest: Lightest::default(),
            replaced: 0,
            others: GroupCounts::default(),
            sum: GroupCounts::default(),
        }
    }

    /// What groups are.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// Counts. Allocates nothing for a key that has a group.
    pub fn count(&mut self, counted: &Counted<'_, '_>) {
        self.sum.count(counted);
        let key = GroupKeyView::of(self.grouping, counted);
        if let Some(group) = self.groups.get_mut(&key) {
            group.count(counted);
            return;
        }
        let mut group = GroupCounts {
            intervals: self.sum.intervals,
            ..GroupCounts::default()
        };
        let groups = self.groups.len();
        let lightest = if groups < self.room {
            None
        } else {
            self.lightest.find(groups, |at| self.groups[at].weight())
        };
        let Some(at) = lightest else {
            group.count(counted);
            self.groups.insert(key.to_owned(), group);
            return;
        };
        let replaced = &mut self.groups[at];
        self.others.add(replaced);
        // No key without a group has more drops than the lightest group may have.
        group.error = replaced.weight();
        group.current_error = group.error.min(self.others.current);
        // Its buffers serve again.
        group.last.reason = std::mem::take(&mut replaced.last.reason);
        group.last.place = std::mem::take(&mut replaced.last.place);
        group.count(counted);
        *replaced = group;
        // The key is new: it cannot be another group's.
        let _ = self.groups.replace_index(at, key.to_owned());
        self.replaced += 1;
    }

    /// Ends the interval: what was current becomes the past.
    pub fn end_interval(&mut self) {
        for group in self.groups.values_mut() {
            group.end_interval();
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
        for group in self.groups.values_mut() {
            group.join_intervals();
        }
        self.others.join_intervals();
        self.sum.join_intervals();
    }

    /// Intervals that are over.
    pub fn intervals(&self) -> usize {
        self.sum.intervals
    }

    /// The groups in this order.
    pub fn groups(&self, order: GroupOrder) -> Vec<(&GroupKey, &GroupCounts)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_cached_key(|(key, group)| {
            let most_first = match order {
                GroupOrder::Current => group.current,
                GroupOrder::Rate => group.last_interval(),
                GroupOrder::Total => group.total,
                GroupOrder::Name => 0,
            };
            (std::cmp::Reverse(most_first), key.to_string())
        });
        groups
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// How often the keys of the groups changed, so that a sorted list of them can be told to be stale.
    pub fn changes(&self) -> u64 {
        self.replaced.saturating_add(self.groups.len() as u64)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of a key.
    pub fn group(&self, key: &GroupKey) -> Option<&GroupCounts> {
        self.groups.get(key)
    }

    /// Drops whose keys have no group.
    pub fn others(&self) -> &GroupCounts {
        &self.others
    }

    /// All drops.
    pub fn sum(&self) -> &GroupCounts {
        &self.sum
    }
}

impl GroupCounts {
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
        let LastDrop {
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

    /// The most drops that the group's key may have.
    fn weight(&self) -> u64 {
        self.total.saturating_add(self.error)
    }

    /// Takes over another group's counts.
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
