//! A queue of byte strings in memory of a fixed size. No I/O.

/// The bytes in front of each string, with its length.
const PREFIX: usize = size_of::<u32>();

/// Byte strings, the oldest first, in memory that is taken once.
#[derive(Debug)]
pub struct MemoryRing {
    memory: Box<[u8]>,
    /// The place of the oldest string.
    start: usize,
    used: usize,
    count: u64,
}

impl MemoryRing {
    /// Takes so many bytes of memory. The kernel has to find those that are used, and no others.
    pub fn new(bytes: usize) -> Self {
        Self {
            memory: vec![0; bytes].into(),
            start: 0,
            used: 0,
            count: 0,
        }
    }

    /// Returns how many strings there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns whether a string of this length is longer than all of the memory.
    pub fn is_too_long(&self, len: usize) -> bool {
        len.saturating_add(PREFIX) > self.memory.len() || u32::try_from(len).is_err()
    }

    /// Returns whether there is room for a string of this length.
    pub fn has_room(&self, len: usize) -> bool {
        !self.is_too_long(len) && self.used + PREFIX + len <= self.memory.len()
    }

    /// Adds a string for which there is room.
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(self.has_room(bytes.len()));
        let prefix = u32::try_from(bytes.len()).unwrap_or(0).to_ne_bytes();
        self.append(&prefix);
        self.append(bytes);
        self.count += 1;
    }

    fn append(&mut self, bytes: &[u8]) {
        let at = (self.start + self.used) % self.memory.len();
        let (first, second) = bytes.split_at(bytes.len().min(self.memory.len() - at));
        self.memory[at..at + first.len()].copy_from_slice(first);
        self.memory[..second.len()].copy_from_slice(second);
        self.used += bytes.len();
    }

    /// Copies the beginning of the oldest string; returns `None` if there is none that is as long.
    pub fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let len = self.oldest_len()?;
        let mut bytes = [0; N];
        (N <= len).then(|| self.copy(PREFIX, &mut bytes))?;
        Some(bytes)
    }

    /// Moves the oldest string into `bytes`; returns whether there was one.
    pub fn pop_into(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(len) = self.oldest_len() else {
            return false;
        };
        bytes.clear();
        bytes.resize(len, 0);
        self.copy(PREFIX, bytes);
        self.pop();
        true
    }

    /// Removes the oldest string.
    pub fn pop(&mut self) {
        if let Some(len) = self.oldest_len() {
            self.start = (self.start + PREFIX + len) % self.memory.len();
            self.used -= PREFIX + len;
            self.count -= 1;
        }
    }

    fn oldest_len(&self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        let mut prefix = [0; PREFIX];
        self.copy(0, &mut prefix);
        usize::try_from(u32::from_ne_bytes(prefix)).ok()
    }

    /// Copies from so many bytes behind the start.
    fn copy(&self, offset: usize, bytes: &mut [u8]) {
        let at = (self.start + offset) % self.memory.len();
        let middle = bytes.len().min(self.memory.len() - at);
        let (first, second) = bytes.split_at_mut(middle);
        first.copy_from_slice(&self.memory[at..at + first.len()]);
        second.copy_from_slice(&self.memory[..second.len()]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue(size in 1..200_usize, lens in proptest::collection::vec(0..60_usize, 0..200)) {
            let mut ring = MemoryRing::new(size);
            let (mut model, mut popped) = (VecDeque::<Vec<u8>>::new(), Vec::new());
            for (number, len) in (0_u8..).zip(lens) {
                let bytes = vec![number; len];
                if ring.is_too_long(len) {
                    prop_assert!(len + PREFIX > size);
                    continue;
                }
                while !ring.has_room(len) {
                    prop_assert!(ring.pop_into(&mut popped));
                    let front = model.pop_front();
                    prop_assert_eq!(Some(&popped), front.as_ref());
                }
                ring.push(&bytes);
                model.push_back(bytes);
                prop_assert_eq!(ring.count(), model.len() as u64);
                let front = model.front().filter(|front| front.len() >= 2);
                prop_assert_eq!(ring.peek::<2>(), front.map(|front| [front[0], front[1]]));
            }
            while ring.pop_into(&mut popped) {
                let front = model.pop_front();
                    prop_assert_eq!(Some(&popped), front.as_ref());
            }
            prop_assert!(model.is_empty());
        }
    }
}
