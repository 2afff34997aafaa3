//! Capture files: our own pcapng, the C tool's and nlmon's netlink captures (pcap, or inside
//! pcapng), and plain packets. Memory is bounded, whatever the file says; a damaged or cut file
//! gives everything before the damage.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::ControlFlow;

use pcap_file::Endianness;
use pcap_file::pcap::{PcapReadError, PcapReader, PcapTsResolution};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::blocks::{INTERFACE_DESCRIPTION_BLOCK, SECTION_HEADER_BLOCK};
use pcap_file::pcapng::{Block, PcapNgReadError, PcapNgReader};

use crate::comment::Facts;
use crate::interface::{InterfaceFacts, MONITOR_DESCRIPTION, MONITOR_NAME};
use crate::net_dm::alert::{Alert, SummaryAlert};
use crate::net_dm::netlink::{ByteOrder, GENL_ID_CTRL, Messages};
use crate::net_dm::{FAMILY_VERSION, cmd, family};
use crate::packet;
use crate::record::{
    Basis, CaptureHost, DropRecord, Interface, Link, LinkType, Loss, Name, Timestamp,
};

/// The longest packet that is read. Wireshark's own limit.
const MAX_PACKET: usize = 262_144;
/// Room for the longest packet and its comments; a longer block is damage.
const READ_BUFFER_LEN: usize = 1024 * 1024;
/// Memory for the interfaces of a section, which have to be kept: more than a hundred thousand of
/// ours. More is damage.
const MAX_INTERFACE_MEMORY: usize = 64 * 1024 * 1024;
/// Bytes of a pcap file header, and of the header of each packet in it.
const PCAP_HEADER_LEN: u64 = 24;
const PCAP_PACKET_HEADER_LEN: u64 = 16;
/// Bytes of the cooked header before netlink messages.
const COOKED_LEN: usize = 16;

/// An open capture file.
pub struct Savefile<R: Read> {
    reader: Format<R>,
    /// The packet read last: copied, so that a file's first one can be looked at beforehand.
    packet: Packet,
    is_loaded: bool,
    damage: Option<Damage>,
    remarks: Remarks,
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
    Pcap {
        reader: PcapReader<Beginning<R>>,
        offset: u64,
    },
    Pcapng {
        reader: PcapNgReader<Beginning<R>>,
        interfaces: Interfaces,
    },
}

/// A reader whose first bytes were looked at.
type Beginning<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// The interfaces of a section.
#[derive(Default)]
struct Interfaces {
    described: Vec<Described>,
    /// Bytes that they take at most, here and in the library, which keeps every option.
    memory: usize,
}

impl Interfaces {
    /// `None` where there are too many, or too long ones.
    fn add(&mut self, block: &InterfaceDescription<'_>, body_len: usize) -> Option<()> {
        /// More than the structures need that hold an interface, and one of its options.
        const INTERFACE: usize = 512;
        const OPTION: usize = 64;
        // A name is there twice.
        self.memory += INTERFACE + OPTION * block.options.len() + 2 * body_len;
        self.described.push(describe(block));
        (self.memory <= MAX_INTERFACE_MEMORY).then_some(())
    }
}

/// What we keep of an interface description.
#[derive(Clone, Debug)]
struct Described {
    link: LinkType,
    facts: Option<InterfaceFacts>,
    is_monitor: bool,
}

/// A packet out of the file.
#[derive(Debug, Default)]
struct Packet {
    time: Timestamp,
    original_len: u32,
    link: Option<LinkType>,
    facts: Option<InterfaceFacts>,
    data: Vec<u8>,
    /// Its comments, one behind the other, and where each ends.
    comments: String,
    comment_ends: Vec<usize>,
    order: Option<ByteOrder>,
}

impl Packet {
    fn comments(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.comment_ends.iter().copied());
        starts
            .zip(&self.comment_ends)
            .map(|(start, &end)| &self.comments[start..end])
    }
}

