//! What a run does with the events of its source: write packets, count them, show a table. The
//! event loops of live runs and of files know no more of it than this.

use std::ops::ControlFlow;
use std::time::Instant;

use nix::poll::PollFd;

use super::failure::Failure;
use crate::net_dm::control::{ControlError, Settings};
use crate::net_dm::monitoring::Reporting;
use crate::record::Loss;
use crate::source::Event;

/// Why no more records are wanted.
#[derive(Debug)]
pub enum Stop {
    /// `-c` is reached.
    Count,
    /// The reader of the pipe is gone, and nothing else is written.
    Closed,
    /// The reader of the text is gone, while a file was written as well.
    TextClosed,
    /// A key was pressed.
    Asked,
    /// The output failed.
    Failed(Failure),
}

/// Takes the events of a source.
pub trait Receiver {
    /// Takes one event.
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop>;

    /// No event is waiting: hands on what was taken.
    fn flush(&mut self) -> ControlFlow<Stop>;

    /// What wakes a run besides its source.
    fn watched(&self) -> Option<PollFd<'_>>;

    /// When to be called next, even if nothing happens.
    fn due(&self) -> Option<Instant>;

    /// What is watched was ready, or something is due.
    fn attend(&mut self, why: Attention, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop>;

    /// Says how it stands, when asked by SIGUSR1.
    fn report(&mut self, loss: Option<Loss>);
}

/// Why a receiver is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// What it watches is ready.
    Watched,
    /// Its time has come.
    Due,
}

/// What a receiver may ask of the drop monitor.
pub trait DropMonitor {
    /// What was lost since the start; `None` where nobody knows.
    fn loss(&mut self) -> Option<Loss>;

    /// The settings while monitoring is on; `None` where a file is read.
    fn settings(&mut self) -> Option<Settings>;

    /// Has the kernel send something else from now on; see
    /// [`Monitoring::switch`](crate::net_dm::monitoring::Monitoring::switch).
    fn switch(&mut self, reporting: Reporting) -> Result<(), ControlError>;
}
