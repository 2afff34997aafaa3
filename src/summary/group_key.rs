//! The keys of groups of drops: borrowed from a record for looking a group up, owned in the counts.

use std::fmt;
use std::net::SocketAddr;

use indexmap::Equivalent;

use super::{Counted, Grouping};
use crate::dissect::ProtocolName;
use crate::filter::{self, DropWord, FactText};
use crate::packet::Flow;
use crate::record::{
    Cause, Escaped, EtherType, Fact, Heading, Interface, InterfaceKey, Location, Name, Netns,
    Symbol, unfolded,
};
use crate::symbol::sent::{Module, Sent};

/// The property that the drops of a group have in common. `B` holds names, which are bytes from
/// outside and empty where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupKey<B = Box<[u8]>> {
    /// A drop reason; empty where the kernel gave none.
    Reason(B),
    /// A trap of a device.
    Trap(B),
    /// A location in the kernel.
    Location {
        /// The address.
        pc: Option<u64>,
        /// The symbol.
        symbol: B,
    },
    /// The input interface of the packets.
    Interface {
        /// The key of the interface.
        key: InterfaceKey,
        /// The name.
        name: B,
    },
    /// Packets without an input interface.
    Local,
    /// Packets from one address to another.
    Flow(Flow),
    /// Packets of this protocol, which is not IP.
    OtherProtocol(Option<EtherType>),
    /// The kernel itself, outside of modules.
    Kernel,
    /// A kernel module.
    Module(B),
    /// A location whose module is not known.
    UnknownModule,
    /// The functions of a call stack, the outermost first, with semicolons between them.
    Stack(B),
    /// A device, where drops are grouped by module.
    Device,
    /// Packets at a device.
    AtDevice {
        /// The inode of its namespace; `None` for the initial one, or where it is not known.
        netns: Option<u32>,
        /// Its name.
        name: B,
    },
    /// Packets in a network namespace.
    Netns {
        /// The namespace.
        netns: Netns,
        /// Its name.
        name: B,
    },
    /// Drops with this name for a fact.
    Named(Fact, B),
    /// Drops with this number for a fact.
    Numbered(Fact, u64),
    /// Drops without a fact.
    Without(Fact),
    /// Packets of a capture without drop facts.
    NotDropped,
    /// Drops that the kernel counted without sending the packet, and packets of length 0, of which no
    /// more is known.
    Unseen,
}

/// A key that borrows the names of a record.
pub type GroupKeyView<'a> = GroupKey<&'a [u8]>;

impl<'a> GroupKeyView<'a> {
    /// Returns the key of the group that `counted` belongs to. A folded stack is written into `room`.
    pub fn of(grouping: Grouping, counted: &Counted<'_, 'a>, room: &'a mut Vec<u8>) -> Self {
        let cause = counted.cause();
        match grouping {
            Grouping::Location => match cause {
                Cause::Software { location, .. } => Self::location(location),
                Cause::Hardware { trap, .. } => Self::Trap(bytes(trap)),
                Cause::Unknown => Self::NotDropped,
            },
            Grouping::Reason => match cause {
                Cause::Software { reason: None, .. } if !counted.knows(grouping) => Self::Unseen,
                Cause::Software { reason, .. } => Self::Reason(bytes(reason)),
                Cause::Hardware { trap, .. } => Self::Trap(bytes(trap)),
                Cause::Unknown => Self::NotDropped,
            },
            Grouping::Module => match cause {
                Cause::Software { location, .. } => Self::module(location),
                Cause::Hardware { .. } => Self::Device,
                Cause::Unknown => Self::NotDropped,
            },
            Grouping::Stack => match cause {
                Cause::Software { location, .. } => match location.stack {
                    Some(stack) => {
                        stack.fold(room);
                        Self::Stack(room)
                    }
                    None if counted.is_unseen() => Self::Unseen,
                    None => Self::Without(Fact::Stack),
                },
                Cause::Hardware { trap, .. } => Self::Trap(bytes(trap)),
                Cause::Unknown => Self::NotDropped,
            },
            Grouping::Interface => match counted.input() {
                Some(input) => Self::Interface {
                    key: input.key,
                    name: bytes(input.name()),
                },
                None if !counted.knows(grouping) => Self::Unseen,
                None => Self::Local,
            },
            Grouping::Flow => match (counted.flow(), counted.protocol()) {
                (Some(flow), _) => Self::Flow(flow),
                (None, None) if counted.is_unseen() => Self::Unseen,
                (None, protocol) => Self::OtherProtocol(protocol),
            },
            Grouping::Device
            | Grouping::Netns
            | Grouping::Running
            | Grouping::Cgroup
            | Grouping::Unit
            | Grouping::Socket
            | Grouping::Mark
            | Grouping::Vlan
            | Grouping::Direction => Self::of_context(grouping, counted, room),
        }
    }

