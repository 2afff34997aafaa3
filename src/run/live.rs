//! A live run: the monitoring from its start to its end, and the event loop, which is the same for
//! every receiver.

mod choice;
mod confining;
mod opening;

pub use choice::Needs;
pub use confining::ReceiverNeeds;

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::begin::Purpose;
use super::diagnostics::{self, hint, say};
use super::failure::{Exit, Failure, hint_of};
use super::kernel_filter::Attached;
use super::loss_watch::LossWatch;
use super::pipeline::TEXT_CLOSED;
use super::probe::Probe;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::signals::Requests;
use super::wait::wait;
use crate::cli::{Live, Role};
use crate::ebpf::program::DropSelection;
use crate::net_dm::control::{ControlError, Settings};
use crate::net_dm::interference::{Disturbance, Interference};
use crate::net_dm::monitoring::{Ended, Monitoring, Reporting};
use crate::net_dm::socket::KernelConversation;
use crate::record::{Loss, Timestamp};
use crate::source::sources::Sources;
use crate::source::{Event, LeftOut, Taken};
use opening::EbpfSettings;

/// The pause between two attempts to receive what was dropped before the end.
const PAUSE: Duration = Duration::from_millis(5);
/// If no drop from before the end has arrived for this long, none will.
const SETTLED: Duration = Duration::from_millis(100);
/// In a flood, the clock is read once in so many rounds. A virtual machine's clock can cost as much as
/// several drops, and a round takes 32 of them at most.
const ROUNDS_PER_CLOCK: u32 = 16;

/// The reason for which the event loop ended.
pub enum LoopEnd {
    /// A signal.
    Signal,
    /// `--duration` is over.
    Duration,
    /// Another process has taken over the drop monitor.
    Disturbed,
    /// The receiver stopped.
    Stop(Stop),
    /// A source failed.
    Failed(Failure),
}

/// The monitoring, once it is on, shared with the thread that handles the signals.
#[derive(Clone)]
struct SharedMonitoring(Arc<Mutex<Option<Monitoring<KernelConversation>>>>);

impl SharedMonitoring {
    fn set(&self, monitoring: Monitoring<KernelConversation>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitoring);
    }

    /// Calls `act` with the monitoring, once it is on.
    fn with<T>(&self, act: impl FnOnce(&mut Monitoring<KernelConversation>) -> T) -> Option<T> {
        // A poisoned lock means that a thread panicked; the settings still have to be restored.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .map(act)
    }
}

/// Ends the monitoring when the capture is left by an error or a panic.
struct EndOnDrop(SharedMonitoring);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.with(|monitoring| monitoring.end().clone());
    }
}

/// Monitoring under way, with the sources of its events.
pub struct Session {
    sources: Sources,
    monitoring: SharedMonitoring,
    requests: Requests,
    live: Live,
    took_over: bool,
    /// Monitoring was known to be on at the beginning. Without privileges this is unknown.
    was_on: bool,
    /// The software drops that eBPF programs capture.
    traced: Traced,
    /// The drop monitor skips nothing while it counts. When it is switched to packets, eBPF programs are
    /// attached beside it, with these settings.
    ebpf_for_packets: Option<EbpfSettings>,
    /// eBPF programs count, and others take their place where packets are needed.
    is_counted_by_ebpf: bool,
    /// The part of the filter that the kernel runs; `None` without the drop monitor.
    pub attached: Option<Attached>,
    deadline: Option<Instant>,
    /// The longest time for which alerts may gather after all have been received. Without this
    /// pause, each of 20,000 drops a second wakes this process, which costs more than handling the
    /// drop.
    rest: Duration,
    /// The start of the run.
    pub started: Timestamp,
    /// NET_DM's number, where the kernel has it.
    pub family: Option<u16>,
    /// Declared last, so that it is dropped after everything that can panic.
    _last: EndOnDrop,
}

/// The software drops that eBPF programs capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traced {
    /// None.
    Nothing,
    /// Those that the drop monitor skips.
    Skipped,
    /// All: the drop monitor reports hardware drops at most.
    Everything,
}

/// The result of a run.
pub struct RunEnd {
    /// The exit status, unless it failed.
    pub exit: Exit,
    /// The error that ended the run.
    pub failure: Option<Failure>,
}

