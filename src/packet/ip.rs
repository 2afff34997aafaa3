//! Parses IPv4 and IPv6 packets, as far as they were captured. Impossible fields are tolerated: a
//! header whose version or length is wrong still has its addresses at their usual offsets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::offset::{ipv4, ipv6, udp};
use super::{Ports, be16};

/// The lengths of an IPv4 header without options (RFC 791, 3.1) and of an IPv6 header (RFC 8200,
/// 3).
pub(crate) const IPV4_LEN: usize = ipv4::LEN;
pub(crate) const IPV6_LEN: usize = ipv6::LEN;

/// IP protocol numbers of IANA's registry.
pub(crate) mod number {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const OSPF: u8 = 89;
    pub const SCTP: u8 = 132;
    pub const MPLS: u8 = 137;
}

/// The layout in which a header is parsed. The protocol number before the header decides it, not the
/// version that the header states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// The position of a fragment in the whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The fragment's offset in the whole packet's payload, in bytes.
    pub offset: u16,
    /// True if more fragments follow.
    pub more: bool,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    /// The layout of the header.
    pub version: Version,
    /// The captured bytes from the header to the end of the frame.
    pub bytes: &'a [u8],
    /// Source address, if it was captured.
    pub source: Option<IpAddr>,
    /// Destination address, if it was captured.
    pub destination: Option<IpAddr>,
    /// The protocol number of [`payload`](Self::payload). Where an extension header does not end
    /// within the packet, that header's own number.
    pub protocol: Option<u8>,
    /// The captured bytes after IP and its extension headers, without the link layer's padding.
    pub payload: &'a [u8],
    /// The payload's offset in [`bytes`](Self::bytes).
    pub payload_at: usize,
    /// The end of the packet according to its length field, where that value is possible.
    pub stated_end: Option<usize>,
    /// The fragment's position, if the packet is a fragment.
    pub fragment: Option<Fragment>,
}

impl<'a> Ip<'a> {
    /// Parses a packet as far as it was captured.
    pub fn new(version: Version, bytes: &'a [u8]) -> Self {
        match version {
            Version::V4 => Self::v4(bytes),
            Version::V6 => Self::v6(bytes),
        }
    }

    fn v4(bytes: &'a [u8]) -> Self {
        let address = |offset: usize| {
            let bytes: [u8; 4] = *bytes.get(offset..)?.first_chunk()?;
            Some(IpAddr::from(Ipv4Addr::from(bytes)))
        };
        // The destination address is in the last of 20 bytes: no header is shorter, whatever it says.
        let header_len = stated_header_len(bytes).map_or(IPV4_LEN, |len| len.max(IPV4_LEN));
        let stated_end = be16(bytes, ipv4::TOTAL_LENGTH)
            .map(usize::from)
            .filter(|&total| total >= header_len);
        let fragment = be16(bytes, ipv4::FRAGMENT)
            .map(|field| Fragment {
                offset: (field & ipv4::FRAGMENT_OFFSET) << 3,
                more: field & ipv4::MORE_FRAGMENTS != 0,
            })
            .filter(|fragment| fragment.offset != 0 || fragment.more);
        let packet = Self {
            version: Version::V4,
            bytes,
            source: address(ipv4::SOURCE),
            destination: address(ipv4::DESTINATION),
            protocol: bytes.get(ipv4::PROTOCOL).copied(),
            payload: &[],
            payload_at: header_len,
            stated_end,
            fragment,
        };
        packet.behind_extensions()
    }

    fn v6(bytes: &'a [u8]) -> Self {
        let address = |offset: usize| {
            let bytes: [u8; 16] = *bytes.get(offset..)?.first_chunk()?;
            Some(IpAddr::from(Ipv6Addr::from(bytes)))
        };
        let protocol = bytes.get(ipv6::NEXT_HEADER).copied();
        // A length of 0 stands for a jumbogram, whose length does not fit (RFC 2675, 3).
        let stated_end = be16(bytes, ipv6::PAYLOAD_LENGTH)
            .filter(|&len| len != 0 || protocol == Some(number::NO_NEXT_HEADER))
            .map(|len| IPV6_LEN + usize::from(len));
        let packet = Self {
            version: Version::V6,
            bytes,
            source: address(ipv6::SOURCE),
            destination: address(ipv6::DESTINATION),
            protocol,
            payload: &[],
            payload_at: IPV6_LEN,
            stated_end,
            fragment: None,
        };
        packet.behind_extensions()
    }

