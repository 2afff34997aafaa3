//! Filters: their text, and what they decide about packets.

use crate::filter::{Filter, FixedNames};
use crate::record::{
    Cause, DropRecord, Interface, Link, LinkType, Location, Name, Symbol, Timestamp,
};

/// Parses a filter. What is understood is shown as a filter that means the same, and what is not gets an error that
/// points into the text.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let filter = match Filter::parse(text, &FixedNames) {
        Ok(filter) => filter,
        Err(error) => {
            let span = error.span();
            assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
            assert_eq!(error.to_string().lines().count(), 3, "{error}");
            return;
        }
    };
    let shown = filter.to_string();
    let again = match Filter::parse(&shown, &FixedNames) {
        Ok(again) => again,
        Err(error) => panic!("of {text:?}: {error}"),
    };
    assert_eq!(again, filter, "{shown}");
    assert_eq!(again.to_string(), shown);
    let _ = filter.contradiction();
    let _ = filter.reasons();
    let _ = filter.fact_of_ebpf();
    if let Ok(part) = filter.in_kernel(0x24, crate::bpf::MAX_LEN) {
        assert!(part.program.len() <= crate::bpf::MAX_LEN);
    }
}

/// Makes a filter and a drop of the bytes. The compiled filter decides as the plain interpreter does, and a filter
/// that no drop can match matches none.
pub fn packets(bytes: &[u8]) {
    let Some((&len, rest)) = bytes.split_first() else {
        return;
    };
    let (choices, rest) = rest.split_at(rest.len().min(usize::from(len)));
    let text = Choices(choices).expression(3);
    let Ok(filter) = Filter::parse(&text, &FixedNames) else {
        return;
    };
    let Some((facts, data)) = rest.split_first_chunk() else {
        return;
    };
    let record = record(*facts, data);
    let found = filter.matches(&record);
    assert_eq!(found, filter.matches_plainly(&record), "{text}: {record:?}");
    assert!(
        !found || filter.contradiction().is_none(),
        "{text} contradicts itself, and matches {record:?}"
    );
    // What the kernel keeps back is nothing that this process would keep.
    if let Ok(kernel) = filter.in_kernel(0x24, crate::bpf::MAX_LEN)
        && let crate::filter::KernelPart::Weaker(part) = kernel.part
    {
        assert!(
            !found || part.matches(&record),
            "{text} keeps more than {part}"
        );
    }
}

const LINKS: [LinkType; 9] = [
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL2,
    LinkType::LINUX_SLL,
    LinkType::NULL,
    LinkType::LOOP,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::IEEE802_11,
];

/// Makes a drop of a packet with these bytes. The others choose what the drop has.
fn record([link, cause, input, missing]: [u8; 4], data: &[u8]) -> DropRecord<'_> {
    let name = |text: &'static str| Name::new(text.as_bytes());
    let software = |reason, symbol| Cause::Software {
        location: Location::new(Some(0xffff_ffff_b3d4_20b5), name(symbol).map(Symbol)),
        reason: name(reason),
    };
    let link = LINKS[usize::from(link) % LINKS.len()];
    let mut record = DropRecord::new(Link::known(link), data);
    record.time = Some(Timestamp(1));
    record.original_len += u32::from(missing);
    record.cause = match cause % 5 {
        0 => software("NO_SOCKET", "tcp_v4_rcv+0x1/0x2"),
        1 => software("NETFILTER_DROP", "nf_hook_slow.part.0+0x1/0x2 [nf_tables]"),
        2 => software("", ""),
        3 => Cause::Hardware {
            group: name("l3_drops"),
            trap: name("blackhole_route"),
            cookie: None,
        },
        _ => Cause::Unknown,
    };
    record.input = match input % 4 {
        0 => None,
        1 => Some(Interface::new(2, name("eth0"))),
        2 => Some(Interface::new(5, None)),
        _ => Some(Interface::new(5, name("if5"))),
    };
    record.context.vlan = [None, Some(5), Some(0)][usize::from(input / 4) % 3];
    record
}

