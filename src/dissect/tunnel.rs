//! Describes tunnels and the packets inside them: GRE, VXLAN, Geneve.

use std::fmt;

use super::check::IpPayload;
use super::{Around, LineWriter, write_ethernet, write_payload};
use crate::packet::offset::{geneve, gre, vxlan};
use crate::packet::tunnel::{
    GENEVE_PORT, GreFlags, TRANSPARENT_ETHERNET, VXLAN_PORT, VXLAN_PORT_OLD,
};
use crate::packet::{be16, be32};
use crate::record::EtherType;

/// Writes a GRE packet (RFC 2784, 2890; version 1: RFC 2637).
pub fn write_gre(
    line: &mut LineWriter<'_>,
    carried: &IpPayload<'_, '_>,
    around: Around,
) -> fmt::Result {
    let data = carried.ip.payload;
    let fault = around.judge(|| carried.gre());
    let around = line.tell(fault, around)?;
    let (Some(flags), Some(protocol)) = (be16(data, gre::FLAGS), be16(data, gre::PROTOCOL)) else {
        return write!(line.out, "GRE, length {}", carried.len);
    };
    let flags = GreFlags(flags);
    write!(line.out, "GREv{}", flags.version())?;
    if !flags.is_plain() {
        let protocol = EtherType(protocol);
        return write!(line.out, ", proto {protocol}, length {}", carried.len);
    }
    if let Some(key) = flags.key_offset().and_then(|offset| be32(data, offset)) {
        write!(line.out, ", key={key:#x}")?;
    }
    let sequence = flags.sequence_offset();
    if let Some(sequence) = sequence.and_then(|offset| be32(data, offset)) {
        write!(line.out, ", seq {sequence}")?;
    }
    let offset = flags.header_len();
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
    line: &mut LineWriter<'_>,
    protocol: u16,
    inner: &[u8],
    len: usize,
    around: Around,
) -> fmt::Result {
    let around = around.inside();
    if protocol == TRANSPARENT_ETHERNET {
        write_ethernet(line, inner, len, None, around)
    } else {
        write_payload(line, Some(EtherType(protocol)), inner, len, around)
    }
}

/// Writes a datagram of `len` bytes if it belongs to a tunnel, and returns whether it does.
pub fn write_udp_payload(
    line: &mut LineWriter<'_>,
    port: u16,
    data: &[u8],
    len: usize,
    around: Around,
) -> Result<bool, fmt::Error> {
    if around.is_deepest() {
        return Ok(false);
    }
    match port {
        VXLAN_PORT | VXLAN_PORT_OLD => {
            let (Some(flags), Some(vni)) = (data.get(vxlan::FLAGS), be32(data, vxlan::VNI)) else {
                return Ok(false);
            };
            if flags & vxlan::HAS_VNI == 0 {
                return Ok(false);
            }
            write!(line.out, "VXLAN, vni {}: ", vni >> vxlan::VNI_SHIFT)?;
            let inner = data.get(vxlan::LEN..).unwrap_or_default();
            write_inner(
                line,
                TRANSPARENT_ETHERNET,
                inner,
                len.saturating_sub(vxlan::LEN),
                around,
            )?;
        }
        GENEVE_PORT => {
            let (Some(first), Some(protocol), Some(vni)) = (
                data.get(geneve::VERSION_AND_LENGTH),
                be16(data, geneve::PROTOCOL),
                be32(data, geneve::VNI),
            ) else {
                return Ok(false);
            };
            if first >> geneve::VERSION_SHIFT != 0 {
                return Ok(false);
            }
            write!(line.out, "Geneve, vni {}: ", vni >> geneve::VNI_SHIFT)?;
            let header_len = geneve::LEN + usize::from(first & geneve::OPTIONS_WORDS) * 4;
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
