//! The interface between an event loop and what is done with its events: writing packets, counting
//! them, showing a table.

use std::ops::ControlFlow;
use std::time::Instant;

use nix::poll::PollFd;

use super::begin::Purpose;
use super::failure::Failure;
use crate::net_dm::control::Settings;
use crate::net_dm::interference::Disturbance;
use crate::record::Loss;
use crate::source::Event;

/// The reason for which a run stops.
#[derive(Debug)]
pub enum Stop {
    /// The limit of `-c` is reached.
    Count,
    /// The reader of a pipe is gone, and there is no other output.
    Closed,
    /// The reader of the text is gone, while a file was written as well.
    TextClosed,
    /// The user pressed a key.
    Asked,
    /// There are as many files as `-W` asks for.
    Files,
    /// The output failed.
    Failed(Failure),
}

/// Takes the events of a source.
pub trait Receiver {
    /// Takes one event.
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop>;

    /// Passes on what was taken; called when no event is waiting.
    fn flush(&mut self) -> ControlFlow<Stop>;

    /// Adds the descriptors that the event loop polls in addition to its sources: an output whose
    /// reader may go away, a keyboard, a process that looks at the host during the capture.
    fn watch<'r>(&'r self, descriptors: &mut Vec<PollFd<'r>>);

    /// Returns when [`attend`](Self::attend) has to be called even if nothing happens.
    fn due(&self) -> Option<Instant>;

    /// Returns whether [`attend`](Self::attend) has to be called once the events that were taken together are
    /// passed on.
    fn wants_attention(&self) -> bool {
        false
    }

    /// Handles a watched descriptor that is ready, or a time that has come.
    fn attend(&mut self, why: Attention, monitor: &mut dyn DropMonitor) -> ControlFlow<Stop>;

    /// Reports the counts so far; called on SIGUSR1.
    fn report(&mut self, loss: Option<Loss>);
}

/// The reason for which a receiver is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// A descriptor is ready: its position among those that [`Receiver::watch`] adds.
    Watched(usize),
    /// Its time has come.
    Due,
    /// It asked for it.
    Wanted,
    /// The next file is to begin: SIGHUP.
    Hangup,
}

/// The requests that a receiver may make of the drop monitor.
pub trait DropMonitor {
    /// Returns what was lost since the start; `None` where this is unknown.
    fn loss(&mut self) -> Option<Loss>;

    /// Looks at the monitoring, and returns what another process has done to it so far. A file that ends needs to
    /// know: the next regular look comes too late for it.
    fn disturbance(&mut self) -> Option<Disturbance>;

    /// Returns the settings of the monitoring; `None` where a file is read.
    fn settings(&mut self) -> Option<Settings>;

    /// Changes what the kernel sends; see
    /// [`Monitoring::switch`](crate::net_dm::monitoring::Monitoring::switch).
    fn switch(&mut self, purpose: Purpose) -> anyhow::Result<()>;
}
