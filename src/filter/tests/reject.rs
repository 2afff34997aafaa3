//! Expressions that are not valid filters, with the exact error for each: the order of words,
//! protocols, and the words for drops.

use super::super::Filter;
use super::super::names::FixedNames;

/// An expression, its error message, and the carets under the offending part.
pub type RejectRow = (&'static str, &'static str, &'static str);

#[track_caller]
pub fn check(rows: &[RejectRow]) {
    for (expression, message, carets) in rows {
        let error = Filter::parse(expression, &FixedNames).expect_err(expression);
        assert_eq!(
            error.to_string(),
            format!("invalid filter: {message}\n  {expression}\n  {carets}")
        );
    }
}

#[test]
fn words_in_the_wrong_order_are_refused() {
    check(THE_ORDER_OF_WORDS);
}

#[test]
fn misplaced_parentheses_are_refused() {
    check(PARENTHESES);
}

#[test]
fn impossible_protocols_are_refused() {
    check(PROTOCOLS);
}

#[test]
fn wrong_operands_of_words_for_the_drop_are_refused() {
    check(WORDS_FOR_THE_DROP);
}

#[test]
fn inner_without_an_expression_is_refused() {
    check(TUNNELS);
}

#[test]
fn unsupported_words_are_refused_by_name() {
    check(UNSUPPORTED_WORDS);
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize| "(".repeat(levels) + "tcp" + &")".repeat(levels);
    assert_eq!(
        Filter::parse(&nested(100), &FixedNames)
            .unwrap()
            .to_string(),
        "tcp"
    );
    for text in [
        nested(101),
        nested(100_000),
        "inner ".repeat(100_000) + "tcp",
        "ip[".repeat(100_000),
        "port ".to_owned() + &"(".repeat(100_000),
        "len = ".to_owned() + &"(".repeat(100_000),
        "len = 1".to_owned() + &" % 1".repeat(100_000),
    ] {
        let error = Filter::parse(&text, &FixedNames).unwrap_err();
        assert_eq!(error.message(), "nested too deeply: at most 100 levels");
    }
}

#[test]
fn a_filter_without_nesting_may_be_long() {
    for text in [
        "tcp".to_owned() + &" or tcp and udp".repeat(20_000),
        "not ".repeat(100_000) + "tcp",
        "len = 0".to_owned() + &" + 1 - 2".repeat(20_000),
        "len = ".to_owned() + &"- ".repeat(100_000) + "1",
        "port 1".to_owned() + &" or 2".repeat(50_000),
        "reason A".to_owned() + &" or B*".repeat(50_000),
    ] {
        Filter::parse(&text, &FixedNames).unwrap();
    }
}

const THE_ORDER_OF_WORDS: &[RejectRow] = &[
    (
        "10.0.0.1",
        "expected a word such as `host` or `port` before this",
        "^^^^^^^^",
    ),
    (
        "80",
        "expected a word such as `host` or `port` before this",
        "^^",
    ),
    (
        "foo",
        "unknown word `foo`: a name needs `host` before it",
        "^^^",
    ),
    ("tcp 80", "expected `and` or `or`", "    ^^"),
    ("tcp foo", "expected `and` or `or`", "    ^^^"),
    (
        "tcp and",
        "expected an expression, for instance `host 10.0.0.1`",
        "       ^",
    ),
    (
        "tcp or",
        "expected an expression, for instance `host 10.0.0.1`",
        "      ^",
    ),
    (
        "and tcp",
        "expected an expression, for instance `host 10.0.0.1`",
        "^^^",
    ),
    (
        "not",
        "expected an expression, for instance `host 10.0.0.1`",
        "   ^",
    ),
    (
        "tcp and and udp",
        "expected an expression, for instance `host 10.0.0.1`",
        "        ^^^",
    ),
    (
        "tcp and 80",
        "expected a word such as `host` or `port` before this",
        "        ^^",
    ),
    ("tcp ip", "expected `and` or `or`", "    ^^"),
    ("ip tcp", "expected `and` or `or`", "   ^^^"),
    (
        "vlan 5 or 6",
        "expected a word such as `host` or `port` before this",
        "          ^",
    ),
    (
        "inner port 80 or 443",
        "expected a word such as `host` or `port` before this",
        "                 ^^^",
    ),
    ("tcp; udp", "expected `and` or `or`", "   ^"),
];

const PARENTHESES: &[RejectRow] = &[
    ("tcp )", "expected `and` or `or`", "    ^"),
    ("(tcp", "this parenthesis is never closed", "^"),
    ("(tcp or (udp)", "this parenthesis is never closed", "^"),
    (
        "()",
        "expected an expression, for instance `host 10.0.0.1`",
        " ^",
    ),
    (
        "(",
        "expected an expression, for instance `host 10.0.0.1`",
        " ^",
    ),
];

const PROTOCOLS: &[RejectRow] = &[
    ("arp proto 1", "this cannot be used with `proto`", "^^^"),
    (
        "ip proto 256",
        "expected an IP protocol from 0 to 255 or its name",
        "         ^^^",
    ),
    (
        "ip proto nosuch",
        "expected an IP protocol from 0 to 255 or its name",
        "         ^^^^^^",
    ),
    (
        "proto",
        "expected an IP protocol from 0 to 255 or its name",
        "     ^",
    ),
    ("tcp proto 6", "this cannot be used with `proto`", "^^^"),
    (
        "tcp broadcast",
        "this cannot be used with `broadcast`",
        "^^^",
    ),
    (
        "ip6 broadcast",
        "this cannot be used with `broadcast`",
        "^^^",
    ),
    (
        "arp multicast",
        "this cannot be used with `multicast`",
        "^^^",
    ),
];

const WORDS_FOR_THE_DROP: &[RejectRow] = &[
    (
        "reason",
        "expected a drop reason, for instance NO_SOCKET",
        "      ^",
    ),
    (
        "reason and",
        "expected a drop reason, for instance NO_SOCKET",
        "       ^^^",
    ),
    (
        "reason NO_SOCKET NETFILTER_DROP",
        "expected `and` or `or`",
        "                 ^^^^^^^^^^^^^^",
    ),
    (
        "reason \"NO_SOCKET",
        "this quotation mark is never closed",
        "       ^",
    ),
    (
        "reason \"\"",
        "expected a drop reason, for instance NO_SOCKET",
        "       ^^",
    ),
    (
        "location",
        "expected a function of the kernel, for instance ip_rcv*",
        "        ^",
    ),
    ("module", "expected a kernel module", "      ^"),
    (
        "pc",
        "expected an address, for instance 0xffffffffb3d420b5",
        "  ^",
    ),
    (
        "pc ip_rcv",
        "expected an address, for instance 0xffffffffb3d420b5",
        "   ^^^^^^",
    ),
    (
        "pc ffffffffb3d420b5",
        "expected an address, for instance 0xffffffffb3d420b5",
        "   ^^^^^^^^^^^^^^^^",
    ),
    (
        "pc 0x1ffffffffb3d420b5",
        "expected an address, for instance 0xffffffffb3d420b5",
        "   ^^^^^^^^^^^^^^^^^^^",
    ),
    ("origin", "expected `sw` or `hw`", "      ^"),
    ("origin kernel", "expected `sw` or `hw`", "       ^^^^^^"),
    (
        "trap",
        "expected a trap, for instance blackhole_route",
        "    ^",
    ),
    (
        "trap_group",
        "expected a trap group, for instance l3_drops",
        "          ^",
    ),
    ("iface", "expected an interface name or index", "     ^"),
    (
        "iface 4294967296",
        "expected an interface index below 4294967296",
        "      ^^^^^^^^^^",
    ),
    ("ifname", "expected an interface name", "      ^"),
];

const TUNNELS: &[RejectRow] = &[
    (
        "inner",
        "expected an expression, for instance `host 10.0.0.1`",
        "     ^",
    ),
    (
        "inner and",
        "expected an expression, for instance `host 10.0.0.1`",
        "      ^^^",
    ),
];

const UNSUPPORTED_WORDS: &[RejectRow] = &[
    (
        "gateway helios",
        "`gateway` is not supported: use `ether host` and `not host`",
        "^^^^^^^",
    ),
    (
        "wlan host 02:00:00:00:00:01",
        "`wlan` is not supported",
        "^^^^",
    ),
    (
        "decnet",
        "`decnet` is not supported: use `ether proto decnet`",
        "^^^^^^",
    ),
    (
        "atalk",
        "`atalk` is not supported: use `ether proto atalk`",
        "^^^^^",
    ),
    ("type mgt", "`type` is not supported", "^^^^"),
    ("rset x", "`rset` is not supported", "^^^^"),
    (
        "tcp and byte 0 = 5",
        "`byte` is not supported",
        "        ^^^^",
    ),
];
