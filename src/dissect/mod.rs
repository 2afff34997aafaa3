//! Describes a packet in a line, as tcpdump does: `IP 10.10.2.4.34174 > 10.10.2.2.9999: UDP, length
//! 32`. Packets inside tunnels and ICMP errors are described too, down to a limited depth. A header
//! that no receiver accepts is marked with the fault in brackets, and described nevertheless.

mod arp;
mod check;
mod checksum;
mod fault;
mod icmp;
mod names;
mod transport;
mod tunnel;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use crate::net_dm::content::Content;
use crate::net_dm::netlink::ByteOrder;
use crate::packet::ip::{Ip, Version, number};
use crate::packet::offset::{ethernet, vlan};
use crate::packet::{self, MAX_VLAN_TAGS, be16};
use crate::record::{Basis, Direction, DropRecord, EtherType, LinkType};
use check::{IpPayload, Path};
pub use fault::{Bound, Fault, Field, InFull, Layer};
use names::EtherTypeName;
pub use names::ProtocolName;

/// The depth to which packets inside packets are described; deeper ones show only their length.
const MAX_DEPTH: u8 = 4;

/// The packet of a record. Its [`Display`](fmt::Display) is one line, without a line feed.
#[derive(Clone, Copy, Debug)]
pub struct DissectedPacket<'a> {
    link: LinkType,
    /// The protocol that the kernel reported, if the link type is a guess: it is then more reliable
    /// than the bytes.
    protocol: Option<EtherType>,
    data: &'a [u8],
    original_len: u32,
    path: Path,
}

impl<'a> DissectedPacket<'a> {
    /// Takes the packet of a record.
    pub fn new(record: &DropRecord<'a>) -> Self {
        Self {
            link: record.link.kind,
            protocol: record
                .protocol
                .filter(|_| record.link.basis == Basis::Assumed),
            data: record.data,
            original_len: record.original_len,
            path: path(record.direction()),
        }
    }

    /// Takes a packet without its record. `protocol` is what the kernel reported.
    pub fn without_record(
        link: LinkType,
        protocol: Option<EtherType>,
        data: &'a [u8],
        original_len: u32,
        direction: Option<Direction>,
    ) -> Self {
        Self {
            link,
            protocol: protocol.filter(|_| link == LinkType::RAW),
            data,
            original_len,
            path: path(direction),
        }
    }

    /// Returns the packet's fault; of several, the first that the line shows. A time to live of 0 is
    /// returned only where there is no other fault.
    pub fn fault(&self) -> Option<Fault> {
        let mut nowhere = Nowhere;
        let mut line = LineWriter::new(&mut nowhere, self.path);
        // Writing to `Nowhere` cannot fail.
        self.write(&mut line).ok()?;
        line.fault
    }

    fn write(&self, line: &mut LineWriter<'_>) -> fmt::Result {
        let len = self.original_len as usize;
        let around = Around {
            depth: 0,
            is_judged: true,
        };
        match self.link {
            LinkType::ETHERNET => write_ethernet(line, self.data, len, self.protocol, around)?,
            LinkType::RAW => write_ip(line, self.data, len, self.protocol, around)?,
            LinkType::NETLINK => write_netlink(line.out, self.data, self.original_len)?,
            LinkType::NO_PACKET => write!(line.out, "no packet, length {len}")?,
            other => match packet::header_len(other) {
                Some(header) => {
                    let protocol = packet::protocol(other, self.data);
                    let payload = self.data.get(header..).unwrap_or_default();
                    let len = len.saturating_sub(header);
                    write_payload(line, protocol, payload, len, around)?;
                }
                None => write!(line.out, "{other}, length {len}")?,
            },
        }
        if self.data.len() < len {
            write!(line.out, " [{} of {len} bytes]", self.data.len())?;
        }
        Ok(())
    }
}

fn path(direction: Option<Direction>) -> Path {
    match direction {
        Some(Direction::Inbound) => Path::Received,
        Some(Direction::Outbound) => Path::Sent,
        None => Path::Unknown,
    }
}

