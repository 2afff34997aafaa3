//! Exact comparisons with a fact of the drop: `reason = NO_SOCKET`, and `reason = ""` for a drop that
//! could have a reason and has none. The filters for a summary's rows consist of them.

use super::packet::{Framing, Packet};
use crate::packet::{self, Flow};
use crate::record::{
    self, Cause, DropRecord, EtherType, Interface, LinkType, Name, Origin, Symbol, Value,
};
use crate::symbol::sent::{Module, Sent};

/// A fact that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    Reason,
    /// The whole symbol: `gre_rcv+0x41/0xb0 [gre]`.
    Location,
    Module,
    IfName,
    /// A name that is looked up as it is.
    Plain(record::Fact),
}

impl Fact {
    pub fn word(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Location => "location",
            Self::Module => "module",
            Self::IfName => "ifname",
            Self::Plain(fact) => fact.about().key,
        }
    }

    /// Whose drops alone have the fact.
    pub fn origin(self) -> Option<Origin> {
        match self {
            Self::Reason | Self::Location | Self::Module => Some(Origin::Software),
            Self::IfName => None,
            Self::Plain(fact) => fact.about().origin,
        }
    }

    /// Whether the fact is `value`, byte by byte. Nothing is asked for with an empty one: false of a
    /// drop that cannot have the fact.
    pub fn is(self, record: &DropRecord<'_>, value: &[u8]) -> bool {
        let named = |name: Option<Name<'_>>| match name {
            Some(name) => name.as_bytes() == value,
            None => value.is_empty(),
        };
        match (self, record.cause) {
            (Self::Reason, Cause::Software { reason, .. }) => named(reason),
            (Self::Location, Cause::Software { location, .. }) => {
                named(location.symbol.map(|symbol| symbol.0))
            }
            (Self::Module, Cause::Software { location, .. }) => {
                location.symbol.is_some_and(|symbol| match value {
                    [] => Sent::new(symbol).module == Module::Kernel,
                    value => module(symbol) == Some(value),
                })
            }
            (Self::Plain(fact), _) => can_have(record, fact) && named(name(record, fact)),
            (Self::IfName, _) => record.input.is_some_and(|input| named(input.name())),
            _ => false,
        }
    }
}

/// Whether the drop is of the origin whose drops have the fact.
pub fn can_have(record: &DropRecord<'_>, fact: record::Fact) -> bool {
    let wanted = fact.about().origin;
    wanted.is_none() || record.cause.origin() == wanted
}

/// The value of a fact that is a name.
pub fn name<'a>(record: &DropRecord<'a>, fact: record::Fact) -> Option<Name<'a>> {
    match fact.get(record)? {
        Value::Name(name) | Value::Symbol(Symbol(name)) => Some(name),
        _ => None,
    }
}

/// The value of a fact that is a number.
pub fn number(record: &DropRecord<'_>, fact: record::Fact) -> Option<u64> {
    let (number, _) = fact.get(record)?.parts()?;
    Some(number)
}

/// The module of a place, where its whole name is there.
pub fn module(symbol: Symbol<'_>) -> Option<&[u8]> {
    match Sent::new(symbol).module {
        Module::Named(name) => Some(name).filter(|name| !name.is_empty()),
        Module::Kernel | Module::Prefix(_) | Module::Unknown => None,
    }
}

/// Whether a nameless interface is shown by this name: `if5`.
pub fn is_shown_as(input: Option<Interface<'_>>, name: &[u8]) -> bool {
    input.is_some_and(|input| {
        input.name().is_none() && Interface::new(input.key, Name::new(name)).name().is_none()
    })
}

/// Who talks to whom in a packet, as far as its bytes go.
pub fn flow(packet: &Packet<'_>) -> Option<Flow> {
    let data = packet.bytes.0;
    if std::ptr::eq(data, packet.record.data) {
        return packet::flow(packet.record.link.kind, data);
    }
    // Inside a tunnel.
    match packet.framing {
        Framing::Ethernet => packet::flow(LinkType::ETHERNET, data),
        _ => packet::flow_behind(EtherType(packet.ether_type), data),
    }
}
