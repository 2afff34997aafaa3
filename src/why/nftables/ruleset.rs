//! The rules of a host, in the words that nftables and iptables have in common.

use std::collections::BTreeMap;

/// All chains, sets and maps.
#[derive(Debug, Default)]
pub struct Ruleset {
    /// The chains.
    pub chains: Vec<FilterChain>,
    /// Sets and maps, by family, table and name.
    pub sets: BTreeMap<(String, String, String), ElementSet>,
}

/// The program whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterTool {
    /// nftables, and iptables-nft.
    Nft,
    /// iptables-legacy, ip6tables-legacy.
    Legacy,
}

/// A chain.
#[derive(Debug)]
pub struct FilterChain {
    /// Its program.
    pub tool: FilterTool,
    /// `ip`, `ip6`, `inet`, `arp`, `bridge`, `netdev`
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The hook, of a chain that packets enter by themselves.
    pub base: Option<BaseChain>,
    /// Its rules.
    pub rules: Vec<FilterRule>,
}

/// The hook of a base chain.
#[derive(Debug)]
pub struct BaseChain {
    /// Only the first packet of a connection comes here.
    pub is_nat: bool,
    /// `prerouting`, `input`, …
    pub hook: String,
    /// The lower, the earlier.
    pub priority: i64,
    /// Packets that no rule decides are dropped.
    pub drops: bool,
    /// The devices, of an ingress or egress chain.
    pub devices: Vec<String>,
}

/// A rule.
#[derive(Debug)]
pub struct FilterRule {
    /// Its handle; in iptables-legacy its number in the chain, from 1.
    pub handle: u64,
    /// The statements, one after the other.
    pub statements: Vec<Statement>,
}

/// A part of a rule.
#[derive(Debug)]
pub enum Statement {
    /// The rule ends here where this does not hold.
    Match(Condition),
    /// The rule goes on or ends here: which of the two is not known.
    Maybe,
    /// A counter that has not counted anything: no packet came this far.
    NeverReached,
    /// Decides.
    Verdict(Verdict),
    /// Decides by a map.
    VerdictMap(Expression, SetReference),
    /// Sets the packet's mark.
    SetMark(Expression),
    /// Changes the packet.
    Mangle,
    /// Translates addresses, and accepts; may drop where it cannot.
    Translate,
    /// Nothing is known of it.
    Unknown,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet leaves this base chain.
    Accept,
    /// The packet is dropped, or rejected.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// The next rule.
    Continue,
    /// To another chain, and back.
    Jump(String),
    /// To another chain, and not back.
    Goto(String),
    /// To a program.
    Queue,
}

/// A comparison.
#[derive(Debug)]
pub struct Condition {
    /// `==`, `!=`, `<`, `>`, `<=`, `>=`, `in`
    pub operator: String,
    /// What is compared.
    pub left: Expression,
    /// With what.
    pub right: SetReference,
}

/// The elements of a set.
#[derive(Debug)]
pub enum SetReference {
    /// These.
    Anonymous(ElementSet),
    /// Those of the set with this name.
    Named(String),
}

/// A set or a map.
#[derive(Debug, Default)]
pub struct ElementSet {
    /// Elements come and go by themselves.
    pub is_changing: bool,
    /// The elements.
    pub elements: Vec<SetElement>,
}

/// An element of a set.
#[derive(Debug)]
pub struct SetElement {
    /// The parts of its key.
    pub key: Vec<Pattern>,
    /// That what a map maps to.
    pub data: ElementData,
    /// Whether it matches depends on more than its key.
    pub is_uncertain: bool,
}

/// That what an element of a map stands for.
#[derive(Debug)]
pub enum ElementData {
    /// Nothing: a set.
    None,
    /// A verdict.
    Verdict(Verdict),
    /// A value.
    Value(Pattern),
}

/// A value that others are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// A number.
    Number(u128),
    /// An address, or a name.
    Text(String),
    /// From one to another.
    Range(u128, u128),
    /// Everything.
    Any,
    /// Not understood.
    Unknown,
}

/// A value that is computed for each packet.
#[derive(Debug)]
pub enum Expression {
    /// Bits of the packet.
    Payload(PayloadField),
    /// A fact beside the packet: the key of `meta`.
    Meta(String),
    /// A constant.
    Constant(Pattern),
    /// Two numbers and an operator: `&`, `|`, `^`, `<<`, `>>`.
    Binary(char, Box<(Expression, Expression)>),
    /// Several values.
    Concatenation(Vec<Expression>),
    /// The value in a map.
    Map(Box<Expression>, SetReference),
    /// Not understood.
    Unknown,
}

