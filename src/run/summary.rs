//! Counting drops: in lines or JSON, an interval after the other.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags};

use super::live::{Beginning, Purpose, Session};
use super::offline::{self, Input};
use super::output::{pipe, standard_output};
use super::pipeline::{Stop, output_failed, report_loss};
use super::receiver::{Attention, Machine, Receiver};
use super::signals::Requests;
use super::{Exit, Failure, Plural, hint, say, selection};
use crate::cli::{Counting, Lines, Live, Subject, Summary, Target};
use crate::filter::Filter;
use crate::net_dm::control::{AlertMode, Origins};
use crate::record::{Basis, Cause, DropRecord, Link, LinkType, Loss, Timestamp};
use crate::sink::Detail;
use crate::sink::summary::{Elsewhere, Where, write_lines, write_object};
use crate::source::Event;
use crate::summary::{Counted, Grouping, Key, Order, Table};

/// Bytes of each packet that are counted: headers, those in a tunnel too.
const TRUNC_LEN: u32 = 256;
/// How often the counts are written where the user did not say.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows of the totals at the end.
const SHOWN: usize = 20;

/// Counts until told to stop, or to the end of the file.
pub fn summary(command: &Summary) -> Result<Exit, Failure> {
    let filter = selection::filter(&command.selection)?;
    match &command.subject {
        Subject::Live(live) => count_live(command, live, filter),
        Subject::File { input, origins } => count_file(command, input, *origins, filter),
    }
}

fn count_live(command: &Summary, live: &Live, filter: Filter) -> Result<Exit, Failure> {
    let purpose = match command.counting {
        Counting::Kernel => Purpose::Counts,
        Counting::Packets => Purpose::Packets(TRUNC_LEN),
    };
    let mut session = Session::begin(live, purpose, None, |beginning| {
        announce(beginning, command);
    })?;
    if let Some(name) = &command.selection.interface {
        selection::warn_of_unknown_interface(name);
    }
    let interval = command.interval.unwrap_or(INTERVAL);
    let mut counter = Counter::new(command, live.origins, filter)?;
    counter.clock = Clock::Real {
        interval,
        began: Instant::now(),
    };
    let end = session.run(&mut counter);
    let finished = session.finish(end, &mut counter, |counter, loss, remarks| {
        let finished = counter.finish();
        counter.tell(loss);
        if remarks.damaged_messages > 0 {
            say(format_args!(
                "{} could not be read",
                Plural(remarks.damaged_messages, "damaged message")
            ));
        }
        finished
    });
    finished.failure.map_or(Ok(finished.exit), Err)
}

fn announce(beginning: Beginning, command: &Summary) {
    let by = command.grouping;
    match (beginning, command.counting) {
        (
            Beginning::Started {
                origins,
                without_hardware,
            },
            counting,
        ) => {
            match counting {
                Counting::Kernel => say(format_args!(
                    "counting {origins} drops by {by}, in the kernel"
                )),
                Counting::Packets => say(format_args!(
                    "counting {origins} drops by {by}, packet by packet"
                )),
            }
            if without_hardware {
                say("this kernel has no hardware drops: counting software drops alone");
            }
        }
        (Beginning::Listening(settings), counting) => {
            let is_summary = settings.mode == AlertMode::Summary;
            let what = if is_summary { "counts" } else { "packets" };
            say(format_args!(
                "listening to somebody else's monitoring, which sends {what}: counting by {by}"
            ));
            if is_summary && counting == Counting::Packets {
                say("the kernel is in summary mode: only the places of drops are known");
                hint(
                    "whoever started the monitoring has to choose packet mode, as dwdump --by does",
                );
            }
        }
    }
}

fn count_file(
    command: &Summary,
    input: &Target,
    origins: Option<Origins>,
    filter: Filter,
) -> Result<Exit, Failure> {
    let input = Input::open(input)?;
    let requests = Requests::listen(|| ()).context("cannot take over the signals")?;
    let name = input.name.clone();
    let finished = input.read(requests, |_, _| {
        say(format_args!(
            "reading {name}, counting by {}",
            command.grouping
        ));
        let mut counter = Counter::new(command, origins, filter)?;
        counter.clock = Clock::Recorded {
            interval: command.interval,
            began: None,
            last: Timestamp::default(),
        };
        Ok(counter)
    })?;
    let mut failure = finished.failure;
    if let Some((mut counter, remarks)) = finished.read {
        if let ControlFlow::Break(Stop::Failed(error)) = counter.finish() {
            failure.get_or_insert(error);
        }
        counter.tell(remarks.loss);
        offline::tell(&remarks);
    }
    failure.map_or(Ok(finished.exit), Err)
}

