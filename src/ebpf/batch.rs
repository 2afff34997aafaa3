//! The reports that wait in the buffers of all CPUs, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::ring::Records;

/// Takes the waiting reports, the earliest first. The report of a drop in an interrupt may come before that of the
/// drop whose capture it interrupted.
pub struct Batch<'b> {
    waiting: Vec<Records<'b>>,
    /// The time of each buffer's next report, the earliest on top.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    limit: u64,
}

/// The bytes of a buffer that were taken from it, and the number of records among them that could not be decoded.
pub struct TakenBytes {
    pub len: usize,
    pub damaged: u64,
}

impl<'b> Batch<'b> {
    /// Takes reports up to the time `limit`.
    pub fn new(waiting: impl Iterator<Item = Records<'b>>, limit: u64) -> Self {
        let mut waiting: Vec<_> = waiting.collect();
        let times = waiting.iter_mut().enumerate();
        let times = times.filter_map(|(cpu, records)| Some(Reverse((records.peek()?, cpu))));
        let next = times.collect();
        Self {
            waiting,
            next,
            limit,
        }
    }

    /// Ends the taking, and returns what was taken from each buffer.
    pub fn taken(self) -> Vec<TakenBytes> {
        let waiting = self.waiting.iter();
        let taken = waiting.map(|records| TakenBytes {
            len: records.taken(),
            damaged: records.damaged(),
        });
        taken.collect()
    }
}

impl<'b> Iterator for Batch<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        let mut first = self.next.peek_mut()?;
        let Reverse((time, cpu)) = *first;
        if time > self.limit {
            return None;
        }
        let records = &mut self.waiting[cpu];
        let report = records.take();
        // In its place, where the same CPU's report is often the next one, too.
        match records.peek() {
            Some(time) => *first = Reverse((time, cpu)),
            None => drop(PeekMut::pop(first)),
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::super::report;
    use super::super::ring::tests::{record, sample};
    use super::*;

    /// The times of the first reports up to a time that wait in these buffers, and the bytes and damaged records taken.
    fn take(buffers: &[Vec<u8>], limit: u64, most: usize) -> (Vec<u64>, Vec<(usize, u64)>) {
        let mut joined = vec![Vec::new(); buffers.len()];
        let waiting = buffers.iter().zip(&mut joined);
        let waiting = waiting.map(|(bytes, joined)| Records::new([bytes, &[]], joined));
        let mut batch = Batch::new(waiting, limit);
        let times = batch.by_ref().take(most);
        let times = times.map(|bytes| report::time(bytes).unwrap()).collect();
        let taken = batch.taken();
        (times, taken.iter().map(|it| (it.len, it.damaged)).collect())
    }

    #[track_caller]
    fn check(buffers: &[Vec<u8>], limit: u64, most: usize, times: &[u64], lens: &[usize]) {
        let taken = lens.iter().map(|&len| (len, 0)).collect();
        assert_eq!(take(buffers, limit, most), (times.to_vec(), taken));
    }

    #[test]
    fn the_earliest_comes_first_and_only_what_was_taken_is_given_back() {
        let [one, two, three, four] = [1, 2, 3, 4].map(|time| sample(time, 4));
        let len = one.len();
        let lost = record(2, &[0; 16]);
        let skipped = lost.len();
        let (first, second) = ([one, four].concat(), [lost, two, three].concat());
        let buffers = [first, second, Vec::new()];
        let all = [2 * len, skipped + 2 * len, 0];
        check(&buffers, 9, 9, &[1, 2, 3, 4], &all);
        // Up to a time; up to a number. What is skipped in front of a report goes with it or before it.
        check(&buffers, 3, 9, &[1, 2, 3], &[len, skipped + 2 * len, 0]);
        check(&buffers, 9, 2, &[1, 2], &[len, skipped + len, 0]);
        check(&buffers, 0, 9, &[], &[0, skipped, 0]);
        // Two at the same time, and one behind a damaged one.
        let same = [sample(1, 4), sample(1, 4)];
        check(&same, 1, 9, &[1, 1], &[len, len]);
        let damaged = record(9, &[0; 16]);
        let found = take(&[[&damaged[..], &same[0]].concat()], 1, 9);
        assert_eq!(found, (vec![1], vec![(damaged.len() + len, 1)]));
    }
}