    fn of_context(grouping: Grouping, counted: &Counted<'_, 'a>, room: &'a mut Vec<u8>) -> Self {
        let context = counted.context();
        let named = |fact, name: Option<Name<'a>>| Some(Self::Named(fact, name?.as_bytes()));
        let numbered = |fact, number: Option<u64>| Some(Self::Numbered(fact, number?));
        let (fact, key) = match grouping {
            Grouping::Device => {
                let netns = context.netns.and_then(Netns::other);
                let device = context.device.map(Name::as_bytes);
                let key = device.map(|name| Self::AtDevice { netns, name });
                (Fact::Device, key)
            }
            Grouping::Netns => {
                let name = bytes(context.netns_name);
                let key = context.netns.map(|netns| Self::Netns { netns, name });
                (Fact::Netns, key)
            }
            Grouping::Running => (Fact::Running, named(Fact::Running, context.running)),
            Grouping::Cgroup => {
                let path = named(Fact::Cgroup, context.cgroup);
                let key = path.or_else(|| numbered(Fact::CgroupId, context.cgroup_id));
                (Fact::CgroupId, key)
            }
            Grouping::Unit => (Fact::Unit, named(Fact::Unit, context.unit)),
            Grouping::Socket => {
                let key = context.socket.map(|socket| {
                    room.clear();
                    room.extend_from_slice(FactText::of(&socket).text());
                    Self::Named(Fact::Socket, room)
                });
                (Fact::Socket, key)
            }
            Grouping::Vlan => {
                let vlan = context.vlan.map(u64::from);
                (Fact::Vlan, numbered(Fact::Vlan, vlan))
            }
            Grouping::Direction => {
                let heading = context.heading.filter(|heading| heading.is_known());
                let number = heading.map(Heading::number);
                (Fact::Heading, numbered(Fact::Heading, number))
            }
            _ => {
                let mark = context.mark.map(u64::from);
                (Fact::Mark, numbered(Fact::Mark, mark))
            }
        };
        match key {
            Some(key) => key,
            None if !counted.knows(grouping) => Self::Unseen,
            None => Self::Without(fact),
        }
    }

    fn location(location: Location<'a>) -> Self {
        Self::Location {
            pc: location.pc,
            symbol: location.symbol.map_or(&[], |symbol| symbol.0.as_bytes()),
        }
    }

    fn module(location: Location<'a>) -> Self {
        match location.symbol.map(|symbol| Sent::new(symbol).module) {
            Some(Module::Kernel) => Self::Kernel,
            Some(Module::Named(name)) if !name.is_empty() => Self::Module(name),
            _ => Self::UnknownModule,
        }
    }

    /// Copies the names.
    pub fn to_owned(self) -> GroupKey {
        self.map(Box::from)
    }
}

fn bytes(name: Option<Name<'_>>) -> &[u8] {
    name.map_or(&[], Name::as_bytes)
}

impl<B> GroupKey<B> {
    fn map<C>(self, name: impl FnOnce(B) -> C) -> GroupKey<C> {
        match self {
            Self::Reason(reason) => GroupKey::Reason(name(reason)),
            Self::Trap(trap) => GroupKey::Trap(name(trap)),
            Self::Location { pc, symbol } => GroupKey::Location {
                pc,
                symbol: name(symbol),
            },
            Self::Interface { key, name: text } => GroupKey::Interface {
                key,
                name: name(text),
            },
            Self::Local => GroupKey::Local,
            Self::Flow(flow) => GroupKey::Flow(flow),
            Self::OtherProtocol(protocol) => GroupKey::OtherProtocol(protocol),
            Self::Kernel => GroupKey::Kernel,
            Self::Module(module) => GroupKey::Module(name(module)),
            Self::UnknownModule => GroupKey::UnknownModule,
            Self::Stack(functions) => GroupKey::Stack(name(functions)),
            Self::Device => GroupKey::Device,
            Self::AtDevice { netns, name: text } => GroupKey::AtDevice {
                netns,
                name: name(text),
            },
            Self::Netns { netns, name: text } => GroupKey::Netns {
                netns,
                name: name(text),
            },
            Self::Named(fact, text) => GroupKey::Named(fact, name(text)),
            Self::Numbered(fact, number) => GroupKey::Numbered(fact, number),
            Self::Without(fact) => GroupKey::Without(fact),
            Self::NotDropped => GroupKey::NotDropped,
            Self::Unseen => GroupKey::Unseen,
        }
    }
}

