//! Counts, by time, the drops that a full memory had to give up. No I/O.

use std::collections::VecDeque;

use crate::record::Timestamp;

/// The parts into which the time before a match is divided.
const PARTS: u64 = 256;

/// The drops that were given up before their time was over.
#[derive(Debug)]
pub struct PushedOut {
    /// Nanoseconds for which each is remembered.
    span: u64,
    /// The latest time of a part, and the drops in it.
    parts: VecDeque<(Timestamp, u64)>,
}

impl PushedOut {
    /// Remembers them for so many nanoseconds.
    pub fn new(span: u64) -> Self {
        Self {
            span,
            parts: VecDeque::new(),
        }
    }

    /// Adds a drop of this time.
    pub fn add(&mut self, time: Timestamp) {
        let part = self.span / PARTS;
        match self.parts.back_mut() {
            Some((latest, count)) if time.0 <= latest.0.saturating_add(part) => {
                // The end of the part stays, so that it does not grow without end.
                *count += 1;
            }
            _ => self.parts.push_back((time, 1)),
        }
        while self.parts.len() as u64 > 2 * PARTS {
            self.parts.pop_front();
        }
    }

    /// Forgets all, and returns how many there were since this time. The part that the time is in is among them.
    pub fn take_since(&mut self, time: Timestamp) -> u64 {
        let part = self.span / PARTS;
        let is_late = |latest: Timestamp| latest.0.saturating_add(part) >= time.0;
        let parts = self.parts.drain(..);
        parts
            .filter(|(latest, _)| is_late(*latest))
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_of_the_span_count_and_each_once() {
        let mut out = PushedOut::new(256_000);
        for time in 0..1000 {
            out.add(Timestamp(time * 1000));
        }
        let counted = out.take_since(Timestamp(900_000));
        assert!((100..=102).contains(&counted), "{counted}");
        assert_eq!(out.take_since(Timestamp(0)), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut out = PushedOut::new(1);
        for time in 0..100_000 {
            out.add(Timestamp(time * 1000));
        }
        assert!(out.parts.len() <= 512);
    }
}
