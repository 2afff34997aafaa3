//! Infers the link type of a dropped packet, which the kernel does not report.

use super::offset::{ethernet, ipv4, ipv6};
use super::{be16, ethernet_payload};
use crate::record::{Basis, EtherType, Link, LinkType};

/// The degree to which bytes match an IP packet of `original_len` bytes.
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
        // RFC 791, 3.1: the header has at least 5 words.
        (EtherType::IPV4, 4) if first & 0x0f >= 5 => {
            be16(data, ipv4::TOTAL_LENGTH).map(usize::from)
        }
        // RFC 8200, 3: the payload length does not count the header.
        (EtherType::IPV6, 6) => {
            be16(data, ipv6::PAYLOAD_LENGTH).map(|length| ipv6::LEN + usize::from(length))
        }
        _ => return IpFit::No,
    };
    let original_len = original_len as usize;
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
        // A packet of a tun device from 8.0.1.1 has 0x0800 in the place of Ethernet's type. The
        // type field therefore counts only if the bytes are not exactly an IP packet, and an IP
        // header follows the Ethernet header.
        let raw = ip_fit(protocol, data, original_len);
        if raw == IpFit::Exact {
            return known(LinkType::RAW);
        }
        let tagged = ethernet_payload(data);
        let names_protocol = be16(data, ethernet::TYPE) == Some(protocol.0)
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
    if original_len as usize >= ethernet::LEN {
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

    /// Those with Ethernet's header: Ethernet, loopback.
    pub const WITH_ETHERNET: [Self; 2] = [Self(1), Self(772)];

    /// Those without a link-layer header: PPP, tunnels over IPv4 and IPv6, SIT, GRE, GRE over IPv6, no
    /// link layer.
    pub const WITHOUT_HEADER: [Self; 7] = [
        Self(512),
        Self(768),
        Self(769),
        Self(776),
        Self(778),
        Self(823),
        Self::NONE,
    ];

    fn link_type(self) -> Option<LinkType> {
        match self.0 {
            801 => Some(LinkType::IEEE802_11),
            803 => Some(LinkType::IEEE802_11_RADIOTAP),
            _ if Self::WITH_ETHERNET.contains(&self) => Some(LinkType::ETHERNET),
            _ if Self::WITHOUT_HEADER.contains(&self) => Some(LinkType::RAW),
            _ => None,
        }
    }
}
