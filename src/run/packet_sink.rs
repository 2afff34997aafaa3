//! The formats of packet files, and the sinks that write them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::cli::{CommentDetail, Delivery, LinkChoice, OutputFormat};
use crate::net_dm::family;
use crate::record::{CaptureHost, LinkType};
use crate::sink::{
    BUFFER_LEN, Commenting, CompressedSink, Compression, Linking, NetlinkSink, PcapSink,
    PcapngSink, SharedFinder, Sink, WithLines,
};

/// The program's name and version, as written into files.
pub const APPLICATION: &str = concat!("dwdump ", env!("CARGO_PKG_VERSION"));

/// The format of packet files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// pcapng.
    Pcapng(Linking, Commenting),
    /// Plain pcap of this link type.
    Pcap(LinkType),
    /// The C tool's format.
    Netlink(Choice),
}

/// The way in which the user chose the netlink format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// With `--format`.
    Option,
    /// With a name that ends in `.pcap`.
    Name,
}

/// Returns whether the name asks for a compression that dwdump does not write.
pub fn names_other_compression(path: &Path) -> bool {
    const OTHERS: [&str; 5] = ["xz", "bz2", "lz4", "lzma", "zip"];
    let extension = path.extension();
    extension.is_some_and(|extension| {
        OTHERS
            .iter()
            .any(|other| extension.eq_ignore_ascii_case(other))
    })
}

/// Returns whether the name ends in `.pcap`, in upper or lower case, possibly followed by the
/// extension of a compression.
pub fn is_pcap(path: Option<&Path>) -> bool {
    let Some(path) = path else { return false };
    let stem = Compression::of(path).map(|(_, stem)| stem);
    let extension = stem.as_deref().unwrap_or(path).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("pcap"))
}

/// Returns the format that the options and the name ask for.
pub fn layout(delivery: &Delivery, path: Option<&Path>) -> Layout {
    let is_pcap = is_pcap(path);
    let link = delivery.link_type.and_then(LinkChoice::link_type);
    match delivery.format {
        Some(OutputFormat::Netlink) => Layout::Netlink(Choice::Option),
        None if is_pcap && delivery.link_type.is_none() => Layout::Netlink(Choice::Name),
        Some(OutputFormat::Pcap) => Layout::Pcap(link.unwrap_or(LinkType::LINUX_SLL2)),
        None if is_pcap && link.is_some() => Layout::Pcap(link.unwrap_or(LinkType::LINUX_SLL2)),
        Some(OutputFormat::Pcapng) | None => {
            let commenting = match delivery.comments {
                CommentDetail::Facts => Commenting::Facts,
                CommentDetail::Full => Commenting::Meanings,
            };
            Layout::Pcapng(link.map_or(Linking::Auto, Linking::One), commenting)
        }
    }
}

impl Layout {
    /// Returns the one link type of all packets.
    pub fn link_type(self) -> Option<LinkType> {
        match self {
            Self::Pcapng(Linking::One(link), _) | Self::Pcap(link) => Some(link),
            Self::Pcapng(Linking::Auto, _) | Self::Netlink(_) => None,
        }
    }
}

/// Makes the sinks of packet files, all of one kind.
pub struct SinkMaker {
    /// The format.
    pub layout: Layout,
    /// The compression.
    pub compression: Option<Compression>,
    /// The host that the packets are of.
    pub host: CaptureHost,
    /// The number of NET_DM, where it is known.
    pub family: Option<u16>,
    /// The finder of source lines, if they are wanted.
    pub finder: Option<SharedFinder>,
}

impl SinkMaker {
    /// Writes the beginning of a file, with a comment on it where the format has them.
    pub fn open(&self, file: File, comment: Option<&str>) -> io::Result<Box<dyn Sink>> {
        self.buffered(BufWriter::with_capacity(BUFFER_LEN, file), comment)
    }

    /// The same, into a writer that should be buffered.
    pub fn buffered(
        &self,
        writer: impl Write + 'static,
        comment: Option<&str>,
    ) -> io::Result<Box<dyn Sink>> {
        let Some(compression) = self.compression else {
            return self.plain(writer, comment);
        };
        let sink = CompressedSink::new(compression, writer, |writer| self.plain(writer, comment))?;
        Ok(Box::new(sink))
    }

    fn plain(
        &self,
        writer: impl Write + 'static,
        comment: Option<&str>,
    ) -> io::Result<Box<dyn Sink>> {
        Ok(match self.layout {
            Layout::Pcapng(linking, commenting) => {
                let host = &self.host;
                let sink = PcapngSink::with_comment(writer, linking, APPLICATION, host, comment)?;
                let sink = sink.commenting(commenting);
                match &self.finder {
                    Some(finder) => Box::new(WithLines::new(sink, finder.clone())),
                    None => Box::new(sink),
                }
            }
            Layout::Pcap(link) => Box::new(PcapSink::new(writer, link)?),
            Layout::Netlink(_) => {
                let family = self.family.unwrap_or(family::FALLBACK_ID);
                Box::new(NetlinkSink::new(writer, family)?)
            }
        })
    }
}