/// Primitives, of which `@` is an address, `/` a net, `#` a port and `~` a direction.
const PRIMITIVES: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "rarp",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "gre",
    "ospf",
    "llc",
    "llc u",
    "stp",
    "broadcast",
    "multicast",
    "ip broadcast",
    "ip multicast",
    "ip6 multicast",
    "vlan",
    "vlan 5",
    "mpls",
    "mpls 16",
    "pppoes",
    "pppoes 3",
    "pppoed",
    "~host @",
    "~net /",
    "~port #",
    "tcp ~port #",
    "udp ~port #",
    "port # or #",
    "portrange 20-90",
    "saddr /",
    "daddr @",
    "addr @",
    "sport #",
    "dport #",
    "flow tcp 10.0.0.1:80 10.0.1.2:443",
    "flow udp [::1]:1 [::2]:2",
    "flow udp 10.0.0.1:53 > 10.0.1.2:80",
    "flow none",
    "ether host 02:00:00:00:00:01",
    "ether dst ff:ff:ff:ff:ff:ff",
    "ip proto 47",
    "ip6 proto 58",
    "proto 17",
    "protochain 6",
    "ip6 protochain 17",
    "ether proto 0x0800",
    "ether proto 0xfe",
    "ether proto 0xe0",
    "ether proto 0x42",
    "ether proto 0x809b",
    "arp host 10.0.0.1",
    "inbound",
    "outbound",
    "reason NO_SOCKET or NETFILTER_*",
    "module nf_tables",
    "location tcp_v4*",
    "origin hw",
    "trap *",
    "iface eth0 or 5",
    "iface = \"\"",
    "protocol 0x0800",
    "noise",
    "pc 0xffffffffb3d420b5",
    "greater 60",
    "less 20",
];
/// Terms of comparisons.
const TERMS: &[&str] = &[
    "ip[0]",
    "ip[6:2]",
    "ip[9]",
    "ip[16:4]",
    "ip6[6]",
    "ip6[40]",
    "tcp[13]",
    "tcp[0:2]",
    "udp[2:2]",
    "icmp[0]",
    "icmp6[0]",
    "igmp[0]",
    "arp[6:2]",
    "rarp[0]",
    "ether[12:2]",
    "ether[0] & 1",
    "tcp[tcpflags] & tcp-syn",
    "len",
    "ip[(ip[0] & 15) << 2]",
    "(ip[0] & 0xf) * 4",
    "ip[2:2] - ((ip[0] & 0xf) << 2)",
    "ip[0] / (ip[1] & 1)",
    "ip[4] % 7",
    "-ip[8]",
    "0x10 ^ ip[1]",
];
const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.0.1.2",
    "224.0.0.22",
    "2001:db8::1",
    "ff02::1",
];
const NETS: &[&str] = &[
    "10.0.0.0/8",
    "10.0.1.0/24",
    "0.0.0.0/0",
    "2001:db8::/32",
    "::/0",
];
const PORTS: &[&str] = &["22", "53", "80", "443", "4789"];
const DIRECTIONS: &[&str] = &["", "src ", "dst ", "src or dst ", "src and dst "];

/// Bytes, each of which chooses something. Where there are none left, it is the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(first)
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.next() % all.len()]
    }

    /// Chooses an expression of at most this depth.
    fn expression(&mut self, depth: usize) -> String {
        let Some(less) = depth.checked_sub(1) else {
            return self.primitive();
        };
        match self.next() % 8 {
            0..=2 => self.primitive(),
            3 => format!("not ({})", self.expression(less)),
            4 => format!("inner ({})", self.expression(less)),
            kind => {
                let mut text = self.expression(less);
                for _ in 0..=self.next() % 3 {
                    let connective = self.of(&["and", "or"]);
                    text = format!("{text} {connective} {}", self.expression(less));
                }
                if kind == 5 { format!("({text})") } else { text }
            }
        }
    }

    fn primitive(&mut self) -> String {
        if self.next().is_multiple_of(4) {
            let comparison = self.of(&["=", "!=", "<", "<=", ">", ">="]);
            let (left, right) = (self.of(TERMS), self.next());
            let right = match right {
                0..200 => right.to_string(),
                200..220 => self.of(TERMS).to_owned(),
                _ => format!("{:#x}", right << 8 | self.next()),
            };
            return format!("{left} {comparison} {right}");
        }
        let mut text = String::new();
        for letter in self.of(PRIMITIVES).chars() {
            match letter {
                '@' => text.push_str(self.of(ADDRESSES)),
                '/' => text.push_str(self.of(NETS)),
                '#' => text.push_str(self.of(PORTS)),
                '~' => text.push_str(self.of(DIRECTIONS)),
                letter => text.push(letter),
            }
        }
        text
    }
}
