//! Reads a capture file without I/O: bytes go in, events come out.

use std::ops::ControlFlow;

use super::comments::{Comments, PacketOptions};
use super::families::Families;
use super::input::Input;
use super::messages::{self, Datagram};
use super::pcap::{self, PcapFile};
use super::pcapng::{self, PcapngFile};
use super::{Damage, Findings, NextItem, OpenError, Packet};
use crate::packet;
use crate::packet::COOKED_NETLINK;
use crate::record::{Basis, DropRecord, Interface, InterfaceKey, Link, LinkType, Name, Netns};
use crate::source::{Event, NotPackets};
use crate::untrusted::Untrusted;

/// Parses the bytes of a capture file as they come, and passes on its events. The caller calls
/// [`open`](Self::open), then [`events`](Self::events), and writes bytes to [`space`](Self::space)
/// whenever either needs more.
pub struct Reader {
    input: Input,
    /// Known once the file's header has been parsed.
    format: Option<Format>,
    /// The first packet has been parsed.
    is_open: bool,
    decoder: Decoder,
    findings: Findings,
}

enum Format {
    Pcap(PcapFile),
    Pcapng(PcapngFile),
}

/// Turns the packets of the file into events: decodes comments and netlink messages.
struct Decoder {
    not_packets: NotPackets,
    comments: Comments,
    families: Families,
}

/// The state of reading a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<B> {
    /// More bytes are needed.
    NeedsBytes,
    /// The file was read to its end; when it is opened, up to its first packet.
    Done,
    /// The closure that took the events wants no more.
    Broken(B),
}

impl Reader {
    /// Creates a reader. `not_packets` is the treatment of data that never was a packet, in
    /// captures of netlink messages; dwdump's own files contain such data only if the user asked
    /// for it.
    pub fn new(not_packets: NotPackets) -> Self {
        Self {
            input: Input::default(),
            format: None,
            is_open: false,
            decoder: Decoder {
                not_packets,
                comments: Comments::new(),
                families: Families::default(),
            },
            findings: Findings::default(),
        }
    }

    /// Returns space for the next bytes of the file, never empty; [`filled`](Self::filled) takes
    /// the number that was written to it.
    pub fn space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Notes that so many bytes were written to [`space`](Self::space).
    pub fn filled(&mut self, len: usize) {
        self.input.filled(len);
    }

    /// Notes that there are no more bytes.
    pub fn end(&mut self) {
        self.input.end(None);
    }

    /// Notes that the remaining bytes cannot be read.
    pub fn fail(&mut self, error: &std::io::Error) {
        self.input
            .end(Some(format!("cannot read further: {error}")));
    }

    /// Parses the header, and the file up to the first packet, which in the C tool's files tells
    /// the number of the family.
    pub fn open(&mut self) -> Result<Progress<()>, OpenError> {
        while !self.is_open {
            match self.begin()? {
                Progress::NeedsBytes => return Ok(Progress::NeedsBytes),
                Progress::Done | Progress::Broken(()) => {}
            }
        }
        Ok(Progress::Done)
    }

