//! Parses pcapng files (draft-ietf-opsawg-pcapng) block by block. Only an error that makes it
//! impossible to continue is treated as damage; all others are skipped and counted.

use super::interfaces::{Described, Interfaces};
use super::options::Options;
use super::{Findings, NextItem, Packet, TakenPacket};
use crate::interface::{BOOT, INCOMPLETE};
use crate::net_dm::netlink::ByteOrder;
use crate::record::{CaptureHost, Loss, MAX_NAME, Timestamp};
use crate::untrusted::Untrusted;

/// The type of a Section Header Block, the same in both byte orders.
pub const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The longest block that is parsed as a whole: Wireshark's longest packet, and some megabytes of
/// comments. Of a longer one, the beginning is parsed and the rest is skipped.
const MAX_BLOCK: usize = 8 * 1024 * 1024;
/// A longer block without a packet is skipped without waiting for all of it.
const MAX_UNREAD: usize = 64 * 1024;

/// Block types that are parsed.
mod kind {
    pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub const INTERFACE_DESCRIPTION: u32 = 1;
    pub const PACKET: u32 = 2;
    pub const SIMPLE_PACKET: u32 = 3;
    pub const INTERFACE_STATISTICS: u32 = 5;
    pub const ENHANCED_PACKET: u32 = 6;
}

/// The state of parsing a pcapng file.
pub struct PcapngFile {
    order: ByteOrder,
    interfaces: Interfaces,
    /// The block that is being skipped.
    skipping: Option<Skipping>,
}

struct Skipping {
    /// The number of bytes before the length at the end.
    left: u64,
    /// The correct value of that length.
    total: u32,
}

/// A block at the beginning of the buffer.
struct Block<'a> {
    kind: u32,
    /// The block without type and lengths, possibly truncated.
    body: &'a [u8],
    /// The number of its bytes in the buffer.
    len: usize,
    /// The number of further bytes, before the length at the end.
    beyond: u64,
    total: u32,
}

impl Block<'_> {
    /// Returns the rest of the block that has to be skipped after the bytes in the buffer.
    fn rest(&self) -> Option<Skipping> {
        (self.beyond > 0).then_some(Skipping {
            left: self.beyond,
            total: self.total,
        })
    }
}

/// The facts of a section that are needed to parse its packets.
#[derive(Clone, Copy)]
struct Section<'a> {
    order: ByteOrder,
    interfaces: &'a Interfaces,
}

impl PcapngFile {
    pub fn new() -> Self {
        Self {
            order: ByteOrder::Little,
            interfaces: Interfaces::default(),
            skipping: None,
        }
    }

