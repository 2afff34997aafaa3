//! Compiled predicates. A predicate answers true or false for a packet, or `None` if bytes are
//! missing.

use super::ast::{
    Arith, Comparison, DirQualifier, Family, LoadBase, Net, Operator, PortRange, PortScope,
    Primitive, Relation, Scope, Side, TwoWayFlow, Width,
};
use super::layout::{MAX_LLC_LENGTH, Naming, ether_type};
use super::packet::Lookup::{Absent, Found};
use super::relation;
use super::view::{Class, PacketView};
use super::{drop_predicate, fact, transport_header};
use crate::packet::offset::{LLC_CONTROL, arp, ethernet, ipv4, ipv6, udp};

/// A primitive, prepared for fast evaluation.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// A comparison of one load at a fixed offset, under a mask; nearly every relation is one.
    Field {
        header: LoadBase,
        offset: usize,
        width: Width,
        mask: u32,
        comparison: Comparison,
        value: u32,
    },
    Relation {
        relation: Box<Relation>,
        /// The headers that the packet must have, in text order.
        guards: Vec<LoadBase>,
    },
    Other(Box<Primitive>),
    EtherProto(u16),
    IpProto(Family, u8),
    Address4(Scope, DirQualifier, u32, u32),
    /// A port in any of the ranges. The first range is stored apart, because it nearly always is
    /// the only one.
    Port(PortScope, DirQualifier, PortRange, Vec<PortRange>),
}

impl Predicate {
    pub fn new(primitive: &Primitive) -> Self {
        match primitive {
            &Primitive::EtherProto(kind) => Self::EtherProto(kind),
            &Primitive::IpProto(family, number) => Self::IpProto(family, number),
            &Primitive::Address(scope, direction, Net::V4 { address, mask }) => {
                Self::Address4(scope, direction, address, mask)
            }
            &Primitive::Port(scope, direction, range) => {
                Self::Port(scope, direction, range, Vec::new())
            }
            Primitive::Relation(relation) => field(relation).unwrap_or_else(|| {
                let mut guards = Vec::new();
                relation::find_guards(&relation.left, &mut guards);
                relation::find_guards(&relation.right, &mut guards);
                Self::Relation {
                    relation: Box::new(relation.clone()),
                    guards,
                }
            }),
            primitive => Self::Other(Box::new(primitive.clone())),
        }
    }

    /// Returns the range of `other`, if `self or other` can be one predicate on ports.
    pub fn joined_port(&self, other: &Self) -> Option<PortRange> {
        match (self, other) {
            (
                Self::Port(scope, direction, ..),
                Self::Port(same_scope, same_direction, range, _),
            ) if (scope, direction) == (same_scope, same_direction)
                && *direction != DirQualifier::Both =>
            {
                Some(*range)
            }
            _ => None,
        }
    }

    /// Adds port ranges to the predicate.
    pub fn with_ports(mut self, ports: Vec<PortRange>) -> Self {
        if let Self::Port(_, _, _, more) = &mut self {
            more.extend(ports);
        }
        self
    }

    /// Returns the answer for all packets of a class, if it is the same for all of them.
    pub fn in_class(&self, class: Class) -> Option<bool> {
        if class == Class::Unknown {
            return None;
        }
        let possible = match self {
            &Self::EtherProto(kind) => {
                let asked = Class::of(Some(kind));
                if asked != Class::Other {
                    return Some(asked == class);
                }
                class == Class::Other
            }
            &Self::IpProto(family, _) => class.is_of(family),
            Self::Address4(scope, ..) => match scope {
                Scope::Any => matches!(class, Class::Ip4 | Class::Arp | Class::Rarp),
                Scope::Ip => class == Class::Ip4,
                Scope::Arp => class == Class::Arp,
                Scope::Rarp => class == Class::Rarp,
            },
            Self::Port(..) => class.is_of(Family::Either),
            &Self::Field { header, .. } => relation::has_header(class, header),
            Self::Relation { guards, .. } => guards
                .iter()
                .all(|&header| relation::has_header(class, header)),
            Self::Other(primitive) => match **primitive {
                Primitive::Address(..) | Primitive::Ip6Multicast => class == Class::Ip6,
                Primitive::IpBroadcast | Primitive::IpMulticast => class == Class::Ip4,
                Primitive::ProtoChain(family, _) => class.is_of(family),
                _ => true,
            },
        };
        (!possible).then_some(false)
    }

