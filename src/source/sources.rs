//! The live sources of a run as a whole. Events of several sources are ordered by time, see
//! [`merge`](super::merge). Passed on as they come, without a copy, are those of a single source, and those
//! that nothing earlier can come before: no other source has any more events of that time.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::merge::Merger;
use super::{Event, LeftOut, Source, Taken};
use crate::ebpf::tracer::{TracerError, TracerSettings};
use crate::record::{Loss, Timestamp};

#[cfg(test)]
mod tests;

/// The sources of a run.
#[derive(Default)]
pub struct Sources {
    sources: Vec<Box<dyn Source>>,
    merger: Merger,
}

impl Sources {
    /// Takes over another source.
    pub fn add(&mut self, source: Box<dyn Source>) {
        self.sources.push(source);
        self.merger.add_source();
    }

    /// Returns the descriptors of all sources.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut descriptors = Vec::new();
        for source in &self.sources {
            source.watch(&mut descriptors);
        }
        descriptors
    }

    /// Passes on some of the waiting events, without waiting for any. `arrived` is called with each
    /// event when its source has it, `receive` when its turn has come.
    pub fn take<B>(
        &mut self,
        mut arrived: impl FnMut(&Event<'_, '_>),
        mut receive: impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> io::Result<Taken<B>> {
        let is_single = self.sources.len() == 1;
        let (mut has_taken, mut value) = (false, None);
        for number in 0..self.sources.len() {
            let settled = self.settled_beside(number);
            let (merger, source) = (&mut self.merger, &mut self.sources[number]);
            let taken = source.take(&mut |event| {
                arrived(&event);
                let flow = if is_single || merger.is_next(&event, settled) {
                    receive(event)
                } else {
                    merger.add(number, event, Timestamp::now(), &mut receive)
                };
                flow.map_break(|broken| value = Some(broken))
            })?;
            has_taken |= taken == Taken::Some;
            if let Some(value) = value {
                return Ok(Taken::Break(value));
            }
        }
        if !is_single
            && let ControlFlow::Break(value) = self.merger.release(Timestamp::now(), &mut receive)
        {
            return Ok(Taken::Break(value));
        }
        Ok(if has_taken {
            Taken::Some
        } else {
            Taken::Nothing
        })
    }

    /// Returns the time up to which no other source has any more events.
    fn settled_beside(&self, number: usize) -> Option<Timestamp> {
        let others = self.sources.iter().enumerate();
        let others = others.filter(|(other, _)| *other != number);
        others.map(|(_, source)| source.settled()).min().flatten()
    }

    /// Passes on the events that wait for their turn, at the end of the run.
    pub fn release_all<B>(
        &mut self,
        mut receive: impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.merger.release_all(&mut receive)
    }

    /// Returns how long the next event still waits for its turn; `None` where none waits.
    pub fn remaining(&self) -> Option<Duration> {
        let is_merging = self.sources.len() > 1;
        is_merging.then(|| self.merger.remaining(Timestamp::now()))?
    }

    /// Ends all streams: the waiting events can still be taken. Returns the first error.
    pub fn end(&mut self) -> io::Result<()> {
        let ended = self.sources.iter_mut().map(|source| source.end());
        ended.fold(Ok(()), Result::and)
    }

    /// Returns what all sources lost; see [`Source::loss`].
    pub fn loss(&self) -> io::Result<Loss> {
        let mut sum = Loss::default();
        for source in &self.sources {
            sum += source.loss()?;
        }
        Ok(sum)
    }

    /// Returns the counts of messages that gave no event, of all sources together.
    pub fn left_out(&self) -> LeftOut {
        let mut sum = LeftOut::default();
        for source in &self.sources {
            sum += source.left_out();
        }
        sum
    }

    /// Returns true once for each source, when a symbol stays cut because this process may not see
    /// addresses.
    pub fn symbols_are_newly_hidden(&mut self) -> bool {
        let mut sources = self.sources.iter_mut();
        sources.any(|source| source.symbols_are_newly_hidden())
    }

    /// Has the next [`take`](Self::take) pass on what the kernel has counted so far. Returns whether a
    /// source has such counts.
    pub fn count_now(&mut self) -> bool {
        let mut has_counts = false;
        for source in &mut self.sources {
            has_counts |= source.count_now();
        }
        has_counts
    }

    /// Has all sources send packets from here on.
    pub fn capture(&mut self, wanted: TracerSettings) -> Result<(), TracerError> {
        let mut sources = self.sources.iter_mut();
        sources.try_for_each(|source| source.capture(wanted))
    }

    /// Returns whether the kernel reported to a source what its filter in the kernel had rejected.
    pub fn filters_are_reported(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|source| source.filter_is_reported())
    }

    /// Makes the kernel deliver all events again. Returns the first error.
    pub fn detach_filters(&self) -> io::Result<()> {
        let detached = self.sources.iter().map(|source| source.detach_filter());
        detached.fold(Ok(()), Result::and)
    }
}
