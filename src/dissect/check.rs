//! Checks headers as a receiver does, in Linux's order, so that the first fault found is the reason
//! for the drop. Anything that may be correct is no fault: bytes that were not captured, a checksum
//! that a device was to fill in, a length that segmentation offload left.

use super::checksum::Sum;
use super::fault::{Bound, Fault, Field, Layer};
use crate::packet::be16;
use crate::packet::ip::{
    Extension, IPV4_LEN, IPV6_LEN, Ip, Version, is_extension, number, stated_header_len,
};
use crate::packet::offset::{arp, gre, icmp, ipv4, ipv6, tcp, udp};
use crate::packet::tunnel::{GreFlags, is_tunnel_port};

/// The largest IP packet whose lengths and checksums are checked. Receive offload joins packets into
/// larger ones, and segmentation offload splits larger ones: their fields are not those of a packet
/// on the wire.
const LARGEST_ON_WIRE: usize = 1500;

/// A packet's direction, which decides whether its checksums are filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Received: checksums are final, or left to the device by a sender on this host.
    Received,
    /// Generated on this host: checksums can have any value.
    Sent,
    /// Unknown: a checksum of zero may be left to the device.
    Unknown,
}

impl Path {
    fn has_final_checksum(self, found: u16) -> bool {
        match self {
            Self::Received => true,
            Self::Sent => false,
            Self::Unknown => found != 0,
        }
    }
}

fn fault(layer: Layer, field: Field, value: usize, bound: impl Into<Option<Bound>>) -> Fault {
    Fault {
        layer,
        field,
        value: number32(value),
        bound: bound.into(),
        depth: 0,
    }
}

fn number32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn at_least(least: usize) -> Bound {
    Bound::AtLeast(number32(least))
}

fn at_most(most: usize) -> Bound {
    Bound::AtMost(number32(most))
}

/// Checks that a header of at least `least` bytes fits the `len` bytes on the wire.
pub fn size(layer: Layer, len: usize, least: usize) -> Option<Fault> {
    (len < least).then(|| fault(layer, Field::Size, len, at_least(least)))
}

/// Checks an IP header and its extension headers. `len` is the number of bytes on the wire from the
/// header on.
pub fn ip(ip: &Ip<'_>, len: usize, path: Path) -> Option<Fault> {
    match ip.version {
        Version::V4 => ipv4(ip, len, path),
        Version::V6 => ipv6(ip, len, path),
    }
}

/// Checks in the order of `ip_rcv_core` and `ip_rcv_options` (net/ipv4/ip_input.c).
fn ipv4(ip: &Ip<'_>, len: usize, path: Path) -> Option<Fault> {
    if let Some(fault) = size(Layer::Ip, len, IPV4_LEN) {
        return Some(fault);
    }
    let version = usize::from(ip.bytes.first()? >> 4);
    if version != 4 {
        return Some(fault(
            Layer::Ip,
            Field::Version,
            version,
            Bound::Expected(4),
        ));
    }
    let header_len = stated_header_len(ip.bytes)?;
    if header_len < IPV4_LEN {
        return Some(fault(
            Layer::Ip,
            Field::HeaderLength,
            header_len,
            at_least(IPV4_LEN),
        ));
    }
    if header_len > len {
        return Some(fault(
            Layer::Ip,
            Field::HeaderLength,
            header_len,
            at_most(len),
        ));
    }
    if let Some(header) = ip.bytes.get(..header_len) {
        let found = be16(header, ipv4::CHECKSUM)?;
        let right = Sum::default().bytes(header).expected(found);
        if let Some(right) = right.filter(|_| path.has_final_checksum(found)) {
            return Some(fault(
                Layer::Ip,
                Field::Checksum,
                found.into(),
                Bound::Expected(right.into()),
            ));
        }
    }
    let total = usize::from(be16(ip.bytes, ipv4::TOTAL_LENGTH)?);
    // Segmentation offload leaves 0 if the length does not fit the field.
    if total < header_len && (total != 0 || len <= LARGEST_ON_WIRE) {
        return Some(fault(
            Layer::Ip,
            Field::TotalLength,
            total,
            at_least(header_len),
        ));
    }
    if total > len {
        return Some(fault(Layer::Ip, Field::TotalLength, total, at_most(len)));
    }
    if let Some(fault) = fragment_offset(Layer::Ip, ip, len) {
        return Some(fault);
    }
    // RFC 791, 3.1: options 0 (the end) and 1 have one byte, all others a length.
    let options = ip.bytes.get(IPV4_LEN..header_len);
    if let Some(kind) = options.and_then(bad_option) {
        return Some(fault(Layer::Ip, Field::Option, kind.into(), None));
    }
    is_expired(ip, ipv4::TTL, path).then(|| fault(Layer::Ip, Field::Ttl, 0, at_least(1)))
}

