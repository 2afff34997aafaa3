//! Enhanced Packet Blocks (section 4.3 of the draft), little-endian: the packet, and what is said of
//! it in options.

use std::hash::{Hash, Hasher};
use std::io::{self, Write};

use pcap_file::pcapng::blocks::ENHANCED_PACKET_BLOCK;

use super::pcapng::{Commenting, MONITOR};
use super::{Fitted, SNAPLEN};
use crate::comment::{self, Comment};
use crate::reason;
use crate::recent::Recent;
use crate::record::{Cause, DropRecord, EtherType, Location, Name, Origin};

/// Option codes of an Enhanced Packet Block.
const OPT_END: u16 = 0;
const OPT_COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;
/// `epb_flags` directions (section 4.3.1).
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// Bytes of a block before the packet: type, length, interface, time, lengths.
const HEADER_LEN: usize = 28;
/// Bytes behind the options: the length again.
const TRAILER_LEN: usize = 4;

/// Writes one block after the other. The parts go straight into the writer, which has to be
/// buffered: the library wants the body in one piece, and that would be one more copy of a packet.
/// Memory is used again, so that a packet allocates nothing.
pub struct PacketBlocks {
    commenting: Commenting,
    /// The options of the packet at hand, when they are not known.
    fresh: Vec<u8>,
    /// The options of a packet, as written for packets that had the same said of them.
    known: Recent<Said, Vec<u8>>,
}

/// All that options say, less the names.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    origin: Option<Origin>,
    pc: Option<u64>,
    name_lengths: [Option<usize>; 3],
    unsaid: Option<EtherType>,
    is_inbound: bool,
}

impl Hash for Said {
    /// The rest hardly differs where the place and the names are the same.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pc.unwrap_or(0).hash(state);
    }
}

impl PacketBlocks {
    pub fn new(commenting: Commenting) -> Self {
        Self {
            commenting,
            fresh: Vec::new(),
            known: Recent::new(),
        }
    }

    /// Writes a packet of `interface`.
    pub fn write(
        &mut self,
        writer: &mut impl Write,
        interface: u32,
        record: &DropRecord<'_>,
        packet: Fitted<'_>,
    ) -> io::Result<()> {
        let Fitted { header, data, .. } = packet;
        let data = &data[..data.len().min(SNAPLEN as usize - header.len())];
        let captured = header.len() + data.len();
        let padding = &[0; 3][..captured.next_multiple_of(4) - captured];
        // In the cooked header, where it has one.
        let protocol_bytes = if header.is_empty() { data } else { header };
        let unsaid = comment::unsaid_protocol(record, packet.link, protocol_bytes);
        let options = self.options(interface, record, unsaid);
        let len = HEADER_LEN + captured + padding.len() + options.len() + TRAILER_LEN;
        let [captured, len] = [captured, len].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        // Nanoseconds, as if_tsresol says; the upper half comes first.
        let [low, high] =
            [record.time.0, record.time.0 >> 32].map(|half| (half & 0xffff_ffff) as u32);
        let original_len = packet.original_len.max(captured);
        // Two fields at once, and each pair from the registers: a processor waits for bytes that are
        // read in larger pieces than they were just written in.
        for (first, second) in [
            (ENHANCED_PACKET_BLOCK, len),
            (interface, high),
            (low, captured),
        ] {
            let pair = u64::from(first) | u64::from(second) << 32;
            writer.write_all(&pair.to_le_bytes())?;
        }
        writer.write_all(&original_len.to_le_bytes())?;
        writer.write_all(header)?;
        writer.write_all(data)?;
        writer.write_all(padding)?;
        writer.write_all(options)?;
        writer.write_all(&len.to_le_bytes())
    }

    fn options(
        &mut self,
        interface: u32,
        record: &DropRecord<'_>,
        unsaid: Option<EtherType>,
    ) -> &[u8] {
        let Self {
            commenting,
            fresh,
            known,
        } = self;
        fresh.clear();
        // What else is said is hardly ever the same twice.
        if interface == MONITOR || !record.notes.is_empty() {
            add_options(fresh, interface, record, unsaid, *commenting);
            return fresh;
        }
        let (said, names) = said(record, unsaid);
        let known = known.get(said, names, |known| {
            known.clear();
            add_options(known, interface, record, unsaid, *commenting);
        });
        known.unwrap_or_else(|| {
            add_options(fresh, interface, record, unsaid, *commenting);
            fresh
        })
    }
}

/// What is to be said of a record, and the names in it.
fn said<'a>(record: &DropRecord<'a>, unsaid: Option<EtherType>) -> (Said, [&'a [u8]; 3]) {
    let (pc, names) = match record.cause {
        Cause::Software {
            location: Location { pc, symbol },
            reason,
        } => {
            let symbol = symbol.map(|symbol| symbol.0.as_sent());
            (pc, [reason.map(Name::as_sent), symbol, None])
        }
        Cause::Hardware {
            group,
            trap,
            cookie,
        } => (
            None,
            [group.map(Name::as_sent), trap.map(Name::as_sent), cookie],
        ),
        Cause::Unknown => (None, [None; 3]),
    };
    let said = Said {
        origin: record.cause.origin(),
        pc,
        name_lengths: names.map(|name| name.map(<[u8]>::len)),
        unsaid,
        is_inbound: record.input.is_some(),
    };
    (said, names.map(Option::unwrap_or_default))
}

fn add_options(
    body: &mut Vec<u8>,
    interface: u32,
    record: &DropRecord<'_>,
    unsaid: Option<EtherType>,
    commenting: Commenting,
) {
    comment::comments(record, unsaid).for_each(|comment| add_comment(body, &comment));
    if interface == MONITOR {
        comment::interface_comments(record).for_each(|comment| add_comment(body, &comment));
    }
    let meaning = match commenting {
        Commenting::Facts => None,
        Commenting::Meanings => reason::of_record(record),
    };
    if let Some(meaning) = meaning {
        add_comment(body, &Comment::Meaning(meaning));
    }
    for note in record.notes {
        add_option(body, OPT_COMMENT, note.raw().as_bytes());
    }
    if record.cause.origin().is_some() {
        let direction = if record.input.is_some() {
            INBOUND
        } else {
            OUTBOUND
        };
        add_option(body, EPB_FLAGS, &direction.to_le_bytes());
    }
    add_option(body, OPT_END, &[]);
}

fn add_comment(body: &mut Vec<u8>, comment: &Comment<'_>) {
    let start = body.len();
    body.extend(OPT_COMMENT.to_le_bytes());
    body.extend([0; 2]);
    // Writing to a Vec cannot fail.
    let _ = write!(body, "{comment}");
    // Names are bounded so that this always fits (record::MAX_NAME).
    let len = u16::try_from(body.len() - start - 4).unwrap_or(u16::MAX);
    body[start + 2..start + 4].copy_from_slice(&len.to_le_bytes());
    pad(body);
}

fn add_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend(code.to_le_bytes());
    body.extend(len.to_le_bytes());
    body.extend_from_slice(&value[..usize::from(len)]);
    pad(body);
}

/// Blocks and options are aligned to 4 bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
