//! Passes each record, live or from a file, through the selection to the sinks, and counts it.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::poll::PollFd;

use super::diagnostics::{Severity, tell};
use super::failure::Failure;
use super::output::{NamedSink, Output};
use super::plural::Plural;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::selection::Selected;
use super::standard_streams::watch_pipe;
use super::tally::Tally;
use crate::cli::{Delivery, Flushing};
use crate::filter::Filter;
use crate::net_dm::control::Origins;
use crate::record::{DropRecord, LinkType, Loss};
use crate::sink::{Ending, Rejected, SNAPLEN, Written};
use crate::source::Event;

/// The path of a record from its source to its sinks.
pub struct Pipeline {
    selected: Selected,
    /// Bytes of each packet that are kept; 0 means all.
    trunc_len: usize,
    sinks: Vec<NamedSink>,
    limit: Option<u64>,
    flushing: Flushing,
    counts: Counts,
    /// The verb for the kept records in messages.
    kept: &'static str,
    /// Counts the most frequent locations, if a user reads the end of the capture.
    tally: Option<Tally>,
    has_unflushed: bool,
    /// A pipe that is written to: polling it shows when its reader is gone.
    pipe: Option<OwnedFd>,
}

/// The numbers of records, by the way they were treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kept by the filter.
    pub captured: u64,
    /// Rejected by the filter.
    pub rejected: Rejected,
    /// Kept, but left out because the file's format cannot represent them.
    pub left_out: u64,
    /// Kept, but truncated.
    pub cut: u64,
    /// Kept, but without a time that the file's format can represent.
    pub without_time: u64,
}

/// The message when a capture file ends because standard output was closed.
pub const TEXT_CLOSED: &str =
    "standard output has no reader any more: the capture file ends here too";

impl Pipeline {
    /// Writes the records that `filter` and `origins` select to `output`.
    pub fn new(
        delivery: &Delivery,
        filter: Filter,
        origins: Option<Origins>,
        trunc_len: u32,
        output: Output,
    ) -> Self {
        Self {
            selected: Selected { filter, origins },
            trunc_len: trunc_len as usize,
            limit: delivery.count,
            flushing: delivery.flushing,
            counts: Counts::default(),
            kept: "captured",
            tally: output.text_is_read.then(Tally::default),
            has_unflushed: true,
            pipe: output.pipe,
            sinks: output.file.into_iter().chain(output.text).collect(),
        }
    }

    /// Reports the records as kept instead of captured, because they come from a file.
    #[must_use]
    pub fn keeping(self) -> Self {
        Self {
            kept: "kept",
            ..self
        }
    }

    /// Prints the counts so far and the loss.
    pub fn report(&self, loss: Option<Loss>, link: Option<LinkType>) {
        report(self.kept, self.counts, loss, link);
    }

    /// Notes that the kernel rejects some of the records before they get here.
    pub fn behind_kernel_filter(&mut self) {
        self.counts.rejected = Rejected::InKernel;
    }

    /// Passes one record to the sinks.
    pub fn take_record(&mut self, record: &DropRecord<'_>) -> ControlFlow<Stop> {
        if !self.selected.keeps(record) {
            if let Rejected::Counted(count) = &mut self.counts.rejected {
                *count += 1;
            }
            return ControlFlow::Continue(());
        }
        let truncated;
        let record = if self.trunc_len == 0 {
            record
        } else {
            let data = &record.data[..record.data.len().min(self.trunc_len)];
            truncated = DropRecord { data, ..*record };
            &truncated
        };
        self.has_unflushed = true;
        let writes_two = self.sinks.len() > 1;
        for NamedSink { name, sink } in &mut self.sinks {
            match sink.write(record) {
                Ok(Written::Yes) => {}
                Ok(Written::Cut) => self.counts.cut += 1,
                Ok(Written::LeftOut) => self.counts.left_out += 1,
                Ok(Written::LacksTime) => self.counts.without_time += 1,
                Err(error) => return ControlFlow::Break(stop(name, error, writes_two)),
            }
        }
        self.counts.captured += 1;
        if let Some(tally) = &mut self.tally {
            tally.count(record);
        }
        if self.flushing == Flushing::EveryPacket {
            self.flush()?;
        }
        if self.limit == Some(self.counts.captured) {
            return ControlFlow::Break(Stop::Count);
        }
        ControlFlow::Continue(())
    }

    /// Ends the output.
    pub fn finish(&mut self, ending: &Ending) -> ControlFlow<Stop> {
        self.each(|sink| sink.sink.finish(ending))
    }

