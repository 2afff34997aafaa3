//! Ends this process when whoever started it is gone: a capture that nobody reads must not leave
//! the kernel's settings changed, and without traffic no write would fail.

use std::io::Read;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::{PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open};

use crate::run;

/// Ends this process, in order, when its parent ends. Not PR_SET_PDEATHSIG: that is a signal when the
/// parent's *thread* ends.
pub fn end_with_parent() {
    // None, or none to be seen from this PID namespace.
    let Some(parent) = getppid() else { return };
    let Ok(parent) = pidfd_open(parent, PidfdFlags::empty()) else {
        return;
    };
    watch("parent", move || {
        let mut ended = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
        while nix::poll::poll(&mut ended, PollTimeout::NONE) == Err(nix::Error::EINTR) {}
    });
}

/// Ends this process, in order, when standard input ends: the connection of the host that asked for
/// the capture. `sudo` may stand between, which does not pass on that nobody reads.
pub fn end_with_input() {
    let Ok(mut input) = run::standard_input() else {
        return;
    };
    watch("input", move || {
        let mut bytes = [0; 64];
        while matches!(input.read(&mut bytes), Ok(1..)) {}
    });
}

/// Calls what blocks until the end has come, in a thread.
fn watch(name: &str, wait: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.into()).spawn(|| {
        wait();
        let _ = kill_process(getpid(), Signal::TERM);
    });
    if let Err(error) = thread {
        run::tell(
            run::Severity::Warning,
            &format!("dwdump: cannot watch for the end of Wireshark: {error}"),
        );
    }
}
