//! Capture files as text that can be reviewed: by pcap-parser, and by the oracle.

use std::fmt::Write;

use pcap_parser::{Block, OptionCode, PcapNGOption, parse_block_be, parse_block_le};

use crate::pcap;

/// The file as text, if it is a capture.
pub fn capture(file: &[u8]) -> Option<String> {
    match file.get(..4)? {
        [0x0a, 0x0d, 0x0d, 0x0a] => Some(pcapng(file)),
        [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] | [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] => {
            Some(netlink_or_packets(file))
        }
        _ => None,
    }
}

fn pcapng(file: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = file;
    let mut interfaces = 0;
    let is_big_endian = file[8] == 0x1a;
    let options = |found: &[_], names: &Names| options(found, names, is_big_endian);
    while !rest.is_empty() {
        let parsed = if is_big_endian {
            parse_block_be(rest)
        } else {
            parse_block_le(rest)
        };
        let Ok((behind, block)) = parsed else {
            let offset = file.len() - rest.len();
            writeln!(text, "no whole block at byte {offset}").unwrap();
            return text;
        };
        rest = behind;
        match block {
            Block::SectionHeader(block) => {
                interfaces = 0;
                writeln!(text, "section{}", options(&block.options, &SECTION)).unwrap();
            }
            Block::InterfaceDescription(block) => {
                let (link, snaplen) = (block.linktype.0, block.snaplen);
                let options = options(&block.options, &INTERFACE);
                writeln!(
                    text,
                    "interface {interfaces}: link {link}, snaplen {snaplen}{options}"
                )
                .unwrap();
                interfaces += 1;
            }
            Block::EnhancedPacket(block) => {
                let time = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                let (seconds, fraction) = (time / 1_000_000_000, time % 1_000_000_000);
                let (interface, captured, original) = (block.if_id, block.caplen, block.origlen);
                writeln!(
                    text,
                    "packet of interface {interface}: {seconds}.{fraction:09}, {captured} of {original} bytes: {}{}",
                    beginning(&block.data[..captured as usize]),
                    options(&block.options, &PACKET)
                )
                .unwrap();
            }
            Block::SimplePacket(block) => {
                let original = block.origlen;
                writeln!(
                    text,
                    "simple packet of {original} bytes: {}",
                    beginning(block.data)
                )
                .unwrap();
            }
            Block::InterfaceStatistics(block) => {
                let options = options(&block.options, &STATISTICS);
                writeln!(text, "statistics of interface {}{options}", block.if_id).unwrap();
            }
            other => writeln!(text, "{other:?}").unwrap(),
        }
    }
    text
}

/// What an option's value is, and its name.
#[derive(Clone, Copy)]
enum Value {
    Text,
    Number,
    /// Two 32-bit halves, the upper one first.
    Time,
}

type Names = [(u16, &'static str, Value)];

const SECTION: [(u16, &str, Value); 3] = [
    (2, "hardware", Value::Text),
    (3, "os", Value::Text),
    (4, "application", Value::Text),
];
const INTERFACE: [(u16, &str, Value); 3] = [
    (2, "name", Value::Text),
    (3, "description", Value::Text),
    (9, "resolution", Value::Number),
];
const PACKET: [(u16, &str, Value); 1] = [(2, "flags", Value::Number)];
const STATISTICS: [(u16, &str, Value); 6] = [
    (2, "start", Value::Time),
    (3, "end", Value::Time),
    (4, "received", Value::Number),
    (5, "dropped", Value::Number),
    (6, "accepted", Value::Number),
    (7, "dropped by the os", Value::Number),
];

/// Each on a line of its own.
fn options(options: &[PcapNGOption<'_>], names: &Names, is_big_endian: bool) -> String {
    let mut text = String::new();
    for option in options {
        if option.code == OptionCode::EndOfOpt {
            continue;
        }
        let bytes = &option.value[..usize::from(option.len)];
        let string = || String::from_utf8_lossy(bytes);
        let known = names.iter().find(|(code, ..)| *code == option.code.0);
        text.push_str("\n    ");
        match known {
            None if option.code == OptionCode::Comment => text.push_str(&string()),
            None => write!(text, "option {}: {bytes:02x?}", option.code.0).unwrap(),
            Some((_, name, Value::Text)) => write!(text, "{name} = {}", string()).unwrap(),
            Some((_, name, Value::Number)) => {
                write!(text, "{name} = {}", pcap::number(bytes, is_big_endian)).unwrap();
            }
            Some((_, name, Value::Time)) => {
                let halves = [&bytes[..4], &bytes[4..]];
                let [high, low] = halves.map(|half| pcap::number(half, is_big_endian));
                write!(text, "{name} = {}", high << 32 | low).unwrap();
            }
        }
    }
    text
}

fn netlink_or_packets(file: &[u8]) -> String {
    let capture = pcap::pcap(file);
    let mut text = format!("link {}, {} units a second\n", capture.link, capture.units);
    for record in &capture.records {
        let time = format!("{}.{}", record.seconds, record.fraction);
        if capture.link != 253 {
            let (captured, original) = (record.data.len(), record.original_len);
            let data = beginning(&record.data);
            writeln!(
                text,
                "packet: {time}, {captured} of {original} bytes: {data}"
            )
            .unwrap();
            continue;
        }
        for message in pcap::messages(&record.data, capture.is_big_endian) {
            // What is expected was written on a little-endian machine.
            let message = if capture.is_big_endian {
                message.into_little_endian()
            } else {
                message
            };
            let (kind, command) = (message.kind, message.command);
            if kind == 16 {
                // Without its time: where no drop gives one, it is that of the run.
                writeln!(text, "message of type {kind}, command {command}").unwrap();
            } else {
                writeln!(text, "message of type {kind}, command {command}: {time}").unwrap();
            }
            for (kind, value) in &message.attributes {
                let len = value.len();
                writeln!(text, "    {kind}: {len} bytes: {}", beginning(value)).unwrap();
            }
        }
    }
    text
}

/// The first bytes in hexadecimal.
fn beginning(bytes: &[u8]) -> String {
    let rest = if bytes.len() > 40 { "…" } else { "" };
    pcap::hex(&bytes[..bytes.len().min(40)]) + rest
}
