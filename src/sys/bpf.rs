//! Wraps bpf(2): maps, programs and their attachment.

pub mod attached;
mod count_map;

pub use count_map::CountMap;

use std::ffi::CStr;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::pair;
use super::perf::PerfBuffer;

/// Commands (`enum bpf_cmd`, linux/bpf.h).
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const PROG_RUN: libc::c_long = 10;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const MAP_FREEZE: libc::c_long = 22;
/// Types of maps (`enum bpf_map_type`).
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_PERF_EVENT_ARRAY: u32 = 4;
/// Programs cannot write to the map (`BPF_F_RDONLY_PROG`).
const READ_ONLY: u32 = 1 << 7;
/// `BPF_PROG_TYPE_TRACING`, attached to a tracepoint by its BTF type (`BPF_TRACE_RAW_TP`).
const PROG_TYPE_TRACING: u32 = 26;
const TRACE_RAW_TP: u32 = 23;
/// `BPF_PROG_TYPE_SYSCALL`, which runs when a process asks for it and may sleep (`BPF_F_SLEEPABLE`).
const PROG_TYPE_SYSCALL: u32 = 31;
const SLEEPABLE: u32 = 1 << 4;
/// The helpers that read the kernel's memory are for programs under this licence.
const LICENSE: &CStr = c"GPL";

/// An argument of bpf(2) (`union bpf_attr`), as words of 64 bits.
type BpfArguments = [u64; 16];

/// Returns the address of a value, for the kernel.
fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>().expose_provenance() as u64
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Calls bpf(2).
///
/// # Safety
///
/// Each address in `attributes` has to point to as many bytes as the command reads or writes there.
unsafe fn bpf(command: libc::c_long, attributes: &mut BpfArguments) -> io::Result<i32> {
    let len = size_of_val(attributes);
    // SAFETY: the kernel reads and writes `len` bytes of `attributes`; the caller answers for the rest.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), len) };
    i32::try_from(result)
        .ok()
        .filter(|&result| result >= 0)
        .ok_or_else(io::Error::last_os_error)
}

/// Calls bpf(2) for a new file descriptor.
///
/// # Safety
///
/// As of [`bpf`], and the command has to return a new file descriptor.
unsafe fn open(command: libc::c_long, attributes: &mut BpfArguments) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says; what is returned is new and nobody else's.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

fn create_map(kind: u32, key_len: u32, value_len: u32, entries: u32) -> io::Result<OwnedFd> {
    create_map_with(kind, key_len, value_len, entries, 0)
}

fn create_map_with(
    kind: u32,
    key_len: u32,
    value_len: u32,
    entries: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(kind, key_len);
    attributes[1] = pair(value_len, entries);
    attributes[2] = pair(flags, 0);
    // SAFETY: there are no addresses among these arguments.
    unsafe { open(MAP_CREATE, &mut attributes) }
}

/// An array in the kernel, whose values have a fixed length.
pub struct ArrayMap {
    fd: OwnedFd,
    value_len: usize,
}

impl ArrayMap {
    /// Creates an array of zeroed values.
    pub fn new(value_len: usize, entries: u32) -> io::Result<Self> {
        let len = u32::try_from(value_len).map_err(io::Error::other)?;
        let fd = create_map(MAP_TYPE_ARRAY, 4, len, entries)?;
        Ok(Self { fd, value_len })
    }

    /// Creates an array of one value that neither programs nor processes can change.
    pub fn constant(value: &[u8]) -> io::Result<Self> {
        let len = u32::try_from(value.len()).map_err(io::Error::other)?;
        let map = Self {
            fd: create_map_with(MAP_TYPE_ARRAY, 4, len, 1, READ_ONLY)?,
            value_len: value.len(),
        };
        map.set(0, value)?;
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(number(map.fd.as_fd()), 0);
        // SAFETY: there are no addresses among these arguments.
        unsafe { bpf(MAP_FREEZE, &mut attributes) }?;
        Ok(map)
    }

