//! Compares filters in the kernel with filters in this process: the kernel's own interpreter runs
//! the programs on a socket, which receives messages like the drop monitor's.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::Filter;
use super::super::kernel::{KernelPart, NotInKernel};
use super::grammar::any_expression;
use super::kernel_socket::{DeviceTypes, SOCKETS, delivered, for_each_record, has_no_protocol};
use super::messages::{
    AlertMessage, FAMILY, captured, damage, damaged, drop_of, framed, ip4, ip6, message,
    netlink_message, transport,
};
use super::parse;
use crate::bpf::MAX_LEN;
use crate::net_dm::{ORIGIN_HW, attr};
use crate::packet::ArpHardware;
use crate::record::{Cause, DropRecord, Link, LinkType};

fn devices() -> impl Strategy<Value = DeviceTypes> {
    let hardware = || {
        select(&[None, Some(1), Some(772), Some(0xfffe), Some(801), Some(99)][..])
            .prop_map(|kind| kind.map(ArpHardware))
    };
    (hardware(), hardware()).prop_map(|(named, guess)| DeviceTypes { named, guess })
}

/// Primitives that the kernel can evaluate, and a few that it cannot.
pub const PRIMITIVES: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp",
    "icmp6",
    "proto 44",
    "ip proto 51",
    "host 10.0.0.1",
    "dst host 10.0.1.2",
    "net 2001:db8::/32",
    "src and dst net 10.0.0.0/8",
    "port 53",
    "udp dst port 80",
    "src or dst portrange 60-90",
    "portrange 1-9 or 53 or 80-81",
    "dst port 7 or 53",
    "src and dst port 53",
    "saddr 10.0.0.1",
    "addr ff02::1",
    "sport 53",
    "dport 80",
    "ether host 02:00:00:00:00:01",
    "ether src 02:00:00:00:00:01",
    "multicast",
    "ip6 multicast",
    "vlan",
    "vlan 100",
    "vlan 100 and ip",
    "vlan and udp",
    "vlan 7 or tcp",
    "tcp[0:2] = 80",
    "udp[2:2] > 53",
    "udp[20] = 0",
    "ip[6:2] & 0x1fff = 0",
    "ip6[6] = 17",
    "icmp6[0] = 0",
    "ether[0] = 2",
    "ether[12:2] = 0x800",
    "len > 60",
    "less 64",
    "reason NO_SOCKET",
    "reason NETFILTER*",
    "trap l3_drops",
    "trap_group l3_*",
    "origin hw",
    "iface 2",
    "pc 0xffffffffb3d420b5",
    "location ip_rcv",
    "inbound",
];

/// Generates single primitives, pairs of them, and any other expressions.
pub fn expression() -> BoxedStrategy<String> {
    expression_of(PRIMITIVES)
}

/// Generates the same of other primitives.
pub fn expression_of(primitives: &'static [&'static str]) -> BoxedStrategy<String> {
    let primitive = select(primitives);
    prop_oneof![
        3 => signed(primitive.clone().boxed()),
        3 => (
            signed(primitive.clone().boxed()),
            select(&["and", "or"]),
            signed(primitive.boxed()),
        )
            .prop_map(|(one, word, other)| format!("{one} {word} {other}")),
        2 => any_expression(),
    ]
    .boxed()
}

