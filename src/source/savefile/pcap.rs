//! Classic pcap files.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use pcap_file::pcap::{PcapReadError, PcapReader, PcapTsResolution};

use super::{
    Damage, MAX_PACKET, Packet, READ_BUFFER_LEN, byte_order, chain, link_type, read_failure,
};
use crate::record::Timestamp;

/// Bytes of the file header, and of the header of each packet.
const HEADER_LEN: u64 = 24;
const PACKET_HEADER_LEN: u64 = 16;

pub(super) struct PcapFile<R: Read> {
    reader: PcapReader<R>,
    /// Whether the file's end was reached.
    end: Rc<Cell<bool>>,
    /// Where the next packet begins.
    offset: u64,
}

impl<R: Read> PcapFile<R> {
    pub(super) fn open(source: R, end: Rc<Cell<bool>>) -> Result<Self, Damage> {
        let reader = PcapReader::with_capacity(source, READ_BUFFER_LEN)
            .map_err(|error| damage(0, error, end.get()))?;
        Ok(Self {
            reader,
            end,
            offset: HEADER_LEN,
        })
    }

    /// The next packet; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Packet<'_>>, Damage> {
        let header = self.reader.header();
        let raw = match self.reader.next_raw_packet() {
            None => return Ok(None),
            Some(raw) => raw.map_err(|error| damage(self.offset, error, self.end.get()))?,
        };
        if raw.data.len() > MAX_PACKET {
            let what = format!(
                "a packet of {} bytes, more than {MAX_PACKET}",
                raw.data.len()
            );
            return Err(Damage {
                offset: self.offset,
                what,
            });
        }
        let unit = match header.ts_resolution {
            PcapTsResolution::MicroSecond => 1000,
            PcapTsResolution::NanoSecond => 1,
        };
        let time = u64::from(raw.ts_sec) * 1_000_000_000 + u64::from(raw.ts_frac) * unit;
        let captured = u32::try_from(raw.data.len()).unwrap_or(u32::MAX);
        let packet = Packet {
            time: Timestamp(time),
            original_len: raw.orig_len.max(captured),
            link: link_type(u32::from(header.datalink)),
            facts: None,
            data: raw.data,
            options: Cow::Borrowed(&[]),
            order: byte_order(header.endianness),
            offset: self.offset,
        };
        self.offset += PACKET_HEADER_LEN + u64::from(raw.incl_len);
        Ok(Some(packet))
    }
}

fn damage(offset: u64, error: PcapReadError, was_end_reached: bool) -> Damage {
    let what = match error {
        PcapReadError::Io(error) => read_failure(&error, was_end_reached),
        PcapReadError::Validation(error) => chain(&error),
    };
    Damage { offset, what }
}
