//! Expressions that are not valid filters because of an operand, with the exact error for each:
//! ports, addresses, arithmetic.

use super::reject::{RejectRow, check};

#[test]
fn wrong_ports_are_refused() {
    check(PORTS);
}

#[test]
fn wrong_arithmetic_is_refused() {
    check(ARITHMETIC);
}

#[test]
fn wrong_ethernet_operands_are_refused() {
    check(ETHERNET);
}

#[test]
fn wrong_addresses_are_refused() {
    check(ADDRESSES);
}

const PORTS: &[RejectRow] = &[
    (
        "tcp and port 70000",
        "expected a port number from 0 to 65535",
        "             ^^^^^",
    ),
    (
        "port",
        "expected a port number from 0 to 65535 or a service name",
        "    ^",
    ),
    (
        "port and",
        "expected a port number from 0 to 65535 or a service name",
        "     ^^^",
    ),
    (
        "port 80-90",
        "expected a single port: a range is written `portrange 80-90`",
        "     ^^^^^",
    ),
    (
        "port nosuch",
        "expected a port number or a service: `nosuch` is not in /etc/services",
        "     ^^^^^^",
    ),
    (
        "port tcp",
        "expected a port number from 0 to 65535 or a service name",
        "     ^^^",
    ),
    (
        "port 080",
        "expected a port number from 0 to 65535",
        "     ^^^",
    ),
    (
        "port -5",
        "expected a port number from 0 to 65535",
        "     ^^",
    ),
    (
        "udp port ssh",
        "`ssh` is not a service over udp",
        "         ^^^",
    ),
    (
        "tcp port tftp",
        "`tftp` is not a service over tcp",
        "         ^^^^",
    ),
    (
        "sctp port ssh",
        "`ssh` is not a service over sctp",
        "          ^^^",
    ),
    (
        "portrange 1-70000",
        "expected a port number from 0 to 65535",
        "            ^^^^^",
    ),
    (
        "portrange x-y",
        "expected a range of ports, for instance 6000-6008",
        "          ^^^",
    ),
    ("ip port 80", "this cannot be used with `port`", "^^"),
    ("icmp port 80", "this cannot be used with `port`", "^^^^"),
    ("gre port 80", "this cannot be used with `port`", "^^^"),
    ("ether port 80", "this cannot be used with `port`", "^^^^^"),
    (
        "sport",
        "expected a port number from 0 to 65535 or a range",
        "     ^",
    ),
    (
        "sport 70000",
        "expected a port number from 0 to 65535",
        "      ^^^^^",
    ),
    (
        "dport 1-70000",
        "expected a port number from 0 to 65535",
        "        ^^^^^",
    ),
    (
        "flow",
        "expected `tcp`, `udp` or `sctp`, another protocol, or `none`",
        "    ^",
    ),
    (
        "flow icmp 10.0.0.1:1 > 10.0.0.2:2",
        "expected an IP address",
        "          ^^^^^^^^^^",
    ),
    (
        "flow icmp 10.0.0.1 10.0.0.2",
        "expected `>` between the addresses",
        "                   ^^^^^^^^",
    ),
    (
        "flow tcp 10.0.0.1:1 > 10.0.0.2",
        "expected an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80",
        "                      ^^^^^^^^",
    ),
    (
        "flow icmp 10.0.0.1 > ::1",
        "expected two addresses of the same family",
        "                     ^^^",
    ),
    (
        "protocol 70000",
        "expected an Ethernet type from 0 to 65535 or its name",
        "         ^^^^^",
    ),
    (
        "reason != NO_SOCKET",
        "expected a name, or `=` and a name: `not` goes before the word",
        "       ^^",
    ),
    (
        "reason =",
        "expected a drop reason, for instance NO_SOCKET",
        "        ^",
    ),
    (
        "flow tcp 10.0.0.1 10.0.0.2",
        "expected an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80",
        "         ^^^^^^^^",
    ),
    (
        "flow tcp 10.0.0.1:1",
        "expected an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80",
        "                   ^",
    ),
];

