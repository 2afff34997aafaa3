//! Reads the headers of a packet: infers its link type, finds its addresses and ports, and converts
//! it to another link type. Every function is total: any bytes, cut anywhere, give an answer.

pub mod ip;
pub(crate) mod tunnel;

use std::net::IpAddr;

use crate::record::{Basis, Direction, DropRecord, EtherType, Interface, Link, LinkType};
use ip::{Ip, Version};

/// Bytes of an Ethernet header: destination, source, type (IEEE 802.3, 3.1.1).
const ETHERNET_LEN: usize = 14;
/// Bytes of a VLAN tag behind the first type field: control information, type (IEEE 802.1Q, 9.6).
const VLAN_TAG_LEN: usize = 4;
/// Values of the type field below this are lengths of an LLC frame (IEEE 802.3, 3.2.6).
const MIN_ETHERTYPE: u16 = 0x0600;
/// The most VLAN tags that are followed. Real packets have one or two.
pub(crate) const MAX_VLAN_TAGS: usize = 8;
/// Bytes of the cooked header (LINKTYPE_LINUX_SLL2).
pub const SLL2_LEN: usize = 20;
/// Bytes of the older cooked header (LINKTYPE_LINUX_SLL).
pub const SLL_LEN: usize = 16;
/// Bytes of the address family before a packet of BSD's loopback devices.
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

/// The payload of an Ethernet frame, behind its VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ethernet {
    /// The Ethernet type of the payload; for an LLC frame, its length.
    inner: u16,
    /// The payload's offset in the frame.
    payload: usize,
}

fn ethernet(data: &[u8]) -> Option<Ethernet> {
    behind_tags(data, be16(data, ETHERNET_LEN - 2)?, ETHERNET_LEN)
}

/// Skips VLAN tags. `kind` is the type before `payload`: where it announces a tag, that tag begins
/// at `payload`.
fn behind_tags(data: &[u8], kind: u16, payload: usize) -> Option<Ethernet> {
    let mut header = Ethernet {
        inner: kind,
        payload,
    };
    for _ in 0..=MAX_VLAN_TAGS {
        if !EtherType(header.inner).is_vlan_tag() {
            return Some(header);
        }
        header.payload += VLAN_TAG_LEN;
        header.inner = be16(data, header.payload - 2)?;
    }
    None
}

impl DropRecord<'_> {
    /// Returns the packet's direction; `None` where it is unknown, as in a plain pcap.
    pub fn direction(&self) -> Option<Direction> {
        if self.cause.origin().is_some() {
            return Some(match self.input {
                Some(_) => Direction::Inbound,
                None => Direction::Outbound,
            });
        }
        let said = self.flags.direction();
        said.or_else(|| direction(self.link.kind, self.data))
    }
}

/// Returns the protocol that the packet's link-layer header names. It nearly always equals
/// `skb->protocol`.
pub fn protocol(link: LinkType, data: &[u8]) -> Option<EtherType> {
    match link {
        LinkType::ETHERNET => be16(data, 12)
            .filter(|&kind| kind >= MIN_ETHERTYPE)
            .map(EtherType),
        LinkType::RAW => match data.first()? >> 4 {
            4 => Some(EtherType::IPV4),
            6 => Some(EtherType::IPV6),
            _ => None,
        },
        LinkType::LINUX_SLL2 => be16(data, 0).map(EtherType),
        LinkType::LINUX_SLL => be16(data, 14).map(EtherType),
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
        LinkType::LINUX_SLL => be16(data, 0)?,
        LinkType::LINUX_SLL2 => u16::from(*data.get(10)?),
        _ => return None,
    };
    Some(if packet_type == PacketType::Outgoing as u16 {
        Direction::Outbound
    } else {
        Direction::Inbound
    })
}

/// How well bytes match an IP packet of `original_len` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum IpFit {
    /// The version does not match the protocol, or the header is impossible.
    No,
    /// The version matches; the length field was cut off, or exceeds the frame.
    Version,
    /// The length field is smaller than the frame (padding).
    Within,
    /// The length field equals the frame's length.
    Exact,
}

fn ip_fit(protocol: EtherType, data: &[u8], original_len: u32) -> IpFit {
    let Some(&first) = data.first() else {
        return IpFit::No;
    };
    let length = match (protocol, first >> 4) {
        // RFC 791, 3.1: total length at 2, header length in words of 4 bytes, at least 5.
        (EtherType::IPV4, 4) if first & 0x0f >= 5 => be16(data, 2).map(u32::from),
        // RFC 8200, 3: payload length at 4, without the 40 bytes of the header.
        (EtherType::IPV6, 6) => be16(data, 4).map(|length| u32::from(length) + 40),
        _ => return IpFit::No,
    };
    match length {
        Some(length) if length == original_len => IpFit::Exact,
        Some(length) if length < original_len => IpFit::Within,
        _ => IpFit::Version,
    }
}

