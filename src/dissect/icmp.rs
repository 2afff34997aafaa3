//! ICMP messages, and the packets that errors quote.

use std::fmt;
use std::net::Ipv6Addr;

use etherparse::{Icmpv4Slice, Icmpv6Slice};

use super::{MAX_DEPTH, write_ip};

/// An ICMP message (RFC 792), without its length.
pub fn write_v4(f: &mut fmt::Formatter<'_>, message: &Icmpv4Slice<'_>, depth: u8) -> fmt::Result {
    let [high, low, sequence_high, sequence_low] = message.bytes5to8();
    let id = u16::from_be_bytes([high, low]);
    let sequence = u16::from_be_bytes([sequence_high, sequence_low]);
    match (message.type_u8(), message.code_u8()) {
        (0, _) => return write!(f, "echo reply, id {id}, seq {sequence}"),
        (8, _) => return write!(f, "echo request, id {id}, seq {sequence}"),
        (3, code) => {
            f.write_str(match code {
                0 => "net unreachable",
                1 => "host unreachable",
                2 => "protocol unreachable",
                3 => "port unreachable",
                4 => "need to frag",
                9 | 10 | 13 => "administratively prohibited",
                _ => "unreachable",
            })?;
            if code == 4 {
                write!(f, " (mtu {sequence})")?;
            }
        }
        (5, _) => f.write_str("redirect")?,
        (11, 0) => f.write_str("time exceeded in-transit")?,
        (11, _) => f.write_str("ip reassembly time exceeded")?,
        (12, _) => f.write_str("parameter problem")?,
        (kind, code) => return write!(f, "type {kind}, code {code}"),
    }
    write_quoted(f, message.payload(), depth)
}

/// An ICMPv6 message (RFC 4443, 4861, 2710, 3810), without its length.
pub fn write_v6(f: &mut fmt::Formatter<'_>, message: &Icmpv6Slice<'_>, depth: u8) -> fmt::Result {
    let [high, low, sequence_high, sequence_low] = message.bytes5to8();
    let id = u16::from_be_bytes([high, low]);
    let sequence = u16::from_be_bytes([sequence_high, sequence_low]);
    let target = message
        .payload()
        .first_chunk::<16>()
        .map(|bytes| Ipv6Addr::from(*bytes));
    match (message.type_u8(), message.code_u8()) {
        (1, code) => f.write_str(match code {
            0 => "unreachable route",
            1 => "unreachable prohibited",
            3 => "unreachable address",
            4 => "unreachable port",
            _ => "unreachable",
        })?,
        (2, _) => {
            let mtu = u32::from_be_bytes([high, low, sequence_high, sequence_low]);
            write!(f, "packet too big, mtu {mtu}")?;
        }
        (3, _) => f.write_str("time exceeded in-transit")?,
        (4, _) => f.write_str("parameter problem")?,
        (kind, code) => {
            return match (kind, target) {
                (128, _) => write!(f, "echo request, id {id}, seq {sequence}"),
                (129, _) => write!(f, "echo reply, id {id}, seq {sequence}"),
                (130, _) => f.write_str("multicast listener query"),
                (131, _) => f.write_str("multicast listener report"),
                (132, _) => f.write_str("multicast listener done"),
                (133, _) => f.write_str("router solicitation"),
                (134, _) => f.write_str("router advertisement"),
                (135, Some(target)) => write!(f, "neighbor solicitation, who has {target}"),
                (136, Some(target)) => write!(f, "neighbor advertisement, tgt is {target}"),
                (137, _) => f.write_str("redirect"),
                (143, _) => f.write_str("multicast listener report v2"),
                _ => write!(f, "type {kind}, code {code}"),
            };
        }
    }
    write_quoted(f, message.payload(), depth)
}

/// The packet that an error is about, as far as it is quoted.
fn write_quoted(f: &mut fmt::Formatter<'_>, quoted: &[u8], depth: u8) -> fmt::Result {
    if quoted.is_empty() || depth >= MAX_DEPTH {
        return Ok(());
    }
    f.write_str(" [")?;
    write_ip(
        f,
        quoted,
        u32::try_from(quoted.len()).unwrap_or(u32::MAX),
        depth + 1,
    )?;
    f.write_str("]")
}
