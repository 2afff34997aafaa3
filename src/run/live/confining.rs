//! Confines a session once its sources and outputs are open.

use rustix::thread::CapabilitySet;

use super::super::confinement::{Confiner, OF_TABLE, Remaining, RemainingFiles};
use super::super::failure::Failure;
use super::Session;
use crate::ebpf::tracer::is_paranoid;
use crate::sandbox::Work;

/// The needs of a receiver, beside those of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverNeeds {
    /// It writes to what is open, and talks to processes of its own: this work.
    OpenFiles(Vec<Work>),
    /// It is the live table, whose keys choose other reports, which may attach programs, and name files.
    Table,
}

/// The sources of a session, as far as they need rights during the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceNeeds {
    /// The drop monitor is to be stopped, and its settings restored.
    has_net_dm: bool,
    /// eBPF programs are attached.
    is_tracing: bool,
    /// A key of the table may attach others.
    may_attach: bool,
}

impl Session {
    /// Gives up all rights but those that the sources and the receiver still need.
    pub fn confine(&mut self, confiner: &Confiner, needs: ReceiverNeeds) -> Result<(), Failure> {
        let sources = SourceNeeds {
            has_net_dm: self.monitoring.with(|_| ()).is_some(),
            is_tracing: self.is_tracing(),
            may_attach: self.ebpf_for_packets.is_some() || self.is_counted_by_ebpf,
        };
        confiner.confine(&mut self.requests, &remaining(sources, needs))
    }
}

/// Returns the rights that a session needs.
///
/// Measured on Linux 6.1, 6.12 and 6.18: NET_DM's STOP and CONFIG, and the probe whether it is on, need CAP_NET_ADMIN of
/// the opener of the socket and of the thread that sends. Receiving alerts, leaving their group and asking for
/// statistics need nothing. Of eBPF, reading and setting maps, running the program that names addresses and asking for
/// its misses need nothing once the descriptors are there; creating maps, loading programs and opening perf buffers need
/// CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK for large ones and, where `perf_event_paranoid` is above 2, CAP_SYS_ADMIN.
///
/// These four stay with the live table where it begins with counts: its keys `w` and `/` need packets then, and so
/// programs that are loaded and attached at that moment. Where it has packets from the start, no key attaches anything.
fn remaining(sources: SourceNeeds, needs: ReceiverNeeds) -> Remaining {
    let mut remaining = Remaining {
        capabilities: CapabilitySet::empty(),
        work: vec![Work::Files, Work::Devices],
        files: RemainingFiles::Readable,
        child: None,
    };
    if sources.has_net_dm {
        remaining.capabilities |= CapabilitySet::NET_ADMIN;
        remaining.work.push(Work::Netlink);
    }
    let may_attach = sources.may_attach && needs == ReceiverNeeds::Table;
    if sources.is_tracing || may_attach {
        remaining.work.extend([Work::Programs, Work::Folders]);
    }
    match needs {
        ReceiverNeeds::OpenFiles(work) => remaining.work.extend(work),
        ReceiverNeeds::Table => {
            remaining.work.extend(OF_TABLE);
            remaining.files = RemainingFiles::Named;
        }
    }
    if may_attach {
        remaining.work.push(Work::Loading);
        remaining.capabilities |=
            CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::IPC_LOCK;
        if is_paranoid() {
            remaining.capabilities |= CapabilitySet::SYS_ADMIN;
        }
    }
    remaining
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::calls::count;

    const EBPF: SourceNeeds = SourceNeeds {
        has_net_dm: false,
        is_tracing: true,
        may_attach: false,
    };
    const NET_DM: SourceNeeds = SourceNeeds {
        has_net_dm: true,
        is_tracing: false,
        may_attach: false,
    };
    const BOTH: SourceNeeds = SourceNeeds {
        is_tracing: true,
        ..NET_DM
    };

    #[test]
    fn no_capture_has_more_system_calls_than_were_measured() {
        let text = || ReceiverNeeds::OpenFiles(Vec::new());
        let file = || ReceiverNeeds::OpenFiles(vec![Work::Writing]);
        let ring = [Work::Writing, Work::Receiving, Work::Syncing, Work::Waiting];
        for (sources, needs, most) in [
            (EBPF, text(), 42),
            (NET_DM, text(), 41),
            (BOTH, text(), 46),
            (EBPF, file(), 43),
            (NET_DM, file(), 42),
            (BOTH, file(), 47),
            (EBPF, ReceiverNeeds::OpenFiles(ring.to_vec()), 46),
            (NET_DM, ReceiverNeeds::Table, 47),
            (EBPF, ReceiverNeeds::Table, 48),
        ] {
            let calls = count(&remaining(sources, needs.clone()).work);
            assert!(calls <= most, "{calls}: {sources:?}, {needs:?}");
        }
    }

    #[test]
    fn only_a_table_that_may_attach_programs_keeps_the_rights_for_that() {
        let counting = SourceNeeds {
            may_attach: true,
            ..NET_DM
        };
        let kept = |sources, needs| remaining(sources, needs).capabilities;
        let net_admin = CapabilitySet::NET_ADMIN;
        assert_eq!(kept(EBPF, ReceiverNeeds::Table), CapabilitySet::empty());
        assert_eq!(kept(NET_DM, ReceiverNeeds::Table), net_admin);
        let lines = ReceiverNeeds::OpenFiles(Vec::new());
        assert_eq!(kept(counting, lines), net_admin);
        let programs = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::IPC_LOCK;
        let more = kept(counting, ReceiverNeeds::Table) - CapabilitySet::SYS_ADMIN;
        assert_eq!(more, programs | net_admin);
    }
}