    /// Sets a value, which has the length that the map was made with.
    pub fn set(&self, index: u32, value: &[u8]) -> io::Result<()> {
        if value.len() != self.value_len {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(number(self.fd.as_fd()), 0);
        attributes[1] = address(&index);
        attributes[2] = address(value);
        // SAFETY: the kernel reads the 4 bytes of `index` and `value_len` bytes, which `value` has.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }

    /// Reads a value.
    pub fn get(&self, index: u32, value: &mut Vec<u8>) -> io::Result<()> {
        value.clear();
        value.resize(self.value_len, 0);
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(number(self.fd.as_fd()), 0);
        attributes[1] = address(&index);
        attributes[2] = value.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the kernel reads the 4 bytes of `index` and writes `value_len` bytes, the length that the
        // map was made with and that `value` has.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) }.map(drop)
    }
}

impl AsFd for ArrayMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The perf buffers that a program writes to, one of each CPU.
pub struct PerfEventArray(OwnedFd);

impl PerfEventArray {
    /// Creates a map for the CPUs below `cpus`.
    pub fn new(cpus: u32) -> io::Result<Self> {
        create_map(MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, cpus).map(Self)
    }

    /// Sets the buffer of a CPU.
    pub fn set(&self, cpu: u32, buffer: &PerfBuffer) -> io::Result<()> {
        let fd = number(buffer.as_fd());
        let mut attributes = BpfArguments::default();
        attributes[0] = pair(number(self.0.as_fd()), 0);
        attributes[1] = address(&cpu);
        attributes[2] = address(&fd);
        // SAFETY: the kernel reads the 4 bytes of `cpu` and of `fd`, the lengths of this kind of map.
        unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
    }
}

impl AsFd for PerfEventArray {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Loads a program for the tracepoint of this BTF type. The verifier writes to `log` unless that is empty.
pub fn load_tracing(instructions: &[u64], tracepoint: u32, log: &mut [u8]) -> io::Result<OwnedFd> {
    let len = |len: usize| u32::try_from(len).map_err(io::Error::other);
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(PROG_TYPE_TRACING, len(instructions.len())?);
    attributes[1] = address(instructions);
    attributes[2] = address(LICENSE);
    if !log.is_empty() {
        attributes[3] = pair(1, len(log.len())?);
        attributes[4] = log.as_mut_ptr().expose_provenance() as u64;
    }
    attributes[8] = pair(0, TRACE_RAW_TP);
    attributes[13] = pair(0, tracepoint);
    // SAFETY: the kernel reads as many instructions as it is told, which are a slice, and a string that ends
    // with NUL; it writes at most `log.len()` bytes. What the program does is the kernel's to verify.
    unsafe { open(PROG_LOAD, &mut attributes) }
}

/// Loads a program that [`run`] runs.
pub fn load_syscall(instructions: &[u64]) -> io::Result<OwnedFd> {
    let len = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(PROG_TYPE_SYSCALL, len);
    attributes[1] = address(instructions);
    attributes[2] = address(LICENSE);
    attributes[5] = pair(0, SLEEPABLE);
    // SAFETY: the kernel reads as many instructions as it is told, which are a slice, and a string that ends
    // with NUL. What the program does is the kernel's to verify.
    unsafe { open(PROG_LOAD, &mut attributes) }
}

/// Runs a program once, and returns what it returns.
pub fn run(program: BorrowedFd<'_>) -> io::Result<i32> {
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(number(program), 0);
    // SAFETY: there are no addresses among these arguments: the program has no input but its maps.
    unsafe { bpf(PROG_RUN, &mut attributes) }?;
    let [.., a, b, c, d] = attributes[0].to_ne_bytes();
    Ok(i32::from_ne_bytes([a, b, c, d]))
}

/// Attaches a program to its tracepoint until the returned descriptor is closed.
pub fn attach_tracing(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes = BpfArguments::default();
    attributes[1] = pair(number(program), 0);
    // SAFETY: there are no addresses: the name is null, for the program knows its tracepoint.
    unsafe { open(RAW_TRACEPOINT_OPEN, &mut attributes) }
}

/// Returns the number of times that the kernel did not start a program because it was already running on
/// that CPU.
pub fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    /// Words of `struct bpf_prog_info`, and which of them is `recursion_misses`.
    const LEN: usize = 32;
    const RECURSION_MISSES: usize = 26;
    let mut info = [0_u64; LEN];
    let len = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let mut attributes = BpfArguments::default();
    attributes[0] = pair(number(program), len);
    attributes[1] = info.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes at most as many bytes as it is told, the length of `info`; the addresses in
    // there, to which it would write more, are null.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info[RECURSION_MISSES])
}

/// Waits until every program that was running has ended: each runs within one critical section of RCU.
pub fn wait_for_programs() {
    /// `MEMBARRIER_CMD_GLOBAL` (linux/membarrier.h): returns after a grace period.
    const GLOBAL: libc::c_int = 1;
    // SAFETY: the call has no addresses among its arguments.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    if result != 0 {
        // A kernel built without it, or with CPUs that run without ticks. A program takes microseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
