//! A dropped packet and its facts, each of which is described here and nowhere else.
//!
//! A new fact is a field of [`DropRecord`] and a row of the table below. The row defines its comment, written
//! and read; its JSON field with its schema; its line of `-v`; its word in the filter; and its part in
//! [`Packed`](super::Packed), from which the table's copy of a record and the key of the option cache are made.

use super::value::Parts;
use super::{
    DropContext, EtherType, Interface, InterfaceKey, Kind, Likeness, Link, Name, Netns, Origin,
    PacketFlags, Reason, Stack, Symbol, Timestamp, Value,
};
use crate::untrusted::Untrusted;

/// One dropped packet: the captured bytes, and what the kernel reported about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropRecord<'a> {
    /// The time of the drop, by the kernel's clock; `None` if a file has no time for it, or one out
    /// of range.
    pub time: Option<Timestamp>,
    /// The reason and the location of the drop.
    pub cause: Cause<'a>,
    /// The interface that received it; `None` for a locally generated packet, or if it is not known.
    pub input: Option<Interface<'a>>,
    /// The type of the header that [`data`](Self::data) begins with.
    pub link: Link,
    /// `skb->protocol` as the kernel reported it, else as the bytes say ([`crate::packet::protocol`]).
    pub protocol: Option<EtherType>,
    /// The length of the whole frame in bytes, from the link-layer header on; at least `data.len()`.
    pub original_len: u32,
    /// The captured bytes, from the link-layer header on, possibly truncated.
    pub data: &'a [u8],
    /// Packet comments of a capture file that dwdump did not write. They are copied into the
    /// output.
    pub notes: &'a [Untrusted<&'a str>],
    /// The packet's flags in a capture file, without the direction of a drop, which [`input`](Self::input)
    /// implies.
    pub flags: PacketFlags,
    /// The circumstances of the drop.
    pub context: DropContext<'a>,
    /// Tells which other records have the same facts.
    pub likeness: Likeness,
}

impl<'a> DropRecord<'a> {
    /// Returns the record of a whole packet of which only the bytes are known.
    #[inline]
    pub fn new(link: Link, data: &'a [u8]) -> Self {
        Self {
            time: None,
            cause: Cause::Unknown,
            input: None,
            link,
            protocol: None,
            original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data,
            notes: &[],
            flags: PacketFlags::default(),
            context: DropContext::default(),
            likeness: Likeness::default(),
        }
    }
}

/// The cause of a drop. Software and hardware drops have different facts: a hardware drop has no
/// kernel symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The kernel freed the packet (tracepoint `skb:kfree_skb`).
    Software {
        /// The location in the kernel.
        location: Location<'a>,
        /// The drop reason; absent before Linux 5.18.
        reason: Option<Reason<'a>>,
    },
    /// A device dropped the packet and reported that to the kernel (devlink trap).
    Hardware {
        /// The trap group, for instance `l3_drops`.
        group: Option<Name<'a>>,
        /// The trap, for instance `blackhole_route`.
        trap: Option<Name<'a>>,
        /// The cookie of the tc action that dropped it.
        cookie: Option<&'a [u8]>,
    },
    /// The packet comes from a capture file that says nothing about drops.
    Unknown,
}

impl Cause<'_> {
    /// Returns who dropped the packet.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Software { .. } => Some(Origin::Software),
            Self::Hardware { .. } => Some(Origin::Hardware),
            Self::Unknown => None,
        }
    }
}

/// The location in the kernel that dropped a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location<'a> {
    /// The return address of the call that freed the packet.
    pub pc: Option<u64>,
    /// The kernel's name for that address.
    pub symbol: Option<Symbol<'a>>,
    /// The line of the kernel's source, where debug information was looked up.
    pub source_line: Option<Name<'a>>,
    /// The calls that led there, where they were captured.
    pub stack: Option<Stack<'a>>,
}

impl<'a> Location<'a> {
    /// Returns the location of which the kernel reports these facts.
    pub fn new(pc: Option<u64>, symbol: Option<Symbol<'a>>) -> Self {
        Self {
            pc,
            symbol,
            source_line: None,
            stack: None,
        }
    }
}

