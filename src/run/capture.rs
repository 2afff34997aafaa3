//! Live capture: the one event loop, and the way in and out of it.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::kernel_filter::Attached;
use super::output::{Plan, stdout_is_terminal};
use super::pipeline::{Pipeline, Stop, TEXT_CLOSED, report, report_tally};
use super::probe::Probe;
use super::signals::Requests;
use super::source_lines::Finder;
use super::{Exit, Failure, hint, hint_of, say, selection};
use crate::cli::{Capture, Role};
use crate::filter::Filter;
use crate::net_dm::control::{AlertMode, Control, ControlError, Operation, Refusal};
use crate::net_dm::monitoring::{Monitoring, Wanted};
use crate::net_dm::socket::{AlertSocket, KernelConversation, ReceiveBuffer};
use crate::record::{CaptureHost, Loss, Timestamp};
use crate::sink::{Ending, Rejected};
use crate::source::kernel::{Kernel, Taken};

/// Packets that each CPU's queue holds by default: the kernel's own 1000 overflow in a flood.
const QUEUE_LEN: u32 = 10_000;
/// The socket's receive buffer by default, in bytes: memory that is used only when it is needed.
const BUFFER_BYTES: u32 = 16 * 1024 * 1024;

/// Why the event loop was left.
enum End {
    /// A signal.
    Signal,
    /// `--duration` is over.
    Duration,
    /// Somebody else's STOP.
    StoppedByOther,
    /// The pipeline wants no more.
    Stop(Stop),
    /// The socket failed.
    Failed(Failure),
}

/// Monitoring that ends with this process, shared with the thread that takes the signals.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<Monitoring<KernelConversation>>>>);

