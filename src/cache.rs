//! Caches for results that are needed again and again: the packets of a flood differ in their
//! bytes, but hardly in the facts of their drops.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// A set-associative cache. A key has two parts: a small value, and bytes in one or more pieces, whose lengths
/// the value determines where there are several. The hash of a key selects a set of [`WAYS`] entries; a new
/// key replaces the oldest of them, so that memory is bounded.
pub struct Cache<K, V> {
    /// For each way of each set: the position of its entry, plus one; 0 if it has none. Entries are
    /// made on demand, because two thousand of them cost 0.2 ms to make and to free.
    sets: Box<[[u16; WAYS]; SETS]>,
    entries: Vec<CacheEntry<K, V>>,
    /// The position of the entry that was looked up last: a flood looks it up again.
    latest: usize,
    /// Seeded at random, so that no file can be made of keys that replace each other.
    hashes: RandomState,
}

struct CacheEntry<K, V> {
    key: K,
    bytes: Vec<u8>,
    value: V,
}

/// The number of entries. A hundred different causes in a capture are many.
const ENTRIES: usize = 2048;
/// The number of entries in a set. With one, several of a hundred keys would replace each other all
/// the time; a set rarely has more than four keys.
const WAYS: usize = 4;
const SETS: usize = ENTRIES / WAYS;
/// The most bytes of a key that is cached. dwdump's own keys have about a hundred, those with a call stack up to
/// some thousand.
const MAX_BYTES: usize = 4096;

const _: () = assert!(ENTRIES <= u16::MAX as usize);

impl<K: Copy + Eq + Hash, V: Default> Cache<K, V> {
    pub fn new() -> Self {
        Self {
            sets: Box::new([[0; WAYS]; SETS]),
            entries: Vec::new(),
            latest: 0,
            hashes: RandomState::default(),
        }
    }

    /// Returns the value of the key, if it is cached.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the number of pieces is known to the caller"
    )]
    pub fn find(&self, key: &K, bytes: &[&[u8]]) -> Option<&V> {
        let set = self.set(key, bytes)?;
        let position = self.find_in(set, key, bytes)?;
        Some(&self.entries[position].value)
    }

    /// Returns whether the entry that was looked up last has this key, as `is_same` decides.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "what is compared is known to the caller"
    )]
    pub fn latest_is(&self, is_same: impl FnOnce(&K, &[u8]) -> bool) -> bool {
        let latest = self.entries.get(self.latest);
        latest.is_some_and(|entry| is_same(&entry.key, &entry.bytes))
    }

    /// Returns the value of the entry that was looked up last.
    #[inline]
    pub fn latest(&self) -> Option<&V> {
        self.entries.get(self.latest).map(|entry| &entry.value)
    }

    /// Returns the value of the key. A value that is not cached is made by `fill`, which gets the key's bytes in
    /// one piece, and a value to overwrite. Returns `None` if the key is too long.
    #[inline]
    pub fn get(
        &mut self,
        key: &K,
        bytes: &[&[u8]],
        fill: impl FnOnce(&[u8], &mut V),
    ) -> Option<&V> {
        let latest = self.entries.get(self.latest);
        if !latest.is_some_and(|entry| entry.is_of(key, bytes)) {
            let set = self.set(key, bytes)?;
            self.latest = match self.find_in(set, key, bytes) {
                Some(position) => position,
                None => self.replace(set, key, bytes, fill)?,
            };
        }
        Some(&self.entries[self.latest].value)
    }

    /// Replaces the oldest entry of the set, and returns the new one's position.
    #[cold]
    fn replace(
        &mut self,
        set: usize,
        key: &K,
        bytes: &[&[u8]],
        fill: impl FnOnce(&[u8], &mut V),
    ) -> Option<usize> {
        let ways = &mut self.sets[set];
        ways.rotate_right(1);
        if ways[0] == 0 {
            self.entries.push(CacheEntry {
                key: *key,
                bytes: Vec::new(),
                value: V::default(),
            });
            ways[0] = u16::try_from(self.entries.len()).ok()?;
        }
        let position = usize::from(ways[0]) - 1;
        let entry = &mut self.entries[position];
        entry.key = *key;
        entry.bytes.clear();
        for piece in bytes {
            entry.bytes.extend_from_slice(piece);
        }
        fill(&entry.bytes, &mut entry.value);
        Some(position)
    }

    /// Returns the position of the key's entry.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the number of pieces is known to the caller"
    )]
    fn find_in(&self, set: usize, key: &K, bytes: &[&[u8]]) -> Option<usize> {
        for way in self.sets[set] {
            // No entry has the position that 0 becomes.
            let position = usize::from(way).wrapping_sub(1);
            let entry = self.entries.get(position);
            if entry.is_some_and(|entry| entry.is_of(key, bytes)) {
                return Some(position);
            }
        }
        None
    }

    /// Returns the position of the key's set.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the number of pieces is known to the caller"
    )]
    fn set(&self, key: &K, bytes: &[&[u8]]) -> Option<usize> {
        if bytes.iter().map(|piece| piece.len()).sum::<usize>() > MAX_BYTES {
            return None;
        }
        let mut hasher = self.hashes.build_hasher();
        key.hash(&mut hasher);
        for piece in bytes {
            hasher.write(piece);
        }
        // Any bits of the hash will do.
        #[expect(clippy::cast_possible_truncation)]
        let hash = hasher.finish() as usize;
        Some(hash % SETS)
    }
}

