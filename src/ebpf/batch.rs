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

/// The bytes of a buffer that were taken, and the number of records among them that could not be decoded.
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

    /// Ends the taking, and returns what was taken of each buffer.
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
