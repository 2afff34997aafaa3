//! Parses classic pcap files.

use super::{MAX_PACKET, NextItem, Packet, TakenPacket, link_type};
use crate::net_dm::netlink::ByteOrder;
use crate::record::{LinkType, Timestamp};

/// Bytes of the file header.
pub const HEADER_LEN: usize = 24;

/// The format of the packets in the file, from its header.
pub struct PcapFile {
    link: LinkType,
    order: ByteOrder,
    /// The number of nanoseconds in a unit of the times' fraction.
    unit: u64,
    /// The length of the header of each packet.
    packet_header_len: usize,
    lengths: Lengths,
}

/// The order of the two lengths of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lengths {
    /// The captured length comes first.
    InOrder,
    /// The original length comes first.
    Swapped,
    /// Either may come first, because programs of that time differ: the smaller one is the captured
    /// length.
    Unsure,
}

/// Parses the first four bytes: the byte order, the number of nanoseconds in a unit of the times'
/// fraction, and the length of each packet's header.
pub fn magic(bytes: [u8; 4]) -> Option<(ByteOrder, u64, usize)> {
    /// "Modified" files, of Alexey Kuznetzov's patch: after the lengths, each packet has an
    /// interface index, a protocol and a packet type.
    const PATCHED: u32 = 0xa1b2_cd34;
    let little = u32::from_le_bytes(bytes);
    [
        (ByteOrder::Little, little),
        (ByteOrder::Big, little.swap_bytes()),
    ]
    .into_iter()
    .find_map(|(order, magic)| match magic {
        0xa1b2_c3d4 => Some((order, 1000, 16)),
        0xa1b2_3c4d => Some((order, 1, 16)),
        PATCHED => Some((order, 1000, 24)),
        _ => None,
    })
}

impl PcapFile {
    /// Reads the file header.
    pub fn new(header: &[u8; HEADER_LEN]) -> Result<Self, String> {
        let (order, unit, packet_header_len) = header
            .first_chunk()
            .and_then(|bytes| magic(*bytes))
            .ok_or("no magic number of pcap")?;
        let u16_at = |at: usize| order.u16(&header[at..at + 2]).unwrap_or_default();
        // libpcap's rules, sf-pcap.c: lengths were swapped until 2.3, which came with a mixture, and in DG/UX's
        // own tcpdump.
        let lengths = match (u16_at(4), u16_at(6)) {
            (2, 0..=2) | (543, 0) => Lengths::Swapped,
            (2, 3) => Lengths::Unsure,
            (2, 4) => Lengths::InOrder,
            (major, minor) => {
                return Err(format!("unknown pcap version {major}.{minor}"));
            }
        };
        Ok(Self {
            link: link_type(order.u32(&header[20..24]).unwrap_or_default()),
            order,
            unit,
            packet_header_len,
            lengths,
        })
    }

    /// Returns the item at the beginning of `bytes`, and calls `take` with a packet.
    #[inline]
    pub fn next<T>(
        &self,
        bytes: &[u8],
        take: impl FnOnce(&Packet<'_>) -> T,
    ) -> Result<NextItem<T>, String> {
        let header_len = self.packet_header_len;
        let header = bytes.get(..header_len).and_then(<[u8]>::first_chunk);
        let Some(header) = header else {
            return Ok(NextItem::Needs(header_len));
        };
        let [seconds, fraction, first, second] = self.order.u32s(header).map(u64::from);
        let is_swapped = match self.lengths {
            Lengths::InOrder => false,
            Lengths::Swapped => true,
            Lengths::Unsure => first > second,
        };
        let (captured, original) = if is_swapped {
            (second, first)
        } else {
            (first, second)
        };
        if captured > MAX_PACKET as u64 {
            return Err(format!(
                "a packet of {captured} bytes, more than {MAX_PACKET}"
            ));
        }
        let len = header_len + usize::try_from(captured).unwrap_or(usize::MAX);
        let Some(data) = bytes.get(header_len..len) else {
            return Ok(NextItem::Needs(len));
        };
        let packet = Packet {
            time: Some(Timestamp(seconds * 1_000_000_000 + fraction * self.unit)),
            original_len: u32::try_from(original.max(captured)).unwrap_or(u32::MAX),
            link: self.link,
            interface: 0,
            facts: None,
            data,
            options: &[],
            order: self.order,
            has_odd_time: false,
        };
        Ok(NextItem::Packet(TakenPacket {
            taken: take(&packet),
            len,
            is_cut: false,
        }))
    }
}
