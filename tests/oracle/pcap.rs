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

/// What the value of an attribute is, in a big-endian message.
enum Value {
    Bytes,
    Number,
    /// Attributes; the function tells their values by their types.
    Nest(fn(u16) -> Value),
}

/// NET_DM_ATTR_ of linux/net_dropmon.h: PC, TIMESTAMP, PROTO, ORIG_LEN, ORIGIN; IN_PORT.
fn value_in_alert(kind: u16) -> Value {
    match kind {
        2 | 5 | 6 | 10 | 14 => Value::Number,
        4 => Value::Nest(value_in_port),
        _ => Value::Bytes,
    }
}

/// NET_DM_ATTR_PORT_: NETDEV_IFINDEX.
fn value_in_port(kind: u16) -> Value {
    match kind {
        0 => Value::Number,
        _ => Value::Bytes,
    }
}

/// CTRL_ATTR_ of linux/genetlink.h: FAMILY_ID, VERSION, HDRSIZE, MAXATTR; MCAST_GROUPS.
fn value_in_family(kind: u16) -> Value {
    match kind {
        1 | 3 | 4 | 5 => Value::Number,
        7 => Value::Nest(|_| Value::Nest(value_in_group)),
        _ => Value::Bytes,
    }
}

/// CTRL_ATTR_MCAST_GRP_: ID.
fn value_in_group(kind: u16) -> Value {
    match kind {
        2 => Value::Number,
        _ => Value::Bytes,
    }
}

impl Message {
    /// The packet alert, or the controller's answer, that a little-endian host would have sent for this one of a
    /// big-endian host.
    pub fn into_little_endian(mut self) -> Self {
        let value_of = match self.kind {
            16 => value_in_family,
            _ => value_in_alert,
        };
        for (kind, value) in &mut self.attributes {
            turn(value, &value_of(*kind));
        }
        self
    }
}

/// Makes a big-endian value a little-endian one.
fn turn(value: &mut [u8], what: &Value) {
    match what {
        Value::Bytes => {}
        Value::Number => value.reverse(),
        Value::Nest(value_of) => {
            let mut rest = value;
            while !rest.is_empty() {
                let len = usize::from(number16(rest, true));
                let kind = number16(&rest[2..], true) & 0x3fff;
                rest[..2].reverse();
                rest[2..4].reverse();
                turn(&mut rest[4..len], &value_of(kind));
                let padded = len.next_multiple_of(4).min(rest.len());
                rest = &mut rest[padded..];
            }
        }
    }
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
