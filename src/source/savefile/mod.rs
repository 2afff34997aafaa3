//! Capture files: our own pcapng, the C tool's and nlmon's netlink captures (pcap, or inside
//! pcapng), and plain packets. Memory is bounded, whatever the file says; a damaged or cut file
//! gives everything before the damage.

mod comments;
mod pcap;
mod pcapng;

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use pcap_file::Endianness;

use comments::Comments;
use pcap::PcapFile;
use pcapng::PcapngFile;

use crate::comment::Facts;
use crate::interface::InterfaceFacts;
use crate::net_dm::alert::Alert;
use crate::net_dm::netlink::{ByteOrder, GENL_ID_CTRL, Generic, Messages};
use crate::net_dm::summary::SummaryAlert;
use crate::net_dm::{FAMILY_VERSION, cmd, family};
use crate::packet;
use crate::record::{
    Basis, CaptureHost, DropRecord, Interface, Link, LinkType, Loss, Name, Timestamp,
};
use crate::source::Event;

/// The longest packet that is read. Wireshark's own limit.
const MAX_PACKET: usize = 262_144;
/// Room for the longest packet and its comments, and for other programs' blocks; a longer block is
/// damage.
const READ_BUFFER_LEN: usize = 4 * 1024 * 1024;
/// Bytes read at once, unless a longer packet waits for its rest: few enough to be in the
/// processor's cache still when they are looked at.
const MIN_READ: usize = 128 * 1024;
/// Bytes of the cooked header before netlink messages.
const COOKED_LEN: usize = 16;

/// An open capture file.
pub struct Savefile<R: Read> {
    reader: Format<R>,
    /// The first packet, looked at beforehand, or why there is none; `None` once it was taken.
    first: Option<Result<Option<Kept>, Damage>>,
    sense: Sense,
    remarks: Remarks,
}

/// What makes sense of packets.
struct Sense {
    comments: Comments,
    family: Option<u16>,
}

/// What the reading came across, beside records.
#[derive(Clone, Debug, Default)]
pub struct Remarks {
    /// Summary alerts, and what they count.
    pub summaries: u64,
    /// Drops that those counted.
    pub summary_drops: u64,
    /// Attributes of alerts that were skipped: unknown, or of the wrong size.
    pub skipped_attributes: u64,
    /// Netlink records whose messages end in an impossible length.
    pub damaged_messages: u64,
    /// Packets without drop facts.
    pub plain_packets: u64,
    /// Packets of a link type whose headers are not understood, and the first such type.
    pub foreign_links: Option<(LinkType, u64)>,
    /// What the file says of loss; `None` where it says nothing.
    pub loss: Option<Loss>,
    /// First and last moment of the capture, as the file says.
    pub period: Option<(Timestamp, Timestamp)>,
    /// The machine of the capture.
    pub host: CaptureHost,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has no content.
    #[error("the file is empty")]
    Empty,
    /// Its first bytes are those of a compressed file.
    #[error("the file is compressed ({0})")]
    Compressed(&'static str),
    /// Its first bytes are those of no capture.
    #[error("not a capture file: neither pcap nor pcapng")]
    Unknown,
    /// Its header is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// Where a file stops making sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct Damage {
    /// Where the damaged packet or block begins.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

enum Format<R: Read> {
    Pcap(PcapFile<Beginning<R>>),
    Pcapng(PcapngFile<Beginning<R>>),
}

/// A reader whose first bytes were looked at.
type Beginning<R> = ToItsEnd<io::Chain<io::Cursor<Vec<u8>>, R>>;

/// A reader that knows whether it came to its end: a block that does not fit the buffer is told
/// from one that is cut.
struct ToItsEnd<R> {
    source: R,
    was_reached: Rc<Cell<bool>>,
}

impl<R: Read> Read for ToItsEnd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // As much again as waits for its rest, lest that be moved again and again.
        let kept = READ_BUFFER_LEN.saturating_sub(buffer.len());
        let room = buffer.len().min(MIN_READ.max(kept));
        let len = self.source.read(&mut buffer[..room])?;
        if len == 0 && !buffer.is_empty() {
            self.was_reached.set(true);
        }
        Ok(len)
    }
}

/// A packet out of the file, in the reader's buffer.
#[derive(Clone, Copy, Debug)]
struct Packet<'a> {
    time: Timestamp,
    original_len: u32,
    link: LinkType,
    facts: Option<&'a InterfaceFacts>,
    data: &'a [u8],
    /// What follows the packet in an Enhanced Packet Block.
    options: &'a [u8],
    /// The file's, or the section's.
    order: ByteOrder,
    /// Where its block begins in the file.
    offset: u64,
}

/// A packet that outlives the reader's buffer.
struct Kept {
    facts: Option<InterfaceFacts>,
    data: Vec<u8>,
    options: Vec<u8>,
    rest: Packet<'static>,
}

