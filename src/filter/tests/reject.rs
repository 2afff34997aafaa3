//! What is not a filter, and the exact words for it.

use super::super::Filter;
use super::super::names::FixedNames;

/// The message, and the expression with carets under the offending part.
#[track_caller]
fn check(expression: &str, message: &str, carets: &str) {
    let error = Filter::parse(expression, &FixedNames).expect_err(expression);
    assert_eq!(
        error.to_string(),
        format!("invalid filter: {message}\n  {expression}\n  {carets}")
    );
}

#[test]
fn the_order_of_words() {
    check(
        "10.0.0.1",
        "expected a word such as `host` or `port` before this",
        "^^^^^^^^",
    );
    check(
        "80",
        "expected a word such as `host` or `port` before this",
        "^^",
    );
    check(
        "foo",
        "unknown word `foo`: a name needs `host` before it",
        "^^^",
    );
    check("tcp 80", "expected `and` or `or`", "    ^^");
    check("tcp foo", "expected `and` or `or`", "    ^^^");
    check(
        "tcp and",
        "expected an expression, for instance `host 10.0.0.1`",
        "       ^",
    );
    check(
        "tcp or",
        "expected an expression, for instance `host 10.0.0.1`",
        "      ^",
    );
    check(
        "and tcp",
        "expected an expression, for instance `host 10.0.0.1`",
        "^^^",
    );
    check(
        "not",
        "expected an expression, for instance `host 10.0.0.1`",
        "   ^",
    );
    check(
        "tcp and and udp",
        "expected an expression, for instance `host 10.0.0.1`",
        "        ^^^",
    );
    check(
        "tcp and 80",
        "expected a word such as `host` or `port` before this",
        "        ^^",
    );
    check("tcp & udp", "expected `and` or `or`", "    ^");
    check("tcp ip", "expected `and` or `or`", "    ^^");
    check("ip tcp", "expected `and` or `or`", "   ^^^");
    check(
        "vlan 5 or 6",
        "expected a word such as `host` or `port` before this",
        "          ^",
    );
    check(
        "inner port 80 or 443",
        "expected a word such as `host` or `port` before this",
        "                 ^^^",
    );
    check("tcp; udp", "expected `and` or `or`", "   ^");
}

#[test]
fn parentheses() {
    check("tcp )", "expected `and` or `or`", "    ^");
    check("(tcp", "this parenthesis is never closed", "^");
    check("(tcp or (udp)", "this parenthesis is never closed", "^");
    check(
        "()",
        "expected an expression, for instance `host 10.0.0.1`",
        " ^",
    );
    check(
        "(",
        "expected an expression, for instance `host 10.0.0.1`",
        " ^",
    );
}

#[test]
fn ports() {
    check(
        "tcp and port 70000",
        "expected a port number from 0 to 65535",
        "             ^^^^^",
    );
    check(
        "port",
        "expected a port number from 0 to 65535 or a service name",
        "    ^",
    );
    check(
        "port and",
        "expected a port number from 0 to 65535 or a service name",
        "     ^^^",
    );
    check(
        "port 80-90",
        "expected a single port: a range is written `portrange 80-90`",
        "     ^^^^^",
    );
    check(
        "port nosuch",
        "expected a port number or a service: `nosuch` is not in /etc/services",
        "     ^^^^^^",
    );
    check(
        "port tcp",
        "expected a port number from 0 to 65535 or a service name",
        "     ^^^",
    );
    check(
        "port 080",
        "expected a port number from 0 to 65535",
        "     ^^^",
    );
    check(
        "port -5",
        "expected a port number from 0 to 65535",
        "     ^^",
    );
    check(
        "udp port ssh",
        "`ssh` is not a service over udp",
        "         ^^^",
    );
    check(
        "tcp port tftp",
        "`tftp` is not a service over tcp",
        "         ^^^^",
    );
    check(
        "sctp port ssh",
        "`ssh` is not a service over sctp",
        "          ^^^",
    );
    check(
        "portrange 1-70000",
        "expected a port number from 0 to 65535",
        "            ^^^^^",
    );
    check(
        "portrange x-y",
        "expected a range of ports, for instance 6000-6008",
        "          ^^^",
    );
    check("ip port 80", "this does not go with `port`", "^^");
    check("icmp port 80", "this does not go with `port`", "^^^^");
    check("gre port 80", "this does not go with `port`", "^^^");
    check("ether port 80", "this does not go with `port`", "^^^^^");
    check(
        "sport",
        "expected a port number from 0 to 65535 or a range",
        "     ^",
    );
    check(
        "sport 70000",
        "expected a port number from 0 to 65535",
        "      ^^^^^",
    );
    check(
        "dport 1-70000",
        "expected a port number from 0 to 65535",
        "        ^^^^^",
    );
    check("flow", "expected `tcp`, `udp` or `sctp`", "    ^");
    check(
        "flow icmp 10.0.0.1:1 10.0.0.2:2",
        "expected `tcp`, `udp` or `sctp`",
        "     ^^^^",
    );
    check(
        "flow tcp 10.0.0.1 10.0.0.2",
        "expected an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80",
        "         ^^^^^^^^",
    );
    check(
        "flow tcp 10.0.0.1:1",
        "expected an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80",
        "                   ^",
    );
}

