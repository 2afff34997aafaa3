//! Tables of the language's words: protocols, named constants, and the words of pcap-filter(7) that
//! are not supported.

use super::ast::{Family, Llc, LoadBase, Primitive};
use crate::record::Fact;

/// A protocol that can stand before `host`, `port`, `proto` or `[`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Link,
    Ip,
    Ip6,
    Arp,
    Rarp,
    /// Over IPv4, IPv6 or either: `icmp`, `icmp6`, `tcp`.
    Over(Family, u8),
    Stp,
}

impl Protocol {
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "ether" | "link" => Self::Link,
            "ip" => Self::Ip,
            "ip6" => Self::Ip6,
            "arp" => Self::Arp,
            "rarp" => Self::Rarp,
            "stp" => Self::Stp,
            "icmp" => Self::Over(Family::Ip, 1),
            "igmp" => Self::Over(Family::Ip, 2),
            "igrp" => Self::Over(Family::Ip, 9),
            "vrrp" | "carp" => Self::Over(Family::Ip, 112),
            "icmp6" => Self::Over(Family::Ip6, 58),
            "tcp" => Self::Over(Family::Either, 6),
            "udp" => Self::Over(Family::Either, 17),
            "gre" => Self::Over(Family::Either, 47),
            "esp" => Self::Over(Family::Either, 50),
            "ah" => Self::Over(Family::Either, 51),
            "ospf" => Self::Over(Family::Either, 89),
            "pim" => Self::Over(Family::Either, 103),
            "sctp" => Self::Over(Family::Either, 132),
            _ => return None,
        })
    }

    /// Returns the meaning of the word alone; `None` for the link layer, which every packet has.
    pub fn primitive(self) -> Option<Primitive> {
        Some(match self {
            Self::Link => return None,
            Self::Ip => Primitive::EtherProto(0x0800),
            Self::Ip6 => Primitive::EtherProto(0x86dd),
            Self::Arp => Primitive::EtherProto(0x0806),
            Self::Rarp => Primitive::EtherProto(0x8035),
            Self::Stp => Primitive::EtherProto(0x0042),
            Self::Over(family, number) => Primitive::IpProto(family, number),
        })
    }

    /// Returns the header from which `word[…]` counts.
    pub fn header(self) -> Option<LoadBase> {
        Some(match self {
            Self::Link => LoadBase::Link,
            Self::Ip => LoadBase::Ip,
            Self::Ip6 => LoadBase::Ip6,
            Self::Arp => LoadBase::Arp,
            Self::Rarp => LoadBase::Rarp,
            Self::Over(Family::Ip6, 58) => LoadBase::Icmp6,
            Self::Over(_, number @ (1 | 2 | 6 | 9 | 17 | 103 | 112 | 132)) => {
                LoadBase::Transport(number)
            }
            Self::Over(..) | Self::Stp => return None,
        })
    }
}

/// Returns an IP protocol's number by its keyword, or by one of a few more names that every system
/// knows.
pub fn ip_protocol(name: &str) -> Option<u8> {
    if let Some(Protocol::Over(_, number)) = Protocol::from_word(name) {
        return Some(number);
    }
    Some(match name {
        "ipip" | "ipencap" => 4,
        "ipv6" => 41,
        "ipv6-icmp" => 58,
        _ => return None,
    })
}

/// Returns an Ethernet type or 802.2 service access point by its name in pcap-filter(7).
pub fn ether_protocol(name: &str) -> Option<u16> {
    Some(match name {
        "ip" => 0x0800,
        "ip6" => 0x86dd,
        "arp" => 0x0806,
        "rarp" => 0x8035,
        "aarp" => 0x80f3,
        "atalk" => 0x809b,
        "decnet" => 0x6003,
        "lat" => 0x6004,
        "loopback" => 0x9000,
        "mopdl" => 0x6001,
        "moprc" => 0x6002,
        "sca" => 0x6007,
        "ipx" => 0x00e0,
        "iso" => 0x00fe,
        "netbeui" => 0x00f0,
        "stp" => 0x0042,
        _ => return None,
    })
}

/// Returns the value of a named constant in arithmetic.
pub fn constant(word: &str) -> Option<u32> {
    CONSTANTS
        .iter()
        .find_map(|&(name, value)| (name == word).then_some(value))
}

/// The names of pcap-filter(7): offsets, TCP flags (RFC 9293), ICMP types (RFC 792 and IANA's
/// registry), `ICMPv6` types (RFC 4443 and IANA's registry).
const CONSTANTS: &[(&str, u32)] = &[
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];

/// `llc` alone.
pub const LLC: Llc = Llc {
    name: "",
    mask: 0,
    value: 0,
};

/// The frame types of IEEE 802.2, 5.2 and 5.4: bits of the control field.
pub fn llc(name: &str) -> Option<Llc> {
    LLC_TYPES.iter().copied().find(|llc| llc.name == name)
}

