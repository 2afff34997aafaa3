//! A second opinion on pcap files, and on the netlink messages in them: it shares no code with the
//! program. It panics on whatever is not well-formed.

#![allow(dead_code)] // Each of the test programs looks at some of it.

/// A pcap file, taken apart.
pub struct Pcap {
    pub link: u32,
    pub is_big_endian: bool,
    /// Units of the fractions in a second.
    pub units: u32,
    pub records: Vec<Record>,
}

/// A packet of a pcap file.
pub struct Record {
    pub seconds: u32,
    pub fraction: u32,
    pub original_len: u32,
    pub data: Vec<u8>,
}

/// A generic netlink message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u16,
    pub command: u8,
    /// Type without flag bits, and value.
    pub attributes: Vec<(u16, Vec<u8>)>,
}

/// An unsigned number of any size.
pub fn number(bytes: &[u8], is_big_endian: bool) -> u64 {
    let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    if is_big_endian {
        bytes.iter().fold(0, append)
    } else {
        bytes.iter().rev().fold(0, append)
    }
}

fn number32(bytes: &[u8], is_big_endian: bool) -> u32 {
    number(&bytes[..4], is_big_endian).try_into().unwrap()
}

fn number16(bytes: &[u8], is_big_endian: bool) -> u16 {
    number(&bytes[..2], is_big_endian).try_into().unwrap()
}

pub fn pcap(file: &[u8]) -> Pcap {
    let (is_big_endian, units) = match number(&file[..4], true) {
        0xa1b2_c3d4 => (true, 1_000_000),
        0xa1b2_3c4d => (true, 1_000_000_000),
        0xd4c3_b2a1 => (false, 1_000_000),
        0x4d3c_b2a1 => (false, 1_000_000_000),
        other => panic!("{other:#x} is no pcap file's first word"),
    };
    let mut records = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let [seconds, fraction, captured, original_len] =
            [0, 4, 8, 12].map(|offset| number32(&rest[offset..], is_big_endian));
        let (data, behind) = rest[16..].split_at(captured as usize);
        records.push(Record {
            seconds,
            fraction,
            original_len,
            data: data.to_vec(),
        });
        rest = behind;
    }
    Pcap {
        link: number32(&file[20..], is_big_endian),
        is_big_endian,
        units,
        records,
    }
}

/// The generic netlink messages of a record of LINKTYPE_NETLINK.
pub fn messages(record: &[u8], is_big_endian: bool) -> Vec<Message> {
    let (cooked, mut rest) = record.split_at(16);
    assert_eq!(cooked[14..], [0, 16], "not generic netlink");
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let len = number32(rest, is_big_endian) as usize;
        let kind = number16(&rest[4..], is_big_endian);
        if kind >= 16 {
            messages.push(Message {
                kind,
                command: rest[16],
                attributes: attributes(&rest[20..len], is_big_endian),
            });
        }
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
    }
    messages
}

/// The attributes of a message, or inside a nest.
pub fn attributes(mut rest: &[u8], is_big_endian: bool) -> Vec<(u16, Vec<u8>)> {
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let len = usize::from(number16(rest, is_big_endian));
        let kind = number16(&rest[2..], is_big_endian) & 0x3fff;
        attributes.push((kind, rest[4..len].to_vec()));
        rest = &rest[len.next_multiple_of(4).min(rest.len())..];
    }
    attributes
}

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap();
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}