/// The description of a fact.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct About {
    /// Its key in comments.
    pub key: &'static str,
    /// Its name in JSON and in `-v`.
    pub name: &'static str,
    /// Its description in JSON's schema.
    pub what: &'static str,
    /// The only origin whose drops can have it; `None` if all can.
    pub origin: Option<Origin>,
    /// The packets of a file that have it in a comment.
    pub commented: Commented,
    /// Its position among the lines of `-v`; `None` if the first line shows it.
    pub line: Option<u8>,
    /// The operand that its word in the filter expects; `None` if the filter has no such word, or
    /// one that does more than compare the value.
    pub wanted: Option<&'static str>,
    /// The sources that tell it live.
    pub told_by: Tellers,
}

impl About {
    /// The parts that few rows have.
    const USUAL: Self = Self {
        key: "",
        name: "",
        what: "",
        origin: None,
        commented: Commented::Always,
        line: None,
        wanted: None,
        told_by: Tellers::Both,
    };
}

/// The live sources that tell a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tellers {
    /// The drop monitor and eBPF programs.
    Both,
    /// eBPF programs alone.
    Ebpf,
}

/// The packets of a file that have a fact in a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commented {
    /// All packets.
    Always,
    /// Packets of an interface that all packets share; elsewhere the interface's description has it.
    OnSharedInterface,
    /// No packets, because it follows from other facts.
    Never,
}

