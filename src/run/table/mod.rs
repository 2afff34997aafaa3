//! The live table: a receiver that counts events, draws the counts, and carries out keys.

mod actions;
mod capture;
mod start;

pub use start::{show_file, show_live};

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::poll::PollFd;

use self::capture::RowCapture;
use super::closing::{Closing, Source, Totals};
use super::diagnostics;
use super::diagnostics::say;
use super::event_filter::EventFilter;
use super::keyboard::{Keyboard, Pressed};
use super::pipeline::output_failed;
use super::plural::Plural;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::screen::Screen;
use crate::cli::Role;
use crate::errno::describe;
use crate::net_dm::interference::Interference;
use crate::record::{CaptureHost, Loss, Timestamp};
use crate::source::Event;
use crate::summary::Counted;
use crate::table::{CountedBy, Pace, Recording, TableView, Writing, draw};

/// Between two pictures, at least: nobody reads faster.
const FRAME: Duration = Duration::from_millis(100);

/// The table, and what it is made of.
pub struct LiveTable {
    view: TableView,
    event_filter: EventFilter,
    /// `None` once the terminal was given back.
    screen: Option<Screen>,
    keyboard: Keyboard,
    origin: TableInput,
    /// Ends intervals; `None` where the drops' own times do, and when no more drops come.
    clock: Option<Clock>,
    interval: Option<Duration>,
    interface: Option<String>,
    host: CaptureHost,
    capture: Option<RowCapture>,
    /// What another process did to the monitoring.
    interference: Option<Interference>,
    limit: Option<u64>,
    /// When it began.
    started: Timestamp,
    /// Something changed since it was drawn.
    is_stale: bool,
    /// Events came since keys were looked at.
    is_busy: bool,
    drawn: Instant,
    /// What a key asked for that ends the reading.
    next: Option<AfterReading>,
    /// Diagnostic lines that were shown.
    said: usize,
}

/// Where the drops come from, as far as keys depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableInput {
    /// The running kernel.
    Kernel(Role),
    /// A file that can be read again.
    File,
    /// A pipe.
    Pipe,
}

/// The end of the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterReading {
    /// And of the table.
    Quit,
    /// Once more, from the beginning.
    ReadAgain,
}

/// This machine's time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    interval: Duration,
    start: Instant,
    /// When this interval began.
    began: Instant,
}

impl Clock {
    fn new(interval: Duration) -> Self {
        let start = Instant::now();
        Self {
            interval,
            start,
            began: start,
        }
    }
}

impl LiveTable {
    /// How time passes from the beginning.
    fn pace(&self) -> Pace {
        match self.origin {
            TableInput::File => Pace::Recorded(Recording::new(self.interval)),
            TableInput::Kernel(_) | TableInput::Pipe => Pace::Clock {
                last: Duration::ZERO,
                elapsed: Duration::ZERO,
            },
        }
    }

    /// Counts from now on, from nothing.
    fn begin_anew(&mut self) {
        self.event_filter.anew();
        let loss = self.view.counters.loss;
        self.view.begin_anew(self.pace());
        self.view.counters.loss = loss;
        if let Some(clock) = &mut self.clock {
            *clock = Clock::new(clock.interval);
        }
        self.is_stale = true;
    }

    /// Ends the interval, if it is over.
    fn tick(&mut self, monitor: &mut dyn DropMonitor) {
        let Some(clock) = &mut self.clock else {
            return;
        };
        let length = clock.began.elapsed();
        if length < clock.interval {
            return;
        }
        // Where the machine was too busy for an interval, it is longer; the next ones stay in step.
        let passed = length.as_nanos() / clock.interval.as_nanos().max(1);
        clock.began += clock.interval * u32::try_from(passed).unwrap_or(u32::MAX);
        self.end_interval(length);
        self.view.counters.loss = monitor.loss().or(self.view.counters.loss);
        if let Some(capture) = &mut self.capture
            && let Err(error) = capture.flush()
        {
            self.give_capture_up(&error);
        }
        if self.view.shows_settings() {
            self.show_settings(monitor);
        }
    }

    fn end_interval(&mut self, length: Duration) {
        let Some(clock) = self.clock else { return };
        self.view.counters.end_interval();
        self.view.counters.pace = Pace::Clock {
            last: length,
            elapsed: clock.start.elapsed(),
        };
        self.view.arrange();
        self.is_stale = true;
    }

    /// No more drops come.
    fn end_of_input(&mut self, loss: Option<Loss>) {
        match (self.origin, self.clock) {
            (TableInput::File, _) => self.view.counters.end_recording(),
            (_, Some(clock)) => self.end_interval(clock.began.elapsed()),
            (_, None) => {}
        }
        self.clock = None;
        self.view.is_over = true;
        self.view.counters.loss = loss;
        self.view.arrange();
        self.is_stale = true;
        if let Some(line) = self.end_capture(loss) {
            self.view.status = line;
        }
    }

