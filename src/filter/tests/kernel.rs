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
use super::super::kernel::{NotInKernel, Part};
use super::grammar::any_expression;
use super::parse;
use super::records::bytes;
use crate::bpf::MAX_LEN;
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
        let kernel = filter.in_kernel(FAMILY, MAX_LEN).ok()?;
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

/// IPv4 or IPv6 with one more header, addresses and ports of the expressions below.
fn internet() -> impl Strategy<Value = Vec<u8>> {
    let next = select(&[6_u8, 6, 17, 17, 1, 58, 44, 0, 51, 60][..]);
    let port = || select(&[53_u16, 80, 1024]);
    let fragment = select(&[0_u16, 0, 0, 0x2000, 0x2001]);
    let four = (
        (select(&[5_u8, 5, 6, 7, 4]), next.clone(), fragment),
        (select(&[[10_u8, 0, 0, 1], [8, 0, 1, 1]]), port(), port()),
        select(&[6_u8, 17]),
    )
        .prop_map(|((words, next, fragment), (source, from, to), behind)| {
            ip4(
                words,
                next,
                fragment,
                source,
                &transport(next, behind, from, to),
            )
        });
    let six = (
        next,
        select(&[[0x20_u8, 1, 0x0d, 0xb8], [0x86, 0xdd, 0x86, 0xdd]]),
        (port(), port()),
        select(&[6_u8, 17]),
    )
        .prop_map(|(next, source, (from, to), behind)| {
            ip6(next, source, &transport(next, behind, from, to))
        });
    prop_oneof![four, six]
}

/// Without its length.
fn ip4(words: u8, next: u8, fragment: u16, source: [u8; 4], behind: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x40 | words, 0, 0, 0, 0, 0];
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, next, 0, 0]);
    bytes.extend(source);
    bytes.extend([10, 0, 1, 2]);
    bytes.resize(4 * usize::from(words).max(5), 0);
    bytes.extend(behind);
    bytes
}

/// Without its length; `source` is four times in its address.
fn ip6(next: u8, source: [u8; 4], behind: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    bytes.extend(source.repeat(4));
    bytes.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(behind);
    bytes
}

/// A header of 8 bytes where `next` has an extension of IPv6, then ports.
fn transport(next: u8, behind: u8, from: u16, to: u16) -> Vec<u8> {
    let mut bytes = match next {
        // An authentication header counts words, less two.
        0 | 44 | 51 | 60 => vec![behind, 0, 0, 0, 0, 0, 0, 0],
        _ => Vec::new(),
    };
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend([0; 16]);
    bytes
}

/// What the kernel says of a packet, and as much of it as was captured.
#[derive(Clone, Debug)]
struct Packet {
    protocol: u16,
    original_len: u32,
    data: Vec<u8>,
}

