//! Translates ports, and the words that look after VLAN tags and extension headers, into formulas.

use crate::filter::ast::{DirQualifier, Net, PortRange, PortScope, Scope, TwoWayFlow};
use crate::filter::layout::ether_type;
use crate::packet::offset::{ipv4, ipv6, udp};

use super::constraint::{Base, Numbers, PlaceId, Variable};
use super::formula::{Formula, all_of, among, any_of, bytes, in_range, is_one, judged, kind};
use super::meaning::{
    AUTHENTICATION, EXTENSIONS, Spot, UNTAGGED, address4, address6, first_fragment,
};

/// IP protocols that can carry a packet: IPv4, IPv6, UDP for VXLAN and Geneve, GRE, MPLS.
const TUNNELS: [u128; 5] = [4, 17, 41, 47, 137];

/// Returns the IP protocols of `scope`, and those in `more`.
fn covered(scope: PortScope, more: &[u128]) -> Numbers {
    let all = (0..=u8::MAX).filter(|&number| scope.covers(number));
    Numbers::of(all.map(u128::from).chain(more.iter().copied()))
}

pub fn port(here: PlaceId, scope: PortScope, direction: DirQualifier, range: PortRange) -> Formula {
    let next = |offset| among(bytes(here, Base::Network, offset, 1), covered(scope, &[]));
    let ports = |base, source| {
        judged(
            direction,
            in_range(bytes(here, base, source, 2), range),
            in_range(bytes(here, base, source + udp::DESTINATION, 2), range),
        )
    };
    any_of([
        all_of([
            kind(here, &[ether_type::IPV4]),
            next(ipv4::PROTOCOL),
            first_fragment(here),
            ports(Base::BehindIpv4, 0),
        ]),
        all_of([
            kind(here, &[ether_type::IPV6]),
            next(ipv6::NEXT_HEADER),
            ports(Base::Network, ipv6::LEN),
        ]),
    ])
}

/// Applies `formula` to the network header after all VLAN tags, which is the first header if there
/// is no tag.
pub fn behind_tags(spot: Spot, formula: impl Fn(PlaceId) -> Formula) -> Formula {
    let is_untagged = kind(spot.start, &UNTAGGED);
    any_of([
        all_of([is_untagged.clone(), formula(spot.start)]),
        all_of([is_untagged.not(), formula(spot.untagged)]),
    ])
}

pub fn transport_address(place: PlaceId, direction: DirQualifier, net: Net) -> Formula {
    match net {
        Net::V4 { address, mask } => address4(place, Scope::Any, direction, address, mask),
        Net::V6 { address, mask } => address6(place, direction, address, mask),
    }
}

/// Returns the formula for a TCP, UDP or SCTP header of `scope`, directly after IP or after
/// extension headers, whose ports satisfy `ports`.
pub fn transport_ports(
    place: PlaceId,
    untagged: PlaceId,
    scope: PortScope,
    ports: impl Fn(Variable, Variable) -> Formula,
) -> Formula {
    let transport_bytes = |offset| bytes(untagged, Base::TransportHeader, offset, 2);
    let behind_extensions = all_of([
        among(
            bytes(untagged, Base::TransportProtocol, 0, 1),
            covered(scope, &[]),
        ),
        ports(transport_bytes(0), transport_bytes(2)),
    ]);
    let either = |next: Variable, extensions: &[u128], base, source| {
        let extensions = among(next, Numbers::of(extensions.iter().copied()));
        any_of([
            all_of([
                among(next, covered(scope, &[])),
                ports(
                    bytes(place, base, source, 2),
                    bytes(place, base, source + udp::DESTINATION, 2),
                ),
            ]),
            all_of([extensions, behind_extensions.clone()]),
        ])
    };
    let next = |offset| bytes(place, Base::Network, offset, 1);
    any_of([
        all_of([
            kind(place, &[ether_type::IPV4]),
            first_fragment(place),
            either(next(ipv4::PROTOCOL), &[AUTHENTICATION], Base::BehindIpv4, 0),
        ]),
        all_of([
            kind(place, &[ether_type::IPV6]),
            either(
                next(ipv6::NEXT_HEADER),
                &EXTENSIONS,
                Base::Network,
                ipv6::LEN,
            ),
            behind_fragment(place, covered(scope, &EXTENSIONS)),
        ]),
    ])
}

pub fn is_flow(place: PlaceId, spot: Spot, flow: &TwoWayFlow) -> Formula {
    let exactly = |port| PortRange {
        first: port,
        last: port,
    };
    let goes = |from: std::net::SocketAddr, to: std::net::SocketAddr| {
        all_of([
            transport_ports(
                place,
                spot.untagged,
                flow.protocol,
                |source, destination| {
                    all_of([
                        in_range(source, exactly(from.port())),
                        in_range(destination, exactly(to.port())),
                    ])
                },
            ),
            transport_address(place, DirQualifier::Source, from.ip().into()),
            transport_address(place, DirQualifier::Destination, to.ip().into()),
        ])
    };
    any_of([goes(flow.one, flow.other), goes(flow.other, flow.one)])
}

/// Returns the formula that follows from the presence of a packet inside a tunnel.
pub fn tunnelled(spot: Spot) -> Formula {
    let start = spot.start;
    let next = |offset| bytes(start, Base::Network, offset, 1);
    let carriers = |extensions: &[u128]| Numbers::of([&TUNNELS, extensions].concat());
    any_of([
        kind(start, &UNTAGGED).not(),
        all_of([
            kind(start, &[ether_type::IPV4]),
            first_fragment(start),
            among(next(ipv4::PROTOCOL), carriers(&[AUTHENTICATION])),
        ]),
        all_of([
            kind(start, &[ether_type::IPV6]),
            among(next(ipv6::NEXT_HEADER), carriers(&EXTENSIONS)),
            behind_fragment(start, carriers(&EXTENSIONS)),
        ]),
    ])
}

/// Returns the formula that the header after a fragment header directly after IPv6, if there is
/// one, is one of `numbers`.
fn behind_fragment(place: PlaceId, numbers: Numbers) -> Formula {
    let next = |offset| bytes(place, Base::Network, offset, 1);
    any_of([
        is_one(next(ipv6::NEXT_HEADER), ipv6::FRAGMENT.into()).not(),
        among(next(ipv6::LEN), numbers),
    ])
}