const ARITHMETIC: &[RejectRow] = &[
    ("less", "expected a length in bytes", "    ^"),
    ("less x", "expected a length in bytes", "     ^"),
    ("less -5", "expected a length in bytes", "     ^^"),
    (
        "greater 4294967296",
        "expected a length in bytes below 4294967296",
        "        ^^^^^^^^^^",
    ),
    (
        "len",
        "expected a comparison: =, !=, <, <=, > or >=",
        "   ^",
    ),
    (
        "len >",
        "expected a number, `len` or bytes such as `ip[0]`",
        "     ^",
    ),
    (
        "len > foo",
        "expected a number, `len` or bytes such as `ip[0]`",
        "      ^^^",
    ),
    (
        "ip[0]",
        "expected a comparison: =, !=, <, <=, > or >=",
        "     ^",
    ),
    ("ip[0", "this bracket is never closed", "  ^"),
    (
        "ip[0:3] = 5",
        "expected a width of 1, 2 or 4 bytes",
        "     ^",
    ),
    (
        "ip[0:] = 5",
        "expected a width of 1, 2 or 4 bytes",
        "     ^",
    ),
    (
        "ip[] = 5",
        "expected a number, `len` or bytes such as `ip[0]`",
        "   ^",
    ),
    (
        "ip[0]] = 5",
        "expected a comparison: =, !=, <, <=, > or >=",
        "     ^",
    ),
    ("ip[0 = 5", "expected an operator, `:` or `]`", "     ^"),
    (
        "ip[tcp] = 1",
        "expected a number, `len` or bytes such as `ip[0]`",
        "   ^^^",
    ),
    ("ip[0] / 0 = 5", "division by zero", "        ^"),
    ("ip[0] % 0 = 5", "division by zero", "        ^"),
    (
        "ip[0] << 32 = 5",
        "expected a shift by at most 31 bits",
        "         ^^",
    ),
    (
        "ip[0] = 4294967296",
        "expected a number below 4294967296",
        "        ^^^^^^^^^^",
    ),
    (
        "ip[0] = 09",
        "expected a number: decimal, 0x… or octal 0…",
        "        ^^",
    ),
    (
        "ip[0] = 5x",
        "expected a number: decimal, 0x… or octal 0…",
        "        ^^",
    ),
    (
        "ah[0] = 1",
        "the bytes of this protocol cannot be addressed",
        "^^",
    ),
    (
        "gre[0] = 1",
        "the bytes of this protocol cannot be addressed",
        "^^^",
    ),
    (
        "(ip[0] + 1",
        "expected a comparison: =, !=, <, <=, > or >=",
        "          ^",
    ),
    (
        "(ip[0] tcp) = 1",
        "expected a comparison: =, !=, <, <=, > or >=",
        "       ^^^",
    ),
    (
        "ip[0] = (1 + 2",
        "this parenthesis is never closed",
        "        ^",
    ),
    (
        "ip[0] = 1 + tcp",
        "expected a number, `len` or bytes such as `ip[0]`",
        "            ^^^",
    ),
    (
        "flow tcp 10.0.0.1:1 [::1]:2",
        "expected two addresses of the same family",
        "                    ^^^^^^^",
    ),
    (
        "port 80 or tcp[",
        "expected a number, `len` or bytes such as `ip[0]`",
        "               ^",
    ),
];

const ETHERNET: &[RejectRow] = &[
    (
        "ether",
        "expected `host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or `[` after `ether`",
        "     ^",
    ),
    (
        "ether host 10.0.0.1",
        "expected a MAC address, for instance 02:00:00:00:00:01",
        "           ^^^^^^^^",
    ),
    (
        "ether src 10",
        "expected a MAC address, for instance 02:00:00:00:00:01",
        "          ^^",
    ),
    (
        "ether host nosuch",
        "expected a MAC address, for instance 02:00:00:00:00:01",
        "           ^^^^^^",
    ),
    (
        "ether proto 70000",
        "expected an Ethernet type from 0 to 65535 or its name",
        "            ^^^^^",
    ),
    (
        "ether proto nosuch",
        "expected an Ethernet type from 0 to 65535 or its name",
        "            ^^^^^^",
    ),
    ("vlan 4096", "expected a VLAN from 0 to 4095", "     ^^^^"),
    (
        "vlan = 4096",
        "expected a VLAN from 0 to 4095",
        "       ^^^^",
    ),
    ("vlan =", "expected a VLAN from 0 to 4095", "      ^"),
    (
        "direction in",
        "expected `inbound` or `outbound`",
        "          ^^",
    ),
    (
        "mpls 1048576",
        "expected an MPLS label from 0 to 1048575",
        "     ^^^^^^^",
    ),
    (
        "pppoes 65536",
        "expected a PPPoE session from 0 to 65535",
        "       ^^^^^",
    ),
    (
        "llc foo",
        "expected an LLC type: i, s, u, rr, rnr, rej, ui, ua, disc, sabme, test, xid or frmr",
        "    ^^^",
    ),
];

