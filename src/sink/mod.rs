//! Sinks write records. A sink knows records and its own format, but not the source of the records
//! nor the command line.
//!
//! # Example
//!
//! Writes a record into a pcapng file in memory, and reads it back:
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use dwdump::record::CaptureHost;
//! use dwdump::sink::{Ending, Linking, PcapngSink, Sink};
//! use dwdump::source::savefile::Savefile;
//! # use dwdump::record::{
//! #     Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name, Symbol, Timestamp,
//! # };
//! #
//! # let data = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
//! # let mut record = DropRecord::new(Link::known(LinkType::RAW), &data);
//! # record.time = Some(Timestamp(1_700_000_000_000_000_000));
//! # let symbol = Name::new(b"udp_queue_rcv_one_skb+0x1f/0x2d0").map(Symbol);
//! # record.cause = Cause::Software {
//! #     location: Location::new(None, symbol),
//! #     reason: Name::new(b"SOCKET_RCVBUFF"),
//! # };
//! # record.input = Some(Interface::new(2, Name::new(b"eth0")));
//! # record.protocol = Some(EtherType::IPV4);
//!
//! let host = CaptureHost::default();
//! let mut file = Vec::new();
//! let mut sink = PcapngSink::new(&mut file, Linking::Auto, "example 1.0", &host)?;
//! sink.write(&record)?;
//! sink.finish(&Ending::default())?;
//! drop(sink);
//!
//! let mut causes = Vec::new();
//! let _ = Savefile::open(&file[..])?.for_each(|read| {
//!     causes.push(read.cause == record.cause);
//!     ControlFlow::<()>::Continue(())
//! });
//! assert_eq!(causes, [true]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block_rows;
mod compressed;
#[cfg(any(test, feature = "fuzzing"))]
pub mod file_in_memory;
pub(crate) mod folded;
mod hue;
mod json;
mod netlink;
mod packet_block;
mod pcap;
mod pcapng;
pub(crate) mod summary;
mod text;
pub(crate) mod why;
mod with_lines;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

pub use compressed::{CompressedSink, Compression};
pub use json::JsonSink;
pub use netlink::NetlinkSink;
pub use pcap::PcapSink;
pub use pcapng::PcapngSink;
pub use text::{Color, Detail, Precision, TextSink, TextStyle, Zone};
pub use with_lines::WithLines;

use crate::packet::{self, COOKED_NETLINK};
use crate::record::{Cause, DropRecord, LinkType, Location, Loss, Symbol, Timestamp};
use crate::untrusted::Untrusted;

/// The snapshot length written into every file. With a cooked header a packet can be longer than
/// 65535 bytes, and tcpdump refuses a file whose interfaces have different snapshot lengths.
pub const SNAPLEN: u32 = 262_144;

/// The size of the buffer in front of a file. The standard library's 8 KiB cost up to 43 % of the
/// wall time.
pub const BUFFER_LEN: usize = 256 * 1024;

/// The number of a pcapng file's first interface, which names the program that wrote the file, and has the counts
/// of lost drops.
const MONITOR: u32 = 0;

/// The contents of a packet's comments in a pcapng file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commenting {
    /// The facts that the kernel reported.
    Facts,
    /// The facts, and the meaning of the drop by the catalogue of reasons.
    Meanings,
}

/// A destination for records.
pub trait Sink {
    /// Writes one record.
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written>;

    /// Passes all written records on to the output.
    fn flush(&mut self) -> io::Result<()>;

    /// Writes the end of the output, and flushes.
    fn finish(&mut self, ending: &Ending) -> io::Result<()>;
}

/// Finds the source line of a location in the kernel, for the sinks that show it.
pub trait LineFinder {
    /// Returns the source line; `None` where no debug information has it.
    fn find(&mut self, location: Location<'_>) -> Option<SourceLine>;
}

/// A finder that several sinks share.
pub type SharedFinder = Rc<RefCell<dyn LineFinder>>;

/// A location in the kernel's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// `net/ipv4/gre_demux.c:170`
    pub line: Untrusted,
    /// `gre_rcv net/ipv4/gre_demux.c:170` and the functions that were inlined there, the innermost
    /// first.
    pub chain: Vec<Untrusted>,
}

