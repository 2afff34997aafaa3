//! Counts drops by place, reason, interface, flow or module, in bounded memory.
//!
//! There is no I/O and no clock: [`GroupedCounts`] counts the drops that it is given, and its owner ends the
//! intervals.

mod counts;
mod group_key;
mod lightest;

pub use counts::{GroupCounts, GroupOrder, GroupedCounts, HISTORY, MAX_GROUPS};
pub use group_key::{GroupKey, GroupKeyView};

#[cfg(test)]
mod tests;

use std::fmt;

use crate::packet::{self, Flow};
use crate::record::{Cause, DropRecord, EtherType, Interface};

/// What drops are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Grouping {
    /// The place in the kernel, or the device's trap.
    Location,
    /// The drop reason, or the device's trap.
    Reason,
    /// The interface that the packet came in by.
    Interface,
    /// Addresses, protocol and ports, in the packet's direction.
    Flow,
    /// The kernel module that dropped the packet.
    Module,
}

impl Grouping {
    /// All groupings, in the order in which the table's keys go through them.
    pub const ALL: [Self; 5] = [
        Self::Location,
        Self::Reason,
        Self::Interface,
        Self::Flow,
        Self::Module,
    ];

    /// Returns the next grouping of [`Self::ALL`]; the first follows the last.
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|grouping| *grouping == self);
        Self::ALL[at.map_or(0, |at| (at + 1) % Self::ALL.len())]
    }

    /// Returns the previous grouping of [`Self::ALL`]; the last precedes the first.
    pub fn previous(self) -> Self {
        let at = Self::ALL.iter().position(|grouping| *grouping == self);
        Self::ALL[at.map_or(0, |at| (at + Self::ALL.len() - 1) % Self::ALL.len())]
    }

    /// Returns the noun for several rows.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Location => "places",
            Self::Reason => "reasons",
            Self::Interface => "interfaces",
            Self::Flow => "flows",
            Self::Module => "modules",
        }
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Location => "location",
            Self::Reason => "reason",
            Self::Interface => "interface",
            Self::Flow => "flow",
            Self::Module => "module",
        })
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Counted<'r, 'a> {
    /// One dropped packet.
    Packet(&'r DropRecord<'a>),
    /// Drops that the kernel counted itself, without showing a packet. Of a software drop only the
    /// location is known, of a hardware drop only the trap.
    Kernel {
        /// Where.
        cause: Cause<'a>,
        /// How many.
        count: u64,
    },
}

impl<'a> Counted<'_, 'a> {
    /// Why, as far as it is known.
    pub fn cause(&self) -> Cause<'a> {
        match self {
            Self::Packet(record) => record.cause,
            Self::Kernel { cause, .. } => *cause,
        }
    }

    /// The interface that the packet came in by.
    pub fn input(&self) -> Option<Interface<'a>> {
        match self {
            Self::Packet(record) => record.input,
            Self::Kernel { .. } => None,
        }
    }

    /// Who talks to whom in the packet.
    pub fn flow(&self) -> Option<Flow> {
        match self {
            Self::Packet(record) => packet::flow(record.link.kind, record.data),
            Self::Kernel { .. } => None,
        }
    }

    /// The packet's protocol.
    pub fn protocol(&self) -> Option<EtherType> {
        match self {
            Self::Packet(record) => record.protocol,
            Self::Kernel { .. } => None,
        }
    }

    /// Whether there is no packet, or one without a byte.
    pub fn is_unseen(&self) -> bool {
        match self {
            Self::Packet(record) => record.original_len == 0,
            Self::Kernel { .. } => true,
        }
    }

    /// How many drops.
    pub fn count(&self) -> u64 {
        match self {
            Self::Packet(_) => 1,
            Self::Kernel { count, .. } => *count,
        }
    }
}
