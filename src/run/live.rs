//! A live run: the monitoring from its start to its end, and the event loop, which is the same for
//! every receiver.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::begin::{Beginning, Joined, Purpose, begin};
use super::diagnostics::{hint, say};
use super::failure::{Exit, Failure, hint_of};
use super::kernel_filter::Attached;
use super::pipeline::TEXT_CLOSED;
use super::probe::Probe;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::signals::Requests;
use crate::cli::{Live, Role};
use crate::filter::Filter;
use crate::net_dm::control::{ControlError, Settings};
use crate::net_dm::interference::Interference;
use crate::net_dm::monitoring::{Ended, Monitoring, Reporting};
use crate::net_dm::socket::KernelConversation;
use crate::record::{Loss, Timestamp};
use crate::source::Event;
use crate::source::kernel::{Kernel, LeftOut, Taken};

/// How long to wait for what may still come of what was dropped before the end.
const PAUSE: Duration = Duration::from_millis(5);
/// When nothing that was dropped before the end has come for so long, nothing will.
const SETTLED: Duration = Duration::from_millis(100);

/// Why the event loop was left.
pub enum End {
    /// A signal.
    Signal,
    /// `--duration` is over.
    Duration,
    /// Another process took the drop monitor.
    Disturbed,
    /// The pipeline wants no more.
    Stop(Stop),
    /// The socket failed.
    Failed(Failure),
}

/// Monitoring that ends with this process, shared with the thread that takes the signals.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<Monitoring<KernelConversation>>>>);

impl Shared {
    fn set(&self, monitoring: Monitoring<KernelConversation>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitoring);
    }

    /// Does something with the monitoring, once there is one.
    fn with<T>(&self, act: impl FnOnce(&mut Monitoring<KernelConversation>) -> T) -> Option<T> {
        // A poisoned lock: some thread panicked, and the settings still have to be put back.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .map(act)
    }
}

/// Ends the monitoring when the capture is left by an error or a panic.
struct EndAtLast(Shared);

impl Drop for EndAtLast {
    fn drop(&mut self) {
        self.0.with(|monitoring| monitoring.end().clone());
    }
}

/// Monitoring under way, and the stream of its alerts.
pub struct Session {
    kernel: Kernel,
    monitoring: Shared,
    requests: Requests,
    role: Role,
    took_over: bool,
    /// Monitoring was on at the beginning, as far as this process may ask.
    was_on: bool,
    /// What the kernel does of the filter.
    pub attached: Attached,
    deadline: Option<Instant>,
    /// When all alerts are taken and more may follow at once, how long to let them gather: without
    /// this, each of 20,000 drops a second wakes this process, which costs more than the drop.
    rest: Duration,
    /// When it began.
    pub started: Timestamp,
    /// NET_DM's number.
    pub family: u16,
    /// Last, so that whatever panics before it is dropped leaves nothing behind.
    _last: EndAtLast,
}

/// How a run ended.
pub struct Finished {
    /// The exit status, unless it failed.
    pub exit: Exit,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// A run that can begin: the signals are taken, NET_DM is found, and nothing is changed yet.
pub struct Opening {
    monitoring: Shared,
    requests: Requests,
    conversation: KernelConversation,
    last: EndAtLast,
}

impl Opening {
    /// Takes the signals and finds NET_DM.
    pub fn new() -> Result<Self, Failure> {
        let monitoring = Shared(Arc::default());
        let shared = monitoring.clone();
        let at_end = move || {
            shared.with(|monitoring| monitoring.end().clone());
        };
        let requests = Requests::listen(at_end).context("cannot set up signal handling")?;
        let conversation = KernelConversation::open()?;
        let last = EndAtLast(monitoring.clone());
        Ok(Self {
            monitoring,
            requests,
            conversation,
            last,
        })
    }

