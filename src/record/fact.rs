//! A dropped packet, and what is said of it: the one description of every fact.
//!
//! A new fact is a field of [`DropRecord`] and a row below it. From the row follow its comment, both
//! ways; its field of JSON, and that field's schema; its line of `-v`; its word in the filter; and
//! its part in [`Packed`](super::Packed), which is the table's copy of a record and the key under
//! which packets share the options of a file.

use super::value::Parts;
use super::{
    EtherType, Interface, Kind, Link, Name, Origin, PacketFlags, Reason, Symbol, Timestamp, Value,
};
use crate::untrusted::Untrusted;

/// One dropped packet, as far as it was captured, and what the kernel said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropRecord<'a> {
    /// When it was dropped, by the kernel's clock; `None` where a file says no time that we can hold.
    pub time: Option<Timestamp>,
    /// Why and where it was dropped.
    pub cause: Cause<'a>,
    /// The interface it came in by; `None` where it was generated locally (or nobody knows).
    pub input: Option<Interface<'a>>,
    /// What the first byte of [`data`](Self::data) belongs to.
    pub link: Link,
    /// `skb->protocol`: as the kernel said, else as the bytes say ([`crate::packet::protocol`]).
    pub protocol: Option<EtherType>,
    /// Bytes of the whole frame, from the link-layer header on; at least `data.len()`.
    pub original_len: u32,
    /// The captured bytes, from the link-layer header on, perhaps truncated.
    pub data: &'a [u8],
    /// Packet comments of a capture file that are not ours: carried along, never looked at.
    pub notes: &'a [Untrusted<&'a str>],
    /// What a capture file says of how the packet was seen. The direction of a drop is told by
    /// [`input`](Self::input) instead.
    pub flags: PacketFlags,
}

impl<'a> DropRecord<'a> {
    /// A packet of which nothing is known but its bytes, all of them.
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

/// Why a packet was dropped. A sum type, because software and hardware drops have different facts:
/// a hardware drop has no kernel symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The kernel freed the packet (tracepoint `skb:kfree_skb`).
    Software {
        /// The place in the kernel.
        location: Location<'a>,
        /// Absent before Linux 5.18.
        reason: Option<Reason<'a>>,
    },
    /// A device dropped the packet and told the kernel (devlink trap).
    Hardware {
        /// Trap group, for instance `l3_drops`.
        group: Option<Name<'a>>,
        /// Trap, for instance `blackhole_route`.
        trap: Option<Name<'a>>,
        /// The cookie of the tc action that dropped it.
        cookie: Option<&'a [u8]>,
    },
    /// A packet of a capture that says nothing of drops.
    Unknown,
}

impl Cause<'_> {
    /// Who dropped the packet.
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Software { .. } => Some(Origin::Software),
            Self::Hardware { .. } => Some(Origin::Hardware),
            Self::Unknown => None,
        }
    }
}

/// The place in the kernel that dropped a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location<'a> {
    /// The return address of the call that freed the packet.
    pub pc: Option<u64>,
    /// The kernel's name for that address.
    pub symbol: Option<Symbol<'a>>,
    /// The line of the kernel's source, where debug information was looked up.
    pub source_line: Option<Name<'a>>,
}

/// What is to know of a fact, beside its value.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its key in comments.
    pub key: &'static str,
    /// Its name in JSON and in `-v`.
    pub name: &'static str,
    /// Its description in JSON's schema.
    pub what: &'static str,
    /// Whose drops alone can have it.
    pub origin: Option<Origin>,
    /// Which packets of a file say it in a comment.
    pub commented: Commented,
    /// Its place among the lines of `-v`; `None` where the first line says it already.
    pub line: Option<u8>,
    /// What its word in the filter wants behind it; `None` where the filter has no such word, or
    /// one that does more than look the value up.
    pub wanted: Option<&'static str>,
}

/// Which packets of a file say a fact in a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commented {
    /// All.
    Always,
    /// Those of an interface that all packets share; else the interface says it.
    OnSharedInterface,
    /// None: it follows from other facts.
    Never,
}

/// Declares the facts. A row is `Name: Kind, …` and where the value is: `binding in pattern` of a
/// record that has a place for it, `from … into …` for a value that is made and stored otherwise,
/// `from …` alone for one that follows from others.
macro_rules! facts {
    ($(
        $fact:ident: $kind:ident, $place:tt, { $($about:tt)* }
    )*) => {
        /// A fact of a drop, in the order of comments and of JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the rows say it")]
        pub enum Fact { $($fact),* }

        impl Fact {
            /// Every fact.
            pub const ALL: &[Self] = &[$(Self::$fact),*];

            /// What is to know of it.
            pub const fn about(self) -> &'static About {
                match self {
                    $(Self::$fact => const { &About { $($about)* } }),*
                }
            }

            /// Which values it has.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$fact => Kind::$kind),*
                }
            }

            /// The fact that a word of the filter looks up.
            pub fn from_word(word: &str) -> Option<Self> {
                let is_asked = |fact: &&Self| {
                    fact.about().key == word && fact.about().wanted.is_some()
                };
                Self::ALL.iter().find(is_asked).copied()
            }

            /// Its value, where the record has one.
            #[inline]
            pub fn get<'a>(self, record: &DropRecord<'a>) -> Option<Value<'a>> {
                match self {
                    $(Self::$fact => facts!(@get record $kind $place)),*
                }
            }

            /// Hands on the stored facts of a record.
            #[inline(always)]
            pub(super) fn each_stored<'a>(
                record: &DropRecord<'a>,
                mut take: impl FnMut(Self, Parts<'a>),
            ) {
                $(
                    let value: Option<Value<'a>> = facts!(@get record $kind $place);
                    if let Some(parts) = value.and_then(Value::parts) {
                        take(Self::$fact, parts);
                    }
                )*
            }

            /// Stores the facts that `find` has, where the record has a place for them.
            #[inline]
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
    // First, for it decides which facts the record has places for.
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
    // Only files have it: the sinks look it up where `--source-lines` asks for it.
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
    // Behind the index, which makes its place.
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
    // As a comment only where the bytes do not say it: see `comment::unsaid_protocol`.
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
    record.input.map(|input| input.index)
}

fn set_ifindex(record: &mut DropRecord<'_>, index: u32) {
    record.input = Some(Interface::new(index, None));
}

fn ifname<'a>(record: &DropRecord<'a>) -> Option<Name<'a>> {
    record.input.and_then(Interface::name)
}

fn set_ifname<'a>(record: &mut DropRecord<'a>, name: Name<'a>) {
    let input = record.input;
    record.input = input.map(|input| Interface::new(input.index, Some(name)));
}
