//! Translates primitives into formulas about packets that have all their bytes. Missing bytes make
//! an answer unknown, never the opposite, so that a contradiction for whole packets holds for all.
//!
//! If a primitive says more than its formula, a contradiction may be missed, but none is invented.

use crate::filter::ast::{Family, Net, PortScope, Primitive, Side};
use crate::filter::layout::{MAX_LLC_LENGTH, ether_type};
use crate::packet::offset::{ethernet, ipv4, ipv6, mpls, pppoe, vlan};
use crate::record;

use super::comparison::comparison;
use super::constraint::{Base, Numbers, PlaceId, Variable};
use super::drop_word::drop_word;
use super::formula::{Formula, all_of, among, any_of, bytes, in_range, is_one, judged, kind};
use super::meaning::{AUTHENTICATION, EXTENSIONS, Meaning, Spot, address4, address6};
use super::transport::{behind_tags, is_flow, port, transport_address, transport_ports};

/// Ethernet types that 802.2 frames can have too.
const OF_BOTH: [u16; 3] = [0x8137, 0x809b, 0x80f3];
/// Types below 1501 that have another meaning in PPP.
const OF_PPP: [u16; 5] = [0x0021, 0x0057, 0x0025, 0x0027, 0x0029];
/// The value of [`Variable::Kind`] for all types that are not told apart.
const LOW: u16 = 0;

pub fn meaning(primitive: &Primitive, spot: Spot) -> Meaning {
    let here = spot.here;
    match primitive {
        &Primitive::EtherProto(number) => ether_proto(here, number),
        &Primitive::IpProto(family, number) => Meaning::exactly(ip_proto(here, family, number)),
        &Primitive::ProtoChain(family, number) => proto_chain(here, family, number),
        &Primitive::Address(scope, direction, Net::V4 { address, mask }) => {
            Meaning::exactly(address4(here, scope, direction, address, mask))
        }
        &Primitive::Address(_, direction, Net::V6 { address, mask }) => {
            Meaning::exactly(address6(here, direction, address, mask))
        }
        &Primitive::TransportAddress(direction, net) => {
            Meaning::exactly(behind_tags(spot, |place| {
                transport_address(place, direction, net)
            }))
        }
        &Primitive::Port(scope, direction, range) => {
            Meaning::exactly(port(here, scope, direction, range))
        }
        &Primitive::TransportPort(side, range) => Meaning::exactly(behind_tags(spot, |place| {
            transport_ports(
                place,
                spot.untagged,
                PortScope::Any,
                |source, destination| {
                    in_range(
                        match side {
                            Side::Source => source,
                            Side::Destination => destination,
                        },
                        range,
                    )
                },
            )
        })),
        Primitive::Flow(flow) => {
            Meaning::exactly(behind_tags(spot, |place| is_flow(place, spot, flow)))
        }
        &Primitive::Mac(direction, mac) => {
            let mac = mac.iter().fold(0, |all, &byte| all << 8 | u128::from(byte));
            let is = |offset| is_one(bytes(here, Base::Link, offset, 6), mac);
            with_macs(
                here,
                judged(direction, is(ethernet::SOURCE), is(ethernet::DESTINATION)),
            )
        }
        Primitive::Broadcast => with_macs(
            here,
            is_one(bytes(here, Base::Link, 0, 6), 0xffff_ffff_ffff),
        ),
        Primitive::Multicast => {
            let group = 1 << 40;
            let field = bytes(here, Base::Link, 0, 6);
            with_macs(here, Formula::masked(field, group, Numbers::one(group)))
        }
        Primitive::IpBroadcast => {
            let destination = bytes(here, Base::Network, ipv4::DESTINATION, 4);
            let all = Numbers::of([0, u128::from(u32::MAX)]);
            Meaning::exactly(all_of([
                kind(here, &[ether_type::IPV4]),
                among(destination, all),
            ]))
        }
        Primitive::IpMulticast => {
            let destination = bytes(here, Base::Network, ipv4::DESTINATION, 4);
            let all = Numbers::between(0xe000_0000, u128::from(u32::MAX));
            Meaning::exactly(all_of([
                kind(here, &[ether_type::IPV4]),
                among(destination, all),
            ]))
        }
        Primitive::Ip6Multicast => {
            let destination = bytes(here, Base::Network, ipv6::DESTINATION, 16);
            let all = Numbers::between(0xff << 120, u128::MAX);
            Meaning::exactly(all_of([
                kind(here, &[ether_type::IPV6]),
                among(destination, all),
            ]))
        }
        Primitive::Vlan(_) | Primitive::Mpls(_) | Primitive::Pppoes(_) | Primitive::Llc(_) => {
            Meaning::at_most(between(primitive, spot))
        }
        Primitive::Direction(travel) => {
            let number = match travel {
                record::Direction::Inbound => 1,
                record::Direction::Outbound => 2,
            };
            Meaning::at_most(Formula::masked(
                Variable::PacketDirection,
                3,
                Numbers::one(number),
            ))
        }
        // Only the filters for the rows of a summary use this.
        Primitive::OneWay(_) => Meaning::at_most(Formula::True),
        Primitive::Relation(relation) => comparison(relation, spot),
        Primitive::Drop(word) => drop_word(word),
    }
}

