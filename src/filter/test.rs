//! One compiled test, and its answer for a packet: yes, no, or `None` where bytes are missing.

use crate::record::{Cause, Name, Symbol};

use super::ast::{
    Arith, Comparison, Direction, DropWord, Family, Flow, Header, Net, PortRange, PortScope,
    Primitive, Relation, Scope, Side, Travel, Width,
};
use super::far;
use super::layout::{Layout, MAX_LLC_LENGTH, Naming, ether_type};
use super::packet::Lookup::{Absent, Found};
use super::packet::{Lookup, Packet};

/// Offsets and numbers of the IPv4 header (RFC 791, 3.1).
mod ipv4 {
    pub const FRAGMENT: usize = 6;
    pub const PROTOCOL: usize = 9;
    pub const SOURCE: usize = 12;
    pub const DESTINATION: usize = 16;
    pub const FRAGMENT_OFFSET: u16 = 0x1fff;
}

/// Offsets of the IPv6 header (RFC 8200, 3) and of a fragment header's next header (4.5).
mod ipv6 {
    pub const NEXT_HEADER: usize = 6;
    pub const SOURCE: usize = 8;
    pub const DESTINATION: usize = 24;
    pub const LEN: usize = 40;
    pub const FRAGMENT: u8 = 44;
}

/// ARP for IPv4 over Ethernet (RFC 826).
mod arp {
    pub const SENDER: usize = 14;
    pub const TARGET: usize = 24;
}

/// A primitive made ready.
#[derive(Clone, Debug)]
pub enum Test {
    /// A load at a fixed offset under a mask: nearly every relation there is.
    Field {
        header: Header,
        offset: usize,
        width: Width,
        mask: u32,
        comparison: Comparison,
        value: u32,
    },
    Relation {
        relation: Box<Relation>,
        /// The headers that have to be there, in text order.
        guards: Vec<Header>,
    },
    Other(Box<Primitive>),
    EtherProto(u16),
    IpProto(Family, u8),
    Address4(Scope, Direction, u32, u32),
    Port(PortScope, Direction, PortRange),
}

impl Test {
    pub fn new(primitive: &Primitive) -> Self {
        match primitive {
            &Primitive::EtherProto(kind) => Self::EtherProto(kind),
            &Primitive::IpProto(family, number) => Self::IpProto(family, number),
            &Primitive::Address(scope, direction, Net::V4 { address, mask }) => {
                Self::Address4(scope, direction, address, mask)
            }
            &Primitive::Port(scope, direction, range) => Self::Port(scope, direction, range),
            Primitive::Relation(relation) => field(relation).unwrap_or_else(|| {
                let mut guards = Vec::new();
                find_guards(&relation.left, &mut guards);
                find_guards(&relation.right, &mut guards);
                Self::Relation {
                    relation: Box::new(relation.clone()),
                    guards,
                }
            }),
            primitive => Self::Other(Box::new(primitive.clone())),
        }
    }

    #[inline]
    pub fn answer(&self, packet: &Packet<'_>, layout: &Layout) -> Option<bool> {
        match self {
            &Self::EtherProto(kind) => layout.is_ether_proto(packet, kind),
            &Self::IpProto(family, number) => ip_proto(packet, layout, family, number),
            &Self::Address4(scope, direction, address, mask) => {
                address4(packet, layout, scope, direction, address, mask)
            }
            &Self::Port(scope, direction, range) => port(packet, layout, scope, direction, range),
            &Self::Field {
                header,
                offset,
                width,
                mask,
                comparison,
                value,
            } => {
                let Found(base) = base(packet, layout, header)? else {
                    return Some(false);
                };
                let loaded = load(packet, base.checked_add(offset)?, width)?;
                Some(comparison.holds(loaded & mask, value))
            }
            Self::Relation { relation, guards } => {
                for &header in guards {
                    if let Absent = base(packet, layout, header)? {
                        return Some(false);
                    }
                }
                let left = evaluate(&relation.left, packet, layout)?;
                let right = evaluate(&relation.right, packet, layout)?;
                Some(relation.comparison.holds(left, right))
            }
            Self::Other(primitive) => other(primitive, packet, layout),
        }
    }
}