/// Counts, and writes them when an interval ends.
struct Counter {
    tallied: Tallied,
    form: Form,
    writer: BufWriter<File>,
    pipe: Option<OwnedFd>,
    clock: Clock,
    limit: Option<u64>,
    counting: Counting,
    /// Whether the totals were the only interval, and are not worth saying again.
    intervals: u64,
}

/// What goes to standard output.
#[derive(Clone, Copy)]
enum Form {
    Lines(Detail),
    Json,
}

/// Whose time an interval is measured in.
enum Clock {
    /// This machine's.
    Real { interval: Duration, began: Instant },
    /// The drops'. Without an interval the file is one.
    Recorded {
        interval: Option<Duration>,
        began: Option<Timestamp>,
        last: Timestamp,
    },
}

/// What was counted, and what was not.
pub struct Tallied {
    /// The counts.
    pub table: Table,
    /// Which of them.
    pub filter: Filter,
    origins: Option<Origins>,
    /// Drops that the filter did not keep.
    pub rejected: u64,
    /// Summary alerts, and packets that were kept.
    pub alerts: u64,
    /// Summary alerts that had no room for another place.
    pub full_alerts: u64,
}

impl Tallied {
    /// Nothing yet.
    pub fn new(grouping: Grouping, filter: Filter, origins: Option<Origins>) -> Self {
        Self {
            table: Table::new(grouping),
            filter,
            origins,
            rejected: 0,
            alerts: 0,
            full_alerts: 0,
        }
    }

    /// Counts what an event tells, where it is wanted.
    pub fn take(&mut self, event: &Event<'_, '_>) {
        match *event {
            Event::Drop(record) => {
                if self.keeps(record) {
                    self.alerts += 1;
                    self.table.count(&Counted::Packet(record));
                } else {
                    self.rejected += 1;
                }
            }
            Event::Count { cause, count, time } => {
                if self.keeps(&without_packet(cause, time)) {
                    self.table.count(&Counted::Kernel { cause, count });
                } else {
                    self.rejected = self.rejected.saturating_add(count);
                }
            }
            Event::EndOfCounts { is_full } => {
                self.alerts += 1;
                self.full_alerts += u64::from(is_full);
            }
        }
    }

    fn keeps(&self, record: &DropRecord<'_>) -> bool {
        let is_wanted = match (self.origins, record.cause.origin()) {
            (None, _) => true,
            (Some(wanted), Some(origin)) => wanted.contains(origin),
            (Some(_), None) => false,
        };
        is_wanted && self.filter.matches(record)
    }
}

