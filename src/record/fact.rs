//! A dropped packet and its facts, each of which is described here and nowhere else.
//!
//! A new fact is a field of [`DropRecord`] and a row of the table below. The row defines its comment, written
//! and read; its JSON field with its schema; its line of `-v`; its word in the filter; and its part in
//! [`Packed`](super::Packed), from which the table's copy of a record and the key of the option cache are made.

use super::value::Parts;
use super::{
    EtherType, Interface, Kind, Link, Name, Origin, PacketFlags, Reason, Symbol, Timestamp, Value,
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
}

impl<'a> Location<'a> {
    /// Returns the location of which the kernel reports these facts.
    pub fn new(pc: Option<u64>, symbol: Option<Symbol<'a>>) -> Self {
        Self {
            pc,
            symbol,
            source_line: None,
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

/// Declares the facts. A row is `Name: Kind, …` and the place of the value: `binding in pattern` for a field of
/// the record, `from … into …` for a pair of functions that get and set it, `from …` alone for a value that
/// follows from others.
macro_rules! facts {
    ($(
        $fact:ident: $kind:ident, $place:tt, { $($about:tt)* }
    )*) => {
        /// A fact of a drop, in the order of comments and of JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the rows say it")]
        #[non_exhaustive]
        pub enum Fact { $($fact),* }

        impl Fact {
            /// All facts.
            pub const ALL: &[Self] = &[$(Self::$fact),*];

            /// Returns its description.
            pub const fn about(self) -> &'static About {
                match self {
                    $(Self::$fact => const { &About { $($about)* } }),*
                }
            }

            /// Returns the kind of its values.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$fact => Kind::$kind),*
                }
            }

            /// Returns the fact that a word of the filter compares.
            pub fn from_word(word: &str) -> Option<Self> {
                let is_asked = |fact: &&Self| {
                    fact.about().key == word && fact.about().wanted.is_some()
                };
                Self::ALL.iter().find(is_asked).copied()
            }

            /// Returns its value, if the record has one.
            #[inline]
            pub fn get<'a>(self, record: &DropRecord<'a>) -> Option<Value<'a>> {
                match self {
                    $(Self::$fact => facts!(@get record $kind $place)),*
                }
            }

            /// Calls `take` for each stored fact of a record.
            #[inline(always)]
            pub(super) fn each_stored<'a>(
                record: &DropRecord<'a>,
                mut take: impl FnMut(Self, Parts<'a>),
            ) {
                $(
                    // First, because the compiler would keep the search for what is not stored.
                    if Kind::$kind.is_stored() {
                        let value: Option<Value<'a>> = facts!(@get record $kind $place);
                        if let Some(parts) = value.and_then(Value::parts) {
                            take(Self::$fact, parts);
                        }
                    }
                )*
            }

            /// Stores the facts that `find` returns, if the record has a place for them.
            #[inline(always)]
            pub(crate) fn store_each<'a>(
                record: &mut DropRecord<'a>,
                mut find: impl FnMut(Self) -> Option<Parts<'a>>,
            ) {
                $(facts!(@store record find $fact $kind $place);)*
            }
        }
    };
    (@get $record:ident $kind:ident ($binding:ident in $pattern:pat)) => {
        match $record {
            #[allow(unreachable_patterns, reason = "some places every record has")]
            $pattern => $binding.map(Value::$kind),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    };
    (@get $record:ident $kind:ident (from $from:expr $(, into $into:expr)?)) => {
        $from($record).map(Value::$kind)
    };
    (@store $record:ident $find:ident $fact:ident $kind:ident ($binding:ident in $pattern:pat)) => {
        match $record {
            $pattern => {
                let value = $find(Self::$fact).and_then(|parts| Kind::$kind.join(parts));
                if let Some(Value::$kind(value)) = value {
                    *$binding = Some(value);
                }
            }
            #[allow(unreachable_patterns)]
            _ => {}
        }
    };
    (@store $record:ident $find:ident $fact:ident $kind:ident (from $from:expr, into $into:expr)) => {
        if let Some(Value::$kind(value)) = $find(Self::$fact).and_then(|parts| Kind::$kind.join(parts)) {
            $into($record, value);
        }
    };
    (@store $record:ident $find:ident $fact:ident $kind:ident (from $from:expr)) => {};
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
    record.input = Some(Interface::new(index, None));
}

fn ifname<'a>(record: &DropRecord<'a>) -> Option<Name<'a>> {
    record.input.and_then(Interface::name)
}

fn set_ifname<'a>(record: &mut DropRecord<'a>, name: Name<'a>) {
    let input = record.input;
    record.input = input.map(|input| Interface::new(input.key, Some(name)));
}
