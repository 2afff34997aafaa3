//! Messages for testing filters in the kernel: messages like the drop monitor's, and damaged ones.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::records::bytes;
use crate::net_dm::netlink::{MESSAGE_HEADER_LEN, MessageBuilder};
use crate::net_dm::{FAMILY_VERSION, ORIGIN_HW, attr, cmd};

pub const FAMILY: u16 = 0x24;

/// The attributes of an alert.
#[derive(Clone, Debug, Default)]
pub struct AlertMessage {
    pub attributes: Vec<(u16, Vec<u8>)>,
}

impl AlertMessage {
    pub fn encode(&self) -> Vec<u8> {
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

/// Returns the attributes of an interface.
fn in_port(index: Option<u32>, name: Option<&str>) -> Vec<u8> {
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

/// Generates IPv4 or IPv6 with one more header, and the addresses and ports of the expressions.
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

/// Returns an IPv4 packet without its length.
pub fn ip4(words: u8, next: u8, fragment: u16, source: [u8; 4], behind: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x40 | words, 0, 0, 0, 0, 0];
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, next, 0, 0]);
    bytes.extend(source);
    bytes.extend([10, 0, 1, 2]);
    bytes.resize(4 * usize::from(words).max(5), 0);
    bytes.extend(behind);
    bytes
}

/// Returns an IPv6 packet without its length; its addresses repeat `source` four times.
pub fn ip6(next: u8, source: [u8; 4], behind: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    bytes.extend(source.repeat(4));
    bytes.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend(behind);
    bytes
}

/// Returns a header of 8 bytes if `next` is an extension of IPv6, then ports.
pub fn transport(next: u8, behind: u8, from: u16, to: u16) -> Vec<u8> {
    let mut bytes = match next {
        // The length of an authentication header counts units of 4 bytes, less two.
        0 | 44 | 51 | 60 => vec![behind, 0, 0, 0, 0, 0, 0, 0],
        _ => Vec::new(),
    };
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend([0; 16]);
    bytes
}

/// The kernel's facts about a packet, with its captured part.
#[derive(Clone, Debug)]
pub struct AlertPacket {
    pub protocol: u16,
    pub original_len: u32,
    pub data: Vec<u8>,
}

/// Generates packets with and without Ethernet and VLAN tags, with addresses that look like IP
/// headers, wrong lengths, and truncated ends.
pub fn packet() -> impl Strategy<Value = AlertPacket> {
    #[derive(Clone, Copy, Debug)]
    enum Before {
        Nothing,
        Ethernet,
        Tagged,
        /// The protocol alone shows the tag: the kernel removed its bytes.
        TaggedInside,
    }
    use Before::{Ethernet, Nothing, Tagged, TaggedInside};
    let before = select(&[Nothing, Nothing, Ethernet, Ethernet, Tagged, TaggedInside]);
    // The error of the length in bytes that look like an IP header.
    let told = select(&[-20_i32, -14, -1, 0, 0, 0, 1, 40]);
    let mac = select(&[0x02_u8, 0x02, 0x45, 0x4f, 0x60, 0x41, 0xff]);
    let padding = select(&[0_usize, 0, 0, 5]);
    let cut = prop_oneof![4 => Just(None), 3 => any::<Index>().prop_map(Some)];
    // Spoils the IP packet that a header announces, now and then.
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
            AlertPacket {
                protocol,
                original_len: u32::try_from(original).unwrap(),
                data,
            }
        },
    )
}

/// Generates any bytes with any protocol, known or not.
pub fn odd_packet() -> impl Strategy<Value = AlertPacket> {
    let protocol = select(&[0x0800_u16, 0x86dd, 0x0806, 0x8100, 1, 4, 0x88cc, 0]);
    (bytes(), protocol, 0_u32..200).prop_map(|(data, protocol, original_len)| AlertPacket {
        protocol: match data.get(12..14) {
            Some(kind) if original_len < 150 => u16::from_be_bytes([kind[0], kind[1]]),
            _ => protocol,
        },
        original_len,
        data,
    })
}

/// Generates data that never was a packet: netlink messages, including alerts, and other data.
pub fn no_packet() -> impl Strategy<Value = AlertPacket> {
    let kind = select(&[FAMILY, FAMILY, 2, 24]);
    (kind, 0_usize..60, prop::bool::weighted(0.8), any::<Index>()).prop_map(
        |(kind, payload, is_whole, cut)| {
            let mut data = netlink_message(kind, payload);
            let original = data.len();
            if !is_whole {
                data.truncate(1 + cut.index(original));
            }
            AlertPacket {
                protocol: 0,
                original_len: u32::try_from(original).unwrap(),
                data,
            }
        },
    )
}

/// Returns a netlink message of this type, with so many bytes after its header.
pub fn netlink_message(kind: u16, payload: usize) -> Vec<u8> {
    let len = MESSAGE_HEADER_LEN + payload;
    let mut bytes = u32::try_from(len).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.resize(len, 0x45);
    bytes
}

