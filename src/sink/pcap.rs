//! Writes classic pcap with nanoseconds: one link type and no comments. Every tool reads it.

use std::borrow::Cow;
use std::io::{self, Write};

use pcap_file::pcap::{PcapHeader, PcapTsResolution, PcapWriteError, PcapWriter, RawPcapPacket};
use pcap_file::{DataLink, Endianness};

use super::{Ending, Linking, SNAPLEN, Sink, Written};
use crate::record::{DropRecord, LinkType, Timestamp};

/// A sink that writes a pcap stream.
pub struct PcapSink<W: Write> {
    writer: PcapWriter<W>,
    linking: Linking,
    /// The cooked header and the packet. The memory is reused.
    packet: Vec<u8>,
}

impl<W: Write> PcapSink<W> {
    /// Writes the file header.
    pub fn new(writer: W, link: LinkType) -> io::Result<Self> {
        let header = header(link, PcapTsResolution::NanoSecond);
        let writer = PcapWriter::with_header(writer, header).map_err(into_io)?;
        Ok(Self {
            writer,
            linking: Linking::One(link),
            packet: Vec::new(),
        })
    }
}

impl<W: Write> Sink for PcapSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let Some(time) = record.time else {
            return Ok(Written::LacksTime);
        };
        let fitted = self.linking.apply(record, |fitted| {
            self.packet.clear();
            self.packet.extend_from_slice(fitted.header);
            self.packet.extend_from_slice(fitted.data);
            self.packet.truncate(SNAPLEN as usize);
            let resolution = PcapTsResolution::NanoSecond;
            let len = fitted.original_len;
            let Some(raw) = raw_packet(time, resolution, &self.packet, len) else {
                return Ok(Written::LacksTime);
            };
            self.writer.write_raw_packet(&raw).map_err(into_io)?;
            Ok(fitted.written())
        });
        fitted.unwrap_or(Ok(Written::LeftOut))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(into_io)
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        self.flush()
    }
}

/// Returns the header of dwdump's pcap files: in this machine's byte order, which readers assume for the
/// netlink messages in them.
pub(super) fn header(link: LinkType, resolution: PcapTsResolution) -> PcapHeader {
    PcapHeader {
        version_major: 2,
        version_minor: 4,
        ts_correction: 0,
        ts_accuracy: 0,
        snaplen: SNAPLEN,
        datalink: DataLink::from(u32::from(link.0)),
        ts_resolution: resolution,
        endianness: Endianness::native(),
    }
}

/// Returns a record of a pcap file; `None` for times after the year 2106, which do not fit its 32 bits.
pub(super) fn raw_packet(
    time: Timestamp,
    resolution: PcapTsResolution,
    data: &[u8],
    original_len: u32,
) -> Option<RawPcapPacket<'_>> {
    let since_epoch = time.as_duration();
    let captured = u32::try_from(data.len()).ok()?;
    Some(RawPcapPacket {
        ts_sec: u32::try_from(since_epoch.as_secs()).ok()?,
        ts_frac: match resolution {
            PcapTsResolution::MicroSecond => since_epoch.subsec_micros(),
            PcapTsResolution::NanoSecond => since_epoch.subsec_nanos(),
        },
        incl_len: captured,
        orig_len: original_len.max(captured),
        data: Cow::Borrowed(data),
    })
}

/// Returns the operating system's error, if there is one.
pub(super) fn into_io(error: PcapWriteError) -> io::Error {
    match error {
        PcapWriteError::Io(error) | PcapWriteError::FieldWriteFailed(_, error) => error,
        PcapWriteError::Validation(error) => io::Error::other(error),
    }
}
