//! pcapng files (draft-ietf-opsawg-pcapng): packets with their comments, interfaces, statistics.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::blocks::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, SECTION_HEADER_BLOCK,
};
use pcap_file::pcapng::{Block, PcapNgReadError, PcapNgReader, PcapNgState};

use super::{
    Damage, MAX_PACKET, Packet, READ_BUFFER_LEN, Remarks, byte_order, chain, link_type,
    read_failure,
};
use crate::interface::{InterfaceFacts, MONITOR_DESCRIPTION, MONITOR_NAME};
use crate::record::{Basis, CaptureHost, LinkType, Timestamp};

/// Memory for the interfaces of a section, which have to be kept: more than a hundred thousand of
/// ours. More is damage.
const MAX_INTERFACE_MEMORY: usize = 64 * 1024 * 1024;

pub(super) struct PcapngFile<R: Read> {
    reader: PcapNgReader<R>,
    /// Whether the file's end was reached.
    end: Rc<Cell<bool>>,
    interfaces: Interfaces,
}

/// The interfaces of a section.
#[derive(Default)]
struct Interfaces {
    described: Vec<Described>,
    /// Bytes that they take at most, here and in the library, which keeps every option.
    memory: usize,
}

impl Interfaces {
    /// `None` where there are too many, or too long ones.
    fn add(&mut self, block: &InterfaceDescriptionBlock<'_>, body_len: usize) -> Option<()> {
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
    /// Whether its times are nanoseconds since the epoch, as ours are.
    counts_nanoseconds: bool,
}

impl<R: Read> PcapngFile<R> {
    pub(super) fn open(source: R, end: Rc<Cell<bool>>) -> Result<Self, Damage> {
        let reader = PcapNgReader::with_capacity(source, READ_BUFFER_LEN);
        let reader = reader.map_err(|error| damage(0, error, end.get()))?;
        Ok(Self {
            reader,
            end,
            interfaces: Interfaces::default(),
        })
    }

    /// The capturing machine, as the section says.
    pub(super) fn host(&self) -> CaptureHost {
        host(&self.reader.section().options)
    }

    /// Hands on the next packet; `None` at the end.
    #[inline]
    pub(super) fn next<T>(
        &mut self,
        remarks: &mut Remarks,
        take: impl FnOnce(&Packet<'_>, &mut Remarks) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        let interfaces = &mut self.interfaces;
        loop {
            let offset = self.reader.bytes_parsed();
            let damaged = |what: String| Damage { offset, what };
            let Some(next) = self.reader.next_raw_block() else {
                return Ok(None);
            };
            let (raw, state) = next.map_err(|error| damage(offset, error, self.end.get()))?;
            let block;
            let packet = match raw.type_ {
                SECTION_HEADER_BLOCK => {
                    *interfaces = Interfaces::default();
                    continue;
                }
                INTERFACE_DESCRIPTION_BLOCK => {
                    let block = state.interfaces().last();
                    block
                        .and_then(|block| interfaces.add(block, raw.body.len()))
                        .ok_or_else(|| damaged("more interfaces than any host has".into()))?;
                    continue;
                }
                ENHANCED_PACKET_BLOCK => {
                    read_enhanced(&raw.body, state, interfaces).map_err(damaged)?
                }
                _ => {
                    block = raw
                        .try_into_block(state)
                        .map_err(|error| damaged(chain(&error)))?;
                    match &block {
                        Block::Packet(block) => {
                            let time = Timestamp::from_duration(block.timestamp);
                            let interface = u32::from(block.interface_id);
                            Found::new(interface, time, block.original_len, &block.data)
                        }
                        Block::SimplePacket(block) => {
                            Found::new(0, Timestamp(0), block.original_len, &block.data)
                        }
                        Block::InterfaceStatistics(block) => {
                            let interface = interfaces.described.get(block.interface_id as usize);
                            if interface.is_some_and(|interface| interface.is_monitor) {
                                read_statistics(block, remarks);
                            }
                            continue;
                        }
                        _ => continue,
                    }
                }
            };
            let number = packet.interface;
            let interface = interfaces.described.get(number as usize).ok_or_else(|| {
                damaged(format!(
                    "a packet of interface {number}, which the file does not describe"
                ))
            })?;
            if packet.data.len() > MAX_PACKET {
                return Err(damaged(format!(
                    "a packet of {} bytes, more than {MAX_PACKET}",
                    packet.data.len()
                )));
            }
            let packet = Packet {
                time: packet.time,
                original_len: packet.original_len,
                link: interface.link,
                facts: interface.facts.as_ref(),
                data: packet.data,
                options: packet.options,
                order: byte_order(state.endianness()),
                offset,
            };
            return take(&packet, remarks).map(Some);
        }
    }
}

/// What a block says of a packet.
struct Found<'a> {
    interface: u32,
    time: Timestamp,
    original_len: u32,
    data: &'a [u8],
    options: &'a [u8],
}

impl<'a> Found<'a> {
    fn new(interface: u32, time: Timestamp, original_len: u32, data: &'a [u8]) -> Self {
        let captured = u32::try_from(data.len()).unwrap_or(u32::MAX);
        Self {
            interface,
            time,
            original_len: original_len.max(captured),
            data,
            options: &[],
        }
    }
}

/// An Enhanced Packet Block (section 4.3). The library would allocate for each comment, and refuse
/// the packet for one that is not UTF-8.
// Inlined: returned through memory, it would be read in larger pieces than it was written in.
#[inline(always)]
fn read_enhanced<'a>(
    body: &'a [u8],
    state: &PcapNgState,
    interfaces: &Interfaces,
) -> Result<Found<'a>, String> {
    const HEADER_LEN: usize = 20;
    let order = byte_order(state.endianness());
    let short = || "invalid content for block 'Enhanced Packet': it is too short".to_owned();
    let (header, rest) = body.split_at_checked(HEADER_LEN).ok_or_else(short)?;
    let field = |index: usize| {
        order
            .u32(&header[index * 4..index * 4 + 4])
            .unwrap_or_default()
    };
    let [interface, high, low, captured, original_len] = [0, 1, 2, 3, 4].map(field);
    let described = interfaces.described.get(interface as usize);
    let time = if described.is_some_and(|described| described.counts_nanoseconds) {
        Timestamp(u64::from(high) << 32 | u64::from(low))
    } else {
        let time = state.decode_timestamp(interface, high, low);
        Timestamp::from_duration(time.map_err(|error| chain(&error))?)
    };
    let captured = captured as usize;
    let data = rest.get(..captured).ok_or_else(short)?;
    let options = rest.get(captured.next_multiple_of(4)..).unwrap_or_default();
    Ok(Found {
        options,
        ..Found::new(interface, time, original_len, data)
    })
}

fn describe(block: &InterfaceDescriptionBlock<'_>) -> Described {
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
        counts_nanoseconds: block.ts_resolution() == InterfaceTsResolution::NANO
            && block.ts_offset() == 0,
    }
}

fn host(options: &[SectionHeaderOption<'_>]) -> CaptureHost {
    let mut host = CaptureHost::default();
    for option in options {
        match option {
            SectionHeaderOption::Hardware(text) => {
                host.hardware = Some(text.clone().into_owned().into());
            }
            SectionHeaderOption::OS(text) => host.os = Some(text.clone().into_owned().into()),
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

fn damage(offset: u64, error: PcapNgReadError, was_end_reached: bool) -> Damage {
    let what = match error {
        PcapNgReadError::Io(error) => read_failure(&error, was_end_reached),
        other => chain(&other),
    };
    Damage { offset, what }
}