    #[inline]
    pub fn answer(&self, view: &PacketView<'_>) -> Option<bool> {
        match self {
            &Self::EtherProto(kind) => view.layout.is_ether_proto(view.packet, kind),
            &Self::IpProto(family, number) => ip_proto(view, family, number),
            &Self::Address4(scope, direction, address, mask) => {
                address4(view, scope, direction, address, mask)
            }
            Self::Port(scope, direction, range, more) => {
                port(view, *scope, *direction, *range, more)
            }
            &Self::Field {
                header,
                offset,
                width,
                mask,
                comparison,
                value,
            } => {
                let Found(base) = relation::base(view, header)? else {
                    return Some(false);
                };
                let loaded = relation::load(view, base.checked_add(offset)?, width)?;
                Some(comparison.holds(loaded & mask, value))
            }
            Self::Relation { relation, guards } => {
                let mut has_all = true;
                for &header in guards {
                    match relation::base(view, header) {
                        Some(Absent) => return Some(false),
                        Some(Found(_)) => {}
                        None => has_all = false,
                    }
                }
                if !has_all {
                    return None;
                }
                let left = relation::evaluate(&relation.left, view)?;
                let right = relation::evaluate(&relation.right, view)?;
                Some(relation.comparison.holds(left, right))
            }
            Self::Other(primitive) => other(primitive, view),
        }
    }
}

