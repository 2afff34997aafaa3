//! Loads and attaches the programs, has their waiting reports, and counts the lost drops.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::unistd::{SysconfVar, sysconf};
use rustix::thread::CapabilitySet;

use super::VMLINUX;
use super::assembler::Map;
use super::batch::{Batch, TakenBytes};
use super::btf::{Btf, BtfError};
use super::layout::{KernelLayout, LayoutError};
use super::pair::{PairError, ProgramPair, possible_cpus};
use super::program::{Count, ProgramSettings, program};
use super::reasons::Reasons;
use super::ring::Records;
use crate::bpf::BpfProgram;
use crate::sys::bpf::PerfEventArray;
use crate::sys::perf::{PerfBuffer, page_size};

/// The minimum size of a CPU's buffer, in bytes: a power of two with room for two of the largest records.
const MIN_BUFFER_BYTES: usize = 256 * 1024;
/// The default maximum of a CPU's buffer, in bytes.
const MAX_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// The default maximum of all buffers together, in bytes, unless their minimum is more.
const MAX_ALL_BYTES: usize = 64 * 1024 * 1024;
/// The number of records that wake this process: a wake-up costs as much as a dozen records.
const WAKEUP: u32 = 1000;
/// The most reports that are passed on before the kernel gets their space back.
pub const BATCH: usize = 1024;
/// The age from which on all reports have been written, on every CPU: a program ends within microseconds.
pub const SETTLED_NANOS: u64 = 1_000_000;

/// The reason for which the programs cannot work.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// The kernel's BTF cannot be read.
    #[error("cannot read {VMLINUX}")]
    NoBtf(#[source] io::Error),
    /// The kernel's BTF cannot be parsed.
    #[error("cannot parse {VMLINUX}")]
    Btf(#[from] BtfError),
    /// The kernel's structures lack something that the program reads.
    #[error("cannot write an eBPF program for this kernel")]
    Layout(#[from] LayoutError),
    /// The kernel refuses a map.
    #[error("cannot create an eBPF map")]
    Map(#[source] io::Error),
    /// The kernel refuses the program.
    #[error("cannot load the eBPF program{}", behind_colon(.log))]
    Load {
        /// The kernel's error.
        #[source]
        error: io::Error,
        /// The last line of the verifier's log; empty if there is none.
        log: String,
    },
    /// The kernel gives no program its memory to read (kernel_lockdown(7)).
    #[error(
        "the kernel is locked down (mode `confidentiality`), so no eBPF program may read its memory"
    )]
    LockedDown,
    /// The kernel refuses a buffer.
    #[error("cannot create a perf buffer")]
    Buffer(#[source] io::Error),
    /// The user may not lock even the least buffers in memory.
    #[error("cannot create a perf buffer: this user may not lock as much memory")]
    Locked,
    /// The kernel refuses to start the program.
    #[error("cannot attach the eBPF program to skb:kfree_skb")]
    Attach(#[source] io::Error),
}

impl From<PairError> for TracerError {
    fn from(error: PairError) -> Self {
        match error {
            PairError::Map(error) => Self::Map(error),
            // What the kernel says of it names one of its functions alone.
            PairError::Load { .. } if is_confidential() => Self::LockedDown,
            PairError::Load { error, log } => Self::Load { error, log },
            PairError::Attach(error) => Self::Attach(error),
        }
    }
}

fn behind_colon(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!(": {log}")
    }
}

impl TracerError {
    /// Returns the kernel's refusal.
    fn refusal(&self) -> Option<&io::Error> {
        match self {
            Self::Map(error)
            | Self::Load { error, .. }
            | Self::Buffer(error)
            | Self::Attach(error)
            | Self::NoBtf(error) => Some(error),
            Self::Btf(_) | Self::Layout(_) | Self::LockedDown | Self::Locked => None,
        }
    }

    /// Returns whether the kernel refused because of what this process may not do.
    pub fn lacks_privileges(&self) -> bool {
        let errno = self.refusal().and_then(io::Error::raw_os_error);
        matches!(self, Self::Locked) || matches!(errno, Some(libc::EPERM | libc::EACCES))
    }

    /// Returns advice for the user, where there is some.
    pub fn hint(&self) -> Option<&'static str> {
        if matches!(self, Self::Locked) {
            return Some("CAP_IPC_LOCK or the sysctl kernel.perf_event_mlock_kb allow more");
        }
        if matches!(self, Self::LockedDown) {
            return Some("--source netdm still works");
        }
        let refusal = self.refusal()?;
        if matches!(self, Self::NoBtf(_)) && refusal.kind() == io::ErrorKind::NotFound {
            return Some("eBPF needs a kernel with BTF: CONFIG_DEBUG_INFO_BTF=y");
        }
        let is_denied = refusal.raw_os_error() == Some(libc::EACCES);
        if is_denied && matches!(self, Self::Buffer(_)) && is_paranoid() {
            return Some(
                "this kernel's sysctl kernel.perf_event_paranoid is 3 or more, so perf buffers need \
                 CAP_SYS_ADMIN: 2 is enough",
            );
        }
        self.lacks_privileges().then(|| {
            let sets = rustix::thread::capabilities(None);
            hint_for(sets.map_or(CapabilitySet::empty(), |sets| sets.effective))
        })
    }
}

/// Returns the hint that names the missing ones of the capabilities that eBPF needs.
fn hint_for(effective: CapabilitySet) -> &'static str {
    let has = |capability| effective.intersects(capability | CapabilitySet::SYS_ADMIN);
    match (has(CapabilitySet::BPF), has(CapabilitySet::PERFMON)) {
        (false, false) => "eBPF needs CAP_BPF and CAP_PERFMON: run as root",
        (false, true) => "eBPF also needs CAP_BPF, which this process lacks",
        (true, false) => "eBPF also needs CAP_PERFMON, which this process lacks",
        (true, true) => {
            "eBPF needs CAP_BPF and CAP_PERFMON in the initial user namespace: a container's own do not count"
        }
    }
}

