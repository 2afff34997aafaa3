//! Waits for the next event: the only call of `poll` while a run goes on. At its end, `run::why` waits for the
//! process that looks at the host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::receiver::Receiver;
use super::signals::Requests;

/// The descriptors that became ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// At least one source can be read.
    pub source: bool,
    /// The first of the receiver's descriptors that is ready, counted from 0.
    pub receiver: Option<usize>,
}

/// Waits for one of the sources, a signal, a descriptor of the receiver, or the time at which the
/// receiver is due; at most `longest`, if that is given.
pub fn wait<R: Receiver>(
    sources: &[BorrowedFd<'_>],
    requests: &Requests,
    receiver: Option<&R>,
    longest: Option<Duration>,
) -> io::Result<Ready> {
    let due = receiver.and_then(Receiver::due);
    let left = due.map(|due| due.saturating_duration_since(Instant::now()));
    let timeout = match left.into_iter().chain(longest).min() {
        None => PollTimeout::NONE,
        Some(Duration::ZERO) => PollTimeout::ZERO,
        Some(left) => {
            // `poll` counts in milliseconds. Rounding down would end in a busy loop.
            let rounded_up = left + Duration::from_millis(1);
            PollTimeout::try_from(rounded_up).unwrap_or(PollTimeout::MAX)
        }
    };
    let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut watched = vec![readable(requests.as_fd())];
    watched.extend(sources.iter().copied().map(readable));
    if let Some(receiver) = receiver {
        receiver.watch(&mut watched);
    }
    match nix::poll::poll(&mut watched, timeout) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |polled: &PollFd<'_>| polled.any() == Some(true);
    if is_ready(&watched[0]) {
        requests.clear();
    }
    let (sources, receivers) = watched[1..].split_at(sources.len());
    Ok(Ready {
        source: sources.iter().any(is_ready),
        receiver: receivers.iter().position(is_ready),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::ops::ControlFlow;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::record::Loss;
    use crate::run::receiver::{Attention, DropMonitor, Stop};
    use crate::source::Event;

    const LONG: Option<Duration> = Some(Duration::from_mins(1));

    /// Watches an output and, beside it, a process that looks at the host.
    #[derive(Default)]
    struct WatchedOutput {
        descriptors: Vec<OwnedFd>,
        due: Option<Instant>,
    }

    impl Receiver for WatchedOutput {
        fn take(&mut self, _: Event<'_, '_>) -> ControlFlow<Stop> {
            ControlFlow::Continue(())
        }

        fn flush(&mut self) -> ControlFlow<Stop> {
            ControlFlow::Continue(())
        }

        fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>) {
            let readable = |fd: &'r OwnedFd| PollFd::new(fd.as_fd(), PollFlags::POLLIN);
            descriptors.extend(self.descriptors.iter().map(readable));
        }

        fn due(&self) -> Option<Instant> {
            self.due
        }

        fn attend(&mut self, _: Attention, _: &mut dyn DropMonitor) -> ControlFlow<Stop> {
            ControlFlow::Continue(())
        }

        fn report(&mut self, _: Option<Loss>) {}
    }

    #[test]
    fn any_of_several_sources_ends_the_wait() {
        let (requests, _waker) = Requests::simulated();
        let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
        (&pairs[2].1).write_all(b"!").unwrap();
        let sources: Vec<_> = pairs.iter().map(|(reader, _)| reader.as_fd()).collect();
        let no_receiver = None::<&WatchedOutput>;
        let ready = wait(&sources, &requests, no_receiver, LONG).unwrap();
        assert!(ready.source);
        let ready = wait(&sources[..2], &requests, no_receiver, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, Ready::default());
    }

    #[test]
    fn a_process_beside_the_output_is_watched() {
        let (requests, _waker) = Requests::simulated();
        let (output, _reader) = UnixStream::pair().unwrap();
        let mut process = Command::new("echo");
        let mut process = process.arg("seen").stdout(Stdio::piped()).spawn().unwrap();
        let watcher = WatchedOutput {
            descriptors: vec![output.into(), process.stdout.take().unwrap().into()],
            due: None,
        };
        let ready = wait(&[], &requests, Some(&watcher), LONG).unwrap();
        assert_eq!((ready.source, ready.receiver), (false, Some(1)));
        process.wait().unwrap();
    }

    #[test]
    fn a_signal_ends_one_wait() {
        let (requests, waker) = Requests::simulated();
        (&waker).write_all(b"!").unwrap();
        let no_receiver = None::<&WatchedOutput>;
        assert_eq!(
            wait(&[], &requests, no_receiver, LONG).unwrap(),
            Ready::default()
        );
        let short = Duration::from_millis(20);
        let before = Instant::now();
        wait(&[], &requests, no_receiver, Some(short)).unwrap();
        assert!(before.elapsed() >= short, "the signal ended a second wait");
    }

    #[test]
    fn a_due_receiver_ends_the_wait_and_no_sooner() {
        let (requests, _waker) = Requests::simulated();
        let due = Instant::now() + Duration::from_millis(20);
        let watcher = WatchedOutput {
            due: Some(due),
            ..WatchedOutput::default()
        };
        for _ in 0..2 {
            let ready = wait(&[], &requests, Some(&watcher), LONG).unwrap();
            assert_eq!(ready, Ready::default());
            assert!(Instant::now() >= due);
        }
    }
}