fn signed(primitive: BoxedStrategy<&'static str>) -> BoxedStrategy<String> {
    (any::<bool>(), primitive)
        .prop_map(|(is_negated, text)| {
            if is_negated {
                format!("not ({text})")
            } else {
                format!("({text})")
            }
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_kernel_rejects_only_messages_that_this_process_rejects(
        text in expression(),
        message in message(),
        damages in vec(damage(), 0..3),
        devices in devices(),
    ) {
        let bytes = damaged(message, &damages);
        let Some((is_delivered, _)) = delivered(&text, &bytes) else {
            return Ok(());
        };
        let filter = parse(&text);
        let mut is_kept = false;
        for_each_record(&bytes, devices, |record| is_kept |= filter.matches(record));
        prop_assert!(is_delivered || !is_kept, "{}", text);
    }

    #[test]
    fn the_kernel_delivers_no_more_than_its_part_keeps(
        text in expression(),
        message in message(),
        devices in devices(),
    ) {
        let bytes = message.encode();
        let Some((is_delivered, part)) = delivered(&text, &bytes) else {
            return Ok(());
        };
        let part = match part {
            KernelPart::Whole => parse(&text),
            KernelPart::Weaker(filter) => filter,
        };
        // After VLAN tags and extension headers, user space evaluates these words.
        let shown = part.to_string();
        let is_transport_word = |word: &&str| shown.contains(*word);
        if ["addr ", "sport ", "dport "].iter().any(is_transport_word) {
            return Ok(());
        }
        // Alerts about alerts are always delivered, and so are messages that may be such alerts.
        let mut may_be_kept = has_no_protocol(&bytes);
        for_each_record(&bytes, devices, |record| {
            for kind in [LinkType::ETHERNET, LinkType::RAW] {
                let link = Link { kind, ..record.link };
                may_be_kept |= part.matches(&DropRecord { link, ..*record });
            }
        });
        prop_assert!(may_be_kept || !is_delivered, "{}", shown);
    }

    #[test]
    fn the_kernels_part_keeps_every_drop_that_the_filter_keeps(
        text in expression(),
        message in message(),
        devices in devices(),
    ) {
        let filter = parse(&text);
        let Ok(KernelPart::Weaker(part)) = filter.in_kernel(FAMILY, MAX_LEN).map(|kernel| kernel.part) else {
            return Ok(());
        };
        for_each_record(&message.encode(), devices, |record| {
            assert!(part.matches(record) || !filter.matches(record), "{text}: {part}");
        });
    }
}

/// A load beyond the end of the message would reject it at once, without evaluating the rest of an
/// `or`.
#[test]
fn the_program_goes_on_when_a_packet_ends_early() {
    let ports = transport(17, 0, 53, 80);
    let long4 = ip4(15, 17, 0, [10, 0, 0, 1], &ports);
    let short4 = ip4(5, 6, 0, [10, 0, 0, 1], &ports);
    let long6 = ip6(60, [0x20, 1, 0x0d, 0xb8], &transport(60, 17, 53, 80));
    let short6 = ip6(58, [0x20, 1, 0x0d, 0xb8], &ports);
    let packets = [
        (0x0800, framed(0x0800, &long4)),
        (0x0800, framed(0x0800, &short4)),
        (0x86dd, framed(0x86dd, &long6)),
        (0x86dd, framed(0x86dd, &short6)),
        (0x0806, framed(0x0806, &[0; 28])),
        (0x8100, framed(0x8100, &[0, 100, 8, 0])),
        (0x0800, long4),
        (0x86dd, long6),
        // Both link types.
        (0x88cc, short4),
        (0x88cc, short6),
    ];
    SOCKETS.with_borrow_mut(|sockets| {
        for primitive in PRIMITIVES {
            for sign in ["", "not "] {
                let text = format!("{sign}({primitive}) or reason NO_SOCKET");
                if sockets.attach(&parse(&text)).is_none() {
                    continue;
                }
                for (protocol, data) in &packets {
                    for len in 0..=data.len() {
                        let message = drop_of(*protocol, &data[..len]).encode();
                        assert!(sockets.delivers(&message), "{text}: {:?}", &data[..len]);
                    }
                }
            }
        }
    });
}

/// A rejected alert would cause another alert, without end.
#[test]
fn no_alert_about_an_alert_is_rejected() {
    let alert = netlink_message(FAMILY, 100);
    let other = netlink_message(FAMILY + 1, 100);
    SOCKETS.with_borrow_mut(|sockets| {
        for primitive in PRIMITIVES {
            for sign in ["", "not "] {
                let text = format!("{sign}({primitive}) and reason NETFILTER_DROP");
                if sockets.attach(&parse(&text)).is_none() {
                    continue;
                }
                for len in 1..=alert.len() {
                    let message = drop_of(0, &alert[..len]).encode();
                    assert!(sockets.delivers(&message), "{text}: {len} bytes");
                }
                assert!(!sockets.delivers(&drop_of(0, &other).encode()), "{text}");
                assert!(
                    !sockets.delivers(&drop_of(0x0800, &alert).encode()),
                    "{text}"
                );
            }
        }
    });
}

/// Cases that random messages seldom contain.
#[test]
fn the_kernel_leaves_what_it_cannot_see_to_this_process() {
    #[track_caller]
    fn check(text: &str, message: &AlertMessage) {
        let bytes = message.encode();
        let unknown_devices = DeviceTypes {
            named: None,
            guess: None,
        };
        let mut kept = 0;
        for_each_record(&bytes, unknown_devices, |record| {
            kept += usize::from(parse(text).matches(record));
        });
        assert_eq!(kept, 1, "{text}");
        let (is_delivered, _) = delivered(text, &bytes).expect(text);
        assert!(is_delivered, "{text}");
    }
    let extended = ip6(60, [0x20, 1, 0x0d, 0xb8], &transport(60, 17, 53, 80));
    check("dport 80", &drop_of(0x86dd, &extended));
    let authenticated = ip4(5, 51, 0, [10, 0, 0, 1], &transport(51, 17, 53, 80));
    check("sport 53", &drop_of(0x0800, &authenticated));
    let plain = ip4(5, 17, 0, [10, 0, 0, 1], &transport(17, 0, 53, 80));
    let tagged = framed(0x8100, &[&[0, 100, 8, 0], &plain[..]].concat());
    check("saddr 10.0.0.1", &drop_of(0x8100, &tagged));
    // Words for drops of the other origin are false, even if the message has their attributes.
    let mut message = drop_of(0x0800, &plain);
    let trap = (attr::HW_TRAP_NAME, b"l3_drops\0".to_vec());
    message.attributes.push(trap);
    check("not trap l3_drops", &message);
    message.attributes[0].1 = ORIGIN_HW.to_ne_bytes().to_vec();
    check("not reason NO_SOCKET", &message);
    // A packet is at least as long as its captured part.
    let mut message = drop_of(0x0800, &plain);
    message.attributes[2].1 = 1_u32.to_ne_bytes().to_vec();
    check("len = 40", &message);
}

#[test]
fn the_kernel_gets_the_part_of_a_filter_that_it_can_evaluate() {
    #[track_caller]
    fn check(text: &str, part: Option<&str>) {
        let kernel = parse(text).in_kernel(FAMILY, MAX_LEN);
        let shown = kernel.ok().map(|kernel| kernel.part.to_string());
        assert_eq!(shown.as_deref(), part, "{text}");
    }
    let whole = Some("the whole filter");
    check("", None);
    check("tcp", whole);
    check("not (tcp or len > 5)", whole);
    check("location ip_rcv and tcp", Some("tcp"));
    check("tcp and udp or location ip_rcv", None);
    check("tcp and (udp or location ip_rcv)", Some("tcp"));
    check("(tcp and location ip_rcv) or udp", Some("tcp or udp"));
    check("not (location ip_rcv or tcp)", Some("not tcp"));
    check("not (location ip_rcv and tcp)", None);
    check("inner tcp and udp", Some("udp"));
    // Words that are evaluated from moved headers; addresses are found after tags in any case.
    check("tcp and vlan and udp", Some("tcp and vlan"));
    check("mpls and tcp and saddr 10.0.0.1", Some("saddr 10.0.0.1"));
    check(
        "reason *_CSUM and reason TCP_* and ip",
        Some("reason TCP_* and ip"),
    );
    check("iface eth0 and iface 5 and noise", Some("iface 5"));
    check("ether proto 0x42 and llc and arp", Some("arp"));
    check("ip[ip[0]] = 1 and ip[2] + 1 = 5 and len = ip[3]", None);
}

#[test]
fn a_filter_too_long_for_the_kernel_is_shortened() {
    let hosts: Vec<String> = (0..200).map(|last| format!("host 10.0.0.{last}")).collect();
    let hosts = hosts.join(" or ");
    let too_long = |filter: &Filter, max_len| {
        let error = filter.in_kernel(FAMILY, max_len).unwrap_err();
        assert_eq!(error, NotInKernel::TooLong);
    };
    too_long(&parse(&hosts), MAX_LEN);
    let filter = parse(&format!("tcp and len > 60 and ({hosts})"));
    let kernel = filter.in_kernel(FAMILY, MAX_LEN).unwrap();
    assert_eq!(kernel.part.to_string(), "tcp and len > 60");
    let shorter = filter.in_kernel(FAMILY, kernel.program.len() - 1).unwrap();
    assert_eq!(shorter.part.to_string(), "tcp");
    too_long(&filter, shorter.program.len() - 1);
}

#[test]
fn many_ports_fit_into_one_program() {
    let ports: Vec<String> = (1..=400).map(|port| format!("port {port}")).collect();
    let plain = ip4(5, 17, 0, [10, 0, 0, 1], &transport(17, 0, 300, 9));
    let bytes = drop_of(0x0800, &plain).encode();
    let whole = |is_delivered| Some((is_delivered, KernelPart::Whole));
    let ranges = [&ports[5..20], &ports[200..], &ports[20..200]];
    let [few, some, others] = ranges.map(|ports| ports.join(" or "));
    assert_eq!(delivered(&few, &bytes), whole(true));
    assert_eq!(delivered(&some, &bytes), whole(true));
    assert_eq!(delivered(&others, &bytes), whole(false));
    assert_eq!(delivered(&format!("not ({some})"), &bytes), whole(false));
    assert_eq!(delivered(&format!("not ({others})"), &bytes), whole(true));
    // `and` and `or` have the same precedence and are evaluated from left to right.
    let ends = "udp and port 1 or port 300 or portrange 1-8";
    assert_eq!(delivered(ends, &bytes), whole(true));
    let ends = "port 300 or port 7 and port 1";
    assert_eq!(delivered(ends, &bytes), whole(false));
}

/// Filters that the kernel evaluates completely.
pub const WHOLE: &[&str] = &[
    "ip",
    "not ip",
    "ip6 or arp",
    "tcp",
    "not tcp",
    "not (tcp or udp)",
    "icmp or icmp6",
    "gre or ospf",
    "host 10.10.2.4",
    "not host 10.10.2.4",
    "src net 10.0.0.0/8 and not dst net 10.10.0.0/16",
    "net 2001:db8::/32 or net fe80::/10",
    "port 22 or port 53 or portrange 8000-9000",
    "udp and not port 67",
    "tcp dst port 80",
    "ether host 02:00:00:00:00:01",
    "broadcast or multicast or ip multicast or ip6 multicast or ip broadcast",
    "tcp[tcpflags] & tcp-syn != 0",
    "ip[8] < 64",
    "ether[0] & 1 = 0",
    "not ip6 and len > 100",
    "less 80",
    "greater 80 and less 1000",
    "reason NO_SOCKET",
    "not reason NO_SOCKET",
    "reason NETFILTER_DROP or reason TCP_*",
    "origin sw",
    "origin hw",
    "trap blackhole_route or trap_group l2_*",
    "iface 1 or iface 2",
    "pc 0xffffffffb3d420b5",
    "vlan",
    "not vlan 100",
    "tcp and reason NO_SOCKET and src net 10.0.0.0/8 and dst portrange 1-65535",
];

/// Filters that the kernel evaluates completely, except for packets with VLAN tags or extension
/// headers.
pub const TRANSPORT_WORDS: &[&str] = &[
    "saddr 10.0.0.0/8",
    "not addr 10.10.2.4",
    "dport 0-1024",
    "not sport 80",
];

#[test]
fn the_kernel_rejects_everything_that_a_filter_it_evaluates_completely_rejects() {
    let unknown_devices = DeviceTypes {
        named: None,
        guess: None,
    };
    let mut messages = captured("software-6.1.pcap");
    messages.extend(captured("software-6.12.pcap"));
    let software = messages.len();
    messages.extend(captured("hardware-6.12.pcap"));
    assert!(software >= 20 && messages.len() > software, "{software}");
    SOCKETS.with_borrow_mut(|sockets| {
        for text in WHOLE.iter().chain(TRANSPORT_WORDS) {
            let filter = parse(text);
            assert_eq!(sockets.attach(&filter), Some(KernelPart::Whole), "{text}");
            let mut rejected = 0;
            for message in &messages {
                let is_delivered = sockets.delivers(message);
                rejected += usize::from(!is_delivered);
                for_each_record(message, unknown_devices, |record| {
                    let is_kept = filter.matches(record);
                    assert!(is_delivered || !is_kept, "{text}: {record:?}");
                    // A named device may have no link layer; these words look beyond tags and
                    // extension headers, which the kernel does not.
                    let is_transport_word = TRANSPORT_WORDS.contains(text);
                    let is_software = matches!(record.cause, Cause::Software { .. });
                    if is_software && !is_transport_word {
                        assert_eq!(is_delivered, is_kept, "{text}: {record:?}");
                    }
                });
            }
            assert_ne!(rejected, 0, "{text}");
        }
    });
}
