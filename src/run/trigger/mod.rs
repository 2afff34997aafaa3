//! Keeps only the drops around those that a filter matches (`--trigger`): the others are held in memory of a fixed size,
//! and forgotten when they are too old. No I/O.

mod entry;
mod memory;
mod pushed_out;

use std::ops::ControlFlow;

use super::failure::Failure;
use super::selection;
use crate::cli::{FilterText, Selection, TriggerChoice};
use crate::filter::Filter;
use crate::record::{DropRecord, Timestamp};
use memory::MemoryRing;
use pushed_out::PushedOut;

/// The drops that wait for a match.
pub struct Trigger {
    filter: Filter,
    /// Nanoseconds.
    before: u64,
    after: u64,
    /// The time up to which drops are kept because of a match.
    until: Option<Timestamp>,
    latest: Timestamp,
    held: MemoryRing,
    pushed_out: PushedOut,
    counts: TriggerCounts,
    /// Reused, so that no drop allocates.
    string: Vec<u8>,
}

/// The numbers of drops that were not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriggerCounts {
    /// Matches.
    pub matches: u64,
    /// Not near a match.
    pub passed_over: u64,
    /// Of these, near enough to a match, but there was no memory for them.
    pub given_up: u64,
}

impl Trigger {
    /// Compiles the filter and takes the memory.
    pub fn new(choice: &TriggerChoice) -> Result<Self, Failure> {
        let filter = selection::filter(&Selection {
            interface: None,
            filter: FilterText::Words(choice.filter.clone()),
        })?;
        Ok(Self::with_filter(filter, choice))
    }

    fn with_filter(filter: Filter, choice: &TriggerChoice) -> Self {
        let [before, after] = [choice.before, choice.after]
            .map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        Self {
            filter,
            before,
            after,
            until: None,
            latest: Timestamp(0),
            held: MemoryRing::new(choice.memory),
            pushed_out: PushedOut::new(before),
            counts: TriggerCounts::default(),
            string: Vec::new(),
        }
    }

    /// Returns a word of the filter that only eBPF programs tell anything about.
    pub fn word_of_ebpf(&self) -> Option<&'static str> {
        selection::word_of_ebpf(&self.filter)
    }

    /// Returns a word of the filter that matches more drops with eBPF programs.
    pub fn word_better_with_ebpf(&self) -> Option<&'static str> {
        selection::word_better_with_ebpf(&self.filter)
    }

    /// Takes a record, and delivers what is kept: nothing, this record, or those before a match and the match.
    pub fn take<B>(
        &mut self,
        record: &DropRecord<'_>,
        mut deliver: impl FnMut(&DropRecord<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let time = record.time.unwrap_or(self.latest);
        self.latest = self.latest.max(time);
        if self.filter.matches(record) {
            self.counts.matches += 1;
            self.until = Some(Timestamp(time.0.saturating_add(self.after)));
            let since = Timestamp(time.0.saturating_sub(self.before));
            self.forget_before(since);
            self.counts.given_up += self.pushed_out.take_since(since);
            while self.held.pop_into(&mut self.string) {
                entry::read(&self.string, &mut deliver).unwrap_or(ControlFlow::Continue(()))?;
            }
            return deliver(record);
        }
        if self.until.is_some_and(|until| time <= until) {
            return deliver(record);
        }
        self.forget_before(Timestamp(self.latest.0.saturating_sub(self.before)));
        self.hold(record, time);
        ControlFlow::Continue(())
    }

    fn hold(&mut self, record: &DropRecord<'_>, time: Timestamp) {
        self.string.clear();
        entry::write(record, time, &mut self.string);
        let len = self.string.len();
        if self.held.is_too_long(len) {
            self.counts.passed_over += 1;
            self.pushed_out.add(time);
            return;
        }
        while !self.held.has_room(len) {
            if let Some(time) = self.oldest() {
                self.pushed_out.add(time);
            }
            self.held.pop();
            self.counts.passed_over += 1;
        }
        self.held.push(&self.string);
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.held.peek().map(entry::time)
    }

    fn forget_before(&mut self, time: Timestamp) {
        while self.oldest().is_some_and(|oldest| oldest < time) {
            self.held.pop();
            self.counts.passed_over += 1;
        }
    }

    /// Gives up the drops that wait: there is no more match to come.
    pub fn forget_all(&mut self) {
        while self.held.count() > 0 {
            self.held.pop();
            self.counts.passed_over += 1;
        }
    }

    /// Returns the number of drops that were not near a match.
    pub fn forgotten(&self) -> u64 {
        self.counts.passed_over
    }

    /// Returns the counts.
    pub fn counts(&self) -> TriggerCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests;
