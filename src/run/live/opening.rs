//! Begins a session: opens the sources that `choice` chooses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::begin::{Begun, Joined, MonitoredPart, Purpose, begin};
use super::super::beginning::Beginning;
use super::super::capacity;
use super::super::confinement::Confiner;
use super::super::diagnostics::{hint, note, say};
use super::super::failure::{Failure, chain};
use super::super::kernel_filter::Attached;
use super::super::signals::Requests;
use super::choice::{self, Chosen, Needs, Openers};
use super::{EndOnDrop, Opening, Session, SharedMonitoring, Traced};
use crate::cli::{Live, SourceChoice};
use crate::ebpf::program::{DropSelection, ProgramSettings};
use crate::ebpf::tracer::{TracerError, TracerSettings};
use crate::filter::Filter;
use crate::net_dm::control::{ControlError, Operation, Refusal};
use crate::net_dm::monitoring::BeginError;
use crate::net_dm::socket::{KernelConversation, Loading};
use crate::record::Timestamp;
use crate::sink::Detail;
use crate::source::ebpf::{Ebpf, EbpfCounts};
use crate::source::net_dm::NetDm;
use crate::source::sources::Sources;
use crate::source::surroundings::look_apart;
use crate::source::{NotPackets, Source};

impl Opening {
    /// Has a process of its own look at namespaces for a run that will be confined, handles signals from now on, and
    /// looks for NET_DM, without which some runs are impossible.
    pub fn new(live: &Live, confiner: Option<&Confiner>) -> Result<Self, Failure> {
        if let Some(confiner) = confiner.filter(|_| live.source != SourceChoice::NetDm)
            && let Err(error) = look_apart(confiner.has_sandbox())
        {
            say(format_args!(
                "other network namespaces and cgroups are not looked at: {error}"
            ));
        }
        let monitoring = SharedMonitoring(Arc::default());
        let shared = monitoring.clone();
        let at_end = move || {
            shared.with(|monitoring| monitoring.end().clone());
        };
        let requests = Requests::listen(at_end)?;
        let loading = match live.source {
            SourceChoice::Auto | SourceChoice::NetDm => Loading::Allowed,
            SourceChoice::Ebpf => Loading::Never,
        };
        let mut conversation = KernelConversation::open(loading);
        if choice::requires_net_dm(live) {
            conversation = Ok(conversation?);
        }
        let last = EndOnDrop(monitoring.clone());
        Ok(Self {
            monitoring,
            requests,
            conversation,
            last,
        })
    }

    /// Returns the requests that came with signals.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Opens the sources, and calls `announce` before the first drop is taken. With NET_DM, the kernel
    /// runs as much as it can of the filter `in_kernel`.
    pub fn begin(
        self,
        live: &Live,
        needs: Needs,
        in_kernel: Option<&Filter>,
        announce: impl FnOnce(&Beginning),
    ) -> Result<Session, Failure> {
        let Self {
            monitoring,
            requests,
            conversation,
            last,
        } = self;
        let live = &Live {
            stack: needs.stack_frames(live),
            ..*live
        };
        let family = conversation.as_ref().ok().map(KernelConversation::family);
        let mut openers = KernelOpeners {
            live,
            purpose: needs.purpose,
            in_kernel,
            family,
            conversation: Some(conversation),
            monitoring: &monitoring,
            in_program: Attached::Unwanted,
        };
        let chosen = choice::open(live, needs, &mut openers)?;
        // Whoever reads the announcement may rely on it.
        let started = Timestamp::now();
        announce(&chosen.beginning);
        tell(live, &chosen, &openers.in_program);
        let ebpf_for_packets = choice::may_add_ebpf(live, needs, &chosen)
            .then(|| openers.ebpf_settings(DropSelection::WithoutMacHeader));
        let mut session = Session {
            sources: Sources::default(),
            monitoring,
            traced: match chosen.ebpf {
                None => Traced::Nothing,
                Some(_) if chosen.beginning.is_by_ebpf() => Traced::Everything,
                Some(_) => Traced::Skipped,
            },
            ebpf_for_packets,
            is_counted_by_ebpf: chosen.beginning.is_by_ebpf()
                && needs.purpose.is_counted_by_ebpf(live),
            requests,
            live: *live,
            took_over: false,
            was_on: true,
            attached: None,
            rest: Duration::ZERO,
            deadline: live.duration.map(|duration| Instant::now() + duration),
            started,
            family,
            _last: last,
        };
        // The drop monitor waits for nothing in vain where the programs' reports have been taken before.
        let longest_rest = chosen.ebpf.as_ref().and_then(|ebpf| ebpf.longest_rest);
        if let Some(ebpf) = chosen.ebpf {
            session.sources.add(ebpf.source);
        }
        if let Some(begun) = chosen.net_dm {
            session.add_net_dm(begun, live);
        }
        session.rest = longest_rest.map_or(session.rest, |longest| session.rest.min(longest));
        Ok(session)
    }
}

