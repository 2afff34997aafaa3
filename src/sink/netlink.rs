//! Writes the C tool's format: classic pcap with microseconds, whose records are netlink messages
//! after a cooked header, in the byte order of this machine, as the file. Wireshark's NET_DM dissector reads it.

use std::io::{self, Write};

use pcap_file::pcap::{PcapTsResolution, PcapWriter};

use super::pcap::{header, into_io, raw_packet};
use super::{Ending, Sink, Written};
use crate::net_dm::{alert, family};
use crate::record::{DropRecord, LinkType, Timestamp};

/// Packet type 4 (outgoing), hardware type 824 (netlink), no address, netlink family 16 (generic):
/// all big-endian (LINKTYPE_NETLINK in tcpdump.org's registry).
pub const COOKED_HEADER: [u8; 16] = [0, 4, 0x03, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16];

/// The latest time that a pcap record can have, in 2106.
const LATEST: Timestamp = Timestamp(u32::MAX as u64 * 1_000_000_000);

/// A sink that writes a pcap stream of netlink messages.
pub struct NetlinkSink<W: Write> {
    writer: PcapWriter<W>,
    family: u16,
    is_answered: bool,
    message: Vec<u8>,
}

impl<W: Write> NetlinkSink<W> {
    /// Writes the file header. `family` is the number that stands for NET_DM in the file.
    pub fn new(writer: W, family: u16) -> io::Result<Self> {
        let header = header(LinkType::NETLINK, PcapTsResolution::MicroSecond);
        let writer = PcapWriter::with_header(writer, header).map_err(into_io)?;
        Ok(Self {
            writer,
            family,
            is_answered: false,
            message: Vec::new(),
        })
    }

    /// Writes the first record, which says which message type is NET_DM. Without it, no reader knows.
    fn answer(&mut self, time: Timestamp) -> io::Result<()> {
        if self.is_answered {
            return Ok(());
        }
        self.is_answered = true;
        self.message.clear();
        self.message.extend(COOKED_HEADER);
        family::write_answer(self.family, &mut self.message);
        self.write_message(time).map(drop)
    }

    /// The message has the drop's own time; that of the pcap record may be any.
    fn write_message(&mut self, time: Timestamp) -> io::Result<Written> {
        let time = time.min(LATEST);
        let len = u32::try_from(self.message.len()).map_err(io::Error::other)?;
        let Some(raw) = raw_packet(time, PcapTsResolution::MicroSecond, &self.message, len) else {
            return Ok(Written::LeftOut);
        };
        self.writer.write_raw_packet(&raw).map_err(into_io)?;
        Ok(Written::Yes)
    }
}

impl<W: Write> Sink for NetlinkSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let Some(time) = record.time else {
            return Ok(Written::LacksTime);
        };
        self.answer(time)?;
        self.message.clear();
        self.message.extend(COOKED_HEADER);
        if !alert::encode(record, self.family, &mut self.message) {
            return Ok(Written::LeftOut);
        }
        self.write_message(time)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.answer(Timestamp::now())?;
        self.writer.flush().map_err(into_io)
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        self.flush()
    }
}
