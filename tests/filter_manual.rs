//! Every example of dwdump-filter(7) is understood, and selects what the manual says.
//!
//! The drops below stand for what happens; `filter_manual.txt` says which of them each example
//! keeps. An example without a line there fails, and so does a line without an example.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use dwdump::filter::{Filter, NameLookup, Service, SystemNames};
use dwdump::packet;
use dwdump::record::{
    Cause, Direction, DropRecord, DropSocket, Heading, Interface, Link, LinkType, Location, Name,
    Netns, SocketRole, Stack, Symbol, Timestamp,
};

/// The examples, as typed: the lines between .EX and .EE.
fn examples() -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in include_str!("../man/dwdump-filter.7").lines() {
        match line {
            ".EX" => inside = true,
            ".EE" => inside = false,
            line if inside => found.push(line.replace("\\-", "-").replace("\\e", "\\")),
            _ => {}
        }
    }
    found
}

/// The manual's examples name no hosts.
struct NoHosts;

impl NameLookup for NoHosts {
    fn host(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("no hosts in the manual"))
    }

    fn service(&self, name: &str) -> Service {
        SystemNames.service(name)
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        SystemNames.protocol(name)
    }
}

struct Drop {
    name: &'static str,
    link: LinkType,
    data: Vec<u8>,
    cause: Cause<'static>,
    input: Option<(u32, &'static str)>,
}

fn software(reason: &'static str, symbol: &'static str) -> Cause<'static> {
    Cause::Software {
        location: Location::new(
            Some(0xffff_ffff_b3d4_20b5),
            Name::new(symbol.as_bytes()).map(Symbol),
        ),
        reason: Name::new(reason.as_bytes()),
    }
}