/// Generates messages that the kernel could send, with attributes in its order.
pub fn message() -> impl Strategy<Value = AlertMessage> {
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
    let packet = prop_oneof![3 => packet(), 1 => odd_packet(), 1 => no_packet()];
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
                let in_port = (attr::IN_PORT | 0x8000, in_port(index, device));
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
                AlertMessage { attributes }
            },
        )
}

/// The difference between a message and one of the kernel's.
#[derive(Clone, Debug)]
pub enum MessageDamage {
    /// An attribute is missing.
    Remove(Index),
    /// An attribute is repeated, possibly with another value, before or after the first.
    Repeat(Index, Vec<u8>, Index),
    Swap(Index, Index),
    /// The message has an attribute of drops of the other origin.
    Insert(u16, &'static str),
    /// A value has another length.
    Resize(Index, usize),
    /// A byte has another value.
    Change(Index, u8),
    /// The message is truncated.
    Cut(Index),
    /// Another message follows.
    Append(AlertMessage),
}

pub fn damage() -> impl Strategy<Value = MessageDamage> {
    let index = any::<Index>;
    prop_oneof![
        3 => index().prop_map(MessageDamage::Remove),
        3 => (index(), vec(any::<u8>(), 0..30), index())
            .prop_map(|(which, value, place)| MessageDamage::Repeat(which, value, place)),
        2 => (index(), index()).prop_map(|(one, other)| MessageDamage::Swap(one, other)),
        2 => (index(), 0_usize..20).prop_map(|(which, len)| MessageDamage::Resize(which, len)),
        3 => (index(), any::<u8>()).prop_map(|(which, byte)| MessageDamage::Change(which, byte)),
        1 => index().prop_map(MessageDamage::Cut),
        1 => message().prop_map(MessageDamage::Append),
        1 => select(&[
            MessageDamage::Insert(attr::REASON, "NO_SOCKET"),
            MessageDamage::Insert(attr::HW_TRAP_NAME, "l3_drops"),
            MessageDamage::Insert(attr::HW_TRAP_GROUP_NAME, "l3_drops"),
        ]),
    ]
}

pub fn damaged(mut message: AlertMessage, damages: &[MessageDamage]) -> Vec<u8> {
    let attributes = &mut message.attributes;
    for damage in damages.iter().cloned() {
        if attributes.is_empty() {
            break;
        }
        let len = attributes.len();
        match damage {
            MessageDamage::Remove(which) => drop(attributes.remove(which.index(len))),
            MessageDamage::Repeat(which, value, place) => {
                let (kind, same) = attributes[which.index(len)].clone();
                let value = if value.len() < 3 { same } else { value };
                attributes.insert(place.index(len), (kind, value));
            }
            MessageDamage::Swap(one, other) => attributes.swap(one.index(len), other.index(len)),
            MessageDamage::Resize(which, len_wanted) => {
                attributes[which.index(len)].1.resize(len_wanted, 0);
            }
            MessageDamage::Insert(kind, text) => {
                attributes.push((kind, [text.as_bytes(), b"\0"].concat()));
            }
            MessageDamage::Change(..) | MessageDamage::Cut(_) | MessageDamage::Append(_) => {}
        }
    }
    let mut bytes = message.encode();
    for damage in damages {
        match damage {
            MessageDamage::Change(which, byte) => {
                let len = bytes.len();
                bytes[which.index(len)] = *byte;
            }
            MessageDamage::Cut(which) => bytes.truncate(1 + which.index(bytes.len())),
            MessageDamage::Append(message) => bytes.extend(message.encode()),
            _ => {}
        }
    }
    bytes
}

/// Returns the alert for a software drop of this packet.
pub fn drop_of(protocol: u16, data: &[u8]) -> AlertMessage {
    let len = u32::try_from(data.len()).unwrap();
    AlertMessage {
        attributes: vec![
            (attr::ORIGIN, vec![0, 0]),
            (attr::REASON, b"NO_SOCKET\0".to_vec()),
            (attr::ORIG_LEN, len.to_ne_bytes().to_vec()),
            (attr::PROTO, protocol.to_ne_bytes().to_vec()),
            (attr::PAYLOAD, data.to_vec()),
        ],
    }
}

pub fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&addresses[..], &kind.to_be_bytes(), payload].concat()
}

/// Returns the messages of the C tool's capture: a pcap file of netlink's link type, with a header
/// of 16 bytes before each message.
pub fn captured(path: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).unwrap();
    let mut rest = &file[24..];
    let mut found = Vec::new();
    while let Some((header, behind)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let (packet, behind) = behind.split_at(len);
        let mut message = packet[16..].to_vec();
        // The number of NET_DM on that boot; the controller's messages are left out.
        if u16::from_le_bytes([message[4], message[5]]) > 0x10 {
            message[4..6].copy_from_slice(&FAMILY.to_ne_bytes());
            found.push(message);
        }
        rest = behind;
    }
    found
}