facts! {
    // First, because it decides which other facts the record has places for.
    Origin: Origin, (from origin, into set_origin), {
        key: "origin",
        name: "origin",
        what: "Who dropped it",
        origin: None,
        commented: Commented::OnSharedInterface,
        line: None,
        wanted: None,
    }
    Reason: Name, (reason in DropRecord { cause: Cause::Software { reason, .. }, .. }), {
        key: "reason",
        name: "reason",
        what: "Software drops: the kernel's drop reason",
        origin: Some(Origin::Software),
        commented: Commented::Always,
        line: None,
        wanted: None,
    }
    Location: Symbol, (symbol in DropRecord { cause: Cause::Software { location: Location { symbol, .. }, .. }, .. }), {
        key: "location",
        name: "location",
        what: "Software drops: function+offset/size, and [module]",
        origin: Some(Origin::Software),
        commented: Commented::Always,
        line: None,
        wanted: None,
    }
    Module: Part, (from module), {
        key: "module",
        name: "module",
        what: "Software drops: the module of the location",
        origin: Some(Origin::Software),
        commented: Commented::Never,
        line: Some(2),
        wanted: None,
    }
    Pc: Address, (pc in DropRecord { cause: Cause::Software { location: Location { pc, .. }, .. }, .. }), {
        key: "pc",
        name: "pc",
        what: "Software drops: return address",
        origin: Some(Origin::Software),
        commented: Commented::Always,
        line: Some(1),
        wanted: Some("an address, for instance 0xffffffffb3d420b5"),
    }
    // Only files have it: the sinks look it up, with `--source-lines`.
    Source: SourceLine, (source_line in DropRecord { cause: Cause::Software { location: Location { source_line, .. }, .. }, .. }), {
        key: "source_line",
        name: "source",
        what: "Software drops: file:line, with --source-lines",
        origin: Some(Origin::Software),
        commented: Commented::Always,
        line: None,
        wanted: None,
    }
    // Only eBPF captures it, with `--stack`.
    Stack: Stack, (stack in DropRecord { cause: Cause::Software { location: Location { stack, .. }, .. }, .. }), {
        key: "stack",
        name: "stack",
        what: "Software drops: the functions that called each other, the innermost first, with --stack",
        origin: Some(Origin::Software),
        commented: Commented::Always,
        line: Some(7),
        wanted: Some("a function of the kernel, for instance tcp_v4_rcv"),
        told_by: Tellers::Ebpf,
    }
    Trap: Name, (trap in DropRecord { cause: Cause::Hardware { trap, .. }, .. }), {
        key: "trap",
        name: "trap",
        what: "Hardware drops: devlink trap",
        origin: Some(Origin::Hardware),
        commented: Commented::Always,
        line: None,
        wanted: Some("a trap, for instance blackhole_route"),
    }
    TrapGroup: Name, (group in DropRecord { cause: Cause::Hardware { group, .. }, .. }), {
        key: "trap_group",
        name: "trap_group",
        what: "Hardware drops: devlink trap group",
        origin: Some(Origin::Hardware),
        commented: Commented::Always,
        line: None,
        wanted: Some("a trap group, for instance l3_drops"),
    }
    Cookie: Bytes, (cookie in DropRecord { cause: Cause::Hardware { cookie, .. }, .. }), {
        key: "cookie",
        name: "cookie",
        what: "Hardware drops: cookie of the tc action",
        origin: Some(Origin::Hardware),
        commented: Commented::Always,
        line: Some(3),
        wanted: None,
    }
    IfIndex: Index, (from ifindex, into set_ifindex), {
        key: "ifindex",
        name: "ifindex",
        what: "Input interface; absent for locally generated packets",
        origin: None,
        commented: Commented::OnSharedInterface,
        line: Some(4),
        wanted: None,
    }
    // After the index, which makes the interface that has the name.
    IfName: Name, (from ifname, into set_ifname), {
        key: "ifname",
        name: "ifname",
        what: "Its name; for software drops a guess",
        origin: None,
        commented: Commented::OnSharedInterface,
        line: None,
        wanted: None,
    }
    Link: Link, (from |record: &DropRecord<'_>| Some(record.link)), {
        key: "link",
        name: "link",
        what: "What the bytes begin with: ethernet, raw, …",
        origin: None,
        commented: Commented::Never,
        line: Some(5),
        wanted: None,
    }
    // A comment only where the bytes do not show it: see `comment::unsaid_protocol`.
    Protocol: EtherType, (protocol in DropRecord { protocol, .. }), {
        key: "protocol",
        name: "proto",
        what: "skb->protocol",
        origin: None,
        commented: Commented::Always,
        line: Some(6),
        wanted: None,
    }
    Device: Name, (device in DropRecord { context: DropContext { device, .. }, .. }), {
        key: "device",
        name: "device",
        what: "eBPF: the device that it was at, on its way in or out",
        origin: None,
        commented: Commented::Always,
        line: Some(7),
        wanted: Some("a device, for instance eth0"),
        told_by: Tellers::Ebpf,
    }
    Netns: Netns, (from netns, into set_netns), {
        key: "netns",
        name: "netns",
        what: "eBPF: the inode of its network namespace",
        origin: None,
        commented: Commented::Always,
        line: Some(8),
        wanted: None,
        told_by: Tellers::Ebpf,
    }
    NetnsName: Name, (netns_name in DropRecord { context: DropContext { netns_name, .. }, .. }), {
        key: "netns_name",
        name: "netns_name",
        what: "eBPF: what this host calls that namespace",
        origin: None,
        commented: Commented::Always,
        line: Some(9),
        wanted: Some("the name of a network namespace"),
        told_by: Tellers::Ebpf,
    }
    Running: Name, (running in DropRecord { context: DropContext { running, .. }, .. }), {
        key: "running",
        name: "running",
        what: "eBPF: the task that was running, not always the sender",
        origin: None,
        commented: Commented::Always,
        line: Some(10),
        wanted: Some("the name of a task, for instance curl"),
        told_by: Tellers::Ebpf,
    }
    RunningPid: Number, (running_pid in DropRecord { context: DropContext { running_pid, .. }, .. }), {
        key: "running_pid",
        name: "running_pid",
        what: "eBPF: the process of that task",
        origin: None,
        commented: Commented::Always,
        line: Some(11),
        wanted: Some("the number of a process"),
        told_by: Tellers::Ebpf,
    }
    Cgroup: Name, (cgroup in DropRecord { context: DropContext { cgroup, .. }, .. }), {
        key: "cgroup",
        name: "cgroup",
        what: "eBPF: the cgroup of the socket, else of the running task",
        origin: None,
        commented: Commented::Always,
        line: Some(12),
        wanted: Some("the path of a cgroup, for instance /system.slice/*"),
        told_by: Tellers::Ebpf,
    }
    CgroupId: Id, (cgroup_id in DropRecord { context: DropContext { cgroup_id, .. }, .. }), {
        key: "cgroup_id",
        name: "cgroup_id",
        what: "eBPF: the number of that cgroup",
        origin: None,
        commented: Commented::Always,
        line: Some(13),
        wanted: Some("the number of a cgroup"),
        told_by: Tellers::Ebpf,
    }
    Unit: Name, (unit in DropRecord { context: DropContext { unit, .. }, .. }), {
        key: "unit",
        name: "unit",
        what: "eBPF: the container or systemd unit of that cgroup",
        origin: None,
        commented: Commented::Always,
        line: Some(14),
        wanted: Some("a container or a unit, for instance ssh.service"),
        told_by: Tellers::Ebpf,
    }
    Socket: Socket, (socket in DropRecord { context: DropContext { socket, .. }, .. }), {
        key: "socket",
        name: "socket",
        what: "eBPF: the socket that owns it or would have received it",
        origin: None,
        commented: Commented::Always,
        line: Some(15),
        wanted: Some("a socket, for instance *listen"),
        told_by: Tellers::Ebpf,
    }
    Mark: Mark, (mark in DropRecord { context: DropContext { mark, .. }, .. }), {
        key: "mark",
        name: "mark",
        what: "eBPF: the mark of firewalls and routing, unless it is 0",
        origin: None,
        commented: Commented::Always,
        line: Some(16),
        wanted: Some("a mark, for instance 0x17"),
        told_by: Tellers::Ebpf,
    }
    Vlan: Number, (vlan in DropRecord { context: DropContext { vlan, .. }, .. }), {
        key: "vlan",
        name: "vlan",
        what: "eBPF: the VLAN whose tag a device took off",
        origin: None,
        commented: Commented::Always,
        line: Some(17),
        wanted: None,
        told_by: Tellers::Ebpf,
    }
    Heading: Heading, (heading in DropRecord { context: DropContext { heading, .. }, .. }), {
        key: "direction",
        name: "direction",
        what: "eBPF: whether it came in or was on its way out, where certain",
        origin: None,
        commented: Commented::Always,
        line: Some(18),
        wanted: Some("`inbound` or `outbound`"),
        told_by: Tellers::Ebpf,
    }
}

