//! Writes Enhanced Packet Blocks (section 4.3 of the draft) in this machine's byte order: the packet, and
//! its facts as options.

use std::hash::{Hash, Hasher};
use std::io::{self, Write};

use pcap_file::pcapng::blocks::{ENHANCED_PACKET_BLOCK, SIMPLE_PACKET_BLOCK};

use super::{Commenting, Fitted, MONITOR, SNAPLEN};
use crate::cache::Cache;
use crate::comment::{self, Comment};
use crate::reason;
use crate::record::{Cause, DropRecord, Fact, Likeness, Packed, PacketFlags, Timestamp};
use crate::untrusted::Untrusted;

/// Option codes of an Enhanced Packet Block.
const OPT_END: u16 = 0;
const OPT_COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;

/// The length of a block before the packet: type, length, interface, time, lengths.
const HEADER_LEN: usize = 28;
/// The length of a block after the options: its length again.
const TRAILER_LEN: usize = 4;

/// Writes packet blocks. Their parts go straight into the writer, which has to be buffered: the library takes
/// a block's body in one piece, which would copy each packet once more. Memory is reused, so that a packet
/// allocates nothing.
pub struct PacketBlocks {
    commenting: Commenting,
    /// The options of the packet at hand, if they are not cached, and the names in them.
    fresh: Vec<u8>,
    names: Vec<u8>,
    /// The facts that decide the options of the packet at hand.
    key: OptionFacts,
    /// Options as they were written for earlier packets.
    cache: Cache<OptionFacts, Vec<u8>>,
    /// The likeness of the packet for which the cache's latest entry was looked up.
    latest: OptionLikeness,
}

/// The likeness of packets that have the same options.
#[derive(Clone, Copy, Default)]
struct OptionLikeness {
    likeness: Likeness,
    has_time: bool,
    says_protocol: bool,
}

impl OptionLikeness {
    fn is_same(self, other: Self) -> bool {
        self.likeness.is_same(other.likeness)
            && (self.has_time, self.says_protocol) == (other.has_time, other.says_protocol)
    }
}

/// The facts that decide a packet's options, without names and notes: the key of the option cache.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct OptionFacts {
    facts: Packed,
    flags: PacketFlags,
    has_time: bool,
    /// The packet belongs to the interface that all packets share.
    is_shared: bool,
}

impl Hash for OptionFacts {
    /// Hashes the facts alone: the other fields hardly ever differ where the facts are the same.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.facts.hash(state);
    }
}

impl PacketBlocks {
    pub fn new(commenting: Commenting) -> Self {
        Self {
            commenting,
            fresh: Vec::new(),
            names: Vec::new(),
            key: OptionFacts::default(),
            cache: Cache::new(),
            latest: OptionLikeness::default(),
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
        let Body {
            header,
            data,
            padding,
            captured,
        } = Body::of(packet);
        // The protocol is in the cooked header, if there is one.
        let protocol_bytes = if header.is_empty() { data } else { header };
        let unsaid = comment::unsaid_protocol(record, packet.link, protocol_bytes);
        let options = self.options(interface == MONITOR, record, unsaid.is_some());
        let len = HEADER_LEN + captured + padding.len() + options.len() + TRAILER_LEN;
        let [captured, len] = [captured, len].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        // Nanoseconds, as if_tsresol says; the upper half comes first.
        let Timestamp(time) = record.time.unwrap_or_default();
        let [low, high] = [time, time >> 32].map(|half| (half & 0xffff_ffff) as u32);
        let original_len = packet.original_len.max(captured);
        let fields = [
            ENHANCED_PACKET_BLOCK,
            len,
            interface,
            high,
            low,
            captured,
            original_len,
        ];
        // In one piece: each one more costs a dozen instructions.
        let mut head = [0; HEADER_LEN];
        for (bytes, field) in head.chunks_exact_mut(4).zip(fields) {
            bytes.copy_from_slice(&field.to_ne_bytes());
        }
        writer.write_all(&head)?;
        // Also an empty one: most packets have no cooked header, and need no padding.
        for piece in [header, data, padding] {
            if !piece.is_empty() {
                writer.write_all(piece)?;
            }
        }
        writer.write_all(options)?;
        writer.write_all(&len.to_ne_bytes())
    }

    /// Returns the options of a packet. `is_shared`: it belongs to the interface that all packets share;
    /// `says_protocol`: a comment has the protocol.
    fn options(&mut self, is_shared: bool, record: &DropRecord<'_>, says_protocol: bool) -> &[u8] {
        let Self {
            commenting,
            fresh,
            names,
            key,
            cache,
            latest,
        } = self;
        // Options are made of these facts alone, so that all packets with the same facts share them.
        let keeps = |fact| match fact {
            Fact::Protocol => says_protocol,
            Fact::IfIndex | Fact::IfName => is_shared,
            _ => true,
        };
        let has_time = record.time.is_some();
        // Notes are hardly ever the same twice.
        let may_be_known = !is_shared && record.notes.is_empty();
        let is_known = |cache: &Cache<OptionFacts, _>, flags| {
            cache.latest_is(|key, names| {
                (key.flags, key.has_time) == (flags, has_time)
                    && key.facts.is_of(names, record, keeps)
            })
        };
        let likeness = OptionLikeness {
            likeness: record.likeness,
            has_time,
            says_protocol,
        };
        // Comparing a dozen facts takes 400 instructions.
        if may_be_known && likeness.is_same(*latest) {
            debug_assert!(is_known(cache, flags(record)), "{record:?}");
            return cache.latest().map_or(&[], |options| options);
        }
        let flags = flags(record);
        if may_be_known && is_known(cache, flags) {
            *latest = likeness;
            return cache.latest().map_or(&[], |options| options);
        }
        (key.flags, key.has_time, key.is_shared) = (flags, has_time, is_shared);
        let pieces = key.facts.set(record, keeps);
        let pieces = pieces.as_slice();
        if may_be_known {
            let options = cache.get(key, pieces, |names, options| {
                options.clear();
                key.add_options(options, names, &[], *commenting);
            });
            if let Some(options) = options {
                *latest = likeness;
                return options;
            }
        }
        names.clear();
        for name in pieces {
            names.extend_from_slice(name);
        }
        fresh.clear();
        key.add_options(fresh, names, record.notes, *commenting);
        fresh
    }
}

/// Writes a Simple Packet Block (section 4.4): no time, no options, and always interface 0.
pub fn write_simple(writer: &mut impl Write, packet: Fitted<'_>) -> io::Result<()> {
    const HEADER_LEN: usize = 12;
    let Body {
        header,
        data,
        padding,
        captured,
    } = Body::of(packet);
    let len = HEADER_LEN + captured + padding.len() + TRAILER_LEN;
    let [captured, len] = [captured, len].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
    for field in [SIMPLE_PACKET_BLOCK, len, packet.original_len.max(captured)] {
        writer.write_all(&field.to_ne_bytes())?;
    }
    writer.write_all(header)?;
    writer.write_all(data)?;
    writer.write_all(padding)?;
    writer.write_all(&len.to_ne_bytes())
}

/// Returns whether a Simple Packet Block can hold everything that is known of the packet.
pub fn is_simple(record: &DropRecord<'_>, packet: Fitted<'_>) -> bool {
    let protocol_bytes = if packet.header.is_empty() {
        packet.data
    } else {
        packet.header
    };
    let has_comment = || {
        let commented = DropRecord {
            protocol: comment::unsaid_protocol(record, packet.link, protocol_bytes),
            ..*record
        };
        comment::comments(&commented).next().is_some()
    };
    record.time.is_none()
        && record.cause == Cause::Unknown
        && record.notes.is_empty()
        && record.flags == PacketFlags::default()
        && !has_comment()
        && snaplen(packet) > 0
}

/// Returns the snapshot length that the interface of a Simple Packet Block needs: readers compute from it how
/// many bytes were captured.
pub fn snaplen(packet: Fitted<'_>) -> u32 {
    let captured = u32::try_from(Body::of(packet).captured).unwrap_or(u32::MAX);
    if captured == packet.original_len.max(captured).min(SNAPLEN) {
        SNAPLEN
    } else {
        captured
    }
}

/// The bytes of a packet in a block.
struct Body<'a> {
    header: &'a [u8],
    data: &'a [u8],
    padding: &'static [u8],
    /// The length of header and data together.
    captured: usize,
}

