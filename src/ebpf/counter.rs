//! Counts drops in the kernel, and reads the counts.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use foldhash::fast::RandomState;

use super::VMLINUX;
use super::assembler::Map;
use super::btf::Btf;
use super::layout::KernelLayout;
use super::pair::{ProgramPair, possible_cpus};
use super::program::{AsideCount, COUNT_KEY_LEN, CountKey, counting_program};
use super::reasons::Reasons;
use super::tracer::TracerError;
use crate::sys::bpf::CountMap;

/// The most combinations of place, reason and interfaces that are counted one by one. The kernel takes the
/// memory at the start: for each some 120 bytes, and 8 bytes of every CPU.
pub const MAX_KEYS: u32 = 10_240;

/// The counting programs, attached.
pub struct DropCounter {
    programs: ProgramPair,
    map: CountMap,
    last: LastCounts,
}

/// Numbers that the programs keep beside the counts, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Data that never was a packet.
    pub not_packets: u64,
    /// Drops that found no room in the map.
    pub unnamed: u64,
}

/// The counts up to the last reading.
#[derive(Default)]
struct LastCounts {
    last: HashMap<CountKey, u64, RandomState>,
}

impl LastCounts {
    /// Returns by how much a count has grown since it was read last.
    fn advance(&mut self, key: CountKey, total: u64) -> u64 {
        let last = self.last.insert(key, total).unwrap_or(0);
        total.saturating_sub(last)
    }
}

impl DropCounter {
    /// Loads and attaches the programs. Drops are counted from here on.
    pub fn new() -> Result<(Self, Reasons), TracerError> {
        let bytes = fs::read(VMLINUX).map_err(TracerError::NoBtf)?;
        let btf = Btf::parse(&bytes)?;
        let layout = KernelLayout::find(&btf)?;
        let map = CountMap::new(COUNT_KEY_LEN, MAX_KEYS).map_err(TracerError::Map)?;
        let write = |role| counting_program(&layout, role);
        let counts = map.as_fd().as_raw_fd();
        let fd = |map| (map == Map::Counts).then_some(counts);
        let mut programs = ProgramPair::load(&layout, possible_cpus(), write, fd)?;
        programs.attach()?;
        let reasons = Reasons::new(&btf);
        let counter = Self {
            programs,
            map,
            last: LastCounts::default(),
        };
        Ok((counter, reasons))
    }

    /// Calls `take` with every key of which drops were counted since the last call, and their number.
    pub fn read(&mut self, mut take: impl FnMut(&CountKey, u64)) -> io::Result<()> {
        let progress = &mut self.last;
        self.map.each(|key, total| {
            let Some(key) = CountKey::decode(key) else {
                return;
            };
            let more = progress.advance(key, total);
            if more > 0 {
                take(&key, more);
            }
        })
    }

    /// Detaches the programs. Some may still run.
    pub fn unlink(&mut self) {
        self.programs.unlink();
    }

    /// Detaches the programs, and returns when none runs any more: what they counted can still be read.
    pub fn detach(&mut self) {
        self.programs.detach();
    }

    /// Returns how many drops were lost so far: those in an interrupt at which neither program could be
    /// started.
    pub fn lost(&self) -> io::Result<u64> {
        self.programs.missed()
    }

    /// Returns what was not counted by key.
    pub fn aside(&self) -> io::Result<Aside> {
        let [not_packets, unnamed] = [AsideCount::NotPackets, AsideCount::Unnamed];
        Ok(Aside {
            not_packets: self.programs.sum(not_packets.offsets())?,
            unnamed: self.programs.sum(unnamed.offsets())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pc: u64) -> CountKey {
        CountKey {
            pc,
            reason: 2,
            input: 3,
            device: 4,
            namespace: 5,
            name: *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0",
            socket: 6,
        }
    }

    #[test]
    fn only_what_is_new_is_counted() {
        let mut progress = LastCounts::default();
        assert_eq!(progress.advance(key(1), 5), 5);
        assert_eq!(progress.advance(key(2), 7), 7);
        assert_eq!(progress.advance(key(1), 5), 0);
        assert_eq!(progress.advance(key(1), 12), 7);
        // A key that a reading left out, or brought twice.
        assert_eq!(progress.advance(key(2), 8), 1);
        assert_eq!(progress.advance(key(2), 8), 0);
    }

    #[test]
    fn a_key_is_read_as_the_program_wrote_it() {
        let mut bytes = Vec::new();
        bytes.extend(1_u64.to_ne_bytes());
        for number in 2..6_u32 {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(b"eth0\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend(6_u64.to_ne_bytes());
        assert_eq!(CountKey::decode(&bytes), Some(key(1)));
        assert_eq!(CountKey::decode(&bytes[..47]), None);
    }
}