    /// Ends the capture of a row, where there is one; how it went.
    fn end_capture(&mut self, loss: Option<Loss>) -> Option<String> {
        let capture = self.capture.take()?;
        let (name, packets) = (capture.name.clone(), capture.packets);
        Some(match capture.finish(loss, self.interference) {
            Ok(()) => format!("wrote {} to {name}", Plural(packets, "packet")),
            Err(error) => format!("cannot write to {name}: {}", describe(&error)),
        })
    }

    /// The file cannot be written: the table goes on.
    fn give_capture_up(&mut self, error: &io::Error) {
        if let Some(capture) = self.capture.take() {
            self.view.status = format!("cannot write to {}: {}", capture.name, describe(error));
            self.is_stale = true;
        }
    }

    fn take_keys(&mut self, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        self.is_busy = false;
        for pressed in self.keyboard.take() {
            match pressed {
                Pressed::Resized => {}
                Pressed::Gone => {
                    self.next = Some(AfterReading::Quit);
                    return ControlFlow::Break(Stop::Closed);
                }
                Pressed::Key(key) => {
                    if let Some(action) = self.view.key(key) {
                        self.act(action, monitor)?;
                    }
                }
            }
            self.is_stale = true;
            // A key is answered at once.
            self.drawn = self.drawn.checked_sub(FRAME).unwrap_or(self.drawn);
        }
        ControlFlow::Continue(())
    }

    /// Draws, if there is something new, and not too often.
    fn draw(&mut self) -> ControlFlow<Stop> {
        let lines = diagnostics::held_since(self.said);
        if !lines.is_empty() {
            self.said += lines.len();
            self.view.status = lines.join("; ");
            self.is_stale = true;
        }
        if !self.is_stale || self.drawn.elapsed() < FRAME {
            return ControlFlow::Continue(());
        }
        let Some(screen) = &mut self.screen else {
            return ControlFlow::Continue(());
        };
        self.view.writing = self.capture.as_ref().map(|capture| Writing {
            name: capture.name.clone(),
            packets: capture.packets,
        });
        let drawn = screen.draw(|frame| draw(frame, &mut self.view));
        self.is_stale = false;
        self.drawn = Instant::now();
        drawn.map_or_else(
            |error| ControlFlow::Break(terminal_failed(error)),
            ControlFlow::Continue,
        )
    }

    /// Gives the terminal back.
    fn leave(&mut self) {
        self.screen = None;
    }

    /// The closing lines, on the screen that stays.
    fn tell(&mut self, loss: Option<Loss>) {
        self.leave();
        if let Some(line) = self.end_capture(loss) {
            say(line);
        }
        let closing = Closing {
            counts: self.view.counters.by(self.view.grouping),
            event_filter: &self.event_filter,
            totals: Totals::Shown,
            source: match (self.origin, self.view.counted_by) {
                (TableInput::Kernel(Role::Owner { .. }), CountedBy::Kernel) => Source::KernelCounts,
                _ => Source::Packets,
            },
        };
        closing.tell(loss);
    }
}

/// A terminal that is gone is no failure: somebody closed it.
fn terminal_failed(error: io::Error) -> Stop {
    match error.raw_os_error() {
        Some(libc::EIO) => Stop::Closed,
        _ => output_failed("the terminal", error),
    }
}

impl Receiver for LiveTable {
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop> {
        self.is_busy = true;
        let Some(counted) = self.event_filter.select(event) else {
            return ControlFlow::Continue(());
        };
        if let Counted::Packet(record) = counted {
            self.view.counters.advance(record.time);
            if let Some(capture) = &mut self.capture
                && let Err(error) = capture.take(record)
            {
                self.give_capture_up(&error);
            }
        } else if let Event::Count { time, .. } = event {
            self.view.counters.advance(time);
        }
        self.view.counters.count(&counted);
        self.is_stale = true;
        if self
            .limit
            .is_some_and(|limit| self.event_filter.alerts >= limit)
        {
            return ControlFlow::Break(Stop::Count);
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<Stop> {
        self.draw()
    }

    fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>) {
        let screen = self.screen.iter();
        descriptors.extend(screen.map(|_| self.keyboard.watched()));
    }

    fn due(&self) -> Option<Instant> {
        self.screen.as_ref()?;
        let tick = self
            .clock
            .and_then(|clock| clock.began.checked_add(clock.interval));
        let is_awaited = self.is_stale || self.is_busy;
        let frame = is_awaited.then(|| self.drawn + FRAME);
        tick.into_iter().chain(frame).min()
    }

    fn attend(&mut self, _: Attention, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        self.take_keys(monitor)?;
        self.tick(monitor);
        self.draw()
    }

    /// It is on the screen.
    fn report(&mut self, loss: Option<Loss>) {
        self.view.counters.loss = loss.or(self.view.counters.loss);
        self.is_stale = true;
    }
}
