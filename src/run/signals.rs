//! Handles signals in a thread of its own. However long a write blocks, the kernel's settings are
//! restored soon after a signal asks the run to end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};

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
pub struct Requests {
    flags: Arc<Flags>,
    /// Readable after a signal.
    wake: Wake,
    /// `None` in tests alone.
    thread: Option<SignalThread>,
}

/// The thread that handles the signals.
struct SignalThread {
    handle: Handle,
    thread: JoinHandle<()>,
    /// Starts another one, for the signals that are waiting.
    start: StartThread,
}

type StartThread = Box<dyn Fn(Signals) -> io::Result<JoinHandle<()>>>;

#[derive(Debug, Default)]
struct Flags {
    end: AtomicBool,
    counts: AtomicBool,
    flush: AtomicBool,
    another_file: AtomicBool,
    /// All output is written: what is still waited for is the disk, or a command.
    is_written: AtomicBool,
    /// SIGHUP asks for another file, and not for the end.
    hangup_is_rotation: AtomicBool,
    /// The time of the first signal that asked for the end.
    ending_since: Mutex<Option<Instant>>,
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
        let signals = signals()?;
        let handle = signals.handle();
        let (wake, waker) = Wake::new()?;
        let flags = Arc::new(Flags::default());
        let shared = Arc::clone(&flags);
        let start: StartThread = Box::new(move |signals| {
            let (shared, at_end) = (Arc::clone(&shared), at_end.clone());
            let waker = waker.try_clone()?;
            let handle_all = move || shared.handle(signals, &waker, &at_end);
            std::thread::Builder::new()
                .name("signals".into())
                .spawn(handle_all)
        });
        let thread = start(signals)?;
        let thread = Some(SignalThread {
            handle,
            thread,
            start,
        });
        Ok(Self {
            flags,
            wake,
            thread,
        })
    }

    /// Acts while no thread handles signals, and has a new one handle them afterwards: it inherits what this
    /// thread has given up meanwhile. Signals that come in between are handled then.
    pub fn handle_anew_after<T>(&mut self, act: impl FnOnce() -> T) -> anyhow::Result<T> {
        let restart = || {
            let Some(old) = self.thread.take() else {
                return Ok(act());
            };
            // Before the old ones are given up, so that none is lost.
            let signals = signals()?;
            let handle = signals.handle();
            old.handle.close();
            let _ = old.thread.join();
            let done = act();
            // A signal of the time between may be handled by both threads, and is one request.
            if let Some(since) = self.flags.ending_since().as_mut() {
                *since = Instant::now();
            }
            self.thread = Some(SignalThread {
                thread: (old.start)(signals)?,
                handle,
                start: old.start,
            });
            Ok(done)
        };
        let done: io::Result<T> = restart();
        done.context("cannot set up signal handling again")
    }

    /// Handles no signals. Bytes that are written into the returned pipe wake the event loop as a
    /// signal does.
    #[cfg(test)]
    pub fn simulated() -> (Self, std::fs::File) {
        let (wake, waker) = Wake::new().unwrap();
        let requests = Self {
            flags: Arc::default(),
            wake,
            thread: None,
        };
        (requests, waker)
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

    /// Notes that a second signal loses no packets.
    pub fn output_is_written(&self) {
        self.flags.is_written.store(true, Ordering::Relaxed);
    }

    /// Has SIGHUP ask for another file from here on, unless there is a terminal whose end it may tell of.
    pub fn rotate_at_hangup(&self) {
        let terminal = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
            .open("/dev/tty");
        let is_rotation = terminal.is_err();
        self.flags
            .hangup_is_rotation
            .store(is_rotation, Ordering::Relaxed);
    }

    /// Returns whether a signal asked for another file since the last call.
    pub fn another_file(&self) -> bool {
        self.flags.another_file.load(Ordering::Relaxed)
            && self.flags.another_file.swap(false, Ordering::Relaxed)
    }

    /// Discards the wake-ups of past signals.
    pub fn clear(&self) {
        self.wake.clear();
    }
}

/// Takes over the signals that a run handles.
fn signals() -> io::Result<Signals> {
    let always = [SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2];
    let optional = EXPIRY
        .into_iter()
        .chain([SIGHUP])
        .chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
    let heeded = optional.filter(|signal| !sys::is_ignored(*signal));
    Signals::new(always.into_iter().chain(heeded))
}

impl Flags {
    /// Handles signals until they are closed, and those that came before.
    fn handle(
        &self,
        mut signals: Signals,
        waker: &File,
        at_end: &(impl Fn() + Clone + Send + 'static),
    ) {
        for signal in signals.forever() {
            self.heed(signal, waker, at_end);
        }
        // The iterator ends at once, even where a signal came just before.
        for signal in signals.pending() {
            self.heed(signal, waker, at_end);
        }
    }

    fn heed(&self, signal: i32, mut waker: &File, at_end: &(impl Fn() + Clone + Send + 'static)) {
        let since = *self.ending_since();
        match (signal, since) {
            (SIGUSR1, _) => self.counts.store(true, Ordering::Relaxed),
            (SIGUSR2, _) => self.flush.store(true, Ordering::Relaxed),
            (SIGHUP, None) if self.hangup_is_rotation.load(Ordering::Relaxed) => {
                self.another_file.store(true, Ordering::Relaxed);
            }
            (_, None) => {
                *self.ending_since() = Some(Instant::now());
                self.end.store(true, Ordering::Release);
                end_later(at_end.clone());
            }
            (_, Some(since)) if URGENT.contains(&signal) && since.elapsed() >= SAME_REQUEST => {
                at_end();
                screen::leave();
                // A terminal that accepts no bytes must not delay the end.
                if diagnostics::is_heard() {
                    say(if self.is_written.load(Ordering::Relaxed) {
                        "interrupted again: all packets are written, but the disk and the command of -z \
                         are not waited for"
                    } else {
                        "interrupted again: packets that were not written yet are lost"
                    });
                }
                std::process::exit(1);
            }
            (_, Some(_)) => {}
        }
        let _ = waker.write(&[0]);
    }

    fn ending_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.ending_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_came_before_the_thread_is_told_to_end_is_handled() {
        let signals = Signals::new([SIGUSR2]).unwrap();
        let handle = signals.handle();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR2).unwrap();
        handle.close();
        let (wake, waker) = Wake::new().unwrap();
        let flags = Flags::default();
        flags.handle(signals, &waker, &|| ());
        assert!(flags.flush.load(Ordering::Relaxed));
        wake.clear();
    }
}