/// A run before its start: the signals are handled and NET_DM is looked for, but nothing is changed yet.
pub struct Opening {
    monitoring: SharedMonitoring,
    requests: Requests,
    conversation: Result<KernelConversation, ControlError>,
    last: EndOnDrop,
}

impl Session {
    /// Returns whether eBPF programs capture software drops, so that none is missing.
    pub fn is_tracing(&self) -> bool {
        self.traced != Traced::Nothing
    }

    /// Runs the event loop. It receives alerts as long as there are any; then it flushes, lets
    /// alerts gather, and waits.
    pub fn run(&mut self, receiver: &mut impl Receiver) -> LoopEnd {
        let mut probe = Probe::new(self.live.role == Role::Passive, self.was_on);
        let mut loss_watch = LossWatch::default();
        let mut has_rested = true;
        let mut rounds = 0_u32;
        loop {
            if self.requests.end() {
                return self.settle(LoopEnd::Signal, receiver);
            }
            if self.requests.counts() {
                if let ControlFlow::Break(end) = self.take_counts(receiver) {
                    return end;
                }
                let loss = self.loss();
                receiver.report(loss);
            }
            if let ControlFlow::Break(stop) = self.attend_to_files(receiver) {
                return LoopEnd::Stop(stop);
            }
            if rounds.is_multiple_of(ROUNDS_PER_CLOCK)
                && let ControlFlow::Break(end) =
                    self.attend_to_times(Instant::now(), &mut probe, &mut loss_watch, receiver)
            {
                return end;
            }
            if self.requests.flush()
                && let ControlFlow::Break(stop) = receiver.flush()
            {
                return LoopEnd::Stop(stop);
            }
            match self.take(receiver) {
                Ok(Taken::Some) => {
                    probe.saw_alerts();
                    has_rested = false;
                    rounds = rounds.wrapping_add(1);
                    continue;
                }
                Ok(Taken::Nothing) => rounds = 0,
                Ok(Taken::Break(stop)) => return LoopEnd::Stop(stop),
                Err(failure) => return LoopEnd::Failed(failure),
            }
            if let ControlFlow::Break(stop) = receiver.flush() {
                return LoopEnd::Stop(stop);
            }
            let woken = if has_rested || self.rest.is_zero() {
                self.wait(receiver, &self.sources.descriptors(), probe.timeout())
            } else {
                self.wait(receiver, &[], self.rest)
            };
            has_rested = true;
            match woken {
                Ok(Some(position)) => {
                    let attention = Attention::Watched(position);
                    if let ControlFlow::Break(stop) = receiver.attend(attention, self) {
                        return LoopEnd::Stop(stop);
                    }
                }
                Ok(None) => {}
                Err(failure) => return LoopEnd::Failed(failure),
            }
        }
    }

    /// Finishes files that were left, and begins another if a signal asked for it.
    fn attend_to_files(&mut self, receiver: &mut impl Receiver) -> ControlFlow<Stop> {
        if receiver.wants_attention() {
            receiver.attend(Attention::Wanted, self)?;
        }
        if self.requests.another_file() {
            receiver.attend(Attention::Hangup, self)?;
        }
        ControlFlow::Continue(())
    }

