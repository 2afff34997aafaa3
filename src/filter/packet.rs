//! A packet as the predicates read it: bytes that may end anywhere. Reading a byte that was not
//! captured gives `None`, and so does every predicate that needs that byte.

use crate::record::{DropRecord, LinkType};

/// A dropped packet, or a packet inside its tunnels.
#[derive(Clone, Copy)]
pub struct FramedPacket<'a> {
    pub record: &'a DropRecord<'a>,
    pub framing: Framing,
    /// The Ethernet type of the first header; used only with [`Framing::Payload`], which has no
    /// type field of its own.
    pub ether_type: u16,
    pub bytes: CapturedBytes<'a>,
    /// The length of the whole packet in bytes, captured or not.
    pub len: u32,
    /// The VLAN whose tag a device took off the packet.
    pub tag_off: Option<u32>,
}

impl<'a> FramedPacket<'a> {
    pub fn new(record: &'a DropRecord<'a>) -> Self {
        Self {
            record,
            framing: Framing::of(record.link.kind),
            ether_type: 0,
            bytes: CapturedBytes(record.data),
            len: record.original_len,
            tag_off: record.context.vlan,
        }
    }

    /// Returns the packet that begins after the first `offset` bytes.
    pub fn inside(&self, offset: usize, framing: Framing, ether_type: u16) -> Self {
        let removed = u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            framing,
            ether_type,
            bytes: CapturedBytes(self.bytes.0.get(offset..).unwrap_or_default()),
            len: self.len.saturating_sub(removed),
            tag_off: None,
            ..*self
        }
    }
}

/// The result of a search in a packet. `Option<Lookup>` is `None` if too few bytes were captured to
/// know it.
pub enum Lookup<T> {
    Found(T),
    /// The packet does not have what was looked for.
    Absent,
}

/// The first header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Ethernet,
    /// An IP header, whose first four bits give the version.
    Ip,
    Sll2,
    Sll,
    /// An address family in the byte order of the capturing host, then the packet.
    Null,
    /// An address family in network byte order, then the packet.
    Loop,
    /// An IPv4 header, regardless of its first four bits.
    Ip4,
    /// An IPv6 header, regardless of its first four bits.
    Ip6,
    /// The header that an Ethernet type before it announced, for example after a tunnel's header.
    Payload,
    /// A link layer that is not supported: all tests of the packet are unknown.
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
