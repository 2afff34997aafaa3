//! Describes tunnels and the packets inside them: GRE, VXLAN, Geneve.

use std::fmt;

use super::check::IpPayload;
use super::{Around, LineWriter, write_ethernet, write_payload};
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
    let (Some(flags), Some(protocol)) = (be16(data, 0), be16(data, 2)) else {
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
    const LEN: usize = 8;
    if around.is_deepest() {
        return Ok(false);
    }
    match port {
        // RFC 7348, 5: flags with the I bit, reserved, a network identifier of 24 bits.
        VXLAN_PORT | VXLAN_PORT_OLD => {
            let (Some(8), Some(vni)) = (data.first().map(|flags| flags & 8), be32(data, 4)) else {
                return Ok(false);
            };
            write!(line.out, "VXLAN, vni {}: ", vni >> 8)?;
            let inner = data.get(LEN..).unwrap_or_default();
            write_inner(
                line,
                TRANSPARENT_ETHERNET,
                inner,
                len.saturating_sub(LEN),
                around,
            )?;
        }
        // RFC 8926, 3.4: version and options' length in words, protocol, network identifier.
        GENEVE_PORT => {
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
