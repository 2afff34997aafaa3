//! Reading a capture file, into any of the outputs.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::rc::Rc;

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::output::{Plan, shown, stdout_is_terminal};
use super::pipeline::{Counts, Pipeline, Stop, TEXT_CLOSED, report, report_tally};
use super::signals::Requests;
use super::source_lines::Finder;
use super::{Exit, Failure, Plural, hint, say, selection};
use crate::cli::{Read, Target};
use crate::record::Cause;
use crate::sink::Ending;
use crate::source::savefile::{OpenError, Remarks, Savefile};

/// Shared between the reader, which flushes when it has to wait, and the loop that fills it.
#[derive(Default)]
struct Destination {
    /// Known once the file's header is read.
    pipeline: Option<Pipeline>,
    /// Why a flush failed.
    stop: Option<Stop>,
}

/// Reads a file to its end.
pub fn read(command: &Read) -> Result<Exit, Failure> {
    let plan = Plan::new(&command.delivery, stdout_is_terminal())?;
    let filter = selection::filter(&command.delivery.selection)?;
    let (name, file) = open(&command.input)?;
    plan.refuse_input(&file)?;
    let requests = Requests::listen(|| ()).context("cannot take over the signals");
    let requests = Rc::new(requests?);
    let destination = Rc::new(RefCell::new(Destination::default()));
    let input = PatientReader {
        file,
        requests: Rc::clone(&requests),
        destination: Rc::clone(&destination),
    };
    let mut savefile = match Savefile::open(input) {
        Ok(savefile) => savefile,
        // The end was ours, not the file's.
        Err(_) if requests.end() => {
            report("kept", Counts::default(), None, None);
            return Ok(Exit::Success);
        }
        Err(error) => return Err(unreadable(&name, error)),
    };

    let host = savefile.remarks().host.clone();
    let files = command.delivery.source_lines.as_ref();
    let finder = files
        .map(|files| Finder::of_capture(&host, files))
        .transpose()?;
    if let Some(finder) = &finder {
        learn_places(&command.input, finder);
    }
    plan.announce(&format!("reading {name}"));
    let output = plan.open(
        &host,
        savefile.family(),
        finder.as_ref().map(Finder::shared),
    )?;
    destination.borrow_mut().pipeline = Some(Pipeline::new(
        &command.delivery,
        filter,
        command.origins,
        command.trunc_len,
        output,
    ));
    let result = savefile.for_each(|record| {
        if requests.end() {
            return ControlFlow::Break(None);
        }
        match destination.borrow_mut().pipeline.as_mut() {
            Some(pipeline) => pipeline.take(record).map_break(Some),
            None => ControlFlow::Break(None),
        }
    });

    let remarks = savefile.remarks();
    let Destination { pipeline, stop } = destination.take();
    let mut exit = Exit::Success;
    let mut failure = None;
    match result {
        Ok(ControlFlow::Break(Some(Stop::Failed(error)))) => failure = Some(error),
        Ok(ControlFlow::Break(Some(Stop::TextClosed))) => say(TEXT_CLOSED),
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
    if let Some(Stop::Failed(error)) = stop {
        failure.get_or_insert(error);
    }
    if let Some(mut pipeline) = pipeline {
        let counts = pipeline.counts();
        let ending = Ending {
            loss: remarks.loss,
            rejected: counts.rejected,
            period: remarks.period,
        };
        if let ControlFlow::Break(Stop::Failed(error)) = pipeline.finish(&ending) {
            failure.get_or_insert(error);
        }
        report("kept", counts, remarks.loss, plan.link_type());
        report_tally(pipeline.tally());
    }
    tell(remarks);
    if let Some(finder) = finder {
        finder.tell();
    }
    if remarks.damaged_messages > 0 {
        exit = Exit::Failure;
    }
    failure.map_or(Ok(exit), Err)
}

/// Reads the file once before: any whole place in it tells where the kernel was loaded, and a place
/// that was cut can be found then. What is read from a pipe is there but once.
fn learn_places(input: &Target, finder: &Finder) {
    let Target::File(path) = input else { return };
    let Some(file) = File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|data| data.is_file()))
    else {
        return;
    };
    let Ok(mut savefile) = Savefile::open(file) else {
        return;
    };
    // Damage is told when the file is read for good.
    let _ = savefile.for_each(|record| {
        if let Cause::Software { location, .. } = record.cause {
            finder.learn(location);
        }
        ControlFlow::<()>::Continue(())
    });
}

fn open(input: &Target) -> Result<(String, File), Failure> {
    let (name, file) = match input {
        Target::Standard => (
            "standard input".into(),
            io::stdin().as_fd().try_clone_to_owned().map(File::from),
        ),
        Target::File(path) => (shown(path), File::open(path)),
    };
    let file = file.with_context(|| format!("cannot open {name}"));
    Ok((name, file?))
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

/// What the user should know of the file.
fn tell(remarks: &Remarks) {
    if remarks.summaries > 0 {
        say(format_args!(
            "{} left out: {}, without packets",
            Plural(remarks.summaries, "summary alert"),
            Plural(remarks.summary_drops, "counted drop")
        ));
        hint(
            "summary mode counts drops for each place; packets are captured in packet mode, as dwdump -w does",
        );
    }
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
    if remarks.skipped_attributes > 0 {
        say(format_args!(
            "{} skipped: unknown to this version",
            Plural(remarks.skipped_attributes, "attribute")
        ));
    }
    if remarks.damaged_messages > 0 {
        say(format_args!(
            "{} could not be read whole",
            Plural(remarks.damaged_messages, "netlink record")
        ));
    }
}

/// A reader that hands on what was written before it waits, and ends when the run is to end.
struct PatientReader {
    file: File,
    requests: Rc<Requests>,
    destination: Rc<RefCell<Destination>>,
}

impl io::Read for PatientReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut timeout = PollTimeout::ZERO;
        loop {
            let mut watched = [
                PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.requests.as_fd(), PollFlags::POLLIN),
            ];
            match nix::poll::poll(&mut watched, timeout) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.requests.end() {
                return Ok(0);
            }
            if watched[0].any() == Some(true) {
                return self.file.read(buffer);
            }
            self.requests.clear();
            let mut destination = self.destination.borrow_mut();
            if let Some(pipeline) = destination.pipeline.as_mut() {
                if self.requests.counts() {
                    report("kept", pipeline.counts(), None, None);
                }
                self.requests.flush();
                if let ControlFlow::Break(stop) = pipeline.flush() {
                    destination.stop = Some(stop);
                    return Ok(0);
                }
            }
            timeout = PollTimeout::NONE;
        }
    }
}
