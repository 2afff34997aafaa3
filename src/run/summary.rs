//! Counts drops and prints the counts of each interval, as lines or as JSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::poll::PollFd;

use super::beginning::Beginning;
use super::closing::{Closing, LastSecond, Totals};
use super::confinement::{Attendance, Confiner, Remaining, tell_refusals};
use super::diagnostics::{hint, say};
use super::event_filter::EventFilter;
use super::failure::{Exit, Failure};
use super::left_out::tell_left_out;
use super::live::{Needs, Opening, ReceiverNeeds};
use super::offline::{self, CaptureInput};
use super::pipeline::output_failed;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::signals::Requests;
use super::standard_streams::{pipe, standard_output, stdout_is_terminal, watch_pipe};
use super::{screen, selection, table};
use crate::cli::{CaptureFile, Counting, Lines, Live, Role, Subject, Summary};
use crate::filter::Filter;
use crate::net_dm::control::{AlertMode, Origins};
use crate::record::{Loss, Timestamp};
use crate::sink::Detail;
use crate::sink::folded::write_folded;
use crate::sink::summary::{write_lines, write_object};
use crate::source::Event;
use crate::summary::GroupedCounts;

/// The interval at which counts are written unless the user chose another.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts drops until a signal, a limit or the end of the file.
pub fn summary(command: &Summary) -> Result<Exit, Failure> {
    if shows_table(command) {
        return match &command.subject {
            Subject::Live(live) => table::show_live(command, live, |beginning, purpose| {
                announce(beginning, command, purpose.is_counted_by_ebpf(live));
            }),
            Subject::File(file) => table::show_file(command, file),
        };
    }
    let filter = selection::filter(&command.selection)?;
    match &command.subject {
        Subject::Live(live) => count_live(command, live, filter),
        Subject::File(file) => count_file(command, file, filter),
    }
}

/// Returns whether the live table is shown: standard output is a terminal, and no option asks for
/// lines.
fn shows_table(command: &Summary) -> bool {
    if command.is_folded || command.lines != Lines::Auto || !stdout_is_terminal() {
        return false;
    }
    let obstacle = screen::obstacle();
    if let Some(obstacle) = obstacle {
        say(format_args!("{obstacle}: printing counts as lines"));
        hint("a table needs a terminal for input and output, and TERM set; --print chooses lines");
    }
    obstacle.is_none()
}

fn count_live(command: &Summary, live: &Live, filter: Filter) -> Result<Exit, Failure> {
    let needs = Needs::of_summary(command, live, &filter);
    let confiner = Confiner::new(
        &command.relinquishment,
        Attendance::Unattended,
        live.detail,
        None,
    )?;
    let opening = Opening::new(live, Some(&confiner))?;
    let mut counter = Counter::new(command, live.origins, filter)?;
    let mut session = opening.begin(live, needs, None, |beginning| {
        announce(beginning, command, needs.purpose.is_counted_by_ebpf(live));
    })?;
    if let Some(name) = &command.selection.interface {
        selection::warn_of_unknown_interface(name);
    }
    session.confine(&confiner, ReceiverNeeds::OpenFiles(Vec::new()))?;
    let last_second = match (command.counting, live.role) {
        (Counting::Kernel, Role::Owner { .. }) if !session.is_tracing() => LastSecond::Discarded,
        _ => LastSecond::Counted,
    };
    let interval = match command.interval {
        _ if command.is_folded => Duration::MAX,
        interval => interval.unwrap_or(INTERVAL),
    };
    counter.clock = IntervalTime::Real {
        interval,
        began: Instant::now(),
    };
    let end = session.run(&mut counter);
    let finished = session.finish(end, &mut counter, |counter, loss, findings, _| {
        let finished = counter.finish();
        counter.tell(loss, last_second);
        tell_left_out(findings);
        finished
    });
    tell_refusals();
    finished.failure.map_or(Ok(finished.exit), Err)
}

