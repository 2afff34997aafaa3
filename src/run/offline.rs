//! A run on a capture file: from its opening to its end or its damage, whatever is done with the
//! events.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::output::{shown, standard_input};
use super::pipeline::{Stop, TEXT_CLOSED};
use super::receiver::{Attention, Machine, Receiver};
use super::signals::Requests;
use super::{Exit, Failure, Plural, say, tell_skipped};
use crate::cli::Target;
use crate::net_dm::control::{ControlError, Settings};
use crate::net_dm::monitoring::Reporting;
use crate::record::Loss;
use crate::source::savefile::{OpenError, Remarks, Savefile};

/// An open capture file.
pub struct Input {
    /// What to call it.
    pub name: String,
    /// The file.
    pub file: File,
}

/// What is known when the file was read.
pub struct Finished<R> {
    /// The receiver, and what the file told beside drops; `None` where a signal came before the
    /// file's header.
    pub read: Option<(R, Remarks)>,
    /// The exit status, unless it failed.
    pub exit: Exit,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Shared between the reader, which flushes when it has to wait, and the loop that fills it.
struct Destination<R> {
    /// Known once the file's header is read.
    receiver: Option<R>,
    /// Why no more is to be read.
    stop: Option<Stop>,
}

impl Input {
    /// Opens it.
    pub fn open(input: &Target) -> Result<Self, Failure> {
        let (name, file) = match input {
            Target::Standard => ("standard input".into(), standard_input()),
            Target::File(path) => (shown(path), File::open(path)),
        };
        let file = file.with_context(|| format!("cannot open {name}"));
        let file = file?;
        Ok(Self { name, file })
    }

    /// Reads to the end. `prepare` makes the receiver when the header is known.
    pub fn read<R: Receiver>(
        self,
        requests: &Rc<Requests>,
        prepare: impl FnOnce(&Remarks, Option<u16>) -> Result<R, Failure>,
    ) -> Result<Finished<R>, Failure> {
        let Self { name, file } = self;
        let destination = Rc::new(RefCell::new(Destination {
            receiver: None,
            stop: None,
        }));
        let reader = PatientReader {
            file,
            requests: Rc::clone(requests),
            destination: Rc::clone(&destination),
        };
        let mut savefile = match Savefile::open(reader) {
            Ok(savefile) => savefile,
            // The end was ours, not the file's.
            Err(_) if requests.end() => {
                return Ok(Finished {
                    read: None,
                    exit: Exit::Success,
                    failure: None,
                });
            }
            Err(error) => return Err(unreadable(&name, error)),
        };
        let receiver = prepare(savefile.remarks(), savefile.family())?;
        destination.borrow_mut().receiver = Some(receiver);
        let result = savefile.for_each_event(|event| {
            let destination = &mut *destination.borrow_mut();
            match destination.receiver.as_mut() {
                Some(receiver) if !requests.end() => receiver
                    .take(event)
                    .map_break(|stop| destination.stop = Some(stop)),
                _ => ControlFlow::Break(()),
            }
        });

        let remarks = savefile.remarks().clone();
        let mut destination = destination.borrow_mut();
        let stop = destination.stop.take();
        let mut exit = Exit::Success;
        match result {
            Ok(_) => {}
            // The end was ours, not the file's.
            Err(_) if requests.end() || stop.is_some() => {}
            Err(damage) => {
                say(format_args!(
                    "{name} is damaged: {damage}: everything before it was read"
                ));
                exit = Exit::Failure;
            }
        }
        let failure = match stop {
            Some(Stop::Failed(error)) => Some(error),
            Some(Stop::TextClosed) => {
                say(TEXT_CLOSED);
                None
            }
            _ => None,
        };
        if remarks.damaged_messages > 0 {
            exit = Exit::Failure;
        }
        let receiver = destination.receiver.take();
        Ok(Finished {
            read: receiver.map(|receiver| (receiver, remarks)),
            exit,
            failure,
        })
    }
}

fn unreadable(name: &str, error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::Compressed(kind) => {
            let program = match *kind {
                "gzip" => "zcat",
                "zstd" => "zstdcat",
                _ => "xzcat",
            };
            Some(format!("`{program} FILE | dwdump -r -` reads it"))
        }
        OpenError::Unknown => {
            Some("dwdump reads pcap and pcapng, its own files and the C tool's".into())
        }
        OpenError::Io(_) | OpenError::Empty | OpenError::Damaged(_) => None,
    };
    let error = match error {
        OpenError::Io(error) => anyhow::Error::new(error),
        error => anyhow::Error::new(error),
    };
    Failure::new(error.context(format!("cannot read {name}")), hint)
}

