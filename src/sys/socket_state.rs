//! The state of a socket, which may be another program's.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{PlainData, get_option};

impl PlainData for [u32; 8] {}
impl PlainData for [u8; libc::IFNAMSIZ] {}
impl PlainData for u32 {}

/// The memory that a socket's receive queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveMemory {
    /// The memory of the packets in it, in bytes.
    pub used: u32,
    /// The most that they may take.
    pub limit: u32,
}

/// Returns the memory of the receive queue (`SO_MEMINFO`).
pub fn receive_memory(socket: BorrowedFd<'_>) -> io::Result<ReceiveMemory> {
    const SO_MEMINFO: libc::c_int = 55; // asm-generic/socket.h
    // `SK_MEMINFO_RMEM_ALLOC` and `SK_MEMINFO_RCVBUF` (linux/sock_diag.h).
    let [used, limit, ..] = get_option::<[u32; 9]>(socket, libc::SOL_SOCKET, SO_MEMINFO)?;
    Ok(ReceiveMemory { used, limit })
}

/// Returns the name of the device that the socket is bound to, which is empty for none (`SO_BINDTODEVICE`).
pub fn bound_device(socket: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let name: [u8; libc::IFNAMSIZ] = get_option(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE)?;
    let end = name.iter().position(|&byte| byte == 0);
    Ok(name[..end.unwrap_or(name.len())].to_vec())
}

/// Returns whether a socket of IPv6 takes packets of IPv6 alone (`IPV6_V6ONLY`).
pub fn is_ipv6_only(socket: BorrowedFd<'_>) -> io::Result<bool> {
    get_option::<u32>(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY).map(|value| value != 0)
}

/// Returns how many connections wait for accept(2), and the backlog of listen(2), of a socket of TCP that
/// listens.
pub fn accept_queue(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    // `tcpi_unacked` and `tcpi_sacked` of `struct tcp_info` (linux/tcp.h), behind 8 bytes and 4 numbers; while
    // a socket listens, these are what they hold.
    let info: [u32; 8] = get_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok((info[6], info[7]))
}

/// Returns the length of the classic BPF program on a socket, 0 without any (`SO_GET_FILTER`). Fails with EACCES
/// where it is one of eBPF.
pub fn filter_length(socket: BorrowedFd<'_>) -> io::Result<u32> {
    /// The same number as that of `SO_ATTACH_FILTER`, which is for setsockopt(2).
    const SO_GET_FILTER: libc::c_int = 26; // asm-generic/socket.h
    let mut len: libc::socklen_t = 0;
    // SAFETY: with a length of 0 the kernel writes nothing but the number of instructions, to `len`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_GET_FILTER,
            std::ptr::null_mut(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(len)
    } else {
        Err(io::Error::last_os_error())
    }
}
