//! A packet in words, in tcpdump's manner: `IP 10.10.2.4.34174 > 10.10.2.2.9999: UDP, length 32`.
//! Goes as far as the bytes go, and into tunnels and quoted packets up to a bound.

mod icmp;
mod names;
mod transport;
mod tunnel;

use std::fmt;
use std::net::IpAddr;

use etherparse::{ArpPacketSlice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket};

use crate::packet;
use crate::record::{Basis, DropRecord, EtherType, LinkType};
use names::EtherTypeName;
pub use names::ProtocolName;

/// Packets inside packets are shown to this depth; below it, only their length.
const MAX_DEPTH: u8 = 4;

/// A record's packet; its [`Display`](fmt::Display) is one line without an end.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    link: LinkType,
    /// The kernel's word, where it counts for more than the bytes: the link type is a guess.
    protocol: Option<EtherType>,
    data: &'a [u8],
    original_len: u32,
}

impl<'a> Packet<'a> {
    /// The packet of a record.
    pub fn new(record: &DropRecord<'a>) -> Self {
        Self {
            link: record.link.kind,
            protocol: record
                .protocol
                .filter(|_| record.link.basis == Basis::Assumed),
            data: record.data,
            original_len: record.original_len,
        }
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.link {
            LinkType::ETHERNET => {
                write_ethernet(f, self.data, self.original_len, self.protocol, 0)?;
            }
            LinkType::RAW => write_ip(f, self.data, self.original_len, 0)?,
            other => match packet::header_len(other) {
                Some(header) => {
                    let protocol = packet::protocol(other, self.data);
                    let payload = self.data.get(header..).unwrap_or_default();
                    let header = u32::try_from(header).unwrap_or(u32::MAX);
                    let len = self.original_len.saturating_sub(header);
                    write_payload(f, protocol, payload, len, 0)?;
                }
                None => write!(f, "{other}, length {}", self.original_len)?,
            },
        }
        if self.data.len() < self.original_len as usize {
            write!(f, " [{} of {} bytes]", self.data.len(), self.original_len)?;
        }
        Ok(())
    }
}

/// An Ethernet frame of `len` bytes.
fn write_ethernet(
    f: &mut fmt::Formatter<'_>,
    data: &[u8],
    len: u32,
    protocol: Option<EtherType>,
    depth: u8,
) -> fmt::Result {
    let Ok(sliced) = LaxSlicedPacket::from_ethernet(data) else {
        return write_other(f, protocol, len);
    };
    let tags = sliced
        .link_exts
        .iter()
        .filter_map(|extension| match extension {
            LaxLinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
            LaxLinkExtSlice::Macsec(_) => None,
        });
    for tag in tags {
        write!(f, "vlan {tag} ")?;
    }
    if sliced.net.is_some() {
        return write_sliced(f, &sliced, len, depth);
    }
    let payload = sliced.ether_payload();
    let kind = payload
        .as_ref()
        .map(|payload| EtherType(payload.ether_type.0));
    match kind {
        // A length: an LLC frame (IEEE 802.3, 3.2.6).
        Some(EtherType(0..=0x5ff)) if protocol.is_none() => {
            let llc = payload.map_or(&[][..], |payload| payload.payload);
            names::write_llc(f, llc)?;
            write!(f, ", length {len}")
        }
        kind => write_other(f, protocol.or(kind), len),
    }
}

/// What follows a header that names its protocol.
fn write_payload(
    f: &mut fmt::Formatter<'_>,
    protocol: Option<EtherType>,
    data: &[u8],
    len: u32,
    depth: u8,
) -> fmt::Result {
    let Some(protocol) = protocol else {
        return write_other(f, None, len);
    };
    let sliced = LaxSlicedPacket::from_ether_type(etherparse::EtherType(protocol.0), data);
    match sliced.net {
        Some(_) => write_sliced(f, &sliced, len, depth),
        None => write_other(f, Some(protocol), len),
    }
}

/// An IPv4 or IPv6 packet, told by its first nibble.
fn write_ip(f: &mut fmt::Formatter<'_>, data: &[u8], len: u32, depth: u8) -> fmt::Result {
    match LaxSlicedPacket::from_ip(data) {
        Ok(sliced) => write_sliced(f, &sliced, len, depth),
        Err(_) => write_other(f, packet::protocol(LinkType::RAW, data), len),
    }
}

fn write_other(f: &mut fmt::Formatter<'_>, protocol: Option<EtherType>, len: u32) -> fmt::Result {
    match protocol {
        Some(protocol) => write!(f, "{}, length {len}", EtherTypeName(protocol)),
        None => write!(f, "unknown, length {len}"),
    }
}

/// A packet whose network header was found.
fn write_sliced(
    f: &mut fmt::Formatter<'_>,
    sliced: &LaxSlicedPacket<'_>,
    len: u32,
    depth: u8,
) -> fmt::Result {
    let (source, destination, payload, carried): (IpAddr, IpAddr, _, usize) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let carried = usize::from(header.total_len()).saturating_sub(header.slice().len());
            f.write_str("IP ")?;
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                ip.payload(),
                carried,
            )
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let extensions = ip.extensions().slice().len();
            let carried = usize::from(header.payload_length()).saturating_sub(extensions);
            f.write_str("IP6 ")?;
            (
                header.source_addr().into(),
                header.destination_addr().into(),
                ip.payload(),
                carried,
            )
        }
        Some(LaxNetSlice::Arp(arp)) => return write_arp(f, arp, len),
        None => return write_other(f, None, len),
    };
    if payload.fragmented {
        let number = payload.ip_number.0;
        return write!(
            f,
            "{source} > {destination}: {} fragment, length {carried}",
            ProtocolName(number)
        );
    }
    if let Some(transport) = &sliced.transport {
        return transport::write(f, source, destination, transport, carried, depth);
    }
    write!(f, "{source} > {destination}: ")?;
    tunnel::write_ip_payload(f, payload.ip_number.0, payload.payload, carried, depth)
}

/// An ARP message (RFC 826).
fn write_arp(f: &mut fmt::Formatter<'_>, arp: &ArpPacketSlice<'_>, len: u32) -> fmt::Result {
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let sender = address(arp.sender_protocol_addr());
    let target = address(arp.target_protocol_addr());
    match (arp.operation().0, sender, target) {
        (1, Some(sender), Some(target)) => {
            write!(f, "ARP, Request who-has {target} tell {sender}")?;
        }
        (2, Some(sender), _) => {
            write!(
                f,
                "ARP, Reply {sender} is-at {}",
                names::Mac(arp.sender_hw_addr())
            )?;
        }
        (operation, ..) => write!(f, "ARP, operation {operation}")?,
    }
    write!(f, ", length {len}")
}
