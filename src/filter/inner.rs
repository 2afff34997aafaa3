//! Finds the packet inside a tunnel: GRE, IP in IP, VXLAN, Geneve, PPPoE, MPLS.

use super::layout::{ether_type, ppp};
use super::packet::Lookup::{Absent, Found};
use super::packet::{FramedPacket, Framing, Lookup};
use super::transport_header;
use crate::packet::ip::number;
use crate::packet::offset::{geneve, gre, mpls, pppoe, udp, vxlan};
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
        ether_type::MPLS | MPLS_MULTICAST => return behind_labels(outer, at),
        ether_type::PPPOE_SESSION => return in_pppoe(outer, at),
        _ => {}
    }
    let Found(header) = transport_header::transport(outer, kind, at)? else {
        return Some(Absent);
    };
    match header.number {
        number::IPIP => Some(Found(announced(outer, header.at, ether_type::IPV4))),
        number::IPV6 => Some(Found(announced(outer, header.at, ether_type::IPV6))),
        number::GRE => behind_gre(outer, header.at),
        number::UDP => over_udp(outer, header.at),
        number::MPLS => behind_labels(outer, header.at),
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

/// Returns the packet after a GRE header.
fn behind_gre<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    let flags = GreFlags(outer.bytes.u16(at + gre::FLAGS)?);
    if !flags.is_plain() {
        return Some(Absent);
    }
    let kind = outer.bytes.u16(at + gre::PROTOCOL)?;
    Some(Found(announced(outer, at + flags.header_len(), kind)))
}

fn over_udp<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    let port = outer.bytes.u16(at + udp::DESTINATION)?;
    let tunnel = at + udp::LEN;
    if matches!(port, VXLAN_PORT | VXLAN_PORT_OLD) {
        let has_vni = outer.bytes.u8(tunnel + vxlan::FLAGS)? & vxlan::HAS_VNI != 0;
        return Some(if has_vni {
            Found(outer.inside(tunnel + vxlan::LEN, Framing::Ethernet, 0))
        } else {
            Absent
        });
    }
    if port == GENEVE_PORT {
        let first = outer.bytes.u8(tunnel + geneve::VERSION_AND_LENGTH)?;
        if first >> geneve::VERSION_SHIFT != 0 {
            return Some(Absent);
        }
        let options = 4 * usize::from(first & geneve::OPTIONS_WORDS);
        let kind = outer.bytes.u16(tunnel + geneve::PROTOCOL)?;
        return Some(Found(announced(
            outer,
            tunnel + geneve::LEN + options,
            kind,
        )));
    }
    Some(Absent)
}

/// Returns the packet in a PPPoE session.
fn in_pppoe<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    let kind = match outer.bytes.u16(at + pppoe::PROTOCOL)? {
        ppp::IPV4 => ether_type::IPV4,
        ppp::IPV6 => ether_type::IPV6,
        ppp::MPLS => ether_type::MPLS,
        // A control protocol has no packet inside.
        _ => return Some(Absent),
    };
    Some(Found(announced(outer, at + pppoe::LEN, kind)))
}

/// Returns the packet after the bottom of the label stack, where only the version of IP tells its type.
fn behind_labels<'a>(outer: &FramedPacket<'a>, at: usize) -> Option<Lookup<FramedPacket<'a>>> {
    for label in 0..MAX_LABELS {
        let entry = at + label * mpls::LEN;
        if outer.bytes.u8(entry + mpls::BOTTOM)? & mpls::BOTTOM_BIT == 0 {
            continue;
        }
        let behind = entry + mpls::LEN;
        let kind = match outer.bytes.u8(behind)? >> 4 {
            4 => ether_type::IPV4,
            6 => ether_type::IPV6,
            _ => return Some(Absent),
        };
        return Some(Found(announced(outer, behind, kind)));
    }
    Some(Absent)
}
