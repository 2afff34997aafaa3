//! What was worked out a moment ago, for what comes again and again: the packets of a flood differ
//! in their bytes, hardly ever in why they were dropped. Memory is bounded, whatever comes.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

/// Results, each of a small key and the bytes beside it. A pair has a few places that it may have, by
/// its hash; there the newest push out the oldest. A pair that was pushed out is worked out anew.
pub struct Recent<K, V> {
    places: Vec<Place<K, V>>,
    /// Seeded at random, so that no file is made of pairs that push each other out.
    hashes: RandomState,
}

struct Place<K, V> {
    /// `None` where nothing was worked out yet.
    key: Option<K>,
    bytes: Vec<u8>,
    result: V,
}

/// Many times the causes that one capture has: a hundred are many.
const PLACES: usize = 2048;
/// Places that a pair may have. With one, of a hundred pairs several would push each other out all
/// the time; that more than four share them is rare.
const WAYS: usize = 4;
/// What is longer is not remembered. Ours are about a hundred bytes.
const MAX_BYTES: usize = 512;

impl<K: Copy + Eq + Hash, V: Default> Recent<K, V> {
    pub fn new() -> Self {
        let place = || Place {
            key: None,
            bytes: Vec::new(),
            result: V::default(),
        };
        Self {
            places: std::iter::repeat_with(place).take(PLACES).collect(),
            hashes: RandomState::default(),
        }
    }

    /// What was worked out for the pair, if it was not pushed out.
    #[inline]
    pub fn find(&self, key: K, bytes: &[u8]) -> Option<&V> {
        let first = self.first(key, bytes)?;
        let places = &self.places[first..first + WAYS];
        let place = places.iter().find(|place| place.is_of(key, bytes))?;
        Some(&place.result)
    }

    /// What was worked out for the pair, now or before: `work_out` replaces what another pair left.
    /// `None` where there are too many bytes to remember.
    #[inline]
    pub fn get(&mut self, key: K, bytes: &[u8], work_out: impl FnOnce(&mut V)) -> Option<&V> {
        let first = self.first(key, bytes)?;
        let places = &mut self.places[first..first + WAYS];
        let known = places.iter().position(|place| place.is_of(key, bytes));
        let place = known.unwrap_or_else(|| {
            places.rotate_right(1);
            places[0].key = Some(key);
            places[0].bytes.clear();
            places[0].bytes.extend_from_slice(bytes);
            work_out(&mut places[0].result);
            0
        });
        Some(&places[place].result)
    }

    /// Remembers what was worked out for the pair.
    pub fn keep(&mut self, key: K, bytes: &[u8], result: V) {
        self.get(key, bytes, |place| *place = result);
    }

    /// The first of the pair's places.
    #[inline]
    fn first(&self, key: K, bytes: &[u8]) -> Option<usize> {
        // Which of the hash's bits are taken does not matter.
        #[expect(clippy::cast_possible_truncation)]
        let first = || self.hashes.hash_one((key, bytes)) as usize % (PLACES / WAYS) * WAYS;
        (bytes.len() <= MAX_BYTES).then(first)
    }
}

impl<K: Copy + Eq, V> Place<K, V> {
    #[inline]
    fn is_of(&self, key: K, bytes: &[u8]) -> bool {
        self.key == Some(key) && self.bytes == bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_told_from_others() {
        let mut recent = Recent::new();
        assert_eq!(recent.find(1, b"reason"), None);
        recent.keep(1, b"reason", 7);
        assert_eq!(recent.find(1, b"reason"), Some(&7));
        assert_eq!(recent.find(2, b"reason"), None);
        assert_eq!(recent.find(1, b"reaso"), None);
    }

    #[test]
    fn what_is_known_is_not_worked_out_again() {
        let mut recent = Recent::new();
        assert_eq!(recent.get(1, b"a", |result| *result = 7), Some(&7));
        assert_eq!(recent.get(1, b"a", |_| unreachable!()), Some(&7));
    }

    #[test]
    fn a_hundred_causes_stay_known() {
        let mut recent = Recent::new();
        let causes = || (0..100_u64).map(u64::to_le_bytes);
        causes().for_each(|cause| recent.keep((), &cause, cause));
        let known = causes().filter(|cause| recent.find((), cause) == Some(cause));
        // Seeds are random: five that share their places are possible, but no dozen.
        assert!(known.count() > 88);
    }

    #[test]
    fn what_comes_last_pushes_out_and_is_found() {
        let mut recent = Recent::new();
        for number in 0..10 * PLACES {
            recent.keep((), &number.to_le_bytes(), number);
            assert_eq!(recent.find((), &number.to_le_bytes()), Some(&number));
        }
        let left = (0..10 * PLACES)
            .filter(|number| recent.find((), &number.to_le_bytes()) == Some(number));
        assert!(left.count() <= PLACES);
    }

    #[test]
    fn what_is_long_is_not_remembered() {
        let mut recent = Recent::new();
        recent.keep((), &[b'x'; MAX_BYTES], 7);
        assert_eq!(recent.find((), &[b'x'; MAX_BYTES]), Some(&7));
        recent.keep((), &[b'x'; MAX_BYTES + 1], 7);
        assert_eq!(recent.find((), &[b'x'; MAX_BYTES + 1]), None);
    }
}
