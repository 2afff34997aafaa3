//! Wakes the event loop from another thread, or from a signal handler.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// Readable once something was written to its other end. A pipe: a byte that is left unread in a socket would be
/// a drop of our own.
#[derive(Debug)]
pub struct Wake(File);

impl Wake {
    /// Creates it with its other end. Neither waits: a full one wakes the event loop as well.
    pub fn new() -> io::Result<(Self, File)> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok((Self(reader.into()), writer.into()))
    }

    /// Discards past wake-ups.
    pub fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.0).read(&mut bytes), Ok(1..)) {}
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
