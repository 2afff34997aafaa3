//! The packets that both filters see: what the kernel dropped (the software fixtures), and
//! hand-made odd ones, whole, padded, and cut at every byte.

use std::fs::File;
use std::time::Duration;

use dwdump::packet::infer_link;
use dwdump::record::{EtherType, LinkType};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapTsResolution, PcapWriter};
use pcap_file::{DataLink, Endianness};

use crate::frames::odd_frames;

/// One packet of a file.
#[derive(Clone)]
pub struct Packet {
    /// For messages.
    pub name: String,
    pub data: Vec<u8>,
    pub original_len: u32,
    /// Zeros were added, so that no honest test reads past the end.
    pub padded: bool,
}

impl Packet {
    fn whole(name: &str, data: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            original_len: u32::try_from(data.len()).unwrap(),
            data,
            padded: false,
        }
    }

    /// The same with another header instead of its first bytes, which are there.
    fn behind(self, cut: usize, header: &[u8]) -> Self {
        let [added, removed] = [header.len(), cut].map(|len| u32::try_from(len).unwrap());
        Self {
            data: [header, &self.data[cut..]].concat(),
            original_len: self.original_len - removed + added,
            ..self
        }
    }
}

/// The packets of one link type.
pub struct Capture {
    pub link: LinkType,
    pub packets: Vec<Packet>,
}

impl Capture {
    pub fn ethernet() -> Self {
        let mut packets = dropped(LinkType::ETHERNET);
        add_odd(&mut packets, odd_frames());
        Self {
            link: LinkType::ETHERNET,
            packets,
        }
    }

    pub fn raw() -> Self {
        let mut packets = dropped(LinkType::RAW);
        let ip = odd_frames().into_iter().filter_map(|(name, frame)| {
            matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd])
                .then(|| (name, frame[14..].to_vec()))
        });
        add_odd(&mut packets, ip.collect());
        Self {
            link: LinkType::RAW,
            packets,
        }
    }

    /// The same packets behind the headers of the other link types that are understood.
    pub fn others() -> Vec<Self> {
        let cooked = Self::ethernet().packets.into_iter().filter_map(cooked);
        let mut captures = vec![Self {
            link: LinkType::LINUX_SLL,
            packets: cooked.collect(),
        }];
        let raw = Self::raw().packets;
        let version = |packet: &Packet| packet.data.first().map(|byte| byte >> 4);
        for (link, [ipv4, ipv6]) in [
            // tcpdump compares with the numbers in the byte order of the file.
            (LinkType::NULL, [[2, 0, 0, 0], [30, 0, 0, 0]]),
            (LinkType::LOOP, [[0, 0, 0, 2], [0, 0, 0, 24]]),
        ] {
            let packets = raw.iter().cloned().filter_map(|packet| {
                let family = match version(&packet)? {
                    4 => ipv4,
                    6 => ipv6,
                    _ => [0; 4],
                };
                Some(packet.behind(0, &family))
            });
            let packets = packets.collect();
            captures.push(Self { link, packets });
        }
        for (link, wanted) in [(LinkType::IPV4, 4), (LinkType::IPV6, 6)] {
            let packets = raw.iter().filter(|packet| version(packet) == Some(wanted));
            let packets = packets.cloned().collect();
            captures.push(Self { link, packets });
        }
        captures
    }

    /// A pcap file in which a packet's time, in microseconds, is its number.
    pub fn write(&self, path: &std::path::Path) {
        let header = PcapHeader {
            version_major: 2,
            version_minor: 4,
            ts_correction: 0,
            ts_accuracy: 0,
            snaplen: 262_144,
            datalink: DataLink::from(u32::from(self.link.0)),
            ts_resolution: PcapTsResolution::MicroSecond,
            endianness: Endianness::Little,
        };
        let file = std::io::BufWriter::new(File::create(path).unwrap());
        let mut writer = PcapWriter::with_header(file, header).unwrap();
        for (number, packet) in self.packets.iter().enumerate() {
            let time = Duration::from_micros(u64::try_from(number).unwrap());
            let packet = PcapPacket::new(time, packet.original_len, &packet.data).unwrap();
            writer.write_packet(&packet).unwrap();
        }
        writer.flush().unwrap();
    }
}

