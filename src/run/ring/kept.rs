//! The finished files of a ring, of which the oldest make room: `--max-total`. No I/O.

use std::collections::VecDeque;

/// The finished files, the oldest first.
#[derive(Debug)]
pub struct KeptFiles<F> {
    most: u64,
    bytes: u64,
    files: VecDeque<(F, u64)>,
}

impl<F: PartialEq> KeptFiles<F> {
    /// All files together are to have so many bytes at most.
    pub fn new(most: u64) -> Self {
        Self {
            most,
            bytes: 0,
            files: VecDeque::new(),
        }
    }

    /// Adds a file that was finished.
    pub fn add(&mut self, file: F, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.files.push_back((file, bytes));
    }

    /// Forgets a file whose name is written again.
    pub fn forget(&mut self, is_it: impl Fn(&F) -> bool) {
        while let Some(at) = self.files.iter().position(|(file, _)| is_it(file)) {
            if let Some((_, bytes)) = self.files.remove(at) {
                self.bytes -= bytes;
            }
        }
    }

    /// Returns the oldest file if there is too much with the `present` bytes of the file that is written. The caller
    /// removes it.
    pub fn take_surplus(&mut self, present: u64) -> Option<F> {
        if self.bytes.saturating_add(present) <= self.most {
            return None;
        }
        let (file, bytes) = self.files.pop_front()?;
        self.bytes -= bytes;
        Some(file)
    }

    /// Returns how many bytes the file that is written may have before [`take_surplus`](Self::take_surplus) has
    /// something to do.
    pub fn room(&self) -> u64 {
        if self.files.is_empty() {
            return u64::MAX;
        }
        self.most.saturating_sub(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let mut kept = KeptFiles::new(100);
        for (name, bytes) in [('a', 30), ('b', 30), ('c', 30)] {
            kept.add(name, bytes);
        }
        assert_eq!((kept.room(), kept.take_surplus(10)), (10, None));
        assert_eq!(kept.take_surplus(11), Some('a'));
        assert_eq!(kept.take_surplus(11), None);
        assert_eq!(kept.take_surplus(71), Some('b'));
        assert_eq!(kept.take_surplus(u64::MAX), Some('c'));
        assert_eq!((kept.take_surplus(u64::MAX), kept.room()), (None, u64::MAX));
    }

    #[test]
    fn a_file_that_is_written_again_counts_once() {
        let mut kept = KeptFiles::new(100);
        kept.add('a', 60);
        kept.add('b', 30);
        kept.forget(|name| *name == 'a');
        assert_eq!(kept.room(), 70);
        assert_eq!(kept.take_surplus(70), None);
    }
}