/// The relation as a [`Test::Field`], if it is one.
fn field(relation: &Relation) -> Option<Test> {
    let Arith::Number(value) = relation.right else {
        return None;
    };
    let (load, mask) = match &relation.left {
        Arith::Operation { first, rest } => match &rest[..] {
            [(super::ast::Operator::And, mask)] => (&**first, constant(mask)?),
            _ => return None,
        },
        load => (load, u32::MAX),
    };
    let Arith::Load {
        header,
        offset,
        width,
    } = load
    else {
        return None;
    };
    Some(Test::Field {
        header: *header,
        offset: usize::try_from(constant(offset)?).ok()?,
        width: *width,
        mask,
        comparison: relation.comparison,
        value,
    })
}

/// The value of arithmetic without a packet.
fn constant(arith: &Arith) -> Option<u32> {
    match arith {
        Arith::Number(number) => Some(*number),
        Arith::Length | Arith::Load { .. } => None,
        Arith::Negated(arith) => constant(arith).map(u32::wrapping_neg),
        Arith::Operation { first, rest } => rest
            .iter()
            .try_fold(constant(first)?, |left, (operator, right)| {
                operator.apply(left, constant(right)?)
            }),
    }
}

fn find_guards(arith: &Arith, guards: &mut Vec<Header>) {
    match arith {
        Arith::Number(_) | Arith::Length => {}
        Arith::Load { header, offset, .. } => {
            find_guards(offset, guards);
            if !guards.contains(header) {
                guards.push(*header);
            }
        }
        Arith::Negated(arith) => find_guards(arith, guards),
        Arith::Operation { first, rest } => {
            find_guards(first, guards);
            for (_, arith) in rest {
                find_guards(arith, guards);
            }
        }
    }
}

fn evaluate(arith: &Arith, packet: &Packet<'_>, layout: &Layout) -> Option<u32> {
    match arith {
        Arith::Number(number) => Some(*number),
        Arith::Length => Some(packet.len),
        Arith::Load {
            header,
            offset,
            width,
        } => {
            let offset = usize::try_from(evaluate(offset, packet, layout)?).ok()?;
            match base(packet, layout, *header)? {
                Found(base) => load(packet, base.checked_add(offset)?, *width),
                // The guards have made sure of it.
                Absent => None,
            }
        }
        Arith::Negated(arith) => evaluate(arith, packet, layout).map(u32::wrapping_neg),
        Arith::Operation { first, rest } => {
            let mut value = evaluate(first, packet, layout)?;
            for (operator, right) in rest {
                value = operator.apply(value, evaluate(right, packet, layout)?)?;
            }
            Some(value)
        }
    }
}

fn load(packet: &Packet<'_>, at: usize, width: Width) -> Option<u32> {
    match width {
        Width::One => packet.bytes.u8(at).map(u32::from),
        Width::Two => packet.bytes.u16(at).map(u32::from),
        Width::Four => packet.bytes.u32(at),
    }
}

/// Where a header begins.
#[inline]
fn base(packet: &Packet<'_>, layout: &Layout, header: Header) -> Option<Lookup<usize>> {
    let network = layout.network();
    let kind = match header {
        Header::Link => return Some(Found(layout.header)),
        Header::Ip | Header::Transport(_) => ether_type::IPV4,
        Header::Ip6 | Header::Icmp6 => ether_type::IPV6,
        Header::Arp | Header::Rarp if layout.naming == Naming::Version => return Some(Absent),
        Header::Arp => ether_type::ARP,
        Header::Rarp => ether_type::RARP,
    };
    if layout.ether_type(packet)? != kind {
        return Some(Absent);
    }
    match header {
        Header::Transport(number) => {
            if packet.bytes.u8(network + ipv4::PROTOCOL)? != number {
                return Some(Absent);
            }
            first_fragment(packet, network)
        }
        Header::Icmp6 => {
            let is_icmp6 = packet.bytes.u8(network + ipv6::NEXT_HEADER)? == 58;
            Some(if is_icmp6 {
                Found(network + ipv6::LEN)
            } else {
                Absent
            })
        }
        _ => Some(Found(network)),
    }
}

