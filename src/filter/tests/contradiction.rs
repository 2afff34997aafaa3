//! Tests which filters are recognised as impossible, and that no other filter is.

use proptest::prelude::*;

use super::super::Filter;
use super::super::names::FixedNames;
use super::grammar::any_expression;
use super::packets::SAMPLES;
use super::parse;

const EITHER: &str = "to keep drops of either kind, join them by `or`";
const ICMP6: &str = "`icmp6` is ICMP over IPv6, `icmp` over IPv4";
const ORIGINS: &str = "drops by the kernel have `reason`, `location`, `module` and `pc`, those by \
                       devices `trap` and `trap_group`";
const OUTER_PACKET: &str = "words outside of `inner` apply to the outer packet: GRE, IP in IP, \
                      UDP (VXLAN, Geneve), PPPoE or MPLS";

/// An expression that is never true, the reason, and the advice.
type ContradictionRow = (&'static str, &'static str, &'static str);

#[test]
fn an_impossible_filter_is_reported_with_its_conflict_and_advice() {
    for (text, why, hint) in ROWS {
        let found = parse(text).contradiction().expect(text);
        assert_eq!(
            found.to_string(),
            format!("no drop can match this filter: {why}"),
            "{text}"
        );
        assert_eq!(found.hint.as_deref().unwrap_or_default(), *hint, "{text}");
    }
}

#[rustfmt::skip]
const ROWS: &[ContradictionRow] = &[
    // Two families of addresses.
    ("ip6 and tcp[tcpflags] & tcp-syn != 0", "`ip6` and `tcp[tcpflags] & tcp-syn != 0` exclude each other",
     "`tcp[…]` exists only over IPv4; over IPv6 without extension headers it is `ip6 proto 6 and ip6[53] & 2 != 0`"),
    ("net 2001:db8::/32 and (udp[8:2] = 5 or udp[len - 1] = 0)",
     "`net 2001:db8::/32` and `udp[8:2] = 5 or udp[len - 1] = 0` exclude each other",
     "`udp[…]` exists only over IPv4; over IPv6 without extension headers it is `ip6 proto 17 and ip6[48:2] = 5`"),
    ("icmp6[0] = 135 and ip", "`icmp6[0] = 135` and `ip` exclude each other", ICMP6),
    ("ip6 and icmp", "`ip6` and `icmp` exclude each other", "ICMP over IPv6 is `icmp6`, with types of its own"),
    ("saddr 10.0.0.1 and ip6", "`saddr 10.0.0.1` and `ip6` exclude each other", EITHER),
    ("arp and host ::1", "`arp` and `host ::1` exclude each other", EITHER),
    // Two protocols.
    ("tcp and udp", "`tcp` and `udp` exclude each other", EITHER),
    ("tcp\nand\tudp", "`tcp` and `udp` exclude each other", EITHER),
    ("tcp && !tcp", "`tcp` and `not tcp` exclude each other", ""),
    ("port 80 and icmp", "`port 80` and `icmp` exclude each other", EITHER),
    ("sport 53 and icmp", "`sport 53` and `icmp` exclude each other", EITHER),
    ("flow tcp 10.0.0.1:1 10.0.0.2:2 and udp", "`flow tcp 10.0.0.1:1 10.0.0.2:2` and `udp` exclude each other", EITHER),
    ("protochain 6 and icmp", "`protochain 6` and `icmp` exclude each other", EITHER),
    ("tcp port 80 or 443 and udp", "`tcp port 80 or 443` and `udp` exclude each other", EITHER),
    ("tcp port (80 or 443) and udp", "`tcp port (80 or 443)` and `udp` exclude each other", EITHER),
    ("(tcp or udp) and len > 60 and (icmp or icmp6)", "`tcp or udp` and `icmp or icmp6` exclude each other", EITHER),
    ("(tcp and udp) or (ip and ip6)", "`tcp` and `udp` exclude each other, and `ip` and `ip6` exclude each other", EITHER),
    ("not (tcp or not tcp)", "`not tcp` and `tcp` exclude each other", ""),
    // Two values of one field.
    ("host 10.0.0.1 and not host 10.0.0.1", "`host 10.0.0.1` and `not host 10.0.0.1` exclude each other", ""),
    ("host helios and 10.0.0.2 and 10.0.0.3",
     "`host helios`, `host 10.0.0.2` and `host 10.0.0.3` exclude each other", EITHER),
    ("port 5 and port 7 and port 9", "`port 5`, `port 7` and `port 9` exclude each other", EITHER),
    ("src port 5 and 7", "`src port 5` and `src port 7` exclude each other", EITHER),
    ("src net 10.0.0.0/8 and src host 11.0.0.1", "`src net 10.0.0.0/8` and `src host 11.0.0.1` exclude each other", EITHER),
    ("ip multicast and dst host 10.0.0.1", "`ip multicast` and `dst host 10.0.0.1` exclude each other", EITHER),
    ("broadcast and ether dst 02:00:00:00:00:01", "`broadcast` and `ether dst 02:00:00:00:00:01` exclude each other", EITHER),
    ("less 60 and greater 61", "`less 60` and `greater 61` exclude each other", EITHER),
    ("less 60 and greater 60 and len != 60", "`less 60`, `greater 60` and `len != 60` exclude each other", EITHER),
    ("ip[9] = 6 and udp", "`ip[9] = 6` and `udp` exclude each other", EITHER),
    ("port 80 and (tcp[0:2] = 5 and tcp[2:2] = 6)", "`port 80`, `tcp[0:2] = 5` and `tcp[2:2] = 6` exclude each other", EITHER),
    ("tcp[13] & 7 = 2 and tcp[13] & 2 = 0", "`tcp[13] & 7 = 2` and `tcp[13] & 2 = 0` exclude each other", EITHER),
    ("tcp[tcpflags] & tcp-syn = 1", "`tcp[tcpflags] & tcp-syn = 1` is never true",
     "`& 2` keeps only the bits of 2: if any of them is set, `tcp[13] & 2 != 0` is true"),
    ("udp[0] = 1234", "`udp[0] = 1234` is never true",
     "`udp[0]` is at most 255; a number after a colon is the width in bytes, 1, 2 or 4"),
    ("len < 0", "`len < 0` is never true", ""),
    ("1 = 2", "`1 = 2` is never true", ""),
    // Headers between link layer and IP, and tunnels.
    ("ip and mpls", "`ip` and `mpls` exclude each other",
     "write what follows such a header after its word: `mpls and ip`"),
    ("ip and vlan and vlan 5", "`ip` and `vlan` exclude each other",
     "write what follows such a header after its word: `vlan and ip`"),
    ("tcp port 80 and pppoes 5", "`tcp port 80` and `pppoes 5` exclude each other",
     "write what follows such a header after its word: `pppoes 5 and tcp port 80`"),
    ("vlan and tcp and udp", "`tcp` and `udp` exclude each other", EITHER),
    ("tcp and inner udp", "`tcp` and `inner udp` exclude each other", OUTER_PACKET),
    ("inner tcp and inner udp", "`inner tcp` and `inner udp` exclude each other", ""),
    ("inner tcp and not inner tcp", "`inner tcp` and `not inner …` exclude each other", ""),
    ("inner (vlan and tcp and udp)", "`tcp` and `udp` exclude each other", EITHER),
    // Facts of a drop.
    ("reason NO_SOCKET and reason NETFILTER_DROP", "`reason NO_SOCKET` and `reason NETFILTER_DROP` exclude each other", EITHER),
    ("reason NO_SOCKET and not reason no_*", "`reason NO_SOCKET` and `not reason no_*` exclude each other", ""),
    ("reason NO_SOCKET and trap *", "`reason NO_SOCKET` and `trap *` exclude each other", ORIGINS),
    ("origin hw and noise", "`origin hw` and `noise` exclude each other", ORIGINS),
    ("location tcp_v4_rcv and location udp_*", "`location tcp_v4_rcv` and `location udp_*` exclude each other", EITHER),
    ("module gre and nf_tables", "`module gre` and `module nf_tables` exclude each other", EITHER),
    ("iface eth0 and iface eth1", "`iface eth0` and `iface eth1` exclude each other", EITHER),
    ("iface 2 and 3", "`iface 2` and `iface 3` exclude each other", EITHER),
    ("pc 1 and pc 2", "`pc 1` and `pc 2` exclude each other", EITHER),
    ("inbound and outbound", "`inbound` and `outbound` exclude each other", EITHER),
];

#[test]
fn the_interface_option_is_named_as_a_part_of_the_conflict() {
    let filter = parse("len > 5 and iface eth1 or ifname eth2").on_interface("eth0");
    assert_eq!(
        filter.contradiction().unwrap().to_string(),
        "no drop can match this filter: `-i eth0` and `len > 5 and iface eth1 or ifname eth2` \
         exclude each other"
    );
    assert_eq!(filter.contradiction().unwrap().hint, None);
}

#[test]
fn a_filter_that_can_match_is_not_reported() {
    for text in [
        "",
        "tcp or udp and port 53",
        "port 5 and port 7",
        "host 10.0.0.1 and host 10.0.0.2",
        "vlan 5 and vlan 6",
        "vlan and ip",
        // Of a packet whose tag was taken off.
        "ip and vlan",
        "vlan 5 and not vlan 5",
        "vlan and not vlan",
        "mpls 5 and mpls 6 and ip6",
        "ip6 and tcp",
        "ip and host ace",
        "icmp and inner tcp or udp and inner ip6",
        "mpls and llc and ip",
        "ip6 and protochain 17 and not udp",
        "location tcp_v4_rcv and tcp_v4_rcv.part.0",
        "location tcp_v4_rcv and tcp_v4_rcv+0x1/0x2",
        "reason NO_* and *_SOCKET",
        "iface if5 and iface if05",
        "iface 5 and iface eth0",
        "not reason NO_SOCKET and not trap *",
        "ip proto 47 and inner (ip6 and tcp)",
        "ip broadcast and not ip multicast",
        "vlan and saddr 10.0.0.1 and ip",
        "ip6 and sport 53 and not udp and not tcp and not sctp",
    ] {
        assert_eq!(parse(text).contradiction(), None, "{text}");
    }
}

/// The search in a long expression ends after a limited number of steps.
#[test]
fn the_search_in_a_long_filter_ends() {
    let ports = (1..300).map(|port| format!("(port {port} or host 10.0.0.{})", port % 250));
    let flows =
        (1..300).map(|port| format!("(sport {port} or flow tcp 10.0.0.1:{port} 10.0.0.2:2)"));
    for text in [
        ports.collect::<Vec<_>>().join(" and "),
        flows.collect::<Vec<_>>().join(" and "),
        "not port 1".to_owned() + &" and not port 2".repeat(900),
        "port 1".to_owned() + &" or 2".repeat(50_000),
        "tcp".to_owned() + &" or tcp and udp".repeat(20_000),
        "tcp".to_owned() + &" and udp or tcp".repeat(400),
        format!("udp and (tcp{})", " or tcp port 80".repeat(400)),
        "inner ".repeat(99) + "(tcp and udp)",
        "(".repeat(99) + "tcp and udp" + &") or icmp and len > 5".repeat(99),
        format!("reason {}", vec!["A* or B*"; 400].join(" and ")),
    ] {
        let filter = parse(&text);
        let started = std::time::Instant::now();
        let _ = filter.contradiction();
        let seconds = started.elapsed().as_secs();
        assert!(seconds < 5, "{seconds} s: {}…", &text[..60]);
    }
}

/// Primitives of every kind, with values that the samples have.
const PRIMITIVES: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "rarp",
    "stp",
    "pppoed",
    "ether proto 0x88cc",
    "ether proto 0x42",
    "ether proto 0xfe",
    "ether proto 0xe0",
    "ether proto 0x21",
    "ether proto 0x57",
    "ether proto 0x281",
    "ether proto 0x31",
    "ether proto 0x8137",
    "ether proto 0x809b",
    "ether proto 0x6003",
    "ether proto 0x27",
    "ether proto 0x29",
    "ether proto 0x8100",
    "ether proto 0x8847",
    "ether proto 0x8864",
    "ether proto 0x9100",
    "ether proto 0",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "gre",
    "esp",
    "ah",
    "ospf",
    "ip proto 6",
    "ip6 proto 6",
    "ip6 proto 44",
    "proto 0",
    "proto 17",
    "ip proto 17",
    "ip6 proto 58",
    "protochain 6",
    "ip protochain 17",
    "ip6 protochain 58",
    "protochain 51",
    "protochain 44",
    "host 10.0.0.1",
    "src host 10.0.0.1",
    "dst host 10.0.0.1",
    "src and dst host 10.0.0.1",
    "dst 10.0.1.2",
    "net 10.0.0.0/24",
    "src net 10.0.0.0/8",
    "dst net 224.0.0.0/4",
    "net 0.0.0.0/0",
    "src net 10.0.0.0 mask 255.0.255.0",
    "arp host 10.0.0.1",
    "rarp src 10.0.0.1",
    "ip host 10.0.1.2",
    "host 2001:db8::1",
    "src net 2001:db8::/32",
    "dst net ::/0",
    "dst host ff02::1",
    "saddr 10.0.0.1",
    "daddr 10.0.1.2",
    "addr 2001:db8::/32",
    "addr 10.0.0.0/8",
    "saddr ::/0",
    "port 53",
    "src port 53",
    "dst port 80",
    "tcp port 22",
    "udp src port 1234",
    "sctp port 443",
    "src and dst port 53",
    "portrange 50-100",
    "dst portrange 400-5000",
    "sport 53",
    "dport 80",
    "dport 400-5000",
    "sport 0-65535",
    "flow tcp 10.0.0.1:53 10.0.1.2:80",
    "flow udp 10.0.1.2:80 10.0.0.1:53",
    "flow udp [2001:db8::1]:53 [ff02::1]:80",
    "ether host 02:00:00:00:00:01",
    "ether src 02:00:00:00:00:02",
    "ether dst ff:ff:ff:ff:ff:ff",
    "broadcast",
    "multicast",
    "ip broadcast",
    "ip multicast",
    "ip6 multicast",
    "vlan",
    "vlan 5",
    "vlan 100",
    "mpls",
    "mpls 16",
    "pppoes",
    "pppoes 3",
    "llc",
    "llc u",
    "llc i",
    "llc s",
    "llc ui",
    "llc test",
    "less 60",
    "greater 70",
    "len = 74",
    "len != 74",
    "900 < len",
    "len - 14 > 40",
    "1 = 1",
    "ip[9] = 6",
    "ip[6:2] & 0x1fff != 0",
    "ip[0] & 0xf = 5",
    "ip[0] & 15 > 5",
    "ip[16] >= 224",
    "ip[12:4] = 0x0a000001",
    "ip[8] < 255",
    "tcp[tcpflags] & 2 != 0",
    "tcp[13] = 18",
    "tcp[0:2] = 53",
    "udp[2:2] = 80",
    "udp[0:2] & 0xff00 = 0",
    "icmp[0] = 135",
    "igmp[0] != 2",
    "icmp6[0] = 135",
    "icmp6[0] & 0x80 = 0x80",
    "ip6[6] = 44",
    "ip6[40] = 6",
    "ip6[40:2] = 53",
    "ether[0] & 1 = 1",
    "ether[12:2] = 0x800",
    "arp[14:4] = 0x0a000001",
    "rarp[6:2] = 1",
    "ip[2:2] - ip[0] = 0",
    "tcp[0:2] = tcp[2:2]",
    "2 = icmp[0]",
    "inner ip",
    "inner ip6",
    "inner tcp",
    "inner (udp and port 53)",
    "inner inner ip",
    "inner saddr 10.0.0.1",
    "inner len > 60",
    "reason NO_SOCKET",
    "reason NETFILTER_DROP",
    "reason NO*",
    "reason *_*",
    "location tcp_v4_rcv",
    "location nf_hook_slow",
    "location nf_hook_slow.part.0",
    "location nf_hook_slow.part.0+0x1/0x2",
    "location gre*",
    "location *",
    "location nf_hook_slow.*",
    "module gre",
    "module nf_*",
    "pc 0xffffffffb3d420b5",
    "origin sw",
    "origin hw",
    "trap blackhole_route",
    "trap *",
    "trap_group l3_drops",
    "iface 2",
    "iface 5",
    "iface eth0",
    "ifname if5",
    "ifname if05",
    "iface = \"\"",
    "ifname = \"\"",
    "pc = \"\"",
    "protocol 0x0800",
    "protocol = \"\"",
    "reason = NO_SOCKET",
    "reason = \"\"",
    "location = nf_hook_slow",
    "module = gre",
    "module = \"\"",
    "trap = blackhole_route",
    "trap_group = \"\"",
    "flow none",
    "flow udp 10.0.0.1:53 > 10.0.1.2:80",
    "inbound",
    "outbound",
    "noise",
];

