//! Tests each fault by itself: its description, and the rest of the line.

use super::{
    ETHERNET, IP, TRANSPORT, TRANSPORT6, changed, damaged, echo4, echo6, fault_text, frame, gre,
    ip4, ip6, request, tcp4, text, udp4, udp6,
};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_wrong_field_is_named_and_the_rest_of_the_packet_is_shown() {
    let cases: &[(Vec<u8>, &str, &str)] = &[
        (
            changed(udp4(), IP, &[0x55]),
            "ip version 5, expected 4",
            "IP [version error: 5 != 4] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            changed(udp4(), IP, &[0x41]),
            "ip header length 4, at least 20",
            "IP [bad-hlen 4] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            changed(udp4(), IP, &[0x4f]),
            "ip header length 60, at most 32",
            "IP [bad-hlen 60, > 32] 10.0.0.1 > 10.0.0.2: UDP, length 0",
        ),
        (
            damaged(udp4(), IP + 10, &[0xde, 0xad]),
            "ip checksum 0xdead, expected 0x26cb",
            "IP [bad cksum dead (->26cb)!] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            changed(udp4(), IP + 2, &[0, 19]),
            "ip total length 19, at least 20",
            "IP [bad-len 19] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            changed(udp4(), IP + 2, &[0, 0]),
            "ip total length 0, at least 20",
            "IP [bad-len 0] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            changed(udp4(), IP + 2, &[0, 33]),
            "ip total length 33, at most 32",
            "IP [truncated-ip - 1 bytes missing!] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            changed(udp4(), IP + 6, &[0x1f, 0xff]),
            "ip fragment offset 65528, at most 65523",
            "IP [bad fragment offset 65528 - too long, > 65523] 10.0.0.1 > 10.0.0.2: UDP fragment, length 12",
        ),
        (
            changed(udp4(), IP + 8, &[0]),
            "ip ttl 0, at least 1",
            "IP [ttl 0] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            // An option without a length, before the UDP header.
            changed(
                changed(
                    ip4(17, &[7, 0, 0, 0, 4, 0, 0, 53, 0, 12, 0, 0]),
                    IP,
                    &[0x46],
                ),
                IP,
                &[0x46],
            ),
            "ip option 7",
            "IP [bad option 7] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            damaged(udp6(), IP, &[0x50]),
            "ip6 version 5, expected 6",
            "IP6 [version error: 5 != 6] fd00::1.1024 > fd00::2.53: UDP, length 4",
        ),
        (
            damaged(udp6(), IP + 4, &[0, 13]),
            "ip6 payload length 13, at most 12",
            "IP6 [truncated-ip6 - 1 bytes missing!] fd00::1.1024 > fd00::2.53: UDP, length 4",
        ),
        (
            damaged(udp6(), IP + 4, &[0, 0]),
            "ip6 payload length 0, at least 1",
            "IP6 [bad payload length 0 - too short, < 1] fd00::1.1024 > fd00::2.53: UDP, length 4",
        ),
        (
            damaged(udp6(), IP + 7, &[0]),
            "ip6 hop limit 0, at least 1",
            "IP6 [hlim 0] fd00::1.1024 > fd00::2.53: UDP, length 4",
        ),
        (
            ip6(60, &[17, 1, 0, 0, 0, 0, 0, 0]),
            "ip6 extension header 60",
            "IP6 [bad extension header 60] fd00::1 > fd00::2: ip-proto-60, length 8",
        ),
        (
            ip6(60, &[59, 0, 1, 5, 0, 0, 0, 0]),
            "ip6 option 1",
            "IP6 [bad option 1] fd00::1 > fd00::2: ip-proto-59, length 0",
        ),
        (
            ip6(60, &[0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0]),
            "ip6 extension header 0",
            "IP6 [bad extension header 0] fd00::1 > fd00::2: ip-proto-59, length 0",
        ),
        (
            damaged(udp4(), TRANSPORT + 4, &[0, 7]),
            "udp length 7, at least 8",
            "IP 10.0.0.1.1024 > 10.0.0.2.53: [bad length 7 - too short, < 8] UDP, length 0",
        ),
        (
            damaged(udp4(), TRANSPORT + 4, &[0, 13]),
            "udp length 13, at most 12",
            "IP 10.0.0.1.1024 > 10.0.0.2.53: [bad length 13 - too long, > 12] UDP, length 5",
        ),
        (
            damaged(udp4(), TRANSPORT + 6, &[0xbe, 0xef]),
            "udp checksum 0xbeef, expected 0x08ce",
            "IP 10.0.0.1.1024 > 10.0.0.2.53: [bad udp cksum 0xbeef -> 0x08ce!] UDP, length 4",
        ),
        (
            ip4(17, &[4, 0, 0, 53, 0]),
            "udp size 5, at least 8",
            "IP 10.0.0.1.1024 > 10.0.0.2.53: [too short: 5 bytes, < 8] UDP, length 0",
        ),
        (
            damaged(udp6(), TRANSPORT6 + 6, &[0, 0]),
            "udp checksum 0x0000, expected 0x22cc",
            "IP6 fd00::1.1024 > fd00::2.53: [bad udp cksum 0x0000 -> 0x22cc!] UDP, length 4",
        ),
        (
            damaged(tcp4(), TRANSPORT + 12, &[0x20]),
            "tcp header length 8, at least 20",
            "IP 10.0.0.1.1024 > 10.0.0.2.80: [bad hdr length 8 - too short, < 20] Flags [S], seq 7, win 512, length 8",
        ),
        (
            damaged(tcp4(), TRANSPORT + 12, &[0x80]),
            "tcp header length 32, at most 28",
            "IP 10.0.0.1.1024 > 10.0.0.2.80: [bad hdr length 32 - too long, > 28] Flags [S], seq 7, win 512, length 0",
        ),
        (
            damaged(tcp4(), TRANSPORT + 16, &[0xbe, 0xef]),
            "tcp checksum 0xbeef, expected 0x6bc8",
            "IP 10.0.0.1.1024 > 10.0.0.2.80: [bad tcp cksum 0xbeef -> 0x6bc8!] Flags [S], seq 7, win 512, length 0",
        ),
        (
            // The length of the first option; the checksum no longer matches either.
            damaged(
                damaged(tcp4(), TRANSPORT + 21, &[9]),
                TRANSPORT + 16,
                &[0x6b, 0xc3],
            ),
            "tcp option 2",
            "IP 10.0.0.1.1024 > 10.0.0.2.80: [bad option 2] Flags [S], seq 7, win 512, length 0",
        ),
        (
            ip4(6, &[4, 0, 0, 80, 0, 0, 0, 7]),
            "tcp size 8, at least 20",
            "IP 10.0.0.1.1024 > 10.0.0.2.80: [too short: 8 bytes, < 20] TCP, length 8",
        ),
        (
            damaged(echo4(), TRANSPORT + 2, &[0xbe, 0xef]),
            "icmp checksum 0xbeef, expected 0x192c",
            "IP 10.0.0.1 > 10.0.0.2: [bad icmp cksum 0xbeef -> 0x192c!] ICMP echo request, id 1, seq 2, length 12",
        ),
        (
            ip4(1, &[8, 0, 0, 0, 0, 1]),
            "icmp size 6, at least 8",
            "IP 10.0.0.1 > 10.0.0.2: [too short: 6 bytes, < 8] ICMP echo request, id 1, length 6",
        ),
        (
            damaged(echo6(), TRANSPORT6 + 2, &[0xbe, 0xef]),
            "icmp6 checksum 0xbeef, expected 0xa6e0",
            "IP6 fd00::1 > fd00::2: [bad icmp6 cksum 0xbeef -> 0xa6e0!] ICMP6, echo request, id 1, seq 2, length 12",
        ),
        (
            gre(0x2007),
            "gre version 7, at most 1",
            "IP 10.0.0.1 > 10.0.0.2: [bad version 7] GREv7, proto 0x0800, length 40",
        ),
        (
            gre(0x2400),
            "gre flags 0x2400",
            "IP 10.0.0.1 > 10.0.0.2: [bad flags 0x2400] GREv0, key=0x7: IP 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            ip4(47, &[0x20, 0, 8, 0, 0, 0]),
            "gre size 6, at least 8",
            "IP 10.0.0.1 > 10.0.0.2: [too short: 6 bytes, < 8] GREv0, proto 0x0800, length 6",
        ),
        (
            damaged(gre(0x2000), TRANSPORT + 8 + 10, &[0xde, 0xad]),
            "inner ip checksum 0xdead, expected 0x26cb",
            "IP 10.0.0.1 > 10.0.0.2: GREv0, key=0x7: IP [bad cksum dead (->26cb)!] 10.0.0.1.1024 > 10.0.0.2.53: UDP, length 4",
        ),
        (
            damaged(request(), ETHERNET + 4, &[8]),
            "arp hardware length 8, expected 6",
            "ARP [bad hardware length 8 != 6] Request who-has 10.0.0.2 tell 10.0.0.1, length 28",
        ),
        (
            damaged(request(), ETHERNET + 5, &[16]),
            "arp protocol length 16, expected 4",
            "ARP [bad protocol length 16 != 4] Request who-has 10.0.0.2 tell 10.0.0.1, length 28",
        ),
        (
            request()[..ETHERNET + 20].to_vec(),
            "arp size 20, at least 28",
            "ARP [too short: 20 bytes, < 28] Request tell 10.0.0.1, length 20",
        ),
        (
            udp4()[..IP + 18].to_vec(),
            "ip size 18, at least 20",
            "IP [too short: 18 bytes, < 20] 10.0.0.1 > ?: UDP, length 4",
        ),
    ];
    for (data, expected, line) in cases {
        let record = frame(data);
        assert_eq!(fault_text(&record), *expected, "{line}");
        assert_eq!(text(&record), *line);
    }
}
