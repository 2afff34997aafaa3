//! Filters in the kernel beside this process: the kernel's own interpreter runs the programs, on a
//! socket that messages are sent to as the drop monitor sends them.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname,
    recv, sendto, socket,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::Filter;
use super::super::kernel::Part;
use super::grammar::any_expression;
use super::parse;
use super::records::bytes;
use crate::net_dm::alert::Alert;
use crate::net_dm::netlink::{ByteOrder, MessageBuilder, Messages};
use crate::net_dm::socket::attach_filter;
use crate::net_dm::{FAMILY_VERSION, ORIGIN_HW, attr, cmd};
use crate::packet::ArpHardware;
use crate::record::{Cause, DropRecord, Link, LinkType, Timestamp};

const FAMILY: u16 = 0x24;

/// Two sockets, one of which sends to the other: a netlink protocol for user space alone, so that
/// no privilege is needed.
struct Sockets {
    sender: OwnedFd,
    receiver: OwnedFd,
    address: NetlinkAddr,
    buffer: Vec<u8>,
}

impl Sockets {
    fn open() -> Self {
        let open = || {
            let protocol = SockProtocol::NetlinkUserSock;
            let one = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                protocol,
            )
            .expect("this test needs netlink sockets (NETLINK_USERSOCK)");
            bind(one.as_raw_fd(), &NetlinkAddr::new(0, 0)).unwrap();
            one
        };
        let (sender, receiver) = (open(), open());
        let address = getsockname(receiver.as_raw_fd()).unwrap();
        let mut sockets = Self {
            sender,
            receiver,
            address,
            buffer: vec![0; 100_000],
        };
        let message = Message::default().encode();
        assert!(
            sockets.delivers(&message),
            "this test needs netlink sockets that send to each other"
        );
        sockets
    }

    /// Whether the message arrives.
    fn delivers(&mut self, message: &[u8]) -> bool {
        let sent = sendto(
            self.sender.as_raw_fd(),
            message,
            &self.address,
            MsgFlags::empty(),
        );
        assert_eq!(sent, Ok(message.len()));
        match recv(
            self.receiver.as_raw_fd(),
            &mut self.buffer,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(len) => {
                assert_eq!(&self.buffer[..len], message, "cut by the filter");
                true
            }
            Err(nix::Error::EAGAIN) => false,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    fn attach(&self, filter: &Filter) -> Option<Part> {
        let kernel = filter.in_kernel(FAMILY)?;
        attach_filter(self.receiver.as_fd(), &kernel.program)
            .unwrap_or_else(|error| panic!("{error}: {filter}\n{}", kernel.program));
        Some(kernel.part)
    }
}

/// What user space may know of devices: of the alert's, for certain, and of what has its index.
#[derive(Clone, Copy, Debug)]
struct Devices {
    named: Option<ArpHardware>,
    guess: Option<ArpHardware>,
}

/// Hands on the records of a message, as `source::kernel` makes them.
fn for_each_record(message: &[u8], devices: Devices, mut act: impl FnMut(&DropRecord<'_>)) {
    for message in Messages::new(message, ByteOrder::NATIVE) {
        let Some(generic) = message.generic(ByteOrder::NATIVE) else {
            continue;
        };
        if message.kind != FAMILY || generic.command != cmd::PACKET_ALERT {
            continue;
        }
        let alert = Alert::decode(generic.attributes);
        let certain = match alert.input {
            Some(input) if input.index == 1 => Some(ArpHardware(772)),
            Some(input) if input.name().is_some() => devices.named,
            _ => None,
        };
        let guess = alert.input.and(devices.guess);
        act(&alert.record(Timestamp(0), certain, guess, None));
    }
}

/// An alert's attributes.
#[derive(Clone, Debug, Default)]
struct Message {
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Message {
    fn encode(&self) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut builder =
            MessageBuilder::new(&mut buffer, FAMILY, cmd::PACKET_ALERT, FAMILY_VERSION);
        for (kind, value) in &self.attributes {
            builder.attribute(*kind, value);
        }
        builder.finish();
        buffer
    }
}

/// The attributes of an interface, one behind the other.
fn nest(index: Option<u32>, name: Option<&str>) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut builder = MessageBuilder::new(&mut buffer, 0, 0, 0);
    if let Some(index) = index {
        builder.attribute(attr::in_port::NETDEV_IFINDEX, &index.to_ne_bytes());
    }
    if let Some(name) = name {
        builder.string(attr::in_port::NETDEV_NAME, name.as_bytes());
    }
    builder.finish();
    buffer.split_off(20)
}

/// Packets whose lengths fit, do not fit, or were cut off.
fn packet() -> impl Strategy<Value = (Vec<u8>, u32)> {
    (
        bytes(),
        any::<bool>(),
        0_u32..40,
        select(&[0_u32, 0, 0, 14][..]),
    )
        .prop_map(|(mut data, is_exact, more, behind)| {
            let original = u32::try_from(data.len()).unwrap() + if is_exact { 0 } else { more };
            let header = behind as usize;
            let total = u16::try_from(original.saturating_sub(behind)).unwrap();
            match data.get(header).map(|byte| byte >> 4) {
                Some(4) if data.len() >= header + 4 => {
                    data[header + 2..header + 4].copy_from_slice(&total.to_be_bytes());
                }
                Some(6) if data.len() >= header + 6 => {
                    let rest = total.saturating_sub(40);
                    data[header + 4..header + 6].copy_from_slice(&rest.to_be_bytes());
                }
                _ => {}
            }
            (data, original)
        })
}

/// What the kernel could send, in its order.
fn message() -> impl Strategy<Value = Message> {
    let name = select(
        &[
            "NO_SOCKET",
            "NETFILTER_DROP",
            "netfilter_x",
            "NETFILTER",
            "odd name",
            "NO_SOCKETS",
            "X",
        ][..],
    );
    let trap = select(&["l3_drops", "L3_drops", "blackhole_route"][..]);
    let interface = (
        select(&[None, Some(1), Some(2), Some(5)][..]),
        select(&[None, None, None, Some("eth0")][..]),
    );
    let protocol = select(
        &[
            None,
            Some(0x0800_u16),
            Some(0x86dd),
            Some(0x0806),
            Some(0x8100),
            Some(4),
            Some(0x88cc),
        ][..],
    );
    (
        prop::bool::weighted(0.8),
        name,
        trap,
        interface,
        (protocol, prop::bool::weighted(0.7)),
        packet(),
        prop::bool::weighted(0.9),
    )
        .prop_map(
            |(is_software, name, trap, (index, device), (protocol, is_named), packet, has_data)| {
                let (data, original) = packet;
                let string = |text: &str| [text.as_bytes(), b"\0"].concat();
                let in_port = (attr::IN_PORT | 0x8000, nest(index, device));
                let mut attributes = if is_software {
                    vec![
                        (attr::ORIGIN, vec![0, 0]),
                        (attr::PC, 0xffff_ffff_b3d4_20b5_u64.to_ne_bytes().to_vec()),
                        (attr::REASON, string(name)),
                        (attr::SYMBOL, string("ip_rcv+0x1/0x2")),
                        in_port,
                    ]
                } else {
                    vec![
                        (attr::ORIGIN, ORIGIN_HW.to_ne_bytes().to_vec()),
                        (attr::HW_TRAP_GROUP_NAME, string(trap)),
                        (attr::HW_TRAP_NAME, string(trap)),
                        in_port,
                    ]
                };
                attributes.push((attr::ORIG_LEN, original.to_ne_bytes().to_vec()));
                if has_data {
                    // What the bytes name, nearly always.
                    let bytes = data.get(12..14).filter(|_| is_named);
                    let named = bytes.map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
                    let by_version = match data.first().map(|byte| byte >> 4) {
                        Some(4) => Some(0x0800),
                        Some(6) => Some(0x86dd),
                        _ => None,
                    };
                    let named = by_version.filter(|_| is_named).or(named);
                    if let Some(protocol) = named.or(protocol) {
                        attributes.push((attr::PROTO, protocol.to_ne_bytes().to_vec()));
                    }
                    attributes.push((attr::PAYLOAD, data));
                }
                Message { attributes }
            },
        )
}

/// What happens to messages that are not the kernel's.
#[derive(Clone, Debug)]
enum Damage {
    /// An attribute is not there.
    Remove(Index),
    /// An attribute is there again, perhaps with another value, before or behind.
    Repeat(Index, Vec<u8>, Index),
    Swap(Index, Index),
    /// A value has another length.
    Resize(Index, usize),
    /// A byte is another.
    Change(Index, u8),
    /// The end is missing.
    Cut(Index),
    /// Another message follows.
    Append,
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        3 => index().prop_map(Damage::Remove),
        3 => (index(), vec(any::<u8>(), 0..30), index())
            .prop_map(|(which, value, place)| Damage::Repeat(which, value, place)),
        2 => (index(), index()).prop_map(|(one, other)| Damage::Swap(one, other)),
        2 => (index(), 0_usize..20).prop_map(|(which, len)| Damage::Resize(which, len)),
        3 => (index(), any::<u8>()).prop_map(|(which, byte)| Damage::Change(which, byte)),
        1 => index().prop_map(Damage::Cut),
        1 => Just(Damage::Append),
    ]
}