/// Infers the link type of a dropped packet. The kernel does not report it: the bytes begin at the
/// device's link-layer header, if it has one. `device` is the hardware type (`ARPHRD_`) of the input
/// device where that device is certain; `guess` is one that may belong to another namespace's device.
pub fn infer_link(
    protocol: Option<EtherType>,
    data: &[u8],
    original_len: u32,
    device: Option<ArpHardware>,
    guess: Option<ArpHardware>,
) -> Link {
    let known = Link::known;
    let assumed = |kind| Link {
        kind,
        basis: Basis::Assumed,
    };
    if let Some(kind) = device.and_then(ArpHardware::link_type) {
        return known(kind);
    }
    if let Some(protocol) = protocol {
        if matches!(protocol, EtherType::ETH_802_2 | EtherType::ETH_802_3) {
            return known(LinkType::ETHERNET);
        }
        // A tun packet from 8.0.1.1 has 0x0800 where Ethernet has its type: bytes 12 and 13 count
        // only when no whole IP packet stands at the beginning, and an IP header behind them.
        let raw = ip_fit(protocol, data, original_len);
        if raw == IpFit::Exact {
            return known(LinkType::RAW);
        }
        let tagged = ethernet(data);
        let names_protocol = be16(data, 12) == Some(protocol.0)
            || tagged.is_some_and(|header| header.inner == protocol.0);
        if names_protocol {
            let behind = || {
                tagged.map_or(IpFit::No, |header| {
                    let before = u32::try_from(header.payload).unwrap_or(u32::MAX);
                    let rest = data.get(header.payload..).unwrap_or_default();
                    ip_fit(protocol, rest, original_len.saturating_sub(before))
                })
            };
            let kind = if raw == IpFit::Within && behind() == IpFit::No {
                LinkType::RAW
            } else {
                LinkType::ETHERNET
            };
            return known(kind);
        }
        match raw {
            IpFit::Within => return known(LinkType::RAW),
            IpFit::Version => return assumed(LinkType::RAW),
            IpFit::Exact | IpFit::No => {}
        }
    }
    if let Some(kind) = guess.and_then(ArpHardware::link_type) {
        return assumed(kind);
    }
    if original_len as usize >= ETHERNET_LEN {
        assumed(LinkType::ETHERNET)
    } else {
        assumed(LinkType::RAW)
    }
}

/// A device's hardware type (`ARPHRD_` of linux/if_arp.h), as `/sys/class/net/NAME/type` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpHardware(pub u16);

impl ArpHardware {
    /// Ethernet.
    pub const ETHER: Self = Self(1);
    /// tun, WireGuard and others without a link-layer header.
    pub const NONE: Self = Self(0xfffe);

    /// Netlink messages, as nlmon captures them.
    pub const NETLINK: Self = Self(824);

    fn link_type(self) -> Option<LinkType> {
        match self.0 {
            1 | 772 => Some(LinkType::ETHERNET),
            801 => Some(LinkType::IEEE802_11),
            803 => Some(LinkType::IEEE802_11_RADIOTAP),
            // PPP, tunnels over IPv4 and IPv6, SIT, GRE, GRE over IPv6, none at all.
            512 | 768 | 769 | 776 | 778 | 823 | 0xfffe => Some(LinkType::RAW),
            _ => None,
        }
    }
}

/// A packet converted to another link type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted<'a> {
    /// The new header, to be written before [`data`](Self::data); only `sll2` has one.
    pub header: Option<[u8; SLL2_LEN]>,
    /// The record's bytes that follow the new header.
    pub data: &'a [u8],
    /// The original length after the conversion.
    pub original_len: u32,
}