/// Where the transport header of an IPv4 packet begins; absent in a later fragment.
#[inline]
fn first_fragment(packet: &Packet<'_>, network: usize) -> Option<Lookup<usize>> {
    if packet.bytes.u16(network + ipv4::FRAGMENT)? & ipv4::FRAGMENT_OFFSET != 0 {
        return Some(Absent);
    }
    let words = usize::from(packet.bytes.u8(network)? & 0x0f);
    Some(Found(network + 4 * words))
}

/// pcap-filter(7): the next header; over IPv6 behind one fragment header, too, which libpcap does
/// and its manual does not say.
#[inline]
fn ip_proto(packet: &Packet<'_>, layout: &Layout, family: Family, number: u8) -> Option<bool> {
    let network = layout.network();
    match (layout.ether_type(packet)?, family) {
        (ether_type::IPV4, Family::Ip | Family::Either) => {
            Some(packet.bytes.u8(network + ipv4::PROTOCOL)? == number)
        }
        (ether_type::IPV6, Family::Ip6 | Family::Either) => {
            let next = packet.bytes.u8(network + ipv6::NEXT_HEADER)?;
            if next == number || next != ipv6::FRAGMENT {
                return Some(next == number);
            }
            Some(packet.bytes.u8(network + ipv6::LEN)? == number)
        }
        _ => Some(false),
    }
}

#[inline]
fn address4(
    packet: &Packet<'_>,
    layout: &Layout,
    scope: Scope,
    direction: Direction,
    address: u32,
    mask: u32,
) -> Option<bool> {
    let (source, destination) = match (layout.ether_type(packet)?, scope) {
        (ether_type::IPV4, Scope::Any | Scope::Ip) => (ipv4::SOURCE, ipv4::DESTINATION),
        (ether_type::ARP, Scope::Any | Scope::Arp)
        | (ether_type::RARP, Scope::Any | Scope::Rarp) => (arp::SENDER, arp::TARGET),
        _ => return Some(false),
    };
    if mask == 0 {
        return Some(true);
    }
    let network = layout.network();
    let is = |at: usize| Some(packet.bytes.u32(network + at)? & mask == address);
    direction.judge(|| is(source), || is(destination))
}

fn address6(
    packet: &Packet<'_>,
    layout: &Layout,
    direction: Direction,
    address: u128,
    mask: u128,
) -> Option<bool> {
    if layout.ether_type(packet)? != ether_type::IPV6 {
        return Some(false);
    }
    let network = layout.network();
    let is = |at: usize| is_address6(packet, network + at, address, mask);
    direction.judge(|| is(ipv6::SOURCE), || is(ipv6::DESTINATION))
}

/// Word by word: the first that differs decides, even where those behind it are missing.
pub fn is_address6(packet: &Packet<'_>, at: usize, address: u128, mask: u128) -> Option<bool> {
    for word in 0..4 {
        let shift = 96 - 32 * word;
        #[expect(clippy::cast_possible_truncation, reason = "one word of four")]
        let (address, mask) = ((address >> shift) as u32, (mask >> shift) as u32);
        if mask != 0 && packet.bytes.u32(at + 4 * word)? & mask != address {
            return Some(false);
        }
    }
    Some(true)
}

/// pcap-filter(7): the transport header of a first fragment, over IPv6 only directly behind it.
#[inline]
fn port(
    packet: &Packet<'_>,
    layout: &Layout,
    scope: PortScope,
    direction: Direction,
    range: PortRange,
) -> Option<bool> {
    let network = layout.network();
    let at = match layout.ether_type(packet)? {
        ether_type::IPV4 => {
            if !scope.covers(packet.bytes.u8(network + ipv4::PROTOCOL)?) {
                return Some(false);
            }
            match first_fragment(packet, network)? {
                Found(at) => at,
                Absent => return Some(false),
            }
        }
        ether_type::IPV6 => {
            if !scope.covers(packet.bytes.u8(network + ipv6::NEXT_HEADER)?) {
                return Some(false);
            }
            network + ipv6::LEN
        }
        _ => return Some(false),
    };
    let is = |at: usize| Some(range.contains(packet.bytes.u16(at)?));
    direction.judge(|| is(at), || is(at + 2))
}