#[test]
fn arithmetic() {
    check("less", "expected a length in bytes", "    ^");
    check("less x", "expected a length in bytes", "     ^");
    check("less -5", "expected a length in bytes", "     ^^");
    check(
        "greater 4294967296",
        "expected a length in bytes below 4294967296",
        "        ^^^^^^^^^^",
    );
    check(
        "len",
        "expected a comparison: =, !=, <, <=, > or >=",
        "   ^",
    );
    check(
        "len >",
        "expected a number, `len` or bytes such as `ip[0]`",
        "     ^",
    );
    check(
        "len-14 > 5",
        "unknown word `len-14`: `-` needs blanks around it",
        "^^^^^^",
    );
    check(
        "len > foo",
        "expected a number, `len` or bytes such as `ip[0]`",
        "      ^^^",
    );
    check(
        "ip[0]",
        "expected a comparison: =, !=, <, <=, > or >=",
        "     ^",
    );
    check("ip[0", "this bracket is never closed", "  ^");
    check(
        "ip[0:3] = 5",
        "expected a width of 1, 2 or 4 bytes",
        "     ^",
    );
    check(
        "ip[0:] = 5",
        "expected a width of 1, 2 or 4 bytes",
        "     ^",
    );
    check(
        "ip[] = 5",
        "expected a number, `len` or bytes such as `ip[0]`",
        "   ^",
    );
    check(
        "ip[0]] = 5",
        "expected a comparison: =, !=, <, <=, > or >=",
        "     ^",
    );
    check("ip[0 = 5", "expected an operator, `:` or `]`", "     ^");
    check(
        "ip[tcp] = 1",
        "expected a number, `len` or bytes such as `ip[0]`",
        "   ^^^",
    );
    check("ip[0] / 0 = 5", "division by zero", "        ^");
    check("ip[0] % 0 = 5", "division by zero", "        ^");
    check(
        "ip[0] << 32 = 5",
        "expected a shift by at most 31 bits",
        "         ^^",
    );
    check(
        "ip[0] = 4294967296",
        "expected a number below 4294967296",
        "        ^^^^^^^^^^",
    );
    check(
        "ip[0] = 09",
        "expected a number: decimal, 0x… or octal 0…",
        "        ^^",
    );
    check(
        "ip[0] = 5x",
        "expected a number: decimal, 0x… or octal 0…",
        "        ^^",
    );
    check(
        "ah[0] = 1",
        "the bytes of this protocol cannot be addressed",
        "^^",
    );
    check(
        "gre[0] = 1",
        "the bytes of this protocol cannot be addressed",
        "^^^",
    );
    check(
        "(ip[0] + 1",
        "expected a comparison: =, !=, <, <=, > or >=",
        "          ^",
    );
    check(
        "(ip[0] tcp) = 1",
        "expected a comparison: =, !=, <, <=, > or >=",
        "       ^^^",
    );
    check(
        "ip[0] = (1 + 2",
        "this parenthesis is never closed",
        "        ^",
    );
    check(
        "ip[0] = 1 + tcp",
        "expected a number, `len` or bytes such as `ip[0]`",
        "            ^^^",
    );
    check(
        "flow tcp 10.0.0.1:1 [::1]:2",
        "expected two addresses of the same family",
        "                    ^^^^^^^",
    );
    check(
        "port 80 or tcp[",
        "expected a number, `len` or bytes such as `ip[0]`",
        "               ^",
    );
}

