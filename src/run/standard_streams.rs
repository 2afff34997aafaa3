//! Standard input and output without the standard library's buffers, and paths in messages.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags};

use super::failure::Failure;
use crate::record::Escaped;
use crate::sys;

/// Opens standard output without the line buffer of the standard library.
pub fn standard_output() -> Result<File, Failure> {
    let stdout = if sys::was_closed(libc::STDOUT_FILENO) {
        Err(io::Error::from_raw_os_error(libc::EBADF))
    } else {
        io::stdout().as_fd().try_clone_to_owned()
    };
    let stdout = stdout.context("cannot write to standard output");
    stdout.map(File::from).map_err(Failure::from)
}

/// Opens standard input without the buffer of the standard library.
pub fn standard_input() -> io::Result<File> {
    if sys::was_closed(libc::STDIN_FILENO) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// Returns a copy of the descriptor if the file is a pipe: polling it shows when its reader is
/// gone.
pub fn pipe(file: &File) -> Option<OwnedFd> {
    let kind = file.metadata().ok()?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        file.as_fd().try_clone_to_owned().ok()
    } else {
        None
    }
}

/// Adds a [`pipe`] to the descriptors that are polled. poll reports POLLERR for one without a reader, even if no
/// event is asked for.
pub fn watch_pipe<'r>(pipe: Option<&'r OwnedFd>, descriptors: &mut Vec<PollFd<'r>>) {
    descriptors.extend(pipe.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::empty())));
}

/// Formats a path for a message.
pub fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

/// Returns whether standard output is a terminal.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}
