//! Tests the advice for words and signs of other tools.

use super::super::Filter;
use super::super::names::FixedNames;

/// An expression, its error with advice, and the marked part.
type AdviceRow = (&'static str, &'static str, &'static str);

#[test]
fn words_of_other_tools_are_refused_with_what_to_type() {
    for (text, message, marked) in ROWS {
        let error = Filter::parse(text, &FixedNames).expect_err(text);
        assert_eq!(error.message(), *message, "{text}");
        assert_eq!(&text[error.span()], *marked, "{text}");
    }
}

#[rustfmt::skip]
const ROWS: &[AdviceRow] = &[
    // Upper and lower case.
    ("TCP", "unknown word `TCP`: words are written in lower case: `tcp`", "TCP"),
    ("Port 80", "unknown word `Port`: words are written in lower case: `port`", "Port"),
    ("NOT tcp", "unknown word `NOT`: words are written in lower case: `not`", "NOT"),
    ("Reason NO_SOCKET", "unknown word `Reason`: words are written in lower case: `reason`", "Reason"),
    ("tcp AND udp", "expected `and` or `or`: words are written in lower case: `and`", "AND"),
    ("(tcp OR udp)", "expected `and`, `or` or `)`: words are written in lower case: `or`", "OR"),
    ("tcp Not udp", "expected `and` or `or`: words are written in lower case: `not`", "Not"),
    ("host helios and TCP", "cannot resolve host `TCP`: name not known: words are written in lower case: `tcp`", "TCP"),
    ("port 80 or UDP", "expected a port number or a service: `UDP` is not in /etc/services: words are written in lower case: `udp`", "UDP"),
    ("port SSH", "expected a port number or a service: `SSH` is not in /etc/services: `ssh` is", "SSH"),
    // Signs.
    ("port 80,443", "expected `and` or `or`: names are joined by `or`", ","),
    ("host helios, ace", "expected `and` or `or`: names are joined by `or`", ","),
    ("tcp | udp", "expected `and` or `or`: it is written `or` or `||`", "|"),
    ("tcp & udp", "expected `and` or `or`: it is written `and` or `&&`", "&"),
    ("port = 80", "expected a name directly after the word, without a sign", "="),
    ("src==10.0.0.1", "expected a name directly after the word, without a sign", "=="),
    ("saddr != 10.0.0.1", "expected a name directly after the word, without a sign", "!="),
    ("reason!=NO_SOCKET", "expected a name, or `=` and a name: `not` goes before the word", "!=NO_SOCKET"),
    ("location gre_rcv+0x41/0xb0 [gre]", "expected `and` or `or`: put names with blanks in double quotes", "["),
    ("less-14", "unknown word `less-14`: `-` needs blanks around it", "less-14"),
    ("tcp-1 = 2", "unknown word `tcp-1`: `-` needs blanks around it", "tcp-1"),
    ("len-x > 3", "expected a number, `len` or bytes such as `ip[0]`", "x"),
    // Words of other tools.
    ("vxlan", "unknown word `vxlan`: `inner` looks into VXLAN tunnels: `inner tcp`, `udp port 4789 and inner arp`", "vxlan"),
    ("geneve", "`geneve` is not supported: `inner` looks into Geneve tunnels: `inner tcp`, `udp port 6081 and inner arp`", "geneve"),
    ("ipv6 and tcp", "unknown word `ipv6`: IPv6 is `ip6`", "ipv6"),
    ("icmpv6", "unknown word `icmpv6`: ICMP over IPv6 is `icmp6`", "icmpv6"),
    ("dev eth0", "unknown word `dev`: an interface is `iface`: `iface eth0`", "dev"),
    ("syn", "unknown word `syn`: TCP's flags are bits: `tcp[tcpflags] & tcp-syn != 0`", "syn"),
    ("tcp.port == 80", "unknown word `tcp.port`: this is a Wireshark field; write `tcp port 80`, `src host 10.0.0.1`, `len > 100`", "tcp.port"),
    ("ssh", "unknown word `ssh`: a service needs `port` before it: `port ssh`", "ssh"),
    ("NO_SOCKET", "unknown word `NO_SOCKET`: a drop reason needs `reason` before it: `reason NO_SOCKET`", "NO_SOCKET"),
    ("helios", "unknown word `helios`: a name needs `host` before it", "helios"),
];
