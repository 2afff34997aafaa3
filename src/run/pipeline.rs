//! Passes each record, live or from a file, through the selection to the sinks, and counts it.

mod counts;
mod interval_counts;

pub use counts::Counts;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::poll::PollFd;

use counts::left_out_lines;
use interval_counts::IntervalCounts;

use super::diagnostics::{Severity, note, standard_error, tell};
use super::failure::Failure;
use super::output::{NamedSink, Output, PacketFile};
use super::output_file::cannot_create;
use super::plural::Plural;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::ring::{Missing, Ring, RingError, Turn};
use super::selection::Selected;
use super::standard_streams::watch_pipe;
use super::tally::Tally;
use super::trigger::{Trigger, TriggerCounts};
use crate::cli::{Delivery, Flushing};
use crate::filter::Filter;
use crate::net_dm::control::Origins;
use crate::record::{DropRecord, LinkType, Loss};
use crate::sink::{Ending, Rejected, Sink};
use crate::source::Event;

/// The path of a record from its source to its sinks.
pub struct Pipeline {
    selected: Selected,
    /// Bytes of each packet that are kept; 0 means all.
    trunc_len: usize,
    file: Option<PacketFile>,
    text: Option<NamedSink>,
    trigger: Option<Box<Trigger>>,
    /// The records that the trigger did not keep.
    forgotten: u64,
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
    /// Lines of counts at regular intervals.
    interval_counts: Option<IntervalCounts>,
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
            interval_counts: None,
            file: output.file,
            text: output.text,
            trigger: None,
            forgotten: 0,
        }
    }

    /// Keeps only the records around those that the trigger matches.
    #[must_use]
    pub fn around(self, trigger: Option<Trigger>) -> Self {
        Self {
            trigger: trigger.map(Box::new),
            ..self
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

    /// Prints a line of counts at the end of each interval.
    #[must_use]
    pub fn counting_each(self, interval: Option<Duration>) -> Self {
        Self {
            interval_counts: interval.map(IntervalCounts::new),
            ..self
        }
    }

    /// Prints a line of counts if its interval is over.
    fn tell_interval(&mut self, monitor: &mut dyn DropMonitor) {
        let now = Instant::now();
        if let Some(lines) = &mut self.interval_counts
            && now >= lines.due()
        {
            note(lines.line(now, self.counts, monitor.loss()));
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
        let Some(mut trigger) = self.trigger.take() else {
            return self.deliver(record);
        };
        let flow = trigger.take(record, |record| self.deliver(record));
        self.forgotten = trigger.forgotten();
        self.trigger = Some(trigger);
        flow
    }

    fn deliver(&mut self, record: &DropRecord<'_>) -> ControlFlow<Stop> {
        self.has_unflushed = true;
        let (writes_two, rejected) = (self.writes_two(), self.rejected());
        if let Some(file) = &mut self.file {
            let written = match file {
                PacketFile::One(NamedSink { name, sink }) => {
                    let written = sink.write(record);
                    written.map_err(|error| stop(name, error, writes_two))
                }
                PacketFile::Ring(ring) => ring.write(record, rejected).map_err(ring_failed),
            };
            match written {
                Ok(written) => self.counts.add(written),
                Err(stop) => return ControlFlow::Break(stop),
            }
        }
        if let Some(NamedSink { name, sink }) = &mut self.text {
            match sink.write(record) {
                Ok(written) => self.counts.add(written),
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

    fn writes_two(&self) -> bool {
        self.file.is_some() && self.text.is_some()
    }

    /// Returns the number of records that are in no output because they were not asked for.
    fn rejected(&self) -> Rejected {
        match self.counts.rejected {
            Rejected::Counted(count) => Rejected::Counted(count + self.forgotten),
            Rejected::InKernel => Rejected::InKernel,
        }
    }

    /// The same at the end, when no record is kept any more because of one that comes.
    pub fn rejected_in_all(&mut self) -> Rejected {
        if let Some(trigger) = &mut self.trigger {
            trigger.forget_all();
            self.forgotten = trigger.forgotten();
        }
        self.rejected()
    }

    /// Returns what the trigger kept and did not keep.
    pub fn trigger_counts(&self) -> Option<TriggerCounts> {
        self.trigger.as_ref().map(|trigger| trigger.counts())
    }

    /// Ends the output.
    pub fn finish(&mut self, ending: &Ending) -> ControlFlow<Stop> {
        self.each(|sink| sink.finish(ending), |ring| ring.finish(ending))
    }

    fn each(
        &mut self,
        mut act: impl FnMut(&mut dyn Sink) -> io::Result<()>,
        act_on_ring: impl FnOnce(&mut Ring) -> Result<(), RingError>,
    ) -> ControlFlow<Stop> {
        let writes_two = self.writes_two();
        let mut act = |NamedSink { name, sink }: &mut NamedSink| {
            act(&mut **sink).map_err(|error| stop(name, error, writes_two))
        };
        let file = match &mut self.file {
            None => Ok(()),
            Some(PacketFile::One(sink)) => act(sink),
            Some(PacketFile::Ring(ring)) => act_on_ring(ring).map_err(ring_failed),
        };
        let done = file.and_then(|()| self.text.as_mut().map_or(Ok(()), act));
        done.map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn ring(&mut self) -> Option<&mut Ring> {
        match &mut self.file {
            Some(PacketFile::Ring(ring)) => Some(ring),
            _ => None,
        }
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
        self.each(|sink| sink.flush(), Ring::flush)
    }

    fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>) {
        watch_pipe(self.pipe.as_ref(), descriptors);
    }

    fn due(&self) -> Option<Instant> {
        let ring = match &self.file {
            Some(PacketFile::Ring(ring)) => ring.due(),
            _ => None,
        };
        let counts = self.interval_counts.as_ref().map(IntervalCounts::due);
        ring.into_iter().chain(counts).min()
    }

    fn wants_attention(&self) -> bool {
        matches!(&self.file, Some(PacketFile::Ring(ring)) if ring.has_left_a_file())
    }

    fn attend(&mut self, why: Attention, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        if matches!(why, Attention::Watched(_)) {
            return ControlFlow::Break(Stop::Closed);
        }
        self.tell_interval(monitor);
        let rejected = self.rejected();
        let Some(ring) = self.ring() else {
            return ControlFlow::Continue(());
        };
        let missing = Missing {
            loss: monitor.loss(),
            disturbance: monitor.disturbance(),
        };
        let turn = match why {
            Attention::Hangup => ring.turn_early(missing, rejected),
            Attention::Watched(_) | Attention::Due | Attention::Wanted => {
                ring.attend(Instant::now(), missing, rejected)
            }
        };
        match turn {
            Ok(Turn::Next) => ControlFlow::Continue(()),
            Ok(Turn::End) => ControlFlow::Break(Stop::Files),
            Err(error) => ControlFlow::Break(ring_failed(error)),
        }
    }

    fn report(&mut self, loss: Option<Loss>) {
        Self::report(self, loss, None);
    }
}

fn ring_failed(error: RingError) -> Stop {
    match error {
        RingError::Write(name, error) => output_failed(&name, error),
        RingError::Create(name, error) => Stop::Failed(cannot_create(&name, error)),
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

fn loss_lines(loss: Loss) -> impl Iterator<Item = String> {
    let places = loss.places();
    places.map(|(place, lost)| format!("{} lost in {place}", Plural(lost, "packet")))
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
        let _ = write!(standard_error(), "{tally}");
    }
}
