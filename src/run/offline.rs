//! A run on a capture file: opens the file and passes its events to any receiver, up to its end or
//! to damaged data.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::begin::Purpose;
use super::diagnostics::say;
use super::failure::{Exit, Failure};
use super::left_out::{tell_count, tell_not_packets, tell_skipped};
use super::pipeline::TEXT_CLOSED;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::signals::Requests;
use super::standard_streams::{shown, standard_input};
use super::wait::{Ready, wait};
use crate::cli::{CaptureFile, Target};
use crate::net_dm::control::Settings;
use crate::net_dm::interference::Disturbance;
use crate::record::Loss;
use crate::source::NotPackets;
use crate::source::savefile::{Damage, Findings, Foreign, OpenError, Progress, Reader};

/// An open capture file.
pub struct CaptureInput {
    /// The file's name in messages.
    pub name: String,
    /// The file.
    pub file: File,
    not_packets: NotPackets,
}

/// The result of reading a file.
pub struct ReadEnd<R> {
    /// The receiver and the file's report; `None` if a signal came before the file's header.
    pub read: Option<(R, Findings)>,
    /// The exit status, unless it failed.
    pub exit: Exit,
    /// The error that ended the run.
    pub failure: Option<Failure>,
}

impl CaptureInput {
    /// Opens a file. A FIFO is opened even if it has no writer yet; the event loop waits for the
    /// writer, so that a signal can end the wait.
    pub fn open(input: &CaptureFile) -> Result<Self, Failure> {
        let (name, file) = match &input.target {
            Target::Standard => ("standard input".into(), standard_input()),
            Target::File(path) => (shown(path), open_at_once(path)),
        };
        let file = file.with_context(|| format!("cannot open {name}"))?;
        Ok(Self {
            name,
            file,
            not_packets: input.not_packets,
        })
    }

    /// Returns the same open file.
    pub fn try_clone(&self) -> Result<Self, Failure> {
        let file = self.file.try_clone();
        Ok(Self {
            name: self.name.clone(),
            file: file.with_context(|| format!("cannot read {}", self.name))?,
            not_packets: self.not_packets,
        })
    }

    /// Goes back to the beginning of the file.
    pub fn rewind(&mut self) -> Result<(), Failure> {
        let rewound = self.file.rewind();
        Ok(rewound.with_context(|| format!("cannot read {} again", self.name))?)
    }

    /// Reads the file to its end. `prepare` creates the receiver once the header has been read.
    pub fn read<R: Receiver>(
        self,
        requests: &Requests,
        prepare: impl FnOnce(&Findings, Option<u16>) -> Result<R, Failure>,
    ) -> Result<ReadEnd<R>, Failure> {
        let Self {
            name,
            file,
            not_packets,
        } = self;
        let mut reader = Reader::new(not_packets);
        let mut no_receiver: Option<R> = None;
        loop {
            match reader.open() {
                Ok(Progress::NeedsBytes) => {}
                Ok(Progress::Done | Progress::Broken(())) => break,
                Err(error) => return Err(unreadable(&name, error)),
            }
            match read_more(&file, &mut reader, requests, no_receiver.as_mut()) {
                Ok(ControlFlow::Continue(())) => {}
                // The run ended before the file did.
                Ok(ControlFlow::Break(_)) => {
                    return Ok(ReadEnd {
                        read: None,
                        exit: Exit::Success,
                        failure: None,
                    });
                }
                Err(error) => return Err(unreadable(&name, error.into())),
            }
        }
        let mut receiver = prepare(reader.findings(), reader.family())?;
        let (stop, damage) = read_events(&file, &mut reader, requests, &mut receiver);

        let mut exit = Exit::Success;
        if let Some(damage) = damage {
            say(format_args!(
                "{name} is damaged: {damage}: everything before it was read"
            ));
            exit = Exit::Failure;
        }
        let failure = match stop {
            Some(Stop::Failed(error)) => Some(error),
            Some(Stop::TextClosed) => {
                say(TEXT_CLOSED);
                None
            }
            _ => None,
        };
        let findings = reader.findings().clone();
        if findings.left_out.damaged_messages + findings.unreadable_packets > 0 {
            exit = Exit::Failure;
        }
        Ok(ReadEnd {
            read: Some((receiver, findings)),
            exit,
            failure,
        })
    }
}

fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    if path.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
}

