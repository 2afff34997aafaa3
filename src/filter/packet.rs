//! A packet as the predicates read it: bytes that may end anywhere. Reading a byte that was not captured
//! gives `None`, and so does every predicate that needs it.

use crate::record::{DropRecord, LinkType};

/// A dropped packet, or one inside its tunnels.
#[derive(Clone, Copy)]
pub struct FramedPacket<'a> {
    pub record: &'a DropRecord<'a>,
    pub framing: Framing,
    /// The type of the first header, where [`Framing::Payload`] has none of its own.
    pub ether_type: u16,
    pub bytes: CapturedBytes<'a>,
    /// Bytes of the whole packet, captured or not.
    pub len: u32,
}

impl<'a> FramedPacket<'a> {
    pub fn new(record: &'a DropRecord<'a>) -> Self {
        Self {
            record,
            framing: Framing::of(record.link.kind),
            ether_type: 0,
            bytes: CapturedBytes(record.data),
            len: record.original_len,
        }
    }

    /// The packet behind the first `offset` bytes.
    pub fn inside(&self, offset: usize, framing: Framing, ether_type: u16) -> Self {
        let removed = u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            framing,
            ether_type,
            bytes: CapturedBytes(self.bytes.0.get(offset..).unwrap_or_default()),
            len: self.len.saturating_sub(removed),
            ..*self
        }
    }
}

/// What was looked for, where the bytes suffice to know; `Option<Lookup>` is `None` where they do
/// not.
pub enum Lookup<T> {
    Found(T),
    /// The packet has no such thing.
    Absent,
}

/// What a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Ethernet,
    /// An IP header, of the version that its first four bits say.
    Ip,
    Sll2,
    Sll,
    /// An address family in the byte order of the host, then the packet.
    Null,
    /// An address family in network byte order, then the packet.
    Loop,
    /// An IPv4 header, whatever its first four bits say.
    Ip4,
    /// An IPv6 header, whatever its first four bits say.
    Ip6,
    /// What an Ethernet type announced: behind a tunnel's header.
    Payload,
    /// A link layer that is not read: predicates of the packet know nothing.
    Unread,
}

impl Framing {
    pub const ALL: [Self; 10] = [
        Self::Ethernet,
        Self::Ip,
        Self::Sll2,
        Self::Sll,
        Self::Null,
        Self::Loop,
        Self::Ip4,
        Self::Ip6,
        Self::Payload,
        Self::Unread,
    ];

    fn of(link: LinkType) -> Self {
        match link {
            LinkType::ETHERNET => Self::Ethernet,
            LinkType::RAW => Self::Ip,
            LinkType::LINUX_SLL2 => Self::Sll2,
            LinkType::LINUX_SLL => Self::Sll,
            LinkType::NULL => Self::Null,
            LinkType::LOOP => Self::Loop,
            LinkType::IPV4 => Self::Ip4,
            LinkType::IPV6 => Self::Ip6,
            _ => Self::Unread,
        }
    }
}

/// Captured bytes; numbers are big-endian.
#[derive(Clone, Copy)]
pub struct CapturedBytes<'a>(pub &'a [u8]);

impl CapturedBytes<'_> {
    #[inline]
    pub fn array<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }

    #[inline]
    pub fn u8(self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }

    #[inline]
    pub fn u16(self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_be_bytes)
    }

    #[inline]
    pub fn u32(self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_be_bytes)
    }
}
