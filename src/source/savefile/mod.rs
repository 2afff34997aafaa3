//! Reads capture files: dwdump's own pcapng, netlink captures of the C tool and of nlmon (pcap, or
//! inside pcapng), and plain packets. Memory is bounded, whatever the file contains; of a damaged
//! or truncated file, everything before the damage is read.
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
use crate::source::{Event, LeftOut, NotPackets};
use crate::untrusted::Untrusted;

/// The longest packet that is read from a pcap file, Wireshark's own limit. In this format, only
/// the length distinguishes a packet from damage.
const MAX_PACKET: usize = 262_144;

/// A capture file that is read whenever its reader needs bytes.
pub struct Savefile<R: Read> {
    source: R,
    reader: Reader,
}

/// The results of reading a file, besides its records: its facts and the problems in it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Findings {
    /// Netlink messages and parts of them that gave no record.
    pub left_out: LeftOut,
    /// Drops that the summary alerts counted.
    pub summary_drops: u64,
    /// Messages that may be alerts or messages of another family.
    pub undecided_messages: u64,
    /// Options of pcapng blocks that were skipped: of the wrong length, or truncated.
    pub skipped_options: u64,
    /// Blocks of pcapng that contain neither packets nor anything needed to read them.
    pub skipped_blocks: u64,
    /// Packets that were left out: of an interface that the file does not describe, or in a block
    /// too short for them.
    pub unreadable_packets: u64,
    /// Packets whose time is before 1970 or after 2554.
    pub odd_times: u64,
    /// Packets without drop facts.
    pub plain_packets: u64,
    /// Packets of link types whose headers dwdump does not parse, and the first such type.
    pub foreign_links: Option<(LinkType, u64)>,
    /// The loss that the file states; `None` where it states none.
    pub loss: Option<Loss>,
    /// The reasons that the file states for drops that are missing without being counted as lost.
    pub incomplete: Vec<Untrusted>,
    /// The first and the last moment of the capture, as the file states them.
    pub period: Option<(Timestamp, Timestamp)>,
    /// The machine of the capture.
    pub host: CaptureHost,
    /// A section of pcapng has described its host.
    has_section: bool,
}

/// An error for which no part of a file can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file has no content.
    #[error("the file is empty")]
    Empty,
    /// Its first bytes are those of a compression that is not supported.
    #[error("the file is compressed ({})", .0.name)]
    Compressed(Foreign),
    /// Its first bytes are those of no known format.
    #[error("not a capture file: neither pcap nor pcapng")]
    Unknown,
    /// Its header is damaged.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// A compression that is not supported: its name, and a command that decompresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// For instance `bzip2`.
    pub name: &'static str,
    /// A command that decompresses a file to standard output, without the file's name.
    pub command: &'static str,
}

/// The damage at which the reading of a file ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
#[non_exhaustive]
pub struct Damage {
    /// The position of the damaged packet or block; in a compressed file, that in the decompressed
    /// data.
    pub offset: u64,
    /// The description of the damage.
    pub what: String,
}

/// A packet of the file, in the reader's buffer.
#[derive(Clone, Copy, Debug)]
struct Packet<'a> {
    time: Option<Timestamp>,
    /// Its time cannot be represented by [`Timestamp`].
    has_odd_time: bool,
    original_len: u32,
    link: LinkType,
    /// The interface's number in its section.
    interface: u32,
    facts: Option<&'a InterfaceFacts>,
    data: &'a [u8],
    /// The bytes after the packet in its block: its options.
    options: &'a [u8],
    /// The byte order of the file or of the section.
    order: ByteOrder,
}

/// The next item in the file.
enum NextItem<T> {
    Packet(TakenPacket<T>),
    /// This many bytes without a packet.
    Other(usize),
    /// This many bytes that begin another section.
    Section(usize),
    /// This many bytes are needed to parse the next item.
    Needs(usize),
}

/// A packet that was taken, with its length in the file.
struct TakenPacket<T> {
    /// The result of `take`.
    taken: T,
    /// The length of the packet and its headers.
    len: usize,
    /// Its block continues after these bytes.
    is_cut: bool,
}

impl<R: Read> Savefile<R> {
    /// Reads the header, and up to the first packet: see [`Reader::open`].
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

    /// Returns the results so far. The facts of the host are complete once the file is open.
    pub fn findings(&self) -> &Findings {
        self.reader.findings()
    }

    /// Returns the number of NET_DM in the file, if it is known by now.
    pub fn family(&self) -> Option<u16> {
        self.reader.family()
    }

    /// Calls `take` with each record until it breaks. If the file is damaged, returns the damage.
    pub fn for_each<B>(
        &mut self,
        mut take: impl FnMut(&DropRecord<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Damage> {
        self.for_each_event(|event| match event {
            Event::Drop(record) => take(record),
            Event::Count { .. }
            | Event::Rejected(_)
            | Event::Drops { .. }
            | Event::Unnamed { .. }
            | Event::EndOfCounts { .. } => ControlFlow::Continue(()),
        })
    }

    /// Calls `take` with each event until it breaks. If the file is damaged, returns the damage.
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
        // The numbers that BSDs and old programs write for LINKTYPE_RAW.
        LinkType(12 | 14) => LinkType::RAW,
        link => link,
    }
}
