//! Describes ARP (RFC 826) and Inverse ARP (RFC 2390) messages.

use std::fmt;
use std::net::Ipv4Addr;

use super::names::Mac;
use super::{Around, LineWriter, check};
use crate::packet::be16;
use crate::packet::offset::arp;

/// The hardware and protocol address of one end, as far as they were captured.
struct ArpEnd<'a> {
    hardware: Option<Mac<'a>>,
    protocol: Option<Ipv4Addr>,
}

/// Writes a message of `len` bytes.
pub fn write(line: &mut LineWriter<'_>, data: &[u8], len: usize, around: Around) -> fmt::Result {
    const IPV4: u16 = 0x0800;
    let fault = around.judge(|| check::arp(data, len));
    if fault.is_some() {
        line.out.write_str("ARP ")?;
        line.tell(fault, around)?;
    } else {
        line.out.write_str("ARP, ")?;
    }
    let Some(operation) = be16(data, arp::OPERATION) else {
        return write!(line.out, "length {len}");
    };
    // For Ethernet and IPv4, a wrong length field does not move the addresses.
    let hardware_len = match be16(data, arp::HARDWARE_TYPE) {
        Some(1) => 6,
        _ => usize::from(data[arp::HARDWARE_LEN]),
    };
    let is_ipv4 = be16(data, arp::PROTOCOL_TYPE) == Some(IPV4);
    let protocol_len = if is_ipv4 {
        4
    } else {
        usize::from(data[arp::PROTOCOL_LEN])
    };
    let end = |at: usize| ArpEnd {
        hardware: data.get(at..at + hardware_len).map(Mac),
        protocol: data
            .get(at + hardware_len..)
            .and_then(|bytes| bytes.first_chunk::<4>())
            .filter(|_| is_ipv4)
            .map(|bytes| Ipv4Addr::from(*bytes)),
    };
    let sender = end(arp::LEN);
    let target = end(arp::LEN + hardware_len + protocol_len);
    match operation {
        1 => line.out.write_str("Request")?,
        2 => line.out.write_str("Reply")?,
        8 => line.out.write_str("Inverse Request")?,
        9 => line.out.write_str("Inverse Reply")?,
        other => write!(line.out, "operation {other}")?,
    }
    match (operation, sender.protocol, sender.hardware) {
        (1, Some(sender), _) => {
            if let Some(target) = target.protocol {
                write!(line.out, " who-has {target}")?;
            }
            write!(line.out, " tell {sender}")?;
        }
        (8, _, Some(sender)) => {
            if let Some(target) = target.hardware {
                write!(line.out, " who-is {target}")?;
            }
            write!(line.out, " tell {sender}")?;
        }
        (9, Some(protocol), Some(hardware)) => write!(line.out, " {hardware} at {protocol}")?,
        (_, Some(protocol), Some(hardware)) => write!(line.out, " {protocol} is-at {hardware}")?,
        (_, None, Some(hardware)) => write!(line.out, " from {hardware}")?,
        _ => {}
    }
    write!(line.out, ", length {len}")
}
