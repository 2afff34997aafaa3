//! Tests the words that tcpdump does not have; tests/filter_oracle compares the others.

use crate::record::{Cause, Direction, DropRecord, Heading, LinkType, Stack};

use super::parse;
use super::records::{hardware, interface, record, software};

#[track_caller]
fn check(packet: &DropRecord<'_>, kept: &[&str], rejected: &[&str]) {
    for text in kept {
        assert!(parse(text).matches(packet), "`{text}` rejects it");
    }
    for text in rejected {
        assert!(!parse(text).matches(packet), "`{text}` keeps it");
    }
}

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    [
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..],
        &kind.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// Returns a packet from 10.0.0.1 to 10.0.1.2.
fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    [
        &[0x45, 0][..],
        &length.to_be_bytes(),
        &[0, 1],
        &fragment.to_be_bytes(),
        &[64, protocol, 0, 0],
        &[10, 0, 0, 1],
        &[10, 0, 1, 2],
        payload,
    ]
    .concat()
}

/// Returns a packet from 2001:db8::1 to 2001:db8::2.
fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let length = u16::try_from(payload.len()).unwrap();
    [
        &[0x60, 0, 0, 0][..],
        &length.to_be_bytes(),
        &[next, 64],
        &address(1),
        &address(2),
        payload,
    ]
    .concat()
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &[0, 8, 0, 0],
        payload,
    ]
    .concat()
}

#[test]
fn a_software_drop_has_a_reason_and_a_location() {
    let mut packet = record(LinkType::ETHERNET, &[]);
    packet.cause = software("NO_SOCKET", "__udp4_lib_rcv.constprop.0+0x235/0xd90 [odd]");
    if let Cause::Software { location, .. } = &mut packet.cause {
        location.stack = Stack::new(b"gre_rcv.isra.0+0x1/0x2 [gre];ip_rcv+0x3/0x4");
    }
    packet.input = Some(interface(5, "eth0"));
    check(
        &packet,
        &[
            "stack gre_rcv",
            "stack ip_rcv and gre_rcv.isra.0",
            "stack ip_*",
            "stack *rcv+0x3/0x4",
            "stack \"* [gre]\"",
            "stack = \"ip_rcv;gre_rcv.isra.0\"",
            "reason NO_SOCKET",
            "reason no_*",
            "reason SKB_DROP_REASON_NO_SOCKET",
            "reason OTHER or NO_SOCKET",
            "not reason OTHER",
            "location __udp4_lib_rcv",
            "location __udp4_lib_rcv.constprop.0",
            "location *udp4*",
            "module odd",
            "module o*",
            "pc 0xffffffffb3d420b5",
            "origin sw",
            "not origin hw",
            "not trap *",
            "not trap_group *",
            "iface 5",
            "iface eth0",
            "iface 4 or eth0",
            "ifname eth0",
            "on eth0",
            "inbound",
            "not outbound",
        ],
        &[
            "stack rcv",
            "stack \"gre_rcv.isra.0+0x1/0x2 [gre];ip_rcv+0x3/0x4\"",
            "stack = ip_rcv",
            "stack = \"gre_rcv.isra.0;ip_rcv\"",
            "stack = \"\"",
            "reason OTHER",
            "reason NO",
            "location __udp4_lib_rcv+0x235",
            "location udp4",
            "module gre",
            "pc 0x1",
            "origin hw",
            "trap *",
            "iface 4",
            "iface eth1",
            "ifname 5",
            "outbound",
        ],
    );
}

#[test]
fn a_hardware_drop_has_a_trap() {
    let mut packet = record(LinkType::ETHERNET, &[]);
    packet.cause = hardware();
    check(
        &packet,
        &[
            "origin hw",
            "trap blackhole_route",
            "trap black*",
            "trap_group l3_drops",
            "outbound",
            "not reason *",
        ],
        &[
            "origin sw",
            "trap blackhole",
            "reason *",
            "location *",
            "module *",
            "pc 0",
            "iface 0",
            "inbound",
        ],
    );
}

