//! A hash map of the kernel that holds a number of each CPU for each key.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{BpfArguments, MAP_LOOKUP_ELEM, address, bpf, create_map, number, pair};

/// A command and types of maps (linux/bpf.h).
const MAP_LOOKUP_BATCH: libc::c_long = 24;
const MAP_TYPE_PERCPU_HASH: u32 = 5;
const MAP_TYPE_PERCPU_ARRAY: u32 = 6;
/// The most CPUs that a kernel can be built for, on any architecture (`CONFIG_NR_CPUS`).
const MAX_CPUS: usize = 8192;
/// Keys that one call reads; far more than one slot of a hash map ever holds.
const BATCH: u32 = 1024;

/// A hash map of counts. A program adds to the number of its own CPU.
pub struct CountMap {
    fd: OwnedFd,
    key_len: usize,
    cpus: usize,
    /// The place for one call's answer: keys, and for each the number of every CPU.
    keys: Vec<u8>,
    numbers: Vec<u64>,
}

impl CountMap {
    /// Makes a map with room for so many keys of `key_len` bytes.
    pub fn new(key_len: usize, entries: u32) -> io::Result<Self> {
        let cpus = cpus_of_a_map()?;
        let len = u32::try_from(key_len).map_err(io::Error::other)?;
        Ok(Self {
            fd: create_map(MAP_TYPE_PERCPU_HASH, len, 8, entries)?,
            key_len,
            cpus,
            keys: vec![0; BATCH as usize * key_len],
            numbers: vec![0; BATCH as usize * cpus],
        })
    }

    /// Calls `take` with each key and the sum of its numbers. A key that is added at the same time may be
    /// left out.
    pub fn each(&mut self, mut take: impl FnMut(&[u8], u64)) -> io::Result<()> {
        let mut place: Option<u32> = None;
        loop {
            let mut next = 0_u32;
            let mut attributes = BpfArguments::default();
            attributes[0] = place.as_ref().map_or(0, address);
            attributes[1] = (&raw mut next).expose_provenance() as u64;
            attributes[2] = self.keys.as_mut_ptr().expose_provenance() as u64;
            attributes[3] = self.numbers.as_mut_ptr().expose_provenance() as u64;
            attributes[4] = pair(BATCH, number(self.fd.as_fd()));
            // SAFETY: the kernel reads the 4 bytes of `place`, unless it is null, and writes the 4 of `next`;
            // it writes at most `BATCH` keys of `key_len` bytes, and as many values, each of which has 8
            // bytes for each of the `cpus` that it counted itself: the lengths of `keys` and `numbers`.
            let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) };
            let is_end = match result {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) => return Err(error),
            };
            let [a, b, c, d, ..] = attributes[4].to_ne_bytes();
            let count = u32::from_ne_bytes([a, b, c, d]) as usize;
            let keys = self.keys.chunks_exact(self.key_len);
            let sums = self.numbers.chunks_exact(self.cpus);
            let sums =
                sums.map(|numbers| numbers.iter().fold(0, |sum: u64, n| sum.wrapping_add(*n)));
            for (key, sum) in keys.zip(sums).take(count) {
                take(key, sum);
            }
            if is_end {
                return Ok(());
            }
            place = Some(next);
        }
    }
}

impl AsFd for CountMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the number of CPUs for which a value of the kernel's per-CPU maps has a number. The kernel says
/// it nowhere but in files, and the safety of reading must not depend on those.
fn cpus_of_a_map() -> io::Result<usize> {
    let map = create_map(MAP_TYPE_PERCPU_ARRAY, 4, 8, 1)?;
    let mut numbers = vec![u64::MAX; MAX_CPUS];
    let index = 0_u32;
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(number(map.as_fd()), 0);
    attributes[1] = address(&index);
    attributes[2] = numbers.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel reads the 4 bytes of `index` and writes 8 bytes for each CPU, of which it has no more
    // than `numbers` has room for.
    unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }?;
    // It wrote zeros over the others.
    let written = numbers.iter().take_while(|&&number| number == 0).count();
    Ok(written.max(1))
}
