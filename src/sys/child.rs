//! A copy of this process, for what only a process with a single thread may do.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde::Serialize;

/// A copy of this process, which is waited for when this is dropped.
#[derive(Debug)]
pub struct ForkedProcess(Pid);

/// Starts a copy of this process in which `act` runs with a stream to this one, and nothing else; then the copy
/// ends. Returns the other end of the stream: when that is closed, the copy reads its end. Refuses where this
/// process has several threads.
pub fn fork_connected(act: impl FnOnce(&UnixStream)) -> io::Result<(UnixStream, ForkedProcess)> {
    let (outside, inside) = UnixStream::pair()?;
    let mut outside = Some(outside);
    let copy = fork_and(|| {
        // Its end would keep the stream open.
        outside = None;
        act(&inside);
    })?;
    let outside = outside.ok_or_else(|| io::Error::other("the copy of this process returned"))?;
    Ok((outside, copy))
}

/// Returns a message between a process and its copy: a line of JSON.
pub fn json_line<T: Serialize + ?Sized>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Closes all descriptors but the standard streams and this one, of a copy of this process: those of streams to other
/// copies would keep these from ending.
pub fn close_all_but(stream: &UnixStream) {
    let kept = stream.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        // SAFETY: nothing in this copy uses the descriptors: it does what it was started for, and then ends at once.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            // Before Linux 5.9.
            for number in first..last.min(1 << 16) {
                // SAFETY: as above.
                unsafe { libc::close(number.cast_signed()) };
            }
        }
    }
}

fn fork_and(act: impl FnOnce()) -> io::Result<ForkedProcess> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("several threads run"));
    }
    // SAFETY: this process has no other thread, so that the copy is whole: nobody holds a lock in it.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(ForkedProcess(child)),
        ForkResult::Child => {
            let status = catch_unwind(AssertUnwindSafe(act)).is_err();
            // SAFETY: ends the copy at once, without what is to be done when the process itself ends.
            unsafe { libc::_exit(status.into()) }
        }
    }
}

impl Drop for ForkedProcess {
    fn drop(&mut self) {
        // It ends by itself; that somebody else has waited for it is no error.
        let _ = waitpid(self.0, None);
    }
}
