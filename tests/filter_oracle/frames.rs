//! Frames that are odd: options, fragments, extension headers, tags and tunnels, cut and whole.

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    framed([2, 0, 0, 0, 0, 2], kind, payload)
}

fn framed(destination: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [
        &destination[..],
        &[2, 0, 0, 0, 0, 1],
        &kind.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// An IPv4 header with options of `options` words, and what follows it.
fn ipv4(protocol: u8, fragment: u16, options: usize, to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + 4 * options + payload.len()).unwrap();
    let mut header = vec![0x45 + u8::try_from(options).unwrap(), 0];
    header.extend(length.to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0xab, 0xcd]);
    header.extend([10, 0, 0, 1]);
    header.extend(to);
    // No operation (RFC 791, 3.1).
    header.extend(std::iter::repeat_n(1, 4 * options));
    header.extend(payload);
    header
}

const TO: [u8; 4] = [10, 0, 1, 2];

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    header.extend([next, 64]);
    header.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    header.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    header.extend(payload);
    header
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// Sequence 1, acknowledgment 2, header of 5 words, flags, window 64, checksum, urgent pointer.
fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0, 64, 0, 0, 0, 0];
    [&ports(source, destination)[..], &rest].concat()
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    [
        &ports(source, destination)[..],
        &length.to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat()
}

/// Next header, length 0, six bytes of padding (RFC 8200, 4.3).
fn extension(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], payload].concat()
}

/// Next header, reserved, offset and flags, identification (RFC 8200, 4.5).
fn fragment(next: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    [&[next, 0, high, low, 0, 0, 0, 7], payload].concat()
}

/// Next header, 4 words less 2, reserved, index, sequence, a check value of 4 bytes (RFC 4302, 2).
fn authentication(next: u8, payload: &[u8]) -> Vec<u8> {
    [
        &[next, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9],
        payload,
    ]
    .concat()
}

fn tagged(kind: u16, id: u16, inner: u16, payload: &[u8]) -> Vec<u8> {
    frame(
        kind,
        &[&id.to_be_bytes()[..], &inner.to_be_bytes(), payload].concat(),
    )
}

/// A label, its traffic class 0, the bottom's bit, time to live 64 (RFC 3032, 2.1).
fn label(value: u32, bottom: bool) -> [u8; 4] {
    (value << 12 | u32::from(bottom) << 8 | 64).to_be_bytes()
}