impl GroupKey {
    /// Returns the key with borrowed names.
    pub fn view(&self) -> GroupKeyView<'_> {
        match self {
            Self::Reason(name) => GroupKey::Reason(name),
            Self::Trap(name) => GroupKey::Trap(name),
            Self::Location { pc, symbol } => GroupKey::Location { pc: *pc, symbol },
            Self::Interface { key, name } => GroupKey::Interface { key: *key, name },
            Self::Module(name) => GroupKey::Module(name),
            Self::Stack(functions) => GroupKey::Stack(functions),
            Self::Local => GroupKey::Local,
            Self::Flow(flow) => GroupKey::Flow(*flow),
            Self::OtherProtocol(protocol) => GroupKey::OtherProtocol(*protocol),
            Self::Kernel => GroupKey::Kernel,
            Self::UnknownModule => GroupKey::UnknownModule,
            Self::Device => GroupKey::Device,
            Self::AtDevice { netns, name } => GroupKey::AtDevice {
                netns: *netns,
                name,
            },
            Self::Netns { netns, name } => GroupKey::Netns {
                netns: *netns,
                name,
            },
            Self::Named(fact, name) => GroupKey::Named(*fact, name),
            Self::Numbered(fact, number) => GroupKey::Numbered(*fact, *number),
            Self::Without(fact) => GroupKey::Without(*fact),
            Self::NotDropped => GroupKey::NotDropped,
            Self::Unseen => GroupKey::Unseen,
        }
    }

    /// Returns whether a drop belongs to the group.
    pub fn is_of(&self, grouping: Grouping, counted: &Counted<'_, '_>) -> bool {
        match (self, counted.cause()) {
            (Self::Stack(functions), Cause::Software { location, .. }) => {
                let stack = location.stack.filter(|_| grouping == Grouping::Stack);
                stack.is_some_and(|stack| stack.is_folded(functions))
            }
            _ => GroupKeyView::of(grouping, counted, &mut Vec::new()) == self.view(),
        }
    }

    /// Returns the symbol, where the key is a location that has one.
    pub fn symbol(&self) -> Option<Symbol<'_>> {
        match self {
            Self::Location { symbol, .. } => Name::new(symbol).map(Symbol),
            _ => None,
        }
    }

    /// Returns the filter that keeps exactly the drops of this group of a `grouping`.
    pub fn filter(&self, grouping: Grouping) -> String {
        let exactly = |word: &str, name: &[u8]| format!("{word} = {}", filter::Text(name));
        let seen = |filter: String| filter + " and len != 0";
        let unseen = |filter: String| filter + " and len = 0";
        let within = |netns: Option<u32>| match netns {
            Some(inode) => format!("netns {inode}"),
            None => "not netns other".into(),
        };
        let no_protocol = || format!("flow none and {}", exactly("protocol", b""));
        match self {
            Self::Reason(name) if name.is_empty() => seen(exactly("reason", name)),
            Self::Reason(name) => exactly("reason", name),
            Self::Trap(name) => exactly("trap", name),
            Self::Location { pc, symbol } => {
                let pc = match pc {
                    Some(pc) => format!("pc {pc:#x}"),
                    None => exactly("pc", b""),
                };
                format!("{pc} and {}", exactly("location", symbol))
            }
            Self::Interface { key, name } => {
                let name = exactly("ifname", name);
                format!("iface {} and {name} and {}", key.index, within(key.netns))
            }
            Self::AtDevice { netns, name } => {
                format!("{} and {}", exactly("device", name), within(*netns))
            }
            Self::Netns { netns, name } => {
                format!("netns {} and {}", netns.inode, exactly("netns_name", name))
            }
            Self::Named(fact, name) => exactly(fact.about().key, name),
            Self::Numbered(Fact::CgroupId, number) => {
                format!("cgroup_id {number} and {}", exactly("cgroup", b""))
            }
            Self::Numbered(fact @ (Fact::Vlan | Fact::Heading), number) => {
                DropWord::Number(*fact, Some(*number)).to_string()
            }
            Self::Numbered(fact, number) => format!("{} {number}", fact.about().key),
            Self::Without(fact) => seen(exactly(fact.about().key, b"")),
            Self::Local => seen(exactly("iface", b"")),
            Self::Flow(flow) => format!("flow {}", filter::OneWay(*flow)),
            Self::OtherProtocol(Some(protocol)) => format!("flow none and protocol {protocol}"),
            Self::OtherProtocol(None) => seen(no_protocol()),
            Self::Kernel => exactly("module", b""),
            Self::Module(name) => exactly("module", name),
            Self::UnknownModule => "origin sw and not module * and not module = \"\"".into(),
            Self::Stack(functions) => exactly("stack", functions),
            Self::Device => "origin hw".into(),
            Self::NotDropped => "not origin sw and not origin hw".into(),
            Self::Unseen => unseen(match grouping {
                Grouping::Flow => no_protocol(),
                Grouping::Interface => exactly("iface", b""),
                grouping => match grouping.fact() {
                    Some(Fact::Cgroup) => exactly("cgroup_id", b""),
                    Some(fact) => exactly(fact.about().key, b""),
                    None => exactly("reason", b""),
                },
            }),
        }
    }
}