/// An Ethernet frame as LINKTYPE_LINUX_SLL has it; `None` where its header is cut.
fn cooked(packet: Packet) -> Option<Packet> {
    let frame = packet.data.get(..14)?;
    let kind = u16::from_be_bytes([frame[12], frame[13]]);
    let protocol = match kind {
        0x0600.. => kind,
        _ if packet.data[14..].starts_with(&[0xff, 0xff]) => 1,
        _ => 4,
    };
    // Received, of Ethernet, with an address of six bytes.
    let mut header = vec![0, 0, 0, 1, 0, 6];
    // Every third one was sent.
    header[1] = if packet.data.len().is_multiple_of(3) {
        4
    } else {
        0
    };
    header.extend(&frame[6..12]);
    header.extend([0, 0]);
    header.extend(protocol.to_be_bytes());
    Some(packet.behind(14, &header))
}

/// The payloads of the software fixtures that are of this link type or can be cut to it.
fn dropped(link: LinkType) -> Vec<Packet> {
    let mut packets = Vec::new();
    for fixture in ["software-6.1", "software-6.12"] {
        let path = format!("{}/fixtures/{fixture}.pcap", env!("CARGO_MANIFEST_DIR"));
        let mut reader = PcapReader::new(File::open(path).unwrap()).unwrap();
        let mut number = 0;
        while let Some(record) = reader.next_packet() {
            for message in messages(&record.unwrap().data()[16..]) {
                number += 1;
                let Some(alert) = alert(message) else {
                    continue;
                };
                let found = infer_link(
                    Some(EtherType(alert.protocol)),
                    &alert.payload,
                    alert.original_len,
                    None,
                    None,
                );
                let name = format!("{fixture} message {number}");
                let is_ip = alert.payload.len() > 14
                    && matches!(alert.payload[12..14], [0x08, 0x00] | [0x86, 0xdd]);
                if found.kind == link {
                    packets.push(Packet {
                        name,
                        data: alert.payload,
                        original_len: alert.original_len,
                        padded: false,
                    });
                } else if link == LinkType::RAW && is_ip {
                    packets.push(Packet {
                        name,
                        data: alert.payload[14..].to_vec(),
                        original_len: alert.original_len - 14,
                        padded: false,
                    });
                }
            }
        }
    }
    assert!(!packets.is_empty());
    packets
}

/// Netlink messages: length, type, …, each aligned to 4 bytes (linux/netlink.h).
fn messages(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(length) = bytes.first_chunk() {
        let length = u32::from_ne_bytes(*length) as usize;
        if length < 16 || length > bytes.len() {
            break;
        }
        found.push(&bytes[16..length]);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

struct Alert {
    protocol: u16,
    original_len: u32,
    payload: Vec<u8>,
}

/// NET_DM_CMD_PACKET_ALERT with a payload (linux/net_dropmon.h).
fn alert(message: &[u8]) -> Option<Alert> {
    if message.first() != Some(&5) {
        return None;
    }
    let mut alert = Alert {
        protocol: 0,
        original_len: 0,
        payload: Vec::new(),
    };
    let mut rest = message.get(4..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & 0x3fff;
        let value = rest.get(4..length)?;
        match kind {
            6 => alert.protocol = u16::from_ne_bytes(value.try_into().ok()?),
            7 => alert.payload = value.to_vec(),
            10 => alert.original_len = u32::from_ne_bytes(value.try_into().ok()?),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (!alert.payload.is_empty()).then_some(alert)
}

/// Each packet whole, padded, and cut at every byte.
fn add_odd(packets: &mut Vec<Packet>, odd: Vec<(&'static str, Vec<u8>)>) {
    for (name, data) in odd {
        let mut long = data.clone();
        long.resize(400, 0);
        packets.push(Packet {
            padded: true,
            ..Packet::whole(&format!("{name}, padded"), long)
        });
        let whole = Packet::whole(name, data);
        for len in 0..whole.data.len() {
            packets.push(Packet {
                name: format!("{name}, cut to {len}"),
                data: whole.data[..len].to_vec(),
                ..whole.clone()
            });
        }
        packets.push(whole);
    }
}