#[test]
fn a_symbol_truncated_before_its_module_has_no_module() {
    let mut packet = record(LinkType::ETHERNET, &[]);
    packet.cause = software("NO_SOCKET", "xfrm_input+0x4f0/0x1230 [xfrm");
    check(
        &packet,
        &["location xfrm_input", "not module xfrm*"],
        &["module *"],
    );
}

#[test]
fn words_for_the_drop_do_not_match_a_packet_without_facts() {
    let packet = record(LinkType::RAW, &[]);
    check(
        &packet,
        &["", "not origin sw", "not origin hw"],
        &["reason *", "origin sw", "pc 0"],
    );
}

#[test]
fn words_for_addresses_and_ports_look_through_tags_and_extension_headers() {
    let tagged = frame(
        0x8100,
        &[&[0, 5, 8, 0][..], &ipv4(17, 0, &udp(53, 5353, b""))].concat(),
    );
    check(
        &record(LinkType::ETHERNET, &tagged),
        &[
            "saddr 10.0.0.1",
            "daddr 10.0.1.0/24",
            "addr 10.0.1.2",
            "sport 53",
            "dport 5000-6000",
            "flow udp 10.0.0.1:53 10.0.1.2:5353",
            "flow udp 10.0.1.2:5353 10.0.0.1:53",
            "vlan 5 and host 10.0.0.1",
        ],
        &[
            "host 10.0.0.1",
            "port 53",
            "saddr 10.0.1.2",
            "dport 53",
            "flow tcp 10.0.0.1:53 10.0.1.2:5353",
            "flow udp 10.0.0.1:5353 10.0.1.2:53",
            "saddr 2001:db8::1",
        ],
    );
    let extension = [17, 0, 1, 4, 0, 0, 0, 0];
    let extended = ipv6(60, &[&extension[..], &udp(53, 5353, b"")].concat());
    check(
        &record(LinkType::RAW, &extended),
        &[
            "sport 53",
            "dport 5353",
            "saddr 2001:db8::/64",
            "flow udp [2001:db8::2]:5353 [2001:db8::1]:53",
        ],
        &["udp", "port 53", "flow udp 10.0.0.1:53 10.0.1.2:5353"],
    );
    let fragment = ipv6(
        44,
        &[&[17, 0, 0, 0xb9, 0, 0, 0, 7][..], &udp(53, 5353, b"")].concat(),
    );
    check(
        &record(LinkType::RAW, &fragment),
        &["not sport 53", "udp"],
        &["sport 53"],
    );
    let later = ipv4(17, 0xb9, &udp(53, 5353, b""));
    check(
        &record(LinkType::RAW, &later),
        &["not sport 53", "saddr 10.0.0.1"],
        &["sport 53"],
    );
}

#[test]
fn the_first_vlan_asks_for_a_tag_that_was_taken_off_and_moves_nothing() {
    let inside = ipv4(17, 0, &udp(1, 53, b""));
    let plain = frame(0x0800, &inside);
    let tagged = frame(0x8100, &[&[0, 6, 8, 0][..], &inside].concat());
    for (data, kept, rejected) in [
        (
            &plain,
            &[
                "vlan 5 and udp",
                "udp and vlan 5",
                "ip and vlan",
                "not (vlan and vlan)",
            ][..],
            &["vlan 6", "vlan and vlan", "vlan 5 and not udp"][..],
        ),
        (
            &tagged,
            &[
                "vlan 5 and vlan 6 and udp",
                "vlan and not udp",
                "not vlan 6",
            ],
            &["vlan 6", "vlan 5 and vlan 5", "vlan 5 and udp"],
        ),
    ] {
        let mut packet = record(LinkType::ETHERNET, data);
        packet.context.vlan = Some(5);
        check(&packet, kept, rejected);
        check(
            &packet,
            &["vlan = 5", "vlan = 4 or 5"],
            &["vlan = 6", "vlan = \"\""],
        );
    }
    let mut packet = record(LinkType::RAW, &inside);
    packet.context.vlan = Some(5);
    check(
        &packet,
        &["vlan", "vlan 5 and udp"],
        &["vlan 6", "vlan and vlan"],
    );
    // No tag was taken off the packet in a tunnel.
    let tunnelled = frame(0x0800, &ipv4(4, 0, &inside));
    let mut packet = record(LinkType::ETHERNET, &tunnelled);
    packet.context.vlan = Some(5);
    check(&packet, &["vlan and inner udp"], &["inner vlan"]);
    // It is not the fact.
    let packet = record(LinkType::ETHERNET, &tagged);
    check(&packet, &["vlan 6", "vlan = \"\""], &["vlan = 6"]);
}