impl Equivalent<GroupKey> for GroupKeyView<'_> {
    fn equivalent(&self, key: &GroupKey) -> bool {
        *self == key.view()
    }
}

/// Shows the group's name in one line, escaped.
impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(name) if name.is_empty() => f.write_str("no reason given"),
            Self::Trap(name) if name.is_empty() => f.write_str("a trap without a name"),
            Self::Reason(name) | Self::Trap(name) | Self::Module(name) | Self::Named(_, name) => {
                Escaped(name).fmt(f)
            }
            Self::Location { pc: Some(0), .. } => f.write_str("rx_dropped"),
            Self::Location { pc, symbol } => match (symbol.is_empty(), pc) {
                (false, _) => Escaped(symbol).fmt(f),
                (true, Some(pc)) => write!(f, "{pc:#x}"),
                (true, None) => f.write_str("unknown location"),
            },
            Self::Interface { key, name } => {
                Interface::new(*key, Name::new(name)).fmt(f)?;
                write_netns(f, key.netns)
            }
            Self::AtDevice { netns, name } => {
                Escaped(name).fmt(f)?;
                write_netns(f, *netns)
            }
            Self::Netns { netns, name } => match Name::new(name) {
                Some(name) => write!(f, "{name} ({})", netns.inode),
                None => netns.fmt(f),
            },
            Self::Numbered(Fact::Mark, mark) => write!(f, "{mark:#x}"),
            Self::Numbered(Fact::Heading, number) => match Heading::from_number(*number) {
                Some(heading) => heading.fmt(f),
                None => number.fmt(f),
            },
            Self::Numbered(fact, number) => write!(f, "{} {number}", fact.about().key),
            Self::Without(Fact::Netns) => f.write_str("unknown namespace"),
            Self::Without(Fact::Running) => f.write_str("unknown task"),
            Self::Without(Fact::CgroupId) => f.write_str("unknown cgroup"),
            Self::Without(Fact::Stack) => f.write_str("no call stack"),
            Self::Without(Fact::Heading) => f.write_str("unknown direction"),
            Self::Without(fact) => write!(f, "no {}", fact.about().key),
            Self::Local => f.write_str("local"),
            Self::Flow(flow) => write_flow(f, flow),
            Self::OtherProtocol(Some(protocol)) => write!(f, "protocol {protocol}"),
            Self::OtherProtocol(None) => f.write_str("not IP"),
            Self::Kernel => f.write_str("kernel"),
            Self::UnknownModule => f.write_str("unknown module"),
            Self::Stack(functions) => {
                for (number, function) in unfolded(functions).enumerate() {
                    let called_by = if number == 0 { "" } else { " < " };
                    write!(f, "{called_by}{}", Escaped(function))?;
                }
                Ok(())
            }
            Self::Device => f.write_str("device"),
            Self::NotDropped => f.write_str("no drop"),
            Self::Unseen => f.write_str("counted without a packet"),
        }
    }
}

/// Writes the namespace of a device that is not in the initial one.
fn write_netns(f: &mut fmt::Formatter<'_>, netns: Option<u32>) -> fmt::Result {
    match netns {
        Some(inode) => write!(f, " (netns {inode})"),
        None => Ok(()),
    }
}

/// Writes a flow: `udp 10.0.0.1:53 > 10.0.0.2:1234`.
fn write_flow(f: &mut fmt::Formatter<'_>, flow: &Flow) -> fmt::Result {
    let protocol = ProtocolName(flow.transport).to_string().to_lowercase();
    match flow.ports {
        Some((source, destination)) => write!(
            f,
            "{protocol} {} > {}",
            SocketAddr::new(flow.source, source),
            SocketAddr::new(flow.destination, destination)
        ),
        None => write!(f, "{protocol} {} > {}", flow.source, flow.destination),
    }
}
