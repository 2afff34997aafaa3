//! Handles signals in a thread of its own. However long a write blocks, the kernel's settings are
//! restored soon after a signal asks the run to end.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::diagnostics::say;
use super::wake::Wake;
use super::{diagnostics, screen};
use crate::sys;

/// The time that the run has to end the monitoring itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// A second signal within this time is the same request: `timeout` signals the process and then its
/// group, and a terminal that goes away signals once, and its shell again.
const SAME_REQUEST: Duration = Duration::from_millis(500);
/// The signals that people and service managers send to end a process. A second one discards the
/// output that has not been written yet.
const URGENT: [i32; 4] = [SIGINT, SIGTERM, SIGQUIT, SIGHUP];
/// Signals that end a process by default without reporting a fault in it: timers, limits, power
/// failure. They end a run in order. Timers and limits repeat theirs, so a second one has no
/// meaning.
const EXPIRY: [i32; 7] = [
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// The requests that signals have made. SIGPIPE is not among them: Rust programs ignore it, and get
/// an error from the write instead.
#[derive(Debug)]
pub struct Requests {
    flags: Arc<Flags>,
    /// Readable after a signal.
    wake: Wake,
}

#[derive(Debug, Default)]
struct Flags {
    end: AtomicBool,
    counts: AtomicBool,
    flush: AtomicBool,
}

impl Requests {
    /// Takes over the signals. The first that ends the run leaves it some time; then, or when a
    /// second one comes, `at_end` is called in a thread, even where that was done already. The
    /// second one ends the process there and then. A signal that was ignored from the start (SIGHUP
    /// by nohup) stays ignored. SIGINT, SIGTERM and SIGQUIT do not, as with tcpdump: shells ignore
    /// SIGINT for what a script puts into the background, and `kill -INT` has to end that as well.
    pub fn listen(at_end: impl Fn() + Clone + Send + 'static) -> anyhow::Result<Self> {
        Self::start(at_end).context("cannot set up signal handling")
    }

    fn start(at_end: impl Fn() + Clone + Send + 'static) -> io::Result<Self> {
        let always = [SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2];
        let optional = EXPIRY
            .into_iter()
            .chain([SIGHUP])
            .chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
        let heeded = optional.filter(|signal| !sys::is_ignored(*signal));
        let mut signals = Signals::new(always.into_iter().chain(heeded))?;
        let (wake, mut waker) = Wake::new()?;
        let flags = Arc::new(Flags::default());
        let shared = Arc::clone(&flags);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut ending_since: Option<Instant> = None;
                for signal in signals.forever() {
                    match (signal, ending_since) {
                        (SIGUSR1, _) => shared.counts.store(true, Ordering::Relaxed),
                        (SIGUSR2, _) => shared.flush.store(true, Ordering::Relaxed),
                        (_, None) => {
                            ending_since = Some(Instant::now());
                            shared.end.store(true, Ordering::Release);
                            end_later(at_end.clone());
                        }
                        (_, Some(since))
                            if URGENT.contains(&signal) && since.elapsed() >= SAME_REQUEST =>
                        {
                            at_end();
                            screen::leave();
                            // A terminal that accepts no bytes must not delay the end.
                            if diagnostics::is_heard() {
                                say(
                                    "interrupted again: packets that were not written yet are lost",
                                );
                            }
                            std::process::exit(1);
                        }
                        (_, Some(_)) => {}
                    }
                    let _ = waker.write(&[0]);
                }
            })?;
        Ok(Self { flags, wake })
    }

    /// Handles no signals. Bytes that are written into the returned pipe wake the event loop as a
    /// signal does.
    #[cfg(test)]
    pub fn simulated() -> (Self, std::fs::File) {
        let (wake, waker) = Wake::new().unwrap();
        let flags = Arc::default();
        (Self { flags, wake }, waker)
    }

    /// Returns whether a signal asked for the end of the run.
    pub fn end(&self) -> bool {
        self.flags.end.load(Ordering::Acquire)
    }

    /// Returns whether a signal asked for the counts since the last call.
    pub fn counts(&self) -> bool {
        self.flags.counts.load(Ordering::Relaxed)
            && self.flags.counts.swap(false, Ordering::Relaxed)
    }

    /// Returns whether a signal asked for a flush since the last call.
    pub fn flush(&self) -> bool {
        self.flags.flush.load(Ordering::Relaxed) && self.flags.flush.swap(false, Ordering::Relaxed)
    }

    /// Discards the wake-ups of past signals.
    pub fn clear(&self) {
        self.wake.clear();
    }
}

fn end_later(at_end: impl Fn() + Clone + Send + 'static) {
    let later = at_end.clone();
    let thread = std::thread::Builder::new()
        .name("patience".into())
        .spawn(move || {
            std::thread::sleep(PATIENCE);
            later();
        });
    if thread.is_err() {
        at_end();
    }
}

impl AsFd for Requests {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