/// Checks in the order of `ip6_rcv_core` (net/ipv6/ip6_input.c).
fn ipv6(ip: &Ip<'_>, len: usize, path: Path) -> Option<Fault> {
    if let Some(fault) = size(Layer::Ip6, len, IPV6_LEN) {
        return Some(fault);
    }
    let version = usize::from(ip.bytes.first()? >> 4);
    if version != 6 {
        return Some(fault(
            Layer::Ip6,
            Field::Version,
            version,
            Bound::Expected(6),
        ));
    }
    let payload = usize::from(be16(ip.bytes, ipv6::PAYLOAD_LENGTH)?);
    let room = len - IPV6_LEN;
    if payload > room {
        return Some(fault(
            Layer::Ip6,
            Field::PayloadLength,
            payload,
            at_most(room),
        ));
    }
    let first = *ip.bytes.get(ipv6::NEXT_HEADER)?;
    // 0 is correct with a jumbo payload option (RFC 2675) and without a payload; segmentation
    // offload leaves it too.
    let is_carrying = !matches!(first, number::HOP_BY_HOP | number::NO_NEXT_HEADER);
    if payload == 0 && is_carrying && room > 0 && len <= LARGEST_ON_WIRE {
        return Some(fault(
            Layer::Ip6,
            Field::PayloadLength,
            payload,
            at_least(1),
        ));
    }
    if let Some(fault) = extension_headers(ip, len) {
        return Some(fault);
    }
    if let Some(fault) = fragment_offset(Layer::Ip6, ip, len) {
        return Some(fault);
    }
    is_expired(ip, ipv6::HOP_LIMIT, path)
        .then(|| fault(Layer::Ip6, Field::HopLimit, 0, at_least(1)))
}

/// Returns whether the time to live, at `at`, is 0 and the packet is no multicast: only a multicast
/// packet that is to stay on its sender's host may have 0.
fn is_expired(ip: &Ip<'_>, at: usize, path: Path) -> bool {
    let is_multicast = ip
        .destination
        .is_some_and(|destination| destination.is_multicast());
    ip.bytes.get(at) == Some(&0) && path != Path::Sent && !is_multicast
}

fn extension_headers(ip: &Ip<'_>, len: usize) -> Option<Fault> {
    for (before, extension) in ip.extensions().enumerate() {
        let Extension { number, bytes } = extension;
        // RFC 8200, 4.1: allowed only immediately after the IPv6 header.
        if number == number::HOP_BY_HOP && before > 0 {
            return Some(fault(
                Layer::Ip6,
                Field::ExtensionHeader,
                number.into(),
                None,
            ));
        }
        if matches!(number, number::HOP_BY_HOP | number::DESTINATION_OPTIONS)
            && let Some(kind) = bad_ipv6_option(&bytes[2..])
        {
            return Some(fault(Layer::Ip6, Field::Option, kind.into(), None));
        }
        if ip.is_later_fragment() && number == number::FRAGMENT {
            return None;
        }
    }
    // The extension header does not end within the packet, although the packet was captured to its
    // end.
    let protocol = ip.protocol?;
    let end = ip.stated_end.unwrap_or(len).min(len);
    if is_extension(Version::V6, protocol) && ip.bytes.len() >= end {
        return Some(fault(
            Layer::Ip6,
            Field::ExtensionHeader,
            protocol.into(),
            None,
        ));
    }
    None
}

/// Checks that the reassembled packet has at most 65535 bytes (RFC 791, 3.1; RFC 8200, 4.5).
fn fragment_offset(layer: Layer, ip: &Ip<'_>, len: usize) -> Option<Fault> {
    let offset = usize::from(ip.fragment?.offset);
    let end = ip.stated_end.unwrap_or(len);
    let payload = end.saturating_sub(ip.payload_at);
    let most = usize::from(u16::MAX).saturating_sub(payload);
    (offset > most).then(|| fault(layer, Field::FragmentOffset, offset, at_most(most)))
}

/// Returns the type of the first IPv4 or TCP option that does not fit.
fn bad_option(mut options: &[u8]) -> Option<u8> {
    while let Some((&kind, rest)) = options.split_first() {
        options = match kind {
            0 => return None,
            1 => rest,
            _ => match rest.first() {
                Some(&len) if len >= 2 && usize::from(len) <= options.len() => {
                    &options[usize::from(len)..]
                }
                _ => return Some(kind),
            },
        };
    }
    None
}

