//! Finds the network and transport headers after VLAN tags, IPv6 extension headers and
//! authentication headers. The words `saddr`, `sport`, `flow` and their relatives look there; those
//! of pcap-filter(7) do not.

use super::layout::ether_type;
use super::packet::Lookup::{Absent, Found};
use super::packet::{CapturedBytes, FramedPacket, Framing, Lookup};
use crate::packet::ip::number;
use crate::packet::offset::{ethernet, ipv4, ipv6, sll, sll2, vlan};
use crate::packet::{FAMILY_LEN, MAX_VLAN_TAGS, protocol_of_family};
use crate::record::{EtherType, LinkType};

/// Returns the Ethernet type after all VLAN tags, and the offset of its header.
pub fn network(packet: &FramedPacket<'_>) -> Option<(u16, usize)> {
    let (mut kind, mut at) = match packet.framing {
        Framing::Ethernet => (packet.bytes.u16(ethernet::TYPE)?, ethernet::LEN),
        Framing::Sll2 => (packet.bytes.u16(sll2::PROTOCOL.start)?, sll2::LEN),
        Framing::Sll => (packet.bytes.u16(sll::PROTOCOL)?, sll::LEN),
        Framing::Null => family(packet, LinkType::NULL)?,
        Framing::Loop => family(packet, LinkType::LOOP)?,
        Framing::Ip4 => (ether_type::IPV4, 0),
        Framing::Ip6 => (ether_type::IPV6, 0),
        Framing::Payload => (packet.ether_type, 0),
        Framing::Ip => match packet.bytes.u8(0)? >> 4 {
            4 => (ether_type::IPV4, 0),
            6 => (ether_type::IPV6, 0),
            _ => (ether_type::NONE, 0),
        },
        Framing::Unread => return None,
    };
    for _ in 0..MAX_VLAN_TAGS {
        if !EtherType(kind).is_vlan_tag() {
            break;
        }
        kind = packet.bytes.u16(at + vlan::INNER_TYPE)?;
        at += vlan::LEN;
    }
    Some((kind, at))
}

/// Returns the Ethernet type that a loopback device's address family stands for, and the offset of
/// its header.
fn family(packet: &FramedPacket<'_>, link: LinkType) -> Option<(u16, usize)> {
    let protocol = protocol_of_family(link, packet.bytes.array(0)?);
    let kind = protocol.map_or(ether_type::NONE, |protocol| protocol.0);
    Some((kind, FAMILY_LEN))
}

/// The ports of an unfragmented packet or a first fragment.
pub struct PortFields {
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// The offset of the source port; the destination port follows it.
    pub at: usize,
}

/// Finds the ports: absent in later fragments, and where the protocol has none.
pub fn ports(packet: &FramedPacket<'_>) -> Option<Lookup<PortFields>> {
    let (kind, at) = network(packet)?;
    Some(match transport(packet, kind, at)? {
        Found(IpNextHeader {
            number: protocol @ (number::TCP | number::UDP | number::SCTP),
            at,
        }) => Found(PortFields { protocol, at }),
        _ => Absent,
    })
}

/// Finds the first header after IP that is not an extension header: absent in a later fragment,
/// and where there is no IP.
pub fn transport(
    packet: &FramedPacket<'_>,
    kind: u16,
    network: usize,
) -> Option<Lookup<IpNextHeader>> {
    let headers = match kind {
        ether_type::IPV4 => {
            if packet.bytes.u16(network + ipv4::FRAGMENT)? & ipv4::FRAGMENT_OFFSET != 0 {
                return Some(Absent);
            }
            Headers::of_ipv4(packet, network)?
        }
        ether_type::IPV6 => Headers::of_ipv6(packet, network)?,
        _ => return Some(Absent),
    };
    let mut last = Absent;
    for header in headers {
        let header = header?;
        // In IPv4 the number is that of a protocol like others.
        let is_fragment = kind == ether_type::IPV6 && header.number == number::FRAGMENT;
        if is_fragment && is_later_fragment(packet, header.at)? {
            return Some(Absent);
        }
        last = Found(header);
    }
    Some(last)
}

fn is_later_fragment(packet: &FramedPacket<'_>, at: usize) -> Option<bool> {
    Some(packet.bytes.u16(at + ipv6::FRAGMENT_WORD)? & ipv6::FRAGMENT_OFFSET != 0)
}

/// A header after IP.
#[derive(Clone, Copy, Debug)]
pub struct IpNextHeader {
    /// Its IP protocol number.
    pub number: u8,
    /// Its offset.
    pub at: usize,
}

/// Iterates over the headers after IP: all extension headers, then the first other one. Yields
/// `None` for a header that was cut off. Each extension header has at least 8 bytes, so the packet's
/// length bounds their number; like tcpdump, this sets no other bound.
pub struct Headers<'a> {
    bytes: CapturedBytes<'a>,
    is_ipv6: bool,
    next: ChainPosition,
}

enum ChainPosition {
    Header(IpNextHeader),
    /// Unknown: the header before was cut off.
    Unknown,
    /// The header before was the last.
    End,
}

impl<'a> Headers<'a> {
    /// Starts after an IPv4 header, whose only extension header is the authentication header.
    pub fn of_ipv4(packet: &FramedPacket<'a>, network: usize) -> Option<Self> {
        // An IPv4 header has at least five words, whatever its length field says: the addresses are
        // in them.
        let words = usize::from(packet.bytes.u8(network)? & 0x0f).max(5);
        Some(Self {
            bytes: packet.bytes,
            is_ipv6: false,
            next: ChainPosition::Header(IpNextHeader {
                number: packet.bytes.u8(network + ipv4::PROTOCOL)?,
                at: network + 4 * words,
            }),
        })
    }

    pub fn of_ipv6(packet: &FramedPacket<'a>, network: usize) -> Option<Self> {
        Some(Self {
            bytes: packet.bytes,
            is_ipv6: true,
            next: ChainPosition::Header(IpNextHeader {
                number: packet.bytes.u8(network + ipv6::NEXT_HEADER)?,
                at: network + ipv6::LEN,
            }),
        })
    }

    /// Returns the header that follows `header`.
    fn behind(&self, header: IpNextHeader) -> ChainPosition {
        let len = match header.number {
            // RFC 8200, 4.3: units of 8 bytes, the first not counted.
            number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS if self.is_ipv6 => {
                self.length(header).map(|length| 8 * (length + 1))
            }
            number::FRAGMENT if self.is_ipv6 => Some(8),
            // RFC 4302, 2.2: units of 4 bytes, less 2.
            number::AUTHENTICATION => self.length(header).map(|length| 4 * (length + 2)),
            _ => return ChainPosition::End,
        };
        let next = self.bytes.u8(header.at).zip(len);
        next.map_or(ChainPosition::Unknown, |(number, len)| {
            ChainPosition::Header(IpNextHeader {
                number,
                at: header.at + len,
            })
        })
    }

    fn length(&self, header: IpNextHeader) -> Option<usize> {
        self.bytes.u8(header.at + 1).map(usize::from)
    }
}

impl Iterator for Headers<'_> {
    type Item = Option<IpNextHeader>;

    fn next(&mut self) -> Option<Option<IpNextHeader>> {
        let header = match std::mem::replace(&mut self.next, ChainPosition::End) {
            ChainPosition::Header(header) => header,
            ChainPosition::Unknown => return Some(None),
            ChainPosition::End => return None,
        };
        self.next = self.behind(header);
        Some(Some(header))
    }
}
