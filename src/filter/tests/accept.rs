//! Accept blocks in the style of libpcap: aliases that compile to the same canonical form, which
//! comes first and is its own canonical form.

use super::parse;

#[track_caller]
fn check(canonical: &str, aliases: &[&str]) {
    assert_eq!(parse(canonical).to_string(), canonical);
    for alias in aliases {
        let filter = parse(alias);
        assert_eq!(filter.to_string(), canonical, "`{alias}`");
        assert_eq!(filter, parse(canonical), "`{alias}`");
    }
}

#[test]
fn an_empty_filter_keeps_every_drop() {
    check("", &[" ", "\n\t"]);
    assert!(parse("").keeps_all());
}

#[test]
fn protocols_have_one_canonical_form() {
    check(
        "ip",
        &[
            "ether proto 0x800",
            "ether proto \\ip",
            "ether proto ip",
            "link proto 2048",
        ],
    );
    check("ip6", &["ether proto 0x86dd", "ether proto \\ip6"]);
    check("arp", &["ether proto 0x806", "ether proto \\arp"]);
    check("rarp", &["ether proto 0x8035"]);
    check("stp", &["ether proto 0x42", "ether proto \\stp"]);
    check("pppoed", &["ether proto 0x8863"]);
    check("ether proto 0x88cc", &["ether proto 35020"]);
    check(
        "ether proto 0x00e0",
        &["ether proto \\ipx", "ether proto ipx"],
    );
    check(
        "tcp",
        &[
            "proto 6",
            "proto \\tcp",
            "proto tcp",
            "proto 0x6",
            "proto 06",
        ],
    );
    check("udp", &["proto 17", "proto \\udp"]);
    check("sctp", &["proto 132"]);
    check("gre", &["proto 47", "proto gre"]);
    check("ospf", &["proto 89", "proto ospf"]);
    check("esp", &["proto 50"]);
    check("ah", &["proto 51"]);
    check("pim", &["proto 103"]);
    check("icmp", &["ip proto 1", "ip proto \\icmp", "ip proto icmp"]);
    check("igmp", &["ip proto 2"]);
    check("igrp", &["ip proto 9"]);
    check("vrrp", &["carp", "ip proto 112"]);
    check("icmp6", &["ip6 proto 58", "ip6 proto ipv6-icmp"]);
    check("ip proto 88", &["ip proto eigrp", "ip proto EIGRP"]);
    check("ip proto 6", &["ip proto \\tcp", "ip proto tcp"]);
    check("ip6 proto 44", &[]);
    check("proto 88", &["proto eigrp"]);
    check("protochain 6", &["protochain \\tcp", "protochain tcp"]);
    check("ip protochain 51", &["ip protochain ah"]);
    check("ip6 protochain 6", &["ip6 protochain tcp"]);
}

#[test]
fn addresses_have_one_canonical_form() {
    check(
        "host 10.0.0.1",
        &[
            "src or dst host 10.0.0.1",
            "dst or src 10.0.0.1",
            "host helios",
            "net 10.0.0.1",
            "net 10.0.0.1/32",
            "src or dst helios",
        ],
    );
    check(
        "src host 10.0.0.1",
        &["src 10.0.0.1", "src net 10.0.0.1", "src helios"],
    );
    check(
        "src and dst host 10.0.0.1",
        &["dst and src host 10.0.0.1", "src && dst helios"],
    );
    check("ip host 10.0.0.1", &["ip net 10.0.0.1/32"]);
    check("arp src host 10.0.0.1", &["arp src 10.0.0.1"]);
    check("host 0.0.0.10", &["host 10"]);
    check(
        "net 10.1.0.0/16",
        &[
            "net 10.1",
            "host 10.1",
            "net 10.1.0.0 mask 255.255.0.0",
            "net 10.1/16",
        ],
    );
    check(
        "net 10.0.0.0/8",
        &["net 10", "net 10/8", "net 10.0.0.0 mask 255.0.0.0"],
    );
    check("net 10.0.0.0 mask 255.0.255.0", &[]);
    check("net 0.0.0.0/0", &["net 0.0.0.0 mask 0.0.0.0"]);
    check(
        "host 2001:db8::2",
        &[
            "ip6 host 2001:db8:0:0:0:0:0:2",
            "net 2001:db8::2/128",
            "ip6 host ace",
        ],
    );
    check("ip host 10.0.0.2", &["ip host ace"]);
    check("dst net 2001:db8::/32", &["ip6 dst net 2001:db8::/32"]);
    check("host 10.0.0.2 or host 2001:db8::2", &["host ace"]);
    check(
        "not (host 10.0.0.2 or host 2001:db8::2)",
        &["not host ace", "host not ace"],
    );
    check("saddr 10.10.2.4", &["saddr 10.10.2.4/32"]);
    check(
        "daddr 10.0.0.0/8",
        &["daddr 10/8", "daddr 10.0.0.0 mask 255.0.0.0"],
    );
    check("addr 2001:db8::/32", &[]);
    check("saddr 10.0.0.1", &["saddr helios"]);
}

