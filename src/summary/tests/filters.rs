//! Checks that each group's filter keeps exactly the group's drops.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::ValueEnum;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Counted, GroupKey, GroupKeyView, GroupOrder, GroupedCounts, Grouping};
use crate::filter::{Filter, SystemNames};
use crate::record::{
    Cause, Direction, DropContext, DropRecord, DropSocket, EtherType, Heading, Interface,
    InterfaceKey, Link, LinkType, Location, Name, Netns, Stack, Symbol,
};
use crate::source::savefile::Savefile;

/// Returns all captures of the project that can be opened.
fn captures() -> Vec<PathBuf> {
    let folders = ["fixtures", "fixtures/made"];
    let files = folders
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    let is_capture = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        extension == "pcap" || extension == "pcapng"
    };
    paths.filter(is_capture).collect()
}

fn each_record(take: &mut dyn FnMut(&DropRecord<'_>)) {
    for path in captures() {
        let Ok(mut file) = Savefile::open(File::open(path).unwrap()) else {
            continue;
        };
        // The records before the damage are used.
        let _ = file.for_each(|record| {
            take(record);
            ControlFlow::<()>::Continue(())
        });
    }
}

fn filter(key: &GroupKey, grouping: Grouping) -> Filter {
    let text = key.filter(grouping);
    Filter::parse(&text, &SystemNames).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_filter_of_a_row_keeps_its_drops_and_no_others() {
    for &grouping in Grouping::value_variants() {
        let mut counts = GroupedCounts::new(grouping);
        each_record(&mut |record| counts.count(&Counted::Packet(record)));
        let rows = counts.groups(GroupOrder::Total);
        // Only one capture has what eBPF tells.
        let least = if grouping.fact().is_some() { 3 } else { 6 };
        assert!(rows.len() >= least, "{grouping}");
        let filters: Vec<_> = rows.iter().map(|(key, _)| filter(key, grouping)).collect();
        each_record(&mut |record| {
            let mut room = Vec::new();
            let own = GroupKeyView::of(grouping, &Counted::Packet(record), &mut room);
            for ((key, _), filter) in rows.iter().zip(&filters) {
                let is_kept = filter.matches(record);
                assert_eq!(is_kept, own == key.view(), "{filter} on {record:?}");
            }
        });
    }
}

/// Names, namespace, mark and number of the cgroup; VLAN, direction and socket.
type AnyContext = (
    [&'static [u8]; 3],
    Option<Netns>,
    Option<u32>,
    Option<u64>,
    (Option<u32>, Option<Heading>, Option<DropSocket>),
);

/// A record that owns its bytes.
#[derive(Clone, Debug)]
struct Owned {
    names: [&'static [u8]; 3],
    origin: u8,
    pc: Option<u64>,
    input: Option<u32>,
    link: LinkType,
    protocol: Option<u16>,
    data: Vec<u8>,
    len: usize,
    context: AnyContext,
}

impl Owned {
    fn record(&self) -> DropRecord<'_> {
        let (around, netns, mark, cgroup_id, (vlan, heading, socket)) = self.context;
        let context = DropContext {
            socket,
            vlan,
            heading,
            ..context(around.map(Name::new), netns, mark, cgroup_id)
        };
        let [one, other, third] = self.names.map(Name::new);
        DropRecord {
            cause: match self.origin {
                0 => Cause::Software {
                    location: Location {
                        pc: self.pc,
                        symbol: one.map(Symbol),
                        stack: third.and_then(|name| Stack::new(name.as_bytes())),
                        ..Location::default()
                    },
                    reason: other,
                },
                1 => Cause::Hardware {
                    group: one,
                    trap: other,
                    cookie: None,
                },
                _ => Cause::Unknown,
            },
            input: self
                .input
                .map(|index| Interface::new(InterfaceKey::new(index, netns), third)),
            context,
            protocol: self.protocol.map(EtherType),
            original_len: u32::try_from(self.len.max(self.data.len())).unwrap(),
            ..DropRecord::new(Link::known(self.link), &self.data)
        }
    }
}

fn context(
    [one, other, third]: [Option<Name<'_>>; 3],
    netns: Option<Netns>,
    mark: Option<u32>,
    cgroup_id: Option<u64>,
) -> DropContext<'_> {
    DropContext {
        device: one,
        netns,
        netns_name: other.filter(|_| netns.is_some()),
        running: other,
        // A path belongs to a number.
        cgroup: third.filter(|_| cgroup_id.is_some()),
        cgroup_id,
        unit: third,
        mark,
        ..DropContext::default()
    }
}

/// Generates names of the kernel, similar names, and names with a meaning elsewhere in the language.
const NAMES: [&[u8]; 25] = [
    b"",
    b"gre_rcv+0x41/0xb0 [gre];ip_rcv+0x1/0x2",
    b"gre_rcv+0x1/0xb0 [gre];ip_rcv",
    b"NO_SOCKET",
    b"no_socket",
    b"SKB_DROP_REASON_NO_SOCKET",
    b"*",
    b"?",
    b"N*",
    b"a \"b\"",
    b"\\x22",
    b"\xff\x1b[31m",
    "\u{2028}\u{202e}".as_bytes(),
    b"and",
    b"or*",
    b"= (x)",
    b"5",
    b"if5",
    b"eth0",
    b"ip_rcv",
    b"ip_rcv.constprop.0+0x1/0x2",
    b"gre_rcv+0x41/0xb0 [gre]",
    b"gre_rcv+0x41/0xb0 [*]",
    b"f []",
    // At most the length that the kernel leaves of a name.
    b"a_function_of_some_module_xyz+0x1a/0x23",
];

fn packet() -> impl Strategy<Value = (LinkType, Vec<u8>)> {
    let transport = (
        select(&[1_u8, 6, 17, 50, 132, 44, 60][..]),
        select(&[0_u8, 1, 0x20][..]),
        0..2_u8,
    );
    let shape = (
        0..3_usize,
        select(&[0x0800_u16, 0x86dd, 0x8100, 0x0806, 0x88cc, 38][..]),
        0..60_usize,
    );
    (transport, shape, any::<bool>()).prop_map(
        |((number, fragment, port), (link, kind, cut), is_cut)| {
            let mut ip = if kind == 0x86dd {
                let mut header = vec![0x60, 0, 0, 0, 0, 12, number, 64];
                header.extend([0x20; 15]);
                header.extend([port]);
                header.extend([0x21; 16]);
                header
            } else {
                let mut header = vec![0x45, 0, 0, 32, 0, 0, fragment, 0, 64, number, 0, 0];
                header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
                header
            };
            ip.extend([0, port, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
            let header = match link {
                0 => {
                    let mut header = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
                    header.extend(kind.to_be_bytes());
                    if kind == 0x8100 {
                        header.extend([0, 5, 8, 0]);
                    }
                    header
                }
                1 => Vec::new(),
                _ => [&kind.to_be_bytes()[..], &[0; 18]].concat(),
            };
            let mut data = [header, ip].concat();
            if is_cut {
                data.truncate(cut);
            }
            let link = [LinkType::ETHERNET, LinkType::RAW, LinkType::LINUX_SLL2][link];
            (link, data)
        },
    )
}

fn owned() -> impl Strategy<Value = Owned> {
    let name = || select(&NAMES[..]);
    let link = prop_oneof![9 => Just(None), 1 => Just(Some(LinkType::IEEE802_11))];
    let around = (
        [name(), name(), name()],
        select(vec![None, Some(1), Some(7), Some(8)])
            .prop_map(|inode| inode.map(|inode| Netns::new(inode, inode == 1))),
        select(&[None, Some(0x17_u32)][..]),
        select(&[None, Some(4711_u64)][..]),
        (
            select(&[None, Some(0_u32), Some(5)][..]),
            select(
                &[
                    None,
                    Some(Heading::Unknown),
                    Some(Heading::Known(Direction::Inbound)),
                    Some(Heading::Known(Direction::Outbound)),
                ][..],
            ),
            select(vec![
                None,
                Some(DropSocket::read("receiver inet udp 53 close").unwrap()),
                Some(DropSocket::read("owner inet tcp 1234 > 80 established").unwrap()),
            ]),
        ),
    );
    (
        [name(), name(), name()],
        0..3_u8,
        select(&[None, Some(0), Some(16)][..]),
        select(&[None, Some(0_u32), Some(5), Some(6)][..]),
        packet(),
        link,
        select(&[None, Some(0_u16), Some(4), Some(0x0800)][..]),
        prop_oneof![Just(0_usize), Just(1500)],
        around,
    )
        .prop_map(
            |(names, origin, pc, input, (kind, data), link, protocol, len, context)| Owned {
                names,
                origin,
                pc,
                input,
                link: link.unwrap_or(kind),
                protocol,
                data,
                len,
                context,
            },
        )
}

proptest! {
    #[test]
    fn rows_of_any_drops_have_exact_filters(drops in proptest::collection::vec(owned(), 1..14)) {
        for &grouping in Grouping::value_variants() {
            for drop in &drops {
                let record = drop.record();
                let key = GroupKeyView::of(grouping, &Counted::Packet(&record), &mut Vec::new())
                    .to_owned();
                let filter = filter(&key, grouping);
                for other in &drops {
                    let other = other.record();
                    let is_own = key.is_of(grouping, &Counted::Packet(&other));
                    prop_assert_eq!(filter.matches(&other), is_own, "{} on {:?}", filter, other);
                }
                // The filter is shown in its canonical form.
                let shown = filter.to_string();
                prop_assert_eq!(Filter::parse(&shown, &SystemNames).unwrap(), filter, "{}", shown);
            }
        }
    }
}