#[test]
fn ethernet() {
    check(
        "ether",
        "expected `host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or `[` after `ether`",
        "     ^",
    );
    check(
        "ether host 10.0.0.1",
        "expected a MAC address, for instance 02:00:00:00:00:01",
        "           ^^^^^^^^",
    );
    check(
        "ether src 10",
        "expected a MAC address, for instance 02:00:00:00:00:01",
        "          ^^",
    );
    check(
        "ether host nosuch",
        "expected a MAC address, for instance 02:00:00:00:00:01",
        "           ^^^^^^",
    );
    check(
        "ether proto 70000",
        "expected an Ethernet type from 0 to 65535 or its name",
        "            ^^^^^",
    );
    check(
        "ether proto nosuch",
        "expected an Ethernet type from 0 to 65535 or its name",
        "            ^^^^^^",
    );
    check("vlan 4096", "expected a VLAN from 0 to 4095", "     ^^^^");
    check(
        "mpls 1048576",
        "expected an MPLS label from 0 to 1048575",
        "     ^^^^^^^",
    );
    check(
        "pppoes 65536",
        "expected a PPPoE session from 0 to 65535",
        "       ^^^^^",
    );
    check(
        "llc foo",
        "expected an LLC type: i, s, u, rr, rnr, rej, ui, ua, disc, sabme, test, xid or frmr",
        "    ^^^",
    );
}

#[test]
fn protocols() {
    check("arp proto 1", "this does not go with `proto`", "^^^");
    check(
        "ip proto 256",
        "expected an IP protocol from 0 to 255 or its name",
        "         ^^^",
    );
    check(
        "ip proto nosuch",
        "expected an IP protocol from 0 to 255 or its name",
        "         ^^^^^^",
    );
    check(
        "proto",
        "expected an IP protocol from 0 to 255 or its name",
        "     ^",
    );
    check("tcp proto 6", "this does not go with `proto`", "^^^");
    check("tcp broadcast", "this does not go with `broadcast`", "^^^");
    check("ip6 broadcast", "this does not go with `broadcast`", "^^^");
    check("arp multicast", "this does not go with `multicast`", "^^^");
}

#[test]
fn addresses() {
    check("tcp host 10.0.0.1", "this does not go with `host`", "^^^");
    check(
        "tcp src 10.0.0.1",
        "this does not go with `src` or `dst`",
        "^^^",
    );
    check("host", "expected an IP address or a host name", "    ^");
    check(
        "host tcp",
        "expected an IP address or a host name",
        "     ^^^",
    );
    check(
        "host 300.1.1.1",
        "expected an IPv4 address: four numbers from 0 to 255",
        "     ^^^^^^^^^",
    );
    check(
        "host 1.2.3.4.5",
        "expected an IPv4 address: four numbers from 0 to 255",
        "     ^^^^^^^^^",
    );
    check(
        "host nosuch",
        "cannot resolve host `nosuch`: name not known",
        "     ^^^^^^",
    );
    check(
        "host 02:00:00:00:00:01",
        "a MAC address needs `ether` before `host`",
        "     ^^^^^^^^^^^^^^^^^",
    );
    check(
        "host 10.0.0.0/8",
        "expected a single host: a network is written `net 10.0.0.0/8`",
        "     ^^^^^^^^",
    );
    check(
        "ip host ::1",
        "expected an IPv4 address here",
        "        ^^^",
    );
    check(
        "ip6 host 10.0.0.1",
        "expected an IPv6 address after `ip6`",
        "         ^^^^^^^^",
    );
    check(
        "ip6 host helios",
        "host `helios` has no address of this kind",
        "         ^^^^^^",
    );
    check(
        "host 4294967296",
        "expected an IPv4 address",
        "     ^^^^^^^^^^",
    );
    check("net", "expected a network, for instance 10.0.0.0/8", "   ^");
    check(
        "net nosuch",
        "expected a network, for instance 10.0.0.0/8",
        "    ^^^^^^",
    );
    check(
        "net 10.0.0.1/8",
        "host bits are set: the network is 10.0.0.0/8",
        "    ^^^^^^^^^^",
    );
    check(
        "net 10.0.0.0/33",
        "expected a prefix length from 0 to 32",
        "             ^^",
    );
    check(
        "net 2001:db8::1/32",
        "host bits are set: the network is 2001:db8::/32",
        "    ^^^^^^^^^^^^^^",
    );
    check(
        "net ::/129",
        "expected a prefix length from 0 to 128",
        "       ^^^",
    );
    check(
        "net 10.0.0.0/",
        "expected a prefix length from 0 to 32",
        "             ^",
    );
    check(
        "net 10.0.0.0 mask",
        "expected a netmask, for instance 255.0.0.0",
        "                 ^",
    );
    check(
        "net 10.0.0.0 mask ::1",
        "expected an IPv4 network with a netmask, for instance 10.0.0.0 mask 255.0.0.0",
        "    ^^^^^^^^^^^^^^^^^",
    );
    check(
        "net 10.0.0.1 mask 255.0.0.0",
        "host bits are set: the network is 10.0.0.0/8",
        "    ^^^^^^^^^^^^^^^^^^^^^^^",
    );
    check(
        "saddr",
        "expected an IP address, a network or a host name",
        "     ^",
    );
    check(
        "saddr 10.0.0.1/8",
        "host bits are set: the network is 10.0.0.0/8",
        "      ^^^^^^^^^^",
    );
    check(
        "saddr nosuch",
        "cannot resolve host `nosuch`: name not known",
        "      ^^^^^^",
    );
    check(
        "addr tcp",
        "expected an IP address, a network or a host name",
        "     ^^^",
    );
}

