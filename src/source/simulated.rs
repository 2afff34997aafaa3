//! A source with given events, for tests.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::{Event, LeftOut, Receive, Source, Taken};
use crate::record::{DropRecord, Link, LinkType, Loss, Timestamp};

/// Passes on one batch of events with each call, and has a descriptor that is readable from the
/// start.
pub struct SimulatedSource {
    batches: VecDeque<Vec<Simulated>>,
    readable: UnixStream,
    _writer: UnixStream,
    /// The value of each of its counters of loss and of messages left out.
    pub counts: u64,
    /// Everything up to this time has been passed on.
    pub settled: Option<Timestamp>,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simulated {
    /// A packet of one byte.
    Drop(Option<Timestamp>, u8),
    /// A number of drops.
    Count(Option<Timestamp>, u64),
    /// A number of drops that the kernel rejected.
    Rejected(u64),
    /// The end of counts.
    End,
}

impl Simulated {
    /// Calls `take` with the event.
    pub fn with<T>(self, take: impl FnOnce(Event<'_, '_>) -> T) -> T {
        let byte = match self {
            Self::Drop(_, byte) => [byte],
            Self::Count(..) | Self::Rejected(_) | Self::End => [0],
        };
        let record = DropRecord::new(Link::known(LinkType::RAW), &byte);
        match self {
            Self::Drop(time, _) => take(Event::Drop(&DropRecord { time, ..record })),
            Self::Count(time, count) => take(Event::Count {
                cause: record.cause,
                count,
                time,
            }),
            Self::Rejected(count) => take(Event::Rejected(count)),
            Self::End => take(Event::EndOfCounts { is_full: true }),
        }
    }

    /// Converts an event of any source.
    pub fn of(event: Event<'_, '_>) -> Self {
        match event {
            Event::Drop(record) => Self::Drop(record.time, record.data[0]),
            Event::Count { count, time, .. } => Self::Count(time, count),
            Event::Rejected(count) => Self::Rejected(count),
            Event::Drops { record, count } => Self::Count(record.time, count),
            Event::Unnamed { count, time } => Self::Count(Some(time), count),
            Event::EndOfCounts { .. } => Self::End,
        }
    }
}

impl SimulatedSource {
    /// Creates a source with these batches of events.
    pub fn new(batches: impl IntoIterator<Item = Vec<Simulated>>) -> Self {
        let (readable, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"!").unwrap();
        Self {
            batches: batches.into_iter().collect(),
            readable,
            _writer: writer,
            counts: 0,
            settled: None,
        }
    }
}

impl Source for SimulatedSource {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        descriptors.push(self.readable.as_fd());
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        let Some(batch) = self.batches.pop_front() else {
            return Ok(Taken::Nothing);
        };
        for event in batch {
            if let ControlFlow::Break(()) = event.with(&mut *receive) {
                return Ok(Taken::Break(()));
            }
        }
        Ok(Taken::Some)
    }

    fn settled(&self) -> Option<Timestamp> {
        self.settled
    }

    fn end(&mut self) -> io::Result<()> {
        self.batches.clear();
        Ok(())
    }

    fn loss(&self) -> io::Result<Loss> {
        Ok(Loss {
            queue: self.counts,
            ..Loss::default()
        })
    }

    fn left_out(&self) -> LeftOut {
        LeftOut {
            not_packets: self.counts,
            ..LeftOut::default()
        }
    }

    fn symbols_are_newly_hidden(&mut self) -> bool {
        false
    }
}
