//! Begins a session with NET_DM or with eBPF.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::begin::{Beginning, Joined, Purpose, begin};
use super::super::capacity;
use super::super::diagnostics::{hint, say};
use super::super::failure::Failure;
use super::super::kernel_filter::Attached;
use super::super::signals::Requests;
use super::{EndOnDrop, Opening, Session, SharedMonitoring};
use crate::cli::{Live, SourceChoice};
use crate::ebpf::program::ProgramSettings;
use crate::ebpf::tracer::{TracerError, TracerSettings};
use crate::filter::Filter;
use crate::net_dm::socket::KernelConversation;
use crate::record::Timestamp;
use crate::source::Source;
use crate::source::ebpf::Ebpf;
use crate::source::net_dm::NetDm;
use crate::source::sources::Sources;

impl Opening {
    /// Handles signals from now on, and looks for NET_DM. If it is the source, it has to exist.
    pub fn new(source: SourceChoice) -> Result<Self, Failure> {
        let monitoring = SharedMonitoring(Arc::default());
        let shared = monitoring.clone();
        let at_end = move || {
            shared.with(|monitoring| monitoring.end().clone());
        };
        let requests = Requests::listen(at_end)?;
        let conversation = match source {
            SourceChoice::NetDm => Some(KernelConversation::open()?),
            SourceChoice::Ebpf => KernelConversation::open().ok(),
        };
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

    /// Starts monitoring, listens to another process's, or attaches eBPF programs, and calls `announce`
    /// before the first drop is taken. With NET_DM, the kernel runs as much as it can of the filter
    /// `in_kernel`.
    pub fn begin(
        mut self,
        live: &Live,
        purpose: Purpose,
        in_kernel: Option<&Filter>,
        announce: impl FnOnce(Beginning),
    ) -> Result<Session, Failure> {
        let conversation = self.conversation.take();
        let family = conversation.as_ref().map(KernelConversation::family);
        let begun = match (live.source, conversation) {
            (SourceChoice::NetDm, Some(conversation)) => {
                self.monitor(live, purpose, conversation, in_kernel, announce)?
            }
            (SourceChoice::NetDm | SourceChoice::Ebpf, _) => {
                let begun = trace(live, purpose, family)?;
                announce(Beginning::Tracing);
                begun
            }
        };
        Ok(Session {
            sources: Sources::new(vec![begun.source]),
            monitoring: self.monitoring,
            requests: self.requests,
            role: live.role,
            took_over: begun.took_over,
            was_on: begun.was_on,
            attached: begun.attached,
            rest: begun.rest,
            deadline: live.duration.map(|duration| Instant::now() + duration),
            started: Timestamp::now(),
            family,
            _last: self.last,
        })
    }

    /// Starts NET_DM's monitoring, or listens to another process's.
    fn monitor(
        &self,
        live: &Live,
        purpose: Purpose,
        conversation: KernelConversation,
        in_kernel: Option<&Filter>,
        announce: impl FnOnce(Beginning),
    ) -> Result<BegunSource, Failure> {
        let family = conversation.family();
        let join = || Joined::new(live, family, in_kernel);
        let begun = begin(live, purpose, conversation, join, announce)?;
        self.monitoring.set(begun.monitoring);
        Ok(BegunSource {
            source: Box::new(NetDm::new(begun.joined.alerts, live.not_packets)),
            took_over: begun.took_over,
            was_on: begun.is_on,
            attached: Some(begun.joined.attached),
            rest: begun.joined.rest,
        })
    }
}

/// A source that has begun, with the facts for the [`Session`].
struct BegunSource {
    source: Box<dyn Source>,
    took_over: bool,
    was_on: bool,
    attached: Option<Attached>,
    rest: Duration,
}

/// Attaches eBPF programs.
fn trace(live: &Live, purpose: Purpose, family: Option<u16>) -> Result<BegunSource, TracerError> {
    let wanted = TracerSettings {
        program: ProgramSettings {
            snaplen: purpose.snaplen(live.role),
        },
        buffer_bytes: live.buffer.map(|bytes| bytes as usize),
        memory: capacity::buffer_bytes() as usize,
    };
    let source = Ebpf::new(wanted, family, live.not_packets)?;
    if let Some(bytes) = source.small_buffers() {
        say(format_args!(
            "the perf buffers have {bytes} bytes in all: this user may not lock more memory"
        ));
        hint("CAP_IPC_LOCK or a larger sysctl kernel.perf_event_mlock_kb allows more");
    }
    Ok(BegunSource {
        source: Box::new(source),
        took_over: false,
        was_on: true,
        attached: None,
        rest: Duration::ZERO,
    })
}