/// Returns the type of the first IPv6 option that does not fit. Option 0 has one byte; the length
/// of any other does not count type and length (RFC 8200, 4.2).
fn bad_ipv6_option(mut options: &[u8]) -> Option<u8> {
    while let Some((&kind, rest)) = options.split_first() {
        options = match (kind, rest.split_first()) {
            (0, _) => rest,
            (_, Some((&len, value))) if usize::from(len) <= value.len() => {
                &value[usize::from(len)..]
            }
            _ => return Some(kind),
        };
    }
    None
}

/// The payload of a packet that is no fragment and whose IP headers have no fault.
#[derive(Clone, Copy)]
pub struct IpPayload<'r, 'a> {
    /// The packet.
    pub ip: &'r Ip<'a>,
    /// The payload's length on the wire, in bytes.
    pub len: usize,
    /// The packet's direction.
    pub path: Path,
}

impl IpPayload<'_, '_> {
    /// Checks TCP (RFC 9293, 3.1) in the order of `tcp_v4_rcv` (net/ipv4/tcp_ipv4.c).
    pub fn tcp(&self) -> Option<Fault> {
        if let Some(fault) = size(Layer::Tcp, self.len, tcp::LEN) {
            return Some(fault);
        }
        let header_len = usize::from(self.ip.payload.get(tcp::DATA_OFFSET)? >> 4) * 4;
        if header_len < tcp::LEN {
            return Some(fault(
                Layer::Tcp,
                Field::HeaderLength,
                header_len,
                at_least(tcp::LEN),
            ));
        }
        if header_len > self.len {
            return Some(fault(
                Layer::Tcp,
                Field::HeaderLength,
                header_len,
                at_most(self.len),
            ));
        }
        if let Some(fault) = self.checksum(Layer::Tcp, tcp::CHECKSUM, self.len, true) {
            return Some(fault);
        }
        let kind = self
            .ip
            .payload
            .get(tcp::LEN..header_len)
            .and_then(bad_option)?;
        Some(fault(Layer::Tcp, Field::Option, kind.into(), None))
    }

    /// Checks UDP (RFC 768).
    pub fn udp(&self) -> Option<Fault> {
        if let Some(fault) = size(Layer::Udp, self.len, udp::LEN) {
            return Some(fault);
        }
        let length = usize::from(be16(self.ip.payload, udp::LENGTH)?);
        // 0 is correct in a jumbogram (RFC 2675, 4).
        if length == 0 && self.len > LARGEST_ON_WIRE {
            return None;
        }
        if length < udp::LEN {
            return Some(fault(Layer::Udp, Field::Length, length, at_least(udp::LEN)));
        }
        if length > self.len {
            return Some(fault(Layer::Udp, Field::Length, length, at_most(self.len)));
        }
        let is_tunnel = be16(self.ip.payload, udp::DESTINATION).is_some_and(is_tunnel_port);
        let is_unused = be16(self.ip.payload, udp::CHECKSUM)? == 0;
        // The packet inside a tunnel may not have its checksum yet, which changes the tunnel's. 0
        // means no checksum, which IPv6 allows only in tunnels (RFC 8200, 8.1; RFC 6935).
        if is_tunnel || (is_unused && self.ip.version == Version::V4) {
            return None;
        }
        self.checksum(Layer::Udp, udp::CHECKSUM, length, true)
    }

    /// Checks ICMP (RFC 792). An error quotes at least an IP header.
    pub fn icmp(&self) -> Option<Fault> {
        let quotes = matches!(self.ip.payload.first(), Some(3 | 4 | 5 | 11 | 12));
        let least = if quotes {
            icmp::LEN + IPV4_LEN
        } else {
            icmp::LEN
        };
        size(Layer::Icmp, self.len, least)
            .or_else(|| self.checksum(Layer::Icmp, icmp::CHECKSUM, self.len, false))
    }

    /// Checks ICMPv6 (RFC 4443, RFC 4861).
    pub fn icmpv6(&self) -> Option<Fault> {
        let least = match self.ip.payload.first() {
            Some(1..=4) => icmp::LEN + IPV6_LEN,
            Some(134) => 16,
            Some(135 | 136) => 24,
            Some(137) => 40,
            _ => icmp::LEN,
        };
        size(Layer::Icmp6, self.len, least)
            .or_else(|| self.checksum(Layer::Icmp6, icmp::CHECKSUM, self.len, true))
    }