fn origin(record: &DropRecord<'_>) -> Option<Origin> {
    record.cause.origin()
}

fn set_origin(record: &mut DropRecord<'_>, origin: Origin) {
    record.cause = match origin {
        Origin::Software => Cause::Software {
            location: Location::default(),
            reason: None,
        },
        Origin::Hardware => Cause::Hardware {
            group: None,
            trap: None,
            cookie: None,
        },
    };
}

fn module<'a>(record: &DropRecord<'a>) -> Option<&'a [u8]> {
    match record.cause {
        Cause::Software { location, .. } => location.symbol.and_then(Symbol::module),
        _ => None,
    }
}

fn ifindex(record: &DropRecord<'_>) -> Option<u32> {
    record.input.map(|input| input.key.index)
}

fn set_ifindex(record: &mut DropRecord<'_>, index: u32) {
    let key = InterfaceKey::new(index, record.context.netns);
    record.input = Some(Interface::new(key, None));
}

fn netns(record: &DropRecord<'_>) -> Option<Netns> {
    record.context.netns
}

/// The interface's namespace is the packet's.
fn set_netns(record: &mut DropRecord<'_>, netns: Netns) {
    record.context.netns = Some(netns);
    if let Some(input) = record.input {
        let key = InterfaceKey::new(input.key.index, Some(netns));
        record.input = Some(Interface::new(key, input.name()));
    }
}

fn ifname<'a>(record: &DropRecord<'a>) -> Option<Name<'a>> {
    record.input.and_then(Interface::name)
}

fn set_ifname<'a>(record: &mut DropRecord<'a>, name: Name<'a>) {
    let input = record.input;
    record.input = input.map(|input| Interface::new(input.key, Some(name)));
}
