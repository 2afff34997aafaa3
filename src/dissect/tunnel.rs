//! Packets inside packets: GRE, VXLAN, Geneve, IPIP, 6in4; and the headers of ESP, AH, OSPF, SCTP.

use std::fmt;

use super::names::ProtocolName;
use super::{MAX_DEPTH, write_ethernet, write_ip, write_payload};
use crate::packet::be16;
use crate::record::EtherType;

/// A transparent Ethernet frame (`ETH_P_TEB`).
const ETHERNET_FRAME: u16 = 0x6558;
/// UDP ports: IANA's for VXLAN and Geneve, and the one Linux used for VXLAN before.
const VXLAN: u16 = 4789;
const VXLAN_OLD: u16 = 8472;
const GENEVE: u16 = 6081;

fn be32(data: &[u8], offset: usize) -> Option<u32> {
    data.get(offset..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

fn len(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

/// What an IP packet carries that is neither TCP, UDP, ICMP nor IGMP.
pub fn write_ip_payload(
    f: &mut fmt::Formatter<'_>,
    number: u8,
    data: &[u8],
    carried: usize,
    depth: u8,
) -> fmt::Result {
    match number {
        4 | 41 if depth < MAX_DEPTH && !data.is_empty() => {
            write!(f, "{} ", ProtocolName(number))?;
            return write_ip(f, data, len(data), depth + 1);
        }
        47 => return write_gre(f, data, carried, depth),
        // RFC 4303, 2: security parameters index, sequence number.
        50 => match (be32(data, 0), be32(data, 4)) {
            (Some(spi), Some(sequence)) => write!(f, "ESP(spi={spi:#010x},seq={sequence:#x})")?,
            _ => f.write_str("ESP")?,
        },
        // RFC 4302, 2: the same, behind the next header's number, a length and two reserved bytes.
        51 => match (be32(data, 4), be32(data, 8)) {
            (Some(spi), Some(sequence)) => write!(f, "AH(spi={spi:#010x},seq={sequence:#x})")?,
            _ => f.write_str("AH")?,
        },
        // RFC 2328, A.3.1 and RFC 5340, A.3.1: version, type.
        89 => {
            let kind = match data.get(1) {
                Some(1) => ", Hello",
                Some(2) => ", Database Description",
                Some(3) => ", LS-Request",
                Some(4) => ", LS-Update",
                Some(5) => ", LS-Ack",
                _ => "",
            };
            match data.first() {
                Some(version) => write!(f, "OSPFv{version}{kind}")?,
                None => f.write_str("OSPF")?,
            }
        }
        // SCTP, and TCP and UDP whose header is damaged: source and destination port come first.
        6 | 17 | 132 => match (be16(data, 0), be16(data, 2)) {
            (Some(from), Some(to)) => write!(f, "{} port {from} > {to}", ProtocolName(number))?,
            _ => write!(f, "{}", ProtocolName(number))?,
        },
        other => write!(f, "{}", ProtocolName(other))?,
    }
    write!(f, ", length {carried}")
}

/// GRE (RFC 2784, 2890; version 1: RFC 2637).
fn write_gre(f: &mut fmt::Formatter<'_>, data: &[u8], carried: usize, depth: u8) -> fmt::Result {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    let (Some(flags), Some(protocol)) = (be16(data, 0), be16(data, 2)) else {
        return write!(f, "GRE, length {carried}");
    };
    let version = flags & 7;
    write!(f, "GREv{version}")?;
    // What the bits mean is known for version 0; source routes are obsolete and not walked.
    if version != 0 || flags & ROUTING != 0 {
        return write!(f, ", length {carried}");
    }
    let mut offset = 4;
    if flags & CHECKSUM != 0 {
        offset += 4;
    }
    if flags & KEY != 0 {
        if let Some(key) = be32(data, offset) {
            write!(f, ", key={key:#x}")?;
        }
        offset += 4;
    }
    if flags & SEQUENCE != 0 {
        if let Some(sequence) = be32(data, offset) {
            write!(f, ", seq {sequence}")?;
        }
        offset += 4;
    }
    let Some(inner) = data
        .get(offset..)
        .filter(|inner| !inner.is_empty() && depth < MAX_DEPTH)
    else {
        return write!(f, ", proto {}, length {carried}", EtherType(protocol));
    };
    f.write_str(": ")?;
    write_inner(f, protocol, inner, depth)
}

fn write_inner(f: &mut fmt::Formatter<'_>, protocol: u16, inner: &[u8], depth: u8) -> fmt::Result {
    if protocol == ETHERNET_FRAME {
        write_ethernet(f, inner, len(inner), None, depth + 1)
    } else {
        write_payload(f, Some(EtherType(protocol)), inner, len(inner), depth + 1)
    }
}

/// Whether the datagram was one of a tunnel, and is written.
pub fn write_udp_payload(
    f: &mut fmt::Formatter<'_>,
    port: u16,
    data: &[u8],
    depth: u8,
) -> Result<bool, fmt::Error> {
    if depth >= MAX_DEPTH {
        return Ok(false);
    }
    match port {
        // RFC 7348, 5: flags with the I bit, reserved, a network identifier of 24 bits.
        VXLAN | VXLAN_OLD => {
            let (Some(8), Some(vni)) = (data.first().map(|flags| flags & 8), be32(data, 4)) else {
                return Ok(false);
            };
            write!(f, "VXLAN, vni {}: ", vni >> 8)?;
            let inner = data.get(8..).unwrap_or_default();
            write_ethernet(f, inner, len(inner), None, depth + 1)?;
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
            write!(f, "Geneve, vni {}: ", vni >> 8)?;
            let inner = data
                .get(8 + usize::from(first & 0x3f) * 4..)
                .unwrap_or_default();
            write_inner(f, protocol, inner, depth)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
