//! Packets for the tests, built by etherparse and then damaged.

mod faults;
mod no_faults;
mod properties;

use super::{DissectedPacket, Fault, InFull};
use crate::packet;
use crate::record::{Cause, DropRecord, Interface, Link, LinkType, Location};
use etherparse::{ArpOperation, PacketBuilder};

/// Returns a packet that interface 5 received, of which `original_len` bytes were on the wire.
fn received(link: LinkType, data: &[u8], original_len: usize) -> DropRecord<'_> {
    DropRecord {
        cause: Cause::Software {
            location: Location::default(),
            reason: None,
        },
        input: Some(Interface::new(5, None)),
        protocol: packet::protocol(link, data),
        original_len: u32::try_from(original_len).unwrap(),
        ..DropRecord::new(Link::known(link), data)
    }
}

fn frame(data: &[u8]) -> DropRecord<'_> {
    received(LinkType::ETHERNET, data, data.len())
}

fn text(record: &DropRecord<'_>) -> String {
    DissectedPacket::new(record).to_string()
}

fn fault(record: &DropRecord<'_>) -> Option<Fault> {
    DissectedPacket::new(record).fault()
}

/// Returns the whole description of the fault; empty if there is none.
fn fault_text(record: &DropRecord<'_>) -> String {
    fault(record).map_or_else(String::new, |fault| InFull(fault).to_string())
}

const ETHERNET: usize = 14;
const IP: usize = ETHERNET;
const TRANSPORT: usize = IP + 20;
const TRANSPORT6: usize = IP + 40;

fn ethernet() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn v4() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
}

fn v6() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let address = |last| {
        let mut address = [0; 16];
        (address[0], address[15]) = (0xfd, last);
        address
    };
    ethernet().ipv6(address(1), address(2), 64)
}

fn udp4() -> Vec<u8> {
    let mut data = Vec::new();
    v4().udp(1024, 53).write(&mut data, b"ping").unwrap();
    data
}

fn udp6() -> Vec<u8> {
    let mut data = Vec::new();
    v6().udp(1024, 53).write(&mut data, b"ping").unwrap();
    data
}

fn tcp4() -> Vec<u8> {
    let mut data = Vec::new();
    let segment = v4().tcp(1024, 80, 7, 512).syn();
    let options = [2, 4, 5, 0xb4, 1, 1, 1, 0];
    let segment = segment.options_raw(&options).unwrap();
    segment.write(&mut data, b"").unwrap();
    data
}

fn echo4() -> Vec<u8> {
    let mut data = Vec::new();
    v4().icmpv4_echo_request(1, 2)
        .write(&mut data, b"ping")
        .unwrap();
    data
}

fn echo6() -> Vec<u8> {
    let mut data = Vec::new();
    v6().icmpv6_echo_request(1, 2)
        .write(&mut data, b"ping")
        .unwrap();
    data
}

fn request() -> Vec<u8> {
    let mut data = Vec::new();
    let message = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        ArpOperation::REQUEST,
        &[2, 0, 0, 0, 0, 1],
        &[10, 0, 0, 1],
        &[0; 6],
        &[10, 0, 0, 2],
    );
    let message = ethernet().arp(message.unwrap());
    message.write(&mut data).unwrap();
    data
}

/// Returns GRE over IPv4 with a key, and the IPv4 packet of `udp4` in it.
fn gre(flags: u16) -> Vec<u8> {
    let mut payload = flags.to_be_bytes().to_vec();
    payload.extend([8, 0, 0, 0, 0, 7]);
    payload.extend(&udp4()[IP..]);
    ip4(47, &payload)
}

/// Returns IPv4 with any payload.
fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    v4().write(&mut data, etherparse::IpNumber(protocol), payload)
        .unwrap();
    data
}

/// Returns IPv6 with any payload.
fn ip6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    v6().write(&mut data, etherparse::IpNumber(253), payload)
        .unwrap();
    data[IP + 6] = protocol;
    data
}

/// Changes bytes and corrects the IPv4 header's checksum.
fn changed(mut data: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    data[at..at + bytes.len()].copy_from_slice(bytes);
    if data[12..14] == [8, 0] {
        let header_len = usize::from(data[IP] & 0x0f) * 4;
        data[IP + 10..IP + 12].fill(0);
        let header = data.get(IP..IP + header_len).unwrap_or(&[]);
        let sum: u32 = header
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
        data[IP + 10..IP + 12].copy_from_slice(&(!folded).to_be_bytes());
    }
    data
}

/// Changes bytes and corrects no checksum.
fn damaged(mut data: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    data[at..at + bytes.len()].copy_from_slice(bytes);
    data
}