/// The tests that are rarer, or do little.
fn other(primitive: &Primitive, packet: &Packet<'_>, layout: &Layout) -> Option<bool> {
    let network = layout.network();
    match primitive {
        &Primitive::Address(_, direction, Net::V6 { address, mask }) => {
            address6(packet, layout, direction, address, mask)
        }
        &Primitive::ProtoChain(family, number) => proto_chain(packet, layout, family, number),
        &Primitive::FarAddress(direction, net) => far_address(packet, direction, net),
        &Primitive::FarPort(side, range) => {
            let Found(ports) = far::ports(packet)? else {
                return Some(false);
            };
            let offset = match side {
                Side::Source => 0,
                Side::Destination => 2,
            };
            Some(range.contains(packet.bytes.u16(ports.at + offset)?))
        }
        Primitive::Flow(flow) => is_flow(packet, flow),
        &Primitive::Mac(direction, mac) => {
            let is = |at: usize| {
                let found: [u8; 6] = packet.bytes.array(layout.header + at)?;
                Some(found == mac)
            };
            with_macs(layout, || direction.judge(|| is(6), || is(0)))
        }
        Primitive::Broadcast => with_macs(layout, || {
            Some(packet.bytes.array(layout.header)? == [0xff; 6])
        }),
        Primitive::Multicast => {
            with_macs(layout, || Some(packet.bytes.u8(layout.header)? & 1 == 1))
        }
        Primitive::IpBroadcast => {
            if layout.ether_type(packet)? != ether_type::IPV4 {
                return Some(false);
            }
            let destination = packet.bytes.u32(network + ipv4::DESTINATION)?;
            Some(destination == 0 || destination == u32::MAX)
        }
        Primitive::IpMulticast => {
            if layout.ether_type(packet)? != ether_type::IPV4 {
                return Some(false);
            }
            Some(packet.bytes.u8(network + ipv4::DESTINATION)? >= 224)
        }
        Primitive::Ip6Multicast => {
            if layout.ether_type(packet)? != ether_type::IPV6 {
                return Some(false);
            }
            Some(packet.bytes.u8(network + ipv6::DESTINATION)? == 0xff)
        }
        &Primitive::Vlan(id) => layout.is_vlan(packet, id),
        &Primitive::Mpls(label) => layout.is_mpls(packet, label),
        &Primitive::Pppoes(session) => layout.is_pppoes(packet, session),
        Primitive::Llc(llc) => {
            if layout.naming != Naming::Ethernet {
                return (layout.naming != Naming::Unread).then_some(false);
            }
            if layout.type_field(packet)? > MAX_LLC_LENGTH
                || packet.bytes.u16(layout.payload)? == 0xffff
            {
                return Some(false);
            }
            if llc.mask == 0 {
                return Some(true);
            }
            Some(packet.bytes.u8(layout.payload + 2)? & llc.mask == llc.value)
        }
        Primitive::Direction(travel) => {
            let came_in = packet.record.input.is_some();
            Some(came_in == (*travel == Travel::Inbound))
        }
        Primitive::Drop(word) => Some(drop_word(word, packet)),
        // They are tests of their own.
        Primitive::EtherProto(_)
        | Primitive::IpProto(..)
        | Primitive::Address(..)
        | Primitive::Port(..)
        | Primitive::Relation(_) => Test::new(primitive).answer(packet, layout),
    }
}

/// What is asked of MAC addresses is false where there are none.
fn with_macs(layout: &Layout, test: impl FnOnce() -> Option<bool>) -> Option<bool> {
    match layout.naming {
        Naming::Unread => None,
        _ if !layout.has_macs => Some(false),
        _ => test(),
    }
}

