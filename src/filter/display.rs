//! Shows a syntax tree in its canonical form, with every qualifier written out and no aliases. The
//! canonical form parses to the same tree.

use std::fmt;

use crate::record::{self, Escaped, Origin, Value};

use super::ast::{
    Arith, Chain, Comparison, Connective, DirQualifier, DropWord, Expr, Family, LoadBase, Net,
    NetnsWord, Operator, PortRange, PortScope, Primitive, Relation, Scope, Side, TwoWayFlow, Width,
};
use super::lex;
use super::port::OneWay;

/// The most changes of connective for which `a or b and c` is shown as `(a or b) and c`; with more,
/// parentheses would make the text harder to read.
const MAX_SHOWN_GROUPS: usize = 8;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(chain) => chain.fmt(f),
            Self::Not(expr) => write!(f, "not {}", Grouped(expr)),
            Self::Inner(expr) => write!(f, "inner {}", Grouped(expr)),
            Self::Primitive(primitive) => primitive.fmt(f),
        }
    }
}

impl Expr {
    /// Returns the nesting depth of the canonical form, as the parser counts it.
    pub fn nesting(&self) -> usize {
        match self {
            Self::Chain(chain) => {
                let mut groups = chain.groups();
                let mut deepest = groups + Grouped(&chain.first).nesting();
                let mut previous = None;
                for (connective, expr) in &chain.rest {
                    if previous.is_some_and(|previous| previous != *connective) {
                        groups = groups.saturating_sub(1);
                    }
                    previous = Some(*connective);
                    deepest = deepest.max(groups + Grouped(expr).nesting());
                }
                deepest
            }
            Self::Not(expr) => Grouped(expr).nesting(),
            Self::Inner(expr) => 1 + Grouped(expr).nesting(),
            Self::Primitive(Primitive::Relation(relation)) => {
                relation.left.nesting().max(relation.right.nesting())
            }
            Self::Primitive(_) => 0,
        }
    }
}

/// An expression in parentheses, if it is a chain.
struct Grouped<'a>(&'a Expr);

impl Grouped<'_> {
    fn nesting(&self) -> usize {
        usize::from(matches!(self.0, Expr::Chain(_))) + self.0.nesting()
    }
}

impl fmt::Display for Grouped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Chain(chain) => write!(f, "({chain})"),
            expr => expr.fmt(f),
        }
    }
}

impl Chain {
    /// Returns the number of pairs of parentheses that show the order of evaluation: one for each
    /// change of connective.
    fn groups(&self) -> usize {
        let changes = self
            .rest
            .windows(2)
            .filter(|pair| pair[0].0 != pair[1].0)
            .count();
        if changes <= MAX_SHOWN_GROUPS {
            changes
        } else {
            0
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = self.groups() > 0;
        write!(f, "{:(<1$}{2}", "", self.groups(), Grouped(&self.first))?;
        let mut previous = None;
        for (connective, expr) in &self.rest {
            if grouped && previous.is_some_and(|previous| previous != *connective) {
                f.write_str(")")?;
            }
            previous = Some(*connective);
            let word = match connective {
                Connective::And => "and",
                Connective::Or => "or",
            };
            write!(f, " {word} {}", Grouped(expr))?;
        }
        Ok(())
    }
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EtherProto(kind) => write_ether_proto(f, *kind),
            Self::IpProto(family, number) => write_ip_proto(f, *family, *number),
            Self::ProtoChain(family, number) => write!(f, "{family}protochain {number}"),
            Self::Address(scope, direction, net) => {
                f.write_str(match scope {
                    Scope::Any => "",
                    Scope::Ip => "ip ",
                    Scope::Arp => "arp ",
                    Scope::Rarp => "rarp ",
                })?;
                let kind = if net.is_host() { "host" } else { "net" };
                write!(f, "{direction}{kind} {net}")
            }
            Self::TransportAddress(direction, net) => {
                let word = match direction {
                    DirQualifier::Source => "saddr",
                    DirQualifier::Destination => "daddr",
                    DirQualifier::Either | DirQualifier::Both => "addr",
                };
                write!(f, "{word} {net}")
            }
            Self::Port(scope, direction, range) => {
                let scope = match scope {
                    PortScope::Any => "",
                    scope => &format!("{scope} "),
                };
                let kind = if range.first == range.last {
                    "port"
                } else {
                    "portrange"
                };
                write!(f, "{scope}{direction}{kind} {range}")
            }
            Self::TransportPort(Side::Source, range) => write!(f, "sport {range}"),
            Self::TransportPort(Side::Destination, range) => write!(f, "dport {range}"),
            Self::Flow(TwoWayFlow {
                protocol,
                one,
                other,
            }) => write!(f, "flow {protocol} {one} {other}"),
            Self::OneWay(None) => f.write_str("flow none"),
            Self::OneWay(Some(flow)) => write!(f, "flow {}", OneWay(*flow)),
            Self::Mac(direction, mac) => {
                let word = match direction {
                    DirQualifier::Either => "host",
                    DirQualifier::Source => "src",
                    DirQualifier::Destination => "dst",
                    DirQualifier::Both => "src and dst",
                };
                write!(f, "ether {word} ")?;
                for (index, byte) in mac.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ":" };
                    write!(f, "{separator}{byte:02x}")?;
                }
                Ok(())
            }
            Self::Broadcast => f.write_str("broadcast"),
            Self::IpBroadcast => f.write_str("ip broadcast"),
            Self::Multicast => f.write_str("multicast"),
            Self::IpMulticast => f.write_str("ip multicast"),
            Self::Ip6Multicast => f.write_str("ip6 multicast"),
            Self::Vlan(None) => f.write_str("vlan"),
            Self::Vlan(Some(id)) => write!(f, "vlan {id}"),
            Self::Mpls(None) => f.write_str("mpls"),
            Self::Mpls(Some(label)) => write!(f, "mpls {label}"),
            Self::Pppoes(None) => f.write_str("pppoes"),
            Self::Pppoes(Some(session)) => write!(f, "pppoes {session}"),
            Self::Llc(llc) if llc.name.is_empty() => f.write_str("llc"),
            Self::Llc(llc) => write!(f, "llc {}", llc.name),
            Self::Direction(record::Direction::Inbound) => f.write_str("inbound"),
            Self::Direction(record::Direction::Outbound) => f.write_str("outbound"),
            Self::Relation(relation) => relation.fmt(f),
            Self::Drop(word) => word.fmt(f),
        }
    }
}

