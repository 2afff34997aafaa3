//! Reads the headers of a packet: `inference` infers its link type, `ip` finds its addresses and
//! ports, `conversion` converts it to another link type. Every function is total: it returns an
//! answer for any bytes, cut anywhere.

mod conversion;
mod inference;
pub mod ip;
pub(crate) mod offset;
pub(crate) mod tunnel;

use std::net::IpAddr;

use crate::record::{Direction, DropRecord, EtherType, Heading, LinkType};
use conversion::PacketType;
use ip::{Ip, Version};
use offset::{ethernet, sll, sll2, vlan};

pub use conversion::{Converted, convert};
pub use inference::{ArpHardware, infer_link};

/// The smallest Ethernet type; smaller values of the field are lengths of an LLC frame (IEEE 802.3,
/// 3.2.6).
const MIN_ETHERTYPE: u16 = 0x0600;
/// The most VLAN tags that are followed. Real packets have one or two.
pub(crate) const MAX_VLAN_TAGS: usize = 8;
/// The length of the cooked header, version 2 (LINKTYPE_LINUX_SLL2).
pub const SLL2_LEN: usize = sll2::LEN;
/// The length of the cooked header, version 1 (LINKTYPE_LINUX_SLL).
pub const SLL_LEN: usize = sll::LEN;
/// The length of the address family before a packet of BSD's loopback devices.
pub const FAMILY_LEN: usize = 4;

/// The header that precedes a dropped netlink message in a file (LINKTYPE_NETLINK in tcpdump.org's
/// registry): packet type 4 (outgoing), hardware type 824 (netlink), no address, and the netlink
/// family, all big-endian. The drop monitor does not report the family.
pub const COOKED_NETLINK: [u8; 16] = [0, 4, 0x03, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Reads a big-endian `u16` at `offset`; `None` where it was not captured.
pub(crate) fn be16(data: &[u8], offset: usize) -> Option<u16> {
    let bytes = data.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Reads a big-endian `u32` at `offset`; `None` where it was not captured.
pub(crate) fn be32(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// The payload of an Ethernet frame, after its VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ethernet {
    /// The Ethernet type of the payload; for an LLC frame, its length.
    inner: u16,
    /// The payload's offset in the frame.
    payload: usize,
}

fn ethernet_payload(data: &[u8]) -> Option<Ethernet> {
    behind_tags(data, be16(data, ethernet::TYPE)?, ethernet::LEN)
}

/// Skips VLAN tags. `kind` is the type field before `payload`; if it announces a tag, the tag
/// begins at `payload`.
fn behind_tags(data: &[u8], kind: u16, payload: usize) -> Option<Ethernet> {
    let mut header = Ethernet {
        inner: kind,
        payload,
    };
    for _ in 0..=MAX_VLAN_TAGS {
        if !EtherType(header.inner).is_vlan_tag() {
            return Some(header);
        }
        header.inner = be16(data, header.payload + vlan::INNER_TYPE)?;
        header.payload += vlan::LEN;
    }
    None
}

impl DropRecord<'_> {
    /// Returns the packet's direction; `None` where it is unknown, as in a plain pcap.
    pub fn direction(&self) -> Option<Direction> {
        match self.context.heading {
            Some(Heading::Known(direction)) => return Some(direction),
            Some(Heading::Unknown) => return None,
            None => {}
        }
        if self.cause.origin().is_some() {
            return Some(match self.input {
                Some(_) => Direction::Inbound,
                None => Direction::Outbound,
            });
        }
        let said = self.flags.direction();
        said.or_else(|| direction(self.link.kind, self.data))
    }

    /// Returns whether the direction stands in the part of a cooked header that was not captured.
    pub fn is_direction_cut(&self) -> bool {
        let is_cooked = matches!(self.link.kind, LinkType::LINUX_SLL | LinkType::LINUX_SLL2);
        is_cooked && self.context.heading.is_none() && self.direction().is_none()
    }

    /// Returns whether the packet may have come in by an interface, which is not known.
    pub fn lacks_input(&self) -> bool {
        let is_here = || self.direction() == Some(Direction::Outbound);
        self.input.is_none() && self.context.heading.is_some() && !is_here()
    }
}

/// Returns the protocol that the packet's link-layer header names. It nearly always equals
/// `skb->protocol`.
#[inline]
pub fn protocol(link: LinkType, data: &[u8]) -> Option<EtherType> {
    match link {
        LinkType::ETHERNET => be16(data, ethernet::TYPE)
            .filter(|&kind| kind >= MIN_ETHERTYPE)
            .map(EtherType),
        LinkType::RAW => match data.first()? >> 4 {
            4 => Some(EtherType::IPV4),
            6 => Some(EtherType::IPV6),
            _ => None,
        },
        LinkType::LINUX_SLL2 => be16(data, sll2::PROTOCOL.start).map(EtherType),
        LinkType::LINUX_SLL => be16(data, sll::PROTOCOL).map(EtherType),
        LinkType::NULL | LinkType::LOOP => family_protocol(link, data),
        LinkType::IPV4 => Some(EtherType::IPV4),
        LinkType::IPV6 => Some(EtherType::IPV6),
        _ => None,
    }
}

/// Returns the protocol for the address family that precedes a loopback device's packet
/// (LINKTYPE_NULL and LINKTYPE_LOOP in tcpdump.org's registry).
fn family_protocol(link: LinkType, data: &[u8]) -> Option<EtherType> {
    protocol_of_family(link, data.first_chunk().copied()?)
}

/// Returns the protocol for an address family's four bytes. AF_INET is 2 everywhere; AF_INET6 is 24 on NetBSD and OpenBSD, 28 on
/// FreeBSD and 30 on macOS. No family needs more than two bytes, which reveals the host's byte order.
pub(crate) fn protocol_of_family(link: LinkType, bytes: [u8; FAMILY_LEN]) -> Option<EtherType> {
    let family = u32::from_be_bytes(bytes);
    let family = if link == LinkType::NULL && family > u32::from(u16::MAX) {
        family.swap_bytes()
    } else {
        family
    };
    match family {
        2 => Some(EtherType::IPV4),
        24 | 28 | 30 => Some(EtherType::IPV6),
        _ => None,
    }
}

/// Returns whether text, JSON and filters can read packets of this link type.
pub fn is_understood(link: LinkType) -> bool {
    link == LinkType::ETHERNET || header_len(link).is_some()
}

/// Returns the length of the link-layer header, where it is the same for every packet of the link
/// type.
pub fn header_len(link: LinkType) -> Option<usize> {
    match link {
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => Some(0),
        LinkType::NULL | LinkType::LOOP => Some(FAMILY_LEN),
        LinkType::LINUX_SLL => Some(SLL_LEN),
        LinkType::LINUX_SLL2 => Some(SLL2_LEN),
        _ => None,
    }
}

/// Returns the direction that a packet's cooked header states.
pub fn direction(link: LinkType, data: &[u8]) -> Option<Direction> {
    let packet_type = match link {
        LinkType::LINUX_SLL => be16(data, sll::PACKET_TYPE)?,
        LinkType::LINUX_SLL2 => u16::from(*data.get(sll2::PACKET_TYPE)?),
        _ => return None,
    };
    Some(if packet_type == PacketType::Outgoing as u16 {
        Direction::Outbound
    } else {
        Direction::Inbound
    })
}

/// The flow that a packet belongs to: the addresses of its outermost IP header, and its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The IP protocol, by its number in IANA's registry.
    pub transport: u8,
    /// Source and destination port; `None` in later fragments and for protocols without ports.
    pub ports: Option<(u16, u16)>,
}

