//! The syntax tree of an expression. Names are resolved, carried-over qualifiers are filled in and
//! aliases are replaced, so that two expressions with the same meaning in the manual have the same
//! tree.

use crate::packet::{self, ip::number};
use crate::record::{self, EtherType, Origin};

use super::fact::NamedFact;
use super::glob::Glob;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `a and b or c`: evaluated from left to right, with both connectives equal.
    Chain(Chain),
    /// `not a`
    Not(Box<Expr>),
    /// `inner a`: tests the packet inside the tunnel.
    Inner(Box<Expr>),
    /// One predicate.
    Primitive(Primitive),
}

/// At least two joined expressions. A list, not a tree, so that a thousand `or`s need no recursion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Never a chain itself: without parentheses it means the same.
    pub first: Box<Expr>,
    /// Not empty.
    pub rest: Vec<(Connective, Expr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connective {
    And,
    Or,
}

impl Expr {
    /// Appends expressions to `self`, and leaves out parentheses that change nothing.
    pub fn chained(self, mut more: Vec<(Connective, Expr)>) -> Self {
        if more.is_empty() {
            return self;
        }
        match self {
            Self::Chain(mut chain) => {
                chain.rest.append(&mut more);
                Self::Chain(chain)
            }
            first => Self::Chain(Chain {
                first: Box::new(first),
                rest: more,
            }),
        }
    }

    /// Negates the expression; a double negation cancels out.
    pub fn negated(self) -> Self {
        match self {
            Self::Not(expr) => *expr,
            expr => Self::Not(Box::new(expr)),
        }
    }
}

impl From<Primitive> for Expr {
    fn from(primitive: Primitive) -> Self {
        Self::Primitive(primitive)
    }
}

/// One predicate of a packet or of its drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Primitive {
    /// `ip`, `arp`, `ether proto 0x88cc`
    EtherProto(u16),
    /// `tcp`, `icmp`, `ip proto 47`: the next header alone
    IpProto(Family, u8),
    /// `protochain 6`: any header of the chain
    ProtoChain(Family, u8),
    /// `host`, `net`
    Address(Scope, DirQualifier, Net),
    /// `saddr`, `daddr`, `addr`
    TransportAddress(DirQualifier, Net),
    /// `port`, `portrange`
    Port(PortScope, DirQualifier, PortRange),
    /// `sport`, `dport`
    TransportPort(Side, PortRange),
    /// `flow tcp 10.0.0.1:1234 10.0.0.2:80`
    Flow(TwoWayFlow),
    /// `flow udp 10.0.0.1:53 > 10.0.0.2:1234`: one direction, as a summary counts it; `flow none`
    OneWay(Option<packet::Flow>),
    /// `ether host`
    Mac(DirQualifier, [u8; 6]),
    /// `broadcast`
    Broadcast,
    /// `ip broadcast`
    IpBroadcast,
    /// `multicast`
    Multicast,
    /// `ip multicast`
    IpMulticast,
    /// `ip6 multicast`
    Ip6Multicast,
    /// `vlan`, `vlan 5`
    Vlan(Option<u16>),
    /// `mpls`, `mpls 5`
    Mpls(Option<u32>),
    /// `pppoes`, `pppoes 5`
    Pppoes(Option<u16>),
    /// `llc`, `llc u`
    Llc(Llc),
    /// `inbound`, `outbound`
    Direction(record::Direction),
    /// `len > 100`, `ip[8] < 5`
    Relation(Relation),
    /// A fact of the drop rather than of the packet.
    Drop(DropWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ip,
    Ip6,
    Either,
}

/// The protocols in which an address is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// IPv4, ARP and RARP, or IPv6.
    Any,
    Ip,
    Arp,
    Rarp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirQualifier {
    Either,
    Source,
    Destination,
    Both,
}

impl DirQualifier {
    /// Combines the answers for the two sides. `None` means unknown; one known side can decide
    /// alone.
    pub fn judge(
        self,
        source: impl FnOnce() -> Option<bool>,
        destination: impl FnOnce() -> Option<bool>,
    ) -> Option<bool> {
        match self {
            Self::Source => source(),
            Self::Destination => destination(),
            Self::Either => match source() {
                Some(true) => Some(true),
                Some(false) => destination(),
                None => destination().filter(|&found| found),
            },
            Self::Both => match source() {
                Some(false) => Some(false),
                Some(true) => destination(),
                None => destination().filter(|&found| !found),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

/// An address and a mask of the bits that are compared; all other bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

/// The transport protocols in which a port is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortScope {
    /// TCP, UDP, SCTP.
    Any,
    Tcp,
    Udp,
    Sctp,
}

impl PortScope {
    /// Returns whether the IP protocol is in the scope.
    pub fn covers(self, protocol: u8) -> bool {
        match self {
            Self::Any => matches!(protocol, number::TCP | number::UDP | number::SCTP),
            Self::Tcp => protocol == number::TCP,
            Self::Udp => protocol == number::UDP,
            Self::Sctp => protocol == number::SCTP,
        }
    }
}

/// A range of ports, both ends included; `first` is not above `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// A flow in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoWayFlow {
    /// Not `Any`.
    pub protocol: PortScope,
    pub one: std::net::SocketAddr,
    pub other: std::net::SocketAddr,
}

/// A type of IEEE 802.2 frame: the value of the control byte under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Llc {
    pub name: &'static str,
    pub mask: u8,
    pub value: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropWord {
    Reason(Glob),
    Location(Glob),
    Module(Glob),
    Origin(Origin),
    /// `trap blackhole_route`, and any other fact that is a name
    Named(record::Fact, Glob),
    /// `pc 0xffffffffb3d420b5`, and any other fact that is a number; `None` is `pc = ""`, which
    /// holds for a drop that could have the fact and does not
    Number(record::Fact, Option<u64>),
    /// `iface 5`
    InterfaceIndex(u32),
    /// `iface eth0`
    InterfaceName(Vec<u8>),
    /// `iface = ""`: no input interface
    NoInterface,
    /// `netns blue`
    Netns(NetnsWord),
    /// `protocol 0x0800`, `protocol = ""`
    Protocol(Option<EtherType>),
    /// `reason = NO_SOCKET`, `reason = ""`
    Exactly(NamedFact, Vec<u8>),
    /// `noise`: usually harmless according to the catalogue of reasons
    Noise,
}

/// A comparison of two 32-bit unsigned numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub left: Arith,
    pub comparison: Comparison,
    pub right: Arith,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Returns the comparison that holds with the two sides exchanged.
    pub fn turned(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    pub fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// Arithmetic modulo 2³².
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arith {
    Number(u32),
    /// `len`
    Length,
    /// `ip[2:2]`
    Load {
        header: LoadBase,
        offset: Box<Arith>,
        width: Width,
    },
    /// `-a`
    Negated(Box<Arith>),
    /// `a + b - c`: evaluated from left to right; all operators have the same precedence.
    Operation {
        /// Not an operation of the same precedence, unless the operator is greedy.
        first: Box<Arith>,
        /// Not empty.
        rest: Vec<(Operator, Arith)>,
    },
}

/// The number of bytes that a load reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    One = 1,
    Two = 2,
    Four = 4,
}

/// The network namespace that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsWord {
    /// `netns 4026532345`
    Inode(u32),
    /// `netns blue`: what this host calls it.
    Name(Glob),
    /// `netns initial`
    Initial,
    /// `netns other`: known, and not the initial one.
    Other,
    /// `netns = ""`
    Unknown,
}

/// The header that a load counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBase {
    /// The link-layer header.
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    /// The header after IPv4, by its protocol number.
    Transport(u8),
    /// ICMPv6 directly after the IPv6 header.
    Icmp6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    /// Greedy: everything that follows is its right operand, as in libpcap's grammar.
    Remainder,
    /// Greedy too.
    Xor,
}

impl Operator {
    /// Returns the precedence; a higher one binds tighter.
    pub fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::ShiftLeft | Self::ShiftRight => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide => 5,
            Self::Remainder | Self::Xor => 6,
        }
    }

    /// Returns whether everything that follows is the right operand.
    pub fn is_greedy(self) -> bool {
        matches!(self, Self::Remainder | Self::Xor)
    }

    /// Calculates the result; `None` for a division by zero. A shift by more than 31 bits gives
    /// zero.
    pub fn apply(self, left: u32, right: u32) -> Option<u32> {
        Some(match self {
            Self::Or => left | right,
            Self::And => left & right,
            Self::Xor => left ^ right,
            Self::ShiftLeft => left.checked_shl(right).unwrap_or(0),
            Self::ShiftRight => left.checked_shr(right).unwrap_or(0),
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide => left.checked_div(right)?,
            Self::Remainder => left.checked_rem(right)?,
        })
    }
}