/// Bits of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadField {
    /// The header that they are in.
    pub header: Header,
    /// The first one, from the header's begin.
    pub offset: u32,
    /// Their number, at most 128.
    pub bits: u32,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Of the link layer.
    Link,
    /// Of the network layer, whatever it is.
    Network,
    /// Of IPv4.
    Ipv4,
    /// Of IPv6.
    Ipv6,
    /// Of ARP.
    Arp,
    /// Of the transport layer, whatever it is.
    Transport,
    /// Of a transport protocol with this number.
    Protocol(u8),
}

impl Pattern {
    /// Returns the number that it is.
    pub fn number(&self) -> Option<u128> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text_number(text),
            _ => None,
        }
    }
}

/// Returns the number that an address is.
fn text_number(text: &str) -> Option<u128> {
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Some(u32::from(address).into());
    }
    if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
        return Some(address.into());
    }
    let bytes: Vec<_> = text.split(':').collect();
    let is_mac = bytes.len() == 6 && bytes.iter().all(|byte| byte.len() == 2);
    let digits: String = bytes.concat();
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_mac && is_hexadecimal)
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten()
}

/// Returns the field of a protocol's header.
#[allow(clippy::match_same_arms)] // A line for each field, as the protocols have them.
pub fn field(protocol: &str, name: &str) -> Option<PayloadField> {
    let (offset, bits) = match (protocol, name) {
        ("ip" | "ip6", "version") => (0, 4),
        ("ip", "hdrlength") => (4, 4),
        ("ip", "dscp") => (8, 6),
        ("ip", "ecn") => (14, 2),
        ("ip", "length") => (16, 16),
        ("ip", "id") => (32, 16),
        ("ip", "frag-off") => (48, 16),
        ("ip", "ttl") => (64, 8),
        ("ip", "protocol") => (72, 8),
        ("ip", "checksum") => (80, 16),
        ("ip", "saddr") => (96, 32),
        ("ip", "daddr") => (128, 32),
        ("ip6", "dscp") => (4, 6),
        ("ip6", "ecn") => (10, 2),
        ("ip6", "flowlabel") => (12, 20),
        ("ip6", "length") => (32, 16),
        ("ip6", "nexthdr") => (48, 8),
        ("ip6", "hoplimit") => (56, 8),
        ("ip6", "saddr") => (64, 128),
        ("ip6", "daddr") => (192, 128),
        ("tcp" | "udp" | "udplite" | "sctp" | "dccp" | "th", "sport") => (0, 16),
        ("tcp" | "udp" | "udplite" | "sctp" | "dccp" | "th", "dport") => (16, 16),
        ("udp", "length") => (32, 16),
        ("udp", "checksum") => (48, 16),
        ("tcp", "sequence") | ("sctp", "vtag") => (32, 32),
        ("tcp", "ackseq") => (64, 32),
        ("tcp", "doff") => (96, 4),
        ("tcp", "flags") => (104, 8),
        ("tcp", "window") => (112, 16),
        ("tcp", "checksum") => (128, 16),
        ("tcp", "urgptr") => (144, 16),
        ("icmp" | "icmpv6", "type") => (0, 8),
        ("icmp" | "icmpv6", "code") => (8, 8),
        ("icmp" | "icmpv6", "checksum") => (16, 16),
        ("ether", "daddr") => (0, 48),
        ("ether", "saddr") => (48, 48),
        ("arp", "htype") => (0, 16),
        ("arp", "ptype") => (16, 16),
        ("arp", "hlen") => (32, 8),
        ("arp", "plen") => (40, 8),
        ("arp", "operation") => (48, 16),
        ("arp", "saddr ether") => (64, 48),
        ("arp", "saddr ip") => (112, 32),
        ("arp", "daddr ether") => (144, 48),
        ("arp", "daddr ip") => (192, 32),
        _ => return None,
    };
    let header = match protocol {
        "ip" => Header::Ipv4,
        "ip6" => Header::Ipv6,
        "ether" => Header::Link,
        "arp" => Header::Arp,
        "th" => Header::Transport,
        "tcp" => Header::Protocol(6),
        "udp" => Header::Protocol(17),
        "udplite" => Header::Protocol(136),
        "sctp" => Header::Protocol(132),
        "dccp" => Header::Protocol(33),
        "icmp" => Header::Protocol(1),
        _ => Header::Protocol(58),
    };
    Some(PayloadField {
        header,
        offset,
        bits,
    })
}

/// Returns the numbers of an address and a length of its prefix.
pub fn prefix(address: &str, len: u32) -> Option<Pattern> {
    let first = text_number(address)?;
    let width: u32 = if address.contains(':') { 128 } else { 32 };
    let rest = width.checked_sub(len).filter(|&rest| rest <= 128)?;
    let hosts = u128::MAX.checked_shr(128 - rest).unwrap_or(0);
    let first = first & !hosts;
    Some(Pattern::Range(first, first | hosts))
}
