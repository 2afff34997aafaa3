//! The eBPF programs' reports as a source. `completer` makes records of them, with the names of reasons, the symbols of
//! the running kernel and the names of this machine's interfaces, and decides which link types are certain; `counting` is
//! the source of drops that are counted in the kernel.

mod completer;
mod counting;

pub use counting::EbpfCounts;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use completer::{Completer, Tables};

use super::stacks::Stacks;
use super::{Event, LeftOut, NotPackets, Receive, Source, Taken};
use crate::bpf::BpfProgram;
use crate::ebpf::reasons::Reasons;
use crate::ebpf::tracer::{BATCH, SETTLED_NANOS, Tracer, TracerError, TracerSettings, Until};
use crate::record::{Loss, Timestamp};
use crate::symbol::Symbols;

/// The longest time that reports wait if too few come to wake this process.
const PAUSE: Duration = Duration::from_millis(50);

/// The stream of the programs' reports.
pub struct Ebpf {
    tracer: Tracer,
    completer: Completer,
    /// Drops that the programs rejected, as far as they were passed on.
    rejected: u64,
    /// Earlier drops are left out, by the monotonic clock in nanoseconds.
    beginning: u64,
    /// The time up to which all reports have been taken.
    settled: Option<Timestamp>,
    /// The programs are detached.
    is_ended: bool,
}

impl Ebpf {
    /// Attaches the programs. `family` is NET_DM's number, by which its alerts are recognised. The programs
    /// reject what `filter` rejects, which is made for the running kernel's reasons.
    pub fn new(
        wanted: TracerSettings,
        family: Option<u16>,
        not_packets: NotPackets,
        filter: impl FnOnce(&Reasons) -> Option<BpfProgram>,
    ) -> Result<Self, TracerError> {
        let (tracer, reasons) = Tracer::new(wanted, filter)?;
        let stacks = wanted.program.stack_frames.map(Stacks::new);
        let tables = Tables::new(reasons, Symbols::named_by_kernel(), stacks);
        Ok(Self {
            tracer,
            completer: Completer::new(tables, family, not_packets),
            rejected: 0,
            beginning: 0,
            settled: None,
            is_ended: false,
        })
    }

    /// Takes the kernel's refusal of the filter out, if there was one.
    pub fn filter_refusal(&mut self) -> Option<TracerError> {
        self.tracer.filter_refused.take()
    }

    /// Passes on how many more drops the programs have rejected.
    fn pass_on_rejected(&mut self, receive: &mut Receive<'_>) -> io::Result<ControlFlow<()>> {
        if !self.tracer.filters {
            return Ok(ControlFlow::Continue(()));
        }
        let rejected = self.tracer.rejected()?;
        let more = rejected.saturating_sub(self.rejected);
        self.rejected = rejected;
        Ok(match more {
            0 => ControlFlow::Continue(()),
            more => receive(Event::Rejected(more)),
        })
    }

    /// Passes on some of the waiting reports, and returns their number. `realtime` is the time of day in nanoseconds.
    fn take_waiting(
        &mut self,
        realtime: u64,
        receive: &mut Receive<'_>,
    ) -> io::Result<ControlFlow<(), usize>> {
        let now = monotonic_time()?;
        // Measured anew each time, for somebody may set the clock.
        let offset = realtime.wrapping_sub(now);
        let until = if self.is_ended {
            Until::End
        } else {
            Until::Time(now)
        };
        let mut batch = self.tracer.waiting(until);
        let reports = batch.by_ref().take(BATCH);
        let completer = &mut self.completer;
        let taken = completer.hand_on(reports, self.beginning, offset, receive);
        let released = batch.taken();
        completer.left_out.damaged_messages += self.tracer.release(released);
        self.settled = match taken {
            ControlFlow::Continue(0..BATCH) => Some(Timestamp(
                now.saturating_sub(SETTLED_NANOS).wrapping_add(offset),
            )),
            _ => None,
        };
        Ok(taken)
    }

    /// Ends the capture: what waits can still be taken.
    fn stop(&mut self) {
        self.tracer.detach();
        self.is_ended = true;
    }

    /// Returns the bytes of one CPU's buffer.
    pub fn cpu_buffer_bytes(&self) -> usize {
        self.tracer.cpu_buffer_bytes()
    }

    /// Returns the bytes of all buffers, where the kernel granted less than was wanted.
    pub fn small_buffers(&self) -> Option<usize> {
        self.tracer.is_small.then_some(self.tracer.buffer_bytes)
    }
}

impl Source for Ebpf {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        descriptors.push(self.tracer.as_fd());
    }

    fn longest_wait(&self) -> Option<Duration> {
        Some(PAUSE)
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        let realtime = nanos(clock_gettime(ClockId::CLOCK_REALTIME)?);
        let taken = if self.tracer.is_empty() {
            self.settled = Some(Timestamp(realtime.saturating_sub(SETTLED_NANOS)));
            ControlFlow::Continue(0)
        } else {
            self.take_waiting(realtime, receive)?
        };
        let ControlFlow::Continue(count) = taken else {
            return Ok(Taken::Break(()));
        };
        Ok(match (self.pass_on_rejected(receive)?, count) {
            (ControlFlow::Break(()), _) => Taken::Break(()),
            (ControlFlow::Continue(()), 0) => Taken::Nothing,
            (ControlFlow::Continue(()), _) => Taken::Some,
        })
    }

    fn settled(&self) -> Option<Timestamp> {
        self.settled
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop();
        Ok(())
    }

    fn loss(&self) -> io::Result<Loss> {
        Ok(Loss {
            perf: self.tracer.lost()?,
            ..Loss::default()
        })
    }

    fn left_out(&self) -> LeftOut {
        self.completer.left_out
    }

    fn symbols_are_newly_hidden(&mut self) -> bool {
        self.completer.tables.symbols.are_newly_hidden()
    }
}

/// Returns the time of the reports' clock, in nanoseconds.
fn monotonic_time() -> io::Result<u64> {
    Ok(nanos(clock_gettime(ClockId::CLOCK_MONOTONIC)?))
}

fn nanos(time: TimeSpec) -> u64 {
    let time = Duration::from(time);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod alike;
#[cfg(test)]
mod filtered;
#[cfg(test)]
mod verified;