/// Returns whether perf buffers are for CAP_SYS_ADMIN alone: the default of Debian's kernels, and of their
/// descendants'.
pub fn is_paranoid() -> bool {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    level.trim().parse().is_ok_and(|level: i32| level > 2)
}

/// Returns whether the kernel is locked down against reading its memory (kernel_lockdown(7)).
fn is_confidential() -> bool {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown");
    lockdown.is_ok_and(|modes| modes.contains("[confidentiality]"))
}

/// The settings of the programs and their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracerSettings {
    /// The settings of the programs themselves.
    pub program: ProgramSettings,
    /// The size of all buffers together, in bytes; `None` chooses one that is enough for most floods.
    pub buffer_bytes: Option<usize>,
    /// The memory that a chosen size may take, in bytes.
    pub memory: usize,
}

/// The reports to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Those that are certainly complete at this time of the monotonic clock.
    Time(u64),
    /// All, because no program runs any more.
    End,
}

/// The attached programs, and the buffers that they write to.
pub struct Tracer {
    programs: ProgramPair,
    /// Kept open, because the kernel removes the buffers from it when it is closed.
    _map: PerfEventArray,
    buffers: Vec<PerfBuffer>,
    ready: Epoll,
    /// For each buffer, room for a record that continues at its beginning.
    joined: Vec<Vec<u8>>,
    /// Bytes of all buffers together.
    pub buffer_bytes: usize,
    /// The kernel allowed smaller buffers than were asked for.
    pub is_small: bool,
    /// The programs reject what a filter rejects.
    pub filters: bool,
    /// The kernel refused the programs with their filter, and took them without.
    pub filter_refused: Option<TracerError>,
}