impl<'a> Body<'a> {
    #[inline]
    fn of(packet: Fitted<'a>) -> Self {
        let Fitted { header, data, .. } = packet;
        let data = &data[..data.len().min(SNAPLEN as usize - header.len())];
        let captured = header.len() + data.len();
        Self {
            header,
            data,
            padding: &[0; 3][..captured.next_multiple_of(4) - captured],
            captured,
        }
    }
}

impl OptionFacts {
    /// Appends the options; `names` holds the names of the facts, one after the other.
    fn add_options(
        self,
        body: &mut Vec<u8>,
        names: &[u8],
        notes: &[Untrusted<&str>],
        commenting: Commenting,
    ) {
        let record = self.facts.record(names);
        comment::comments(&record).for_each(|comment| add_comment(body, &comment));
        if self.is_shared {
            comment::interface_comments(&record).for_each(|comment| add_comment(body, &comment));
        }
        if !self.has_time {
            add_comment(body, &Comment::NoTime);
        }
        let meaning = match commenting {
            Commenting::Facts => None,
            Commenting::Meanings => reason::of_record(&record),
        };
        if let Some(meaning) = meaning {
            add_comment(body, &Comment::Meaning(meaning));
        }
        for note in notes {
            add_option(body, OPT_COMMENT, note.raw().as_bytes());
        }
        if self.flags != PacketFlags::default() {
            add_option(body, EPB_FLAGS, &self.flags.0.to_ne_bytes());
        }
        add_option(body, OPT_END, &[]);
    }
}

/// Returns the flags to write: those of the record, with the direction of a drop.
fn flags(record: &DropRecord<'_>) -> PacketFlags {
    if record.cause.origin().is_some() {
        record.flags.with_direction(record.direction())
    } else {
        record.flags
    }
}

fn add_comment(body: &mut Vec<u8>, comment: &Comment<'_>) {
    let start = body.len();
    body.extend(OPT_COMMENT.to_ne_bytes());
    body.extend([0; 2]);
    // Writing to a Vec cannot fail.
    let _ = write!(body, "{comment}");
    // A name and a call stack are bounded so that they always fit (record::MAX_NAME, MAX_STACK).
    let len = u16::try_from(body.len() - start - 4).unwrap_or(u16::MAX);
    body[start + 2..start + 4].copy_from_slice(&len.to_ne_bytes());
    pad(body);
}

fn add_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend(code.to_ne_bytes());
    body.extend(len.to_ne_bytes());
    body.extend_from_slice(&value[..usize::from(len)]);
    pad(body);
}

/// Pads to the next multiple of 4 bytes, as blocks and options require.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