impl<K: Copy + Eq, V> CacheEntry<K, V> {
    #[inline]
    fn is_of(&self, key: &K, bytes: &[&[u8]]) -> bool {
        if self.key != *key {
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
}

/// A map that keeps every value, for keys of which the kernel has a limited number. The latest key
/// is compared first, because a flood looks it up again: that takes some 8 instructions, and a hash 35.
pub struct Memo<K, V> {
    known: IndexMap<K, V, RandomState>,
    /// The position of the latest key.
    latest: usize,
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for Memo<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(values: I) -> Self {
        Self {
            known: values.into_iter().collect(),
            latest: 0,
        }
    }
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self {
            known: IndexMap::default(),
            latest: 0,
        }
    }
}

impl<K: Eq + Hash, V> Memo<K, V> {
    /// Returns the value of a key, if there is one.
    #[inline]
    pub fn find(&mut self, key: &K) -> Option<&mut V> {
        let latest = self.known.get_index(self.latest);
        if latest.is_none_or(|(latest, _)| latest != key) {
            self.latest = self.known.get_index_of(key)?;
        }
        self.known
            .get_index_mut(self.latest)
            .map(|(_, value)| value)
    }

    /// Returns the value of a key, if there is one, and does not remember that it was looked up.
    #[inline]
    pub fn peek(&self, key: &K) -> Option<&V> {
        match self.known.get_index(self.latest) {
            Some((latest, value)) if latest == key => Some(value),
            _ => self.known.get(key),
        }
    }

    /// Sets the value of a key.
    pub fn set(&mut self, key: K, value: V) {
        self.known.insert(key, value);
    }

    /// Forgets a key, and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.known.swap_remove(key)
    }

    /// Returns all keys and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.known.iter()
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the value of the key; `look_up` makes that of a new key.
    #[inline]
    pub fn get(&mut self, key: K, look_up: impl FnOnce() -> V) -> &mut V {
        let latest = self.known.get_index(self.latest);
        if latest.is_none_or(|(latest, _)| *latest != key) {
            let entry = self.known.entry(key);
            self.latest = entry.index();
            entry.or_insert_with(look_up);
        }
        &mut self.known[self.latest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<K: Copy + Eq + Hash, V: Default> Cache<K, V> {
        fn insert(&mut self, key: &K, bytes: &[&[u8]], value: V) {
            self.get(key, bytes, |_, new| *new = value);
        }
    }

    #[test]
    fn a_key_is_told_from_others() {
        let mut cache = Cache::new();
        assert_eq!(cache.find(&1, &[b"reason"]), None);
        cache.insert(&1, &[b"reason"], 7);
        assert_eq!(cache.find(&1, &[b"reason"]), Some(&7));
        assert_eq!(cache.find(&2, &[b"reason"]), None);
        assert_eq!(cache.find(&1, &[b"reaso"]), None);
    }

    #[test]
    fn a_cached_value_is_not_made_again() {
        let mut cache = Cache::new();
        assert_eq!(cache.get(&1, &[b"a"], |_, value| *value = 7), Some(&7));
        assert_eq!(cache.get(&1, &[b"a"], |_, _| unreachable!()), Some(&7));
    }

    #[test]
    fn pieces_are_compared_one_after_the_other() {
        let mut cache = Cache::new();
        cache.insert(&(2, 4), &[b"no", b"port"], 7);
        assert_eq!(cache.find(&(2, 4), &[b"no", b"port"]), Some(&7));
        assert_eq!(cache.find(&(2, 4), &[b"no", b"part"]), None);
        assert_eq!(cache.find(&(2, 4), &[b"no", b"por"]), None);
        assert_eq!(cache.find(&(2, 5), &[b"no", b"ports"]), None);
        // The same key again, with another one in between.
        for (pieces, value) in [([&b"no"[..], b"port"], 7), ([b"no", b"sock"], 8)] {
            for _ in 0..2 {
                assert_eq!(cache.get(&(2, 4), &pieces, |_, new| *new = 8), Some(&value));
            }
        }
    }

    #[test]
    fn a_hundred_keys_stay_cached() {
        let mut cache = Cache::new();
        let keys = || (0..100_u64).map(u64::to_le_bytes);
        keys().for_each(|key| cache.insert(&(), &[&key], key));
        let known = keys().filter(|key| cache.find(&(), &[key]) == Some(key));
        // Seeds are random: that five keys share a set is possible, but not a dozen times.
        assert!(known.count() > 88);
    }

    #[test]
    fn a_new_key_replaces_an_old_one() {
        let mut cache = Cache::new();
        for number in 0..10 * ENTRIES {
            cache.insert(&(), &[&number.to_le_bytes()], number);
            assert_eq!(cache.find(&(), &[&number.to_le_bytes()]), Some(&number));
        }
        let left = (0..10 * ENTRIES)
            .filter(|number| cache.find(&(), &[&number.to_le_bytes()]) == Some(number));
        assert!(left.count() <= ENTRIES);
        assert!(cache.entries.len() <= ENTRIES);
    }

    #[test]
    fn each_key_is_looked_up_once() {
        let mut known = Memo::default();
        for key in [7, 7, 8, 7, 8, 9] {
            assert_eq!(*known.get(key, || key * 2), key * 2);
            assert_eq!(*known.get(key, || unreachable!()), key * 2);
        }
        *known.get(8, || unreachable!()) = 1;
        assert_eq!(*known.get(9, || unreachable!()), 18);
        assert_eq!(*known.get(8, || unreachable!()), 1);
    }

    #[test]
    fn a_long_key_is_not_cached() {
        let mut cache = Cache::new();
        cache.insert(&(), &[&[b'x'; MAX_BYTES]], 7);
        assert_eq!(cache.find(&(), &[&[b'x'; MAX_BYTES]]), Some(&7));
        cache.insert(&(), &[&[b'x'; MAX_BYTES + 1]], 7);
        assert_eq!(cache.find(&(), &[&[b'x'; MAX_BYTES + 1]]), None);
    }
}