impl Tracer {
    /// Loads and attaches the programs. Drops are captured from here on.
    /// The programs reject what the filter rejects, which is made for the running kernel's reasons.
    pub fn new(
        wanted: TracerSettings,
        filter: impl FnOnce(&Reasons) -> Option<BpfProgram>,
    ) -> Result<(Self, Reasons), TracerError> {
        let bytes = fs::read(VMLINUX).map_err(TracerError::NoBtf)?;
        let btf = Btf::parse(&bytes)?;
        let layout = KernelLayout::find(&btf)?;
        let cpus = possible_cpus();
        let map = PerfEventArray::new(cpus).map_err(TracerError::Map)?;
        let of_buffers = map.as_fd().as_raw_fd();
        let load = |filter: Option<&BpfProgram>| {
            let write = |role| program(&layout, role, wanted.program, filter);
            let fd = |map| (map == Map::Buffers).then_some(of_buffers);
            ProgramPair::load(&layout, cpus, write, fd).map_err(TracerError::from)
        };
        let reasons = Reasons::new(&btf);
        let filter = filter(&reasons);
        let (mut programs, filter_refused) = match load(filter.as_ref()) {
            // Whatever is wrong without the filter, too, is the error that counts.
            Err(error) if filter.is_some() => (load(None)?, Some(error)),
            loaded => (loaded?, None),
        };

        let page = page_size().map_err(TracerError::Buffer)?;
        let wanted_bytes = buffer_bytes(wanted, online_cpus());
        let mut bytes = wanted_bytes;
        let buffers = loop {
            match buffers(cpus, bytes / page, &map) {
                // More than the user may lock in memory (CAP_IPC_LOCK, perf_event_mlock_kb).
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                    if bytes == MIN_BUFFER_BYTES {
                        return Err(TracerError::Locked);
                    }
                    bytes /= 2;
                }
                result => break result.map_err(TracerError::Buffer)?,
            }
        };
        let ready = wait_for(&buffers).map_err(TracerError::Buffer)?;
        programs.attach()?;
        let tracer = Self {
            programs,
            _map: map,
            buffer_bytes: buffers.len() * bytes,
            is_small: bytes < wanted_bytes,
            filters: filter.is_some() && filter_refused.is_none(),
            filter_refused,
            joined: vec![Vec::new(); buffers.len()],
            buffers,
            ready,
        };
        Ok((tracer, reasons))
    }

    /// Returns whether no report is waiting.
    pub fn is_empty(&mut self) -> bool {
        let mut buffers = self.buffers.iter_mut();
        buffers.all(|buffer| buffer.waiting().iter().all(|piece| piece.is_empty()))
    }

    /// Returns the waiting reports. They keep their space until [`release`](Self::release) gets what [`Batch::taken`]
    /// returns.
    pub fn waiting(&mut self, until: Until) -> Batch<'_> {
        let limit = match until {
            Until::Time(now) => now.saturating_sub(SETTLED_NANOS),
            Until::End => u64::MAX,
        };
        let buffers = self.buffers.iter_mut().zip(&mut self.joined);
        let waiting = buffers.map(|(buffer, joined)| Records::new(buffer.waiting(), joined));
        Batch::new(waiting, limit)
    }

    /// Gives the kernel the space of reports that were taken, and returns the number of records in it that cannot be
    /// reports.
    pub fn release(&mut self, taken: Vec<TakenBytes>) -> u64 {
        let mut damaged = 0;
        for (buffer, taken) in self.buffers.iter_mut().zip(taken) {
            buffer.release(taken.len);
            damaged += taken.damaged;
        }
        damaged
    }

    /// Detaches the programs. Some may still run.
    pub fn unlink(&mut self) {
        self.programs.unlink();
    }

    /// Detaches the programs, and waits until none is running. Their reports can still be taken.
    pub fn detach(&mut self) {
        self.programs.detach();
    }

    /// Returns the number of drops that were lost so far: those whose records did not fit into a buffer, and
    /// those in an interrupt for which neither program could be started.
    pub fn lost(&self) -> io::Result<u64> {
        let lost = [Count::FirstLost, Count::SecondLost].map(|count| count.offset().into());
        Ok(self.programs.sum(lost)? + self.programs.missed()?)
    }

    /// Returns the number of drops that the filter in the programs has rejected so far.
    pub fn rejected(&self) -> io::Result<u64> {
        let counts = [Count::FirstRejected, Count::SecondRejected];
        self.programs.sum(counts.map(|count| count.offset().into()))
    }

    /// Returns the bytes of one CPU's buffer.
    pub fn cpu_buffer_bytes(&self) -> usize {
        self.buffer_bytes / self.buffers.len().max(1)
    }
}

/// A descriptor that is readable when about a thousand records wait in a buffer.
impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.0.as_fd()
    }
}

