//! Compares a fact of the drop exactly: `reason = NO_SOCKET`, or `reason = ""` for a drop that
//! could have a reason and has none. The filters for the rows of a summary consist of such
//! comparisons.

use std::fmt;
use std::io::Write;

use super::glob::Glob;
use super::packet::{FramedPacket, Framing};
use crate::packet::{self, Flow};
use crate::record::{
    self, Cause, DropRecord, EtherType, Heading, Interface, LinkType, Name, Origin, Symbol, Value,
};
use crate::symbol::sent::{Module, Sent};

/// A fact that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedFact {
    Reason,
    /// The whole symbol: `gre_rcv+0x41/0xb0 [gre]`.
    Location,
    Module,
    IfName,
    /// A fact that is matched unchanged.
    Plain(record::Fact),
}

impl NamedFact {
    pub fn word(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Location => "location",
            Self::Module => "module",
            Self::IfName => "ifname",
            Self::Plain(fact) => fact.about().key,
        }
    }

    /// Returns the origin of the only drops that have the fact; `None` if both have it.
    pub fn origin(self) -> Option<Origin> {
        match self {
            Self::Reason | Self::Location | Self::Module => Some(Origin::Software),
            Self::IfName => None,
            Self::Plain(fact) => fact.about().origin,
        }
    }

    /// Returns whether the fact equals `value`, byte by byte. An empty value asks for a drop
    /// without the fact; it is false for a drop that cannot have the fact.
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
            (Self::Plain(record::Fact::Socket), _) => match record.context.socket {
                Some(socket) => FactText::of(&socket).text() == value,
                None => value.is_empty(),
            },
            (Self::Plain(fact), _) => {
                can_have(record, fact)
                    && match fact.get(record) {
                        Some(Value::Stack(stack)) => stack.is_folded(value),
                        _ => named(name(record, fact)),
                    }
            }
            (Self::IfName, _) => record.input.is_some_and(|input| named(input.name())),
            _ => false,
        }
    }
}

/// Returns whether drops of this origin can have the fact.
pub fn can_have(record: &DropRecord<'_>, fact: record::Fact) -> bool {
    let wanted = fact.about().origin;
    wanted.is_none() || record.cause.origin() == wanted
}

/// Returns the value of a fact that is a name.
pub fn name<'a>(record: &DropRecord<'a>, fact: record::Fact) -> Option<Name<'a>> {
    match fact.get(record)? {
        Value::Name(name) | Value::Symbol(Symbol(name)) => Some(name),
        _ => None,
    }
}

/// Returns whether the value of a fact that is a name, or the function of a frame, matches.
pub fn matches(record: &DropRecord<'_>, fact: record::Fact, glob: &Glob) -> bool {
    match fact.get(record) {
        Some(Value::Stack(stack)) => stack.frames().any(|frame| is_at(frame, glob)),
        _ => name(record, fact).is_some_and(|name| glob.matches(name.as_bytes())),
    }
}

/// Returns whether a symbol, its function, or that without the compiler's suffix matches.
pub fn is_at(symbol: Symbol<'_>, glob: &Glob) -> bool {
    let function = symbol.function();
    // The compiler splits parts off functions and adds suffixes such as `.constprop.0`.
    let plain = function.split(|&byte| byte == b'.').next();
    glob.matches(function)
        || plain.is_some_and(|plain| glob.matches(plain))
        || glob.matches(place(symbol))
        || glob.matches(symbol.0.as_bytes())
}

/// Returns a symbol without its module, as a text line shows it: `gre_rcv+0x41/0xb0`.
fn place(symbol: Symbol<'_>) -> &[u8] {
    let text = symbol.0.as_bytes();
    let end = text.iter().position(|&byte| byte == b' ');
    &text[..end.unwrap_or(text.len())]
}

/// A short text that is made anew each time, without an allocation.
pub struct FactText {
    bytes: [u8; 80],
    len: usize,
}

impl FactText {
    /// Writes a value, without what does not fit.
    pub fn of(value: &impl fmt::Display) -> Self {
        let mut text = Self {
            bytes: [0; 80],
            len: 0,
        };
        let mut rest = &mut text.bytes[..];
        let _ = write!(rest, "{value}");
        let left = rest.len();
        text.len = text.bytes.len() - left;
        text
    }

    /// Returns what was written.
    pub fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Returns the value of a fact that is a number; `None` for a direction that is not certain.
pub fn number(record: &DropRecord<'_>, fact: record::Fact) -> Option<u64> {
    let value = fact.get(record)?;
    if value == Value::Heading(Heading::Unknown) {
        return None;
    }
    let (number, _) = value.parts()?;
    Some(number)
}

/// Returns the module of a symbol, if the symbol has its whole name.
pub fn module(symbol: Symbol<'_>) -> Option<&[u8]> {
    match Sent::new(symbol).module {
        Module::Named(name) => Some(name).filter(|name| !name.is_empty()),
        Module::Kernel | Module::Prefix(_) | Module::Unknown => None,
    }
}

/// Returns whether the interface has no name and is shown by this one: `if5`.
pub fn is_shown_as(input: Option<Interface<'_>>, name: &[u8]) -> bool {
    input.is_some_and(|input| {
        input.name().is_none() && Interface::new(input.key, Name::new(name)).name().is_none()
    })
}

/// Returns the flow of the packet, if its addresses were captured.
pub fn flow(packet: &FramedPacket<'_>) -> Option<Flow> {
    let data = packet.bytes.0;
    if std::ptr::eq(data, packet.record.data) {
        return packet::flow(packet.record.link.kind, data);
    }
    // The packet is inside a tunnel.
    match packet.framing {
        Framing::Ethernet => packet::flow(LinkType::ETHERNET, data),
        _ => packet::flow_behind(EtherType(packet.ether_type), data),
    }
}