impl fmt::Display for DissectedPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut LineWriter::new(f, self.path))
    }
}

/// Discards text, to find faults without writing a line.
struct Nowhere;

impl fmt::Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

/// The line being written, and the fault found so far.
struct LineWriter<'w> {
    out: &'w mut dyn fmt::Write,
    path: Path,
    fault: Option<Fault>,
}

/// The surroundings of a header.
#[derive(Clone, Copy)]
struct Around {
    /// The number of packets around it.
    depth: u8,
    /// True if faults are looked for. They are not in a packet that an ICMP error quotes, which was
    /// cut, nor after another fault.
    is_judged: bool,
}

impl Around {
    /// Returns the surroundings of a packet inside this one.
    fn inside(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }

    fn is_deepest(self) -> bool {
        self.depth >= MAX_DEPTH
    }

    fn judge(self, check: impl FnOnce() -> Option<Fault>) -> Option<Fault> {
        if self.is_judged { check() } else { None }
    }
}

impl<'w> LineWriter<'w> {
    fn new(out: &'w mut dyn fmt::Write, path: Path) -> Self {
        Self {
            out,
            path,
            fault: None,
        }
    }

    /// Writes a fault and a space; returns the surroundings of the headers that follow.
    fn tell(&mut self, fault: Option<Fault>, around: Around) -> Result<Around, fmt::Error> {
        let Some(fault) = fault else {
            return Ok(around);
        };
        write!(self.out, "[{fault}] ")?;
        let is_mild = |fault: &Fault| matches!(fault.field, Field::Ttl | Field::HopLimit);
        if self.fault.as_ref().is_none_or(is_mild) {
            self.fault = Some(Fault {
                depth: around.depth,
                ..fault
            });
        }
        Ok(Around {
            is_judged: is_mild(&fault),
            ..around
        })
    }
}

/// Writes netlink messages, in the byte order in which they can be parsed.
fn write_netlink(out: &mut dyn fmt::Write, data: &[u8], len: u32) -> fmt::Result {
    let orders = [ByteOrder::NATIVE, ByteOrder::NATIVE.swapped()];
    let kind = orders
        .into_iter()
        .find_map(|order| match Content::of_no_packet(data, len, order) {
            Content::Netlink { kind } => Some(kind),
            Content::Packet | Content::Data => None,
        });
    out.write_str("netlink")?;
    if let Some(kind) = kind {
        write!(out, ", type {kind}")?;
    }
    write!(out, ", length {len}")
}

/// Writes an Ethernet frame of `len` bytes.
fn write_ethernet(
    line: &mut LineWriter<'_>,
    data: &[u8],
    len: usize,
    protocol: Option<EtherType>,
    around: Around,
) -> fmt::Result {
    let kind = be16(data, ethernet::TYPE).map(EtherType);
    let payload = data.get(ethernet::LEN..).unwrap_or_default();
    let behind = len.saturating_sub(ethernet::LEN);
    match kind {
        // The field is a length, so that this is an LLC frame (IEEE 802.3, 3.2.6).
        Some(EtherType(0..=0x5ff)) if protocol.is_none() => {
            names::write_llc(line.out, payload)?;
            write!(line.out, ", length {len}")
        }
        Some(EtherType::IPV4 | EtherType::IPV6 | EtherType::ARP) => {
            write_payload(line, kind, payload, behind, around)
        }
        Some(kind) if kind.is_vlan_tag() => {
            write_payload(line, Some(kind), payload, behind, around)
        }
        kind => write_other(line, protocol.or(kind), len),
    }
}

