//! Stands in for `calls.rs` where seccomp's filters cannot be made: system calls are not confined.

use std::io;

use rustix::process::Pid;

use super::{CallConfinement, Work};

/// Refuses.
pub fn confine(_: &[Work], _: Option<Pid>) -> io::Result<CallConfinement> {
    Err(io::Error::other("not supported on this architecture"))
}

/// Counts nothing: no list is made here.
#[cfg(test)]
pub fn count(_: &[Work]) -> usize {
    0
}

/// Refuses.
pub fn forbid_changes() -> io::Result<()> {
    Err(io::Error::other("not supported on this architecture"))
}

/// Returns that filters cannot be made.
pub fn is_supported() -> bool {
    false
}