/// Source and destination port, each `None` where it was not captured.
pub type Ports = (Option<u16>, Option<u16>);

/// Finds the outermost IP packet; `None` where there is none.
pub fn ip(link: LinkType, data: &[u8]) -> Option<Ip<'_>> {
    let network = match link {
        LinkType::ETHERNET => ethernet_payload(data)?,
        other => behind_tags(data, protocol(other, data)?.0, header_len(other)?)?,
    };
    ip_of(network, data)
}

fn ip_of(network: Ethernet, data: &[u8]) -> Option<Ip<'_>> {
    let version = match EtherType(network.inner) {
        EtherType::IPV4 => Version::V4,
        EtherType::IPV6 => Version::V6,
        _ => return None,
    };
    Some(Ip::new(version, data.get(network.payload..)?))
}

/// Returns the packet's flow; `None` where it is not an IP packet, or its addresses were not
/// captured.
pub fn flow(link: LinkType, data: &[u8]) -> Option<Flow> {
    Flow::of(&ip(link, data)?)
}

/// Returns the flow of a packet whose Ethernet type is known.
pub fn flow_behind(kind: EtherType, data: &[u8]) -> Option<Flow> {
    Flow::of(&ip_of(behind_tags(data, kind.0, 0)?, data)?)
}

impl Flow {
    fn of(ip: &Ip<'_>) -> Option<Self> {
        let (source, destination) = ip.ports();
        Some(Self {
            source: ip.source?,
            destination: ip.destination?,
            transport: ip.protocol?,
            ports: source.zip(destination),
        })
    }
}

#[cfg(test)]
mod tests;