    /// What signals ask for meanwhile.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Starts monitoring, or joins somebody else's, and has it announced before the first alert
    /// is taken. The kernel rejects what it can of `in_kernel`.
    pub fn begin(
        self,
        live: &Live,
        purpose: Purpose,
        in_kernel: Option<&Filter>,
        announce: impl FnOnce(Beginning),
    ) -> Result<Session, Failure> {
        let Self {
            monitoring,
            requests,
            conversation,
            last,
        } = self;
        let family = conversation.family();
        let join = || Joined::new(live, family, in_kernel);
        let begun = begin(live, purpose, conversation, join, announce)?;
        monitoring.set(begun.monitoring);
        Ok(Session {
            kernel: Kernel::new(begun.joined.alerts, live.not_packets),
            monitoring,
            requests,
            role: live.role,
            took_over: begun.took_over,
            was_on: begun.is_on,
            attached: begun.joined.attached,
            rest: begun.joined.rest,
            deadline: live.duration.map(|duration| Instant::now() + duration),
            started: Timestamp::now(),
            family,
            _last: last,
        })
    }
}

impl Session {
    /// The event loop: alerts as long as there are some; when there are none, flush, rest and wait.
    pub fn run(&mut self, receiver: &mut impl Receiver) -> End {
        let mut probe = Probe::new(self.role == Role::Passive, self.was_on);
        let mut has_rested = true;
        loop {
            if self.requests.end() {
                return self.settle(End::Signal, receiver);
            }
            let now = Instant::now();
            if probe.is_due(now)
                && let Some(Some(_)) = self.monitoring.with(|monitoring| probe.look(monitoring))
            {
                return End::Disturbed;
            }
            if self.requests.counts() {
                let loss = self.loss();
                receiver.report(loss);
            }
            let due = receiver.due();
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                return self.settle(End::Duration, receiver);
            }
            if due.is_some_and(|due| now >= due)
                && let ControlFlow::Break(stop) = receiver.attend(Attention::Due, self)
            {
                return End::Stop(stop);
            }
            if self.requests.flush()
                && let ControlFlow::Break(stop) = receiver.flush()
            {
                return End::Stop(stop);
            }
            match self.take(receiver) {
                Ok(Taken::Some) => {
                    probe.saw_alerts();
                    has_rested = false;
                    continue;
                }
                Ok(Taken::Nothing) => {}
                Ok(Taken::Break(stop)) => return End::Stop(stop),
                Err(failure) => return End::Failed(failure),
            }
            if let ControlFlow::Break(stop) = receiver.flush() {
                return End::Stop(stop);
            }
            let woken = if has_rested || self.rest.is_zero() {
                self.wait(receiver, Awaited::Alerts, probe.timeout())
            } else {
                self.wait(receiver, Awaited::OthersOnly, self.rest)
            };
            has_rested = true;
            match woken {
                Ok(Woken::Receiver) => {
                    if let ControlFlow::Break(stop) = receiver.attend(Attention::Watched, self) {
                        return End::Stop(stop);
                    }
                }
                Ok(Woken::Other) => {}
                Err(failure) => return End::Failed(failure),
            }
        }
    }

    /// Takes what was dropped until now. STOP throws away what waits in the kernel's queues, counted
    /// nowhere, and a flood leaves a second of work there.
    fn settle(&mut self, end: End, receiver: &mut impl Receiver) -> End {
        let now = Timestamp::now();
        let mut last = Instant::now();
        while self.role != Role::Passive && last.elapsed() < SETTLED {
            let taken = self.take_and_tell(receiver, |event| {
                if matches!(event, Event::Drop(record) if record.time.is_some_and(|time| time < now)) {
                    last = Instant::now();
                }
            });
            match taken {
                Ok(Taken::Some) => {}
                Ok(Taken::Nothing) => std::thread::sleep(PAUSE),
                Ok(Taken::Break(stop)) => return End::Stop(stop),
                Err(failure) => return End::Failed(failure),
            }
        }
        end
    }

    fn take(&mut self, receiver: &mut impl Receiver) -> Result<Taken<Stop>, Failure> {
        self.take_and_tell(receiver, |_| {})
    }

    fn take_and_tell(
        &mut self,
        receiver: &mut impl Receiver,
        mut tell: impl FnMut(&Event<'_, '_>),
    ) -> Result<Taken<Stop>, Failure> {
        let taken = self.kernel.take(|event| {
            tell(&event);
            receiver.take(event)
        });
        if self.attached.rejects() && self.kernel.left_out().alerts_of_alerts > 0 {
            self.attached.withdraw(&self.kernel);
        }
        if self.kernel.symbols_are_newly_hidden() {
            say("the kernel hides its addresses from this process: long symbols stay cut");
            hint(
                "/proc/kallsyms shows them with CAP_SYSLOG, unless the sysctl kernel.kptr_restrict is 2",
            );
        }
        taken
            .context("cannot receive alerts")
            .map_err(Failure::from)
    }

