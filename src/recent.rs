//! What was worked out a moment ago, for what comes again and again: the packets of a flood differ
//! in their bytes, hardly ever in why they were dropped. Memory is bounded, whatever comes.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

/// Results, each of a small key and the bytes beside it. Every pair has one place, by its hash, and
/// what came last has the place: a pair that others push out is only worked out anew.
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
const PLACES: usize = 1024;
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

    /// What was worked out for the pair, if it was the last to have its place.
    #[inline]
    pub fn find(&self, key: K, bytes: &[u8]) -> Option<&V> {
        let place = &self.places[self.index(key, bytes)?];
        (place.key == Some(key) && place.bytes == bytes).then_some(&place.result)
    }

    /// Where to put what was worked out for the pair; what another pair left there is to be
    /// replaced, or its memory used. `None` where there are too many bytes to remember.
    pub fn place(&mut self, key: K, bytes: &[u8]) -> Option<&mut V> {
        let index = self.index(key, bytes)?;
        let place = &mut self.places[index];
        place.key = Some(key);
        place.bytes.clear();
        place.bytes.extend_from_slice(bytes);
        Some(&mut place.result)
    }

    #[inline]
    fn index(&self, key: K, bytes: &[u8]) -> Option<usize> {
        // Which of the hash's bits are taken does not matter.
        #[expect(clippy::cast_possible_truncation)]
        let index = || self.hashes.hash_one((key, bytes)) as usize % PLACES;
        (bytes.len() <= MAX_BYTES).then(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_told_from_others() {
        let mut recent = Recent::new();
        assert_eq!(recent.find(1, b"reason"), None);
        *recent.place(1, b"reason").unwrap() = 7;
        assert_eq!(recent.find(1, b"reason"), Some(&7));
        assert_eq!(recent.find(2, b"reason"), None);
        assert_eq!(recent.find(1, b"reaso"), None);
    }

    #[test]
    fn what_comes_last_pushes_out_and_is_found() {
        let mut recent = Recent::new();
        for number in 0..10 * PLACES {
            *recent.place((), &number.to_le_bytes()).unwrap() = number;
            assert_eq!(recent.find((), &number.to_le_bytes()), Some(&number));
        }
        let left = (0..10 * PLACES)
            .filter(|number| recent.find((), &number.to_le_bytes()) == Some(number));
        assert!(left.count() <= PLACES);
    }

    #[test]
    fn what_is_long_is_not_remembered() {
        let mut recent = Recent::<(), u8>::new();
        assert!(recent.place((), &[b'x'; MAX_BYTES]).is_some());
        assert!(recent.find((), &[b'x'; MAX_BYTES]).is_some());
        assert_eq!(recent.place((), &[b'x'; MAX_BYTES + 1]), None);
        assert_eq!(recent.find((), &[b'x'; MAX_BYTES + 1]), None);
    }
}
