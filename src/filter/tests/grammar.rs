//! Generates random expressions. tests/filter_oracle compares them with tcpdump.

use proptest::prelude::*;
use proptest::sample::select;

/// Generates expressions of pcap-filter(7) alone, with values that the test packets have.
pub fn packet_expression() -> BoxedStrategy<String> {
    expression(packet_primitive().boxed())
}

/// Generates expressions of `and`, `or`, `not`, parentheses and `primitive`.
fn expression(primitive: BoxedStrategy<String>) -> BoxedStrategy<String> {
    primitive
        .prop_recursive(4, 24, 4, |inner| {
            let chain = (
                inner.clone(),
                proptest::collection::vec(
                    (select(&["and", "or", "&&", "||"][..]), inner.clone()),
                    1..4,
                ),
            )
                .prop_map(|(first, rest)| {
                    rest.into_iter()
                        .fold(first, |text, (word, next)| format!("{text} {word} {next}"))
                });
            prop_oneof![
                3 => chain.clone(),
                2 => chain.prop_map(|text| format!("({text})")),
                1 => inner.clone().prop_map(|text| format!("not ({text})")),
                1 => inner.prop_map(|text| format!("! ( {text} )")),
            ]
        })
        .boxed()
}

const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.0.1.2",
    "10.0.0.9",
    "224.0.0.22",
    "10.10.2.4",
    "2001:db8::1",
    "2001:db8:0:1::2",
    "ff02::1",
];
const NETS: &[&str] = &[
    "10",
    "10.0",
    "10.0.1",
    "10.0.0.0/24",
    "224.0.0.0/4",
    "0.0.0.0/0",
    "2001:db8::/32",
    "2001:db8:0:1::/64",
    "10.0.0.0 mask 255.0.255.0",
];

pub fn packet_primitive() -> impl Strategy<Value = String> {
    let word = select(
        &[
            "ip",
            "ip6",
            "arp",
            "rarp",
            "tcp",
            "udp",
            "sctp",
            "icmp",
            "icmp6",
            "igmp",
            "pim",
            "vrrp",
            "esp",
            "ah",
            "llc",
            "stp",
            "broadcast",
            "multicast",
            "ip multicast",
            "ip6 multicast",
            "vlan",
            "vlan 5",
            "vlan 100",
            "mpls",
            "mpls 16",
            "pppoes",
            "pppoes 3",
            "pppoed",
        ][..],
    )
    .prop_map(str::to_owned);
    let direction = || select(&["", "src ", "dst ", "src or dst ", "src and dst "][..]);
    let host = (direction(), select(ADDRESSES))
        .prop_map(|(side, address)| format!("{side}host {address}"));
    let net = (direction(), select(NETS)).prop_map(|(side, net)| format!("{side}net {net}"));
    let scope = select(&["", "tcp ", "udp ", "sctp "][..]);
    let port = (
        scope,
        direction(),
        select(&[22_u16, 53, 80, 443, 1234, 4789][..]),
    )
        .prop_map(|(scope, side, port)| format!("{scope}{side}port {port}"));
    let range = (direction(), 0_u16..9000, 0_u16..3000)
        .prop_map(|(side, first, more)| format!("{side}portrange {first}-{}", first + more));
    let mac = select(
        &[
            "ether host 02:00:00:00:00:01",
            "ether dst ff:ff:ff:ff:ff:ff",
        ][..],
    )
    .prop_map(str::to_owned);
    let proto = (
        select(&["ip proto", "ip6 proto", "proto"][..]),
        select(&[1_u8, 6, 17, 44, 47, 58][..]),
    )
        .prop_map(|(word, number)| format!("{word} {number}"));
    let kind = select(&[0x0800_u16, 0x86dd, 0x42, 0xfe, 0xe0, 0x88cc][..])
        .prop_map(|kind| format!("ether proto {kind:#x}"));
    prop_oneof![
        4 => word,
        3 => host,
        2 => net,
        3 => port,
        1 => range,
        1 => mac,
        1 => proto,
        1 => kind,
        4 => relation(),
    ]
}