    fn wait(
        &self,
        receiver: &impl Receiver,
        awaited: Awaited,
        timeout: Duration,
    ) -> Result<Woken, Failure> {
        let end = self.deadline.into_iter().chain(receiver.due()).min();
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        // Rounded up, lest the last millisecond be spent in a busy loop.
        let timeout = left.map_or(timeout, |left| left.min(timeout)) + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let alerts = match awaited {
            Awaited::Alerts => PollFlags::POLLIN,
            Awaited::OthersOnly => PollFlags::empty(),
        };
        let mut watched = vec![
            PollFd::new(self.kernel.as_fd(), alerts),
            PollFd::new(self.requests.as_fd(), PollFlags::POLLIN),
        ];
        watched.extend(receiver.watched());
        match nix::poll::poll(&mut watched, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => {
                let error = anyhow::Error::new(error).context("cannot wait for alerts");
                return Err(error.into());
            }
        }
        let is_receivers = watched.get(2).and_then(PollFd::any).unwrap_or(false);
        self.requests.clear();
        Ok(if is_receivers {
            Woken::Receiver
        } else {
            Woken::Other
        })
    }

    /// STOP, restore, drain; what the end means. `finish` ends the receiver's output.
    pub fn finish<R: Receiver>(
        &mut self,
        end: End,
        receiver: &mut R,
        finish: impl FnOnce(&mut R, Option<Loss>, LeftOut, Option<Interference>) -> ControlFlow<Stop>,
    ) -> Finished {
        let ended = self
            .monitoring
            .with(|monitoring| monitoring.end().clone())
            .unwrap_or_default();
        // Somebody else may go on monitoring.
        if let Err(error) = self.kernel.leave() {
            say(format_args!(
                "cannot leave the multicast group of alerts: {error}"
            ));
        }
        let mut failure = None;
        let is_open = match end {
            End::Signal | End::Duration | End::Disturbed | End::Stop(Stop::Asked) => true,
            End::Stop(Stop::Count | Stop::Closed) => false,
            End::Stop(Stop::TextClosed) => {
                say(TEXT_CLOSED);
                false
            }
            End::Stop(Stop::Failed(error)) | End::Failed(error) => {
                failure = Some(error);
                false
            }
        };
        if is_open {
            failure = failure.or_else(|| self.drain(receiver));
        }
        // The numbers went with the module.
        let loss = match ended.interference {
            Some(Interference::Unloaded) => None,
            _ => self.loss(),
        };
        let left_out = self.kernel.left_out();
        if let ControlFlow::Break(Stop::Failed(error)) =
            finish(receiver, loss, left_out, ended.interference)
        {
            // The first error is the cause of the others.
            failure.get_or_insert(error);
        }
        self.tell(&ended);
        let exit = if ended.stop.is_some() || ended.interference.is_some() {
            Exit::Failure
        } else {
            Exit::Success
        };
        Finished { exit, failure }
    }

    /// What the user should know of the end.
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

    /// What was sent before STOP was acknowledged waits in the socket.
    fn drain(&mut self, receiver: &mut impl Receiver) -> Option<Failure> {
        loop {
            match self.take(receiver) {
                Ok(Taken::Some) => {}
                Ok(Taken::Break(Stop::Failed(failure))) | Err(failure) => return Some(failure),
                Ok(Taken::Nothing | Taken::Break(_)) => return None,
            }
        }
    }
}

impl DropMonitor for Session {
    fn loss(&mut self) -> Option<Loss> {
        let queue = self.monitoring.with(Monitoring::lost)?;
        let socket = self.kernel.lost();
        // That the module is gone is told once, by the next look.
        if let Err(error) = queue.as_ref()
            && !error.is_unloaded()
        {
            say(error);
        }
        Some(Loss {
            queue: queue.ok()?,
            socket: socket.ok()?,
        })
    }

    fn settings(&mut self) -> Option<Settings> {
        self.monitoring.with(Monitoring::settings)?.ok()
    }

    fn switch(&mut self, reporting: Reporting) -> Result<(), ControlError> {
        let switched = self
            .monitoring
            .with(|monitoring| monitoring.switch(reporting));
        switched.unwrap_or(Ok(()))
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// Alerts, signals, what the receiver watches, the time.
    Alerts,
    /// All but alerts: they gather meanwhile.
    OthersOnly,
}

/// What ended a wait.
enum Woken {
    /// What the receiver watches.
    Receiver,
    /// An alert, a signal or the time.
    Other,
}