    /// Does one step of opening the file.
    fn begin(&mut self) -> Result<Progress<()>, OpenError> {
        const MAGIC_LEN: usize = 6;
        let Some(format) = &mut self.format else {
            if self.input.pending().len() < MAGIC_LEN && self.input.more(MAGIC_LEN) {
                return Ok(Progress::NeedsBytes);
            }
            if self.input.begin_decompression()? {
                return Ok(Progress::Done);
            }
            let format = match self.input.pending() {
                [] => return Err(self.input.failure().map_or(OpenError::Empty, cut_header)),
                bytes if bytes.starts_with(&pcapng::SECTION_HEADER) => {
                    Format::Pcapng(PcapngFile::new())
                }
                [a, b, c, d, ..] if pcap::magic([*a, *b, *c, *d]).is_some() => {
                    let Some(header) = self.input.pending().first_chunk() else {
                        if self.input.more(pcap::HEADER_LEN) {
                            return Ok(Progress::NeedsBytes);
                        }
                        if self.input.pending().len() >= pcap::HEADER_LEN {
                            return Ok(Progress::Done);
                        }
                        return Err(cut_header(self.input.cut()));
                    };
                    let file = PcapFile::new(header);
                    let file = file.map_err(|what| Damage { offset: 0, what })?;
                    self.input.consume(pcap::HEADER_LEN);
                    Format::Pcap(file)
                }
                _ => return Err(OpenError::Unknown),
            };
            self.format = Some(format);
            return Ok(Progress::Done);
        };
        let offset = self.input.offset();
        let families = &mut self.decoder.families;
        let next = format.next(self.input.pending(), &mut self.findings, |packet, _| {
            if let Some(id) = packet.family() {
                families.announce(packet.interface, id);
            }
        });
        match next {
            Ok(NextItem::Other(len) | NextItem::Section(len)) => self.input.consume(len),
            Ok(NextItem::Needs(len)) => {
                if self.input.more(len) {
                    return Ok(Progress::NeedsBytes);
                }
                let has_grown = self.input.pending().len() >= len;
                if !has_grown && offset == 0 && !self.input.pending().is_empty() {
                    return Err(cut_header(self.input.cut()));
                }
                self.is_open = !has_grown;
            }
            // The header could not be parsed. Later damage is reported when it is reached.
            Err(what) if offset == 0 => return Err(Damage { offset, what }.into()),
            Ok(NextItem::Packet(_)) | Err(_) => self.is_open = true,
        }
        Ok(Progress::Done)
    }

    /// Returns the results so far. The facts of the host are complete once the file is open.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Returns the number of NET_DM in the file, if it is known by now.
    pub fn family(&self) -> Option<u16> {
        self.decoder.families.last()
    }

    /// Calls `take` with each event in the bytes until it breaks. If the file is damaged, returns
    /// the damage. The file has to be open.
    pub fn events<B>(
        &mut self,
        mut take: impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> Result<Progress<B>, Damage> {
        let Self {
            input,
            format: Some(format),
            decoder,
            findings,
            ..
        } = self
        else {
            return Ok(Progress::Done);
        };
        loop {
            let next = format.next(input.pending(), findings, |packet, findings| {
                decoder.deliver(packet, findings, &mut take)
            });
            let (len, is_cut, flow) = match next {
                Ok(NextItem::Packet(found)) => (found.len, found.is_cut, found.taken),
                Ok(NextItem::Other(len)) => (len, false, ControlFlow::Continue(())),
                Ok(NextItem::Section(len)) => {
                    decoder.families.clear();
                    (len, false, ControlFlow::Continue(()))
                }
                Ok(NextItem::Needs(len)) => {
                    if input.more(len) {
                        return Ok(Progress::NeedsBytes);
                    }
                    if input.pending().len() >= len {
                        continue;
                    }
                    return match input.failure() {
                        None if input.pending().is_empty() && !format.is_inside_a_block() => {
                            Ok(Progress::Done)
                        }
                        _ => Err(Damage {
                            offset: input.offset(),
                            what: input.cut(),
                        }),
                    };
                }
                Err(what) => {
                    let offset = input.offset();
                    return Err(Damage { offset, what });
                }
            };
            if is_cut && let Format::Pcapng(file) = format {
                file.skip_rest(input.pending());
            }
            input.consume(len);
            if let ControlFlow::Break(value) = flow {
                return Ok(Progress::Broken(value));
            }
        }
    }
}

fn cut_header(what: String) -> OpenError {
    Damage { offset: 0, what }.into()
}

impl Format {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see PcapngFile::next")]
    fn next<T>(
        &mut self,
        bytes: &[u8],
        findings: &mut Findings,
        mut take: impl FnMut(&Packet<'_>, &mut Findings) -> T,
    ) -> Result<NextItem<T>, String> {
        match self {
            Self::Pcap(file) => file.next(bytes, |packet| take(packet, findings)),
            Self::Pcapng(file) => file.next(bytes, findings, take),
        }
    }

    fn is_inside_a_block(&self) -> bool {
        match self {
            Self::Pcap(_) => false,
            Self::Pcapng(file) => file.is_inside_a_block(),
        }
    }
}

impl Decoder {
    #[inline]
    fn deliver<B>(
        &mut self,
        packet: &Packet<'_>,
        findings: &mut Findings,
        take: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        findings.odd_times += u64::from(packet.has_odd_time);
        if messages::are_in(packet) && !packet.is_dropped_netlink() {
            if let Some(datagram) = Datagram::of(packet) {
                let families = &mut self.families;
                return datagram.deliver(packet, self.not_packets, families, findings, take);
            }
            // Truncated in the cooked header, so that its content is unknown.
            let is_cut = packet.data.len() < packet.original_len as usize;
            let has_header = packet.data.len() >= packet::SLL_LEN;
            findings.left_out.damaged_messages += u64::from(is_cut && !has_header);
            return ControlFlow::Continue(());
        }
        let origin = packet.facts.and_then(|described| described.origin);
        self.comments
            .understand(packet.options, packet.order, origin, |options, notes| {
                give(packet, options, notes, findings, |record| {
                    take(Event::Drop(record))
                })
            })
    }
}

impl Packet<'_> {
    /// Returns whether a packet of dwdump's own file is a netlink message that was dropped.
    fn is_dropped_netlink(&self) -> bool {
        let origin = self.facts.and_then(|described| described.origin);
        self.link == LinkType::NETLINK && origin.is_some()
    }