impl Shared {
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

/// Captures until told to stop.
pub fn capture(command: &Capture) -> Result<Exit, Failure> {
    let plan = Plan::new(&command.delivery, stdout_is_terminal())?;
    let filter = selection::filter(&command.delivery.selection)?;
    let files = command.delivery.source_lines.as_ref();
    let finder = files.map(Finder::of_running_kernel).transpose()?;
    let monitoring = Shared(Arc::default());
    let shared = monitoring.clone();
    let at_end = move || {
        shared.with(|monitoring| monitoring.end().clone());
    };
    let requests = Requests::listen(at_end).context("cannot take over the signals")?;
    let conversation = KernelConversation::open()?;
    let family = conversation.family();
    let last = EndAtLast(monitoring.clone());
    let Begun {
        alerts,
        took_over,
        attached,
    } = begin(command, conversation, &monitoring, &plan, &filter)?;
    let started = Timestamp::now();
    let deadline = command.duration.map(|duration| Instant::now() + duration);
    if let Some(name) = &command.delivery.selection.interface {
        warn_of_unknown_interface(name);
    }
    let mut output = plan.open(
        &capture_host(),
        Some(family),
        finder.as_ref().map(Finder::shared),
    )?;
    let pipe = output.pipe.take();
    let mut pipeline = Pipeline::new(&command.delivery, filter, command.origins, 0, output);
    if attached.rejects() {
        pipeline.behind_kernel_filter();
    }
    let is_passive = command.role == Role::Passive;
    let mut run = Run {
        kernel: Kernel::new(alerts),
        monitoring,
        requests,
        pipeline,
        pipe,
        is_passive,
        took_over,
    };

    let end = run.events(deadline);
    let exit = run.finish(end, started, &plan);
    drop(last);
    if let Some(finder) = finder {
        finder.tell();
    }
    exit
}

/// A capture that is under way.
struct Begun {
    alerts: AlertSocket,
    took_over: bool,
    attached: Attached,
}

/// Starts monitoring, or joins somebody else's, and says so.
fn begin(
    command: &Capture,
    conversation: KernelConversation,
    shared: &Shared,
    plan: &Plan,
    filter: &Filter,
) -> Result<Begun, Failure> {
    let family = conversation.family();
    let control = Control::new(conversation);
    let bytes = command.buffer.unwrap_or(BUFFER_BYTES);
    let join = || {
        let alerts = AlertSocket::join(family)?;
        let buffer = alerts
            .set_receive_buffer(bytes)
            .map_err(|error| ControlError {
                operation: Operation::Join,
                refusal: Refusal {
                    errno: error.raw_os_error().unwrap_or(libc::EIO),
                    words: None,
                },
            })?;
        // Nothing arrives yet, or what does is filtered here.
        let attached = Attached::new(&alerts, filter, command.filtering);
        Ok((alerts, buffer, attached))
    };
    let (monitoring, (alerts, buffer, attached), took_over) = match command.role {
        Role::Owner {
            trunc_len,
            queue_len,
            when_busy,
        } => {
            let queue_len = queue_len.unwrap_or(QUEUE_LEN);
            let wanted = Wanted {
                origins: command.origins,
                trunc_len,
                queue_len,
                when_busy,
            };
            let (monitoring, joined, started) = Monitoring::begin(control, wanted, join)?;
            if started.took_over {
                say("took over: the monitoring that was on is stopped");
            }
            plan.announce(&format!("capturing {} drops", started.origins));
            if started.without_hardware {
                say("this kernel has no hardware drops: capturing software drops alone");
            }
            (monitoring, joined, started.took_over)
        }
        Role::Passive => {
            let (mut monitoring, joined, settings) = Monitoring::listen(control, join)?;
            plan.announce("listening to somebody else's monitoring");
            if settings.mode == AlertMode::Summary {
                say("the kernel is in summary mode: it sends counts, no packets");
                hint(
                    "whoever started the monitoring has to choose packet mode; dwdump without -p does",
                );
            }
            if monitoring.is_on() == Some(false) {
                say("monitoring is off: nothing arrives until somebody starts it");
            }
            (monitoring, joined, false)
        }
    };
    *shared.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(monitoring);
    if let (Some(asked), ReceiveBuffer::Clamped(got)) = (command.buffer, buffer) {
        say(format_args!(
            "the socket buffer is {got} bytes, not the {asked} asked for"
        ));
        hint(
            "net.core.rmem_max limits it where CAP_NET_ADMIN is missing: `sysctl net.core.rmem_max`",
        );
    }
    attached.tell();
    Ok(Begun {
        alerts,
        took_over,
        attached,
    })
}

/// The interface may still come, or be in another network namespace: not an error.
fn warn_of_unknown_interface(name: &str) {
    let is_index = name.parse::<u32>().is_ok();
    if !is_index && nix::net::if_::if_nametoindex(name).is_err() {
        say(format_args!(
            "no interface here is called {}",
            crate::record::Escaped(name.as_bytes())
        ));
        hint("`ip link` lists them; for one in another network namespace give its index: -i 5");
    }
}

fn capture_host() -> CaptureHost {
    let Ok(uname) = nix::sys::utsname::uname() else {
        return CaptureHost::default();
    };
    let text = |field: &std::ffi::OsStr| field.to_string_lossy().into_owned();
    CaptureHost {
        hardware: Some(text(uname.machine())),
        os: Some(format!(
            "{} {}",
            text(uname.sysname()),
            text(uname.release())
        )),
    }
}

/// A capture under way.
struct Run {
    kernel: Kernel,
    monitoring: Shared,
    requests: Requests,
    pipeline: Pipeline,
    pipe: Option<std::os::fd::OwnedFd>,
    is_passive: bool,
    took_over: bool,
}

impl Run {
    /// The event loop: alerts as long as there are some; when there are none, flush and wait.
    fn events(&mut self, deadline: Option<Instant>) -> End {
        let mut probe = Probe::new(self.is_passive);
        loop {
            if self.requests.end() {
                return End::Signal;
            }
            if self.requests.counts() {
                report("captured", self.pipeline.counts(), self.loss(), None);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return End::Duration;
            }
            if self.requests.flush()
                && let ControlFlow::Break(stop) = self.pipeline.flush()
            {
                return End::Stop(stop);
            }
            match self.take() {
                Ok(Taken::Some) => continue,
                Ok(Taken::Nothing) => {}
                Ok(Taken::Break(stop)) => return End::Stop(stop),
                Err(failure) => return End::Failed(failure),
            }
            if let ControlFlow::Break(stop) = self.pipeline.flush() {
                return End::Stop(stop);
            }
            match self.wait(deadline, probe.timeout()) {
                Ok(Woken::ReaderGone) => return End::Stop(Stop::Closed),
                Ok(Woken::Idle) => {
                    if probe.is_due()
                        && self.monitoring.with(|monitoring| probe.ask(monitoring)) == Some(true)
                    {
                        return End::StoppedByOther;
                    }
                }
                Ok(Woken::Event) => probe.postpone(),
                Err(failure) => return End::Failed(failure),
            }
        }
    }