/// Adds the call stack.
fn through(mut cause: Cause<'static>, stack: &'static str) -> Cause<'static> {
    if let Cause::Software { location, .. } = &mut cause {
        location.stack = Stack::new(stack.as_bytes());
    }
    cause
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn drops() -> Vec<Drop> {
    let dns = udp(40000, 53);
    let closed_port = Drop {
        name: "closed-port",
        link: LinkType::ETHERNET,
        data: frame(0x0800, &ipv4(17, [10, 10, 2, 2], [10, 10, 2, 4], &dns)),
        cause: through(
            software("NO_SOCKET", "__udp4_lib_rcv+0x235/0xd90"),
            "__udp4_lib_rcv+0x235/0xd90;ip_local_deliver+0x1/0x2;net_rx_action+0x1/0x2",
        ),
        input: Some((2, "eth0")),
    };
    let firewall = Drop {
        name: "firewall",
        link: LinkType::ETHERNET,
        data: frame(
            0x0800,
            &ipv4(6, [10, 0, 0, 1], [10, 0, 0, 2], &tcp(1234, 80, 2)),
        ),
        cause: through(
            software("NETFILTER_DROP", "nf_hook_slow.constprop.0+0xbf/0x100"),
            "nf_hook_slow.constprop.0+0xbf/0x100;ip_output+0x1/0x2;__ip_queue_xmit+0x1/0x2",
        ),
        input: Some((3, "eth1")),
    };
    let other = || Drop {
        name: "",
        link: LinkType::ETHERNET,
        data: Vec::new(),
        cause: software("NOT_SPECIFIED", "ip_rcv_core+0x1/0x2"),
        input: Some((9, "veth0")),
    };
    let with = |name, data| Drop {
        name,
        data,
        ..other()
    };
    let in_vlan = ipv4(6, [10, 0, 0, 1], [10, 0, 0, 2], &tcp(1234, 443, 0x10));
    let echo = ipv4(
        1,
        [172, 16, 14, 1],
        [172, 16, 14, 2],
        &[8, 0, 0, 0, 0, 1, 0, 1],
    );
    let web = frame(
        0x0800,
        &ipv4(6, [10, 1, 0, 1], [10, 1, 0, 2], &tcp(443, 5000, 0x11)),
    );
    let vxlan = [&udp(9, 4789)[..], &[8, 0, 0, 0, 0, 0, 5, 0], &web].concat();
    let arp = [
        &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1][..],
        &[0, 0, 0, 0, 0, 0, 10, 0, 0, 2],
    ]
    .concat();
    let plain = |protocol| {
        frame(
            0x0800,
            &ipv4(protocol, [10, 0, 0, 9], [224, 0, 0, 5], &[1; 8]),
        )
    };
    vec![
        closed_port,
        firewall,
        Drop {
            name: "trap",
            data: frame(
                0x0800,
                &ipv4(17, [192, 0, 2, 1], [192, 0, 2, 10], &udp(1, 65000)),
            ),
            cause: Cause::Hardware {
                group: Name::new(b"l3_drops"),
                trap: Name::new(b"blackhole_route"),
                cookie: None,
            },
            input: Some((7, "swp1")),
            ..other()
        },
        Drop {
            name: "local-neighbour",
            data: frame(0x86dd, &ipv6(58, 0xff02, &[135, 0, 0, 0, 0, 0, 0, 0])),
            input: None,
            ..other()
        },
        Drop {
            name: "gre",
            link: LinkType::RAW,
            data: ipv4(
                47,
                [10, 10, 2, 2],
                [10, 10, 2, 4],
                &[&[0, 0, 8, 0][..], &echo].concat(),
            ),
            cause: software("NOT_SPECIFIED", "gre_rcv+0x1a2/0x2d0 [gre]"),
            ..other()
        },
        with(
            "ip-in-ip-in-ip",
            frame(
                0x0800,
                &ipv4(
                    4,
                    [10, 9, 0, 1],
                    [10, 9, 0, 2],
                    &ipv4(4, [10, 8, 0, 1], [10, 8, 0, 2], &echo),
                ),
            ),
        ),
        with(
            "vxlan",
            frame(0x0800, &ipv4(17, [10, 9, 0, 1], [10, 9, 0, 2], &vxlan)),
        ),
        with(
            "vlan-5",
            frame(0x8100, &[&[0, 5, 8, 0][..], &in_vlan].concat()),
        ),
        with("mpls", frame(0x8847, &[&[0, 1, 1, 64][..], &echo].concat())),
        with(
            "pppoe",
            frame(
                0x8864,
                &[
                    &[0x11, 0, 0, 3, 0, 30, 0, 0x21][..],
                    &ipv4(17, [10, 9, 0, 1], [10, 9, 0, 2], &dns),
                ]
                .concat(),
            ),
        ),
        with("pppoe-discovery", frame(0x8863, &[0x11, 9, 0, 0, 0, 0])),
        with(
            "ip6-flow",
            frame(
                0x86dd,
                &ipv6(
                    60,
                    0x2001,
                    &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(53, 5353)].concat(),
                ),
            ),
        ),
        with("later-fragment", {
            let mut packet = frame(0x0800, &ipv4(17, [10, 9, 0, 1], [10, 9, 0, 2], &[0; 8]));
            packet[21] = 0xb9;
            packet[22] = 3;
            packet
        }),
        with(
            "to-all",
            frame_to(
                [0xff; 6],
                0x0800,
                &ipv4(17, [10, 9, 0, 1], [255; 4], &udp(68, 67)),
            ),
        ),
        with(
            "to-itself",
            frame(0x0800, &ipv4(17, [10, 0, 0, 1], [10, 0, 0, 1], &udp(8, 7))),
        ),
        with("arp", frame_to([0xff; 6], 0x0806, &arp)),
        with("rarp", frame_to([0xff; 6], 0x8035, &arp)),
        Drop {
            cause: software("BRIDGE_INGRESS_STP_STATE", "br_handle_frame+0x1/0x2"),
            ..with(
                "spanning-tree",
                frame_to([1, 0x80, 0xc2, 0, 0, 0], 38, &[0x42, 0x42, 3, 0]),
            )
        },
        Drop {
            cause: Cause::Software {
                location: Location::default(),
                reason: None,
            },
            input: Some((4, "")),
            ..with("nothing-known", frame(0x88cc, &[2, 7, 4]))
        },
        with("sctp", plain(132)),
        with("esp", plain(50)),
        with("ah", plain(51)),
        with("pim", plain(103)),
        with("ospf", plain(89)),
        with("icmp", plain(1)),
        with("igmp", plain(2)),
        with("igrp", plain(9)),
        with("vrrp", plain(112)),
    ]
}

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    frame_to([2, 0, 0, 0, 0, 2], kind, payload)
}

