//! Drops counted by group, with a history of the last intervals.
//!
//! Up to [`MAX_GROUPS`] keys every count is exact. Beyond that, a new key replaces the group with the
//! smallest count, whose drops go to [`GroupedCounts::others`] (the Space-Saving algorithm: Metwally,
//! Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in data streams",
//! 2005). So a key with more than one of [`MAX_GROUPS`] drops always has a group, and each group knows
//! how many drops of its key are among the others at most: [`GroupCounts::error`]. The sum of all groups
//! and the others is always the number of all drops.
//!
//! Drops of which nothing but their number is known are among the others, too. Each of them may have any
//! key, so they add to every group's error.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::lightest::Lightest;
use super::{Counted, GroupKey, GroupKeyView, Grouping};
use crate::record::{Cause, Timestamp};

/// The most groups that are counted one by one.
pub const MAX_GROUPS: usize = 10_000;
/// The number of past intervals that a group remembers.
pub const HISTORY: usize = 16;

/// Drops counted by one grouping.
#[derive(Clone, Debug)]
pub struct GroupedCounts {
    grouping: Grouping,
    /// The largest number of groups.
    room: usize,
    groups: IndexMap<GroupKey, GroupCounts, RandomState>,
    lightest: Lightest,
    /// The number of groups that were replaced.
    replaced: u64,
    others: GroupCounts,
    /// The drops among the others that may have any key.
    unnamed: u64,
    sum: GroupCounts,
    /// Room for a key.
    room_of_key: Vec<u8>,
}

/// The counts of the drops with one key.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GroupCounts {
    /// The drops since the beginning that were counted in this group.
    pub total: u64,
    /// The drops of the current interval that were counted in this group.
    pub current: u64,
    /// The largest possible number of drops of this key that were counted among the others.
    pub error: u64,
    /// The same for the current interval.
    pub current_error: u64,
    /// The drops of past intervals, as a ring.
    past: [u32; HISTORY],
    /// The number of past intervals.
    intervals: usize,
    /// The last drop.
    pub last: LastDrop,
}

/// The facts of a group's last drop, and whether they differ from those of the others.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LastDrop {
    /// The time; `None` where the kernel counted the drop.
    pub time: Option<Timestamp>,
    /// The reason or the trap; empty where none is known.
    pub reason: Vec<u8>,
    /// The symbol or the trap group; empty where none is known.
    pub location: Vec<u8>,
    /// The group has drops with another reason.
    pub several_reasons: bool,
    /// The group has drops at another location.
    pub several_locations: bool,
}

/// The order in which groups are listed; those with equal counts are sorted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupOrder {
    /// Most drops in the current interval first.
    Current,
    /// Most drops in the last interval first.
    Rate,
    /// Most drops since the beginning first.
    Total,
    /// By name.
    Name,
}

impl GroupedCounts {
    /// Creates counts without any drop.
    pub fn new(grouping: Grouping) -> Self {
        Self::with_room(grouping, MAX_GROUPS)
    }

    /// Creates counts of at most `room` groups.
    pub(super) fn with_room(grouping: Grouping, room: usize) -> Self {
        Self {
            grouping,
            room,
            groups: IndexMap::default(),
            lightest: Lightest::default(),
            replaced: 0,
            others: GroupCounts::default(),
            unnamed: 0,
            sum: GroupCounts::default(),
            room_of_key: Vec::new(),
        }
    }

    /// Returns the property by which drops are grouped.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// Counts a drop. Allocates nothing if its key has a group.
    pub fn count(&mut self, counted: &Counted<'_, '_>) {
        let mut room = std::mem::take(&mut self.room_of_key);
        self.count_key(counted, GroupKeyView::of(self.grouping, counted, &mut room));
        self.room_of_key = room;
    }

