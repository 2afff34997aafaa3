//! Runs the live table: a receiver that counts events, draws the counts, and carries out the keys.
//! [`crate::table`] has the state, the keys and the drawing.

mod actions;
mod capture;
mod look;
mod names;
mod start;

pub use start::{show_file, show_live};

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use self::capture::RowCapture;
use self::look::RowLooker;
use super::closing::{Closing, LastSecond, Totals};
use super::diagnostics;
use super::diagnostics::say;
use super::event_filter::EventFilter;
use super::folder::Folder;
use super::keyboard::{Keyboard, Pressed};
use super::pipeline::output_failed;
use super::plural::Plural;
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use super::screen::Screen;
use crate::cli::Role;
use crate::errno::describe;
use crate::net_dm::interference::Disturbance;
use crate::record::{CaptureHost, Loss, Timestamp};
use crate::source::Event;
use crate::summary::Counted;
use crate::table::{CountedBy, Pace, Recording, TableView, Writing, draw};

/// The shortest time between two drawings; faster ones would not be readable.
const FRAME: Duration = Duration::from_millis(100);

/// The live table with its terminal, its input and its clock.
pub struct LiveTable {
    view: TableView,
    event_filter: EventFilter,
    /// The terminal; `None` once it was given back.
    screen: Option<Screen>,
    keyboard: Keyboard,
    origin: TableInput,
    /// Ends the intervals by this machine's clock. `None` at the end of the input, and where the
    /// times of the drops end the intervals.
    clock: Option<Clock>,
    interval: Option<Duration>,
    interface: Option<String>,
    host: CaptureHost,
    capture: Option<RowCapture>,
    /// Relative names of captures start from here.
    folder: Rc<Folder>,
    /// Finds the cause of a row's last packet; `None` where that cannot be.
    looker: Option<RowLooker>,
    limit: Option<u64>,
    /// The time at which counting began.
    started: Timestamp,
    /// Something has changed since the last drawing.
    is_stale: bool,
    /// Events have arrived since keys were read.
    is_busy: bool,
    drawn: Instant,
    /// The step after this reading of the input, once a key has ended it.
    next: Option<AfterReading>,
    /// The number of diagnostic lines that were shown.
    shown_diagnostics: usize,
}

/// The input, for keys that depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableInput {
    /// The running kernel.
    Kernel(Role),
    /// A file, which can be read again.
    File,
    /// A pipe, which can be read only once.
    Pipe,
}

/// The step after a reading of the input that a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterReading {
    /// The end of the program.
    Quit,
    /// Another reading of the file, from the beginning.
    ReadAgain,
}

/// The intervals by this machine's clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    interval: Duration,
    start: Instant,
    /// The start of the current interval.
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
    /// Returns the source of time for new counts.
    fn pace(&self) -> Pace {
        match self.origin {
            TableInput::File => Pace::Recorded(Recording::new(self.interval)),
            TableInput::Kernel(_) | TableInput::Pipe => Pace::Clock {
                last: Duration::ZERO,
                elapsed: Duration::ZERO,
            },
        }
    }

    /// Resets the counts.
    fn reset(&mut self) {
        self.event_filter.reset();
        let loss = self.view.counters.loss;
        self.view.reset(self.pace());
        self.view.counters.loss = loss;
        if let Some(clock) = &mut self.clock {
            *clock = Clock::new(clock.interval);
        }
        self.is_stale = true;
    }

    /// Ends the current interval if its time is over.
    fn tick(&mut self, monitor: &mut dyn DropMonitor) {
        let Some(clock) = &mut self.clock else {
            return;
        };
        let length = clock.began.elapsed();
        if length < clock.interval {
            return;
        }
        // The interval is longer if the machine was too busy; the next ones end at the planned
        // times.
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

    /// Handles the end of the input.
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
        if let Some(line) = self.end_capture(loss, None) {
            self.view.status = line;
        }
    }

    /// Ends the capture of a row, if there is one, and returns its result as a message.
    fn end_capture(
        &mut self,
        loss: Option<Loss>,
        disturbance: Option<Disturbance>,
    ) -> Option<String> {
        let capture = self.capture.take()?;
        let (name, packets) = (capture.name.clone(), capture.packets);
        Some(match capture.finish(loss, disturbance) {
            Ok(()) => format!("wrote {} to {name}", Plural(packets, "packet")),
            Err(error) => format!("cannot write to {name}: {}", describe(&error)),
        })
    }

    /// Ends a capture whose file cannot be written. The table goes on.
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
                Pressed::ScreenLost => self.repaint()?,
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
            // The effect of a key is shown at once, not at the next planned drawing.
            self.drawn = self.drawn.checked_sub(FRAME).unwrap_or(self.drawn);
        }
        ControlFlow::Continue(())
    }

    /// Makes the next drawing draw everything.
    fn repaint(&mut self) -> ControlFlow<Stop> {
        let repainted = self.screen.as_mut().map_or(Ok(()), Screen::repaint);
        repainted.map_or_else(
            |error| ControlFlow::Break(terminal_failed(error)),
            ControlFlow::Continue,
        )
    }

    /// Draws the screen if something changed, and not more often than every [`FRAME`].
    fn draw(&mut self) -> ControlFlow<Stop> {
        let lines = diagnostics::held_since(self.shown_diagnostics);
        if !lines.is_empty() {
            self.shown_diagnostics += lines.len();
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

    /// Gives the terminal back and prints the closing lines.
    fn tell(&mut self, loss: Option<Loss>, disturbance: Option<Disturbance>) {
        self.leave();
        if let Some(line) = self.end_capture(loss, disturbance) {
            say(line);
        }
        let closing = Closing {
            counts: self.view.counters.by(self.view.grouping),
            event_filter: &self.event_filter,
            totals: Totals::Shown,
            last_second: match (self.origin, self.view.counted_by) {
                (TableInput::Kernel(Role::Owner { .. }), CountedBy::Kernel) => {
                    LastSecond::Discarded
                }
                _ => LastSecond::Counted,
            },
        };
        closing.tell(loss);
    }
}

/// Returns why the terminal cannot be used. A closed terminal (EIO) is not a failure.
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
        let looker = self.looker.iter();
        descriptors.extend(looker.map(|looker| PollFd::new(looker.as_fd(), PollFlags::POLLIN)));
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
        self.look();
        self.draw()
    }

    /// Shows the loss; the counts are on the screen anyway.
    fn report(&mut self, loss: Option<Loss>) {
        self.view.counters.loss = loss.or(self.view.counters.loss);
        self.is_stale = true;
    }
}
