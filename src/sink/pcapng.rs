//! Writes pcapng (draft-ietf-opsawg-pcapng). Each fact of a drop is a comment of its packet. Packets that differ in
//! input, link type or origin have different interfaces. The statistics of interface 0 hold the loss.

use std::borrow::Cow;
use std::hash::Hash;
use std::io::{self, Write};

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexMap};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};
use pcap_file::{DataLink, Endianness};

use super::packet_block::{self, PacketBlocks};
use super::{Commenting, Ending, Fitted, Linking, MONITOR, Rejected, SNAPLEN, Sink, Written};
use crate::interface::{self, BOOT, INCOMPLETE, InterfacePlace, MONITOR_DESCRIPTION, MONITOR_NAME};
use crate::record::{
    CaptureHost, DropRecord, Interface, InterfaceKey, Likeness, Link, LinkType, Name, Netns,
    Origin, Timestamp,
};

/// The most interfaces of a section. A reader has to keep them; further ones begin another section.
const MAX_INTERFACES: usize = 50_000;

/// A sink that writes a pcapng stream.
pub struct PcapngSink<W: Write> {
    writer: PcapNgWriter<W>,
    section: SectionHeaderBlock<'static>,
    linking: Linking,
    /// The interface of this section, if it is one for packets without a time.
    timeless: Option<Timeless>,
    /// The packets written on each interface. The interface's number is the position plus one.
    interfaces: IndexMap<OwnedIdentity, u64, RandomState>,
    /// The position of the last packet's interface.
    latest: usize,
    /// The likeness and the link of its last packet.
    latest_likeness: (Likeness, Link),
    packets: PacketBlocks,
    captured: u64,
    first: Option<Timestamp>,
    last: Timestamp,
}

/// The facts that distinguish the interfaces of a file.
#[derive(Clone, Copy, Hash, PartialEq, Eq)]
struct InterfaceIdentity<N> {
    key: Option<InterfaceKey>,
    /// Packets without an interface may have come in by one.
    lacks_input: bool,
    name: N,
    /// The namespace of packets without an input interface, too.
    netns: Option<u32>,
    link: Link,
    origin: Option<Origin>,
}

type OwnedIdentity = InterfaceIdentity<Option<Vec<u8>>>;

/// Interface 0 of a section of packets without a time.
struct Timeless {
    key: OwnedIdentity,
    snaplen: u32,
}

/// Returns the facts that identify the record's interface in a file that holds its packet with this
/// link type.
#[inline(always)]
#[expect(clippy::inline_always, reason = "most of it is only compared")]
fn identity<'a>(record: &DropRecord<'a>, link: LinkType) -> InterfaceIdentity<Option<Name<'a>>> {
    InterfaceIdentity {
        key: record.input.map(|input| input.key),
        lacks_input: record.lacks_input(),
        name: record.input.and_then(Interface::name),
        netns: record.context.netns.and_then(Netns::other),
        link: Link {
            kind: link,
            basis: record.link.basis,
        },
        origin: record.cause.origin(),
    }
}

impl<N> InterfaceIdentity<N> {
    fn with_name<M>(&self, name: M) -> InterfaceIdentity<M> {
        InterfaceIdentity {
            key: self.key,
            lacks_input: self.lacks_input,
            name,
            netns: self.netns,
            link: self.link,
            origin: self.origin,
        }
    }
}

impl InterfaceIdentity<Option<Name<'_>>> {
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "else the caller makes what is only compared"
    )]
    fn is(&self, key: &OwnedIdentity) -> bool {
        let is_named = match (self.name, &key.name) {
            (Some(name), Some(key)) => name.is(key),
            (None, None) => true,
            _ => false,
        };
        is_named
            && (self.key, self.netns, self.link, self.origin)
                == (key.key, key.netns, key.link, key.origin)
            && self.lacks_input == key.lacks_input
    }
}

impl Equivalent<OwnedIdentity> for InterfaceIdentity<Option<&[u8]>> {
    fn equivalent(&self, key: &OwnedIdentity) -> bool {
        self.with_name(()) == key.with_name(()) && self.name == key.name.as_deref()
    }
}

impl<W: Write> PcapngSink<W> {
    /// Writes the section header and interface 0. `application` names this program and version;
    /// `writer` should be buffered, because a packet is written in parts.
    pub fn new(
        writer: W,
        linking: Linking,
        application: &str,
        host: &CaptureHost,
    ) -> io::Result<Self> {
        Self::with_comment(writer, linking, application, host, None)
    }

