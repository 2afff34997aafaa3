//! The two programs of a run: loads, attaches and detaches them, and reads what each CPU counts for them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::assembler::{EbpfProgram, Map};
use super::layout::KernelLayout;
use super::program::{Count, ProgramRole, SCRATCH_LEN};
use crate::sys::bpf::{self, ArrayMap};

/// The reason for which the programs cannot work.
#[derive(Debug)]
pub enum PairError {
    /// The kernel refuses their map.
    Map(io::Error),
    /// The kernel refuses a program.
    Load {
        /// The kernel's error.
        error: io::Error,
        /// The verifier's last line, where it said something.
        log: String,
    },
    /// The kernel refuses to start a program.
    Attach(io::Error),
}

/// The two programs.
pub struct ProgramPair {
    /// The attachments of the programs; closing one detaches its program.
    links: Vec<OwnedFd>,
    /// No program runs any more.
    is_quiet: bool,
    first: OwnedFd,
    second: OwnedFd,
    scratch: ArrayMap,
    cpus: u32,
}

impl ProgramPair {
    /// Loads the programs that `write` writes. `fd` says the file descriptors of their maps but for that of
    /// the counts.
    pub fn load(
        layout: &KernelLayout,
        cpus: u32,
        write: impl Fn(ProgramRole) -> EbpfProgram,
        fd: impl Fn(Map) -> Option<RawFd>,
    ) -> Result<Self, PairError> {
        let scratch = ArrayMap::new(SCRATCH_LEN, cpus).map_err(PairError::Map)?;
        let own = scratch.as_fd().as_raw_fd();
        // The kernel refuses a program with a map that there is not.
        let fd = |map| match map {
            Map::Scratch => own,
            other => fd(other).unwrap_or(-1),
        };
        let load = |role| {
            let program = write(role);
            if !program.jumps_fit() {
                return Err(PairError::Load {
                    error: io::ErrorKind::ArgumentListTooLong.into(),
                    log: format!("{} instructions are too many for a jump", program.len()),
                });
            }
            load(&program.encode(fd), layout.tracepoint.0)
        };
        Ok(Self {
            links: Vec::new(),
            is_quiet: false,
            first: load(ProgramRole::First)?,
            second: load(ProgramRole::Second)?,
            scratch,
            cpus,
        })
    }

    /// Attaches the programs. The kernel runs programs in the order of their attachment. So the first one has
    /// noted a drop before the second one is started for it.
    pub fn attach(&mut self) -> Result<(), PairError> {
        for program in [&self.first, &self.second] {
            let link = bpf::attach_tracing(program.as_fd()).map_err(PairError::Attach)?;
            self.links.push(link);
        }
        Ok(())
    }

    /// Detaches the programs. Some may still run.
    pub fn unlink(&mut self) {
        // The second one first: without the first, it would take every drop for one that the first missed.
        while self.links.pop().is_some() {}
    }

    /// Detaches the programs, and returns when none runs any more.
    pub fn detach(&mut self) {
        if !self.is_quiet {
            self.unlink();
            bpf::wait_for_programs();
            self.is_quiet = true;
        }
    }

    /// Returns how many drops came in an interrupt at which neither program could be started.
    pub fn missed(&self) -> io::Result<u64> {
        let missed = bpf::recursion_misses(self.first.as_fd())?;
        // The two numbers are not read at the same moment.
        Ok(missed.saturating_sub(self.sum([Count::Taken.offset().into()])?))
    }

    /// Returns the sum of the counts at these offsets of the scratch map's value, of all CPUs.
    pub fn sum<const LEN: usize>(&self, offsets: [usize; LEN]) -> io::Result<u64> {
        let mut value = Vec::new();
        let mut sum = 0_u64;
        for cpu in 0..self.cpus {
            self.scratch.get(cpu, &mut value)?;
            for offset in offsets {
                let bytes = value.get(offset..).unwrap_or_default().first_chunk();
                sum = sum.wrapping_add(bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes)));
            }
        }
        Ok(sum)
    }
}

fn load(code: &[u64], tracepoint: u32) -> Result<OwnedFd, PairError> {
    bpf::load_tracing(code, tracepoint, &mut []).map_err(|error| {
        // A second attempt tells why: the log takes a megabyte.
        let mut log = vec![0; 1 << 20];
        let _ = bpf::load_tracing(code, tracepoint, &mut log);
        PairError::Load {
            error,
            log: last_line(&log),
        }
    })
}

/// Returns the last line of the verifier's log that is not statistics.
fn last_line(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log.split(|&byte| byte == 0).next().unwrap_or_default());
    let mut lines = text.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with("processed "));
    line.unwrap_or_default().to_owned()
}

/// Returns one more than the largest possible CPU number.
pub fn possible_cpus() -> u32 {
    // For instance `0-3`, or `0,2-3`.
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next();
    let last = last.and_then(|last| last.parse::<u32>().ok());
    last.map_or(1024, |last| last.saturating_add(1)).min(8192)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_the_last_line_of_the_verifiers_log() {
        let log = b"0: R1=ctx()\ninvalid access\nprocessed 3 insns\n\n\0\0junk";
        assert_eq!(last_line(log), "invalid access");
        assert_eq!(last_line(b"\0"), "");
    }
}