#[test]
fn ports_have_one_canonical_form() {
    check(
        "port 80",
        &[
            "src or dst port 80",
            "port 0x50",
            "port 0120",
            "portrange 80",
            "portrange 80-80",
        ],
    );
    check(
        "tcp port 80",
        &[
            "tcp port http",
            "port http",
            "port www",
            "tcp src or dst port 80",
        ],
    );
    check("udp port 69", &["port tftp", "udp port tftp"]);
    check("port 53", &["port domain"]);
    check("portrange 6000-6008", &["portrange 6008-6000"]);
    check("portrange 22-80", &["portrange 80-22"]);
    check(
        "tcp portrange 22-80",
        &["portrange ssh-http", "tcp portrange ssh-80"],
    );
    check("sctp dst port 9", &[]);
    check("sport 53", &["sport domain"]);
    check("dport 6000-6008", &[]);
    check("flow tcp 10.0.0.1:1234 10.0.0.2:80", &[]);
    check("flow udp [2001:db8::1]:53 [2001:db8::2]:5353", &[]);
}

#[test]
fn ethernet_words_have_one_canonical_form() {
    check(
        "ether host 02:00:00:00:00:01",
        &[
            "ether host 2:0:0:0:0:1",
            "link host 02-00-00-00-00-01",
            "ether host 0200.0000.0001",
            "ether host 020000000001",
            "ether src or dst 02:00:00:00:00:01",
            "ether host 02.00.00.00.00.01",
        ],
    );
    check(
        "ether src 02:00:00:00:00:0a",
        &["ether src host 02:00:00:00:00:0A"],
    );
    check("broadcast", &["ether broadcast", "link broadcast"]);
    check("multicast", &["ether multicast"]);
    check("ip broadcast", &[]);
    check("ip multicast", &[]);
    check("ip6 multicast", &[]);
    check("vlan", &[]);
    check("vlan 5", &["vlan 0x5"]);
    check("mpls 100000", &[]);
    check("pppoes 39", &["pppoes 0x27"]);
    check("llc", &[]);
    check("llc ui", &[]);
}

#[test]
fn comparisons_have_one_canonical_form() {
    check(
        "len - 14 > 20",
        &["len-14 > 20", "len-14>20", "len -14 > 20"],
    );
    check("len - ip[0] > 20", &["len-ip[0] > 20"]);
    check("tcp or len - 14 > 20", &["tcp or len-14 > 20"]);
    check("tcp[13] = 2 - 1", &["tcp[tcpflags] = tcp-syn-1"]);
    check("ip[8 - 1] = 0", &["ip[8-1] = 0"]);
    check("len <= 60", &["less 60", "len<=60"]);
    check("len >= 60", &["greater 60", "len >= 0x3c"]);
    check(
        "ip[0] & 15 != 5",
        &[
            "ip[0] & 0xf != 5",
            "ip [ 0 : 1 ] & 0xf!=5",
            "(ip[0] & 0xf) != (5)",
        ],
    );
    check(
        "tcp[13] & (2 | 1) != 0",
        &["tcp[tcpflags] & (tcp-syn|tcp-fin) != 0"],
    );
    check("icmp[0] = 8", &["icmp[icmptype] == icmp-echo"]);
    check(
        "icmp6[0] = 135",
        &["icmp6[icmp6type] = icmp6-neighborsolicit"],
    );
    check("ether[0] & 1 = 0", &["link[0] & 1 = 0"]);
    check(
        "ip[2:2] - ((ip[0] & 15) << 2) != 0",
        &["ip[2:2] - ((ip[0]&0xf)<<2) != 0"],
    );
    check(
        "len = 4294967291",
        &["len = -5", "len = - 5", "len = -(5)", "len = ---5"],
    );
    check("-len = 5", &["- len = 5", "---len = 5", "-(-(-len)) = 5"]);
    check("4 - -len > 2", &[]);
    check("1 + 2 - 3 = len", &["((1 + 2) - 3) = len"]);
    check("1 - (2 + 3) = len", &[]);
    check("1 + (2 * 3) = len", &["1 + 2 * 3 = len"]);
    check(
        "1 | (2 & (3 << (4 + 5))) = len",
        &["1 | 2 & 3 << 4 + 5 = len"],
    );
    check("1 + (len % 5 + 3) = 2", &["1 + len % 5 + 3 = 2"]);
    check("len % 5 + 3 = 2", &[]);
    check("(len % 5) + 3 = 2", &[]);
    check("2 * (len % 7) = 2", &["2 * len % 7 = 2"]);
    check("len ^ 3 & 1 = 1", &[]);
    check("ip[ip[0] & 15] = 4", &[]);
    check("port 80 or 443 = len", &["port 80 or (443) = len"]);
}