    /// Returns the number of NET_DM if a message here announces it.
    fn family(&self) -> Option<u16> {
        let has_messages = messages::are_in(self) && !self.is_dropped_netlink();
        let datagram = has_messages.then(|| Datagram::of(self))?;
        datagram?.family()
    }
}

/// Makes the record of a packet and its options, and passes it on from where it was made: to return it would copy it,
/// which takes 91 instructions.
#[inline(always)]
#[expect(clippy::inline_always, reason = "else the callee copies its record")]
fn give<B>(
    packet: &Packet<'_>,
    options: &PacketOptions,
    notes: &[Untrusted<&str>],
    findings: &mut Findings,
    take: impl FnOnce(&DropRecord<'_>) -> B,
) -> B {
    let link = packet.link;
    let (data, original_len) = if link == LinkType::NETLINK {
        behind_cooked_header(packet)
    } else {
        (packet.data, packet.original_len)
    };
    let described = packet.facts;
    let mut record = DropRecord {
        time: packet.time.filter(|_| !options.has_no_time),
        original_len,
        notes,
        ..DropRecord::new(
            Link {
                kind: link,
                basis: described.map_or(Basis::Known, |described| described.basis),
            },
            data,
        )
    };
    options.facts.store(&mut record);
    let origin = record.cause.origin();
    findings.plain_packets += u64::from(origin.is_none());
    findings.skipped_options += options.skipped;
    // Dropped data that is not a packet has no headers to parse.
    let is_no_packet = matches!(link, LinkType::NETLINK | LinkType::NO_PACKET);
    let has_headers = !is_no_packet || origin.is_none();
    if has_headers && !packet::is_understood(link) {
        findings.foreign_links.get_or_insert((link, 0)).1 += 1;
    }
    if let Some(described) = described {
        let netns = || Some(Netns::new(described.netns?, false));
        record.context.netns = record.context.netns.or_else(netns);
        if let Some((key, name)) = &described.input {
            let key = InterfaceKey::new(key.index, record.context.netns);
            record.input = Some(Interface::new(key, Name::new(name)));
        }
    }
    record.protocol = record
        .protocol
        .or_else(|| packet::protocol(link, record.data));
    // The direction of a drop follows from its input.
    record.flags = match origin {
        Some(_) => options.flags.with_direction(None),
        None => options.flags,
    };
    take(&record)
}

/// Returns the netlink messages of a packet, and their original length.
#[cold]
fn behind_cooked_header<'a>(packet: &Packet<'a>) -> (&'a [u8], u32) {
    let data = packet.data.get(COOKED_NETLINK.len()..).unwrap_or_default();
    let header = u32::try_from(COOKED_NETLINK.len()).unwrap_or(0);
    (data, packet.original_len.saturating_sub(header))
}