impl<R: Read> Savefile<R> {
    /// Looks at the header, and at the first packet: in the C tool's files that one tells the
    /// number of the family.
    pub fn open(mut input: R) -> Result<Self, OpenError> {
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic)?;
        let source = io::Cursor::new(magic.clone()).chain(input);
        let reader = match magic[..] {
            [] => return Err(OpenError::Empty),
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                let reader = PcapNgReader::with_capacity(source, READ_BUFFER_LEN)
                    .map_err(|error| pcapng_damage(0, error))?;
                Format::Pcapng {
                    reader,
                    interfaces: Interfaces::default(),
                }
            }
            [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] => {
                let reader = PcapReader::with_capacity(source, READ_BUFFER_LEN)
                    .map_err(|error| pcap_damage(0, error))?;
                Format::Pcap {
                    reader,
                    offset: PCAP_HEADER_LEN,
                }
            }
            [0x1f, 0x8b, ..] => return Err(OpenError::Compressed("gzip")),
            [0x28, 0xb5, 0x2f, 0xfd] => return Err(OpenError::Compressed("zstd")),
            [0xfd, b'7', b'z', b'X'] => return Err(OpenError::Compressed("xz")),
            _ => return Err(OpenError::Unknown),
        };
        let mut file = Self {
            reader,
            packet: Packet::default(),
            is_loaded: false,
            damage: None,
            remarks: Remarks::default(),
            family: None,
        };
        if let Format::Pcapng { reader, .. } = &file.reader {
            file.remarks.host = host(&reader.section().options);
        }
        file.load();
        if file.is_loaded && file.packet.link == Some(LinkType::NETLINK) {
            file.learn_family();
        }
        Ok(file)
    }

    /// What was come across so far; the host's part is known from the beginning.
    pub fn remarks(&self) -> &Remarks {
        &self.remarks
    }

    /// The number of NET_DM in the file, as far as it was learnt.
    pub fn family(&self) -> Option<u16> {
        self.family
    }

    /// Hands every record to `take` until it breaks. Ends with the damage where there is some.
    pub fn for_each<B>(
        &mut self,
        mut take: impl FnMut(&DropRecord<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Damage> {
        while self.is_loaded {
            let flow = match self.packet.link {
                Some(LinkType::NETLINK) => self.deliver_messages(&mut take),
                _ => self.deliver_packet(&mut take),
            };
            if flow.is_break() {
                return Ok(flow);
            }
            self.load();
        }
        match self.damage.take() {
            Some(damage) => Err(damage),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    /// Reads the next packet into place; the end, or damage, leaves none loaded.
    fn load(&mut self) {
        let loaded = match &mut self.reader {
            Format::Pcap { reader, offset } => load_pcap(reader, offset, &mut self.packet),
            Format::Pcapng { reader, interfaces } => {
                load_pcapng(reader, interfaces, &mut self.packet, &mut self.remarks)
            }
        };
        self.is_loaded = match loaded {
            Ok(loaded) => loaded,
            Err(damage) => {
                self.damage = Some(damage);
                false
            }
        };
    }

    fn deliver_packet<B>(
        &mut self,
        take: &mut impl FnMut(&DropRecord<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let packet = &self.packet;
        let described = packet.facts.as_ref();
        let mut facts = Facts::of_origin(described.and_then(|described| described.origin));
        packet.comments().for_each(|comment| facts.read(comment));
        let cause = facts.cause();
        self.remarks.plain_packets += u64::from(cause.origin().is_none());
        let link = packet.link.unwrap_or(LinkType::ETHERNET);
        let input = described.and_then(|described| described.input.as_ref());
        let input = input.map(|(index, name)| Interface::new(*index, Name::new(name)));
        let record = DropRecord {
            time: packet.time,
            cause,
            input: input.or_else(|| facts.input()),
            link: Link {
                kind: link,
                basis: described.map_or(Basis::Known, |described| described.basis),
            },
            protocol: facts
                .protocol()
                .or_else(|| packet::protocol(link, &packet.data)),
            original_len: packet.original_len,
            data: &packet.data,
            notes: facts.notes(),
        };
        take(&record)
    }

    fn deliver_messages<B>(
        &mut self,
        take: &mut impl FnMut(&DropRecord<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some((mut messages, order)) = generic_messages(&self.packet) else {
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
            if let Some(summary) = SummaryAlert::decode(&generic) {
                self.remarks.summaries += 1;
                self.remarks.summary_drops += summary.drops;
                continue;
            }
            if generic.command != cmd::PACKET_ALERT {
                continue;
            }
            let alert = Alert::decode(generic.attributes);
            // A file that never named the family: only what can be nothing else is an alert.
            if self.family.is_none() && !alert.is_certain() {
                continue;
            }
            self.remarks.skipped_attributes += u64::from(alert.skipped);
            take(&alert.record(self.packet.time, None, None, None))?;
        }
        self.remarks.damaged_messages += u64::from(!messages.rest().is_empty());
        ControlFlow::Continue(())
    }

    fn learn_family(&mut self) {
        let Some((messages, order)) = generic_messages(&self.packet) else {
            return;
        };
        for message in messages.filter(|message| message.kind == GENL_ID_CTRL) {
            if let Some(generic) = message.generic(order) {
                self.family = family::read_id(&generic).or(self.family);
            }
        }
    }
}

/// The messages behind a cooked header, where they are generic netlink's, and their byte order:
/// the file's, unless only the other one makes sense of the first length.
fn generic_messages(packet: &Packet) -> Option<(Messages<'_>, ByteOrder)> {
    const GENERIC: [u8; 2] = [0, 16];
    let (header, messages) = packet.data.split_at_checked(COOKED_LEN)?;
    if header[14..16] != GENERIC {
        return None;
    }
    let order = packet.order.unwrap_or(ByteOrder::NATIVE);
    let order = if Messages::new(messages, order).next().is_some() {
        order
    } else {
        order.swapped()
    };
    Some((Messages::new(messages, order), order))
}

fn load_pcap<R: Read>(
    reader: &mut PcapReader<R>,
    offset: &mut u64,
    packet: &mut Packet,
) -> Result<bool, Damage> {
    let header = reader.header();
    let raw = match reader.next_raw_packet() {
        None => return Ok(false),
        Some(raw) => raw.map_err(|error| pcap_damage(*offset, error))?,
    };
    if raw.data.len() > MAX_PACKET {
        let what = format!(
            "a packet of {} bytes, more than {MAX_PACKET}",
            raw.data.len()
        );
        return Err(Damage {
            offset: *offset,
            what,
        });
    }
    let unit = match header.ts_resolution {
        PcapTsResolution::MicroSecond => 1000,
        PcapTsResolution::NanoSecond => 1,
    };
    packet.time = Timestamp(u64::from(raw.ts_sec) * 1_000_000_000 + u64::from(raw.ts_frac) * unit);
    packet.original_len = raw.orig_len.max(raw.incl_len);
    packet.link = Some(link_type(u32::from(header.datalink)));
    packet.order = Some(byte_order(header.endianness));
    packet.data.clear();
    packet.data.extend_from_slice(&raw.data);
    *offset += PCAP_PACKET_HEADER_LEN + u64::from(raw.incl_len);
    Ok(true)
}

fn load_pcapng<R: Read>(
    reader: &mut PcapNgReader<R>,
    interfaces: &mut Interfaces,
    packet: &mut Packet,
    remarks: &mut Remarks,
) -> Result<bool, Damage> {
    loop {
        let offset = reader.bytes_parsed();
        let damage = |what: String| Damage { offset, what };
        let Some(next) = reader.next_raw_block() else {
            return Ok(false);
        };
        let (raw, state) = next.map_err(|error| pcapng_damage(offset, error))?;
        match raw.type_ {
            SECTION_HEADER_BLOCK => {
                *interfaces = Interfaces::default();
                continue;
            }
            INTERFACE_DESCRIPTION_BLOCK => {
                let block = state.interfaces().last();
                block
                    .and_then(|block| interfaces.add(block, raw.body.len()))
                    .ok_or_else(|| damage("more interfaces than any host has".into()))?;
                continue;
            }
            _ => {}
        }
        let order = byte_order(state.endianness());
        let block = raw
            .try_into_block(state)
            .map_err(|error| damage(chain(&error)))?;
        let (interface, time, original_len, data, options) = match block {
            Block::EnhancedPacket(block) => (
                block.interface_id,
                Some(block.timestamp),
                block.original_len,
                block.data,
                block.options,
            ),
            Block::Packet(block) => {
                let interface = u32::from(block.interface_id);
                (
                    interface,
                    Some(block.timestamp),
                    block.original_len,
                    block.data,
                    Vec::new(),
                )
            }
            Block::SimplePacket(block) => (0, None, block.original_len, block.data, Vec::new()),
            Block::InterfaceStatistics(block) => {
                if interfaces
                    .described
                    .get(block.interface_id as usize)
                    .is_some_and(|interface| interface.is_monitor)
                {
                    read_statistics(&block, remarks);
                }
                continue;
            }
            _ => continue,
        };
        let Some(interface) = interfaces.described.get(interface as usize) else {
            return Err(damage(format!(
                "a packet of interface {interface}, which the file does not describe"
            )));
        };
        if data.len() > MAX_PACKET {
            return Err(damage(format!(
                "a packet of {} bytes, more than {MAX_PACKET}",
                data.len()
            )));
        }
        packet.time = time.map_or(Timestamp(0), Timestamp::from_duration);
        packet.original_len = original_len.max(u32::try_from(data.len()).unwrap_or(u32::MAX));
        packet.link = Some(interface.link);
        packet.facts.clone_from(&interface.facts);
        packet.order = Some(order);
        packet.data.clear();
        packet.data.extend_from_slice(&data);
        packet.comments.clear();
        packet.comment_ends.clear();
        for option in &options {
            if let EnhancedPacketOption::Common(CommonOption::Comment(text)) = option {
                packet.comments.push_str(text);
                packet.comment_ends.push(packet.comments.len());
            }
        }
        return Ok(true);
    }
}

type InterfaceDescription<'a> =
    pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock<'a>;

fn describe(block: &InterfaceDescription<'_>) -> Described {
    let (mut name, mut description) = (Cow::Borrowed(""), Cow::Borrowed(""));
    for option in &block.options {
        match option {
            InterfaceDescriptionOption::IfName(text) => name.clone_from(text),
            InterfaceDescriptionOption::IfDescription(text) => description.clone_from(text),
            _ => {}
        }
    }
    let is_monitor = name == MONITOR_NAME && description == MONITOR_DESCRIPTION;
    // Other programs' interfaces have a name, and no index.
    let named = (!name.is_empty() && !is_monitor).then(|| InterfaceFacts {
        input: Some((0, name.as_bytes().to_vec())),
        origin: None,
        basis: Basis::Known,
    });
    Described {
        link: link_type(u32::from(block.linktype)),
        facts: InterfaceFacts::read(&name, &description).or(named),
        is_monitor,
    }
}

fn host(options: &[SectionHeaderOption<'_>]) -> CaptureHost {
    let mut host = CaptureHost::default();
    for option in options {
        match option {
            SectionHeaderOption::Hardware(text) => host.hardware = Some(text.clone().into_owned()),
            SectionHeaderOption::OS(text) => host.os = Some(text.clone().into_owned()),
            _ => {}
        }
    }
    host
}

/// Loss and period, out of the statistics of interface 0. Several sections add up.
fn read_statistics(block: &InterfaceStatisticsBlock<'_>, remarks: &mut Remarks) {
    let (mut both, mut queue, mut start, mut end) = (None, 0, None, None);
    for option in &block.options {
        match option {
            InterfaceStatisticsOption::IsbIfDrop(count) => both = Some(*count),
            InterfaceStatisticsOption::IsbOsDrop(count) => queue = *count,
            InterfaceStatisticsOption::IsbStartTime(time) => {
                start = Some(Timestamp::from_duration(*time));
            }
            InterfaceStatisticsOption::IsbEndTime(time) => {
                end = Some(Timestamp::from_duration(*time));
            }
            _ => {}
        }
    }
    if let Some(both) = both {
        let loss = remarks.loss.get_or_insert_default();
        loss.queue = loss.queue.saturating_add(queue);
        loss.socket = loss.socket.saturating_add(both.saturating_sub(queue));
    }
    if let (Some(start), Some(end)) = (start, end) {
        let (first, last) = remarks.period.unwrap_or((start, end));
        remarks.period = Some((first.min(start), last.max(end)));
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

fn pcap_damage(offset: u64, error: PcapReadError) -> Damage {
    let what = match error {
        PcapReadError::Io(error) => read_failure(&error),
        PcapReadError::Validation(error) => chain(&error),
    };
    Damage { offset, what }
}

fn pcapng_damage(offset: u64, error: PcapNgReadError) -> Damage {
    let what = match error {
        PcapNgReadError::Io(error) => read_failure(&error),
        other => chain(&other),
    };
    Damage { offset, what }
}

fn read_failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file is cut short, in the packet or block".into(),
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