    /// Does what it is time for, and returns the end of the run if that is among it.
    fn attend_to_times(
        &mut self,
        now: Instant,
        probe: &mut Probe,
        loss_watch: &mut LossWatch,
        receiver: &mut impl Receiver,
    ) -> ControlFlow<LoopEnd> {
        if probe.is_due(now) {
            match self.monitoring.with(|monitoring| probe.check(monitoring)) {
                // Software drops come all the same.
                Some(Some(_)) if self.traced == Traced::Everything => {}
                Some(Some(_)) => return ControlFlow::Break(LoopEnd::Disturbed),
                Some(None) => {}
                None => probe.skip(),
            }
            if diagnostics::is_redirected() {
                loss_watch.tell(self.loss());
            }
        }
        let due = receiver.due();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return ControlFlow::Break(self.settle(LoopEnd::Duration, receiver));
        }
        if due.is_some_and(|due| now >= due) {
            self.take_counts(receiver)?;
            return match receiver.attend(Attention::Due, self) {
                ControlFlow::Break(Stop::Files) => {
                    ControlFlow::Break(self.settle(LoopEnd::Duration, receiver))
                }
                attended => attended.map_break(LoopEnd::Stop),
            };
        }
        ControlFlow::Continue(())
    }

    /// Receives what was dropped until now. STOP discards, uncounted, the alerts in the kernel's
    /// queues, and after a flood the kernel needs a second to send them.
    fn settle(&mut self, end: LoopEnd, receiver: &mut impl Receiver) -> LoopEnd {
        let now = Timestamp::now();
        let mut last = Instant::now();
        while self.live.role != Role::Passive && last.elapsed() < SETTLED {
            let taken = self.take_noting(receiver, |event| {
                if matches!(event, Event::Drop(record) if record.time.is_some_and(|time| time < now)) {
                    last = Instant::now();
                }
            });
            match taken {
                Ok(Taken::Some) => {}
                Ok(Taken::Nothing) => std::thread::sleep(PAUSE),
                Ok(Taken::Break(stop)) => return LoopEnd::Stop(stop),
                Err(failure) => return LoopEnd::Failed(failure),
            }
        }
        end
    }

    /// Receives what eBPF programs have counted until now, if they count.
    fn take_counts(&mut self, receiver: &mut impl Receiver) -> ControlFlow<LoopEnd> {
        if !self.sources.count_now() {
            return ControlFlow::Continue(());
        }
        match self.take(receiver) {
            Ok(Taken::Some | Taken::Nothing) => ControlFlow::Continue(()),
            Ok(Taken::Break(stop)) => ControlFlow::Break(LoopEnd::Stop(stop)),
            Err(failure) => ControlFlow::Break(LoopEnd::Failed(failure)),
        }
    }

    fn take(&mut self, receiver: &mut impl Receiver) -> Result<Taken<Stop>, Failure> {
        self.take_noting(receiver, |_| {})
    }

    fn take_noting(
        &mut self,
        receiver: &mut impl Receiver,
        arrived: impl FnMut(&Event<'_, '_>),
    ) -> Result<Taken<Stop>, Failure> {
        let taken = self.sources.take(arrived, |event| receiver.take(event));
        let Self {
            attached, sources, ..
        } = self;
        if let Some(attached) = attached
            && attached.rejects()
            && sources.filters_are_reported()
        {
            attached.withdraw(|| sources.detach_filters());
        }
        if self.sources.symbols_are_newly_hidden() {
            say(
                "the kernel hides its addresses from this process: symbols stay truncated or are missing",
            );
            hint(
                "/proc/kallsyms shows them with CAP_SYSLOG, unless the sysctl kernel.kptr_restrict is 2",
            );
        }
        taken
            .context("cannot receive alerts")
            .map_err(Failure::from)
    }

    /// Waits for an event of these descriptors, a signal, the receiver or the time. Returns which of
    /// the receiver's descriptors is ready.
    fn wait(
        &self,
        receiver: &impl Receiver,
        descriptors: &[BorrowedFd<'_>],
        longest: Duration,
    ) -> Result<Option<usize>, Failure> {
        let end = self.deadline;
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let times = left.into_iter().chain(self.sources.longest_wait());
        let longest = times.fold(longest, Duration::min);
        let ready = wait(descriptors, &self.requests, Some(receiver), Some(longest))
            .context("cannot wait for alerts")?;
        Ok(ready.receiver)
    }

    /// Ends the monitoring, restores the settings, receives the alerts that still wait, and
    /// reports. `finish` ends the receiver's output.
    pub fn finish<R: Receiver>(
        &mut self,
        end: LoopEnd,
        receiver: &mut R,
        finish: impl FnOnce(&mut R, Option<Loss>, LeftOut, Option<Disturbance>) -> ControlFlow<Stop>,
    ) -> RunEnd {
        let ended = self
            .monitoring
            .with(|monitoring| monitoring.end().clone())
            .unwrap_or_default();
        let disturbance = self.monitoring.with(|monitoring| monitoring.disturbance());
        // Another process may go on monitoring.
        if let Err(error) = self.sources.end() {
            say(format_args!(
                "cannot leave the multicast group of alerts: {error}"
            ));
        }
        let mut failure = None;
        let is_open = match end {
            LoopEnd::Signal
            | LoopEnd::Duration
            | LoopEnd::Disturbed
            | LoopEnd::Stop(Stop::Asked | Stop::Files) => true,
            LoopEnd::Stop(Stop::Count | Stop::Closed) => false,
            LoopEnd::Stop(Stop::TextClosed) => {
                say(TEXT_CLOSED);
                false
            }
            LoopEnd::Stop(Stop::Failed(error)) | LoopEnd::Failed(error) => {
                failure = Some(error);
                false
            }
        };
        if is_open {
            failure = failure.or_else(|| self.drain(receiver));
        }
        // The statistics are gone with the module.
        let loss = match ended.interference {
            Some(Interference::Unloaded) => None,
            _ => self.loss(),
        };
        let left_out = self.sources.left_out();
        if let ControlFlow::Break(Stop::Failed(error)) =
            finish(receiver, loss, left_out, disturbance.flatten())
        {
            // The first error is the cause of the others.
            failure.get_or_insert(error);
        }
        self.requests.output_is_written();
        self.tell(&ended);
        let exit = if ended.stop.is_some() || ended.interference.is_some() {
            Exit::Failure
        } else {
            Exit::Success
        };
        RunEnd { exit, failure }
    }

    /// Reports interference, and failures to end the monitoring.
    fn tell(&self, ended: &Ended) {
        if let Some(interference) = ended.interference {
            say(interference);
            hint(match interference {
                Interference::Stopped | Interference::Unloaded => {
                    "drops since then are missing: capture again when the other program is done"
                }
                Interference::TakenOver | Interference::Reconfigured(_) => {
                    "drops since then may be missing or cut; the other program's monitoring was left as it is"
                }
            });
        }
        for error in [&ended.stop, &ended.restore].into_iter().flatten() {
            say(error);
            if let Some(line) = hint_of(error) {
                hint(line);
            }
        }
        if ended.stop.is_none() && ended.interference.is_none() && self.took_over {
            say(
                "monitoring is off now: the program that dwdump took over from has to start it again",
            );
        }
    }

    /// Receives the alerts that the kernel sent before it acknowledged STOP, and the events that
    /// still wait for their turn.
    fn drain(&mut self, receiver: &mut impl Receiver) -> Option<Failure> {
        loop {
            match self.take(receiver) {
                Ok(Taken::Some) => {}
                Ok(Taken::Break(Stop::Failed(failure))) | Err(failure) => return Some(failure),
                Ok(Taken::Nothing) => break,
                Ok(Taken::Break(_)) => return None,
            }
        }
        match self.sources.release_all(|event| receiver.take(event)) {
            ControlFlow::Break(Stop::Failed(failure)) => Some(failure),
            _ => None,
        }
    }
}