/// Converts a packet to the link type `target`; `None` where `target` cannot represent it.
pub fn convert<'a>(
    target: LinkType,
    link: LinkType,
    data: &'a [u8],
    original_len: u32,
    input: Option<Interface<'_>>,
    direction: Option<Direction>,
) -> Option<Converted<'a>> {
    let cut = |len: usize| {
        let removed = u32::try_from(len).ok()?;
        Some((data.get(len..)?, original_len.saturating_sub(removed)))
    };
    if target == link {
        return Some(Converted {
            header: None,
            data,
            original_len,
        });
    }
    match (target, link) {
        (LinkType::RAW, LinkType::ETHERNET) => {
            let header = ethernet(data)?;
            if !matches!(EtherType(header.inner), EtherType::IPV4 | EtherType::IPV6) {
                return None;
            }
            let (data, original_len) = cut(header.payload)?;
            Some(Converted {
                header: None,
                data,
                original_len,
            })
        }
        (LinkType::LINUX_SLL2, LinkType::ETHERNET) => {
            let kind = be16(data, 12)?;
            let (rest, original_len) = cut(ETHERNET_LEN)?;
            let protocol = match kind {
                MIN_ETHERTYPE.. => kind,
                // The registry's rule for LINKTYPE_LINUX_SLL: 1 for Novell's raw frames, else 4.
                _ if rest.starts_with(&[0xff, 0xff]) => EtherType::ETH_802_3.0,
                _ => EtherType::ETH_802_2.0,
            };
            let source = <[u8; 6]>::try_from(&data[6..12]).ok()?;
            let header = sll2_header(
                protocol,
                input,
                ArpHardware::ETHER,
                packet_type(data, direction),
                Some(source),
            );
            Some(Converted {
                header: Some(header),
                data: rest,
                original_len: original_len.saturating_add(20),
            })
        }
        (LinkType::LINUX_SLL2, LinkType::LINUX_SLL) => {
            let (header, _) = data.split_at_checked(SLL_LEN)?;
            let (rest, original_len) = cut(SLL_LEN)?;
            let mut sll2 = sll2_header(
                be16(header, 14)?,
                input,
                ArpHardware(be16(header, 2)?),
                packet_type(&[], direction),
                None,
            );
            // The rest is the same in both: a packet type, and an address with its length.
            sll2[10] = header[1];
            sll2[11] = header[5];
            sll2[12..20].copy_from_slice(&header[6..14]);
            Some(Converted {
                header: Some(sll2),
                data: rest,
                original_len: original_len.saturating_add(20),
            })
        }
        (LinkType::LINUX_SLL2, _) => {
            let protocol = protocol(link, data)?;
            let (data, original_len) = cut(header_len(link)?)?;
            let direction = packet_type(&[], direction);
            let header = sll2_header(protocol.0, input, ArpHardware::NONE, direction, None);
            Some(Converted {
                header: Some(header),
                data,
                original_len: original_len.saturating_add(20),
            })
        }
        (LinkType::RAW, _) => {
            let is_ip = matches!(protocol(link, data)?, EtherType::IPV4 | EtherType::IPV6);
            let (data, original_len) = cut(header_len(link).filter(|_| is_ip)?)?;
            Some(Converted {
                header: None,
                data,
                original_len,
            })
        }
        _ => None,
    }
}

/// The cooked header's packet type (`PACKET_` of linux/if_packet.h).
#[derive(Clone, Copy)]
enum PacketType {
    Host = 0,
    Broadcast = 1,
    Multicast = 2,
    Outgoing = 4,
}

fn packet_type(ethernet: &[u8], direction: Option<Direction>) -> PacketType {
    match ethernet.get(..6) {
        _ if direction == Some(Direction::Outbound) => PacketType::Outgoing,
        Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => PacketType::Broadcast,
        Some([first, ..]) if first & 1 == 1 => PacketType::Multicast,
        _ => PacketType::Host,
    }
}