/// Version and type 0x11, code 0, session, length, PPP's protocol (RFC 2516, 4).
fn pppoe(session: u16, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).unwrap();
    [
        &[0x11, 0][..],
        &session.to_be_bytes(),
        &length.to_be_bytes(),
        &protocol.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// Ethernet, IPv4, operation, then sender and target (RFC 826).
fn arp(operation: u8) -> Vec<u8> {
    [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &[2, 0, 0, 0, 0, 1],
        &[10, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0],
        &TO,
    ]
    .concat()
}

pub type Frames = Vec<(&'static str, Vec<u8>)>;

pub fn odd_frames() -> Frames {
    [odd_ipv4(), odd_ipv6(), odd_links()].concat()
}

/// To 10.0.1.2.
fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4(protocol, 0, 0, TO, payload)
}

fn syn() -> Vec<u8> {
    tcp(1234, 80, 0x02)
}

fn dns() -> Vec<u8> {
    udp(5353, 53, b"question")
}

/// What an ICMP error or a tunnel holds.
fn quoted() -> Vec<u8> {
    ipv4(17, 0, 0, [10, 0, 0, 9], &udp(40000, 33434, b""))
}

fn odd_ipv4() -> Frames {
    let (syn, dns, quoted) = (syn(), dns(), quoted());
    let ip = |protocol, payload: &[u8]| frame(0x0800, &ip4(protocol, payload));
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &quoted].concat();
    vec![
        ("tcp syn", ip(6, &syn)),
        ("tcp rst ack from 443", ip(6, &tcp(443, 50000, 0x14))),
        ("tcp fin to ssh", ip(6, &tcp(50000, 22, 0x11))),
        ("udp dns", ip(17, &dns)),
        ("udp to 6005", ip(17, &udp(1, 6005, b""))),
        ("sctp", ip(132, &[&ports(80, 9999)[..], &[0; 8]].concat())),
        ("icmp echo", ip(1, &[8, 0, 0, 0, 0, 1, 0, 1])),
        ("icmp error", ip(1, &error)),
        (
            "igmp",
            frame(
                0x0800,
                &ipv4(2, 0, 1, [224, 0, 0, 22], &[0x22, 0, 0, 0, 0, 0, 0, 0]),
            ),
        ),
        (
            "pim",
            frame(0x0800, &ipv4(103, 0, 0, [224, 0, 0, 13], &[0x20, 0, 0, 0])),
        ),
        (
            "vrrp",
            frame(
                0x0800,
                &ipv4(112, 0, 0, [224, 0, 0, 18], &[0x31, 1, 100, 0]),
            ),
        ),
        ("igrp", ip(9, &[1, 2, 3, 4])),
        ("esp", ip(50, &[0, 0, 0, 1, 0, 0, 0, 1])),
        ("ah, tcp", ip(51, &authentication(6, &syn))),
        ("ospf", ip(89, &[2, 1, 0, 44])),
        ("eigrp", ip(88, &[2, 1, 0, 44])),
        ("gre", ip(47, &[&[0, 0, 8, 0][..], &quoted].concat())),
        ("ipip", ip(4, &quoted)),
        ("6in4", ip(41, &ipv6(17, &dns))),
        (
            "limited broadcast",
            framed(
                [0xff; 6],
                0x0800,
                &ipv4(17, 0, 0, [255; 4], &udp(68, 67, b"")),
            ),
        ),
        (
            "to nobody",
            framed(
                [0xff; 6],
                0x0800,
                &ipv4(17, 0, 0, [0; 4], &udp(68, 67, b"")),
            ),
        ),
        ("ip options", frame(0x0800, &ipv4(6, 0, 10, TO, &syn))),
        ("impossible header length", {
            let mut frame = ip(6, &syn);
            frame[14] = 0x41;
            frame
        }),
        (
            "first fragment",
            frame(0x0800, &ipv4(17, 0x2000, 0, TO, &dns)),
        ),
        (
            "later fragment",
            frame(0x0800, &ipv4(17, 0x2001, 0, TO, &dns)),
        ),
        (
            "last fragment of tcp",
            frame(0x0800, &ipv4(6, 0x00b9, 0, TO, &syn)),
        ),
        (
            "dont fragment",
            frame(0x0800, &ipv4(6, 0x4000, 0, TO, &syn)),
        ),
        (
            "vxlan",
            ip(
                17,
                &udp(
                    9,
                    4789,
                    &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &ip(6, &syn)].concat(),
                ),
            ),
        ),
    ]
}

fn odd_ipv6() -> Frames {
    let (syn, dns, quoted) = (syn(), dns(), quoted());
    let ip6 = |next, payload: &[u8]| frame(0x86dd, &ipv6(next, payload));
    let error = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &ipv6(17, &dns)].concat();
    vec![
        ("ip6 tcp", ip6(6, &syn)),
        ("ip6 udp", ip6(17, &dns)),
        (
            "ip6 sctp",
            ip6(132, &[&ports(80, 9999)[..], &[0; 8]].concat()),
        ),
        ("ip6 icmp6 echo", ip6(58, &[128, 0, 0, 0, 0, 1, 0, 1])),
        (
            "ip6 neighbour",
            framed([0x33, 0x33, 0, 0, 0, 1], 0x86dd, &{
                let mut packet = ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0]);
                packet[24..40]
                    .copy_from_slice(&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                packet
            }),
        ),
        ("ip6 icmp6 error", ip6(58, &error)),
        (
            "ip6 hop by hop, mld",
            ip6(0, &extension(58, &[143, 0, 0, 0])),
        ),
        ("ip6 destination options, tcp", ip6(60, &extension(6, &syn))),
        ("ip6 routing, udp", ip6(43, &extension(17, &dns))),
        (
            "ip6 first fragment, udp",
            ip6(44, &fragment(17, 0x0001, &dns)),
        ),
        (
            "ip6 later fragment, udp",
            ip6(44, &fragment(17, 0x00b9, &dns)),
        ),
        (
            "ip6 fragment of icmp6",
            ip6(44, &fragment(58, 0x0001, &[128, 0, 0, 0])),
        ),
        (
            "ip6 three extensions, tcp",
            ip6(0, &extension(43, &extension(60, &extension(6, &syn)))),
        ),
        (
            "ip6 ah, destination options, tcp",
            ip6(51, &authentication(60, &extension(6, &syn))),
        ),
        ("ip6 no next header", ip6(59, &[1, 2, 3])),
        ("ip6 gre", ip6(47, &[&[0, 0, 8, 0][..], &quoted].concat())),
    ]
}

