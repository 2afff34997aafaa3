//! Finds the packet inside a tunnel: GRE, IP in IP, VXLAN, Geneve, PPPoE, MPLS.

use super::layout::ether_type;
use super::offset::{GRE_PROTOCOL, udp};
use super::packet::Lookup::{Absent, Found};
use super::packet::{FramedPacket, Framing, Lookup};
use super::transport_header;
use crate::packet::tunnel::{
    GENEVE_PORT, GreFlags, TRANSPARENT_ETHERNET, VXLAN_PORT, VXLAN_PORT_OLD,
};

/// The Ethernet type of MPLS multicast (RFC 5332).
const MPLS_MULTICAST: u16 = 0x8848;
/// The most MPLS labels that are followed; no valid packet has more.
const MAX_LABELS: usize = 16;

/// Returns the packet inside the outermost tunnel.
pub fn packet<'a>(outer: &FramedPacket<'a>) -> Option<Lookup<FramedPacket<'a>>> {
    let (kind, at) = transport_header::network(outer)?;
    match kind {
        ether_type::MPLS | MPLS_MULTICAST => return mpls(outer, at),
        ether_type::PPPOE_SESSION => return pppoe(outer, at),
        _ => {}
    }
    let Found(header) = transport_header::transport(outer, kind, at)? else {
        return Some(Absent);
    };
    match header.number {
        4 => Some(Found(announced(outer, header.at, ether_type::IPV4))),
        41 => Some(Found(announced(outer, header.at, ether_type::IPV6))),
        47 => gre(outer, header.at),
        17 => over_udp(outer, header.at),
        137 => mpls(outer, header.at),
        _ => Some(Absent),
    }
}

/// Returns the packet at `at`, which an Ethernet type announced.
fn announced<'a>(outer: &FramedPacket<'a>, at: usize, kind: u16) -> FramedPacket<'a> {
    match kind {
        TRANSPARENT_ETHERNET => outer.inside(at, Framing::Ethernet, 0),
        kind => outer.inside(at, Framing::Payload, kind),
    }
}

/// Returns the packet behind a GRE header.
fn gre<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    let flags = GreFlags(outer.bytes.u16(at)?);
    if !flags.is_plain() {
        return Some(Absent);
    }
    let kind = outer.bytes.u16(at + GRE_PROTOCOL)?;
    Some(Found(announced(outer, at + flags.header_len(), kind)))
}

fn over_udp<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    let port = outer.bytes.u16(at + udp::DESTINATION)?;
    let tunnel = at + udp::LEN;
    if matches!(port, VXLAN_PORT | VXLAN_PORT_OLD) {
        // RFC 7348, 5: the I flag says that there is a network identifier.
        let has_id = outer.bytes.u8(tunnel)? & 0x08 != 0;
        return Some(if has_id {
            Found(outer.inside(tunnel + 8, Framing::Ethernet, 0))
        } else {
            Absent
        });
    }
    if port == GENEVE_PORT {
        // RFC 8926, 3.4: version and length of the options in words, protocol type.
        let first = outer.bytes.u8(tunnel)?;
        if first >> 6 != 0 {
            return Some(Absent);
        }
        let options = 4 * usize::from(first & 0x3f);
        let kind = outer.bytes.u16(tunnel + 2)?;
        return Some(Found(announced(outer, tunnel + 8 + options, kind)));
    }
    Some(Absent)
}

/// RFC 2516, 4: six bytes, then PPP's protocol.
fn pppoe<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    let kind = match outer.bytes.u16(at + 6)? {
        0x0021 => ether_type::IPV4,
        0x0057 => ether_type::IPV6,
        0x0281 => ether_type::MPLS,
        // Control protocols: no packet inside.
        _ => return Some(Absent),
    };
    Some(Found(announced(outer, at + 8, kind)))
}

/// RFC 3032, 2.1: labels up to the one with the bottom's bit; then the version of IP tells.
fn mpls<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    for label in 0..MAX_LABELS {
        let behind = at + 4 * (label + 1);
        if outer.bytes.u8(behind - 2)? & 1 == 0 {
            continue;
        }
        let kind = match outer.bytes.u8(behind)? >> 4 {
            4 => ether_type::IPV4,
            6 => ether_type::IPV6,
            _ => return Some(Absent),
        };
        return Some(Found(announced(outer, behind, kind)));
    }
    Some(Absent)
}