#[test]
fn a_direction_is_that_of_ebpf() {
    let mut packet = record(LinkType::ETHERNET, b"");
    check(&packet, &["direction = \"\""], &["direction inbound"]);
    packet.context.heading = Some(Heading::Known(Direction::Outbound));
    check(
        &packet,
        &["direction outbound", "outbound"],
        &["direction inbound", "direction = \"\""],
    );
    packet.context.heading = Some(Heading::Unknown);
    check(&packet, &["direction = \"\""], &["direction outbound"]);
}

#[test]
fn words_for_addresses_match_arp() {
    let arp = [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &[2, 0, 0, 0, 0, 1, 10, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 10, 0, 1, 2],
    ]
    .concat();
    check(
        &record(LinkType::ETHERNET, &frame(0x0806, &arp)),
        &["saddr 10.0.0.1", "daddr 10.0.1.2", "not sport 1"],
        &["saddr 10.0.1.2", "sport 1"],
    );
}

/// Checks a packet to UDP port 53 in a tunnel, whole and without its last bytes.
#[track_caller]
fn check_inside(link: LinkType, data: &[u8], kept: &[&str]) {
    let packet = record(link, data);
    check(
        &packet,
        &[
            "inner port 53",
            "not inner port 80",
            "inner (udp and dst port 53)",
        ],
        &["port 53", "inner tcp", "inner inner udp"],
    );
    check(&packet, kept, &[]);
    // Without its ports the result is unknown.
    let mut cut = packet;
    cut.data = &data[..data.len() - 6];
    check(&cut, &[], &["inner port 53", "not inner port 53"]);
}

#[test]
fn inner_looks_into_every_kind_of_tunnel() {
    let dns = udp(5353, 53, b"");
    let ip = ipv4(17, 0, &dns);
    let ip6 = ipv6(17, &dns);
    let ethernet = frame(0x0800, &ip);
    let gre = |flags: u16, kind: u16, fields: usize, payload: &[u8]| {
        let header = [
            &flags.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &vec![0; 4 * fields],
        ]
        .concat();
        ipv4(47, 0, &[&header, payload].concat())
    };
    let v4 = ["inner host 10.0.0.1", "inner len = 28", "inner ip[9] = 17"];
    let v6 = ["inner ip6", "inner host 2001:db8::1"];
    let mac = [
        "inner ether host 02:00:00:00:00:01",
        "inner ether[12:2] = 0x800",
    ];
    check_inside(LinkType::RAW, &gre(0, 0x0800, 0, &ip), &v4);
    check_inside(LinkType::RAW, &gre(0x2000, 0x0800, 1, &ip), &v4);
    check_inside(LinkType::RAW, &gre(0xb000, 0x86dd, 3, &ip6), &v6);
    check_inside(LinkType::RAW, &gre(0, 0x6558, 0, &ethernet), &mac);
    check_inside(LinkType::RAW, &ipv4(4, 0, &ip), &v4);
    check_inside(LinkType::RAW, &ipv4(41, 0, &ip6), &v6);
    check_inside(LinkType::RAW, &ipv6(4, &ip), &v4);
    check_inside(
        LinkType::RAW,
        &ipv6(60, &[&[41, 0, 1, 4, 0, 0, 0, 0][..], &ip6].concat()),
        &v6,
    );
    let vxlan = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet].concat();
    check_inside(LinkType::RAW, &ipv4(17, 0, &udp(9, 4789, &vxlan)), &mac);
    check_inside(
        LinkType::ETHERNET,
        &frame(0x0800, &ipv4(17, 0, &udp(9, 8472, &vxlan))),
        &mac,
    );
    let geneve = [&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 0, 0, 0, 0][..], &ethernet].concat();
    check_inside(LinkType::RAW, &ipv4(17, 0, &udp(9, 6081, &geneve)), &mac);
    let pppoe = [&[0x11, 0, 0, 3, 0, 30, 0, 0x21][..], &ip].concat();
    check_inside(LinkType::ETHERNET, &frame(0x8864, &pppoe), &v4);
    let mpls = [&[0, 0, 0x10, 64][..], &[0, 1, 1, 64], &ip].concat();
    check_inside(LinkType::ETHERNET, &frame(0x8847, &mpls), &v4);
    check_inside(
        LinkType::ETHERNET,
        &frame(0x8100, &[&[0, 5, 0x88, 0x47][..], &mpls].concat()),
        &v4,
    );
}