fn odd_links() -> Frames {
    let (syn, dns) = (syn(), dns());
    vec![
        ("arp request", framed([0xff; 6], 0x0806, &arp(1))),
        ("arp reply", frame(0x0806, &arp(2))),
        ("rarp", framed([0xff; 6], 0x8035, &arp(3))),
        ("vlan 5, tcp", tagged(0x8100, 5, 0x0800, &ip4(6, &syn))),
        (
            "vlan 100 with priority, ip6",
            tagged(0x8100, 0xe064, 0x86dd, &ipv6(17, &dns)),
        ),
        (
            "qinq 5 in 100",
            tagged(
                0x88a8,
                100,
                0x8100,
                &[&[0, 5, 8, 0][..], &ip4(17, &dns)].concat(),
            ),
        ),
        (
            "old qinq",
            tagged(0x9100, 7, 0x0800, &ip4(1, &[8, 0, 0, 0])),
        ),
        ("vlan 5, arp", tagged(0x8100, 5, 0x0806, &arp(1))),
        (
            "vlan 5, spanning tree",
            tagged(0x8100, 5, 38, &[0x42, 0x42, 3, 0, 0]),
        ),
        (
            "mpls, ip",
            frame(0x8847, &[&label(16, true)[..], &ip4(6, &syn)].concat()),
        ),
        (
            "two labels, ip6",
            frame(
                0x8847,
                &[&label(100, false)[..], &label(16, true), &ipv6(17, &dns)].concat(),
            ),
        ),
        (
            "vlan 5, mpls",
            tagged(
                0x8100,
                5,
                0x8847,
                &[&label(16, true)[..], &ip4(17, &dns)].concat(),
            ),
        ),
        ("pppoe discovery", frame(0x8863, &[0x11, 9, 0, 0, 0, 0])),
        ("pppoe, ip", frame(0x8864, &pppoe(3, 0x21, &ip4(6, &syn)))),
        (
            "pppoe, ip6",
            frame(0x8864, &pppoe(0x1234, 0x57, &ipv6(6, &syn))),
        ),
        (
            "pppoe, lcp",
            frame(0x8864, &pppoe(3, 0xc021, &[9, 0, 0, 8])),
        ),
        (
            "spanning tree",
            framed(
                [1, 0x80, 0xc2, 0, 0, 0],
                38,
                &[0x42, 0x42, 3, 0, 0, 0, 0, 0],
            ),
        ),
        ("novell", frame(34, &[0xff, 0xff, 0, 34, 0, 0])),
        ("ipx in llc", frame(34, &[0xe0, 0xe0, 3, 0xff, 0xff])),
        (
            "ipx in snap",
            frame(34, &[0xaa, 0xaa, 3, 0, 0, 0, 0x81, 0x37, 1]),
        ),
        (
            "appletalk in snap",
            frame(34, &[0xaa, 0xaa, 3, 8, 0, 7, 0x80, 0x9b, 1]),
        ),
        ("netbeui", frame(34, &[0xf0, 0xf0, 3, 1])),
        (
            "is-is",
            framed([1, 0x80, 0xc2, 0, 0, 0x14], 34, &[0xfe, 0xfe, 3, 0x83]),
        ),
        ("llc supervisory", frame(10, &[0x42, 0x43, 0x05, 0x01])),
        ("llc information", frame(10, &[0x42, 0x43, 0x04, 0x02])),
        ("llc test", frame(10, &[0, 0, 0xf3, 1])),
        (
            "lldp",
            framed(
                [1, 0x80, 0xc2, 0, 0, 0xe],
                0x88cc,
                &[2, 7, 4, 2, 0, 0, 0, 0, 1],
            ),
        ),
        ("unknown type", frame(0x88b5, &[1, 2, 3, 4])),
        ("claims ip, is not", frame(0x0800, &[0xff; 24])),
    ]
}