    fn behind_extensions(mut self) -> Self {
        let mut extensions = self.extensions();
        if !self.is_later_fragment() {
            for extension in extensions.by_ref() {
                self.fragment = extension.fragment().or(self.fragment);
                if self.is_later_fragment() {
                    break;
                }
            }
        }
        self.protocol = self.protocol.map(|_| extensions.next);
        self.payload_at += extensions.passed;
        self.payload = extensions.rest;
        self
    }

    /// Iterates over the extension headers that were captured.
    pub fn extensions(&self) -> Extensions<'a> {
        let (at, next) = match self.version {
            Version::V4 => (
                stated_header_len(self.bytes).map_or(IPV4_LEN, |len| len.max(IPV4_LEN)),
                self.bytes.get(ipv4::PROTOCOL),
            ),
            Version::V6 => (IPV6_LEN, self.bytes.get(ipv6::NEXT_HEADER)),
        };
        let end = self
            .stated_end
            .map_or(self.bytes.len(), |end| end.min(self.bytes.len()));
        Extensions {
            version: self.version,
            next: next.copied().unwrap_or(number::NO_NEXT_HEADER),
            rest: self.bytes.get(at..end).unwrap_or_default(),
            passed: 0,
        }
    }

    /// Returns whether this is a later fragment, which does not have the transport header.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    /// Returns the ports, each if it was captured. TCP, UDP and SCTP begin with them (RFC 9293, 3.1; RFC 768;
    /// RFC 9260, 3.1), however damaged the rest of their header is.
    pub fn ports(&self) -> Ports {
        let has_ports = matches!(
            self.protocol,
            Some(number::TCP | number::UDP | number::SCTP)
        );
        if !has_ports || self.is_later_fragment() {
            return (None, None);
        }
        (
            be16(self.payload, udp::SOURCE),
            be16(self.payload, udp::DESTINATION),
        )
    }
}

/// Returns the length that an IPv4 header states for itself, in bytes.
pub fn stated_header_len(bytes: &[u8]) -> Option<usize> {
    bytes.first().map(|first| usize::from(first & 0x0f) * 4)
}

/// Iterates over the extension headers after an IP header, up to the first other header or one
/// that was cut off.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    version: Version,
    next: u8,
    rest: &'a [u8],
    passed: usize,
}

/// An extension header.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    /// The header's own protocol number.
    pub number: u8,
    /// The whole header.
    pub bytes: &'a [u8],
}

impl Extension<'_> {
    /// Returns the fragment's position; the offset is in the upper 13 bits, in units of 8 bytes
    /// (RFC 8200, 4.5).
    fn fragment(&self) -> Option<Fragment> {
        let field =
            be16(self.bytes, ipv6::FRAGMENT_WORD).filter(|_| self.number == number::FRAGMENT)?;
        Some(Fragment {
            offset: field & ipv6::FRAGMENT_OFFSET,
            more: field & ipv6::MORE_FRAGMENTS != 0,
        })
        .filter(|fragment| fragment.offset != 0 || fragment.more)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Extension<'a>;

    fn next(&mut self) -> Option<Extension<'a>> {
        if !is_extension(self.version, self.next) {
            return None;
        }
        let units = usize::from(*self.rest.get(1)?);
        let len = match self.next {
            number::FRAGMENT => 8,
            // RFC 4302, 2.2: units of 4 bytes, less 2.
            number::AUTHENTICATION => 4 * (units + 2),
            // RFC 8200, 4.3: units of 8 bytes, the first not counted.
            _ => 8 * (units + 1),
        };
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        let number = std::mem::replace(&mut self.next, bytes[0]);
        self.rest = rest;
        self.passed += len;
        Some(Extension { number, bytes })
    }
}

/// Returns whether a protocol number is an extension header's. IPv4 has only the authentication
/// header.
pub fn is_extension(version: Version, number: u8) -> bool {
    match number {
        number::AUTHENTICATION => true,
        number::HOP_BY_HOP | number::ROUTING | number::FRAGMENT | number::DESTINATION_OPTIONS => {
            version == Version::V6
        }
        _ => false,
    }
}