/// Returns the formula that follows from the presence of a header between the link layer and the
/// network layer.
fn between(primitive: &Primitive, spot: Spot) -> Formula {
    let here = spot.here;
    match primitive {
        &Primitive::Vlan(id) => all_of([
            kind(here, &ether_type::VLAN_TAGS),
            match id {
                Some(id) => Formula::masked(
                    bytes(here, Base::Network, 0, 2),
                    vlan::ID.into(),
                    Numbers::one(id.into()),
                ),
                None => Formula::True,
            },
        ]),
        &Primitive::Mpls(label) => all_of([
            // PPP has its own type for MPLS, and after a label there is no type.
            kind(here, &[ether_type::MPLS, LOW]),
            match label {
                Some(label) => Formula::masked(
                    bytes(here, Base::Network, 0, 4),
                    0xffff_f000,
                    Numbers::one(u128::from(label) << mpls::LABEL_SHIFT),
                ),
                None => Formula::True,
            },
        ]),
        &Primitive::Pppoes(session) => all_of([
            kind(here, &[ether_type::PPPOE_SESSION]),
            match session {
                Some(session) => is_one(
                    bytes(here, Base::Network, pppoe::SESSION, 2),
                    session.into(),
                ),
                None => Formula::True,
            },
        ]),
        Primitive::Llc(llc) => all_of([
            // Behind a label, the type is that of the labelled packet.
            if spot.is_labelled {
                Formula::True
            } else {
                kind(here, &[LOW])
            },
            Formula::masked(
                bytes(here, Base::Control, 0, 1),
                llc.mask.into(),
                Numbers::one(llc.value.into()),
            ),
        ]),
        _ => Formula::True,
    }
}

fn with_macs(place: PlaceId, formula: Formula) -> Meaning {
    let has_macs = Formula::masked(Variable::HasMacs(place), 1, Numbers::one(1));
    Meaning::exactly(all_of([has_macs, formula]))
}

fn ether_proto(here: PlaceId, number: u16) -> Meaning {
    match number {
        number if OF_PPP.contains(&number) => Meaning::at_most(Formula::True),
        number if number <= MAX_LLC_LENGTH || OF_BOTH.contains(&number) => {
            Meaning::at_most(kind(here, &[LOW]))
        }
        number => Meaning::exactly(kind(here, &[number])),
    }
}

fn ip_proto(here: PlaceId, family: Family, number: u8) -> Formula {
    let next = |offset| is_one(bytes(here, Base::Network, offset, 1), number.into());
    let is_fragment = is_one(
        bytes(here, Base::Network, ipv6::NEXT_HEADER, 1),
        ipv6::FRAGMENT.into(),
    );
    let four = all_of([kind(here, &[ether_type::IPV4]), next(ipv4::PROTOCOL)]);
    let six = all_of([
        kind(here, &[ether_type::IPV6]),
        any_of([
            next(ipv6::NEXT_HEADER),
            all_of([is_fragment, next(ipv6::LEN)]),
        ]),
    ]);
    of_family(family, four, six)
}

fn of_family(family: Family, four: Formula, six: Formula) -> Formula {
    match family {
        Family::Ip => four,
        Family::Ip6 => six,
        Family::Either => any_of([four, six]),
    }
}

/// Translates `protochain`: the first header decides, unless it is an extension header.
fn proto_chain(here: PlaceId, family: Family, number: u8) -> Meaning {
    let first = |offset, extensions: &[u128]| {
        among(
            bytes(here, Base::Network, offset, 1),
            Numbers::of([&[u128::from(number)], extensions].concat()),
        )
    };
    let [four, six] = [ether_type::IPV4, ether_type::IPV6].map(|number| kind(here, &[number]));
    let chain = |four_more: &[u128], six_more: &[u128]| {
        of_family(
            family,
            all_of([four.clone(), first(ipv4::PROTOCOL, four_more)]),
            all_of([six.clone(), first(ipv6::NEXT_HEADER, six_more)]),
        )
    };
    Meaning {
        holds: chain(&[AUTHENTICATION], &EXTENSIONS),
        fails: chain(&[], &[]).not(),
    }
}
