//! Describes TCP, UDP, and the protocols of which only the name and a few numbers are shown.

use std::fmt;

use super::check::{self, IpPayload};
use super::fault::Layer;
use super::names::ProtocolName;
use super::{Around, LineWriter, tunnel};
use crate::packet::ip::number;
use crate::packet::offset::{tcp, udp};
use crate::packet::{be16, be32};

/// Writes a UDP datagram. As in tcpdump, the length is the payload's according to the header.
pub fn write_udp(
    line: &mut LineWriter<'_>,
    carried: &IpPayload<'_, '_>,
    around: Around,
) -> fmt::Result {
    let data = carried.ip.payload;
    let fault = around.judge(|| carried.udp());
    let around = line.tell(fault, around)?;
    let length = be16(data, udp::LENGTH).map_or(carried.len, usize::from);
    if let (Some(port), Some(payload)) = (be16(data, udp::DESTINATION), data.get(udp::LEN..)) {
        let len = length.min(carried.len).saturating_sub(udp::LEN);
        let payload = &payload[..payload.len().min(len)];
        if tunnel::write_udp_payload(line, port, payload, len, around)? {
            return Ok(());
        }
    }
    write!(line.out, "UDP, length {}", length.saturating_sub(udp::LEN))
}

/// Writes a TCP segment: `Flags [S], seq 1, win 64240, length 0`, with tcpdump's letters.
pub fn write_tcp(
    line: &mut LineWriter<'_>,
    carried: &IpPayload<'_, '_>,
    around: Around,
) -> fmt::Result {
    const LETTERS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];
    const ACKNOWLEDGMENT: u8 = 0x10;
    let data = carried.ip.payload;
    let fault = around.judge(|| carried.tcp());
    line.tell(fault, around)?;
    let (Some(&offset), Some(&flags)) = (data.get(tcp::DATA_OFFSET), data.get(tcp::FLAGS)) else {
        return write!(line.out, "TCP, length {}", carried.len);
    };
    line.out.write_str("Flags [")?;
    if flags == 0 {
        line.out.write_str("none")?;
    }
    for (bit, letter) in LETTERS.into_iter().enumerate() {
        if flags & (1 << bit) != 0 {
            line.out.write_char(letter)?;
        }
    }
    line.out.write_str("]")?;
    if let Some(sequence) = be32(data, tcp::SEQUENCE) {
        write!(line.out, ", seq {sequence}")?;
    }
    if let Some(number) = be32(data, tcp::ACKNOWLEDGMENT).filter(|_| flags & ACKNOWLEDGMENT != 0) {
        write!(line.out, ", ack {number}")?;
    }
    if let Some(window) = be16(data, tcp::WINDOW) {
        write!(line.out, ", win {window}")?;
    }
    let header_len = (usize::from(offset >> 4) * 4).max(tcp::LEN);
    write!(
        line.out,
        ", length {}",
        carried.len.saturating_sub(header_len)
    )
}

/// Writes a packet that is neither TCP, UDP, ICMP nor a tunnel.
pub fn write_other(
    line: &mut LineWriter<'_>,
    protocol: u8,
    carried: &IpPayload<'_, '_>,
    around: Around,
) -> fmt::Result {
    let data = carried.ip.payload;
    let fault = around.judge(|| match protocol {
        number::IGMP => carried.igmp(),
        number::SCTP => check::size(Layer::Sctp, carried.len, 12),
        number::ESP => check::size(Layer::Esp, carried.len, 8),
        number::OSPF => check::size(Layer::Ospf, carried.len, 16),
        _ => None,
    });
    line.tell(fault, around)?;
    match protocol {
        // RFC 4303, 2: security parameters index, sequence number.
        number::ESP => match (be32(data, 0), be32(data, 4)) {
            (Some(spi), Some(sequence)) => {
                write!(line.out, "ESP(spi={spi:#010x},seq={sequence:#x})")?;
            }
            _ => line.out.write_str("ESP")?,
        },
        // RFC 4302, 2: the same, after the next header's number, a length and two reserved bytes.
        number::AUTHENTICATION => match (be32(data, 4), be32(data, 8)) {
            (Some(spi), Some(sequence)) => {
                write!(line.out, "AH(spi={spi:#010x},seq={sequence:#x})")?;
            }
            _ => line.out.write_str("AH")?,
        },
        // RFC 2328, A.3.1 and RFC 5340, A.3.1: version, type.
        number::OSPF => {
            let kind = match data.get(1) {
                Some(1) => ", Hello",
                Some(2) => ", Database Description",
                Some(3) => ", LS-Request",
                Some(4) => ", LS-Update",
                Some(5) => ", LS-Ack",
                _ => "",
            };
            match data.first() {
                Some(version) => write!(line.out, "OSPFv{version}{kind}")?,
                None => line.out.write_str("OSPF")?,
            }
        }
        other => write!(line.out, "{}", ProtocolName(other))?,
    }
    write!(line.out, ", length {}", carried.len)
}