/// Returns the relation as a [`Predicate::Field`] if it compares one load at a constant offset.
pub fn field(comparison: &Relation) -> Option<Predicate> {
    let Arith::Number(value) = comparison.right else {
        return None;
    };
    let (load, mask) = match &comparison.left {
        Arith::Operation { first, rest } => match &rest[..] {
            [(Operator::And, mask)] => (&**first, relation::constant(mask)?),
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
    Some(Predicate::Field {
        header: *header,
        offset: usize::try_from(relation::constant(offset)?).ok()?,
        width: *width,
        mask,
        comparison: comparison.comparison,
        value,
    })
}

/// Tests the next header, as pcap-filter(7) says; over IPv6 also the header after one fragment
/// header, which libpcap does without mentioning it in the manual.
#[inline]
fn ip_proto(view: &PacketView<'_>, family: Family, number: u8) -> Option<bool> {
    let network = view.layout.network();
    match (view.kind?, family) {
        (ether_type::IPV4, Family::Ip | Family::Either) => {
            Some(view.packet.bytes.u8(network + ipv4::PROTOCOL)? == number)
        }
        (ether_type::IPV6, Family::Ip6 | Family::Either) => {
            let next = view.packet.bytes.u8(network + ipv6::NEXT_HEADER)?;
            if next == number || next != ipv6::FRAGMENT {
                return Some(next == number);
            }
            Some(view.packet.bytes.u8(network + ipv6::LEN)? == number)
        }
        _ => Some(false),
    }
}

#[inline]
fn address4(
    view: &PacketView<'_>,
    scope: Scope,
    direction: DirQualifier,
    address: u32,
    mask: u32,
) -> Option<bool> {
    let (source, destination) = match (view.kind?, scope) {
        (ether_type::IPV4, Scope::Any | Scope::Ip) => (ipv4::SOURCE, ipv4::DESTINATION),
        (ether_type::ARP, Scope::Any | Scope::Arp)
        | (ether_type::RARP, Scope::Any | Scope::Rarp) => (arp::SENDER, arp::TARGET),
        _ => return Some(false),
    };
    if mask == 0 {
        return Some(true);
    }
    let network = view.layout.network();
    let is = |at: usize| Some(view.packet.bytes.u32(network + at)? & mask == address);
    direction.judge(|| is(source), || is(destination))
}

fn address6(
    view: &PacketView<'_>,
    direction: DirQualifier,
    address: u128,
    mask: u128,
) -> Option<bool> {
    if view.kind? != ether_type::IPV6 {
        return Some(false);
    }
    let network = view.layout.network();
    let is = |at: usize| is_address6(view, network + at, address, mask);
    direction.judge(|| is(ipv6::SOURCE), || is(ipv6::DESTINATION))
}

/// Compares word by word: the first word that differs decides, even if later ones were not
/// captured.
fn is_address6(view: &PacketView<'_>, at: usize, address: u128, mask: u128) -> Option<bool> {
    for word in 0..4 {
        let shift = 96 - 32 * word;
        #[expect(clippy::cast_possible_truncation, reason = "one word of four")]
        let (address, mask) = ((address >> shift) as u32, (mask >> shift) as u32);
        if mask != 0 && view.packet.bytes.u32(at + 4 * word)? & mask != address {
            return Some(false);
        }
    }
    Some(true)
}

/// Tests the ports in the transport header of a first fragment, over IPv6 only directly after the
/// IPv6 header, as pcap-filter(7) says.
#[inline]
fn port(
    view: &PacketView<'_>,
    scope: PortScope,
    direction: DirQualifier,
    range: PortRange,
    more: &[PortRange],
) -> Option<bool> {
    let network = view.layout.network();
    let at = match view.kind? {
        ether_type::IPV4 => {
            if !scope.covers(view.packet.bytes.u8(network + ipv4::PROTOCOL)?) {
                return Some(false);
            }
            match relation::first_fragment(view, network)? {
                Found(at) => at,
                Absent => return Some(false),
            }
        }
        ether_type::IPV6 => {
            if !scope.covers(view.packet.bytes.u8(network + ipv6::NEXT_HEADER)?) {
                return Some(false);
            }
            network + ipv6::LEN
        }
        _ => return Some(false),
    };
    let is = |at: usize| {
        let port = view.packet.bytes.u16(at)?;
        Some(range.contains(port) || more.iter().any(|range| range.contains(port)))
    };
    direction.judge(|| is(at), || is(at + udp::DESTINATION))
}

/// Evaluates the primitives that are rare or cheap.
fn other(primitive: &Primitive, view: &PacketView<'_>) -> Option<bool> {
    let network = view.layout.network();
    match primitive {
        &Primitive::Address(_, direction, Net::V6 { address, mask }) => {
            address6(view, direction, address, mask)
        }
        &Primitive::ProtoChain(family, number) => proto_chain(view, family, number),
        &Primitive::TransportAddress(direction, net) => transport_address(view, direction, net),
        &Primitive::TransportPort(side, range) => {
            let Found(ports) = transport_header::ports(view.packet)? else {
                return Some(false);
            };
            let offset = match side {
                Side::Source => udp::SOURCE,
                Side::Destination => udp::DESTINATION,
            };
            Some(range.contains(view.packet.bytes.u16(ports.at + offset)?))
        }
        Primitive::Flow(flow) => is_flow(view, flow),
        Primitive::OneWay(flow) => Some(fact::flow(view.packet) == *flow),
        &Primitive::Mac(direction, mac) => {
            let is = |at: usize| {
                let found: [u8; 6] = view.packet.bytes.array(view.layout.header + at)?;
                Some(found == mac)
            };
            with_macs(view, || {
                direction.judge(|| is(ethernet::SOURCE), || is(ethernet::DESTINATION))
            })
        }
        Primitive::Broadcast => with_macs(view, || {
            Some(view.packet.bytes.array(view.layout.header)? == [0xff; 6])
        }),
        Primitive::Multicast => with_macs(view, || {
            Some(view.packet.bytes.u8(view.layout.header)? & 1 == 1)
        }),
        Primitive::IpBroadcast => {
            if view.kind? != ether_type::IPV4 {
                return Some(false);
            }
            let destination = view.packet.bytes.u32(network + ipv4::DESTINATION)?;
            Some(destination == 0 || destination == u32::MAX)
        }
        Primitive::IpMulticast => {
            if view.kind? != ether_type::IPV4 {
                return Some(false);
            }
            Some(view.packet.bytes.u8(network + ipv4::DESTINATION)? >= 224)
        }
        Primitive::Ip6Multicast => {
            if view.kind? != ether_type::IPV6 {
                return Some(false);
            }
            Some(view.packet.bytes.u8(network + ipv6::DESTINATION)? == 0xff)
        }
        &Primitive::Vlan(id) => view.layout.is_vlan(view.packet, id),
        &Primitive::Mpls(label) => view.layout.is_mpls(view.packet, label),
        &Primitive::Pppoes(session) => view.layout.is_pppoes(view.packet, session),
        Primitive::Llc(llc) => {
            if view.layout.naming != Naming::Ethernet {
                return (view.layout.naming != Naming::Unread).then_some(false);
            }
            if view.layout.type_field(view.packet)? > MAX_LLC_LENGTH
                || view.packet.bytes.u16(view.layout.payload)? == 0xffff
            {
                return Some(false);
            }
            if llc.mask == 0 {
                return Some(true);
            }
            Some(view.packet.bytes.u8(view.layout.payload + LLC_CONTROL)? & llc.mask == llc.value)
        }
        &Primitive::Direction(direction) => {
            let record = view.packet.record;
            match record.direction() {
                // The rest of the header may name one.
                None if record.is_direction_cut() => None,
                found => Some(found == Some(direction)),
            }
        }
        Primitive::Drop(word) => Some(drop_predicate::holds(word, view.packet.record)),
        // These have predicates of their own.
        Primitive::EtherProto(_)
        | Primitive::IpProto(..)
        | Primitive::Address(..)
        | Primitive::Port(..)
        | Primitive::Relation(_) => Predicate::new(primitive).answer(view),
    }
}

/// Returns false for a link layer without MAC addresses, else the predicate's answer.
fn with_macs(view: &PacketView<'_>, predicate: impl FnOnce() -> Option<bool>) -> Option<bool> {
    match view.layout.naming {
        Naming::Unread => None,
        _ if !view.layout.has_macs => Some(false),
        _ => predicate(),
    }
}

/// Returns whether any header of the chain has the protocol number.
fn proto_chain(view: &PacketView<'_>, family: Family, number: u8) -> Option<bool> {
    let network = view.layout.network();
    let headers = match (view.kind?, family) {
        (ether_type::IPV4, Family::Ip | Family::Either) => {
            transport_header::Headers::of_ipv4(view.packet, network)?
        }
        (ether_type::IPV6, Family::Ip6 | Family::Either) => {
            transport_header::Headers::of_ipv6(view.packet, network)?
        }
        _ => return Some(false),
    };
    for header in headers {
        if header?.number == number {
            return Some(true);
        }
    }
    Some(false)
}

fn transport_address(view: &PacketView<'_>, direction: DirQualifier, net: Net) -> Option<bool> {
    let (kind, network) = transport_header::network(view.packet)?;
    match (kind, net) {
        (ether_type::IPV4, Net::V4 { address, mask }) => {
            let is = |at: usize| Some(view.packet.bytes.u32(network + at)? & mask == address);
            direction.judge(|| is(ipv4::SOURCE), || is(ipv4::DESTINATION))
        }
        (ether_type::ARP | ether_type::RARP, Net::V4 { address, mask }) => {
            let is = |at: usize| Some(view.packet.bytes.u32(network + at)? & mask == address);
            direction.judge(|| is(arp::SENDER), || is(arp::TARGET))
        }
        (ether_type::IPV6, Net::V6 { address, mask }) => {
            let is = |at: usize| is_address6(view, network + at, address, mask);
            direction.judge(|| is(ipv6::SOURCE), || is(ipv6::DESTINATION))
        }
        _ => Some(false),
    }
}

fn is_flow(view: &PacketView<'_>, flow: &TwoWayFlow) -> Option<bool> {
    let Found(ports) = transport_header::ports(view.packet)? else {
        return Some(false);
    };
    if !flow.protocol.covers(ports.protocol) {
        return Some(false);
    }
    let source = view.packet.bytes.u16(ports.at)?;
    let destination = view.packet.bytes.u16(ports.at + udp::DESTINATION)?;
    let is = |from: &std::net::SocketAddr, to: &std::net::SocketAddr| {
        if source != from.port() || destination != to.port() {
            return Some(false);
        }
        DirQualifier::Both.judge(
            || transport_address(view, DirQualifier::Source, from.ip().into()),
            || transport_address(view, DirQualifier::Destination, to.ip().into()),
        )
    };
    DirQualifier::Either.judge(|| is(&flow.one, &flow.other), || is(&flow.other, &flow.one))
}