/// Creates a buffer for each CPU that is online. Drops on a CPU that comes online later are counted as lost.
fn buffers(cpus: u32, pages: usize, map: &PerfEventArray) -> io::Result<Vec<PerfBuffer>> {
    let mut buffers = Vec::new();
    for cpu in 0..cpus {
        match PerfBuffer::new(cpu, pages, WAKEUP) {
            Ok(buffer) => {
                map.set(cpu, &buffer)?;
                buffers.push(buffer);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffers)
}

fn wait_for(buffers: &[PerfBuffer]) -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for buffer in buffers {
        epoll.add(buffer.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    }
    Ok(epoll)
}

/// Returns the size of one CPU's buffer, in bytes: a power of two.
fn buffer_bytes(wanted: TracerSettings, cpus: usize) -> usize {
    let (all, most) = match wanted.buffer_bytes {
        Some(bytes) => (bytes, usize::MAX),
        None => (wanted.memory.min(MAX_ALL_BYTES), MAX_BUFFER_BYTES),
    };
    let part = (all / cpus.max(1)).clamp(MIN_BUFFER_BYTES, most);
    1 << part.ilog2()
}

/// Returns the number of CPUs that are online.
fn online_cpus() -> usize {
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN);
    let cpus = cpus.ok().flatten().and_then(|cpus| cpus.try_into().ok());
    cpus.unwrap_or(1)
}

/// Loads the programs with each of these filters, with call stacks and without, and forgets them.
#[cfg(test)]
pub fn load_each(filters: &[BpfProgram]) -> Vec<Result<(), TracerError>> {
    let load_all = || {
        let bytes = fs::read(VMLINUX).map_err(TracerError::NoBtf)?;
        let layout = KernelLayout::find(&Btf::parse(&bytes)?)?;
        let map = PerfEventArray::new(1).map_err(TracerError::Map)?;
        let of_buffers = map.as_fd().as_raw_fd();
        let settings_with = |stack_frames| ProgramSettings {
            selection: super::program::DropSelection::All,
            snaplen: u32::MAX,
            stack_frames,
        };
        let load = |filter| {
            [None, Some(24)].into_iter().try_for_each(|stack_frames| {
                let settings = settings_with(stack_frames);
                let write = |role| program(&layout, role, settings, Some(filter));
                let fd = |map| (map == Map::Buffers).then_some(of_buffers);
                let loaded = ProgramPair::load(&layout, 1, write, fd);
                loaded.map(drop).map_err(TracerError::from)
            })
        };
        Ok(filters.iter().map(load).collect())
    };
    load_all().unwrap_or_else(|error| vec![Err(error)])
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ebpf::program::DropSelection;

    const MB: usize = 1024 * 1024;

    #[test]
    fn buffers_take_a_bounded_part_of_the_memory() {
        fn all(memory: usize, cpus: usize, buffer_bytes: Option<usize>) -> usize {
            let wanted = TracerSettings {
                program: ProgramSettings {
                    selection: DropSelection::All,
                    snaplen: 0,
                    stack_frames: None,
                },
                buffer_bytes,
                memory,
            };
            let bytes = super::buffer_bytes(wanted, cpus);
            // The kernel takes no other number of pages; two records, whose lengths have 16 bits.
            assert!(bytes.is_power_of_two() && bytes >= 2 * (1 << 16), "{cpus}");
            bytes * cpus
        }
        let plenty = 1 << 40;
        assert_eq!(all(plenty, 1, None), 16 * MB);
        assert_eq!(all(plenty, 2, None), 32 * MB);
        for cpus in 1..=256 {
            assert!(all(plenty, cpus, None) <= 64 * MB, "{cpus}");
        }
        for cpus in [4, 8, 16, 64, 256] {
            assert_eq!(all(plenty, cpus, None), 64 * MB);
        }
        // Two of the largest records on each, and no less.
        assert_eq!(all(plenty, 1024, None), 256 * MB);
        assert_eq!(all(16 * MB, 4, None), 16 * MB);
        assert_eq!(all(MB, 16, None), 4 * MB);
        assert_eq!(all(plenty, 2, Some(128 * MB)), 128 * MB);
        assert_eq!(all(plenty, 2, Some(1)), MB / 2);
    }

    #[test]
    fn each_missing_capability_is_named() {
        #[track_caller]
        fn check(effective: CapabilitySet, named: [bool; 2]) {
            let hint = hint_for(effective);
            let found = ["CAP_BPF", "CAP_PERFMON"].map(|name| hint.contains(name));
            assert_eq!(found, named, "{hint}");
        }
        let (bpf, perfmon) = (CapabilitySet::BPF, CapabilitySet::PERFMON);
        check(CapabilitySet::NET_ADMIN, [true, true]);
        check(perfmon, [true, false]);
        check(bpf, [false, true]);
        // They are there, but the kernel asks for them in another namespace.
        check(bpf | perfmon, [true, true]);
        check(CapabilitySet::SYS_ADMIN, [true, true]);
    }
}