fn frame_to(destination: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [
        &destination[..],
        &[2, 0, 0, 0, 0, 1],
        &kind.to_be_bytes(),
        payload,
    ]
    .concat()
}

fn ipv4(protocol: u8, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let start = [
        &[0x45, 0][..],
        &length.to_be_bytes(),
        &[0, 1, 0, 0, 64, protocol, 0, 0],
    ]
    .concat();
    [&start[..], &source, &destination, payload].concat()
}

/// From 2001:db8::1 to the same with other first digits and a 2.
fn ipv6(next: u8, prefix: u16, payload: &[u8]) -> Vec<u8> {
    let address = |first: u16, last| {
        let second: u16 = if first == 0x2001 { 0x0db8 } else { 0 };
        [
            &first.to_be_bytes()[..],
            &second.to_be_bytes(),
            &[0; 11],
            &[last],
        ]
        .concat()
    };
    let length = u16::try_from(payload.len()).unwrap();
    let start = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 64]].concat();
    [
        &start[..],
        &address(0x2001, 1),
        &address(prefix, 2),
        payload,
    ]
    .concat()
}

fn udp(source: u16, destination: u16) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &[0, 8, 0, 0],
    ]
    .concat()
}

fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0, 64, 0, 0, 0, 0];
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &rest].concat()
}

/// Adds what only eBPF tells.
fn by_ebpf(record: &mut DropRecord<'_>) {
    let context = &mut record.context;
    context.device = Name::new(b"eth1");
    context.netns = Some(Netns::new(4_026_532_345, false));
    context.netns_name = Name::new(b"blue");
    context.running = Name::new(b"curl");
    context.running_pid = Some(4242);
    context.cgroup = Name::new(b"/system.slice/ssh.service");
    context.cgroup_id = Some(4711);
    context.unit = Name::new(b"ssh.service");
    context.socket = Some(DropSocket {
        role: SocketRole::Owner,
        family: 2,
        protocol: 6,
        port: 1234,
        peer_port: 80,
        state: 1,
    });
    context.mark = Some(0x17);
    context.vlan = Some(5);
    context.heading = Some(Heading::Known(Direction::Inbound));
}

#[test]
fn every_example_selects_what_the_manual_says() {
    let drops = drops();
    let mut table = String::new();
    for example in examples() {
        let filter = Filter::parse(&example, &NoHosts).unwrap_or_else(|error| panic!("{error}"));
        let kept: Vec<&str> = drops
            .iter()
            .filter(|drop| {
                let mut record = DropRecord::new(Link::known(drop.link), &drop.data);
                record.time = Some(Timestamp(0));
                record.cause = drop.cause;
                record.input = drop
                    .input
                    .map(|(index, name)| Interface::new(index, Name::new(name.as_bytes())));
                record.protocol = packet::protocol(drop.link, &drop.data);
                if drop.name == "firewall" {
                    by_ebpf(&mut record);
                }
                filter.matches(&record)
            })
            .map(|drop| drop.name)
            .collect();
        assert!(!kept.is_empty(), "`{example}` shows nothing");
        assert!(kept.len() < drops.len(), "`{example}` keeps everything");
        writeln!(table, "{example}: {}", kept.join(" ")).unwrap();
    }
    assert_eq!(table, include_str!("filter_manual.txt"));
}
