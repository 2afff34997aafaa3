//! Tests packets that are unusual but correct, and the output for malformed ones.

use super::{
    IP, TRANSPORT, TRANSPORT6, changed, damaged, fault_text, frame, ip6, received, tcp4, text,
    udp4, udp6, v4, v6,
};
use crate::packet;
use crate::record::{Cause, DropRecord, LinkType};

#[test]
fn a_checksum_that_the_device_completes_or_that_is_optional_is_no_fault() {
    // The sum of the pseudo-header, which a sender leaves if the device computes the rest.
    let (mut tcp, mut udp) = (tcp4(), udp4());
    for (data, at, protocol) in [(&mut tcp, 16, 6), (&mut udp, 6, 17)] {
        let len = u32::try_from(data.len() - TRANSPORT).unwrap();
        let sum = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + protocol + len;
        let sum = u16::try_from(sum).unwrap();
        data[TRANSPORT + at..TRANSPORT + at + 2].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(fault_text(&frame(data)), "");
        data[TRANSPORT + at] ^= 1;
        assert_ne!(fault_text(&frame(data)), "");
    }
    // No checksum: over IPv4, and in tunnels over IPv6.
    assert_eq!(
        fault_text(&frame(&damaged(udp4(), TRANSPORT + 6, &[0, 0]))),
        ""
    );
    let vxlan = damaged(udp6(), TRANSPORT6 + 2, &4789_u16.to_be_bytes());
    assert_eq!(
        fault_text(&frame(&damaged(vxlan, TRANSPORT6 + 6, &[0, 0]))),
        ""
    );
}

#[test]
fn checksums_of_local_packets_are_not_verified() {
    let bad_udp = damaged(udp4(), TRANSPORT + 6, &[0xbe, 0xef]);
    let bad_ip = damaged(udp4(), IP + 10, &[0, 0]);
    for data in [&bad_udp, &bad_ip] {
        let sent = DropRecord {
            input: None,
            ..frame(data)
        };
        assert_eq!(fault_text(&sent), "");
    }
    // A packet of a capture without drop facts.
    let unknown = |data| DropRecord {
        cause: Cause::Unknown,
        ..frame(data)
    };
    assert_eq!(fault_text(&unknown(&bad_ip)), "");
    assert!(fault_text(&unknown(&bad_udp)).starts_with("udp checksum 0xbeef"));
}

#[test]
fn missing_bytes_are_no_fault() {
    let bad = damaged(udp4(), TRANSPORT + 6, &[0xbe, 0xef]);
    for captured in 0..bad.len() {
        let record = received(LinkType::ETHERNET, &bad[..captured], bad.len());
        assert_eq!(fault_text(&record), "", "{captured}");
    }
}

#[test]
fn lengths_that_offloading_leaves_at_0_are_no_fault() {
    let large = |mut data: Vec<u8>| {
        data.resize(70_000, 0);
        data
    };
    // IP packets of more than 65535 bytes: IPv4 has a total length of 0, IPv6 a payload length of
    // 0.
    let tcp = large(changed(tcp4(), IP + 2, &[0, 0]));
    assert_eq!(fault_text(&frame(&tcp)), "");
    let mut data = Vec::new();
    let segment = v6().tcp(1, 2, 3, 4);
    segment.write(&mut data, b"").unwrap();
    assert_eq!(
        fault_text(&frame(&large(damaged(data, IP + 4, &[0, 0])))),
        ""
    );
    // A jumbogram with its option (RFC 2675, 2), and UDP without a length.
    let mut jumbo = ip6(0, &[17, 0, 0xc2, 4, 0, 1, 0x11, 0x3a]);
    jumbo.extend([4, 0, 0, 53, 0, 0, 0xab, 0xcd]);
    assert_eq!(
        fault_text(&frame(&large(damaged(jumbo, IP + 4, &[0, 0])))),
        ""
    );
}

#[test]
fn multicast_that_stays_on_its_host_has_no_time_to_live() {
    let data = damaged(udp4(), IP + 16, &[224]);
    let data = changed(data, IP + 8, &[0]);
    assert!(!fault_text(&frame(&data)).contains("ttl"));
}

#[test]
fn a_packet_quoted_by_an_icmp_error_is_not_checked() {
    let mut quoted = damaged(udp4(), IP + 10, &[0xde, 0xad])[IP..].to_vec();
    quoted[8] = 0;
    let mut data = Vec::new();
    let error = etherparse::Icmpv4Type::DestinationUnreachable(
        etherparse::icmpv4::DestUnreachableHeader::Port,
    );
    v4().icmpv4(error).write(&mut data, &quoted).unwrap();
    assert_eq!(fault_text(&frame(&data)), "");
    assert_eq!(
        text(&frame(&data)),
        "IP 10.0.0.1 > 10.0.0.2: ICMP port unreachable [IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4], length 40"
    );
}

#[test]
fn a_stack_of_tags_does_not_hide_the_packet() {
    let packet = udp4();
    let mut data = packet[..12].to_vec();
    for tag in 1..=5 {
        data.extend([0x81, 0, 0, tag]);
    }
    data.extend(&packet[12..]);
    assert_eq!(
        text(&frame(&data)),
        "vlan 1 vlan 2 vlan 3 vlan 4 vlan 5 IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4"
    );
    let flow = packet::flow(LinkType::ETHERNET, &data).unwrap();
    assert_eq!(flow.ports, Some((1024, 53)));
}

#[test]
fn a_first_fragment_has_ports() {
    let data = changed(udp4(), IP + 6, &[0x20, 0]);
    assert_eq!(
        text(&frame(&data)),
        "IP 10.0.0.1.1024 > 10.0.0.2.53: UDP fragment, length 12"
    );
    let flow = packet::flow(LinkType::ETHERNET, &data).unwrap();
    assert_eq!(flow.ports, Some((1024, 53)));
}