fn announce(beginning: &Beginning, command: &Summary, ebpf_counts: bool) {
    let by = command.grouping;
    match (beginning, command.counting) {
        (Beginning::Started(started), counting) => {
            let (drops, remark) = (started.drops(), started.remark());
            let is_in_kernel = match counting {
                _ if started.is_by_ebpf() => ebpf_counts,
                Counting::Kernel => true,
                Counting::Packets => false,
            };
            let place = if is_in_kernel {
                "in the kernel"
            } else {
                "packet by packet"
            };
            say(format_args!("counting {drops} by {by}, {place}{remark}"));
            if started.without_hardware {
                say("this kernel does not report hardware drops: counting software drops only");
            }
        }
        (Beginning::Listening(settings), counting) => {
            let is_summary = settings.mode == AlertMode::Summary;
            let what = if is_summary { "counts" } else { "packets" };
            say(format_args!(
                "listening to another program's monitoring, which sends {what}: counting by {by}"
            ));
            if is_summary && counting == Counting::Packets {
                say("the kernel is in summary mode: only the locations of drops are known");
                hint(
                    "the program that started the monitoring has to choose packet mode, as `dwdump --by` does",
                );
            }
        }
    }
}

fn count_file(command: &Summary, file: &CaptureFile, filter: Filter) -> Result<Exit, Failure> {
    let input = CaptureInput::open(file)?;
    let mut requests = Requests::listen(|| ())?;
    let detail = command.text.detail;
    Confiner::new(&command.relinquishment, Attendance::Attended, detail, None)?
        .confine(&mut requests, &Remaining::of_reading(Vec::new(), None))?;
    let name = input.name.clone();
    let finished = input.read(&requests, |_, _| {
        say(format_args!(
            "reading {name}, counting by {}",
            command.grouping
        ));
        let mut counter = Counter::new(command, file.origins, filter)?;
        counter.clock = IntervalTime::Recorded {
            interval: command.interval,
            began: None,
            last: Timestamp::default(),
        };
        Ok(counter)
    })?;
    let mut failure = finished.failure;
    if let Some((mut counter, findings)) = finished.read {
        if let ControlFlow::Break(Stop::Failed(error)) = counter.finish() {
            failure.get_or_insert(error);
        }
        counter.tell(findings.loss, LastSecond::Counted);
        offline::tell(&findings);
    }
    tell_refusals();
    failure.map_or(Ok(finished.exit), Err)
}

/// Counts drops, and writes the counts when an interval ends.
struct Counter {
    counts: GroupedCounts,
    event_filter: EventFilter,
    form: Form,
    writer: BufWriter<File>,
    pipe: Option<OwnedFd>,
    clock: IntervalTime,
    limit: Option<u64>,
    /// The number of intervals that were written. After a single one the totals are not repeated.
    intervals: u64,
}

/// The format of the counts on standard output.
#[derive(Clone, Copy)]
enum Form {
    Lines(Detail),
    Json,
    /// Once, at the end.
    Folded,
}

/// The source of time for the intervals.
enum IntervalTime {
    /// This machine's clock.
    Real { interval: Duration, began: Instant },
    /// The times of the drops in a file. Without an interval the whole file is one.
    Recorded {
        interval: Option<Duration>,
        began: Option<Timestamp>,
        last: Timestamp,
    },
}

impl Counter {
    fn new(command: &Summary, origins: Option<Origins>, filter: Filter) -> Result<Self, Failure> {
        let stdout = standard_output()?;
        Ok(Self {
            counts: GroupedCounts::new(command.grouping),
            event_filter: EventFilter::new(filter, origins),
            form: match command.lines {
                _ if command.is_folded => Form::Folded,
                Lines::Json => Form::Json,
                Lines::Auto | Lines::Text => Form::Lines(command.text.detail),
            },
            pipe: pipe(&stdout),
            writer: BufWriter::new(stdout),
            clock: IntervalTime::Real {
                interval: INTERVAL,
                began: Instant::now(),
            },
            limit: command.count,
            intervals: 0,
        })
    }

    /// Writes the counts of the interval that ends at `time`, and begins the next one.
    fn end_interval(&mut self, time: Timestamp, length: Duration) -> ControlFlow<Stop> {
        let counts = &mut self.counts;
        let written = match self.form {
            Form::Lines(detail) => write_lines(&mut self.writer, counts, detail),
            Form::Json => write_object(&mut self.writer, counts, time, length),
            Form::Folded => write_folded(&mut self.writer, counts),
        };
        counts.end_interval();
        self.intervals += 1;
        match written.and_then(|()| self.writer.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(output_failed("standard output", error)),
        }
    }