#[test]
fn what_only_a_drop_has() {
    check(
        "reason",
        "expected a drop reason, for instance NO_SOCKET",
        "      ^",
    );
    check(
        "reason and",
        "expected a drop reason, for instance NO_SOCKET",
        "       ^^^",
    );
    check(
        "reason NO_SOCKET NETFILTER_DROP",
        "expected `and` or `or`",
        "                 ^^^^^^^^^^^^^^",
    );
    check(
        "reason \"NO_SOCKET",
        "this quotation mark is never closed",
        "       ^",
    );
    check(
        "reason \"\"",
        "expected a drop reason, for instance NO_SOCKET",
        "       ^^",
    );
    check(
        "location",
        "expected a function of the kernel, for instance ip_rcv*",
        "        ^",
    );
    check("module", "expected a kernel module", "      ^");
    check(
        "pc",
        "expected an address, for instance 0xffffffffb3d420b5",
        "  ^",
    );
    check(
        "pc ip_rcv",
        "expected an address, for instance 0xffffffffb3d420b5",
        "   ^^^^^^",
    );
    check(
        "pc ffffffffb3d420b5",
        "expected an address, for instance 0xffffffffb3d420b5",
        "   ^^^^^^^^^^^^^^^^",
    );
    check(
        "pc 0x1ffffffffb3d420b5",
        "expected an address, for instance 0xffffffffb3d420b5",
        "   ^^^^^^^^^^^^^^^^^^^",
    );
    check("origin", "expected `sw` or `hw`", "      ^");
    check("origin kernel", "expected `sw` or `hw`", "       ^^^^^^");
    check(
        "trap",
        "expected a trap, for instance blackhole_route",
        "    ^",
    );
    check(
        "trap_group",
        "expected a trap group, for instance l3_drops",
        "          ^",
    );
    check("iface", "expected an interface name or index", "     ^");
    check(
        "iface 4294967296",
        "expected an interface index below 4294967296",
        "      ^^^^^^^^^^",
    );
    check("ifname", "expected an interface name", "      ^");
}

#[test]
fn tunnels() {
    check(
        "inner",
        "expected an expression, for instance `host 10.0.0.1`",
        "     ^",
    );
    check(
        "inner and",
        "expected an expression, for instance `host 10.0.0.1`",
        "      ^^^",
    );
}

#[test]
fn words_that_are_not_built() {
    check(
        "gateway helios",
        "`gateway` is not supported: use `ether host` and `not host`",
        "^^^^^^^",
    );
    check(
        "geneve",
        "`geneve` is not supported: `inner` looks into Geneve tunnels",
        "^^^^^^",
    );
    check(
        "wlan host 02:00:00:00:00:01",
        "`wlan` is not supported",
        "^^^^",
    );
    check(
        "decnet",
        "`decnet` is not supported: use `ether proto decnet`",
        "^^^^^^",
    );
    check(
        "atalk",
        "`atalk` is not supported: use `ether proto atalk`",
        "^^^^^",
    );
    check("type mgt", "`type` is not supported", "^^^^");
    check("rset x", "`rset` is not supported", "^^^^");
    check("noise", "`noise` is not supported", "^^^^^");
    check(
        "tcp and byte 0 = 5",
        "`byte` is not supported",
        "        ^^^^",
    );
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
        "port (".repeat(1) + &"(".repeat(100_000),
        "len = ".to_owned() + &"(".repeat(100_000),
        "len = 1".to_owned() + &" % 1".repeat(100_000),
    ] {
        let error = Filter::parse(&text, &FixedNames).unwrap_err();
        assert_eq!(error.message(), "nested too deeply: at most 100 levels");
    }
}

#[test]
fn what_does_not_nest_may_be_long() {
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