impl DropMonitor for Session {
    fn loss(&mut self) -> Option<Loss> {
        // The queue is NET_DM's: without NET_DM there is none.
        let queue = self.monitoring.with(Monitoring::lost).unwrap_or(Ok(0));
        let loss = self.sources.loss();
        // The probe reports that the module is gone.
        if let Err(error) = queue.as_ref()
            && !error.is_unloaded()
        {
            say(error);
        }
        let loss = loss.ok()?;
        Some(Loss {
            queue: loss.queue + queue.ok()?,
            ..loss
        })
    }

    fn disturbance(&mut self) -> Option<Disturbance> {
        self.monitoring.with(|monitoring| {
            monitoring.inspect();
            monitoring.disturbance()
        })?
    }

    fn settings(&mut self) -> Option<Settings> {
        self.monitoring.with(Monitoring::settings)?.ok()
    }

    fn switch(&mut self, purpose: Purpose) -> anyhow::Result<()> {
        let wanted = opening::tracer_settings(&self.live, purpose, DropSelection::All);
        self.sources.capture(wanted)?;
        let reporting = purpose.reporting(self.live.role);
        let switched = self
            .monitoring
            .with(|monitoring| monitoring.switch(reporting));
        if let Some(result) = switched {
            result?;
        }
        if let Reporting::Packets { .. } = reporting {
            self.add_ebpf();
        }
        Ok(())
    }
}
