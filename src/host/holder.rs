//! The processes that hold a socket, and the options that it has.

use std::ffi::OsStr;
use std::fs::{read_dir, read_link, read_to_string};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen};
use crate::sys::socket_state::{
    accept_queue, bound_device, filter_length, is_ipv6_only, receive_memory,
};

/// The longest search. A host with a hundred processes takes a few milliseconds, if it has the time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The processes that hold sockets, which are named by their inodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHolders(pub Vec<u64>);

/// The sockets that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSockets {
    /// The sockets that somebody holds.
    pub sockets: Vec<HeldSocket>,
    /// All processes were looked at.
    pub is_complete: bool,
}

/// A socket that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSocket {
    /// Its number.
    pub inode: u64,
    /// Who holds it.
    pub processes: Vec<HostProcess>,
    /// Its options, where this process may see them.
    pub options: Option<SocketOptions>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProcess {
    /// Its number.
    pub pid: i32,
    /// Its name (`/proc/PID/comm`).
    pub name: String,
    /// Its state, a letter: `T` while it is stopped (`/proc/PID/stat`).
    pub state: char,
}

/// The options of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketOptions {
    /// The device that it is bound to (`SO_BINDTODEVICE`), or nothing.
    pub device: String,
    /// It takes no packets of IPv4 (`IPV6_V6ONLY`).
    pub is_ipv6_only: bool,
    /// The memory that its receive queue takes.
    pub memory_used: u32,
    /// The most that it may take (`SO_RCVBUF`).
    pub memory_limit: u32,
    /// The connections that wait for accept(2), and the backlog that listen(2) was given.
    pub accept_queue: Option<(u32, u32)>,
    /// It has a filter (`SO_ATTACH_FILTER`, `SO_ATTACH_BPF`); `None` where this could not be seen.
    pub has_filter: Option<bool>,
}

impl HostProcess {
    /// Returns whether it was stopped by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Reads what `/proc/PID` says.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        let stat = read_to_string(folder.join("stat")).ok()?;
        // PID (NAME) STATE: a name can hold parentheses.
        let (named, rest) = stat.rsplit_once(')')?;
        Some(Self {
            pid,
            name: named.split_once('(')?.1.to_owned(),
            state: rest.trim_start().chars().next()?,
        })
    }
}

impl Question for SocketHolders {
    const NAME: &'static str = "holders of sockets";
    type Answer = HeldSockets;

    fn look(&self) -> Result<HeldSockets, Unseen> {
        let mut found = HeldSockets::default();
        found.is_complete = each_descriptor(|process, descriptor, target| {
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:["));
            let inode = inode.and_then(|text| text.strip_suffix(']')?.parse().ok());
            let Some(inode) = inode.filter(|inode| self.0.contains(inode)) else {
                return;
            };
            let Some(holder) = HostProcess::read(process) else {
                return;
            };
            let known = found.sockets.iter().position(|held| held.inode == inode);
            let position = known.unwrap_or(found.sockets.len());
            if known.is_none() {
                found.sockets.push(HeldSocket {
                    inode,
                    processes: Vec::new(),
                    options: None,
                });
            }
            let held = &mut found.sockets[position];
            if held.options.is_none() {
                held.options = options(holder.pid, descriptor);
            }
            // It may hold the socket twice.
            if held.processes.last().map(|last| last.pid) != Some(holder.pid) {
                held.processes.push(holder);
            }
        })?;
        Ok(found)
    }
}

/// Calls a function with the folder of a process in `/proc`, a file descriptor of it and what that leads to, for
/// each descriptor that this process may see. Returns whether there was time for all.
pub(super) fn each_descriptor(mut take: impl FnMut(&Path, &OsStr, &Path)) -> Result<bool, Unseen> {
    let end = Instant::now() + PATIENCE;
    for process in read_dir("/proc")?.flatten() {
        if !process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        if Instant::now() > end {
            return Ok(false);
        }
        let folder = process.path();
        // It may have ended.
        for descriptor in read_dir(folder.join("fd")).into_iter().flatten().flatten() {
            if let Ok(target) = read_link(descriptor.path()) {
                take(&folder, &descriptor.file_name(), &target);
            }
        }
    }
    Ok(true)
}

/// Asks a socket of another process for its options, by a copy of the descriptor that is closed at once.
fn options(pid: i32, descriptor: &OsStr) -> Option<SocketOptions> {
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let descriptor = descriptor.to_str()?.parse().ok()?;
    let copy = pidfd_getfd(&process, descriptor, PidfdGetfdFlags::empty()).ok()?;
    read_options(copy.as_fd())
}

fn read_options(socket: BorrowedFd<'_>) -> Option<SocketOptions> {
    let memory = receive_memory(socket).ok()?;
    let filter = match filter_length(socket) {
        Ok(length) => Some(length > 0),
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => Some(true),
        Err(_) => None,
    };
    Some(SocketOptions {
        device: String::from_utf8_lossy(&bound_device(socket).ok()?).into_owned(),
        // One of IPv4 has no such option.
        is_ipv6_only: is_ipv6_only(socket).unwrap_or(false),
        memory_used: memory.used,
        memory_limit: memory.limit,
        accept_queue: accept_queue(socket).ok(),
        has_filter: filter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::linux::fs::MetadataExt;

    fn inode(socket: &impl AsFd) -> u64 {
        let file = std::fs::File::from(socket.as_fd().try_clone_to_owned().unwrap());
        file.metadata().unwrap().st_ino()
    }

    #[test]
    fn this_process_holds_its_sockets() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = SocketHolders(vec![inode(&socket)]).look().unwrap();
        // Without all processes there may be too little time to come to this one.
        if found.is_complete {
            let [held] = found.sockets.as_slice() else {
                panic!("{found:?}");
            };
            let pid = i32::try_from(std::process::id()).unwrap();
            assert!(held.processes.iter().any(|process| process.pid == pid));
        }
    }

    #[test]
    fn options_are_those_of_the_socket() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = read_options(socket.as_fd()).unwrap();
        assert_eq!((options.device.as_str(), options.is_ipv6_only), ("", false));
        assert_eq!((options.memory_used, options.accept_queue), (0, None));
        assert!(options.memory_limit > 0);
        assert_eq!(options.has_filter, Some(false));
        let program = [libc::sock_filter {
            code: 6,
            jt: 0,
            jf: 0,
            k: 0xffff,
        }];
        crate::sys::attach_filter(socket.as_fd(), &program).unwrap();
        assert_eq!(read_options(socket.as_fd()).unwrap().has_filter, Some(true));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = read_options(listener.as_fd()).unwrap();
        assert_eq!(options.accept_queue.map(|(waiting, _)| waiting), Some(0));
    }
}