impl Session {
    /// Attaches eBPF programs beside the drop monitor, once, for what that skips when it sends packets.
    pub(super) fn add_ebpf(&mut self) {
        let attach = |settings: EbpfSettings| settings.attach(None);
        match self.ebpf_for_packets.take().map(attach) {
            Some(Ok((ebpf, _))) => {
                let longest_rest = ebpf.longest_rest.unwrap_or(self.rest);
                self.rest = self.rest.min(longest_rest);
                self.sources.add(ebpf.source);
                self.traced = Traced::Skipped;
            }
            Some(Err(error)) => say(format_args!(
                "drops without a link-layer header are not seen: {}",
                chain(&error)
            )),
            None => {}
        }
    }

    fn add_net_dm(&mut self, begun: Begun, live: &Live) {
        let source = NetDm::new(begun.joined.alerts, live.not_packets);
        self.sources.add(Box::new(match self.traced {
            Traced::Everything => source.hardware_only(),
            _ => source,
        }));
        self.took_over = begun.took_over;
        self.was_on = begun.is_on;
        self.attached = Some(begun.joined.attached);
        self.rest = begun.joined.rest;
    }
}

/// eBPF programs that were attached.
struct OpenedEbpf {
    source: Box<dyn Source>,
    /// The bytes of all buffers, where the kernel granted less than was wanted.
    small_buffers: Option<usize>,
    /// The longest time for which reports may gather: small buffers are full soon.
    longest_rest: Option<Duration>,
}

impl From<Ebpf> for OpenedEbpf {
    fn from(ebpf: Ebpf) -> Self {
        let bytes = u32::try_from(ebpf.cpu_buffer_bytes()).unwrap_or(u32::MAX);
        Self {
            small_buffers: ebpf.small_buffers(),
            longest_rest: Some(capacity::rest(bytes)),
            source: Box::new(ebpf),
        }
    }
}

impl From<EbpfCounts> for OpenedEbpf {
    fn from(counts: EbpfCounts) -> Self {
        Self {
            source: Box::new(counts),
            small_buffers: None,
            longest_rest: None,
        }
    }
}

/// Opens the sources of the running kernel.
struct KernelOpeners<'r> {
    live: &'r Live,
    purpose: Purpose,
    in_kernel: Option<&'r Filter>,
    family: Option<u16>,
    /// Taken by the first who needs it.
    conversation: Option<Result<KernelConversation, ControlError>>,
    /// Has the monitoring from its first moment on, so that whatever happens next ends it.
    monitoring: &'r SharedMonitoring,
    /// The state of the part of the filter that the eBPF programs run.
    in_program: Attached,
}

