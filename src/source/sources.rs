//! The live sources of a run as a whole. Events of several sources are ordered by time, see
//! [`merge`](super::merge). Passed on as they come, without a copy, are those of a single source, and those
//! that nothing earlier can come before: no other source has any more events of that time. Nearly all are,
//! where one source is busy: the others, which had nothing the last time, are asked before it.

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
    list: Vec<Ordered>,
    /// The numbers of the sources in the order in which they are asked: first those that had nothing the last
    /// time, so that the events of the others need not wait for theirs.
    turns: Vec<usize>,
    merger: Merger,
}

/// After an event of a source that cannot say up to which time it has passed on all, more may wait in the kernel
/// for this long: the drop monitor sends its alerts one by one, and a flood of 100,000 takes it a second. Later, an
/// alert follows its drop within a millisecond, unless the CPU is busy.
const QUIET_NANOS: u64 = 2_000_000_000;

/// A source, with what decides its turn.
struct Ordered {
    source: Box<dyn Source>,
    /// It had no events when it was last asked.
    is_idle: bool,
    /// The time from which on it means that there was no drop if nothing waits.
    quiet_from: Timestamp,
    /// The time up to which it has no more events, as far as this is known.
    settled: Option<Timestamp>,
}

impl Ordered {
    fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            is_idle: true,
            quiet_from: Timestamp::default(),
            settled: None,
        }
    }

    /// Notes the result of a call of [`Source::take`] that began at this time.
    fn note(&mut self, taken: Taken<()>, began: Timestamp) {
        self.is_idle = taken == Taken::Nothing;
        if !self.is_idle {
            self.quiet_from = Timestamp(began.0.saturating_add(QUIET_NANOS));
        }
        let is_quiet = began >= self.quiet_from;
        self.settled = self.source.settled().or(is_quiet.then_some(began));
    }
}

/// The time of day, read when somebody needs it.
#[derive(Default)]
struct LazyClock(Option<Timestamp>);

impl LazyClock {
    /// Returns a time of the clock that is not earlier than that of the event, which has happened. A time in
    /// the future gives the present.
    fn after(&mut self, event: Option<Timestamp>) -> Timestamp {
        match self.0 {
            Some(now) if event.is_none_or(|time| time <= now) => now,
            _ => *self.0.insert(Timestamp::now()),
        }
    }
}

impl Sources {
    /// Takes over another source.
    pub fn add(&mut self, source: Box<dyn Source>) {
        self.turns.push(self.list.len());
        self.list.push(Ordered::new(source));
        self.merger.add_source();
    }

    /// Returns the descriptors of all sources.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut descriptors = Vec::new();
        for Ordered { source, .. } in &self.list {
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
        let is_single = self.list.len() == 1;
        let (mut has_taken, mut value) = (false, None);
        for turn in 0..self.turns.len() {
            let number = self.turns[turn];
            let settled = self.settled_beside(number);
            if let ControlFlow::Break(value) = self.release_settled(&mut receive) {
                return Ok(Taken::Break(value));
            }
            let (merger, mut clock) = (&mut self.merger, LazyClock::default());
            let began = (!is_single).then(|| clock.after(None));
            let ordered = &mut self.list[number];
            let taken = ordered.source.take(&mut |event| {
                arrived(&event);
                let flow = if is_single || merger.is_next(&event, settled) {
                    receive(event)
                } else {
                    merger.add(number, event, clock.after(event.time()), &mut receive)
                };
                flow.map_break(|broken| value = Some(broken))
            })?;
            if let Some(began) = began {
                ordered.note(taken, began);
            }
            has_taken |= taken == Taken::Some;
            if let Some(value) = value {
                return Ok(Taken::Break(value));
            }
        }
        let Self { list, turns, .. } = self;
        turns.sort_by_key(|&number| !list[number].is_idle);
        if self.merger.is_waiting()
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

    /// Passes on the waiting events that nothing can come before any more.
    fn release_settled<B>(
        &mut self,
        receive: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        while let Some((time, number)) = self.merger.first()
            && self
                .settled_beside(number)
                .is_some_and(|settled| time <= settled)
        {
            self.merger.hand_on_first(receive)?;
        }
        ControlFlow::Continue(())
    }

    /// Returns the time up to which no other source has any more events.
    fn settled_beside(&self, number: usize) -> Option<Timestamp> {
        let others = self.list.iter().enumerate();
        let others = others.filter(|(other, _)| *other != number);
        others.map(|(_, ordered)| ordered.settled).min().flatten()
    }

    /// Passes on the events that wait for their turn, at the end of the run.
    pub fn release_all<B>(
        &mut self,
        mut receive: impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.merger.release_all(&mut receive)
    }

    /// Returns how long [`take`](Self::take) may wait though no descriptor is readable: until the turn of the next
    /// event that waits for it, and no longer than each source allows. `None` where there is no such time.
    pub fn longest_wait(&self) -> Option<Duration> {
        let is_merging = self.list.len() > 1;
        let turn = is_merging.then(|| self.merger.remaining(Timestamp::now()));
        let waits = self
            .list
            .iter()
            .filter_map(|ordered| ordered.source.longest_wait());
        waits.chain(turn.flatten()).min()
    }

    /// Ends all streams: the waiting events can still be taken. Returns the first error.
    pub fn end(&mut self) -> io::Result<()> {
        let ended = self.list.iter_mut().map(|ordered| ordered.source.end());
        ended.fold(Ok(()), Result::and)
    }

    /// Returns what all sources lost; see [`Source::loss`].
    pub fn loss(&self) -> io::Result<Loss> {
        let mut sum = Loss::default();
        for Ordered { source, .. } in &self.list {
            sum += source.loss()?;
        }
        Ok(sum)
    }

    /// Returns the counts of messages that gave no event, of all sources together.
    pub fn left_out(&self) -> LeftOut {
        let mut sum = LeftOut::default();
        for Ordered { source, .. } in &self.list {
            sum += source.left_out();
        }
        sum
    }

    /// Returns true once for each source, when a symbol stays cut because this process may not see
    /// addresses.
    pub fn symbols_are_newly_hidden(&mut self) -> bool {
        let mut sources = self.list.iter_mut();
        sources.any(|ordered| ordered.source.symbols_are_newly_hidden())
    }

    /// Has the next [`take`](Self::take) pass on what the kernel has counted so far. Returns whether a
    /// source has such counts.
    pub fn count_now(&mut self) -> bool {
        let mut has_counts = false;
        for Ordered { source, .. } in &mut self.list {
            has_counts |= source.count_now();
        }
        has_counts
    }

    /// Has all sources send packets from here on.
    pub fn capture(&mut self, wanted: TracerSettings) -> Result<(), TracerError> {
        let mut sources = self.list.iter_mut();
        sources.try_for_each(|ordered| ordered.source.capture(wanted))
    }

    /// Returns whether the kernel reported to a source what its filter in the kernel had rejected.
    pub fn filters_are_reported(&self) -> bool {
        let mut sources = self.list.iter();
        sources.any(|ordered| ordered.source.filter_is_reported())
    }

    /// Makes the kernel deliver all events again. Returns the first error.
    pub fn detach_filters(&self) -> io::Result<()> {
        let detached = self
            .list
            .iter()
            .map(|ordered| ordered.source.detach_filter());
        detached.fold(Ok(()), Result::and)
    }
}