    /// Checks IGMP (RFC 2236).
    pub fn igmp(&self) -> Option<Fault> {
        size(Layer::Igmp, self.len, icmp::LEN)
            .or_else(|| self.checksum(Layer::Igmp, icmp::CHECKSUM, self.len, false))
    }

    /// Checks GRE (RFC 2784, 2890; version 1: RFC 2637).
    pub fn gre(&self) -> Option<Fault> {
        if let Some(fault) = size(Layer::Gre, self.len, gre::LEN) {
            return Some(fault);
        }
        let flags = GreFlags(be16(self.ip.payload, gre::FLAGS)?);
        match flags.version() {
            0 => {}
            1 => return None,
            version => {
                return Some(fault(
                    Layer::Gre,
                    Field::Version,
                    version.into(),
                    at_most(1),
                ));
            }
        }
        if flags.is_refused() {
            return Some(fault(Layer::Gre, Field::Flags, flags.0.into(), None));
        }
        size(Layer::Gre, self.len, flags.header_len())
    }

    /// Checks the checksum over `len` bytes; its field is at `at`.
    fn checksum(&self, layer: Layer, at: usize, len: usize, has_pseudo: bool) -> Option<Fault> {
        let ip = self.ip;
        let found = be16(self.ip.payload, at)?;
        if !self.path.has_final_checksum(found) || ip.payload_at + self.len > LARGEST_ON_WIRE {
            return None;
        }
        let bytes = self.ip.payload.get(..len)?;
        let pseudo = if has_pseudo {
            if is_rerouted(ip) {
                return None;
            }
            Sum::pseudo_header(ip.source?, ip.destination?, ip.protocol?, len)
        } else {
            Sum::default()
        };
        // A sender on this host leaves the sum of the pseudo-header, and the device computes the
        // rest.
        if has_pseudo && found == pseudo.folded() {
            return None;
        }
        let right = pseudo.bytes(bytes).expected(found)?;
        // RFC 768: 0 would mean no checksum.
        let right = if layer == Layer::Udp && right == 0 {
            0xffff
        } else {
            right
        };
        Some(fault(
            layer,
            Field::Checksum,
            found.into(),
            Bound::Expected(right.into()),
        ))
    }
}

/// Returns whether the checksum may cover other addresses than the header's: those at the end of a
/// source route (RFC 791, 3.1; RFC 8200, 4.4), or a mobile node's home (RFC 6275, 6.3).
fn is_rerouted(ip: &Ip<'_>) -> bool {
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    match ip.version {
        Version::V4 => {
            let mut options = ip.bytes.get(IPV4_LEN..ip.payload_at).unwrap_or_default();
            while let [kind, rest @ ..] = options {
                match (*kind, rest) {
                    (LOOSE | STRICT, _) => return true,
                    (0, _) | (2.., []) => return false,
                    (1, rest) => options = rest,
                    (_, [len, ..]) => {
                        options = options.get(usize::from(*len).max(2)..).unwrap_or_default();
                    }
                }
            }
            false
        }
        Version::V6 => ip.extensions().any(|extension| {
            matches!(
                extension.number,
                number::ROUTING | number::DESTINATION_OPTIONS
            )
        }),
    }
}

/// Checks an ARP message (RFC 826) of `len` bytes on the wire, in the order of `arp_rcv` (net/ipv4/arp.c).
pub fn arp(bytes: &[u8], len: usize) -> Option<Fault> {
    const ETHERNET: u16 = 1;
    const IPV4: u16 = 0x0800;
    let wrong =
        |field, value: u8, right| fault(Layer::Arp, field, value.into(), Bound::Expected(right));
    if let Some(fault) = size(Layer::Arp, len, arp::LEN) {
        return Some(fault);
    }
    let (hardware, protocol) = (
        be16(bytes, arp::HARDWARE_TYPE)?,
        be16(bytes, arp::PROTOCOL_TYPE)?,
    );
    let (hardware_len, protocol_len) = (
        *bytes.get(arp::HARDWARE_LEN)?,
        *bytes.get(arp::PROTOCOL_LEN)?,
    );
    if hardware == ETHERNET && hardware_len != 6 {
        return Some(wrong(Field::HardwareLength, hardware_len, 6));
    }
    if protocol == IPV4 && protocol_len != 4 {
        return Some(wrong(Field::ProtocolLength, protocol_len, 4));
    }
    let addresses = 2 * (usize::from(hardware_len) + usize::from(protocol_len));
    size(Layer::Arp, len, arp::LEN + addresses)
}