fn write_ether_proto(f: &mut fmt::Formatter<'_>, kind: u16) -> fmt::Result {
    match kind {
        0x0800 => f.write_str("ip"),
        0x86dd => f.write_str("ip6"),
        0x0806 => f.write_str("arp"),
        0x8035 => f.write_str("rarp"),
        0x8863 => f.write_str("pppoed"),
        0x0042 => f.write_str("stp"),
        kind => write!(f, "ether proto {kind:#06x}"),
    }
}

fn write_ip_proto(f: &mut fmt::Formatter<'_>, family: Family, number: u8) -> fmt::Result {
    let word = match (family, number) {
        (Family::Either, 6) => "tcp",
        (Family::Either, 17) => "udp",
        (Family::Either, 47) => "gre",
        (Family::Either, 50) => "esp",
        (Family::Either, 51) => "ah",
        (Family::Either, 89) => "ospf",
        (Family::Either, 103) => "pim",
        (Family::Either, 132) => "sctp",
        (Family::Ip, 1) => "icmp",
        (Family::Ip, 2) => "igmp",
        (Family::Ip, 9) => "igrp",
        (Family::Ip, 112) => "vrrp",
        (Family::Ip6, 58) => "icmp6",
        _ => return write!(f, "{family}proto {number}"),
    };
    f.write_str(word)
}

/// A qualifier, with the blank after it.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip ",
            Self::Ip6 => "ip6 ",
            Self::Either => "",
        })
    }
}

/// A qualifier, with the blank after it.
impl fmt::Display for DirQualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Either => "",
            Self::Source => "src ",
            Self::Destination => "dst ",
            Self::Both => "src and dst ",
        })
    }
}

impl Net {
    fn is_host(self) -> bool {
        matches!(
            self,
            Self::V4 { mask: u32::MAX, .. }
                | Self::V6 {
                    mask: u128::MAX,
                    ..
                }
        )
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4 { address, mask } => {
                write!(f, "{}", std::net::Ipv4Addr::from_bits(address))?;
                if mask == u32::MAX {
                    Ok(())
                } else if mask.leading_ones() == mask.count_ones() {
                    write!(f, "/{}", mask.leading_ones())
                } else {
                    write!(f, " mask {}", std::net::Ipv4Addr::from_bits(mask))
                }
            }
            Self::V6 { address, mask } => {
                write!(f, "{}", std::net::Ipv6Addr::from_bits(address))?;
                if mask == u128::MAX {
                    Ok(())
                } else {
                    write!(f, "/{}", mask.leading_ones())
                }
            }
        }
    }
}

