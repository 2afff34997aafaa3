//! Wraps perf_event_open(2): the buffers to which programs write their records, mapped into memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::pair;

/// The offsets, in the page before the data, of the positions up to which the kernel wrote and this process read
/// (`data_head` and `data_tail` of `struct perf_event_mmap_page`, linux/perf_event.h). Positions are in bytes.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// The perf buffer of one CPU: a page of positions, then the data, which is a ring.
///
/// The kernel does not write to the bytes between the position up to which this process read (tail) and
/// the one up to which it wrote itself (head). [`waiting`](Self::waiting) lends out these bytes; only
/// [`release`](Self::release) moves the tail, and borrows the buffer exclusively.
pub struct PerfBuffer {
    fd: OwnedFd,
    base: NonNull<u8>,
    page: usize,
    data_len: usize,
}

impl PerfBuffer {
    /// Creates the buffer of a CPU, with `pages` pages of data, a power of two. Every `wakeup`th record
    /// wakes a process that polls it.
    pub fn new(cpu: u32, pages: usize, wakeup: u32) -> io::Result<Self> {
        let fd = open(cpu, wakeup)?;
        let page = page_size()?;
        let data_len = pages.checked_mul(page).ok_or(libc::EINVAL);
        let data_len = data_len.map_err(io::Error::from_raw_os_error)?;
        // SAFETY: the kernel chooses a place that is free, of one page and the data.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                page + data_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped to null"))?;
        Ok(Self {
            fd,
            base,
            page,
            data_len,
        })
    }

    /// Returns the bytes that were written and not released yet: those up to the end of the memory, and
    /// those from its beginning on.
    pub fn waiting(&mut self) -> [&[u8]; 2] {
        let tail = self.number(TAIL).load(Ordering::Relaxed);
        // After this, the records up to there are visible.
        let head = self.number(HEAD).load(Ordering::Acquire);
        let len = usize::try_from(head.wrapping_sub(tail)).unwrap_or(usize::MAX);
        let len = len.min(self.data_len);
        // The data's length is a power of two, so this holds beyond 2⁶⁴ as well.
        let start = usize::try_from(tail % self.data_len as u64).unwrap_or(0);
        let first = len.min(self.data_len - start);
        let piece = |at: usize, len: usize| {
            // SAFETY: `at + len` is at most `data_len`, all of which is mapped after the first page for as
            // long as the buffer lives. The kernel writes to none of these bytes before the tail
            // moves, which needs `&mut self`.
            unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.page + at), len) }
        };
        [piece(start, first), piece(0, len - first)]
    }

    /// Lets the kernel overwrite the first `len` of the waiting bytes.
    pub fn release(&mut self, len: usize) {
        let tail = self.number(TAIL);
        let head = self.number(HEAD).load(Ordering::Relaxed);
        let read = tail.load(Ordering::Relaxed);
        let len = (len as u64).min(head.wrapping_sub(read));
        tail.store(read.wrapping_add(len), Ordering::Release);
    }

    fn number(&self, at: usize) -> &AtomicU64 {
        // SAFETY: the first page is mapped for as long as the buffer lives; the number is aligned to 8
        // bytes; the kernel uses it as one, too.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(at).cast()) }
    }
}

impl AsFd for PerfBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for PerfBuffer {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.page + self.data_len) };
    }
}

// SAFETY: the mapping belongs to the buffer alone and to no thread.
unsafe impl Send for PerfBuffer {}

/// Opens the event to which programs write their records (`PERF_COUNT_SW_BPF_OUTPUT`).
fn open(cpu: u32, wakeup: u32) -> io::Result<OwnedFd> {
    /// `PERF_TYPE_SOFTWARE` and the length of `struct perf_event_attr`, as far as it is filled here.
    const TYPE_SOFTWARE: u32 = 1;
    const LEN: u32 = 128;
    const COUNT_SW_BPF_OUTPUT: u64 = 10;
    const SAMPLE_RAW: u64 = 1 << 10;
    const FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    let mut attributes = [0_u64; LEN as usize / 8];
    attributes[0] = pair(TYPE_SOFTWARE, LEN);
    attributes[1] = COUNT_SW_BPF_OUTPUT;
    attributes[2] = 1; // sample_period
    attributes[3] = SAMPLE_RAW;
    attributes[6] = pair(wakeup, 0); // wakeup_events
    let cpu = i32::try_from(cpu).map_err(io::Error::other)?;
    // SAFETY: the kernel reads as many bytes as the attributes say that they have.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            -1, // no process
            cpu,
            -1, // no group
            FLAG_FD_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: it is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: PERF_EVENT_IOC_ENABLE takes no argument.
    if unsafe { libc::ioctl(fd.as_raw_fd(), 0x2400, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// Bytes of a page.
pub fn page_size() -> io::Result<usize> {
    // SAFETY: sysconf takes a number and returns one.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).map_err(io::Error::other)
}