impl Kept {
    fn new(packet: &Packet<'_>) -> Self {
        Self {
            facts: packet.facts.cloned(),
            data: packet.data.to_vec(),
            options: packet.options.to_vec(),
            rest: Packet {
                facts: None,
                data: &[],
                options: &[],
                ..*packet
            },
        }
    }

    fn packet(&self) -> Packet<'_> {
        Packet {
            facts: self.facts.as_ref(),
            data: &self.data,
            options: &self.options,
            ..self.rest
        }
    }
}

impl<R: Read> Savefile<R> {
    /// Looks at the header, and at the first packet: in the C tool's files that one tells the
    /// number of the family.
    pub fn open(mut input: R) -> Result<Self, OpenError> {
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic)?;
        let source = io::Cursor::new(magic.clone()).chain(input);
        let end = Rc::new(Cell::new(false));
        let source = ToItsEnd {
            source,
            was_reached: Rc::clone(&end),
        };
        let reader = match magic[..] {
            [] => return Err(OpenError::Empty),
            [0x0a, 0x0d, 0x0d, 0x0a] => Format::Pcapng(PcapngFile::open(source, end)?),
            [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] => {
                Format::Pcap(PcapFile::open(source, end)?)
            }
            [0x1f, 0x8b, ..] => return Err(OpenError::Compressed("gzip")),
            [0x28, 0xb5, 0x2f, 0xfd] => return Err(OpenError::Compressed("zstd")),
            [0xfd, b'7', b'z', b'X'] => return Err(OpenError::Compressed("xz")),
            _ => return Err(OpenError::Unknown),
        };
        let mut remarks = Remarks::default();
        if let Format::Pcapng(reader) = &reader {
            remarks.host = reader.host();
        }
        let mut reader = reader;
        let first = reader.next(&mut remarks, |packet, _| Ok(Kept::new(packet)));
        let family = match &first {
            Ok(Some(first)) => first.packet().family(),
            _ => None,
        };
        Ok(Self {
            reader,
            first: Some(first),
            sense: Sense {
                comments: Comments::new(),
                family,
            },
            remarks,
        })
    }

    /// What was come across so far; the host's part is known from the beginning.
    pub fn remarks(&self) -> &Remarks {
        &self.remarks
    }

    /// The number of NET_DM in the file, as far as it was learnt.
    pub fn family(&self) -> Option<u16> {
        self.sense.family
    }

    /// Hands every record to `take` until it breaks. Ends with the damage where there is some.
    pub fn for_each<B>(
        &mut self,
        mut take: impl FnMut(&DropRecord<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Damage> {
        self.for_each_event(|event| match event {
            Event::Drop(record) => take(record),
            Event::Count { .. } | Event::EndOfCounts { .. } => ControlFlow::Continue(()),
        })
    }

    /// Hands everything to `take` that the file tells, until it breaks. Ends with the damage where
    /// there is some.
    pub fn for_each_event<B>(
        &mut self,
        mut take: impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Damage> {
        let (sense, remarks) = (&mut self.sense, &mut self.remarks);
        let mut flow = match self.first.take() {
            Some(first) => match first? {
                Some(first) => sense.deliver(&first.packet(), remarks, &mut take)?,
                None => return Ok(ControlFlow::Continue(())),
            },
            None => ControlFlow::Continue(()),
        };
        while flow.is_continue() {
            let next = self.reader.next(remarks, |packet, remarks| {
                sense.deliver(packet, remarks, &mut take)
            });
            match next? {
                Some(delivered) => flow = delivered,
                None => break,
            }
        }
        Ok(flow)
    }
}

impl<R: Read> Format<R> {
    /// Hands on the next packet; `None` at the end.
    #[inline]
    fn next<T>(
        &mut self,
        remarks: &mut Remarks,
        take: impl FnOnce(&Packet<'_>, &mut Remarks) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        match self {
            Self::Pcap(reader) => reader.next(|packet| take(packet, remarks)),
            Self::Pcapng(reader) => reader.next(remarks, take),
        }
    }
}

impl Sense {
    fn deliver<B>(
        &mut self,
        packet: &Packet<'_>,
        remarks: &mut Remarks,
        take: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Damage> {
        if packet.link == LinkType::NETLINK {
            return Ok(self.deliver_messages(packet, remarks, take));
        }
        let origin = packet.facts.and_then(|described| described.origin);
        let flow = self
            .comments
            .understand(packet.options, packet.order, origin, |facts| {
                take(Event::Drop(&record(packet, facts, remarks)))
            });
        flow.ok_or_else(|| Damage {
            offset: packet.offset,
            what: "the options of a packet are cut".into(),
        })
    }

    fn deliver_messages<B>(
        &mut self,
        packet: &Packet<'_>,
        remarks: &mut Remarks,
        take: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some((mut messages, order)) = packet.generic_messages() else {
            return ControlFlow::Continue(());
        };
        for message in messages.by_ref() {
            let Some(generic) = message.generic(order) else {
                continue;
            };
            if message.kind == GENL_ID_CTRL {
                self.family = family::read_id(&generic).or(self.family);
                continue;
            }
            let is_ours = match self.family {
                Some(id) => message.kind == id,
                None => message.kind > GENL_ID_CTRL && generic.version == FAMILY_VERSION,
            };
            if !is_ours {
                continue;
            }
            match generic.command {
                cmd::PACKET_ALERT => {}
                cmd::ALERT => {
                    deliver_summary(&generic, packet.time, self.family, remarks, take)?;
                    continue;
                }
                _ => continue,
            }
            let alert = Alert::decode(generic.attributes);
            // A file that never named the family: only what can be nothing else is an alert.
            if self.family.is_none() && !alert.is_certain() {
                continue;
            }
            remarks.skipped_attributes += u64::from(alert.skipped);
            let record = alert.record(packet.time, None, None, None);
            take(Event::Drop(&record))?;
        }
        remarks.damaged_messages += u64::from(!messages.rest().is_empty());
        ControlFlow::Continue(())
    }
}

impl Packet<'_> {
    /// The family's number, where it is told here.
    fn family(&self) -> Option<u16> {
        if self.link != LinkType::NETLINK {
            return None;
        }
        let (messages, order) = self.generic_messages()?;
        let answers = messages.filter(|message| message.kind == GENL_ID_CTRL);
        let ids = answers.filter_map(|message| family::read_id(&message.generic(order)?));
        ids.last()
    }

    /// The messages behind a cooked header, where they are generic netlink's, and their byte
    /// order: the file's, unless only the other one makes sense of the first length.
    fn generic_messages(&self) -> Option<(Messages<'_>, ByteOrder)> {
        const GENERIC: [u8; 2] = [0, 16];
        let (header, messages) = self.data.split_at_checked(COOKED_LEN)?;
        if header[14..16] != GENERIC {
            return None;
        }
        let order = if Messages::new(messages, self.order).next().is_some() {
            self.order
        } else {
            self.order.swapped()
        };
        Some((Messages::new(messages, order), order))
    }
}

fn deliver_summary<B>(
    message: &Generic<'_>,
    time: Timestamp,
    family: Option<u16>,
    remarks: &mut Remarks,
    take: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let Some(summary) = SummaryAlert::decode(message) else {
        remarks.damaged_messages += u64::from(family.is_some());
        return ControlFlow::Continue(());
    };
    remarks.summaries += 1;
    remarks.summary_drops += summary.drops;
    summary.try_for_each(|cause, count| take(Event::Count { cause, count, time }))?;
    let is_full = summary.is_full();
    take(Event::EndOfCounts { is_full })
}

/// The drop that a packet and its comments speak of.
fn record<'a>(
    packet: &'a Packet<'_>,
    facts: &'a Facts<'_>,
    remarks: &mut Remarks,
) -> DropRecord<'a> {
    let cause = facts.cause();
    remarks.plain_packets += u64::from(cause.origin().is_none());
    let link = packet.link;
    if !packet::is_understood(link) {
        remarks.foreign_links.get_or_insert((link, 0)).1 += 1;
    }
    let described = packet.facts;
    let input = described.and_then(|described| described.input.as_ref());
    let input = input.map(|(index, name)| Interface::new(*index, Name::new(name)));
    DropRecord {
        time: packet.time,
        cause,
        input: input.or_else(|| facts.input()),
        link: Link {
            kind: link,
            basis: described.map_or(Basis::Known, |described| described.basis),
        },
        protocol: facts
            .protocol()
            .or_else(|| packet::protocol(link, packet.data)),
        original_len: packet.original_len,
        data: packet.data,
        notes: facts.notes(),
    }
}

fn link_type(number: u32) -> LinkType {
    // The upper half holds the length of a frame check sequence, which the kernel never sends.
    LinkType((number & 0xffff) as u16)
}

fn byte_order(endianness: Endianness) -> ByteOrder {
    match endianness {
        Endianness::Little => ByteOrder::Little,
        Endianness::Big => ByteOrder::Big,
    }
}

fn read_failure(error: &io::Error, was_end_reached: bool) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof if was_end_reached => {
            "the file is cut short, in the packet or block".into()
        }
        io::ErrorKind::UnexpectedEof => {
            format!("more than {READ_BUFFER_LEN} bytes are announced for the packet or block")
        }
        _ => format!("cannot read on: {error}, in the packet or block"),
    }
}

/// An error and its causes, joined with `: `, in lower case.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        let mut words = error.to_string();
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        text.push_str(&words);
        next = error.source();
    }
    text
}
