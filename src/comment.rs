//! A record's metadata as packet comments, one fact a comment, and back again. The keys, their
//! order and the spelling of the values are our file format's public interface.

use std::borrow::Cow;
use std::fmt;

use crate::packet;
use crate::record::{
    Cause, DropRecord, EtherType, Hex, Interface, LinkType, Location, MAX_NAME, Name, Origin,
    Symbol,
};
use crate::untrusted::Untrusted;

/// One comment of a packet; its [`Display`](fmt::Display) is the comment's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comment<'a> {
    /// `reason: NO_SOCKET`
    Reason(Name<'a>),
    /// `location: __udp4_lib_rcv+0x235/0xd90`, with ` [module]`
    Location(Symbol<'a>),
    /// `pc: 0xffffffffb3d420b5`
    Pc(u64),
    /// `trap: blackhole_route`
    Trap(Name<'a>),
    /// `trap_group: l3_drops`
    TrapGroup(Name<'a>),
    /// `cookie: deadbeef00112233`
    Cookie(&'a [u8]),
    /// `protocol: 0x0004`, only where the bytes do not say it
    Protocol(EtherType),
    /// `origin: software`
    Origin(Origin),
    /// `ifindex: 5`
    IfIndex(u32),
    /// `ifname: eth0`
    IfName(Name<'a>),
    /// `time: unknown`, only where the block has a time but the record has none
    NoTime,
    /// `meaning: …`, on request
    Meaning(&'a str),
}

impl fmt::Display for Comment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(name) => write!(f, "reason: {name}"),
            Self::Location(symbol) => write!(f, "location: {symbol}"),
            Self::Pc(pc) => write!(f, "pc: {pc:#018x}"),
            Self::Trap(name) => write!(f, "trap: {name}"),
            Self::TrapGroup(name) => write!(f, "trap_group: {name}"),
            Self::Cookie(bytes) => write!(f, "cookie: {}", Hex(bytes)),
            Self::Protocol(protocol) => write!(f, "protocol: {protocol}"),
            Self::Origin(origin) => write!(f, "origin: {origin}"),
            Self::IfIndex(index) => write!(f, "ifindex: {index}"),
            Self::IfName(name) => write!(f, "ifname: {name}"),
            Self::NoTime => f.write_str("time: unknown"),
            Self::Meaning(meaning) => write!(f, "meaning: {meaning}"),
        }
    }
}

/// The record's protocol, where the bytes do not say it. `link` and `data` are what the file holds
/// of the packet: with `--link-type` not what the record holds.
pub fn unsaid_protocol(record: &DropRecord<'_>, link: LinkType, data: &[u8]) -> Option<EtherType> {
    record
        .protocol
        .filter(|&protocol| packet::protocol(link, data) != Some(protocol))
}

/// The comments of a record, in the order in which they are written; `unsaid` is its
/// [`unsaid_protocol`].
pub fn comments<'a>(
    record: &DropRecord<'a>,
    unsaid: Option<EtherType>,
) -> impl Iterator<Item = Comment<'a>> {
    let cause = match record.cause {
        Cause::Software { location, reason } => [
            reason.map(Comment::Reason),
            location.symbol.map(Comment::Location),
            location.pc.map(Comment::Pc),
        ],
        Cause::Hardware {
            group,
            trap,
            cookie,
        } => [
            trap.map(Comment::Trap),
            group.map(Comment::TrapGroup),
            cookie.map(Comment::Cookie),
        ],
        Cause::Unknown => [None; 3],
    };
    cause
        .into_iter()
        .chain([unsaid.map(Comment::Protocol)])
        .flatten()
}

/// What the interface of a packet says elsewhere, as comments: for files in which all packets
/// have to share one interface.
pub fn interface_comments<'a>(record: &DropRecord<'a>) -> impl Iterator<Item = Comment<'a>> {
    let origin = record.cause.origin().map(Comment::Origin);
    let index = record.input.map(|input| Comment::IfIndex(input.index));
    let name = record.input.and_then(Interface::name).map(Comment::IfName);
    [origin, index, name].into_iter().flatten()
}