#[test]
fn and_or_and_not_have_one_canonical_form() {
    check(
        "tcp and udp",
        &["tcp && udp", "tcp&&udp", "(tcp) and (udp)", "(tcp and udp)"],
    );
    check("tcp or udp", &["tcp || udp", "tcp||udp"]);
    check(
        "not tcp",
        &["!tcp", "! tcp", "not not not tcp", "!(!(!tcp))"],
    );
    check("tcp", &["not not tcp", "!!tcp", "((tcp))"]);
    check("(tcp or udp) and port 53", &["tcp or udp and port 53"]);
    check("tcp or (udp and port 53)", &[]);
    check(
        "((tcp or udp) and port 53) or arp",
        &["tcp or udp and port 53 or arp"],
    );
    check("not (tcp or udp)", &["!(tcp || udp)"]);
    check("not tcp or udp", &[]);
    check("1 = 1 and tcp", &["1=1&&tcp"]);
    check("ip[0] & 1 = 1 and tcp", &["ip[0]&1=1&&tcp"]);
}

#[test]
fn qualifiers_carry_over() {
    check(
        "port 80 or port 443",
        &["port 80 or 443", "port (80 or 443)", "port 80 or (443)"],
    );
    check(
        "tcp dst port 22 or tcp dst port 21 or tcp dst port 80",
        &["tcp dst port ssh or 21 or www"],
    );
    check(
        "src host 10.0.0.1 and src host 10.0.0.3",
        &["src host helios and 10.0.0.3"],
    );
    check(
        "not host 10.0.0.1 and host 10.0.0.3",
        &["not host helios and 10.0.0.3"],
    );
    check(
        "port 80 or not port 443",
        &["port 80 or not 443", "port (80 or not 443)"],
    );
    check(
        "port 80 or (port 443 and port 22)",
        &["port 80 or (443 and 22)"],
    );
    check(
        "port 80 or (port 443 and tcp)",
        &["port 80 or (443 and tcp)"],
    );
    check(
        "net 10.0.0.0/8 or net 11.0.0.0/8",
        &["net 10 or 11", "net 10/8 or 11/8", "net (10/8 or 11)"],
    );
    check(
        "host 10.0.0.1 and port 80 and host 10.0.0.3",
        &["host helios and (port 80) and 10.0.0.3"],
    );
    check("icmp or igmp", &["ip proto 1 or 2"]);
    check(
        "saddr 10.0.0.1 or saddr 10.0.0.0/24",
        &["saddr helios or 10.0.0.0/24"],
    );
    check("sport 53 or sport 5353", &["sport domain or 5353"]);
    check(
        "reason NO_SOCKET or reason NETFILTER_*",
        &[
            "reason NO_SOCKET or NETFILTER_*",
            "reason (no_socket or netfilter_*)",
        ],
    );
    check(
        "iface 2 or iface 3 or ifname eth0",
        &["iface 2 or 3 or eth0", "iface (2 or 3 or eth0)"],
    );
}