const fn llc_type(name: &'static str, mask: u8, value: u8) -> Llc {
    Llc { name, mask, value }
}

const LLC_TYPES: &[Llc] = &[
    llc_type("i", 0x01, 0x00),
    llc_type("s", 0x03, 0x01),
    llc_type("u", 0x03, 0x03),
    llc_type("rr", 0x0f, 0x01),
    llc_type("rnr", 0x0f, 0x05),
    llc_type("rej", 0x0f, 0x09),
    llc_type("ui", 0xef, 0x03),
    llc_type("ua", 0xef, 0x63),
    llc_type("disc", 0xef, 0x43),
    llc_type("sabme", 0xef, 0x6f),
    llc_type("test", 0xef, 0xe3),
    llc_type("xid", 0xef, 0xaf),
    llc_type("frmr", 0xef, 0x87),
];

/// The words that begin a primitive or join two, other than protocols, constants and the facts of a
/// drop that are matched unchanged.
const WORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "src",
    "dst",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "protochain",
    "broadcast",
    "multicast",
    "less",
    "greater",
    "len",
    "inbound",
    "outbound",
    "noise",
    "vlan",
    "mpls",
    "pppoed",
    "pppoes",
    "llc",
    "ifname",
    "on",
    "ifindex",
    "reason",
    "saddr",
    "daddr",
    "addr",
    "sport",
    "dport",
    "flow",
    "location",
    "module",
    "origin",
    "protocol",
    "iface",
    "netns",
    "inner",
];

/// The words of pcap-filter(7) that are not supported, and a planned one that tcpdump does not have.
const UNSUPPORTED: &[&str] = &[
    "gateway",
    "fddi",
    "tr",
    "wlan",
    "slip",
    "ppp",
    "radio",
    "decnet",
    "atalk",
    "aarp",
    "ipx",
    "netbeui",
    "lat",
    "sca",
    "moprc",
    "mopdl",
    "iso",
    "clnp",
    "esis",
    "isis",
    "es-is",
    "is-is",
    "l1",
    "l2",
    "iih",
    "lsp",
    "snp",
    "csnp",
    "psnp",
    "geneve",
    "byte",
    "ra",
    "ta",
    "addr1",
    "addr2",
    "addr3",
    "addr4",
    "address1",
    "address2",
    "address3",
    "address4",
    "type",
    "wlantype",
    "subtype",
    "dir",
    "rnr",
    "rulenum",
    "rset",
    "ruleset",
    "srnr",
    "subrulenum",
    "action",
    "vpi",
    "vci",
    "lane",
    "oam",
    "oamf4",
    "oamf4ec",
    "oamf4sc",
    "metac",
    "bcc",
    "sc",
    "ilmic",
    "connectmsg",
    "metaconnect",
    "fisu",
    "lssu",
    "lsu",
    "msu",
    "hfisu",
    "hlssu",
    "hmsu",
    "sio",
    "opc",
    "dpc",
    "sls",
    "hsio",
    "hopc",
    "hdpc",
    "hsls",
];

/// Returns the error message for a word that is known but not supported.
pub fn unsupported(word: &str) -> Option<String> {
    if !UNSUPPORTED.contains(&word) {
        return None;
    }
    Some(match word {
        "geneve" => "`geneve` is not supported: `inner` looks into Geneve tunnels: `inner tcp`, \
                     `udp port 6081 and inner arp`"
            .to_owned(),
        "gateway" => "`gateway` is not supported: use `ether host` and `not host`".to_owned(),
        word if ether_protocol(word).is_some() => {
            format!("`{word}` is not supported: use `ether proto {word}`")
        }
        word => format!("`{word}` is not supported"),
    })
}

/// Returns whether `word` is a keyword, and therefore not a name.
pub fn is_keyword(word: &str) -> bool {
    WORDS.contains(&word)
        || UNSUPPORTED.contains(&word)
        || Protocol::from_word(word).is_some()
        || constant(word).is_some()
        || Fact::from_word(word).is_some()
}

/// Returns the words that a shell completes: all that can begin a primitive or join two.
#[cfg(test)]
pub(crate) fn completable() -> Vec<&'static str> {
    const PROTOCOLS: [&str; 16] = [
        "ah", "arp", "esp", "ether", "gre", "icmp", "icmp6", "igmp", "ip", "ip6", "ospf", "pim",
        "rarp", "sctp", "tcp", "udp",
    ];
    assert!(
        PROTOCOLS
            .iter()
            .all(|word| Protocol::from_word(word).is_some())
    );
    let facts = Fact::ALL.iter().map(|fact| fact.about().key);
    let facts = facts.filter(|key| Fact::from_word(key).is_some());
    let mut words: Vec<_> = WORDS
        .iter()
        .copied()
        .chain(PROTOCOLS)
        .chain(facts)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}