    /// Ends the intervals of a file before the time of a drop. The drops of several CPUs are not quite
    /// in order; one that comes late is counted in the current interval.
    fn advance(&mut self, time: Option<Timestamp>) -> ControlFlow<Stop> {
        let Some(time) = time else {
            return ControlFlow::Continue(());
        };
        let IntervalTime::Recorded {
            interval,
            began,
            last,
        } = &mut self.clock
        else {
            return ControlFlow::Continue(());
        };
        *last = time.max(*last);
        let start = *began.get_or_insert(time);
        let Some(interval) = *interval else {
            return ControlFlow::Continue(());
        };
        let length = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let passed = time.0.saturating_sub(start.0) / length.max(1);
        if passed == 0 {
            return ControlFlow::Continue(());
        }
        let end = Timestamp(start.0.saturating_add(length));
        // Intervals without drops are not written, because a file may span years.
        *began = Some(Timestamp(
            start.0.saturating_add(passed.saturating_mul(length)),
        ));
        self.end_interval(end, interval)
    }

    /// Writes the counts since the last interval.
    fn finish(&mut self) -> ControlFlow<Stop> {
        if self.counts.sum().current == 0 {
            return ControlFlow::Continue(());
        }
        match self.clock {
            IntervalTime::Real { began, .. } => {
                self.end_interval(Timestamp::now(), began.elapsed())
            }
            IntervalTime::Recorded { began, last, .. } => {
                let began = began.unwrap_or(last);
                let length = Duration::from_nanos(last.0.saturating_sub(began.0));
                self.end_interval(last, length)
            }
        }
    }

    /// Prints the closing lines.
    fn tell(&self, loss: Option<Loss>, last_second: LastSecond) {
        let closing = Closing {
            counts: &self.counts,
            event_filter: &self.event_filter,
            totals: if self.intervals > 1 {
                Totals::Shown
            } else {
                Totals::LeftOut
            },
            last_second,
        };
        closing.tell(loss);
    }
}

impl Receiver for Counter {
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop> {
        match event {
            Event::Drop(record) => self.advance(record.time)?,
            Event::Count { time, .. } => self.advance(time)?,
            // Live, where the clock ends the intervals.
            Event::Rejected(_)
            | Event::Drops { .. }
            | Event::Unnamed { .. }
            | Event::EndOfCounts { .. } => {}
        }
        if let Some(counted) = self.event_filter.select(event) {
            self.counts.count(&counted);
        }
        if self
            .limit
            .is_some_and(|limit| self.event_filter.alerts >= limit)
        {
            return ControlFlow::Break(Stop::Count);
        }
        ControlFlow::Continue(())
    }

    /// Does nothing: counts are written at the end of each interval.
    fn flush(&mut self) -> ControlFlow<Stop> {
        ControlFlow::Continue(())
    }

    fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>) {
        watch_pipe(self.pipe.as_ref(), descriptors);
    }

    fn due(&self) -> Option<Instant> {
        match self.clock {
            IntervalTime::Real { interval, began } => began.checked_add(interval),
            IntervalTime::Recorded { .. } => None,
        }
    }

    fn attend(&mut self, why: Attention, _: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        let IntervalTime::Real { interval, began } = &mut self.clock else {
            return ControlFlow::Break(Stop::Closed);
        };
        if matches!(why, Attention::Watched(_)) {
            return ControlFlow::Break(Stop::Closed);
        }
        let length = began.elapsed();
        // The interval is longer if the machine was too busy; the next ones end at the planned
        // times.
        let passed = length.as_nanos() / interval.as_nanos().max(1);
        *began += *interval * u32::try_from(passed).unwrap_or(u32::MAX);
        self.end_interval(Timestamp::now(), length)
    }

    fn report(&mut self, loss: Option<Loss>) {
        self.tell(loss, LastSecond::Counted);
    }
}