/// Passes events to the receiver up to the end of the file, the end of the run, or damaged data.
fn read_events<R: Receiver>(
    file: &File,
    reader: &mut Reader,
    requests: &Requests,
    receiver: &mut R,
) -> (Option<Stop>, Option<Damage>) {
    loop {
        let progress = reader.events(|event| {
            if requests.end() {
                return ControlFlow::Break(None);
            }
            receiver.take(event).map_break(Some)
        });
        match progress {
            Ok(Progress::NeedsBytes) => {}
            Ok(Progress::Done) => return (None, None),
            Ok(Progress::Broken(stop)) => return (stop, None),
            Err(damage) => return (None, Some(damage)),
        }
        match read_more(file, reader, requests, Some(receiver)) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(stop)) => return (stop, None),
            Err(error) => reader.fail(&error),
        }
    }
}

/// Reads more of the file. While nothing can be read, flushes and attends to the receiver. Breaks
/// when the run has to end.
fn read_more<R: Receiver>(
    mut file: &File,
    reader: &mut Reader,
    requests: &Requests,
    mut receiver: Option<&mut R>,
) -> io::Result<ControlFlow<Option<Stop>>> {
    let mut may_wait = false;
    loop {
        let longest = if may_wait { None } else { Some(Duration::ZERO) };
        let ready = wait(&[file.as_fd()], requests, receiver.as_deref(), longest)?;
        if requests.end() {
            return Ok(ControlFlow::Break(None));
        }
        if let Some(receiver) = receiver.as_deref_mut()
            && let ControlFlow::Break(stop) = attend(receiver, requests, ready)
        {
            return Ok(ControlFlow::Break(Some(stop)));
        }
        may_wait = true;
        if !ready.source {
            continue;
        }
        match file.read(reader.space()) {
            Ok(0) => reader.end(),
            Ok(len) => reader.filled(len),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        }
        return Ok(ControlFlow::Continue(()));
    }
}

fn unreadable(name: &str, error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::Compressed(Foreign { command, .. }) => {
            Some(format!("`{command} FILE | dwdump -r -` reads it"))
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

/// Prints the report on a file.
pub fn tell(findings: &Findings) {
    tell_count(
        findings.plain_packets,
        "packet",
        "without drop facts: the file does not say why or where packets were dropped",
    );
    if let Some((link, count)) = findings.foreign_links {
        tell_count(
            count,
            "packet",
            format_args!(
                "of link type {link}, which dwdump cannot parse: filters on headers do not match"
            ),
        );
    }
    for why in &findings.incomplete {
        say(format_args!("drops are missing from the capture: {why}"));
    }
    tell_not_packets(findings.left_out);
    tell_count(
        findings.odd_times,
        "packet",
        "with a time before 1970 or after 2554: the time is left out",
    );
    tell_count(
        findings.skipped_options,
        "option",
        "skipped: cut or of the wrong length",
    );
    tell_count(
        findings.skipped_blocks,
        "block",
        "skipped: of a type without packets",
    );
    tell_count(
        findings.unreadable_packets,
        "packet",
        "left out: of an interface that the file does not describe, or longer than their block",
    );
    tell_count(
        findings.undecided_messages,
        "netlink message",
        "left out: of a family that the file does not name, perhaps drops",
    );
    tell_skipped(findings.left_out.skipped_attributes);
    tell_count(
        findings.left_out.damaged_messages,
        "netlink record",
        "could only be read in part",
    );
}

/// Attends to the receiver before the next read, and flushes while nothing can be read.
fn attend<R: Receiver>(receiver: &mut R, requests: &Requests, ready: Ready) -> ControlFlow<Stop> {
    if let Some(position) = ready.receiver {
        receiver.attend(Attention::Watched(position), &mut NoDropMonitor)?;
    }
    if receiver.due().is_some_and(|due| Instant::now() >= due) {
        receiver.attend(Attention::Due, &mut NoDropMonitor)?;
    }
    if receiver.wants_attention() {
        receiver.attend(Attention::Wanted, &mut NoDropMonitor)?;
    }
    if ready.source {
        return ControlFlow::Continue(());
    }
    if requests.counts() {
        receiver.report(None);
    }
    // A flush follows in any case.
    requests.flush();
    receiver.flush()
}

/// The drop monitor of a file: there is none.
pub struct NoDropMonitor;

impl DropMonitor for NoDropMonitor {
    fn loss(&mut self) -> Option<Loss> {
        None
    }

    fn disturbance(&mut self) -> Option<Disturbance> {
        None
    }

    fn settings(&mut self) -> Option<Settings> {
        None
    }

    fn switch(&mut self, _: Purpose) -> anyhow::Result<()> {
        Ok(())
    }
}