const ADDRESSES: &[RejectRow] = &[
    (
        "tcp host 10.0.0.1",
        "this cannot be used with `host`",
        "^^^",
    ),
    (
        "tcp src 10.0.0.1",
        "this cannot be used with `src` or `dst`",
        "^^^",
    ),
    ("host", "expected an IP address or a host name", "    ^"),
    (
        "host tcp",
        "expected an IP address or a host name",
        "     ^^^",
    ),
    (
        "host 300.1.1.1",
        "expected an IPv4 address: four numbers from 0 to 255",
        "     ^^^^^^^^^",
    ),
    (
        "host 1.2.3.4.5",
        "expected an IPv4 address: four numbers from 0 to 255",
        "     ^^^^^^^^^",
    ),
    (
        "host nosuch",
        "cannot resolve host `nosuch`: name not known",
        "     ^^^^^^",
    ),
    (
        "host 02:00:00:00:00:01",
        "a MAC address needs `ether` before `host`",
        "     ^^^^^^^^^^^^^^^^^",
    ),
    (
        "host 10.0.0.0/8",
        "expected a single host: a network is written `net 10.0.0.0/8`",
        "     ^^^^^^^^",
    ),
    (
        "ip host ::1",
        "expected an IPv4 address here",
        "        ^^^",
    ),
    (
        "ip6 host 10.0.0.1",
        "expected an IPv6 address after `ip6`",
        "         ^^^^^^^^",
    ),
    (
        "ip6 host helios",
        "host `helios` has no address of this kind",
        "         ^^^^^^",
    ),
    (
        "host 4294967296",
        "expected an IPv4 address",
        "     ^^^^^^^^^^",
    ),
    ("net", "expected a network, for instance 10.0.0.0/8", "   ^"),
    (
        "net nosuch",
        "expected a network, for instance 10.0.0.0/8",
        "    ^^^^^^",
    ),
    (
        "net 10.0.0.1/8",
        "host bits are set: the network is 10.0.0.0/8",
        "    ^^^^^^^^^^",
    ),
    (
        "net 10.0.0.0/33",
        "expected a prefix length from 0 to 32",
        "             ^^",
    ),
    (
        "net 2001:db8::1/32",
        "host bits are set: the network is 2001:db8::/32",
        "    ^^^^^^^^^^^^^^",
    ),
    (
        "net ::/129",
        "expected a prefix length from 0 to 128",
        "       ^^^",
    ),
    (
        "net 10.0.0.0/",
        "expected a prefix length from 0 to 32",
        "             ^",
    ),
    (
        "net 10.0.0.0 mask",
        "expected a netmask, for instance 255.0.0.0",
        "                 ^",
    ),
    (
        "net 10.0.0.0 mask ::1",
        "expected an IPv4 network with a netmask, for instance 10.0.0.0 mask 255.0.0.0",
        "    ^^^^^^^^^^^^^^^^^",
    ),
    (
        "net 10.0.0.1 mask 255.0.0.0",
        "host bits are set: the network is 10.0.0.0/8",
        "    ^^^^^^^^^^^^^^^^^^^^^^^",
    ),
    (
        "saddr",
        "expected an IP address, a network or a host name",
        "     ^",
    ),
    (
        "saddr 10.0.0.1/8",
        "host bits are set: the network is 10.0.0.0/8",
        "      ^^^^^^^^^^",
    ),
    (
        "saddr nosuch",
        "cannot resolve host `nosuch`: name not known",
        "      ^^^^^^",
    ),
    (
        "addr tcp",
        "expected an IP address, a network or a host name",
        "     ^^^",
    ),
];
