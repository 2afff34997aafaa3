//! Counts drops by location, reason, interface, flow or module, in bounded memory.
//!
//! There is no I/O and no clock: [`GroupedCounts`] counts the drops that it is given, and its owner
//! ends the intervals.
//!
//! # Example
//!
//! ```
//! use dwdump::record::Cause;
//! use dwdump::summary::{Counted, GroupOrder, GroupedCounts, Grouping};
//!
//! let mut counts = GroupedCounts::new(Grouping::Reason);
//! counts.count(&Counted::Kernel {
//!     cause: Cause::Unknown,
//!     count: 3,
//! });
//! for (key, group) in counts.groups(GroupOrder::Total) {
//!     println!("{} {key}, filter: {}", group.total, key.filter(Grouping::Reason));
//! }
//! assert_eq!(counts.sum().total, 3);
//! ```

mod counts;
mod group_key;
mod lightest;

pub(crate) use counts::HISTORY;
pub use counts::{GroupCounts, GroupOrder, GroupedCounts, MAX_GROUPS};
pub use group_key::GroupKey;
pub(crate) use group_key::GroupKeyView;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::packet::{self, Flow};
use crate::record::{Cause, DropContext, DropRecord, EtherType, Fact, Interface};

/// The property by which drops are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
#[non_exhaustive]
pub enum Grouping {
    /// The location in the kernel, or the device's trap.
    Location,
    /// The drop reason, or the device's trap.
    Reason,
    /// The packet's input interface.
    Interface,
    /// Addresses, protocol and ports, in the packet's direction.
    Flow,
    /// The kernel module that dropped the packet.
    Module,
    /// The functions that called each other (eBPF).
    Stack,
    /// The device that the packet was at (eBPF).
    Device,
    /// Its network namespace (eBPF).
    Netns,
    /// The task that was running (eBPF).
    Running,
    /// The cgroup of its socket, else of the running task (eBPF).
    Cgroup,
    /// The container or systemd unit of that cgroup (eBPF).
    Unit,
    /// The socket that owned it or would have received it (eBPF).
    Socket,
    /// Its mark (eBPF).
    Mark,
    /// The VLAN whose tag a device took off (eBPF).
    Vlan,
    /// The direction: in or on its way out (eBPF).
    Direction,
}

impl Grouping {
    /// The groupings for drops of every source, in the order in which the live table's keys go through
    /// them.
    pub const ALL: [Self; 5] = [
        Self::Location,
        Self::Reason,
        Self::Interface,
        Self::Flow,
        Self::Module,
    ];

    /// Returns the fact that drops are grouped by, where it is one of the circumstances that only eBPF
    /// tells.
    pub fn fact(self) -> Option<Fact> {
        Some(match self {
            Self::Stack => Fact::Stack,
            Self::Device => Fact::Device,
            Self::Netns => Fact::Netns,
            Self::Running => Fact::Running,
            Self::Cgroup => Fact::Cgroup,
            Self::Unit => Fact::Unit,
            Self::Socket => Fact::Socket,
            Self::Mark => Fact::Mark,
            Self::Vlan => Fact::Vlan,
            Self::Direction => Fact::Heading,
            Self::Location | Self::Reason | Self::Interface | Self::Flow | Self::Module => {
                return None;
            }
        })
    }

    /// Returns whether the cause of a drop, its interfaces and its namespace decide the group.
    pub fn needs_no_packet(self) -> bool {
        match self {
            Self::Location
            | Self::Reason
            | Self::Interface
            | Self::Module
            | Self::Device
            | Self::Netns => true,
            Self::Flow
            | Self::Stack
            | Self::Running
            | Self::Cgroup
            | Self::Unit
            | Self::Socket
            | Self::Mark
            | Self::Vlan
            | Self::Direction => false,
        }
    }