/// What a filter sees of drops that the kernel counted.
fn without_packet(cause: Cause<'_>, time: Timestamp) -> DropRecord<'_> {
    DropRecord {
        time,
        cause,
        input: None,
        link: Link {
            kind: LinkType::ETHERNET,
            basis: Basis::Assumed,
        },
        protocol: None,
        original_len: 0,
        data: &[],
        notes: &[],
    }
}

impl Counter {
    fn new(command: &Summary, origins: Option<Origins>, filter: Filter) -> Result<Self, Failure> {
        let stdout = standard_output()?;
        Ok(Self {
            tallied: Tallied::new(command.grouping, filter, origins),
            form: match command.lines {
                Lines::Json => Form::Json,
                Lines::Auto | Lines::Text => Form::Lines(command.text.detail),
            },
            pipe: pipe(&stdout),
            writer: BufWriter::new(stdout),
            clock: Clock::Real {
                interval: INTERVAL,
                began: Instant::now(),
            },
            limit: command.count,
            counting: command.counting,
            intervals: 0,
        })
    }

    /// Writes the interval that ends at `time`, and begins the next.
    fn end_interval(&mut self, time: Timestamp, length: Duration) -> ControlFlow<Stop> {
        let table = &mut self.tallied.table;
        let written = match self.form {
            Form::Lines(detail) => write_lines(&mut self.writer, table, detail),
            Form::Json => write_object(&mut self.writer, table, time, length),
        };
        table.end_interval();
        self.intervals += 1;
        match written.and_then(|()| self.writer.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(output_failed("standard output", error)),
        }
    }

    /// In a file the drops' own times end the intervals. Those of several CPUs are not quite in
    /// order; one that comes late counts where it comes.
    fn advance(&mut self, time: Timestamp) -> ControlFlow<Stop> {
        let Clock::Recorded {
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
        // Intervals without drops are not written: a file may span years.
        *began = Some(Timestamp(
            start.0.saturating_add(passed.saturating_mul(length)),
        ));
        self.end_interval(end, interval)
    }

    /// Writes what was counted since the last interval.
    fn finish(&mut self) -> ControlFlow<Stop> {
        if self.tallied.table.sum().current == 0 {
            return ControlFlow::Continue(());
        }
        match self.clock {
            Clock::Real { began, .. } => self.end_interval(Timestamp::now(), began.elapsed()),
            Clock::Recorded { began, last, .. } => {
                let began = began.unwrap_or(last);
                let length = Duration::from_nanos(last.0.saturating_sub(began.0));
                self.end_interval(last, length)
            }
        }
    }

    /// The closing lines.
    fn tell(&self, loss: Option<Loss>) {
        let Tallied {
            table,
            rejected,
            full_alerts,
            ..
        } = &self.tallied;
        let mut lines = vec![format!("{} counted", Plural(table.sum().total, "drop"))];
        if *rejected > 0 || !self.tallied.filter.keeps_all() {
            lines.push(format!(
                "{} rejected by the filter",
                Plural(*rejected, "drop")
            ));
        }
        let mut stderr = io::stderr().lock();
        for line in lines {
            let _ = writeln!(stderr, "{line}");
        }
        report_loss(&mut stderr, loss);
        if self.intervals > 1 {
            let _ = write_totals(&mut stderr, table);
        }
        drop(stderr);
        if *full_alerts > 0 {
            say(format_args!(
                "{} had no room for another place: drops elsewhere may be missing",
                Plural(*full_alerts, "alert")
            ));
            hint("--by location counts packet by packet, and has no such limit");
        }
        let others = table.others().total;
        if others > 0 {
            say(format_args!(
                "{} {}: the table holds {} {} at a time",
                Plural(others, "drop"),
                Elsewhere(table.grouping()),
                crate::summary::MAX_ROWS,
                table.grouping().plural()
            ));
        }
        let counter = Key::Place {
            pc: Some(0),
            symbol: Box::default(),
        };
        if table.row(&counter).is_some() {
            say("rx_dropped: a network device's own counter of dropped packets rose so many times");
            hint("`ip -s -s link` shows whose, `ethtool -S` why");
        }
        if self.is_live() && self.counting == Counting::Kernel {
            say(
                "what the kernel counted in its last second was thrown away when monitoring stopped",
            );
        }
    }

    fn is_live(&self) -> bool {
        matches!(self.clock, Clock::Real { .. })
    }
}

/// The rows that counted most, all intervals together.
fn write_totals(writer: &mut impl Write, table: &Table) -> io::Result<()> {
    let rows = table.rows(Order::Total);
    let width = rows
        .first()
        .map_or(0, |(_, row)| row.total.to_string().len());
    writeln!(writer, "in all:")?;
    for (key, row) in rows.iter().take(SHOWN) {
        let place = Where {
            key,
            detail: Detail::Full,
        };
        writeln!(writer, "  {:>width$} {place}", row.total)?;
    }
    let rest = rows.iter().skip(SHOWN).map(|(_, row)| row.total);
    let rest = rest.sum::<u64>() + table.others().total;
    if rest > 0 {
        writeln!(writer, "  {rest:>width$} {}", Elsewhere(table.grouping()))?;
    }
    Ok(())
}

impl Receiver for Counter {
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop> {
        match event {
            Event::Drop(record) => self.advance(record.time)?,
            Event::Count { time, .. } => self.advance(time)?,
            Event::EndOfCounts { .. } => {}
        }
        self.tallied.take(&event);
        if self.limit.is_some_and(|limit| self.tallied.alerts >= limit) {
            return ControlFlow::Break(Stop::Count);
        }
        ControlFlow::Continue(())
    }

    /// What is complete was written: there is nothing to hand on within an interval.
    fn flush(&mut self) -> ControlFlow<Stop> {
        ControlFlow::Continue(())
    }

    fn watched(&self) -> Option<PollFd<'_>> {
        // A pipe's end whose reader is gone reports POLLERR, asked for or not.
        let pipe = self.pipe.as_ref()?;
        Some(PollFd::new(pipe.as_fd(), PollFlags::empty()))
    }

    fn due(&self) -> Option<Instant> {
        match self.clock {
            Clock::Real { interval, began } => began.checked_add(interval),
            Clock::Recorded { .. } => None,
        }
    }

    fn attend(&mut self, why: Attention, _: &mut dyn Machine) -> ControlFlow<Stop> {
        let Clock::Real { interval, began } = &mut self.clock else {
            return ControlFlow::Break(Stop::Closed);
        };
        if why == Attention::Watched {
            return ControlFlow::Break(Stop::Closed);
        }
        let length = began.elapsed();
        // Where the machine was too busy for an interval, it is longer; the next ones stay in step.
        let passed = length.as_nanos() / interval.as_nanos().max(1);
        *began += *interval * u32::try_from(passed).unwrap_or(u32::MAX);
        self.end_interval(Timestamp::now(), length)
    }

    fn report(&mut self, loss: Option<Loss>) {
        self.tell(loss);
    }
}