impl fmt::Display for PortScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl fmt::Display for DropWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(glob) => write!(f, "reason {}", Text(glob.as_bytes())),
            Self::Location(glob) => write!(f, "location {}", Text(glob.as_bytes())),
            Self::Module(glob) => write!(f, "module {}", Text(glob.as_bytes())),
            Self::Origin(Origin::Software) => f.write_str("origin sw"),
            Self::Origin(Origin::Hardware) => f.write_str("origin hw"),
            Self::Named(fact, glob) => {
                write!(f, "{} {}", fact.about().key, Text(glob.as_bytes()))
            }
            Self::Number(fact, None) => write!(f, "{} = \"\"", fact.about().key),
            // `vlan 5` asks for a tag in the frame, too.
            Self::Number(record::Fact::Vlan, Some(number)) => write!(f, "vlan = {number}"),
            Self::Number(fact, Some(number)) => match fact.kind().join((*number, &[])) {
                Some(value @ (Value::Mark(_) | Value::Heading(_))) => {
                    write!(f, "{} {value}", fact.about().key)
                }
                Some(Value::Address(_)) => write!(f, "{} {number:#x}", fact.about().key),
                _ => write!(f, "{} {number}", fact.about().key),
            },
            Self::InterfaceIndex(index) => write!(f, "iface {index}"),
            Self::InterfaceName(name) => write!(f, "ifname {}", Text(name)),
            Self::NoInterface => f.write_str("iface = \"\""),
            Self::Netns(NetnsWord::Inode(inode)) => write!(f, "netns {inode}"),
            Self::Netns(NetnsWord::Name(glob)) => match glob.as_bytes() {
                // Without quotes they are words of their own.
                word @ (b"initial" | b"other") => write!(f, "netns \"{}\"", Escaped(word)),
                name if lex::number(std::str::from_utf8(name).unwrap_or_default()).is_some() => {
                    write!(f, "netns \"{}\"", Escaped(name))
                }
                name => write!(f, "netns {}", Text(name)),
            },
            Self::Netns(NetnsWord::Initial) => f.write_str("netns initial"),
            Self::Netns(NetnsWord::Other) => f.write_str("netns other"),
            Self::Netns(NetnsWord::Unknown) => f.write_str("netns = \"\""),
            Self::Protocol(Some(protocol)) => write!(f, "protocol {protocol}"),
            Self::Protocol(None) => f.write_str("protocol = \"\""),
            Self::Exactly(fact, value) => write!(f, "{} = {}", fact.word(), Text(value)),
            Self::Noise => f.write_str("noise"),
        }
    }
}

/// A name, in quotes if the parser would otherwise stop within it or take it for another word.
pub struct Text<'a>(pub &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:*?+@/-".contains(byte);
        // The parser takes `or` for a word of its own even before a sign: `or*`.
        let mut words = self.0.split(|&byte| !lex::is_word_character(byte.into()));
        let is_connective = matches!(words.next(), Some(b"and" | b"or" | b"not"));
        if !self.0.is_empty() && self.0.iter().all(plain) && !is_connective {
            return Escaped(self.0).fmt(f);
        }
        f.write_str("\"")?;
        for (index, part) in self.0.split(|&byte| byte == b'"').enumerate() {
            if index > 0 {
                f.write_str("\\x22")?;
            }
            Escaped(part).fmt(f)?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = match self.comparison {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        };
        write!(f, "{} {comparison} {}", self.left, self.right)
    }
}

impl fmt::Display for Arith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Length => f.write_str("len"),
            Self::Load {
                header,
                offset,
                width,
            } => {
                write!(f, "{}[{offset}", header.name())?;
                f.write_str(match width {
                    Width::One => "]",
                    Width::Two => ":2]",
                    Width::Four => ":4]",
                })
            }
            Self::Negated(arith) => write!(f, "-{}", ArithOperand(arith)),
            Self::Operation { first, rest } => {
                match (&**first, rest.first()) {
                    // Behind a network, `48 / 17` would be read as another network.
                    (Self::Number(number), Some((Operator::Divide, _))) => write!(f, "({number})")?,
                    (first, _) => ArithOperand(first).fmt(f)?,
                }
                for (operator, arith) in rest {
                    let sign = operator.sign();
                    if operator.is_greedy() {
                        write!(f, " {sign} {arith}")?;
                    } else {
                        write!(f, " {sign} {}", ArithOperand(arith))?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Arith {
    fn nesting(&self) -> usize {
        match self {
            Self::Number(_) | Self::Length => 0,
            Self::Load { offset, .. } => 1 + offset.nesting(),
            Self::Negated(arith) => ArithOperand(arith).nesting(),
            Self::Operation { first, rest } => rest
                .iter()
                .map(|(operator, arith)| {
                    if operator.is_greedy() {
                        1 + arith.nesting()
                    } else {
                        ArithOperand(arith).nesting()
                    }
                })
                .fold(ArithOperand(first).nesting(), usize::max),
        }
    }
}

/// An operand in parentheses, if it is an operation.
struct ArithOperand<'a>(&'a Arith);

impl ArithOperand<'_> {
    fn nesting(&self) -> usize {
        usize::from(matches!(self.0, Arith::Operation { .. })) + self.0.nesting()
    }
}

impl fmt::Display for ArithOperand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Arith::Operation { .. } => write!(f, "({})", self.0),
            arith => arith.fmt(f),
        }
    }
}

impl LoadBase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "ether",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Transport(1) => "icmp",
            Self::Transport(2) => "igmp",
            Self::Transport(6) => "tcp",
            Self::Transport(9) => "igrp",
            Self::Transport(17) => "udp",
            Self::Transport(103) => "pim",
            Self::Transport(112) => "vrrp",
            // The parser creates no others.
            Self::Transport(_) => "sctp",
            Self::Icmp6 => "icmp6",
        }
    }
}

impl Operator {
    fn sign(self) -> &'static str {
        match self {
            Self::Or => "|",
            Self::And => "&",
            Self::Xor => "^",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}