#[test]
fn inner_nests_and_does_not_move_the_headers_of_later_words() {
    let ip = ipv4(17, 0, &udp(5353, 53, b""));
    let twice = ipv4(4, 0, &ipv4(4, 0, &ip));
    check(
        &record(LinkType::RAW, &twice),
        &[
            "inner inner udp",
            "inner inner port 53",
            "inner not udp",
            "not inner inner inner ip",
            "inner reason * or inner ip",
        ],
        &["inner udp", "inner inner inner ip", "not inner ip"],
    );
    let tagged = frame(0x8100, &[&[0, 5, 8, 0][..], &ipv4(4, 0, &ip)].concat());
    check(
        &record(LinkType::ETHERNET, &tagged),
        &["vlan and inner udp", "inner udp and vlan", "inner not vlan"],
        &["inner vlan"],
    );
    check(
        &record(LinkType::RAW, &ip),
        &["not inner ip", "not inner not ip"],
        &["inner ip"],
    );
}

#[test]
fn words_for_headers_are_undecided_behind_an_unknown_link_layer() {
    let mut packet = record(LinkType::IEEE802_11, &[8; 64]);
    packet.cause = software("NO_SOCKET", "f");
    check(
        &packet,
        &[
            "reason NO_SOCKET",
            "len = 64",
            "greater 10",
            "ether[0] = 8",
            "tcp or reason *",
        ],
        &[
            "tcp",
            "not tcp",
            "ip",
            "not vlan",
            "not broadcast",
            "saddr 10.0.0.1",
            "inner ip",
            "not inner ip",
        ],
    );
}

#[test]
fn a_cooked_header_names_the_protocol() {
    let cooked = [
        &[8, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..],
        &ipv4(17, 0, &udp(9, 53, b"")),
    ]
    .concat();
    check(
        &record(LinkType::LINUX_SLL2, &cooked),
        &[
            "ip",
            "udp",
            "port 53",
            "sport 9",
            "host 10.0.0.1",
            "ip[9] = 17",
            "not vlan",
            "not ether host 02:00:00:00:00:01",
        ],
        &["vlan", "ether src 02:00:00:00:00:01", "broadcast", "ip6"],
    );
}

#[test]
fn a_word_about_a_missing_byte_is_neither_true_nor_false() {
    let whole = frame(0x0800, &ipv4(6, 0, &[0; 20]));
    let mut packet = record(LinkType::ETHERNET, &whole);
    packet.data = &whole[..20];
    packet.cause = software("NO_SOCKET", "f");
    check(
        &packet,
        &[
            "ip",
            "len = 54",
            "tcp or ip",
            "ip or tcp",
            "not (tcp and arp)",
            "not (tcp[0] < arp[0])",
            "not (arp[0] < tcp[0])",
            "reason NO_SOCKET or tcp",
        ],
        &[
            "tcp",
            "not tcp",
            "tcp or not tcp",
            "tcp and ip",
            "not (tcp and ip)",
        ],
    );
}
