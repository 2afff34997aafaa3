//! A copy of this process, for what only a process with a single thread may do.

use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

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
