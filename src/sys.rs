//! All unsafe code: calls of libc without a safe wrapper (socket options, receiving in batches, signal
//! dispositions, standard streams at the start, the environment, bpf(2), perf buffers, fork(2), glibc's name
//! service, the counters of drivers), and files mapped into memory.
#![allow(unsafe_code)]

pub mod bpf;
pub mod child;
pub mod ethtool;
pub mod local_time;
pub mod name_service;
pub mod perf;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod refused_calls;
pub mod socket_state;

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Two numbers of 32 bits that follow each other in memory.
fn pair(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

/// Makes the socket lose messages silently when its buffer is full; [`socket_drops`] counts them.
/// Otherwise recv() would fail with ENOBUFS, and the socket would stay congested until it is drained.
pub fn set_no_enobufs(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, 1)
}

/// Joins a netlink multicast group.
pub fn join_group(socket: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    set_membership(socket, libc::NETLINK_ADD_MEMBERSHIP, group)
}

/// Leaves a netlink multicast group.
pub fn leave_group(socket: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    set_membership(socket, libc::NETLINK_DROP_MEMBERSHIP, group)
}

fn set_membership(socket: BorrowedFd<'_>, option: libc::c_int, group: u32) -> io::Result<()> {
    let group = libc::c_int::try_from(group).map_err(io::Error::other)?;
    set_option(socket, libc::SOL_NETLINK, option, group)
}

/// Returns the number of messages since the socket was opened that did not fit into its receive
/// buffer. The kernel's counter is a u32, which wraps.
pub fn socket_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    /// `SK_MEMINFO_DROPS` and `SK_MEMINFO_VARS` (linux/sock_diag.h).
    const DROPS: usize = 8;
    const VARS: usize = 9;
    const SO_MEMINFO: libc::c_int = 55; // asm-generic/socket.h
    Ok(get_option::<[u32; VARS]>(socket, libc::SOL_SOCKET, SO_MEMINFO)?[DROPS])
}

/// The most datagrams that one [`receive_batch`] receives.
pub const BATCH: usize = 32;

/// Receives the datagrams that are waiting, without blocking, each into its own `place_len` bytes of
/// `memory`. `lengths` receives their full lengths, even of those that were cut. nix has the same
/// function, but it also asks the kernel for the address of each sender.
pub fn receive_batch(
    socket: BorrowedFd<'_>,
    memory: &mut [u8],
    place_len: usize,
    lengths: &mut Vec<usize>,
) -> io::Result<()> {
    lengths.clear();
    let mut parts = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: place_len,
    }; BATCH];
    // SAFETY: zeroed memory is a valid mmsghdr: no address, no control data, no parts.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    let places = memory.chunks_exact_mut(place_len);
    let mut count = 0;
    for ((place, part), header) in places.zip(&mut parts).zip(&mut headers) {
        part.iov_base = place.as_mut_ptr().cast();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        count += 1;
    }
    // SAFETY: each of the `count` headers has one part, `place_len` bytes of `memory` that belong to no
    // other header; all of them outlive the call.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT | libc::MSG_TRUNC,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let received = headers.iter().take(received);
    lengths.extend(received.map(|header| header.msg_len as usize));
    Ok(())
}

/// Types for which any bytes are a valid value.
trait PlainData: Copy + Default {}
impl PlainData for [u32; 9] {}

fn get_option<T: PlainData>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    let mut value = T::default();
    let mut len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the kernel writes at most `len` bytes, the size of `value`, and any bytes are a T.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the kernel reads `len` bytes from `value`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the kernel drop a packet that is too large for its device, instead of fragmenting it.
pub fn forbid_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    let option = libc::IP_MTU_DISCOVER;
    set_option(socket, libc::IPPROTO_IP, option, libc::IP_PMTUDISC_DO)
}

/// Makes a UDP socket keep what is sent (`UDP_CORK`), or send what it has kept.
pub fn cork(socket: BorrowedFd<'_>, is_corked: bool) -> io::Result<()> {
    let option = libc::UDP_CORK;
    set_option(socket, libc::IPPROTO_UDP, option, is_corked.into())
}

