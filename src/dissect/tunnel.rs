//! Packets inside packets: GRE, VXLAN, Geneve.

use std::fmt;

use super::check::Carried;
use super::{Around, Line, write_ethernet, write_payload};
use crate::packet::{be16, be32};
use crate::record::EtherType;

/// A transparent Ethernet frame (`ETH_P_TEB`).
const ETHERNET_FRAME: u16 = 0x6558;
/// UDP ports: IANA's for VXLAN and Geneve, and the one Linux used for VXLAN before.
const VXLAN: u16 = 4789;
const VXLAN_OLD: u16 = 8472;
const GENEVE: u16 = 6081;
/// IANA's, for L2TP, GTP, LISP, ESP, VXLAN-GPE, GUE and MPLS.
const OTHERS: [u16; 7] = [1701, 2152, 4341, 4500, 4790, 6080, 6635];

/// Whether datagrams to this port carry packets.
pub fn is_tunnel_port(port: u16) -> bool {
    matches!(port, VXLAN | VXLAN_OLD | GENEVE) || OTHERS.contains(&port)
}

/// GRE (RFC 2784, 2890; version 1: RFC 2637).
pub fn write_gre(line: &mut Line<'_>, carried: &Carried<'_, '_>, around: Around) -> fmt::Result {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    let data = carried.ip.payload;
    let fault = around.judge(|| carried.gre());
    let around = line.tell(fault, around)?;
    let (Some(flags), Some(protocol)) = (be16(data, 0), be16(data, 2)) else {
        return write!(line.out, "GRE, length {}", carried.len);
    };
    let version = flags & 7;
    write!(line.out, "GREv{version}")?;
    // What the bits mean is known for version 0; source routes are obsolete and not walked.
    if version != 0 || flags & ROUTING != 0 {
        let protocol = EtherType(protocol);
        return write!(line.out, ", proto {protocol}, length {}", carried.len);
    }
    let mut offset = 4;
    if flags & CHECKSUM != 0 {
        offset += 4;
    }
    if flags & KEY != 0 {
        if let Some(key) = be32(data, offset) {
            write!(line.out, ", key={key:#x}")?;
        }
        offset += 4;
    }
    if flags & SEQUENCE != 0 {
        if let Some(sequence) = be32(data, offset) {
            write!(line.out, ", seq {sequence}")?;
        }
        offset += 4;
    }
    let inner = data.get(offset..).filter(|inner| !inner.is_empty());
    let Some(inner) = inner.filter(|_| !around.is_deepest()) else {
        let protocol = EtherType(protocol);
        return write!(line.out, ", proto {protocol}, length {}", carried.len);
    };
    line.out.write_str(": ")?;
    let len = carried.len.saturating_sub(offset);
    write_inner(line, protocol, inner, len, around)
}

fn write_inner(
    line: &mut Line<'_>,
    protocol: u16,
    inner: &[u8],
    len: usize,
    around: Around,
) -> fmt::Result {
    let around = around.inside();
    if protocol == ETHERNET_FRAME {
        write_ethernet(line, inner, len, None, around)
    } else {
        write_payload(line, Some(EtherType(protocol)), inner, len, around)
    }
}

/// Whether the datagram, which carries `len` bytes, was one of a tunnel, and is written.
pub fn write_udp_payload(
    line: &mut Line<'_>,
    port: u16,
    data: &[u8],
    len: usize,
    around: Around,
) -> Result<bool, fmt::Error> {
    const LEN: usize = 8;
    if around.is_deepest() {
        return Ok(false);
    }
    match port {
        // RFC 7348, 5: flags with the I bit, reserved, a network identifier of 24 bits.
        VXLAN | VXLAN_OLD => {
            let (Some(8), Some(vni)) = (data.first().map(|flags| flags & 8), be32(data, 4)) else {
                return Ok(false);
            };
            write!(line.out, "VXLAN, vni {}: ", vni >> 8)?;
            let inner = data.get(LEN..).unwrap_or_default();
            write_inner(line, ETHERNET_FRAME, inner, len.saturating_sub(LEN), around)?;
        }
        // RFC 8926, 3.4: version and options' length in words, protocol, network identifier.
        GENEVE => {
            let (Some(first), Some(protocol), Some(vni)) =
                (data.first(), be16(data, 2), be32(data, 4))
            else {
                return Ok(false);
            };
            if first >> 6 != 0 {
                return Ok(false);
            }
            write!(line.out, "Geneve, vni {}: ", vni >> 8)?;
            let header_len = LEN + usize::from(first & 0x3f) * 4;
            let inner = data.get(header_len..).unwrap_or_default();
            write_inner(
                line,
                protocol,
                inner,
                len.saturating_sub(header_len),
                around,
            )?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
