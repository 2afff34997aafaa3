//! Classic pcap files.

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use pcap_file::pcap::{PcapReadError, PcapReader, PcapTsResolution};

use super::{
    Damage, MAX_PACKET, Packet, READ_BUFFER_LEN, byte_order, chain, link_type, read_failure,
};
use crate::net_dm::netlink::ByteOrder;
use crate::record::{LinkType, Timestamp};

/// Bytes of the file header, and of the header of each packet.
const HEADER_LEN: u64 = 24;
const PACKET_HEADER_LEN: u64 = 16;

pub(super) struct PcapFile<R: Read> {
    reader: PcapReader<R>,
    link: LinkType,
    order: ByteOrder,
    /// Nanoseconds of a fraction.
    unit: u64,
    /// Whether the file's end was reached.
    end: Rc<Cell<bool>>,
    /// Where the next packet begins.
    offset: u64,
}

impl<R: Read> PcapFile<R> {
    pub(super) fn open(source: R, end: Rc<Cell<bool>>) -> Result<Self, Damage> {
        let reader = PcapReader::with_capacity(source, READ_BUFFER_LEN)
            .map_err(|error| damage(0, error, end.get()))?;
        let header = reader.header();
        Ok(Self {
            reader,
            link: link_type(u32::from(header.datalink)),
            order: byte_order(header.endianness),
            unit: match header.ts_resolution {
                PcapTsResolution::MicroSecond => 1000,
                PcapTsResolution::NanoSecond => 1,
            },
            end,
            offset: HEADER_LEN,
        })
    }

    /// Hands on the next packet; `None` at the end.
    #[inline]
    pub(super) fn next<T>(
        &mut self,
        take: impl FnOnce(&Packet<'_>) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        let offset = self.offset;
        let next = self.reader.next_raw_packet();
        // Looked at where it is: moved, it would be read in larger pieces than it was just written in,
        // for which a processor waits.
        let Some(Ok(raw)) = &next else {
            return match next {
                Some(Err(error)) => Err(damage(offset, error, self.end.get())),
                _ => Ok(None),
            };
        };
        let data = &*raw.data;
        if data.len() > MAX_PACKET {
            let what = format!("a packet of {} bytes, more than {MAX_PACKET}", data.len());
            return Err(Damage { offset, what });
        }
        self.offset += PACKET_HEADER_LEN + u64::from(raw.incl_len);
        let packet = Packet {
            time: Timestamp(
                u64::from(raw.ts_sec) * 1_000_000_000 + u64::from(raw.ts_frac) * self.unit,
            ),
            original_len: raw.orig_len.max(raw.incl_len),
            link: self.link,
            facts: None,
            data,
            options: &[],
            order: self.order,
            offset,
        };
        take(&packet).map(Some)
    }
}

fn damage(offset: u64, error: PcapReadError, was_end_reached: bool) -> Damage {
    let what = match error {
        PcapReadError::Io(error) => read_failure(&error, was_end_reached),
        PcapReadError::Validation(error) => chain(&error),
    };
    Damage { offset, what }
}