    /// The same, with a comment on the whole file.
    pub fn with_comment(
        writer: W,
        linking: Linking,
        application: &str,
        host: &CaptureHost,
        comment: Option<&str>,
    ) -> io::Result<Self> {
        let hardware = host
            .hardware
            .as_ref()
            .map(|text| SectionHeaderOption::Hardware(text.raw().to_owned().into()));
        let os = host
            .os
            .as_ref()
            .map(|text| SectionHeaderOption::OS(text.raw().to_owned().into()));
        let boot = host
            .boot
            .as_ref()
            .map(|id| CommonOption::Comment(format!("{BOOT}{}", id.raw()).into()))
            .map(SectionHeaderOption::Common);
        let comment = comment.map(|text| CommonOption::Comment(text.to_owned().into()));
        let application = SectionHeaderOption::UserApplication(application.to_owned().into());
        let section = SectionHeaderBlock {
            // The library's default is big-endian; netlink messages that were dropped have this machine's.
            endianness: Endianness::native(),
            options: hardware
                .into_iter()
                .chain(os)
                .chain([application])
                .chain(boot)
                .chain(comment.map(SectionHeaderOption::Common))
                .collect(),
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(writer, section.clone()).map_err(into_io)?;
        let mut sink = Self {
            writer,
            section,
            linking,
            timeless: None,
            interfaces: IndexMap::default(),
            latest: 0,
            latest_likeness: (Likeness::default(), Link::known(LinkType::NO_PACKET)),
            packets: PacketBlocks::new(Commenting::Facts),
            captured: 0,
            first: None,
            last: Timestamp(0),
        };
        sink.describe_monitor()?;
        Ok(sink)
    }

    fn describe_monitor(&mut self) -> io::Result<()> {
        let link = match self.linking {
            Linking::Auto => LinkType::ETHERNET,
            Linking::One(link) => link,
        };
        self.describe(
            link,
            SNAPLEN,
            MONITOR_NAME.into(),
            Some(MONITOR_DESCRIPTION.into()),
        )
    }

    /// Ends the section and begins another without interfaces, because neither dwdump nor a reader
    /// can remember any number of them. The loss is written once, at the end.
    fn begin_section(&mut self) -> io::Result<()> {
        self.write_section_header()?;
        self.describe_monitor()
    }

    fn write_section_header(&mut self) -> io::Result<()> {
        if self.timeless.take().is_none() {
            // The period is written only at the end, too.
            let first = self.first.take();
            self.write_statistics(&Ending::default())?;
            self.first = first;
        }
        self.interfaces.clear();
        self.captured = 0;
        let section = self.section.clone();
        self.writer.write_pcapng_block(section).map_err(into_io)?;
        Ok(())
    }

    /// Writes a packet without a time. Only a Simple Packet Block has none, and it always belongs to interface 0.
    /// So each interface of such packets begins a section of its own.
    fn write_timeless(&mut self, record: &DropRecord<'_>, packet: Fitted<'_>) -> io::Result<()> {
        let key = identity(record, packet.link);
        let snaplen = packet_block::snaplen(packet);
        let is_at_hand = self
            .timeless
            .as_ref()
            .is_some_and(|timeless| timeless.snaplen == snaplen && key.is(&timeless.key));
        if !is_at_hand {
            self.write_section_header()?;
            let (name, description) =
                interface::describe(InterfacePlace::of(record), key.netns, key.link, key.origin);
            self.describe(packet.link, snaplen, name.into(), description)?;
            let name = key.name.map(|name| name.as_bytes().to_vec());
            let key = key.with_name(name);
            self.timeless = Some(Timeless { key, snaplen });
        }
        packet_block::write_simple(self.writer.get_mut(), packet)
    }

    /// Sets what the comments say. The default is facts alone.
    #[must_use]
    pub fn commenting(self, commenting: Commenting) -> Self {
        let packets = PacketBlocks::new(commenting);
        Self { packets, ..self }
    }

    /// Returns whether all packets have to be of interface 0. libpcap (1.10.3) rejects files with several interfaces
    /// of a link type whose number it translates (101 to 12), because it compares one number with the
    /// other.
    fn shares_interface(&self) -> bool {
        self.linking == Linking::One(LinkType::RAW)
    }

    fn describe(
        &mut self,
        link: LinkType,
        snaplen: u32,
        name: Cow<'_, str>,
        description: Option<String>,
    ) -> io::Result<()> {
        let description =
            description.map(|text| InterfaceDescriptionOption::IfDescription(text.into()));
        let resolution = InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO);
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::from(u32::from(link.0)),
            snaplen,
            options: Some(name)
                .filter(|name| !name.is_empty())
                .map(InterfaceDescriptionOption::IfName)
                .into_iter()
                .chain(description)
                .chain([resolution])
                .collect(),
        };
        self.writer.write_pcapng_block(block).map_err(into_io)?;
        Ok(())
    }

    /// Returns the number of the record's interface, and describes a new one.
    fn interface(&mut self, record: &DropRecord<'_>, link: LinkType) -> io::Result<u32> {
        let key = identity(record, link);
        let (likeness, latest_link) = self.latest_likeness;
        let is_alike = record.likeness.is_same(likeness) && key.link == latest_link;
        let alike = (record.likeness, key.link);
        // Most packets belong to the same interface as the packet before.
        let latest = self.interfaces.get_index_mut(self.latest);
        if let Some((_, count)) = latest.filter(|(latest, _)| {
            debug_assert!(!is_alike || key.is(latest), "{record:?}");
            is_alike || key.is(latest)
        }) {
            *count += 1;
            self.latest_likeness = alike;
            return u32::try_from(self.latest + 1).map_err(io::Error::other);
        }
        let key = key.with_name(key.name.map(Name::as_bytes));
        let position = if let Some((position, _, count)) = self.interfaces.get_full_mut(&key) {
            *count += 1;
            position
        } else {
            if self.interfaces.len() == MAX_INTERFACES {
                self.begin_section()?;
            }
            let (name, description) =
                interface::describe(InterfacePlace::of(record), key.netns, key.link, key.origin);
            self.describe(link, SNAPLEN, name.into(), description)?;
            let key = key.with_name(key.name.map(<[u8]>::to_vec));
            self.interfaces.insert_full(key, 1).0
        };
        (self.latest, self.latest_likeness) = (position, alike);
        u32::try_from(position + 1).map_err(io::Error::other)
    }

    fn write_packet(&mut self, record: &DropRecord<'_>, packet: Fitted<'_>) -> io::Result<()> {
        // A file of one link type has only one section, so that libpcap can read all of it; there,
        // a comment says that the time is unknown.
        let may_begin_section = self.linking == Linking::Auto;
        if record.time.is_none() && may_begin_section && packet_block::is_simple(record, packet) {
            return self.write_timeless(record, packet);
        }
        if self.timeless.is_some() {
            self.begin_section()?;
        }
        let interface = if self.shares_interface() {
            MONITOR
        } else {
            self.interface(record, packet.link)?
        };
        self.captured += 1;
        if let Some(time) = record.time {
            self.first.get_or_insert(time);
            self.last = self.last.max(time);
        }
        let writer = self.writer.get_mut();
        self.packets.write(writer, interface, record, packet)
    }

    fn statistics(
        &mut self,
        interface: u32,
        options: Vec<InterfaceStatisticsOption<'_>>,
    ) -> io::Result<()> {
        let timestamp = self.last.as_duration();
        let block = InterfaceStatisticsBlock {
            interface_id: interface,
            timestamp,
            options,
        };
        self.writer.write_pcapng_block(block).map_err(into_io)?;
        Ok(())
    }

    /// Writes a statistics block for each interface of the section.
    fn write_statistics(&mut self, ending: &Ending) -> io::Result<()> {
        use InterfaceStatisticsOption::{
            Common, IsbEndTime, IsbFilterAccept, IsbIfDrop, IsbIfRecv, IsbOsDrop, IsbStartTime,
        };
        let period = ending.period.or(self.first.map(|first| (first, self.last)));
        self.last = period.map_or(self.last, |(_, end)| end);
        let mut options = Vec::new();
        if let Some(loss) = ending.loss {
            for comment in loss.comments() {
                options.push(Common(CommonOption::Comment(comment.into())));
            }
        }
        if ending.rejected == Rejected::InKernel {
            options.push(Common(CommonOption::Comment(
                "rejected by the filter: not counted (filtered in the kernel)".into(),
            )));
        }
        for why in &ending.incomplete {
            let text = format!("{INCOMPLETE}{}", why.raw());
            options.push(Common(CommonOption::Comment(text.into())));
        }
        if let Some((start, end)) = period {
            options.push(IsbStartTime(start.as_duration()));
            options.push(IsbEndTime(end.as_duration()));
        }
        if let Rejected::Counted(rejected) = ending.rejected {
            options.push(IsbIfRecv(self.captured + rejected));
        }
        if let Some(loss) = ending.loss {
            options.push(IsbIfDrop(loss.sum()));
        }
        options.push(IsbFilterAccept(self.captured));
        if let Some(loss) = ending.loss {
            options.push(IsbOsDrop(loss.queue));
        }
        self.statistics(MONITOR, options)?;
        for position in 0..self.interfaces.len() {
            let interface = u32::try_from(position + 1).map_err(io::Error::other)?;
            self.statistics(interface, vec![IsbIfRecv(self.interfaces[position])])?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for PcapngSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let linking = self.linking;
        let fitted = linking.apply(record, |fitted| {
            self.write_packet(record, fitted)?;
            Ok(fitted.written())
        });
        fitted.unwrap_or(Ok(Written::LeftOut))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    fn finish(&mut self, ending: &Ending) -> io::Result<()> {
        if self.timeless.is_some() {
            self.begin_section()?;
        }
        self.write_statistics(ending)?;
        self.flush()
    }
}

/// Returns the operating system's error, if there is one.
fn into_io(error: PcapNgWriteError) -> io::Error {
    match error {
        PcapNgWriteError::Io(error) => error,
        other => io::Error::other(other),
    }
}
