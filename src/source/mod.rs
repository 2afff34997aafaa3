//! Sources produce events: drops, and counts of drops. A source knows records and the bytes that they
//! are decoded from, but not what happens to the records nor the command line.
//!
//! A live source is a `Source`: an event loop polls its descriptors and takes its events. A run has
//! a list of them, `sources::Sources`, which orders the events of several by time. A new source takes a
//! file here and a line in `run::live::opening`, which makes the list. A capture file is read by
//! [`savefile::Reader`], which has no descriptors and ends by itself.

mod alerts;
mod cgroups;
mod context;
mod devices;
pub(crate) mod ebpf;
pub(crate) mod hardware;
mod merge;
pub(crate) mod namespaces;
pub(crate) mod net_dm;
mod pause;
pub mod savefile;
#[cfg(test)]
pub(crate) mod simulated;
pub(crate) mod sources;
mod stacks;
pub(crate) mod surroundings;

use std::io;
use std::ops::{AddAssign, ControlFlow};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::ebpf::tracer::{TracerError, TracerSettings};
use crate::net_dm::content::Content;
use crate::record::{Cause, DropRecord, Loss, Timestamp};

/// The treatment of alerts about data that never was a packet: netlink messages, data between
/// sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPackets {
    /// They are left out and counted.
    LeaveOut,
    /// They are passed on as drops.
    Take,
}

/// An event of a source.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'r, 'a> {
    /// One dropped packet.
    Drop(&'r DropRecord<'a>),
    /// Drops that the kernel counted itself, in summary mode: of a software drop only the location
    /// is known, of a hardware drop only the trap.
    Count {
        /// The location or the trap.
        cause: Cause<'a>,
        /// The number of drops.
        count: u64,
        /// The time of the report; `None` where a file says no time.
        time: Option<Timestamp>,
    },
    /// So many more drops that the kernel rejected, by its part of the filter, and counted.
    Rejected(u64),
    /// Drops with equal facts, which an eBPF program counted.
    Drops {
        /// Their facts, without a packet. The time is that of the report.
        record: &'r DropRecord<'a>,
        /// The number of drops.
        count: u64,
    },
    /// Drops that an eBPF program counted without their facts, because it had no room for those.
    Unnamed {
        /// The number of drops.
        count: u64,
        /// The time of the report.
        time: Timestamp,
    },
    /// The end of the counts of one summary alert, or of an eBPF program's.
    EndOfCounts {
        /// The alert could not name every location, so some may be missing.
        is_full: bool,
    },
}

impl Event<'_, '_> {
    /// Returns the time of the drop or of the report.
    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Drop(record) | Self::Drops { record, .. } => record.time,
            Self::Count { time, .. } => *time,
            Self::Unnamed { time, .. } => Some(*time),
            Self::Rejected(_) | Self::EndOfCounts { .. } => None,
        }
    }
}

/// A live stream of events. The event loop polls what [`watch`](Self::watch) names and calls
/// [`take`](Self::take) whenever something may be waiting; nothing here blocks.
pub(crate) trait Source {
    /// Adds the descriptors that become readable when events wait; there may be several, for
    /// instance one for each CPU.
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>);

    /// Returns how long events may wait before [`take`](Self::take) is called although no descriptor is readable;
    /// `None` where each event makes one readable.
    fn longest_wait(&self) -> Option<Duration> {
        None
    }

    /// Passes on some of the waiting events, without waiting for any, until `receive` breaks.
    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>>;

    /// Returns the time up to which all events have been taken; `None` where this is not known.
    fn settled(&self) -> Option<Timestamp> {
        None
    }

    /// Ends the stream: the waiting events can still be taken, and no more come.
    fn end(&mut self) -> io::Result<()>;

    /// Returns what was lost on the way from the kernel to this source. The drop monitor's own queue
    /// is not included: `net_dm::monitoring` reads its statistics.
    fn loss(&self) -> io::Result<Loss>;

    /// Returns the counts of received messages that gave no event.
    fn left_out(&self) -> LeftOut;

    /// Returns true once, when a symbol stays cut because this process may not see addresses.
    fn symbols_are_newly_hidden(&mut self) -> bool;

    /// Returns whether the kernel reported to this source what its filter in the kernel had rejected.
    fn filter_is_reported(&self) -> bool {
        false
    }

    /// Makes the kernel deliver all events again. Not for eBPF programs: what they reject is counted, and
    /// reported to nobody.
    fn detach_filter(&self) -> io::Result<()> {
        Ok(())
    }

    /// Has the next [`take`](Self::take) pass on what the kernel has counted so far. Returns whether the
    /// source has such counts.
    fn count_now(&mut self) -> bool {
        false
    }

    /// Sends packets from here on, if eBPF programs counted.
    fn capture(&mut self, _: TracerSettings) -> Result<(), TracerError> {
        Ok(())
    }
}

/// The receiver of a source's events. It breaks when it wants no more.
pub(crate) type Receive<'r> = dyn FnMut(Event<'_, '_>) -> ControlFlow<()> + 'r;

/// The result of taking events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<B> {
    /// Something was waiting, and more may be.
    Some,
    /// Nothing was waiting.
    Nothing,
    /// The receiver wants no more.
    Break(B),
}

/// Counts of messages that gave no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// Attributes that were skipped: unknown, or of the wrong size.
    pub skipped_attributes: u64,
    /// Summary alerts, which the kernel sends in summary mode.
    pub summaries: u64,
    /// Messages that could not be decoded, or only in part: a drop, or facts of one, may be missing.
    pub damaged_messages: u64,
    /// Alerts of data that never was a packet, left out.
    pub not_packets: u64,
    /// Alerts of alerts that the kernel freed as dropped, left out.
    pub alerts_of_alerts: u64,
}

impl LeftOut {
    /// Returns whether a drop of this content is left out, and then counts it. An alert of the drop
    /// monitor, whose number is `family`, is always left out: the kernel frees one as dropped because of
    /// a listener's filter or exit.
    #[inline]
    fn leaves_out(
        &mut self,
        content: Content,
        family: Option<u16>,
        not_packets: NotPackets,
    ) -> bool {
        let count = match content {
            Content::Packet => return false,
            Content::Netlink { kind } if Some(kind) == family => &mut self.alerts_of_alerts,
            Content::Netlink { .. } | Content::Data if not_packets == NotPackets::Take => {
                return false;
            }
            Content::Netlink { .. } | Content::Data => &mut self.not_packets,
        };
        *count += 1;
        true
    }
}

impl AddAssign for LeftOut {
    fn add_assign(&mut self, other: Self) {
        let Self {
            skipped_attributes,
            summaries,
            damaged_messages,
            not_packets,
            alerts_of_alerts,
        } = other;
        self.skipped_attributes += skipped_attributes;
        self.summaries += summaries;
        self.damaged_messages += damaged_messages;
        self.not_packets += not_packets;
        self.alerts_of_alerts += alerts_of_alerts;
    }
}