/// What the user should know of the file, whatever was done with it.
pub fn tell(remarks: &Remarks) {
    if remarks.plain_packets > 0 {
        say(format_args!(
            "{} without drop facts: why and where is not in the file",
            Plural(remarks.plain_packets, "packet")
        ));
    }
    if let Some((link, count)) = remarks.foreign_links {
        say(format_args!(
            "{} of {link}: headers are not understood, so filters on them select nothing",
            Plural(count, "packet")
        ));
    }
    tell_skipped(remarks.skipped_attributes);
    if remarks.damaged_messages > 0 {
        say(format_args!(
            "{} could not be read whole",
            Plural(remarks.damaged_messages, "netlink record")
        ));
    }
}

/// A reader that hands on what was written before it waits, and ends when the run is to end.
struct PatientReader<R> {
    file: File,
    requests: Rc<Requests>,
    destination: Rc<RefCell<Destination<R>>>,
}

impl<R: Receiver> io::Read for PatientReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut may_wait = false;
        loop {
            let ready = self.poll(may_wait)?;
            if self.requests.end() {
                return Ok(0);
            }
            if let ControlFlow::Break(stop) = self.attend(ready) {
                self.destination.borrow_mut().stop = Some(stop);
                return Ok(0);
            }
            if ready.file {
                return self.file.read(buffer);
            }
            may_wait = true;
        }
    }
}

/// What a wait ended with.
#[derive(Clone, Copy)]
struct Ready {
    /// There is something to read.
    file: bool,
    /// What the receiver watches is ready.
    receiver: bool,
}

impl<R: Receiver> PatientReader<R> {
    fn poll(&self, may_wait: bool) -> io::Result<Ready> {
        let destination = self.destination.borrow();
        let receiver = destination.receiver.as_ref();
        let left = receiver.and_then(Receiver::due).map(|due| {
            // Rounded up, lest the last millisecond be spent in a busy loop.
            due.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
        });
        let timeout = match left {
            _ if !may_wait => PollTimeout::ZERO,
            Some(left) => PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let mut watched = vec![
            PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.requests.as_fd(), PollFlags::POLLIN),
        ];
        watched.extend(receiver.and_then(Receiver::watched));
        match nix::poll::poll(&mut watched, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |index: usize| watched.get(index).and_then(PollFd::any) == Some(true);
        Ok(Ready {
            file: is_ready(0),
            receiver: is_ready(2),
        })
    }

    /// What is to be done before the next read, or while there is nothing to read.
    fn attend(&self, ready: Ready) -> ControlFlow<Stop> {
        let mut destination = self.destination.borrow_mut();
        let Some(receiver) = destination.receiver.as_mut() else {
            return ControlFlow::Continue(());
        };
        if ready.receiver {
            receiver.attend(Attention::Watched, &mut NoMachine)?;
        }
        if receiver.due().is_some_and(|due| Instant::now() >= due) {
            receiver.attend(Attention::Due, &mut NoMachine)?;
        }
        if ready.file {
            return ControlFlow::Continue(());
        }
        self.requests.clear();
        if self.requests.counts() {
            receiver.report(None);
        }
        // Flushed below in any case.
        self.requests.flush();
        receiver.flush()
    }
}

/// A file has no drop monitor.
pub struct NoMachine;

impl Machine for NoMachine {
    fn loss(&mut self) -> Option<Loss> {
        None
    }

    fn settings(&mut self) -> Option<Settings> {
        None
    }

    fn switch(&mut self, _: Reporting) -> Result<(), ControlError> {
        Ok(())
    }
}