    fn take(&mut self) -> Result<Taken<Stop>, Failure> {
        let pipeline = &mut self.pipeline;
        let taken = self.kernel.take(|record| pipeline.take(record));
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

    fn wait(&self, deadline: Option<Instant>, timeout: Option<Duration>) -> Result<Woken, Failure> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = match (left, timeout) {
            (Some(left), Some(timeout)) => Some(left.min(timeout)),
            (left, timeout) => left.or(timeout),
        };
        // Rounded up, lest the last millisecond be spent in a busy loop.
        let timeout = timeout.map(|timeout| timeout + Duration::from_millis(1));
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)
        });
        let mut watched = vec![
            PollFd::new(self.kernel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.requests.as_fd(), PollFlags::POLLIN),
        ];
        // A pipe's end whose reader is gone reports POLLERR, asked for or not.
        watched.extend(
            self.pipe
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::empty())),
        );
        match nix::poll::poll(&mut watched, timeout) {
            Ok(0) => return Ok(Woken::Idle),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => {
                let error = anyhow::Error::new(error).context("cannot wait for alerts");
                return Err(error.into());
            }
        }
        let is_gone = watched.get(2).and_then(PollFd::any).unwrap_or(false);
        self.requests.clear();
        Ok(if is_gone {
            Woken::ReaderGone
        } else {
            Woken::Event
        })
    }

    fn loss(&self) -> Option<Loss> {
        let queue = self.monitoring.with(Monitoring::lost)?;
        let socket = self.kernel.lost();
        if let Err(error) = &queue {
            say(error);
        }
        Some(Loss {
            queue: queue.ok()?,
            socket: socket.ok()?,
        })
    }

    /// STOP, drain, restore, finish the file, report.
    fn finish(mut self, end: End, started: Timestamp, plan: &Plan) -> Result<Exit, Failure> {
        let ended = self
            .monitoring
            .with(|monitoring| monitoring.end().clone())
            .unwrap_or_default();
        let mut exit = Exit::Success;
        let mut failure = None;
        let is_open = match end {
            End::Signal | End::Duration => true,
            End::StoppedByOther => {
                say("monitoring was stopped by another process");
                exit = Exit::Failure;
                true
            }
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
            failure = failure.or_else(|| self.drain());
        }
        let loss = self.loss();
        let ending = Ending {
            loss,
            rejected: self.pipeline.counts().rejected,
            period: Some((started, Timestamp::now())),
        };
        if let ControlFlow::Break(Stop::Failed(error)) = self.pipeline.finish(&ending) {
            // The first error is the cause of the others.
            failure.get_or_insert(error);
        }
        self.report(loss, plan);
        for error in [&ended.stop, &ended.restore].into_iter().flatten() {
            say(error);
            if let Some(line) = hint_of(error) {
                hint(line);
            }
        }
        if ended.stop.is_some() {
            exit = Exit::Failure;
        } else if self.took_over {
            say("monitoring is off now: whoever was monitoring before has to start it again");
        }
        failure.map_or(Ok(exit), Err)
    }

    /// What was sent before STOP was acknowledged waits in the socket.
    fn drain(&mut self) -> Option<Failure> {
        loop {
            match self.take() {
                Ok(Taken::Some) => {}
                Ok(
                    Taken::Nothing | Taken::Break(Stop::Count | Stop::Closed | Stop::TextClosed),
                ) => return None,
                Ok(Taken::Break(Stop::Failed(failure))) | Err(failure) => return Some(failure),
            }
        }
    }

    fn report(&self, loss: Option<Loss>, plan: &Plan) {
        report("captured", self.pipeline.counts(), loss, plan.link_type());
        report_tally(self.pipeline.tally());
        let counts = self.pipeline.counts();
        let nothing_came = counts.captured == 0 && counts.rejected == Rejected::Counted(0);
        if nothing_came && loss.is_none_or(|loss| loss == Loss::default()) {
            say("nothing was dropped that the kernel reports packet by packet");
            hint(
                "not reported: drops by the OUTPUT and POSTROUTING hooks (`nft list ruleset`), neighbours \
                 that do not answer (`ip neigh`), no route (the sender gets an error), \
                 and a NIC's own (`ip -s link`, `ethtool -S`)",
            );
        }
        let remarks = self.kernel.remarks();
        if remarks.summaries > 0 {
            say(format_args!(
                "{} without packets arrived: the kernel was in summary mode",
                super::Plural(remarks.summaries, "summary alert")
            ));
        }
        if remarks.skipped_attributes > 0 {
            say(format_args!(
                "{} skipped: unknown to this version",
                super::Plural(remarks.skipped_attributes, "attribute")
            ));
        }
        if remarks.damaged_messages > 0 {
            say(format_args!(
                "{} could not be read",
                super::Plural(remarks.damaged_messages, "damaged message")
            ));
        }
    }
}

/// What ended a wait.
enum Woken {
    /// An alert or a signal.
    Event,
    /// The time.
    Idle,
    /// Nobody reads the pipe any more.
    ReaderGone,
}
