//! What was worked out a moment ago, for what comes again and again: the packets of a flood differ
//! in their bytes, hardly ever in why they were dropped.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// Results, each of a small key and the bytes beside it, in one piece or in several that the key tells
/// apart. A pair has a few places that it may have, by its hash; there the newest push out the oldest.
/// A pair that was pushed out is worked out anew: memory is bounded, whatever comes.
pub struct Recent<K, V> {
    places: Vec<Place<K, V>>,
    /// The place of the pair that was asked for last: a flood asks for it again.
    latest: usize,
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
            latest: 0,
            hashes: RandomState::default(),
        }
    }

    /// What was worked out for the pair, if it was not pushed out.
    #[inline]
    pub fn find(&self, key: &K, bytes: &[&[u8]]) -> Option<&V> {
        let first = self.first(key, bytes)?;
        let places = &self.places[first..first + WAYS];
        let place = places.iter().find(|place| place.is_of(key, bytes))?;
        Some(&place.result)
    }

    /// What was worked out for the pair, now or before: `work_out` is given the pair's bytes, and
    /// replaces what another pair left.
    /// `None` where there are too many bytes to remember.
    #[inline]
    pub fn get(
        &mut self,
        key: &K,
        bytes: &[&[u8]],
        work_out: impl FnOnce(&[u8], &mut V),
    ) -> Option<&V> {
        if !self.places[self.latest].is_of(key, bytes) {
            let first = self.first(key, bytes)?;
            let places = &mut self.places[first..first + WAYS];
            let known = places.iter().position(|place| place.is_of(key, bytes));
            let place = known.unwrap_or_else(|| {
                places.rotate_right(1);
                let place = &mut places[0];
                place.set(key, bytes);
                work_out(&place.bytes, &mut place.result);
                0
            });
            self.latest = first + place;
        }
        Some(&self.places[self.latest].result)
    }

    /// Remembers what was worked out for the pair.
    pub fn keep(&mut self, key: &K, bytes: &[&[u8]], result: V) {
        self.get(key, bytes, |_, place| *place = result);
    }

    /// The first of the pair's places.
    #[inline]
    fn first(&self, key: &K, bytes: &[&[u8]]) -> Option<usize> {
        if bytes.iter().map(|piece| piece.len()).sum::<usize>() > MAX_BYTES {
            return None;
        }
        let mut hasher = self.hashes.build_hasher();
        key.hash(&mut hasher);
        for piece in bytes {
            hasher.write(piece);
        }
        // Which of the hash's bits are taken does not matter.
        #[expect(clippy::cast_possible_truncation)]
        let hash = hasher.finish() as usize;
        Some(hash % (PLACES / WAYS) * WAYS)
    }
}

impl<K: Copy + Eq, V> Place<K, V> {
    #[inline]
    fn is_of(&self, key: &K, bytes: &[&[u8]]) -> bool {
        if self.key.as_ref() != Some(key) {
            return false;
        }
        let mut rest = &self.bytes[..];
        for piece in bytes {
            let Some(behind) = rest.strip_prefix(*piece) else {
                return false;
            };
            rest = behind;
        }
        rest.is_empty()
    }

    fn set(&mut self, key: &K, bytes: &[&[u8]]) {
        self.key = Some(*key);
        self.bytes.clear();
        for piece in bytes {
            self.bytes.extend_from_slice(piece);
        }
    }
}

/// Everything that was ever looked up: for keys that the kernel has so many of and no more. The
/// latest is tried first, for a flood asks for it again.
pub struct LatestFirst<K, V> {
    known: IndexMap<K, V, RandomState>,
    /// The position of the latest.
    latest: usize,
}

impl<K, V> Default for LatestFirst<K, V> {
    fn default() -> Self {
        Self {
            known: IndexMap::default(),
            latest: 0,
        }
    }
}

