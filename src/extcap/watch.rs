//! Ends this process when its parent or its standard input ends. Without traffic, no write would fail
//! and tell that nobody reads the capture any more.

use std::io::Read;
use std::os::fd::AsFd;
use std::sync::mpsc::channel;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::{PidfdFlags, getppid, pidfd_open};
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::raise;

use crate::{rights, run};

/// Ends this process in order when its parent ends. PR_SET_PDEATHSIG would not do: it sends its signal
/// when the *thread* ends that started this process.
pub fn end_with_parent() {
    // There is no parent, or it is outside this PID namespace.
    let Some(parent) = getppid() else { return };
    let Ok(parent) = pidfd_open(parent, PidfdFlags::empty()) else {
        return;
    };
    watch("parent", move || {
        let mut ended = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
        while nix::poll::poll(&mut ended, PollTimeout::NONE) == Err(nix::Error::EINTR) {}
    });
}

/// Ends this process in order when standard input ends, which is the connection to the host that asked
/// for the capture. A closed standard output would not do: sudo may relay it, and notices only when it
/// writes.
pub fn end_with_input() {
    let Ok(mut input) = run::standard_input() else {
        return;
    };
    watch("input", move || {
        let mut bytes = [0; 64];
        while matches!(input.read(&mut bytes), Ok(1..)) {}
    });
}

/// Starts a thread that ends this process when `wait` returns, and waits until the thread has given up its
/// capabilities: it needs none, and in the sandbox, which the run may enter next, it could not give them up any more.
fn watch(name: &str, wait: impl FnOnce() + Send + 'static) {
    let (without_rights, is_without) = channel::<()>();
    let thread = std::thread::Builder::new().name(name.into()).spawn(|| {
        let _ = rights::give_up_in_thread();
        drop(without_rights);
        wait();
        let _ = raise(SIGTERM);
    });
    if let Err(error) = thread {
        run::tell(
            run::Severity::Warning,
            &format!("dwdump: cannot watch for the end of Wireshark: {error}"),
        );
    }
    // Until the thread has dropped its end, or was not started.
    let _ = is_without.recv();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_watching_thread_has_no_capabilities_from_the_beginning() {
        const NAME: &str = "watch in a test";
        for count in 1..=20 {
            // It may never return: the signal would end the tests.
            watch(NAME, || {
                loop {
                    std::thread::park();
                }
            });
            let threads = fs::read_dir("/proc/self/task").unwrap();
            let statuses = threads
                .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
            let watching: Vec<_> = statuses
                .filter(|status| status.starts_with(&format!("Name:\t{NAME}\n")))
                .collect();
            // A thread names itself just before.
            assert_eq!(watching.len(), count);
            for status in watching {
                assert!(status.contains("\nCapPrm:\t0000000000000000\n"), "{status}");
                assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
            }
        }
    }
}