    /// Returns the item at the beginning of `bytes`, and calls `take` with a packet. The same packet
    /// is read again until its bytes are removed.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see enhanced_packet")]
    pub fn next<T>(
        &mut self,
        bytes: &[u8],
        findings: &mut Findings,
        mut take: impl FnMut(&Packet<'_>, &mut Findings) -> T,
    ) -> Result<NextItem<T>, String> {
        if self.skipping.is_some() {
            return self.go_on_skipping(bytes);
        }
        let block = match self.block(bytes)? {
            Ok(block) => block,
            Err(needed) => return Ok(NextItem::Needs(needed)),
        };
        let Block {
            kind, body, len, ..
        } = block;
        if !matches!(
            kind,
            kind::ENHANCED_PACKET | kind::PACKET | kind::SIMPLE_PACKET
        ) {
            self.read_other(kind, body, findings)?;
            self.skipping = block.rest();
            return Ok(if kind == kind::SECTION_HEADER {
                NextItem::Section(len)
            } else {
                NextItem::Other(len)
            });
        }
        let section = Section {
            order: self.order,
            interfaces: &self.interfaces,
        };
        // Lent, because to move it would copy it.
        let mut give = |packet: &Option<Packet<'_>>| Some(take(packet.as_ref()?, findings));
        let taken = match kind {
            kind::ENHANCED_PACKET => give(&section.enhanced_packet(body)),
            kind::PACKET => give(&section.obsolete_packet(body)),
            _ => give(&section.simple_packet(body)),
        };
        let Some(taken) = taken else {
            findings.unreadable_packets += 1;
            self.skipping = block.rest();
            return Ok(NextItem::Other(len));
        };
        Ok(NextItem::Packet(TakenPacket {
            taken,
            len,
            is_cut: block.beyond > 0,
        }))
    }

    /// Returns whether more bytes of a skipped block are expected.
    pub fn is_inside_a_block(&self) -> bool {
        self.skipping.is_some()
    }

    /// Skips the rest of a truncated block whose packet, at the beginning of `bytes`, was taken.
    pub fn skip_rest(&mut self, bytes: &[u8]) {
        if let Ok(Ok(block)) = self.block(bytes) {
            self.skipping = block.rest();
        }
    }

    fn go_on_skipping<T>(&mut self, bytes: &[u8]) -> Result<NextItem<T>, String> {
        let Some(Skipping { left, total }) = &mut self.skipping else {
            return Ok(NextItem::Other(0));
        };
        if *left > 0 {
            if bytes.is_empty() {
                return Ok(NextItem::Needs(1));
            }
            let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            *left -= len as u64;
            return Ok(NextItem::Other(len));
        }
        let Some(behind) = bytes.get(..4) else {
            return Ok(NextItem::Needs(4));
        };
        check_lengths(*total, self.order.u32(behind))?;
        self.skipping = None;
        Ok(NextItem::Other(4))
    }

    /// Returns the block at the beginning, or the number of bytes that it needs.
    #[inline(always)]
    fn block<'a>(&mut self, bytes: &'a [u8]) -> Result<Result<Block<'a>, usize>, String> {
        const SHORTEST: usize = 12;
        let Some(head) = bytes.get(..SHORTEST) else {
            return Ok(Err(SHORTEST));
        };
        if head.starts_with(&SECTION_HEADER) {
            self.order = match head[8..12] {
                [0x4d, 0x3c, 0x2b, 0x1a] => ByteOrder::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => ByteOrder::Big,
                _ => return Err("a section of unknown byte order".into()),
            };
        }
        let kind = self.order.u32(&head[..4]).unwrap_or_default();
        let total = self.order.u32(&head[4..8]).unwrap_or_default();
        // If the length is not a multiple of 4, which is an error of the writer, the block ends
        // where its second length is found, as in Wireshark.
        let len = (total as usize).next_multiple_of(4);
        if len < SHORTEST {
            return Err(format!("a block of {total} bytes"));
        }
        let is_read = matches!(
            kind,
            kind::SECTION_HEADER
                | kind::INTERFACE_DESCRIPTION
                | kind::INTERFACE_STATISTICS
                | kind::PACKET
                | kind::SIMPLE_PACKET
                | kind::ENHANCED_PACKET
        );
        let most = if is_read { MAX_BLOCK } else { MAX_UNREAD };
        if len > most {
            let Some(body) = bytes.get(8..most) else {
                return Ok(Err(most));
            };
            return Ok(Ok(Block {
                kind,
                body,
                len: most,
                beyond: (len - 4 - most) as u64,
                total,
            }));
        }
        let Some(block) = bytes.get(..len) else {
            return Ok(Err(len));
        };
        check_lengths(total, self.order.u32(&block[len - 4..]))?;
        Ok(Ok(Block {
            kind,
            body: &block[8..len - 4],
            len,
            beyond: 0,
            total,
        }))
    }

    /// Parses a block without a packet.
    fn read_other(
        &mut self,
        kind: u32,
        body: &[u8],
        findings: &mut Findings,
    ) -> Result<(), String> {
        match kind {
            kind::SECTION_HEADER => {
                self.interfaces.clear();
                read_section(body, self.order, findings)
            }
            kind::INTERFACE_DESCRIPTION => self
                .interfaces
                .add(body, self.order, findings)
                .ok_or_else(|| "too many interfaces".into()),
            kind::INTERFACE_STATISTICS => {
                let number = body.get(..4).and_then(|bytes| self.order.u32(bytes));
                let interface = number.and_then(|number| self.interfaces.get(number));
                if let Some(interface) = interface.filter(|interface| interface.is_monitor) {
                    read_statistics(body, self.order, interface, findings);
                }
                Ok(())
            }
            _ => {
                findings.skipped_blocks += 1;
                Ok(())
            }
        }
    }
}