/// Returns the source line of a record's drop: the one that the finder knows, else the record's own.
fn source_line(finder: Option<&SharedFinder>, record: &DropRecord<'_>) -> Option<SourceLine> {
    let Cause::Software { location, .. } = record.cause else {
        return None;
    };
    let found = finder.and_then(|finder| finder.borrow_mut().find(location));
    found.or_else(|| {
        let line = String::from_utf8_lossy(location.source_line?.as_bytes());
        Some(SourceLine {
            line: line.into_owned().into(),
            chain: Vec::new(),
        })
    })
}

/// Returns the source line of a frame of a call stack.
fn frame_line(finder: Option<&SharedFinder>, frame: Symbol<'_>) -> Option<Untrusted> {
    let found = finder?.borrow_mut().find(Location::new(None, Some(frame)));
    found.map(|source| source.line)
}

/// The result of writing a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The whole record was written.
    Yes,
    /// It is in the output, cut to the snapshot length.
    Cut,
    /// The format cannot represent it, so it was left out.
    LeftOut,
    /// The format needs a time, and the record has none, or one that the format cannot represent.
    LacksTime,
}

/// The facts that are known at the end of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// Drops that were lost before they were received, if they were counted.
    pub loss: Option<Loss>,
    /// Records that the filter rejected.
    pub rejected: Rejected,
    /// The first and the last moment of the capture; if unknown, those of the records are used.
    pub period: Option<(Timestamp, Timestamp)>,
    /// Reasons for which drops are missing without being counted as lost: the interference of other
    /// processes with the monitoring.
    pub incomplete: Vec<Untrusted>,
}

/// The number of records that the filter rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// This number.
    Counted(u64),
    /// Unknown, because the kernel filters as well and counts nothing.
    InKernel,
}

impl Rejected {
    /// Returns how many were rejected after `before`, an earlier state of the same count.
    pub(crate) fn since(self, before: Self) -> Self {
        match (self, before) {
            (Self::Counted(now), Self::Counted(before)) => {
                Self::Counted(now.saturating_sub(before))
            }
            _ => self,
        }
    }
}

impl Default for Rejected {
    fn default() -> Self {
        Self::Counted(0)
    }
}

/// The link type of a file's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// Each packet has its own.
    Auto,
    /// All packets have this one.
    One(LinkType),
}

/// A packet in the form in which a file holds it.
#[derive(Clone, Copy)]
struct Fitted<'a> {
    link: LinkType,
    /// A cooked header, written before [`data`](Self::data), or empty.
    header: &'a [u8],
    data: &'a [u8],
    original_len: u32,
}

impl Fitted<'_> {
    /// Returns whether a file with [`SNAPLEN`] holds the packet whole or truncated.
    fn written(&self) -> Written {
        if self.header.len() + self.data.len() > SNAPLEN as usize {
            Written::Cut
        } else {
            Written::Yes
        }
    }
}

impl Linking {
    /// Calls `write` with the packet as the file will hold it; returns `None` if the link type cannot hold it.
    fn apply<T>(
        self,
        record: &DropRecord<'_>,
        write: impl FnOnce(Fitted<'_>) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let link = record.link.kind;
        let target = match self {
            Self::Auto => link,
            Self::One(target) => target,
        };
        let (data, original_len) = (record.data, record.original_len);
        if target == link {
            let header: &[u8] = match link {
                LinkType::NETLINK => &COOKED_NETLINK,
                _ => &[],
            };
            return Some(write(Fitted {
                link,
                header,
                data,
                original_len: original_len.saturating_add(u32::try_from(header.len()).unwrap_or(0)),
            }));
        }
        let converted = packet::convert(
            target,
            link,
            data,
            original_len,
            record.input,
            record.direction(),
        )?;
        Some(write(Fitted {
            link: target,
            header: converted.header.as_ref().map_or(&[], |header| header),
            data: converted.data,
            original_len: converted.original_len,
        }))
    }
}