fn damaged(mut message: Message, damages: &[Damage]) -> Vec<u8> {
    let attributes = &mut message.attributes;
    for damage in damages.iter().cloned() {
        if attributes.is_empty() {
            break;
        }
        let len = attributes.len();
        match damage {
            Damage::Remove(which) => drop(attributes.remove(which.index(len))),
            Damage::Repeat(which, value, place) => {
                let (kind, same) = attributes[which.index(len)].clone();
                let value = if value.len() < 3 { same } else { value };
                attributes.insert(place.index(len), (kind, value));
            }
            Damage::Swap(one, other) => attributes.swap(one.index(len), other.index(len)),
            Damage::Resize(which, len_wanted) => {
                attributes[which.index(len)].1.resize(len_wanted, 0);
            }
            Damage::Change(..) | Damage::Cut(_) | Damage::Append => {}
        }
    }
    let mut bytes = message.encode();
    for damage in damages {
        match damage {
            Damage::Change(which, byte) => {
                let len = bytes.len();
                bytes[which.index(len)] = *byte;
            }
            Damage::Cut(which) => bytes.truncate(1 + which.index(bytes.len())),
            Damage::Append => bytes.extend(Message::default().encode()),
            _ => {}
        }
    }
    bytes
}

fn devices() -> impl Strategy<Value = Devices> {
    let hardware = || {
        select(&[None, Some(1), Some(772), Some(0xfffe), Some(801), Some(99)][..])
            .prop_map(|kind| kind.map(ArpHardware))
    };
    (hardware(), hardware()).prop_map(|(named, guess)| Devices { named, guess })
}

