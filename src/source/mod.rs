//! Sources produce records. A source knows records and the bytes that they are decoded from, but not
//! what happens to the records nor the command line.

pub(crate) mod kernel;
pub mod savefile;

use crate::record::{Cause, DropRecord, Timestamp};

/// What to do with alerts of what never was a packet: netlink messages, data between sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPackets {
    /// They are counted.
    LeaveOut,
    /// They are handed on as drops.
    Take,
}

/// What a source tells of.
#[derive(Clone, Copy, Debug)]
pub enum Event<'r, 'a> {
    /// One dropped packet.
    Drop(&'r DropRecord<'a>),
    /// Drops that the kernel counted itself, in summary mode: of a software drop only the location
    /// is known, of a hardware drop only the trap.
    Count {
        /// Where.
        cause: Cause<'a>,
        /// How many.
        count: u64,
        /// When they were told; `None` where a file says no time.
        time: Option<Timestamp>,
    },
    /// Behind the counts of one summary alert.
    EndOfCounts {
        /// The alert could not name every location, so some may be missing.
        is_full: bool,
    },
}