/// Any header of the chain, until one that has no next.
fn proto_chain(packet: &Packet<'_>, layout: &Layout, family: Family, number: u8) -> Option<bool> {
    let network = layout.network();
    let headers = match (layout.ether_type(packet)?, family) {
        (ether_type::IPV4, Family::Ip | Family::Either) => far::Headers::of_ipv4(packet, network)?,
        (ether_type::IPV6, Family::Ip6 | Family::Either) => far::Headers::of_ipv6(packet, network)?,
        _ => return Some(false),
    };
    for header in headers {
        if header?.number == number {
            return Some(true);
        }
    }
    Some(false)
}

fn far_address(packet: &Packet<'_>, direction: Direction, net: Net) -> Option<bool> {
    let (kind, network) = far::network(packet)?;
    match (kind, net) {
        (ether_type::IPV4, Net::V4 { address, mask }) => {
            let is = |at: usize| Some(packet.bytes.u32(network + at)? & mask == address);
            direction.judge(|| is(ipv4::SOURCE), || is(ipv4::DESTINATION))
        }
        (ether_type::ARP | ether_type::RARP, Net::V4 { address, mask }) => {
            let is = |at: usize| Some(packet.bytes.u32(network + at)? & mask == address);
            direction.judge(|| is(arp::SENDER), || is(arp::TARGET))
        }
        (ether_type::IPV6, Net::V6 { address, mask }) => {
            let is = |at: usize| is_address6(packet, network + at, address, mask);
            direction.judge(|| is(ipv6::SOURCE), || is(ipv6::DESTINATION))
        }
        _ => Some(false),
    }
}

fn is_flow(packet: &Packet<'_>, flow: &Flow) -> Option<bool> {
    let Found(ports) = far::ports(packet)? else {
        return Some(false);
    };
    if !flow.protocol.covers(ports.protocol) {
        return Some(false);
    }
    let source = packet.bytes.u16(ports.at)?;
    let destination = packet.bytes.u16(ports.at + 2)?;
    let is = |from: &std::net::SocketAddr, to: &std::net::SocketAddr| {
        if source != from.port() || destination != to.port() {
            return Some(false);
        }
        Direction::Both.judge(
            || far_address(packet, Direction::Source, from.ip().into()),
            || far_address(packet, Direction::Destination, to.ip().into()),
        )
    };
    Direction::Either.judge(|| is(&flow.one, &flow.other), || is(&flow.other, &flow.one))
}

/// What is absent is plainly not so.
fn drop_word(word: &DropWord, packet: &Packet<'_>) -> bool {
    let record = packet.record;
    let (reason, pc, symbol) = match record.cause {
        Cause::Software { location, reason } => (reason, location.pc, location.symbol),
        _ => (None, None, None),
    };
    let (trap, group) = match record.cause {
        Cause::Hardware { group, trap, .. } => (trap, group),
        _ => (None, None),
    };
    match word {
        DropWord::Reason(glob) => {
            reason.is_some_and(|reason| glob.matches_any_case(reason.as_bytes()))
        }
        DropWord::Location(glob) => symbol.map(Symbol::function).is_some_and(|function| {
            // `.constprop.0` and its like: parts of a function that the compiler split off.
            let plain = function.split(|&byte| byte == b'.').next();
            glob.matches(function) || plain.is_some_and(|plain| glob.matches(plain))
        }),
        DropWord::Module(glob) => symbol
            .and_then(Symbol::module)
            .is_some_and(|module| glob.matches(module)),
        DropWord::Pc(wanted) => pc == Some(*wanted),
        DropWord::Origin(origin) => record.cause.origin() == Some(*origin),
        DropWord::Trap(glob) => trap.is_some_and(|trap| glob.matches(trap.as_bytes())),
        DropWord::TrapGroup(glob) => group.is_some_and(|group| glob.matches(group.as_bytes())),
        DropWord::InterfaceIndex(index) => record.input.is_some_and(|input| input.index == *index),
        DropWord::InterfaceName(name) => record
            .input
            .and_then(crate::record::Interface::name)
            .map(Name::as_bytes)
            .is_some_and(|found| found == name),
    }
}
