//! Which filters the cause and the input interface decide.

use super::parse;
use crate::record::{Cause, DropRecord, Interface, Link, LinkType, Location, Name, Symbol};

#[test]
fn words_for_the_cause_and_the_interface_need_no_packet() {
    for text in [
        "",
        "reason NO_SOCKET",
        "reason = \"\" or location ip_rcv*",
        "not (noise or module nf_tables)",
        "iface eth0 and not ifname = \"\"",
        "iface 5 or iface = \"\"",
        "origin sw and pc 0xffffffffb3d420b5",
        // A software drop never has one.
        "trap blackhole_route",
    ] {
        assert!(parse(text).needs_no_packet(), "{text}");
    }
    let on_interface = parse("noise").on_interface("eth0");
    assert!(on_interface.needs_no_packet());
}

#[test]
fn a_single_word_for_the_packet_needs_it() {
    for text in [
        "udp",
        "host 10.0.0.1",
        "reason NO_SOCKET and port 53",
        "reason NO_SOCKET or not len > 100",
        "inner iface eth0",
        "protocol 0x0800",
        "flow none",
        "vlan",
        "inbound",
    ] {
        assert!(!parse(text).needs_no_packet(), "{text}");
    }
    assert!(!parse("udp").on_interface("eth0").needs_no_packet());
}

#[test]
fn it_is_decided_alike_with_the_packet_and_without() {
    let data = [0x45; 64];
    let symbol = Name::new(b"udp_queue_rcv_one_skb+0x1f/0x2d0").map(Symbol);
    let cause = Cause::Software {
        location: Location::new(Some(16), symbol),
        reason: Name::new(b"NO_SOCKET"),
    };
    let without = DropRecord {
        cause,
        input: Some(Interface::new(5, Name::new(b"eth0"))),
        ..DropRecord::new(Link::known(LinkType::ETHERNET), &[])
    };
    let with = DropRecord {
        data: &data,
        original_len: 64,
        ..without
    };
    for (text, kept) in [
        ("reason no_socket", true),
        ("not location udp_queue*", false),
        ("iface eth0 and not reason IP_*", true),
        ("iface = \"\"", false),
        ("trap x or pc 16", true),
        ("trap = \"\"", false),
    ] {
        let filter = parse(text);
        let found = [&with, &without].map(|record| filter.matches(record));
        assert_eq!(found, [kept; 2], "{text}");
    }
}