/// Attaches a classic BPF program that the kernel runs on each message before the socket receives it
/// (`SO_ATTACH_FILTER`). It replaces an earlier program.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    let len = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: the kernel reads `len` bytes from `program`, and the instructions of the slice that it
    // points to; it writes to neither, and both outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Detaches the program of [`attach_filter`] (`SO_DETACH_FILTER`).
pub fn detach_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
}

/// Returns whether the process was started with `signal` ignored, as nohup does with SIGHUP.
pub fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: no new action is set, and the old one is written to memory of its type.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed memory is a valid sigaction, whether the call filled it or failed.
    result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Returns whether the file of this program gives it more rights than its caller has (`AT_SECURE`,
/// getauxval(3)).
pub fn is_secure() -> bool {
    // SAFETY: the call reads what the kernel left in this process's memory, and changes nothing.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Removes an environment variable. To be called at the start, while there is a single thread.
pub fn forget_variable(name: &str) {
    // SAFETY: no other thread reads the environment: `main` calls this before it starts any.
    unsafe { std::env::remove_var(name) };
}

/// Ignores SIGXFSZ, which would end the process, so that a write past the limit of a file's size
/// (`ulimit -f`) fails with EFBIG.
pub fn ignore_file_size_signal() {
    // SAFETY: an ignored signal runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Ignores the signals that a terminal or a service manager sends to all processes of a group.
pub fn ignore_signals_of_the_group() {
    for signal in [
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGUSR1,
    ] {
        // SAFETY: an ignored signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Returns whether the standard stream `number` (0 to 2) was closed when the process started. Before
/// `main`, the standard library opens /dev/null in its place, so that output to it would be lost.
pub fn was_closed(number: libc::c_int) -> bool {
    let stream = usize::try_from(number).ok();
    let closed = stream.and_then(|number| CLOSED_AT_START.get(number));
    closed.is_some_and(|closed| closed.load(Ordering::Relaxed))
}

static CLOSED_AT_START: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// The entry that makes the C library call [`look_at_streams`] before the standard library starts.
// SAFETY: the section holds pointers to functions of this type, called once, in a single thread.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STREAMS: extern "C" fn() = look_at_streams;

extern "C" fn look_at_streams() {
    for (number, closed) in (0..).zip(&CLOSED_AT_START) {
        // SAFETY: F_GETFD takes no argument and changes nothing; a number without a file is EBADF.
        let is_closed = unsafe { libc::fcntl(number, libc::F_GETFD) } == -1;
        closed.store(is_closed, Ordering::Relaxed);
    }
}

#[cfg(feature = "source-lines")]
pub use mapped::SharedBytes;

#[cfg(feature = "source-lines")]
mod mapped {
    use std::fs::File;
    use std::io;
    use std::ops::Deref;
    use std::rc::Rc;

    use gimli::{CloneStableDeref, StableDeref};
    use memmap2::Mmap;

    /// Bytes that do not move, of a mapped file or of an allocation. A clone shares them.
    #[derive(Clone, Debug)]
    pub struct SharedBytes(Rc<Storage>);

    #[derive(Debug)]
    enum Storage {
        Mapped(Mmap),
        Owned(Box<[u8]>),
    }

    impl SharedBytes {
        /// Maps a file, of which only the parts that are read take memory.
        pub fn map(file: &File) -> io::Result<Self> {
            // SAFETY: the bytes are only read, and any bytes are valid. If another program changes a
            // file of debug information during a run, lines may be wrong, and if it truncates the file,
            // SIGBUS may end the run; package managers create new files instead.
            let map = unsafe { Mmap::map(file) }?;
            Ok(Self(Rc::new(Storage::Mapped(map))))
        }
    }

    impl From<Vec<u8>> for SharedBytes {
        fn from(bytes: Vec<u8>) -> Self {
            Self(Rc::new(Storage::Owned(bytes.into())))
        }
    }

    impl Deref for SharedBytes {
        type Target = [u8];

        fn deref(&self) -> &[u8] {
            match &*self.0 {
                Storage::Mapped(map) => map,
                Storage::Owned(bytes) => bytes,
            }
        }
    }

    // SAFETY: the bytes are a mapping or an allocation that nothing changes or moves while an Rc of
    // it exists, wherever the Rc itself is moved.
    unsafe impl StableDeref for SharedBytes {}

    // SAFETY: a clone is another Rc of the same bytes.
    unsafe impl CloneStableDeref for SharedBytes {}
}
