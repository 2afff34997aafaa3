//! Finds the group with the smallest count without looking at all groups.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// A heap of the groups by their weights at the time of the last search.
///
/// Weights only grow, so a remembered weight is a lower bound. [`Self::find`] updates the smallest
/// remembered weight until it is the present one. Each update costs O(log n), and only groups that
/// grew since the last search need one: counting a drop of a known group costs nothing here.
#[derive(Clone, Debug, Default)]
pub struct Lightest(BinaryHeap<Reverse<(u64, usize)>>);

impl Lightest {
    /// Returns the position of the lightest group; of equal ones the first. `weight` returns the present
    /// weight of the group at a position below `groups`.
    pub fn find(&mut self, groups: usize, weight: impl Fn(usize) -> u64) -> Option<usize> {
        if self.0.len() != groups {
            self.0 = (0..groups)
                .map(|group| Reverse((weight(group), group)))
                .collect();
        }
        loop {
            let mut lightest = self.0.peek_mut()?;
            let Reverse((known, group)) = *lightest;
            let present = weight(group);
            if present == known {
                return Some(group);
            }
            *lightest = Reverse((present, group));
            // Dropping the reference moves the entry to its new place in the heap.
            drop::<PeekMut<'_, _>>(lightest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    proptest! {
        #[test]
        fn the_lightest_is_found_whatever_grew(
            growth in proptest::collection::vec((0..20_usize, 0..5_u64), 0..300),
        ) {
            let mut weights = [1_u64; 20];
            let mut lightest = Lightest::default();
            for (row, more) in growth {
                weights[row] += more;
                let found = lightest.find(weights.len(), |row| weights[row]).unwrap();
                let least = weights.iter().min().unwrap();
                prop_assert_eq!(weights.iter().position(|weight| weight == least), Some(found));
            }
        }
    }

    /// Returns how many weights are read in four searches for each of `groups` groups.
    fn looks(groups: usize) -> usize {
        let mut weights = vec![1_u64; groups];
        let mut lightest = Lightest::default();
        let looks = Cell::new(0);
        for search in 0..4 * groups {
            let found = lightest.find(groups, |group| {
                looks.set(looks.get() + 1);
                weights[group]
            });
            weights[found.unwrap()] += 1;
            // Another group grows between two searches.
            weights[search * 7 % groups] += 3;
        }
        looks.get()
    }

    #[test]
    fn searches_do_not_look_at_all_groups() {
        let (few, many) = (looks(1000), looks(4000));
        assert!(
            many < 5 * few,
            "{few} looks at 1,000 groups, {many} at 4,000"
        );
        assert!(many < 4000 * 20, "{many} looks for 16,000 searches");
    }
}