/// What a packet's comments say: the way back from [`comments`].
#[derive(Debug, Default)]
pub struct Facts<'a> {
    reason: Option<Cow<'a, [u8]>>,
    location: Option<Cow<'a, [u8]>>,
    pc: Option<u64>,
    trap: Option<Cow<'a, [u8]>>,
    trap_group: Option<Cow<'a, [u8]>>,
    cookie: Option<Vec<u8>>,
    protocol: Option<EtherType>,
    origin: Option<Origin>,
    ifindex: Option<u32>,
    ifname: Option<Cow<'a, [u8]>>,
    has_no_time: bool,
    /// Comments that are not ours: unknown keys, values we would not write, repetitions.
    notes: Vec<Untrusted<&'a str>>,
}

impl<'a> Facts<'a> {
    /// For a packet whose interface says that its drop is of `origin`.
    pub fn of_origin(origin: Option<Origin>) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }

    /// To be kept for packets that say the same; `None` where notes were left by others.
    pub fn to_be_kept(self) -> Option<Facts<'static>> {
        fn owned(name: Option<Cow<'_, [u8]>>) -> Option<Cow<'static, [u8]>> {
            name.map(|name| Cow::Owned(name.into_owned()))
        }
        self.notes.is_empty().then(|| Facts {
            reason: owned(self.reason),
            location: owned(self.location),
            pc: self.pc,
            trap: owned(self.trap),
            trap_group: owned(self.trap_group),
            cookie: self.cookie,
            protocol: self.protocol,
            origin: self.origin,
            ifindex: self.ifindex,
            ifname: owned(self.ifname),
            has_no_time: self.has_no_time,
            notes: Vec::new(),
        })
    }

    /// Takes one comment.
    pub fn read(&mut self, comment: &'a str) {
        if self.read_known(comment).is_none() {
            self.notes.push(comment.into());
        }
    }

    /// `None` where the comment is not one that we write, or its fact is known already.
    fn read_known(&mut self, comment: &'a str) -> Option<()> {
        fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
            if place.is_some() {
                return None;
            }
            *place = Some(value);
            Some(())
        }
        let (key, value) = comment.split_once(": ")?;
        match (key, self.origin) {
            // Not a fact of such a drop.
            ("reason" | "location" | "pc", Some(Origin::Hardware))
            | ("trap" | "trap_group" | "cookie", Some(Origin::Software)) => None,
            ("reason", _) => set(&mut self.reason, read_name(value)?),
            ("location", _) => set(&mut self.location, read_name(value)?),
            ("pc", _) => set(&mut self.pc, read_hex(value)?),
            ("trap", _) => set(&mut self.trap, read_name(value)?),
            ("trap_group", _) => set(&mut self.trap_group, read_name(value)?),
            ("cookie", _) => set(&mut self.cookie, read_bytes(value)?),
            ("protocol", _) => set(
                &mut self.protocol,
                EtherType(u16::try_from(read_hex(value)?).ok()?),
            ),
            ("origin", _) => set(&mut self.origin, read_origin(value)?),
            ("ifindex", _) => set(&mut self.ifindex, value.parse().ok()?),
            ("ifname", _) => set(&mut self.ifname, read_name(value)?),
            ("time", _) => {
                let is_new = value == "unknown" && !self.has_no_time;
                is_new.then(|| self.has_no_time = true)
            }
            // The catalogue's, and nothing of the drop's: it is looked up anew.
            ("meaning", _) => Some(()),
            _ => None,
        }
    }

    /// The cause of the drop. Where neither the interface nor a comment names the origin, the other
    /// comments decide.
    pub fn cause(&self) -> Cause<'_> {
        let software = self.reason.is_some() || self.location.is_some() || self.pc.is_some();
        let hardware = self.trap.is_some() || self.trap_group.is_some() || self.cookie.is_some();
        match self.origin {
            Some(Origin::Hardware) => self.hardware(),
            Some(Origin::Software) => self.software(),
            None if software => self.software(),
            None if hardware => self.hardware(),
            None => Cause::Unknown,
        }
    }

    fn software(&self) -> Cause<'_> {
        let symbol = self.location.as_deref().and_then(Name::new).map(Symbol);
        Cause::Software {
            location: Location {
                pc: self.pc,
                symbol,
            },
            reason: self.reason.as_deref().and_then(Name::new),
        }
    }

    fn hardware(&self) -> Cause<'_> {
        Cause::Hardware {
            group: self.trap_group.as_deref().and_then(Name::new),
            trap: self.trap.as_deref().and_then(Name::new),
            cookie: self.cookie.as_deref(),
        }
    }

    /// The input interface, where the comments name it.
    pub fn input(&self) -> Option<Interface<'_>> {
        let name = self.ifname.as_deref().and_then(Name::new);
        Some(Interface::new(self.ifindex?, name))
    }

    /// What the kernel called the protocol, where the bytes alone do not say it.
    pub fn protocol(&self) -> Option<EtherType> {
        self.protocol
    }

    /// Whether the time in the packet's block is none.
    pub fn has_no_time(&self) -> bool {
        self.has_no_time
    }

    /// The comments that are not ours.
    pub fn notes(&self) -> &[Untrusted<&'a str>] {
        &self.notes
    }
}

