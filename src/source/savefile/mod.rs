//! Capture files: our own pcapng, the C tool's and nlmon's netlink captures (pcap, or inside
//! pcapng), and plain packets. Memory is bounded, whatever the file says; a damaged or cut file
//! gives everything before the damage.
//!
//! # Example
//!
//! ```no_run
//! use std::fs::File;
//! use std::ops::ControlFlow;
//!
//! use dwdump::record::Cause;
//! use dwdump::source::savefile::Savefile;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut file = Savefile::open(File::open("drops.pcapng")?)?;
//! let ending = file.for_each(|record| {
//!     if let Cause::Software { reason: Some(reason), .. } = record.cause {
//!         println!("{reason}: {} bytes", record.original_len);
//!     }
//!     ControlFlow::<()>::Continue(())
//! });
//! if let Err(damage) = ending {
//!     eprintln!("the rest of the file is damaged: {damage}");
//! }
//! # Ok(())
//! # }
//! ```

mod buffer;
mod comments;
mod compression;
mod families;
mod input;
mod interfaces;
mod messages;
mod options;
mod pcap;
mod pcapng;
mod reader;
mod resolution;

use std::io::{self, Read};
use std::ops::ControlFlow;

pub use reader::{Progress, Reader};

use crate::interface::InterfaceFacts;
use crate::net_dm::netlink::ByteOrder;
use crate::record::{CaptureHost, DropRecord, LinkType, Loss, Timestamp};
use crate::source::{Event, NotPackets};
use crate::untrusted::Untrusted;

/// The longest packet of a pcap file that is read. Wireshark's own limit: nothing but the length tells a packet
/// from damage there.
const MAX_PACKET: usize = 262_144;

/// A capture file that is read whenever its reader needs bytes.
pub struct Savefile<R: Read> {
    source: R,
    reader: Reader,
}

/// What the reading came across, beside records.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Remarks {
    /// Summary alerts, and what they count.
    pub summaries: u64,
    /// Drops that those counted.
    pub summary_drops: u64,
    /// Attributes of alerts that were skipped: unknown, or of the wrong size.
    pub skipped_attributes: u64,
    /// Netlink records in which a drop, or facts of one, may be lost.
    pub damaged_messages: u64,
    /// Messages that may be alerts, but that nothing tells from those of another family.
    pub undecided_messages: u64,
    /// Alerts of data that never was a packet, left out.
    pub not_packets: u64,
    /// Alerts of alerts that the kernel freed as dropped, left out.
    pub alerts_of_alerts: u64,
    /// Options of pcapng blocks that were skipped: of the wrong length, or cut.
    pub skipped_options: u64,
    /// Blocks of pcapng that hold neither packets nor what is needed to read them.
    pub skipped_blocks: u64,
    /// Packets left out: of an interface that the file does not describe, or in a block too short for them.
    pub unreadable_packets: u64,
    /// Packets whose time is before 1970 or after 2554.
    pub odd_times: u64,
    /// Packets without drop facts.
    pub plain_packets: u64,
    /// Packets of a link type whose headers are not understood, and the first such type.
    pub foreign_links: Option<(LinkType, u64)>,
    /// What the file says of loss; `None` where it says nothing.
    pub loss: Option<Loss>,
    /// Why drops are missing that are not counted as lost, as the file says.
    pub incomplete: Vec<Untrusted>,
    /// First and last moment of the capture, as the file says.
    pub period: Option<(Timestamp, Timestamp)>,
    /// The machine of the capture.
    pub host: CaptureHost,
    /// Whether a section of pcapng told of its machine.
    has_section: bool,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has no content.
    #[error("the file is empty")]
    Empty,
    /// Its first bytes are those of a compression that is not read.
    #[error("the file is compressed ({})", .0.name)]
    Compressed(Foreign),
    /// Its first bytes are those of no capture.
    #[error("not a capture file: neither pcap nor pcapng")]
    Unknown,
    /// Its header is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// A compression that is not read, by name, and what undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// For instance `bzip2`.
    pub name: &'static str,
    /// A command that decompresses a file to standard output, without the file's name.
    pub command: &'static str,
}

/// Where a file stops making sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct Damage {
    /// Where the damaged packet or block begins; in a compressed file, of what is compressed.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

/// A packet out of the file, in the reader's buffer.
#[derive(Clone, Copy, Debug)]
struct Packet<'a> {
    time: Option<Timestamp>,
    /// Whether the file says a time that cannot be held.
    has_odd_time: bool,
    original_len: u32,
    link: LinkType,
    /// The interface's number in its section.
    interface: u32,
    facts: Option<&'a InterfaceFacts>,
    data: &'a [u8],
    /// What follows the packet in its block.
    options: &'a [u8],
    /// The file's, or the section's.
    order: ByteOrder,
}

/// What is next in the file.
enum Next<T> {
    Packet(Found<T>),
    /// So many bytes that hold no packet.
    Other(usize),
    /// So many bytes that begin another section.
    Section(usize),
    /// So many bytes have to be there before anything can be said.
    Needs(usize),
}

/// A packet that was taken, and where it ends.
struct Found<T> {
    /// What became of it.
    taken: T,
    /// Bytes of the packet and its headers.
    len: usize,
    /// Whether its block goes on behind those.
    is_cut: bool,
}

impl<R: Read> Savefile<R> {
    /// Looks at the header, and as far as the first packet: see [`Reader::open`].
    pub fn open(source: R) -> Result<Self, OpenError> {
        let mut file = Self {
            source,
            reader: Reader::new(NotPackets::LeaveOut),
        };
        while file.reader.open()? == Progress::NeedsBytes {
            file.read()?;
        }
        Ok(file)
    }

    /// What was come across so far; the host's part is known from the beginning.
    pub fn remarks(&self) -> &Remarks {
        self.reader.remarks()
    }

    /// The number of NET_DM in the file, as far as it was learnt.
    pub fn family(&self) -> Option<u16> {
        self.reader.family()
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
        loop {
            match self.reader.events(&mut take)? {
                Progress::NeedsBytes => {
                    if let Err(error) = self.read() {
                        self.reader.fail(&error);
                    }
                }
                Progress::Done => return Ok(ControlFlow::Continue(())),
                Progress::Broken(value) => return Ok(ControlFlow::Break(value)),
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        match self.source.read(self.reader.space()) {
            Ok(0) => self.reader.end(),
            Ok(len) => self.reader.filled(len),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn link_type(number: u32) -> LinkType {
    // The upper half holds the length of a frame check sequence, which the kernel never sends.
    match LinkType((number & 0xffff) as u16) {
        // What BSDs and old programs write for LINKTYPE_RAW.
        LinkType(12 | 14) => LinkType::RAW,
        link => link,
    }
}