/// Protocol, reserved, ifindex, hardware type, packet type, address length, address: all
/// big-endian (LINKTYPE_LINUX_SLL2 in tcpdump.org's registry).
fn sll2_header(
    protocol: u16,
    input: Option<Interface<'_>>,
    hardware: ArpHardware,
    packet_type: PacketType,
    source: Option<[u8; 6]>,
) -> [u8; SLL2_LEN] {
    let mut header = [0; SLL2_LEN];
    header[0..2].copy_from_slice(&protocol.to_be_bytes());
    header[4..8].copy_from_slice(&input.map_or(0, |input| input.key.index).to_be_bytes());
    header[8..10].copy_from_slice(&hardware.0.to_be_bytes());
    header[10] = packet_type as u8;
    if let Some(source) = source {
        header[11] = 6;
        header[12..18].copy_from_slice(&source);
    }
    header
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
        LinkType::ETHERNET => ethernet(data)?,
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
mod tests {
    use super::*;
    use crate::record::Name;

    /// A minimal IPv4 header: total length, source, and nothing that matters besides.
    fn ipv4(total: u16, source: [u8; 4]) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header.extend(source);
        header.extend([10, 0, 0, 2]);
        header.resize(usize::from(total).max(20), 0);
        header
    }

    fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        frame.extend(kind.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn link(protocol: u16, data: &[u8]) -> (LinkType, Basis) {
        let len = u32::try_from(data.len()).unwrap();
        let link = infer_link(Some(EtherType(protocol)), data, len, None, None);
        (link.kind, link.basis)
    }

    const ETHERNET: (LinkType, Basis) = (LinkType::ETHERNET, Basis::Known);
    const RAW: (LinkType, Basis) = (LinkType::RAW, Basis::Known);

    #[test]
    fn ethernet_is_told_by_its_type_field_tagged_or_not() {
        assert_eq!(
            link(0x0800, &framed(0x0800, &ipv4(28, [10, 0, 0, 1]))),
            ETHERNET
        );
        assert_eq!(link(0x0806, &framed(0x0806, &[0; 28])), ETHERNET);
        let tagged = framed(
            0x8100,
            &[&[0, 100, 8, 0][..], &ipv4(28, [10, 0, 0, 1])].concat(),
        );
        assert_eq!(link(0x0800, &tagged), ETHERNET);
        assert_eq!(link(0x8100, &tagged), ETHERNET);
    }

    #[test]
    fn spanning_tree_is_ethernet() {
        assert_eq!(link(4, &framed(38, &[0x42, 0x42, 3])), ETHERNET);
        assert_eq!(link(1, &framed(38, &[0xff, 0xff, 0])), ETHERNET);
    }

    #[test]
    fn a_tun_packet_is_raw_even_from_8_0_1_1() {
        assert_eq!(link(0x0800, &ipv4(60, [10, 0, 0, 1])), RAW);
        assert_eq!(link(0x0800, &ipv4(60, [8, 0, 1, 1])), RAW);
        let mut padded = ipv4(28, [8, 0, 1, 1]);
        padded.resize(46, 0);
        assert_eq!(link(0x0800, &padded), RAW);
    }

    #[test]
    fn an_ethernet_destination_that_begins_like_ip_is_still_ethernet() {
        let mut frame = framed(0x0800, &ipv4(28, [10, 0, 0, 1]));
        frame[..4].copy_from_slice(&[0x45, 0, 0, 20]);
        assert_eq!(link(0x0800, &frame), ETHERNET);
    }

    #[test]
    fn what_nothing_decides_is_marked_as_assumed() {
        assert_eq!(link(0x88cc, &[0; 20]), (LinkType::ETHERNET, Basis::Assumed));
        assert_eq!(link(0x0800, &[0x45, 0]), (LinkType::RAW, Basis::Assumed));
        assert_eq!(link(0x0800, &[]), (LinkType::RAW, Basis::Assumed));
        let tun = infer_link(None, &[0; 20], 20, None, Some(ArpHardware::NONE));
        assert_eq!(
            tun,
            Link {
                kind: LinkType::RAW,
                basis: Basis::Assumed
            }
        );
        let tun = infer_link(None, &[0; 20], 20, Some(ArpHardware::NONE), None);
        assert_eq!(
            tun,
            Link {
                kind: LinkType::RAW,
                basis: Basis::Known
            }
        );
    }

    #[test]
    fn raw_cuts_the_link_layer_header_off() {
        let ip = ipv4(28, [10, 0, 0, 1]);
        let frame = framed(0x8100, &[&[0, 100, 8, 0][..], &ip].concat());
        let cut = convert(LinkType::RAW, LinkType::ETHERNET, &frame, 46, None, None).unwrap();
        assert_eq!(
            cut,
            Converted {
                header: None,
                data: &ip,
                original_len: 28
            }
        );
        assert_eq!(
            convert(
                LinkType::RAW,
                LinkType::ETHERNET,
                &framed(0x0806, &[0; 28]),
                42,
                None,
                None
            ),
            None
        );
        assert_eq!(
            convert(LinkType::ETHERNET, LinkType::RAW, &ip, 28, None, None),
            None
        );
    }

    #[test]
    fn sll2_keeps_source_and_ifindex() {
        let ip = ipv4(28, [10, 0, 0, 1]);
        let input = Some(Interface::new(5, Name::new(b"eth0")));
        let inbound = Some(Direction::Inbound);
        let frame = framed(0x0800, &ip);
        let cooked = convert(
            LinkType::LINUX_SLL2,
            LinkType::ETHERNET,
            &frame,
            42,
            input,
            inbound,
        )
        .unwrap();
        assert_eq!((cooked.data, cooked.original_len), (&ip[..], 48));
        #[rustfmt::skip]
        assert_eq!(cooked.header.unwrap(), [
            8, 0,  0, 0,  0, 0, 0, 5, // protocol, reserved, ifindex
            0, 1,  0,  6,             // hardware type, packet type, address length
            2, 0, 0, 0, 0, 1,  0, 0,  // address
        ]);
        let outbound = Some(Direction::Outbound);
        let cooked = convert(LinkType::LINUX_SLL2, LinkType::RAW, &ip, 28, None, outbound).unwrap();
        assert_eq!((cooked.data, cooked.original_len), (&ip[..], 48));
        assert_eq!(cooked.header.unwrap()[8..12], [0xff, 0xfe, 4, 0]);
        let frame = framed(38, &[0x42, 0x42, 3]);
        let tree = convert(
            LinkType::LINUX_SLL2,
            LinkType::ETHERNET,
            &frame,
            52,
            input,
            inbound,
        );
        assert_eq!(tree.unwrap().header.unwrap()[..2], [0, 4]);
    }
}