#[test]
fn words_for_the_drop_have_one_canonical_form() {
    check(
        "reason NO_SOCKET",
        &[
            "reason no_socket",
            "reason SKB_DROP_REASON_NO_SOCKET",
            "reason \"NO_SOCKET\"",
            "reason skb_drop_reason_no_socket",
            "reason \\no_socket",
        ],
    );
    check("reason *", &[]);
    check("location ip_rcv*", &["location \"ip_rcv*\""]);
    check("location *.constprop.0", &[]);
    check(
        "module gre",
        &[
            "module \\gre",
            "module [gre]",
            "module '[gre]'",
            "module 'gre'",
        ],
    );
    check("reason \"A B\"", &["reason 'a b'"]);
    check("pc 0xffffffffb3d420b5", &["pc 0xFFFFFFFFB3D420B5"]);
    check("origin sw", &["origin software"]);
    check("origin hw", &["origin hardware"]);
    check("trap blackhole_route", &[]);
    check("trap_group l3_*", &[]);
    check("iface 5", &["ifindex 5", "iface 0x5"]);
    check("ifname eth0", &["iface eth0", "on eth0", "iface \"eth0\""]);
    check("ifname 5", &["iface \"5\"", "on 5"]);
    check("ifname \"a (b)\"", &[]);
    check("ifname \"a\\x22b\\x5c\\x0a\"", &[]);
    check("ifname \"not\"", &["iface \\not"]);
    check("ifname \"or*\"", &["iface = or*"]);
    check("ifname \"not*\"", &["iface = not*"]);
    check("not ifname *", &["ifname not*"]);
    check("inbound", &[]);
    check(
        "direction inbound",
        &["direction = inbound", "direction \"inbound\""],
    );
    check("vlan = 5", &["vlan == 0x5", "vlan = \"5\""]);
    check("vlan = 5 or vlan = 6", &["vlan = 5 or 6"]);
    check("outbound", &[]);
    check("noise", &[]);
    check("not noise and reason A", &[]);
}

#[test]
fn inner_has_one_canonical_form() {
    check("inner tcp", &["inner (tcp)"]);
    check("inner tcp and udp", &[]);
    check("inner (tcp and udp)", &[]);
    check("inner inner tcp", &["inner (inner tcp)"]);
    check("not inner not tcp", &[]);
    check(
        "inner (host 10.0.0.2 or host 2001:db8::2)",
        &["inner host ace"],
    );
}

#[test]
fn the_interface_option_is_joined_to_the_filter_by_and() {
    let filter = |text: &str| parse(text).on_interface("eth0").to_string();
    assert_eq!(filter(""), "ifname eth0");
    assert_eq!(filter("tcp"), "ifname eth0 and tcp");
    assert_eq!(filter("tcp or udp"), "ifname eth0 and (tcp or udp)");
    assert_eq!(parse("").on_interface("3").to_string(), "iface 3");
}

#[test]
fn the_reasons_in_a_filter_are_listed() {
    let patterns = parse("reason no_socket or tcp and not (inner reason NETFILTER_*)").reasons();
    let shown: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["NO_SOCKET", "NETFILTER_*"]);
    assert!(patterns[1].matches("NETFILTER_DROP"));
    assert!(!patterns[0].matches("NETFILTER_DROP"));
}

#[test]
fn words_that_only_ebpf_can_answer_are_found() {
    for (text, key) in [
        ("netns blue", "netns"),
        ("netns other", "netns"),
        ("netns = blue", "netns_name"),
        ("tcp and (port 80 or not unit ssh.service)", "unit"),
        ("mark 5 or device eth0", "mark"),
        ("inner (running curl)", "running"),
        ("socket = \"\"", "socket"),
    ] {
        let found = parse(text).fact_of_ebpf();
        assert_eq!(found.map(|fact| fact.about().key), Some(key), "{text}");
    }
    for text in [
        "",
        "reason NO_SOCKET and trap x",
        "vlan 5 and inbound",
        "iface eth0",
        "pc 1",
    ] {
        assert_eq!(parse(text).fact_of_ebpf(), None, "{text}");
    }
}

#[test]
fn a_tag_that_was_taken_off_was_that_of_the_frame() {
    for text in ["vlan", "not vlan 5", "tcp and (port 80 or vlan 5 and arp)"] {
        assert!(parse(text).asks_for_vlan(), "{text}");
    }
    for text in [
        "",
        "vlan = 5",
        "inner vlan",
        "tcp and inner (vlan 5 and arp)",
    ] {
        assert!(!parse(text).asks_for_vlan(), "{text}");
    }
}