thread_local! {
    static SOCKETS: std::cell::RefCell<Sockets> = std::cell::RefCell::new(Sockets::open());
}

/// Whether the kernel delivers the message where `text` is the filter; `None` where no part of it
/// can run there.
fn delivered(text: &str, message: &[u8]) -> Option<(bool, Part)> {
    SOCKETS.with_borrow_mut(|sockets| {
        let part = sockets.attach(&parse(text))?;
        Some((sockets.delivers(message), part))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_kernel_rejects_only_what_is_rejected_here(
        text in any_expression(),
        message in message(),
        damages in vec(damage(), 0..4),
        devices in devices(),
    ) {
        let bytes = damaged(message, &damages);
        let Some((is_delivered, _)) = delivered(&text, &bytes) else {
            return Ok(());
        };
        let filter = parse(&text);
        let mut is_kept = false;
        for_each_record(&bytes, devices, |record| is_kept |= filter.matches(record));
        prop_assert!(is_delivered || !is_kept, "{}", text);
    }

    #[test]
    fn the_kernel_delivers_no_more_than_its_part_keeps(
        text in any_expression(),
        message in message(),
        devices in devices(),
    ) {
        let bytes = message.encode();
        let Some((is_delivered, part)) = delivered(&text, &bytes) else {
            return Ok(());
        };
        let part = match part {
            Part::Whole => parse(&text),
            Part::Weaker(filter) => filter,
        };
        // Behind VLAN tags and extension headers these words are left to user space.
        let shown = part.to_string();
        prop_assume!(!["addr ", "sport ", "dport "].iter().any(|word| shown.contains(word)));
        let mut may_be_kept = false;
        for_each_record(&bytes, devices, |record| {
            for kind in [LinkType::ETHERNET, LinkType::RAW] {
                let link = Link { kind, ..record.link };
                may_be_kept |= part.matches(&DropRecord { link, ..*record });
            }
        });
        prop_assert!(may_be_kept || !is_delivered, "{}", shown);
    }

    #[test]
    fn the_part_keeps_whatever_the_filter_keeps(
        text in any_expression(),
        message in message(),
        devices in devices(),
    ) {
        let filter = parse(&text);
        let Some(Part::Weaker(part)) = filter.in_kernel(FAMILY).map(|kernel| kernel.part) else {
            return Ok(());
        };
        for_each_record(&message.encode(), devices, |record| {
            assert!(part.matches(record) || !filter.matches(record), "{text}: {part}");
        });
    }
}

/// The messages of a capture by the C tool: a pcap file of netlink's link type, each message behind
/// a header of 16 bytes.
fn captured(path: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).unwrap();
    let mut rest = &file[24..];
    let mut found = Vec::new();
    while let Some((header, behind)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let (packet, behind) = behind.split_at(len);
        let mut message = packet[16..].to_vec();
        // NET_DM's number on that boot; not the controller's.
        if u16::from_le_bytes([message[4], message[5]]) > 0x10 {
            message[4..6].copy_from_slice(&FAMILY.to_ne_bytes());
            found.push(message);
        }
        rest = behind;
    }
    found
}

/// Filters that the kernel does whole.
const WHOLE: &[&str] = &[
    "ip",
    "not ip",
    "ip6 or arp",
    "tcp",
    "not tcp",
    "not (tcp or udp)",
    "icmp or icmp6",
    "gre or ospf",
    "host 10.10.2.4",
    "not host 10.10.2.4",
    "src net 10.0.0.0/8 and not dst net 10.10.0.0/16",
    "net 2001:db8::/32 or net fe80::/10",
    "port 22 or port 53 or portrange 8000-9000",
    "udp and not port 67",
    "tcp dst port 80",
    "ether host 02:00:00:00:00:01",
    "broadcast or multicast or ip multicast or ip6 multicast or ip broadcast",
    "tcp[tcpflags] & tcp-syn != 0",
    "ip[8] < 64",
    "ether[0] & 1 = 0",
    "not ip6 and len > 100",
    "less 80",
    "greater 80 and less 1000",
    "reason NO_SOCKET",
    "not reason NO_SOCKET",
    "reason NETFILTER_DROP or reason TCP_*",
    "origin sw",
    "origin hw",
    "trap blackhole_route or trap_group l2_*",
    "iface 1 or iface 2",
    "pc 0xffffffffb3d420b5",
    "vlan",
    "not vlan 100",
    "tcp and reason NO_SOCKET and src net 10.0.0.0/8 and dst portrange 1-65535",
];

/// And those that it does whole, but for some packets.
const FAR: &[&str] = &[
    "saddr 10.0.0.0/8",
    "not addr 10.10.2.4",
    "dport 0-1024",
    "not sport 80",
];

#[test]
fn the_kernel_rejects_all_that_is_rejected_here_where_it_does_the_whole_filter() {
    let nobody = Devices {
        named: None,
        guess: None,
    };
    let mut messages = captured("software-6.1.pcap");
    messages.extend(captured("software-6.12.pcap"));
    let software = messages.len();
    messages.extend(captured("hardware-6.12.pcap"));
    assert!(software >= 20 && messages.len() > software, "{software}");
    SOCKETS.with_borrow_mut(|sockets| {
        for text in WHOLE.iter().chain(FAR) {
            let filter = parse(text);
            assert_eq!(sockets.attach(&filter), Some(Part::Whole), "{text}");
            let mut rejected = 0;
            for message in &messages {
                let is_delivered = sockets.delivers(message);
                rejected += usize::from(!is_delivered);
                for_each_record(message, nobody, |record| {
                    let is_kept = filter.matches(record);
                    assert!(is_delivered || !is_kept, "{text}: {record:?}");
                    // A named device may be without a link layer; these words look behind tags
                    // and extension headers, which the kernel does not.
                    let is_far = FAR.contains(text);
                    let is_software = matches!(record.cause, Cause::Software { .. });
                    if is_software && !is_far {
                        assert_eq!(is_delivered, is_kept, "{text}: {record:?}");
                    }
                });
            }
            assert_ne!(rejected, 0, "{text}");
        }
    });
}