impl<K: Eq + Hash, V> LatestFirst<K, V> {
    /// What belongs to the key, looked up where it is new.
    #[inline]
    pub fn get(&mut self, key: K, look_up: impl FnOnce() -> V) -> &mut V {
        let latest = self.known.get_index(self.latest);
        if latest.is_none_or(|(latest, _)| *latest != key) {
            let place = self.known.entry(key);
            self.latest = place.index();
            place.or_insert_with(look_up);
        }
        &mut self.known[self.latest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_told_from_others() {
        let mut recent = Recent::new();
        assert_eq!(recent.find(&1, &[b"reason"]), None);
        recent.keep(&1, &[b"reason"], 7);
        assert_eq!(recent.find(&1, &[b"reason"]), Some(&7));
        assert_eq!(recent.find(&2, &[b"reason"]), None);
        assert_eq!(recent.find(&1, &[b"reaso"]), None);
    }

    #[test]
    fn what_is_known_is_not_worked_out_again() {
        let mut recent = Recent::new();
        assert_eq!(recent.get(&1, &[b"a"], |_, result| *result = 7), Some(&7));
        assert_eq!(recent.get(&1, &[b"a"], |_, _| unreachable!()), Some(&7));
    }

    #[test]
    fn pieces_are_one_behind_the_other() {
        let mut recent = Recent::new();
        recent.keep(&(2, 4), &[b"no", b"port"], 7);
        assert_eq!(recent.find(&(2, 4), &[b"no", b"port"]), Some(&7));
        assert_eq!(recent.find(&(2, 4), &[b"no", b"part"]), None);
        assert_eq!(recent.find(&(2, 4), &[b"no", b"por"]), None);
        assert_eq!(recent.find(&(2, 5), &[b"no", b"ports"]), None);
        // Asked for again, and something else between.
        for (pieces, result) in [([&b"no"[..], b"port"], 7), ([b"no", b"sock"], 8)] {
            for _ in 0..2 {
                assert_eq!(
                    recent.get(&(2, 4), &pieces, |_, new| *new = 8),
                    Some(&result)
                );
            }
        }
    }

    #[test]
    fn a_hundred_causes_stay_known() {
        let mut recent = Recent::new();
        let causes = || (0..100_u64).map(u64::to_le_bytes);
        causes().for_each(|cause| recent.keep(&(), &[&cause], cause));
        let known = causes().filter(|cause| recent.find(&(), &[cause]) == Some(cause));
        // Seeds are random: five that share their places are possible, but no dozen.
        assert!(known.count() > 88);
    }

    #[test]
    fn what_comes_last_pushes_out_and_is_found() {
        let mut recent = Recent::new();
        for number in 0..10 * PLACES {
            recent.keep(&(), &[&number.to_le_bytes()], number);
            assert_eq!(recent.find(&(), &[&number.to_le_bytes()]), Some(&number));
        }
        let left = (0..10 * PLACES)
            .filter(|number| recent.find(&(), &[&number.to_le_bytes()]) == Some(number));
        assert!(left.count() <= PLACES);
    }

    #[test]
    fn each_key_is_looked_up_once() {
        let mut known = LatestFirst::default();
        for key in [7, 7, 8, 7, 8, 9] {
            assert_eq!(*known.get(key, || key * 2), key * 2);
            assert_eq!(*known.get(key, || unreachable!()), key * 2);
        }
        *known.get(8, || unreachable!()) = 1;
        assert_eq!(*known.get(9, || unreachable!()), 18);
        assert_eq!(*known.get(8, || unreachable!()), 1);
    }

    #[test]
    fn what_is_long_is_not_remembered() {
        let mut recent = Recent::new();
        recent.keep(&(), &[&[b'x'; MAX_BYTES]], 7);
        assert_eq!(recent.find(&(), &[&[b'x'; MAX_BYTES]]), Some(&7));
        recent.keep(&(), &[&[b'x'; MAX_BYTES + 1]], 7);
        assert_eq!(recent.find(&(), &[&[b'x'; MAX_BYTES + 1]]), None);
    }
}