/// Packets with and without Ethernet, tagged or not, with addresses that look like IP, lengths that
/// do not fit, and ends that were cut off.
fn packet() -> impl Strategy<Value = Packet> {
    #[derive(Clone, Copy, Debug)]
    enum Before {
        Nothing,
        Ethernet,
        Tagged,
        /// By the protocol alone: the kernel took off the tag, not its bytes.
        TaggedInside,
    }
    use Before::{Ethernet, Nothing, Tagged, TaggedInside};
    let before = select(&[Nothing, Nothing, Ethernet, Ethernet, Tagged, TaggedInside]);
    // Of the first bytes that look like IP's, the length.
    let told = select(&[-20_i32, -14, -1, 0, 0, 0, 1, 40]);
    let mac = select(&[0x02_u8, 0x02, 0x45, 0x4f, 0x60, 0x41, 0xff]);
    let padding = select(&[0_usize, 0, 0, 5]);
    let cut = prop_oneof![4 => Just(None), 3 => any::<Index>().prop_map(Some)];
    // Is there IP where a header announces it?
    let spoiled = prop::bool::weighted(0.1);
    (internet(), before, mac, told, padding, cut, spoiled).prop_map(
        |(mut ip, before, mac, told, padding, cut, spoiled)| {
            let kind = if ip[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
            let length = |bytes: &mut [u8], original: usize| {
                let original = i32::try_from(original).unwrap();
                let (at, header) = if bytes[0] >> 4 == 6 { (4, 40) } else { (2, 0) };
                let length = u16::try_from((original + told - header).max(0)).unwrap();
                bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
            };
            ip.resize(ip.len() + padding, 0);
            let len = ip.len();
            length(&mut ip, len);
            if spoiled {
                ip[0] = 0x33;
            }
            let tag = [0x81, 0, 0, 100];
            let (protocol, tag): (u16, &[u8]) = match before {
                Nothing | Ethernet => (kind, &[]),
                Tagged => (0x8100, &tag),
                TaggedInside => (kind, &tag),
            };
            let mut data = Vec::new();
            if !matches!(before, Nothing) {
                data.extend([mac, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1]);
                data.extend(tag);
                data.extend(u16::to_be_bytes(kind));
            }
            data.extend(&ip);
            let original = data.len();
            if !matches!(before, Nothing) && matches!(mac >> 4, 4 | 6) {
                length(&mut data, original);
            }
            data.truncate(cut.map_or(original, |cut| cut.index(original)));
            Packet {
                protocol,
                original_len: u32::try_from(original).unwrap(),
                data,
            }
        },
    )
}

/// Any bytes with any protocol, or none that is known.
fn odd_packet() -> impl Strategy<Value = Packet> {
    let protocol = select(&[0x0800_u16, 0x86dd, 0x0806, 0x8100, 1, 4, 0x88cc]);
    (bytes(), protocol, 0_u32..200).prop_map(|(data, protocol, original_len)| Packet {
        protocol: match data.get(12..14) {
            Some(kind) if original_len < 150 => u16::from_be_bytes([kind[0], kind[1]]),
            _ => protocol,
        },
        original_len,
        data,
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
    let packet = prop_oneof![3 => packet(), 1 => odd_packet()];
    (
        prop::bool::weighted(0.8),
        name,
        trap,
        interface,
        packet,
        prop::bool::weighted(0.9),
    )
        .prop_map(
            |(is_software, name, trap, (index, device), packet, has_data)| {
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
                let original = packet.original_len.to_ne_bytes();
                attributes.push((attr::ORIG_LEN, original.to_vec()));
                if has_data && !packet.data.is_empty() {
                    attributes.push((attr::PROTO, packet.protocol.to_ne_bytes().to_vec()));
                    attributes.push((attr::PAYLOAD, packet.data));
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
    /// An attribute of a drop of the other origin.
    Insert(u16, &'static str),
    /// A value has another length.
    Resize(Index, usize),
    /// A byte is another.
    Change(Index, u8),
    /// The end is missing.
    Cut(Index),
    /// Another message follows.
    Append(Message),
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
        1 => message().prop_map(Damage::Append),
        1 => select(&[
            Damage::Insert(attr::REASON, "NO_SOCKET"),
            Damage::Insert(attr::HW_TRAP_NAME, "l3_drops"),
            Damage::Insert(attr::HW_TRAP_GROUP_NAME, "l3_drops"),
        ]),
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
            Damage::Insert(kind, text) => {
                attributes.push((kind, [text.as_bytes(), b"\0"].concat()));
            }
            Damage::Change(..) | Damage::Cut(_) | Damage::Append(_) => {}
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
            Damage::Append(message) => bytes.extend(message.encode()),
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

/// What the kernel can do, and a few things that it cannot.
const PRIMITIVES: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp",
    "icmp6",
    "proto 44",
    "ip proto 51",
    "host 10.0.0.1",
    "dst host 10.0.1.2",
    "net 2001:db8::/32",
    "src and dst net 10.0.0.0/8",
    "port 53",
    "udp dst port 80",
    "src or dst portrange 60-90",
    "portrange 1-9 or 53 or 80-81",
    "dst port 7 or 53",
    "src and dst port 53",
    "saddr 10.0.0.1",
    "addr ff02::1",
    "sport 53",
    "dport 80",
    "ether host 02:00:00:00:00:01",
    "ether src 02:00:00:00:00:01",
    "multicast",
    "ip6 multicast",
    "vlan",
    "vlan 100",
    "vlan 100 and ip",
    "vlan and udp",
    "vlan 7 or tcp",
    "tcp[0:2] = 80",
    "udp[2:2] > 53",
    "udp[20] = 0",
    "ip[6:2] & 0x1fff = 0",
    "ip6[6] = 17",
    "icmp6[0] = 0",
    "ether[0] = 2",
    "ether[12:2] = 0x800",
    "len > 60",
    "less 64",
    "reason NO_SOCKET",
    "reason NETFILTER*",
    "trap l3_drops",
    "trap_group l3_*",
    "origin hw",
    "iface 2",
    "pc 0xffffffffb3d420b5",
    "location ip_rcv",
    "inbound",
];

/// Primitives alone and in pairs, and anything else.
fn expression() -> BoxedStrategy<String> {
    let primitive = select(PRIMITIVES);
    prop_oneof![
        3 => signed(primitive.clone().boxed()),
        3 => (
            signed(primitive.clone().boxed()),
            select(&["and", "or"]),
            signed(primitive.boxed()),
        )
            .prop_map(|(one, word, other)| format!("{one} {word} {other}")),
        2 => any_expression(),
    ]
    .boxed()
}

fn signed(primitive: BoxedStrategy<&'static str>) -> BoxedStrategy<String> {
    (any::<bool>(), primitive)
        .prop_map(|(is_negated, text)| {
            if is_negated {
                format!("not ({text})")
            } else {
                format!("({text})")
            }
        })
        .boxed()
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
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_kernel_rejects_only_what_is_rejected_here(
        text in expression(),
        message in message(),
        damages in vec(damage(), 0..3),
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
        text in expression(),
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
        text in expression(),
        message in message(),
        devices in devices(),
    ) {
        let filter = parse(&text);
        let Ok(Part::Weaker(part)) = filter.in_kernel(FAMILY, MAX_LEN).map(|kernel| kernel.part) else {
            return Ok(());
        };
        for_each_record(&message.encode(), devices, |record| {
            assert!(part.matches(record) || !filter.matches(record), "{text}: {part}");
        });
    }
}

/// A software drop for this reason.
fn drop_of(protocol: u16, data: &[u8]) -> Message {
    let len = u32::try_from(data.len()).unwrap();
    Message {
        attributes: vec![
            (attr::ORIGIN, vec![0, 0]),
            (attr::REASON, b"NO_SOCKET\0".to_vec()),
            (attr::ORIG_LEN, len.to_ne_bytes().to_vec()),
            (attr::PROTO, protocol.to_ne_bytes().to_vec()),
            (attr::PAYLOAD, data.to_vec()),
        ],
    }
}

fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&addresses[..], &kind.to_be_bytes(), payload].concat()
}

/// A load beyond the end would reject the message at once, whatever stands behind `or`.
#[test]
fn no_end_of_a_packet_ends_the_program() {
    let ports = transport(17, 0, 53, 80);
    let long4 = ip4(15, 17, 0, [10, 0, 0, 1], &ports);
    let short4 = ip4(5, 6, 0, [10, 0, 0, 1], &ports);
    let long6 = ip6(60, [0x20, 1, 0x0d, 0xb8], &transport(60, 17, 53, 80));
    let short6 = ip6(58, [0x20, 1, 0x0d, 0xb8], &ports);
    let packets = [
        (0x0800, framed(0x0800, &long4)),
        (0x0800, framed(0x0800, &short4)),
        (0x86dd, framed(0x86dd, &long6)),
        (0x86dd, framed(0x86dd, &short6)),
        (0x0806, framed(0x0806, &[0; 28])),
        (0x8100, framed(0x8100, &[0, 100, 8, 0])),
        (0x0800, long4),
        (0x86dd, long6),
        // Either link type.
        (0x88cc, short4),
        (0x88cc, short6),
    ];
    SOCKETS.with_borrow_mut(|sockets| {
        for primitive in PRIMITIVES {
            for sign in ["", "not "] {
                let text = format!("{sign}({primitive}) or reason NO_SOCKET");
                if sockets.attach(&parse(&text)).is_none() {
                    continue;
                }
                for (protocol, data) in &packets {
                    for len in 0..=data.len() {
                        let message = drop_of(*protocol, &data[..len]).encode();
                        assert!(sockets.delivers(&message), "{text}: {:?}", &data[..len]);
                    }
                }
            }
        }
    });
}

/// What random messages seldom show.
#[test]
fn what_only_this_process_sees_is_left_to_it() {
    #[track_caller]
    fn check(text: &str, message: &Message) {
        let bytes = message.encode();
        let nobody = Devices {
            named: None,
            guess: None,
        };
        let mut kept = 0;
        for_each_record(&bytes, nobody, |record| {
            kept += usize::from(parse(text).matches(record));
        });
        assert_eq!(kept, 1, "{text}");
        let (is_delivered, _) = delivered(text, &bytes).expect(text);
        assert!(is_delivered, "{text}");
    }
    let extended = ip6(60, [0x20, 1, 0x0d, 0xb8], &transport(60, 17, 53, 80));
    check("dport 80", &drop_of(0x86dd, &extended));
    let authenticated = ip4(5, 51, 0, [10, 0, 0, 1], &transport(51, 17, 53, 80));
    check("sport 53", &drop_of(0x0800, &authenticated));
    let plain = ip4(5, 17, 0, [10, 0, 0, 1], &transport(17, 0, 53, 80));
    let tagged = framed(0x8100, &[&[0, 100, 8, 0], &plain[..]].concat());
    check("saddr 10.0.0.1", &drop_of(0x8100, &tagged));
    // The other origin's words are plainly not so, even where they were sent.
    let mut message = drop_of(0x0800, &plain);
    let trap = (attr::HW_TRAP_NAME, b"l3_drops\0".to_vec());
    message.attributes.push(trap);
    check("not trap l3_drops", &message);
    message.attributes[0].1 = ORIGIN_HW.to_ne_bytes().to_vec();
    check("not reason NO_SOCKET", &message);
    // No packet is shorter than what was captured of it.
    let mut message = drop_of(0x0800, &plain);
    message.attributes[2].1 = 1_u32.to_ne_bytes().to_vec();
    check("len = 40", &message);
}

#[test]
fn what_the_kernel_does_of_a_filter() {
    #[track_caller]
    fn check(text: &str, part: Option<&str>) {
        let kernel = parse(text).in_kernel(FAMILY, MAX_LEN);
        let shown = kernel.ok().map(|kernel| kernel.part.to_string());
        assert_eq!(shown.as_deref(), part, "{text}");
    }
    let whole = Some("the whole filter");
    check("", None);
    check("tcp", whole);
    check("not (tcp or len > 5)", whole);
    check("location ip_rcv and tcp", Some("tcp"));
    check("tcp and udp or location ip_rcv", None);
    check("tcp and (udp or location ip_rcv)", Some("tcp"));
    check("(tcp and location ip_rcv) or udp", Some("tcp or udp"));
    check("not (location ip_rcv or tcp)", Some("not tcp"));
    check("not (location ip_rcv and tcp)", None);
    check("inner tcp and udp", Some("udp"));
    // What counts from moved headers; addresses are looked for behind tags in any case.
    check("tcp and vlan and udp", Some("tcp and vlan"));
    check("mpls and tcp and saddr 10.0.0.1", Some("saddr 10.0.0.1"));
    check(
        "reason *_CSUM and reason TCP_* and ip",
        Some("reason TCP_* and ip"),
    );
    check("iface eth0 and iface 5 and noise", Some("iface 5"));
    check("ether proto 0x42 and llc and arp", Some("arp"));
    check("ip[ip[0]] = 1 and ip[2] + 1 = 5 and len = ip[3]", None);
}

#[test]
fn what_is_too_long_for_the_kernel_is_shortened() {
    let hosts: Vec<String> = (0..200).map(|last| format!("host 10.0.0.{last}")).collect();
    let hosts = hosts.join(" or ");
    let too_long = |filter: &Filter, max_len| {
        let error = filter.in_kernel(FAMILY, max_len).unwrap_err();
        assert_eq!(error, NotInKernel::TooLong);
    };
    too_long(&parse(&hosts), MAX_LEN);
    let filter = parse(&format!("tcp and len > 60 and ({hosts})"));
    let kernel = filter.in_kernel(FAMILY, MAX_LEN).unwrap();
    assert_eq!(kernel.part.to_string(), "tcp and len > 60");
    let shorter = filter.in_kernel(FAMILY, kernel.program.len() - 1).unwrap();
    assert_eq!(shorter.part.to_string(), "tcp");
    too_long(&filter, shorter.program.len() - 1);
}

#[test]
fn many_ports_are_one_test() {
    let ports: Vec<String> = (1..=400).map(|port| format!("port {port}")).collect();
    let plain = ip4(5, 17, 0, [10, 0, 0, 1], &transport(17, 0, 300, 9));
    let bytes = drop_of(0x0800, &plain).encode();
    let whole = |is_delivered| Some((is_delivered, Part::Whole));
    let ranges = [&ports[5..20], &ports[200..], &ports[20..200]];
    let [few, some, others] = ranges.map(|ports| ports.join(" or "));
    assert_eq!(delivered(&few, &bytes), whole(true));
    assert_eq!(delivered(&some, &bytes), whole(true));
    assert_eq!(delivered(&others, &bytes), whole(false));
    assert_eq!(delivered(&format!("not ({some})"), &bytes), whole(false));
    assert_eq!(delivered(&format!("not ({others})"), &bytes), whole(true));
    // From left to right: the last alone may be so.
    let ends = "udp and port 1 or port 300 or portrange 1-8";
    assert_eq!(delivered(ends, &bytes), whole(true));
    let ends = "port 300 or port 7 and port 1";
    assert_eq!(delivered(ends, &bytes), whole(false));
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