    fn each(&mut self, mut act: impl FnMut(&mut NamedSink) -> io::Result<()>) -> ControlFlow<Stop> {
        let writes_two = self.sinks.len() > 1;
        for sink in &mut self.sinks {
            if let Err(error) = act(sink) {
                return ControlFlow::Break(stop(&sink.name, error, writes_two));
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns the most frequent locations, if they were counted.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_ref()
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Receiver for Pipeline {
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop> {
        match event {
            Event::Drop(record) => self.take_record(record),
            Event::Rejected(count) => {
                if let Rejected::Counted(rejected) = &mut self.counts.rejected {
                    *rejected += count;
                }
                ControlFlow::Continue(())
            }
            // The sources of a capture send no counts.
            Event::Count { .. }
            | Event::Drops { .. }
            | Event::Unnamed { .. }
            | Event::EndOfCounts { .. } => ControlFlow::Continue(()),
        }
    }

    fn flush(&mut self) -> ControlFlow<Stop> {
        if !self.has_unflushed {
            return ControlFlow::Continue(());
        }
        self.has_unflushed = false;
        self.each(|sink| sink.sink.flush())
    }

    fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>) {
        watch_pipe(self.pipe.as_ref(), descriptors);
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn attend(&mut self, _: Attention, _: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        ControlFlow::Break(Stop::Closed)
    }

    fn report(&mut self, loss: Option<Loss>) {
        Self::report(self, loss, None);
    }
}

fn stop(name: &str, error: io::Error, writes_two: bool) -> Stop {
    if writes_two && error.kind() == io::ErrorKind::BrokenPipe {
        return Stop::TextClosed;
    }
    output_failed(name, error)
}

/// Returns the reason to stop after `name` could not be written to.
pub fn output_failed(name: &str, error: io::Error) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Stop::Closed;
    }
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(
            "the file is readable, but lacks up to 256 kB at its end; write to another file system, or capture less with -t or -c",
        ),
        io::ErrorKind::FileTooLarge => Some(
            "the size of files is limited (`ulimit -f`, LimitFSIZE= in a systemd unit), but the file up to there is readable; raise the limit, or capture less with -t or -c",
        ),
        _ => None,
    };
    let error = anyhow::Error::new(error).context(format!("cannot write to {name}"));
    Stop::Failed(Failure::new(error, hint))
}

/// Prints the closing lines in the style of tcpdump. `kept` is the verb for the records that the
/// filter kept.
pub fn report(kept: &str, counts: Counts, loss: Option<Loss>, link: Option<LinkType>) {
    let rejected = match counts.rejected {
        Rejected::Counted(count) => {
            format!("{} rejected by the filter", Plural(count, "packet"))
        }
        Rejected::InKernel => "rejected by the filter: not counted (filtered in the kernel)".into(),
    };
    let captured = format!("{} {kept}", Plural(counts.captured, "packet"));
    tell(Severity::Note, &format!("{captured}\n{rejected}"));
    let severity = match loss {
        None
        | Some(Loss {
            queue: 0,
            socket: 0,
            perf: 0,
            interrupts: 0,
        }) => Severity::Note,
        Some(_) => Severity::Warning,
    };
    let of_loss = loss.into_iter().flat_map(loss_lines);
    let of_loss: Vec<_> = of_loss.chain(loss_hints(loss)).collect();
    tell_lines(severity, &of_loss);
    tell_lines(Severity::Warning, &left_out_lines(counts, link));
}

fn tell_lines(severity: Severity, lines: &[String]) {
    if !lines.is_empty() {
        tell(severity, &lines.join("\n"));
    }
}

/// Returns lines about kept records that are missing in the output.
fn left_out_lines(counts: Counts, link: Option<LinkType>) -> Vec<String> {
    let mut lines = Vec::new();
    if counts.left_out > 0 {
        lines.push(match link {
            Some(link) => format!(
                "{} of them left out, because link type {link} cannot hold them",
                counts.left_out
            ),
            None => format!(
                "{} of them left out, because the kernel's message format cannot hold them",
                counts.left_out
            ),
        });
        lines.push(match link {
            Some(LinkType::LINUX_SLL2) | None => "hint: --format pcapng without --link-type holds every packet".into(),
            Some(_) => {
                "hint: --link-type sll2 holds Ethernet and raw IP, --format pcapng without --link-type everything"
                    .into()
            }
        });
    }
    if counts.without_time > 0 {
        lines.push(format!(
            "{} of them left out, because this format cannot hold their time",
            counts.without_time
        ));
        if counts.left_out == 0 {
            lines.push("hint: --format pcapng without --link-type holds every packet".into());
        }
    }
    if counts.cut > 0 {
        lines.push(format!(
            "{} of them cut to {SNAPLEN} bytes, the most that other programs read of a packet",
            counts.cut
        ));
    }
    lines
}

fn loss_lines(loss: Loss) -> impl Iterator<Item = String> {
    let Loss {
        queue,
        socket,
        perf,
        interrupts,
    } = loss;
    let places = [
        (queue, "the kernel's queue", true),
        (socket, "the socket buffer", true),
        // Only eBPF has them.
        (perf, "the perf buffers", perf > 0),
        (interrupts, "interrupts", interrupts > 0),
    ];
    let shown = places.into_iter().filter(|(.., is_shown)| *is_shown);
    shown.map(|(lost, place, _)| format!("{} lost in {place}", Plural(lost, "packet")))
}

fn loss_hints(loss: Option<Loss>) -> impl Iterator<Item = String> {
    let Loss {
        queue,
        socket,
        perf,
        interrupts: _,
    } = loss.unwrap_or_default();
    let hints = [
        (queue, "hint: -l N makes the kernel's queue longer"),
        (socket, "hint: -b BYTES makes the socket buffer larger"),
        (perf, "hint: -b BYTES makes the perf buffers larger"),
    ];
    let hints = hints.into_iter().filter(|(lost, _)| *lost > 0);
    hints.map(|(_, line)| line.to_owned())
}

/// Prints the loss, with a hint.
pub fn report_loss(writer: &mut impl Write, loss: Option<Loss>) {
    let lines = loss.into_iter().flat_map(loss_lines);
    for line in lines.chain(loss_hints(loss)) {
        let _ = writeln!(writer, "{line}");
    }
}

/// Prints the most frequent reasons and locations.
pub fn report_tally(tally: Option<&Tally>) {
    if let Some(tally) = tally {
        let _ = write!(io::stderr(), "{tally}");
    }
}