impl<'a> Section<'a> {
    /// Parses an Enhanced Packet Block (section 4.3).
    // Inlined, as is `next`, which calls a closure: a packet that is returned through memory is read in
    // larger pieces than it was written, which stalls the processor. Reading a pcapng file of which few
    // packets match took 1.06 times as long.
    #[inline(always)]
    fn enhanced_packet(self, body: &'a [u8]) -> Option<Packet<'a>> {
        const FIXED_LEN: usize = 20;
        let (fixed, rest) = body.split_first_chunk::<FIXED_LEN>()?;
        let field = |at: usize| self.order.u32(&fixed[at..at + 4]).unwrap_or_default();
        self.packet(field(0), [field(4), field(8)], field(12), field(16), rest)
    }

    /// Parses a Packet Block (appendix A), which is obsolete but still in use.
    fn obsolete_packet(self, body: &'a [u8]) -> Option<Packet<'a>> {
        const FIXED_LEN: usize = 20;
        let (fixed, rest) = body.split_first_chunk::<FIXED_LEN>()?;
        let field = |at: usize| self.order.u32(&fixed[at..at + 4]).unwrap_or_default();
        let interface = self.order.u16(&fixed[..2])?.into();
        self.packet(interface, [field(4), field(8)], field(12), field(16), rest)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see enhanced_packet")]
    fn packet(
        self,
        interface: u32,
        [high, low]: [u32; 2],
        captured: u32,
        original_len: u32,
        rest: &'a [u8],
    ) -> Option<Packet<'a>> {
        let described = self.interfaces.get(interface)?;
        let captured = captured as usize;
        let data = match rest.get(..captured) {
            Some(data) => data,
            // The block is longer than those that are parsed as a whole.
            None if rest.len() + 64 > MAX_BLOCK => rest,
            None => return None,
        };
        let options = rest.get(captured.next_multiple_of(4)..).unwrap_or_default();
        let time = described
            .resolution
            .time(u64::from(high) << 32 | u64::from(low));
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Some(Packet {
            time,
            has_odd_time: time.is_none(),
            original_len: original_len.max(captured),
            link: described.link,
            interface,
            facts: described.facts.as_ref(),
            data,
            options,
            order: self.order,
        })
    }

    /// Parses a Simple Packet Block (section 4.4), which has no time.
    fn simple_packet(self, body: &'a [u8]) -> Option<Packet<'a>> {
        let (fixed, rest) = body.split_at_checked(4)?;
        let original_len = self.order.u32(fixed)?;
        let described = self.interfaces.get(0)?;
        let snaplen = match described.snaplen {
            0 => u32::MAX,
            snaplen => snaplen,
        };
        let captured = original_len.min(snaplen) as usize;
        Some(Packet {
            time: None,
            has_odd_time: false,
            original_len,
            link: described.link,
            interface: 0,
            facts: described.facts.as_ref(),
            data: &rest[..rest.len().min(captured)],
            options: &[],
            order: self.order,
        })
    }
}

fn check_lengths(first: u32, second: Option<u32>) -> Result<(), String> {
    let second = second.unwrap_or_default();
    if first == second {
        return Ok(());
    }
    Err(format!(
        "a block whose two lengths differ ({first} and {second})"
    ))
}

/// Parses a section header. Major version 1 is the only one (section 4.1); minor versions change
/// nothing that is read here.
fn read_section(body: &[u8], order: ByteOrder, findings: &mut Findings) -> Result<(), String> {
    const FIXED_LEN: usize = 16;
    const COMMENT: u16 = 1;
    const HARDWARE: u16 = 2;
    const OS: u16 = 3;
    let major = body.get(4..6).and_then(|bytes| order.u16(bytes));
    if major != Some(1) {
        return Err(match major {
            Some(major) => format!("a section of unknown version {major}"),
            None => "a section header that is too short".into(),
        });
    }
    let mut host = CaptureHost::default();
    let mut options = Options::new(body.get(FIXED_LEN..).unwrap_or_default(), order);
    for (code, value) in options.by_ref() {
        let text = || Some(String::from_utf8_lossy(value).into_owned().into());
        match code {
            COMMENT => {
                let id = value.strip_prefix(BOOT.as_bytes());
                let id = id.map(|id| String::from_utf8_lossy(id).into_owned());
                host.boot = id.map(Into::into).or(host.boot.take());
            }
            HARDWARE => host.hardware = text(),
            OS => host.os = text(),
            _ => {}
        }
    }
    findings.skipped_options += u64::from(options.are_cut());
    // Only the first section's host is reported.
    if !findings.has_section {
        findings.host = host;
        findings.has_section = true;
    }
    Ok(())
}

/// Reads loss and period from the statistics of dwdump's interface 0 (section 4.6). Several
/// sections are added up.
fn read_statistics(body: &[u8], order: ByteOrder, interface: &Described, findings: &mut Findings) {
    const FIXED_LEN: usize = 12;
    const COMMENT: u16 = 1;
    const START_TIME: u16 = 2;
    const END_TIME: u16 = 3;
    const DROPPED: u16 = 5;
    const DROPPED_BY_OS: u16 = 7;
    let (mut all, mut queue, mut start, mut end) = (None, 0, None, None);
    let mut said = Loss::default();
    let mut options = Options::new(body.get(FIXED_LEN..).unwrap_or_default(), order);
    for (code, value) in options.by_ref() {
        let time = || -> Option<Timestamp> {
            let [high, low] = [order.u32(value.get(..4)?)?, order.u32(value.get(4..)?)?];
            interface
                .resolution
                .time(u64::from(high) << 32 | u64::from(low))
        };
        let understood = match code {
            COMMENT => {
                match Loss::of_comment(value) {
                    Some(loss) => said += loss,
                    None => remember_incompleteness(value, findings),
                }
                true
            }
            START_TIME => set(&mut start, time()),
            END_TIME => set(&mut end, time()),
            DROPPED => set(&mut all, order.u64(value)),
            DROPPED_BY_OS => order.u64(value).is_some_and(|count| {
                queue = count;
                true
            }),
            _ => true,
        };
        findings.skipped_options += u64::from(!understood);
    }
    findings.skipped_options += u64::from(options.are_cut());
    if let Some(all) = all {
        *findings.loss.get_or_insert_default() += Loss::of_numbers(all, queue, said);
    }
    if let (Some(start), Some(end)) = (start, end) {
        let (first, last) = findings.period.unwrap_or((start, end));
        findings.period = Some((first.min(start), last.max(end)));
    }
}

/// Keeps the reason that a comment gives for missing drops; of many such comments, the first few.
fn remember_incompleteness(comment: &[u8], findings: &mut Findings) {
    const MAX_KEPT: usize = 10;
    let Some(why) = comment.strip_prefix(INCOMPLETE.as_bytes()) else {
        return;
    };
    let why = &why[..why.len().min(MAX_NAME)];
    let why = Untrusted::from(String::from_utf8_lossy(why).into_owned());
    if findings.incomplete.len() < MAX_KEPT && !findings.incomplete.contains(&why) {
        findings.incomplete.push(why);
    }
}

/// Sets the value and returns whether there was one.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let understood = value.is_some();
    *place = value.or(place.take());
    understood
}
