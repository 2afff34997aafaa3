//! The meaning of a primitive as formulas, and the formulas that several primitives share.

use super::constraint::{Base, Numbers, PlaceId};
use super::formula::{Formula, all_of, any_of, bytes, judged, kind};
use crate::filter::ast::{DirQualifier, Scope};
use crate::filter::layout::ether_type;
use crate::packet::offset::{arp, ipv4, ipv6};

/// The positions at which a primitive looks at a packet.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// The number of tunnels around the packet.
    pub depth: usize,
    /// The position after the `vlan`, `mpls` and `pppoes` that come before in the text.
    pub here: PlaceId,
    /// The position at the beginning of the packet.
    pub start: PlaceId,
    /// The position after all VLAN tags of the packet.
    pub untagged: PlaceId,
    /// True if `mpls` comes before in the text.
    pub is_labelled: bool,
}

/// The formulas that follow from a primitive being true, and from its being false.
pub struct Meaning {
    pub holds: Formula,
    pub fails: Formula,
}

impl Meaning {
    /// The primitive is true exactly for the packets that the formula describes.
    pub fn exactly(formula: Formula) -> Self {
        Self {
            fails: formula.clone().not(),
            holds: formula,
        }
    }

    /// The primitive is true for none but the packets that the formula describes.
    pub fn at_most(holds: Formula) -> Self {
        Self {
            holds,
            fails: Formula::True,
        }
    }
}

/// Types of network headers that follow no VLAN tag. In a packet that begins with one, `saddr` and
/// its relatives look at the same header as the words of pcap-filter(7).
pub const UNTAGGED: [u16; 4] = [
    ether_type::IPV4,
    ether_type::IPV6,
    ether_type::ARP,
    ether_type::RARP,
];
pub const AUTHENTICATION: u128 = 51;
/// Extension headers of IPv6 that are skipped on the way to the transport header.
pub const EXTENSIONS: [u128; 5] = [0, 43, 44, AUTHENTICATION, 60];
pub fn first_fragment(place: PlaceId) -> Formula {
    Formula::masked(
        bytes(place, Base::Network, ipv4::FRAGMENT, 2),
        ipv4::FRAGMENT_OFFSET.into(),
        Numbers::one(0),
    )
}

pub fn address4(
    here: PlaceId,
    scope: Scope,
    direction: DirQualifier,
    address: u32,
    mask: u32,
) -> Formula {
    let is = |offset| {
        Formula::masked(
            bytes(here, Base::Network, offset, 4),
            mask.into(),
            Numbers::one(address.into()),
        )
    };
    let of_kind = |kinds: &[u16], source, destination| {
        all_of([
            kind(here, kinds),
            judged(direction, is(source), is(destination)),
        ])
    };
    let ip = of_kind(&[ether_type::IPV4], ipv4::SOURCE, ipv4::DESTINATION);
    let resolution = |kinds: &[u16]| of_kind(kinds, arp::SENDER, arp::TARGET);
    match scope {
        Scope::Ip => ip,
        Scope::Arp => resolution(&[ether_type::ARP]),
        Scope::Rarp => resolution(&[ether_type::RARP]),
        Scope::Any => any_of([ip, resolution(&[ether_type::ARP, ether_type::RARP])]),
    }
}

pub fn address6(here: PlaceId, direction: DirQualifier, address: u128, mask: u128) -> Formula {
    let is = |offset| {
        Formula::masked(
            bytes(here, Base::Network, offset, 16),
            mask,
            Numbers::one(address),
        )
    };
    all_of([
        kind(here, &[ether_type::IPV6]),
        judged(direction, is(ipv6::SOURCE), is(ipv6::DESTINATION)),
    ])
}
