//! Finds the row of a full table with the smallest count, without looking at all rows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// The rows of a full table by their weights as they were when last looked at.
///
/// Weights only grow, so a remembered weight is a lower bound. [`Self::find`] brings the smallest up
/// to date until it is true, which costs O(log n) for a row that grew since the last look: counting a
/// drop of a known row costs nothing here.
#[derive(Clone, Debug, Default)]
pub struct Lightest(BinaryHeap<Reverse<(u64, usize)>>);

impl Lightest {
    /// The position of the lightest row; of equal ones the first. `weight` gives the present weight
    /// of the row at a position below `rows`.
    pub fn find(&mut self, rows: usize, weight: impl Fn(usize) -> u64) -> Option<usize> {
        if self.0.len() != rows {
            self.0 = (0..rows).map(|row| Reverse((weight(row), row))).collect();
        }
        loop {
            let mut lightest = self.0.peek_mut()?;
            let Reverse((known, row)) = *lightest;
            let present = weight(row);
            if present == known {
                return Some(row);
            }
            *lightest = Reverse((present, row));
            // Sinks to its new place.
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

    /// Looks at weights, for `rows` rows and four searches for each of them.
    fn looks(rows: usize) -> usize {
        let mut weights = vec![1_u64; rows];
        let mut lightest = Lightest::default();
        let looks = Cell::new(0);
        for search in 0..4 * rows {
            let found = lightest.find(rows, |row| {
                looks.set(looks.get() + 1);
                weights[row]
            });
            weights[found.unwrap()] += 1;
            // Another one grows between two searches.
            weights[search * 7 % rows] += 3;
        }
        looks.get()
    }

    #[test]
    fn searches_do_not_look_at_all_rows() {
        let (few, many) = (looks(1000), looks(4000));
        assert!(many < 5 * few, "{few} looks at 1,000 rows, {many} at 4,000");
        assert!(many < 4000 * 20, "{many} looks for 16,000 searches");
    }
}