    /// Returns the word for what only eBPF programs tell, where drops are grouped by it.
    pub fn word_of_ebpf(self) -> Option<&'static str> {
        self.fact().map(|fact| fact.about().key)
    }

    /// Returns the noun for several groups.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Location => "locations",
            Self::Reason => "reasons",
            Self::Interface => "interfaces",
            Self::Flow => "flows",
            Self::Module => "modules",
            Self::Stack => "stacks",
            Self::Device => "devices",
            Self::Netns => "namespaces",
            Self::Running => "tasks",
            Self::Cgroup => "cgroups",
            Self::Unit => "units",
            Self::Socket => "sockets",
            Self::Mark => "marks",
            Self::Vlan => "VLANs",
            Self::Direction => "directions",
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
            Self::Stack => "stack",
            Self::Device => "device",
            Self::Netns => "netns",
            Self::Running => "running",
            Self::Cgroup => "cgroup",
            Self::Unit => "unit",
            Self::Socket => "socket",
            Self::Mark => "mark",
            Self::Vlan => "vlan",
            Self::Direction => "direction",
        })
    }
}

/// A drop, or a number of drops, to be counted.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Counted<'r, 'a> {
    /// One dropped packet.
    Packet(&'r DropRecord<'a>),
    /// Drops that the kernel counted itself, without sending a packet. Of software drops only the
    /// location is known, of hardware drops only the trap.
    Kernel {
        /// The location or the trap.
        cause: Cause<'a>,
        /// The number of drops.
        count: u64,
    },
    /// Drops with equal facts, which an eBPF program counted without sending a packet.
    Drops {
        /// Their facts, without a packet.
        record: &'r DropRecord<'a>,
        /// The number of drops.
        count: u64,
    },
    /// Drops of which nothing but their number is known. They are counted among the others.
    Unnamed {
        /// The number of drops.
        count: u64,
    },
}

impl<'a> Counted<'_, 'a> {
    /// Returns the cause, as far as it is known.
    pub fn cause(&self) -> Cause<'a> {
        match self {
            Self::Packet(record) | Self::Drops { record, .. } => record.cause,
            Self::Kernel { cause, .. } => *cause,
            Self::Unnamed { .. } => Cause::Unknown,
        }
    }

    /// Returns the packet's input interface.
    pub fn input(&self) -> Option<Interface<'a>> {
        match self {
            Self::Packet(record) | Self::Drops { record, .. } => record.input,
            Self::Kernel { .. } | Self::Unnamed { .. } => None,
        }
    }

    /// Returns the packet's flow.
    pub fn flow(&self) -> Option<Flow> {
        match self {
            Self::Packet(record) => packet::flow(record.link.kind, record.data),
            Self::Kernel { .. } | Self::Drops { .. } | Self::Unnamed { .. } => None,
        }
    }

    /// Returns the packet's protocol.
    pub fn protocol(&self) -> Option<EtherType> {
        match self {
            Self::Packet(record) => record.protocol,
            Self::Kernel { .. } | Self::Drops { .. } | Self::Unnamed { .. } => None,
        }
    }

    /// Returns what was around the packet.
    pub fn context(&self) -> DropContext<'a> {
        match self {
            Self::Packet(record) | Self::Drops { record, .. } => record.context,
            Self::Kernel { .. } | Self::Unnamed { .. } => DropContext::default(),
        }
    }

    /// Returns whether there is no packet, or one of length 0.
    pub fn is_unseen(&self) -> bool {
        match self {
            Self::Packet(record) => record.original_len == 0,
            Self::Kernel { .. } | Self::Drops { .. } | Self::Unnamed { .. } => true,
        }
    }

    /// Returns whether a fact that decides the group is known to be absent where it is.
    fn knows(&self, grouping: Grouping) -> bool {
        match self {
            Self::Drops { .. } => grouping.needs_no_packet(),
            Self::Packet(_) | Self::Kernel { .. } | Self::Unnamed { .. } => !self.is_unseen(),
        }
    }

    /// Returns the number of drops.
    pub fn count(&self) -> u64 {
        match self {
            Self::Packet(_) => 1,
            Self::Kernel { count, .. } | Self::Drops { count, .. } | Self::Unnamed { count } => {
                *count
            }
        }
    }
}