/// Generates comparisons of arithmetic.
pub fn relation() -> impl Strategy<Value = String> {
    let sign = select(&["=", "==", "!=", "<", "<=", ">", ">="][..]);
    (arithmetic(), sign, arithmetic())
        .prop_map(|(left, sign, right)| format!("{left} {sign} {right}"))
}

fn arithmetic() -> BoxedStrategy<String> {
    let load = (
        select(
            &[
                "ether", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "igmp",
            ][..],
        ),
        0_u8..30,
        select(&["", ":1", ":2", ":4"][..]),
    )
        .prop_map(|(header, offset, width)| format!("{header}[{offset}{width}]"));
    let leaf = prop_oneof![
        3 => load,
        1 => Just("tcp[tcpflags]".to_owned()),
        3 => plain(),
    ];
    leaf.prop_recursive(3, 6, 2, |inner| {
        // Loads stand on the left, because tcpdump does not check for the header of a load on the
        // right. Nothing is divided by a field that may be zero, no offset exceeds every packet,
        // and the operands of `%` and `^` are in parentheses.
        let sign = select(&["+", "-", "*", "&", "|", "<<", ">>"][..]);
        let last = select(&["/", "%", "^"][..]);
        prop_oneof![
            3 => (inner.clone(), sign, 1_u32..31)
                .prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
            1 => (inner.clone(), last, 1_u32..31)
                .prop_map(|(left, sign, right)| format!("(({left}) {sign} {right})")),
            1 => (inner.clone(), select(&["+", "-", "*", "&", "|"][..]), plain())
                .prop_map(|(left, sign, right)| format!("({left} {sign} {right})")),
            1 => inner.prop_map(|offset| format!("ip[({offset}) & 31]")),
        ]
    })
    .boxed()
}

/// Generates arithmetic without a load.
fn plain() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("len".to_owned()),
        1 => Just("tcp-syn".to_owned()),
        2 => (0_u32..300).prop_map(|number| number.to_string()),
        1 => any::<u32>().prop_map(|number| format!("{number:#x}")),
    ]
}

/// Generates expressions of the whole language.
#[allow(dead_code, reason = "tcpdump does not know it")]
pub fn any_expression() -> BoxedStrategy<String> {
    let ours = select(
        &[
            "saddr 10.0.0.0/8",
            "daddr 2001:db8::1",
            "addr helios or ace",
            "sport 53",
            "dport 80-90",
            "flow tcp 10.0.0.1:1234 10.0.1.2:80",
            "flow udp [::1]:1 [::2]:2",
            "flow udp 10.0.0.1:53 > 10.0.1.2:5353",
            "flow tcp 10.0.0.1 > 10.0.1.2",
            "flow icmp6 ::1 > ::2",
            "flow 200 10.0.0.1 > 10.0.1.2",
            "flow none",
            "protocol 0x0806 or = \"\"",
            "reason = \"No*\\x22\" or = \"\"",
            "location = \"gre_rcv+0x41/0xb0 [gre]\"",
            "module = gre or = \"\"",
            "trap == a or trap_group = \"\"",
            "iface = \"\" or = 5 or = eth0",
            "pc = \"\" or = 0x5",
            "gre",
            "ospf",
            "inbound",
            "outbound",
            "reason NO_SOCKET or NETFILTER_*",
            "reason \"odd name\"",
            "location ip_rcv*",
            "module gre",
            "pc 0xffffffffb3d420b5",
            "origin sw",
            "origin hw",
            "trap *",
            "trap_group l3_*",
            "iface eth0 or 2",
            "ifname \"5\"",
            "protochain 6",
            "host ace",
            "port ssh or 80",
            "ip broadcast",
            "llc ui",
            "len % 5 + 3 = 2",
            "2 * len ^ 3 & 1 = 1",
            "-ip[0] - -len > 3",
        ][..],
    )
    .prop_map(str::to_owned);
    let primitive = prop_oneof![2 => packet_primitive(), 1 => ours].boxed();
    expression(primitive)
        .prop_recursive(2, 8, 1, |inner| {
            prop_oneof![
                inner.clone(),
                inner.clone().prop_map(|text| format!("inner ({text})")),
                inner.prop_map(|text| format!("not ({text}) or inner inner tcp")),
            ]
        })
        .boxed()
}