fn moves_headers(primitive: &str) -> bool {
    ["vlan", "mpls", "pppoes"]
        .iter()
        .any(|word| primitive.starts_with(word))
}

/// There are no false alarms: if two primitives, negated or not, are both true of some sample,
/// their conjunction is not called impossible. `context` is the expression around the two. One pair
/// of 29 is tried; with `DWDUMP_ALL_PAIRS` in the environment all are, which takes some minutes.
fn check_for_false_alarms(context: impl Fn(&str) -> String) {
    let words = SAMPLES.len().div_ceil(64);
    let literals: Vec<(String, Vec<u64>)> = PRIMITIVES
        .iter()
        .flat_map(|primitive| [(*primitive).to_owned(), format!("not {primitive}")])
        .map(|literal| {
            let filter = parse(&context(&literal));
            let mut matches = vec![0_u64; words];
            for (index, sample) in SAMPLES.iter().enumerate() {
                if filter.matches(&sample.record()) {
                    matches[index / 64] |= 1 << (index % 64);
                }
            }
            (literal, matches)
        })
        .collect();
    let step = if std::env::var_os("DWDUMP_ALL_PAIRS").is_some() {
        1
    } else {
        29
    };
    let (mut pairs, mut together, mut impossible) = (0_usize, 0, 0);
    for (index, (one, one_matches)) in literals.iter().enumerate() {
        if moves_headers(one.trim_start_matches("not ")) {
            continue;
        }
        for (other, other_matches) in &literals[index + 1..] {
            pairs += 1;
            if pairs % step != 0 {
                continue;
            }
            let text = context(&format!("{one} and {other}"));
            let is_possible = one_matches
                .iter()
                .zip(other_matches)
                .any(|(a, b)| a & b != 0);
            let contradiction = parse(&text).contradiction();
            together += usize::from(is_possible);
            impossible += usize::from(contradiction.is_some());
            assert!(!(is_possible && contradiction.is_some()), "{text}");
        }
    }
    println!(
        "{}: {together} pairs hold together, {impossible} are called impossible",
        context("…")
    );
    assert!(together > 1000 && impossible > 100);
}

#[test]
fn two_primitives_that_match_one_packet_never_exclude_each_other() {
    check_for_false_alarms(str::to_owned);
}

#[test]
fn primitives_after_a_word_that_moves_the_headers_raise_no_false_alarm() {
    for word in ["vlan", "mpls", "pppoes"] {
        check_for_false_alarms(|text| format!("{word} and {text}"));
    }
}

#[test]
fn primitives_inside_a_tunnel_raise_no_false_alarm() {
    check_for_false_alarms(|text| format!("inner ({text})"));
}

proptest! {
    /// Tests whole expressions with packets made for them.
    #[test]
    fn no_packet_matches_a_filter_that_is_called_impossible(
        one in any_expression(),
        other in any_expression(),
        negated in any::<bool>(),
    ) {
        let not = if negated { "not " } else { "" };
        let text = format!("({one}) and {not}({other})");
        let Ok(filter) = Filter::parse(&text, &FixedNames) else {
            return Ok(());
        };
        if filter.contradiction().is_some() {
            for sample in SAMPLES.iter() {
                prop_assert!(!filter.matches(&sample.record()), "{text}: {sample:?}");
            }
        }
    }
}
