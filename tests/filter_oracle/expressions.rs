//! The expressions that both filters are asked, and where they may differ.

/// All of them.
pub fn all() -> Vec<&'static str> {
    lines(include_str!("expressions.txt"))
}

/// What tcpdump refuses, with its complaint.
pub fn refused() -> Vec<&'static str> {
    lines(include_str!("refused.txt"))
}

fn lines(text: &'static str) -> Vec<&'static str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// A difference that dwdump-filter(7) tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// tcpdump gives a packet up where it reads past its end; ours may know the answer anyway.
    Cut,
    /// Where tcpdump refuses a word for the link type or the place, ours is false.
    Refused,
    /// An offset near 2³² wraps around in tcpdump's optimizer.
    Wrap,
    /// In arithmetic tcpdump checks for the header of the leftmost load alone.
    Unchecked,
    /// tcpdump's optimizer leaves out what cannot be, and does not read what is not there.
    Optimizer,
    /// tcpdump loses its place behind an authentication header.
    ProtoChain,
}

use Difference::{Cut, Optimizer, ProtoChain, Refused, Unchecked, Wrap};

const DIFFERENCES: &[(&str, Difference)] = &[
    ("ether proto \\ipx", Cut),
    ("ether host 0200.0000.0002", Cut),
    ("portrange 1-21 or 23-100", Cut),
    ("ip[50] = 1 or udp", Cut),
    ("ip6 protochain 17", Cut),
    ("ip6 protochain 58", Cut),
    ("ip6 protochain 6", ProtoChain),
    ("protochain 6", ProtoChain),
    ("ip[4294967295] = 0", Wrap),
    ("16 + tcp[tcpflags] = 18", Unchecked),
    ("not (udp and icmp)", Optimizer),
    ("not ether src 02:00:00:00:00:01", Refused),
    ("not ether dst 02:00:00:00:00:02", Refused),
    ("not broadcast", Refused),
    ("not multicast", Refused),
    ("ip and not multicast", Refused),
    ("not llc", Refused),
    ("not vlan", Refused),
    ("vlan 5 or tcp", Refused),
    ("tcp or vlan 5", Refused),
    ("tcp or (vlan 5 and tcp)", Refused),
    ("tcp or vlan or tcp", Refused),
    ("not vlan and tcp", Refused),
    ("tcp and not vlan", Refused),
    ("(not vlan) and ip", Refused),
    ("not (vlan and ip)", Refused),
    ("vlan or ip", Refused),
    ("mpls or tcp", Refused),
    ("not mpls", Refused),
    ("not mpls and ip", Refused),
    ("vlan or mpls or pppoes", Refused),
];

/// Why the two differ here, on one of the link types at least.
pub fn difference(expression: &str) -> Option<Difference> {
    DIFFERENCES
        .iter()
        .find_map(|&(listed, difference)| (listed == expression).then_some(difference))
}

/// All that are listed.
pub fn listed() -> impl Iterator<Item = &'static str> {
    DIFFERENCES.iter().map(|&(expression, _)| expression)
}

impl Difference {
    /// Whether ours may keep what tcpdump does not.
    pub fn allows_ours(self) -> bool {
        !matches!(self, Unchecked | Optimizer | Wrap)
    }

    /// The other way round.
    pub fn allows_theirs(self) -> bool {
        matches!(self, Unchecked | Optimizer | Wrap | ProtoChain)
    }

    /// Whether tcpdump has to refuse the expression.
    pub fn is_refusal(self) -> bool {
        self == Refused
    }

    /// Whether only packets that end early can differ.
    pub fn is_of_the_cut(self) -> bool {
        matches!(self, Cut | Optimizer)
    }
}
