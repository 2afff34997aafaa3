//! Describes ICMP messages and the packets that ICMP errors quote.

use std::fmt;
use std::net::Ipv6Addr;

use super::check::IpPayload;
use super::{Around, LineWriter, write_ip};
use crate::packet::ip::Version;
use crate::packet::offset::icmp;
use crate::packet::{be16, be32};

/// Writes an ICMP (RFC 792) or ICMPv6 message (RFC 4443, 4861, 2710, 3810). `version` is that of the
/// IP to which the message belongs; over the other one, faults are not looked for.
pub fn write(
    line: &mut LineWriter<'_>,
    carried: &IpPayload<'_, '_>,
    version: Version,
    around: Around,
) -> fmt::Result {
    let fault = around.judge(|| match version {
        Version::V4 => carried.icmp(),
        Version::V6 => carried.icmpv6(),
    });
    line.tell(fault.filter(|_| carried.ip.version == version), around)?;
    let message = carried.ip.payload;
    line.out.write_str(match version {
        Version::V4 => "ICMP",
        Version::V6 => "ICMP6",
    })?;
    if let [kind, code, ..] = *message {
        match version {
            Version::V4 => {
                line.out.write_str(" ")?;
                write_message_v4(line, kind, code, message, around)?;
            }
            Version::V6 => {
                line.out.write_str(", ")?;
                write_message_v6(line, kind, code, message, around)?;
            }
        }
    }
    write!(line.out, ", length {}", carried.len)
}

fn write_message_v4(
    line: &mut LineWriter<'_>,
    kind: u8,
    code: u8,
    message: &[u8],
    around: Around,
) -> fmt::Result {
    match (kind, code) {
        (0, _) => return write_echo(line, "echo reply", message),
        (8, _) => return write_echo(line, "echo request", message),
        (3, code) => {
            line.out.write_str(match code {
                0 => "net unreachable",
                1 => "host unreachable",
                2 => "protocol unreachable",
                3 => "port unreachable",
                4 => "need to frag",
                9 | 10 | 13 => "administratively prohibited",
                _ => "unreachable",
            })?;
            if let Some(mtu) = be16(message, icmp::MTU_V4).filter(|_| code == 4) {
                write!(line.out, " (mtu {mtu})")?;
            }
        }
        (5, _) => line.out.write_str("redirect")?,
        (11, 0) => line.out.write_str("time exceeded in-transit")?,
        (11, _) => line.out.write_str("ip reassembly time exceeded")?,
        (12, _) => line.out.write_str("parameter problem")?,
        (kind, code) => return write!(line.out, "type {kind}, code {code}"),
    }
    write_quoted(line, message, around)
}

fn write_message_v6(
    line: &mut LineWriter<'_>,
    kind: u8,
    code: u8,
    message: &[u8],
    around: Around,
) -> fmt::Result {
    let target = message
        .get(icmp::LEN..)
        .and_then(|bytes| bytes.first_chunk());
    let target = target.map(|bytes: &[u8; 16]| Ipv6Addr::from(*bytes));
    match (kind, code) {
        (1, code) => line.out.write_str(match code {
            0 => "unreachable route",
            1 => "unreachable prohibited",
            3 => "unreachable address",
            4 => "unreachable port",
            _ => "unreachable",
        })?,
        (2, _) => {
            line.out.write_str("packet too big")?;
            if let Some(mtu) = be32(message, icmp::MTU_V6) {
                write!(line.out, ", mtu {mtu}")?;
            }
        }
        (3, _) => line.out.write_str("time exceeded in-transit")?,
        (4, _) => line.out.write_str("parameter problem")?,
        (kind, code) => {
            return match (kind, target) {
                (128, _) => write_echo(line, "echo request", message),
                (129, _) => write_echo(line, "echo reply", message),
                (130, _) => line.out.write_str("multicast listener query"),
                (131, _) => line.out.write_str("multicast listener report"),
                (132, _) => line.out.write_str("multicast listener done"),
                (133, _) => line.out.write_str("router solicitation"),
                (134, _) => line.out.write_str("router advertisement"),
                (135, Some(target)) => write!(line.out, "neighbor solicitation, who has {target}"),
                (135, None) => line.out.write_str("neighbor solicitation"),
                (136, Some(target)) => write!(line.out, "neighbor advertisement, tgt is {target}"),
                (136, None) => line.out.write_str("neighbor advertisement"),
                (137, _) => line.out.write_str("redirect"),
                (143, _) => line.out.write_str("multicast listener report v2"),
                _ => write!(line.out, "type {kind}, code {code}"),
            };
        }
    }
    write_quoted(line, message, around)
}

fn write_echo(line: &mut LineWriter<'_>, name: &str, message: &[u8]) -> fmt::Result {
    line.out.write_str(name)?;
    if let Some(id) = be16(message, icmp::ID) {
        write!(line.out, ", id {id}")?;
    }
    if let Some(sequence) = be16(message, icmp::SEQUENCE) {
        write!(line.out, ", seq {sequence}")?;
    }
    Ok(())
}

/// Writes the packet that an error quotes. Faults are not looked for, because the packet was cut and
/// routers changed it.
fn write_quoted(line: &mut LineWriter<'_>, message: &[u8], around: Around) -> fmt::Result {
    let quoted = message.get(icmp::LEN..).unwrap_or_default();
    if quoted.is_empty() || around.is_deepest() {
        return Ok(());
    }
    let around = Around {
        is_judged: false,
        ..around.inside()
    };
    line.out.write_str(" [")?;
    write_ip(line, quoted, quoted.len(), None, around)?;
    line.out.write_str("]")
}