/// The bytes of a [`Name`].
fn read_name(text: &str) -> Option<Cow<'_, [u8]>> {
    let mut bytes = unescape(text);
    if bytes.is_empty() || bytes.contains(&0) {
        return None;
    }
    match &mut bytes {
        Cow::Borrowed(bytes) => *bytes = &bytes[..bytes.len().min(MAX_NAME)],
        Cow::Owned(bytes) => bytes.truncate(MAX_NAME),
    }
    Some(bytes)
}

fn read_origin(text: &str) -> Option<Origin> {
    match text {
        "software" => Some(Origin::Software),
        "hardware" => Some(Origin::Hardware),
        _ => None,
    }
}

/// A number as we write it: `0x` and lower-case hexadecimal.
fn read_hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn read_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?))
        .collect()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The way back from [`Escaped`](crate::record::Escaped): `\xNN` is a byte, anything else itself.
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('\\') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match *rest {
            [b'\\', b'x', high, low, ..]
                if hex_digit(high).is_some() && hex_digit(low).is_some() =>
            {
                bytes.push(hex_digit(high).unwrap_or(0) << 4 | hex_digit(low).unwrap_or(0));
                rest = &rest[4..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Escaped;
    use proptest::prelude::*;

    #[test]
    fn comments_say_what_the_manual_says() {
        #[track_caller]
        fn check(comment: &Comment<'_>, text: &str) {
            assert_eq!(comment.to_string(), text);
        }
        let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
        check(&Comment::Reason(name("NO_SOCKET")), "reason: NO_SOCKET");
        check(
            &Comment::Location(Symbol(name("gre_rcv+0x1a/0x2d [gre]"))),
            "location: gre_rcv+0x1a/0x2d [gre]",
        );
        check(
            &Comment::Pc(0xffff_ffff_b3d4_20b5),
            "pc: 0xffffffffb3d420b5",
        );
        check(&Comment::Pc(0x1000), "pc: 0x0000000000001000");
        check(
            &Comment::Trap(name("blackhole_route")),
            "trap: blackhole_route",
        );
        check(
            &Comment::TrapGroup(name("l3_drops")),
            "trap_group: l3_drops",
        );
        check(&Comment::Cookie(&[0xde, 0xad, 0x00]), "cookie: dead00");
        check(&Comment::Protocol(EtherType(4)), "protocol: 0x0004");
        check(&Comment::Origin(Origin::Hardware), "origin: hardware");
        check(&Comment::IfIndex(5), "ifindex: 5");
        check(&Comment::IfName(name("eth0")), "ifname: eth0");
        check(&Comment::NoTime, "time: unknown");
    }

    #[test]
    fn what_we_would_not_write_is_kept_as_a_note() {
        let mut facts = Facts::default();
        for comment in [
            "look here",
            "reason: A",
            "reason: B",
            "pc: 12",
            "pc: 0x+1",
            "cookie: abc",
            "trap: ",
        ] {
            facts.read(comment);
        }
        assert_eq!(
            facts.notes(),
            [
                "look here",
                "reason: B",
                "pc: 12",
                "pc: 0x+1",
                "cookie: abc",
                "trap: "
            ]
            .map(Untrusted::new)
        );
        let Cause::Software { reason, .. } = facts.cause() else {
            panic!("a reason makes a software drop")
        };
        assert_eq!(reason, Name::new(b"A"));
    }

    #[test]
    fn a_packet_without_facts_has_no_cause() {
        let mut facts = Facts::default();
        facts.read("somebody's comment");
        assert_eq!(facts.cause(), Cause::Unknown);
    }

    proptest! {
        #[test]
        fn escaping_survives_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = Escaped(&bytes).to_string();
            prop_assert_eq!(&*unescape(&text), &bytes[..]);
        }

        #[test]
        fn no_comment_panics_the_reader(text in ".*") {
            let mut facts = Facts::default();
            facts.read(&text);
            let _ = facts.cause();
        }
    }
}