impl Openers for KernelOpeners<'_> {
    type NetDm = Begun;
    type Ebpf = OpenedEbpf;

    fn net_dm(&mut self, part: MonitoredPart) -> Result<(Begun, Beginning), BeginError> {
        let unknown = ControlError {
            operation: Operation::Resolve,
            refusal: Refusal {
                errno: libc::ENOENT,
                words: None,
            },
        };
        let conversation = self.conversation.take().unwrap_or(Err(unknown))?;
        let family = conversation.family();
        // The eBPF programs have the filter, and count what they reject; hardware drops are few.
        let in_kernel = self.in_kernel.filter(|_| part == MonitoredPart::AsAsked);
        let live = self.live;
        let join = || Joined::new(live, family, in_kernel);
        let (monitoring, begun, beginning) = begin(live, self.purpose, part, conversation, join)?;
        self.monitoring.set(monitoring);
        Ok((begun, beginning))
    }

    fn ebpf(&mut self, selection: DropSelection) -> Result<OpenedEbpf, TracerError> {
        // Beside the drop monitor, which sends packets, packets are captured as well.
        if selection == DropSelection::All && self.purpose.is_counted_by_ebpf(self.live) {
            return EbpfCounts::new(self.family).map(OpenedEbpf::from);
        }
        let (ebpf, attached) = self.ebpf_settings(selection).attach(self.in_kernel)?;
        self.in_program = attached;
        Ok(ebpf)
    }
}

impl KernelOpeners<'_> {
    fn ebpf_settings(&self, selection: DropSelection) -> EbpfSettings {
        EbpfSettings {
            tracer: tracer_settings(self.live, self.purpose, selection),
            family: self.family,
            not_packets: self.live.not_packets,
        }
    }
}

/// Returns the settings of eBPF programs that capture.
pub(super) fn tracer_settings(
    live: &Live,
    purpose: Purpose,
    selection: DropSelection,
) -> TracerSettings {
    TracerSettings {
        program: ProgramSettings {
            selection,
            snaplen: purpose.snaplen(live.role),
            stack_frames: live.stack,
        },
        buffer_bytes: live.buffer.map(|bytes| bytes as usize),
        memory: capacity::buffer_bytes() as usize,
    }
}

/// The settings of eBPF programs that can be attached.
#[derive(Clone, Copy)]
pub(super) struct EbpfSettings {
    tracer: TracerSettings,
    family: Option<u16>,
    not_packets: NotPackets,
}

impl EbpfSettings {
    /// Attaches the programs, with as much of the filter as they can run.
    fn attach(self, filter: Option<&Filter>) -> Result<(OpenedEbpf, Attached), TracerError> {
        let mut attached = Attached::Unwanted;
        let mut ebpf = Ebpf::new(self.tracer, self.family, self.not_packets, |reasons| {
            let (part, program) = Attached::for_ebpf(filter, reasons);
            attached = part;
            program
        })?;
        if let Some(refusal) = ebpf.filter_refusal() {
            attached = Attached::NotLoaded(refusal);
        }
        Ok((ebpf.into(), attached))
    }
}

/// Reports what is different from what was asked for.
fn tell(live: &Live, chosen: &Chosen<Begun, OpenedEbpf>, in_program: &Attached) {
    if let Some(begun) = &chosen.net_dm {
        begun.tell(live);
    }
    // Beside the drop monitor, whose part is told already, only that it is not so.
    if chosen.beginning.is_by_ebpf() || matches!(in_program, Attached::NotLoaded(_)) {
        in_program.tell();
    }
    if let (Some(cause), Detail::Full) = (&chosen.no_hardware, live.detail) {
        note(format_args!("no hardware drops: {cause}"));
    }
    let small = chosen.ebpf.as_ref().and_then(|ebpf| ebpf.small_buffers);
    if let Some(bytes) = small {
        let text = format_args!(
            "the perf buffers have {bytes} bytes in all: this user may not lock more memory"
        );
        // Beside the drop monitor, few drops need them.
        if chosen.beginning.is_by_ebpf() {
            say(text);
        } else {
            note(text);
        }
        hint("CAP_IPC_LOCK or a larger sysctl kernel.perf_event_mlock_kb allows more");
    }
}