    fn count_key(&mut self, counted: &Counted<'_, '_>, key: GroupKeyView<'_>) {
        self.sum.count(counted);
        if let Counted::Unnamed { count } = *counted {
            self.count_unnamed(count);
            return;
        }
        if let Some(group) = self.groups.get_mut(&key) {
            group.count(counted);
            return;
        }
        let mut group = GroupCounts {
            intervals: self.sum.intervals,
            error: self.unnamed,
            current_error: self.unnamed.min(self.others.current),
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
        // A key without a group has at most as many drops as the lightest group.
        group.error = replaced.weight();
        group.current_error = group.error.min(self.others.current);
        // The buffers are used again.
        group.last.reason = std::mem::take(&mut replaced.last.reason);
        group.last.location = std::mem::take(&mut replaced.last.location);
        group.count(counted);
        *replaced = group;
        // No other group has this key, because it was not found above.
        let _ = self.groups.replace_index(at, key.to_owned());
        self.replaced += 1;
    }

    fn count_unnamed(&mut self, count: u64) {
        self.unnamed = self.unnamed.saturating_add(count);
        self.others.total = self.others.total.saturating_add(count);
        self.others.current = self.others.current.saturating_add(count);
        for group in self.groups.values_mut() {
            group.error = group.error.saturating_add(count);
            group.current_error = group.current_error.saturating_add(count);
        }
    }

    /// Ends the current interval, which becomes the last past one.
    pub fn end_interval(&mut self) {
        for group in self.groups.values_mut() {
            group.end_interval();
        }
        self.others.end_interval();
        self.sum.end_interval();
    }

    /// Joins every two past intervals into one, so that half of the history becomes free. Does nothing
    /// unless exactly 16 intervals are over, the length of the history.
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

    /// Returns the number of past intervals.
    pub fn intervals(&self) -> usize {
        self.sum.intervals
    }

    /// Returns the groups in the given order.
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

    /// Returns the number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns a number that grows whenever a group is added or replaced, so that a reader knows when a
    /// sorted list of the keys is stale.
    pub fn changes(&self) -> u64 {
        self.replaced.saturating_add(self.groups.len() as u64)
    }

    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns the group of a key.
    pub fn group(&self, key: &GroupKey) -> Option<&GroupCounts> {
        self.groups.get(key)
    }

    /// Returns the counts of all drops whose keys have no group.
    pub fn others(&self) -> &GroupCounts {
        &self.others
    }

    /// Returns the number of the drops among the others that may have any key.
    pub fn unnamed(&self) -> u64 {
        self.unnamed
    }

    /// Returns the counts of all drops.
    pub fn sum(&self) -> &GroupCounts {
        &self.sum
    }
}

impl GroupCounts {
    fn count(&mut self, counted: &Counted<'_, '_>) {
        let is_first = self.total == 0;
        self.total = self.total.saturating_add(counted.count());
        self.current = self.current.saturating_add(counted.count());
        let (reason, location_name) = match counted.cause() {
            Cause::Software { location, reason } => {
                (reason, location.symbol.map(|symbol| symbol.0))
            }
            Cause::Hardware { trap, group, .. } => (trap, group),
            Cause::Unknown => (None, None),
        };
        let LastDrop {
            time,
            reason: last_reason,
            location: last_location,
            several_reasons,
            several_locations,
        } = &mut self.last;
        *time = match counted {
            Counted::Packet(record) => record.time,
            Counted::Kernel { .. } | Counted::Drops { .. } | Counted::Unnamed { .. } => None,
        };
        for (last, now, several) in [
            (last_reason, reason, several_reasons),
            (last_location, location_name, several_locations),
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

    /// Returns the largest possible number of drops of the group's key.
    fn weight(&self) -> u64 {
        self.total.saturating_add(self.error)
    }

    /// Adds the counts of another group.
    fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.current = self.current.saturating_add(other.current);
        for (past, others) in self.past.iter_mut().zip(other.past) {
            *past = past.saturating_add(others);
        }
    }

    /// Returns the drops in the interval before the current one.
    pub fn last_interval(&self) -> u64 {
        self.history().last().unwrap_or(0)
    }

    /// Returns the drops in each of the past intervals that are remembered, the oldest first.
    pub fn history(&self) -> impl ExactSizeIterator<Item = u64> {
        let first = self.intervals.saturating_sub(HISTORY);
        (first..self.intervals).map(|interval| u64::from(self.past[interval % HISTORY]))
    }
}