/// Writes a payload of `len` bytes, whose protocol the header before it names.
fn write_payload(
    line: &mut LineWriter<'_>,
    protocol: Option<EtherType>,
    mut data: &[u8],
    mut len: usize,
    around: Around,
) -> fmt::Result {
    let Some(mut protocol) = protocol else {
        return write_other(line, None, len);
    };
    for _ in 0..MAX_VLAN_TAGS {
        if !protocol.is_vlan_tag() {
            break;
        }
        let Some(control) = be16(data, vlan::CONTROL) else {
            break;
        };
        write!(line.out, "vlan {} ", control & vlan::ID)?;
        let Some(inner) = be16(data, vlan::INNER_TYPE) else {
            return write_other(line, None, len);
        };
        protocol = EtherType(inner);
        data = &data[vlan::LEN..];
        len = len.saturating_sub(vlan::LEN);
    }
    match protocol {
        EtherType::IPV4 => write_ip_of(line, Version::V4, data, len, around),
        EtherType::IPV6 => write_ip_of(line, Version::V6, data, len, around),
        EtherType::ARP => arp::write(line, data, len, around),
        other => write_other(line, Some(other), len),
    }
}

/// Writes an IP packet of `len` bytes; its first nibble decides the version, else the protocol.
fn write_ip(
    line: &mut LineWriter<'_>,
    data: &[u8],
    len: usize,
    protocol: Option<EtherType>,
    around: Around,
) -> fmt::Result {
    let version = packet::protocol(LinkType::RAW, data).or(protocol);
    write_payload(line, version, data, len, around)
}

fn write_other(line: &mut LineWriter<'_>, protocol: Option<EtherType>, len: usize) -> fmt::Result {
    match protocol {
        Some(protocol) => write!(line.out, "{}, length {len}", EtherTypeName(protocol)),
        None => write!(line.out, "unknown, length {len}"),
    }
}

/// Writes an IP packet of `len` bytes in a given layout.
fn write_ip_of(
    line: &mut LineWriter<'_>,
    version: Version,
    data: &[u8],
    len: usize,
    around: Around,
) -> fmt::Result {
    let ip = Ip::new(version, data);
    line.out.write_str(match version {
        Version::V4 => "IP",
        Version::V6 => "IP6",
    })?;
    let fault = around.judge(|| check::ip(&ip, len, line.path));
    let Some(protocol) = ip.protocol else {
        // The packet was cut before the protocol number, and so before the addresses.
        if fault.is_none() {
            return write!(line.out, ", length {len}");
        }
        line.out.write_str(" ")?;
        line.tell(fault, around)?;
        return write!(line.out, "length {len}");
    };
    line.out.write_str(" ")?;
    let around = line.tell(fault, around)?;
    write_ends(line, &ip)?;
    let end = ip.stated_end.unwrap_or(len);
    let carried = IpPayload {
        ip: &ip,
        len: end.saturating_sub(ip.payload_at),
        path: line.path,
    };
    if ip.fragment.is_some() {
        let name = ProtocolName(protocol);
        return write!(line.out, "{name} fragment, length {}", carried.len);
    }
    match protocol {
        number::TCP => transport::write_tcp(line, &carried, around),
        number::UDP => transport::write_udp(line, &carried, around),
        number::ICMP => icmp::write(line, &carried, Version::V4, around),
        number::ICMPV6 => icmp::write(line, &carried, Version::V6, around),
        number::GRE => tunnel::write_gre(line, &carried, around),
        number::IPIP | number::IPV6 if !around.is_deepest() && !ip.payload.is_empty() => {
            write!(line.out, "{} ", ProtocolName(protocol))?;
            write_ip(line, ip.payload, carried.len, None, around.inside())
        }
        _ => transport::write_other(line, protocol, &carried, around),
    }
}

/// Writes addresses and ports, as far as they were captured.
fn write_ends(line: &mut LineWriter<'_>, ip: &Ip<'_>) -> fmt::Result {
    if ip.source.is_none() && ip.destination.is_none() {
        return Ok(());
    }
    let (source, destination) = ip.ports();
    write_end(line, ip.source, source)?;
    line.out.write_str(" > ")?;
    write_end(line, ip.destination, destination)?;
    line.out.write_str(": ")
}

fn write_end(line: &mut LineWriter<'_>, address: Option<IpAddr>, port: Option<u16>) -> fmt::Result {
    match address {
        Some(address) => write!(line.out, "{address}")?,
        None => line.out.write_str("?")?,
    }
    match port {
        Some(port) => write!(line.out, ".{port}"),
        None => Ok(()),
    }
}
