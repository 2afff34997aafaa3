//! Facts about the dropped packet, as rules see them, and the values of expressions.

use super::hook::PacketHook;
use super::ruleset::{Expression, Header, Pattern, PayloadField};
use crate::packet::ip::{Ip, Version};
use crate::record::LinkType;
use crate::why::DropCase;

/// The value of an expression, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleValue {
    /// A number.
    Number(u128),
    /// An Ethernet type. nft 1.0.6 writes its two bytes the other way round.
    EtherType(u16),
    /// A name.
    Name(String),
    /// Several values.
    Several(Vec<RuleValue>),
    /// The packet has no such thing: the rule does not match.
    Missing,
    /// It is not known.
    Unknown,
}

/// The dropped packet.
pub struct PacketFacts<'c> {
    case: &'c DropCase,
    hook: PacketHook,
    /// The device that its route leads to.
    routed_to: Option<&'c str>,
    ip: Option<Ip<'c>>,
    /// The begin of the network layer's header.
    network: Option<usize>,
    /// The transport protocol and its header's begin.
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Unknown,
    /// There is none.
    None,
    /// A fragment without the header.
    Later(u8),
    At(u8, usize),
}

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`
const NFPROTO: [u128; 2] = [2, 10];
/// `PACKET_HOST`, `PACKET_BROADCAST`, `PACKET_MULTICAST`
const PACKET_TYPES: [u128; 3] = [0, 1, 2];

impl<'c> PacketFacts<'c> {
    /// Reads the packet of a drop, whose route leads to this device.
    pub fn new(case: &'c DropCase, hook: PacketHook, routed_to: Option<&'c str>) -> Self {
        let ip = case.ip();
        let network = ip.map(|ip| case.data.len() - ip.bytes.len());
        let network = network.or_else(|| {
            let is_arp = case.protocol == Some(0x0806) && case.link == LinkType::ETHERNET.0;
            is_arp.then_some(14)
        });
        let transport = match (&ip, network) {
            (Some(ip), Some(network)) => transport(ip, network, case),
            (None, Some(_)) => Transport::None,
            _ => Transport::Unknown,
        };
        Self {
            case,
            hook,
            routed_to,
            ip,
            network,
            transport,
        }
    }

    /// Returns the value of an expression other than a map. `is_exact`: the packet was already as it was dropped;
    /// `mark` is the mark that it has there.
    pub fn value(&self, expression: &Expression, is_exact: bool, mark: Option<u32>) -> RuleValue {
        match expression {
            Expression::Payload(field) if is_exact => self.payload(*field),
            Expression::Meta(key) => self.meta(key, is_exact, mark),
            Expression::Constant(pattern) => pattern
                .number()
                .map_or(RuleValue::Unknown, RuleValue::Number),
            Expression::Binary(operator, sides) => {
                let left = self.value(&sides.0, is_exact, mark);
                let right = self.value(&sides.1, is_exact, mark);
                binary(*operator, left, right)
            }
            Expression::Concatenation(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|part| self.value(part, is_exact, mark))
                    .collect();
                if parts.contains(&RuleValue::Missing) {
                    return RuleValue::Missing;
                }
                RuleValue::Several(parts)
            }
            Expression::Payload(_) | Expression::Map(..) | Expression::Unknown => {
                RuleValue::Unknown
            }
        }
    }

    fn meta(&self, key: &str, is_exact: bool, mark: Option<u32>) -> RuleValue {
        let number = |number: Option<u128>| number.map_or(RuleValue::Unknown, RuleValue::Number);
        match key {
            "mark" => number(mark.map(u128::from)),
            "iifname" | "iif" => self.input(),
            "oifname" | "oif" => self.output(),
            "nfproto" => match (self.hook.family, self.ip) {
                ("ip", _) => RuleValue::Number(NFPROTO[0]),
                ("ip6", _) => RuleValue::Number(NFPROTO[1]),
                _ => RuleValue::Unknown,
            },
            "protocol" => self
                .case
                .protocol
                .map_or(RuleValue::Unknown, RuleValue::EtherType),
            "ether type" if self.has_link_header() && self.case.vlan.is_none() => self
                .case
                .protocol
                .map_or(RuleValue::Unknown, RuleValue::EtherType),
            "l4proto" => match self.transport {
                Transport::At(protocol, _) | Transport::Later(protocol) => {
                    RuleValue::Number(protocol.into())
                }
                Transport::None => RuleValue::Missing,
                Transport::Unknown => RuleValue::Unknown,
            },
            "length" if is_exact && matches!(self.hook.family, "ip" | "ip6") => {
                let network = self.network.and_then(|at| u32::try_from(at).ok());
                let length = network.and_then(|at| self.case.length.checked_sub(at));
                number(length.map(u128::from))
            }
            "pkttype" => self.packet_type(),
            _ => RuleValue::Unknown,
        }
    }

    /// Returns the device that the packet came in by; none has an empty name.
    fn input(&self) -> RuleValue {
        let none = || RuleValue::Name(String::new());
        let name = |name: &Option<String>| name.clone().map_or(RuleValue::Unknown, RuleValue::Name);
        match (self.hook.name, self.hook.caller) {
            ("output" | "egress", _) => none(),
            ("postrouting", "ip_output" | "ip6_output") => match self.case.is_inbound {
                Some(true) if self.case.input.is_some() => name(&self.case.input_name),
                Some(false) => none(),
                _ => RuleValue::Unknown,
            },
            // A frame is passed on with the device that it leaves by.
            ("postrouting", _) | ("forward", "__br_forward") => RuleValue::Unknown,
            _ => name(&self.case.device),
        }
    }

    /// Returns the device that the packet leaves by; none has an empty name.
    fn output(&self) -> RuleValue {
        let name = |name: &Option<String>| name.clone().map_or(RuleValue::Unknown, RuleValue::Name);
        match (self.hook.name, self.hook.caller) {
            ("prerouting" | "input" | "ingress", _) => RuleValue::Name(String::new()),
            ("postrouting" | "egress", _) | ("forward", "__br_forward") => name(&self.case.device),
            ("forward", _) => self
                .routed_to
                .map_or(RuleValue::Unknown, |name| RuleValue::Name(name.to_owned())),
            _ => RuleValue::Unknown,
        }
    }

    /// Returns whom the frame was for, of a received one that came far enough to be this host's.
    fn packet_type(&self) -> RuleValue {
        let is_past_routing = matches!(self.hook.name, "input" | "forward");
        let is_known = self.case.is_inbound == Some(true) && is_past_routing;
        let is_ip = matches!(self.hook.family, "ip" | "ip6");
        match self.case.data.first() {
            Some(_) if !is_known || !is_ip || self.case.link != LinkType::ETHERNET.0 => {
                RuleValue::Unknown
            }
            Some(_) if self.case.data.starts_with(&[0xff; 6]) => RuleValue::Number(PACKET_TYPES[1]),
            Some(first) if first & 1 == 1 => RuleValue::Number(PACKET_TYPES[2]),
            Some(_) => RuleValue::Number(PACKET_TYPES[0]),
            None => RuleValue::Unknown,
        }
    }

    /// Returns whether the packet has certainly the header of the link layer that it came with, and no tag.
    fn has_link_header(&self) -> bool {
        matches!(self.hook.name, "prerouting" | "input" | "ingress")
            && self.case.is_inbound == Some(true)
            && self.case.link == LinkType::ETHERNET.0
            && self.network == Some(14)
    }

    fn payload(&self, field: PayloadField) -> RuleValue {
        let begin = match field.header {
            Header::Link => self.has_link_header().then_some(0),
            Header::Network => self.network,
            Header::Ipv4 | Header::Ipv6 | Header::Arp => {
                let wanted = match field.header {
                    Header::Ipv4 => 0x0800,
                    Header::Ipv6 => 0x86dd,
                    _ => 0x0806,
                };
                match (self.hook.family, wanted) {
                    ("ip", 0x0800) | ("ip6", 0x86dd) | ("arp", 0x0806) => {}
                    ("ip" | "ip6" | "arp", _) => return RuleValue::Missing,
                    _ => match self.case.protocol {
                        Some(protocol) if protocol == wanted => {}
                        Some(_) => return RuleValue::Missing,
                        None => return RuleValue::Unknown,
                    },
                }
                self.network
            }
            Header::Transport => match self.transport {
                Transport::At(_, at) => Some(at),
                Transport::None | Transport::Later(_) => return RuleValue::Missing,
                Transport::Unknown => None,
            },
            Header::Protocol(number) => match self.transport {
                Transport::At(protocol, at) if protocol == number => Some(at),
                Transport::Unknown => None,
                _ => return RuleValue::Missing,
            },
        };
        begin.map_or(RuleValue::Unknown, |begin| self.bits(begin, field))
    }

    /// Returns bits of the packet, as a number.
    fn bits(&self, begin: usize, field: PayloadField) -> RuleValue {
        let PayloadField { offset, bits, .. } = field;
        let (Ok(first), Ok(end)) = (
            usize::try_from(offset / 8),
            usize::try_from((offset + bits).div_ceil(8)),
        ) else {
            return RuleValue::Unknown;
        };
        let data = &self.case.data;
        let Some(bytes) = data.get(begin + first..begin + end) else {
            let is_whole = usize::try_from(self.case.length).is_ok_and(|len| len <= data.len());
            return if is_whole {
                RuleValue::Missing
            } else {
                RuleValue::Unknown
            };
        };
        let Some((sixteen, rest)) = bytes.split_at_checked(bytes.len().min(16)) else {
            return RuleValue::Unknown;
        };
        // A field of 128 bits that begins within a byte has 17.
        if !rest.is_empty() {
            return RuleValue::Unknown;
        }
        let all = sixteen
            .iter()
            .fold(0, |all, &byte| all << 8 | u128::from(byte));
        let behind = (8 - (offset + bits) % 8) % 8;
        let mask = u128::MAX.checked_shr(128 - bits).unwrap_or(0);
        RuleValue::Number(all >> behind & mask)
    }
}

fn transport(ip: &Ip<'_>, network: usize, case: &DropCase) -> Transport {
    // What the kernel makes of a damaged header is not known here.
    let version = ip.bytes.first().map(|first| first >> 4);
    let expected = if ip.version == Version::V4 { 4 } else { 6 };
    let room = usize::try_from(case.length)
        .unwrap_or(0)
        .saturating_sub(network);
    if version != Some(expected) || ip.stated_end.is_none_or(|end| end > room) {
        return Transport::Unknown;
    }
    let Some(protocol) = ip.protocol else {
        return Transport::Unknown;
    };
    match ip.version {
        Version::V4 => {
            // The kernel does not look behind an authentication header.
            let protocol = ip.bytes.get(9).copied().unwrap_or(protocol);
            let len = crate::packet::ip::stated_header_len(ip.bytes).unwrap_or(0);
            if ip.is_later_fragment() {
                Transport::Later(protocol)
            } else {
                Transport::At(protocol, network + len)
            }
        }
        Version::V6 if ip.fragment.is_some() => Transport::Unknown,
        Version::V6 if crate::packet::ip::is_extension(Version::V6, protocol) => Transport::Unknown,
        Version::V6 => Transport::At(protocol, network + ip.payload_at),
    }
}

fn binary(operator: char, left: RuleValue, right: RuleValue) -> RuleValue {
    let (left, right) = match (left, right) {
        (RuleValue::Number(left), RuleValue::Number(right)) => (left, right),
        (RuleValue::Missing, _) | (_, RuleValue::Missing) => return RuleValue::Missing,
        (RuleValue::Number(0), _) | (_, RuleValue::Number(0)) if operator == '&' => {
            return RuleValue::Number(0);
        }
        _ => return RuleValue::Unknown,
    };
    let shift = u32::try_from(right).unwrap_or(u32::MAX);
    match operator {
        '&' => RuleValue::Number(left & right),
        '|' => RuleValue::Number(left | right),
        '^' => RuleValue::Number(left ^ right),
        // How wide the value is that loses bits is not known here.
        '>' => RuleValue::Number(left.checked_shr(shift).unwrap_or(0)),
        _ => RuleValue::Unknown,
    }
}

/// The truth of a statement, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// This is not known.
    Maybe,
}

impl Truth {
    /// Returns what is known.
    pub fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    /// Returns whether both hold.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Maybe,
        }
    }

    /// Returns whether it does not hold.
    pub fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

/// Returns whether a value is one of those of a pattern.
pub fn fits(value: &RuleValue, pattern: &Pattern) -> Truth {
    match (value, pattern) {
        (_, Pattern::Any) => Truth::Yes,
        (RuleValue::Name(name), Pattern::Text(pattern)) => {
            if let Some(literal) = pattern.strip_suffix("\\*") {
                return Truth::of(name.strip_suffix('*') == Some(literal));
            }
            Truth::of(match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            })
        }
        (RuleValue::EtherType(kind), pattern) => pattern.number().map_or(Truth::Maybe, |number| {
            Truth::of([*kind, kind.swap_bytes()].map(u128::from).contains(&number))
        }),
        (RuleValue::Number(number), Pattern::Range(first, last)) => {
            Truth::of((first..=last).contains(&number))
        }
        (RuleValue::Number(number), pattern) => pattern
            .number()
            .map_or(Truth::Maybe, |other| Truth::of(*number == other)),
        // Also the number of an interface that is gone.
        _ => Truth::Maybe,
    }
}
