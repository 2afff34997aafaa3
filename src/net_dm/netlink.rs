//! Parses netlink's framing: the messages of a datagram, and the attributes of a message. Parsing
//! stops at the first impossible length. It borrows the bytes, allocates nothing, and never panics.

/// Bytes of a netlink message header (`struct nlmsghdr`, linux/netlink.h).
pub const MESSAGE_HEADER_LEN: usize = 16;
/// Bytes of a generic netlink header (`struct genlmsghdr`, linux/genetlink.h).
pub const GENL_HEADER_LEN: usize = 4;
/// Bytes of an attribute header (`struct nlattr`).
pub const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Message types below this are netlink's own (`NLMSG_MIN_TYPE`); this one is the controller.
pub const GENL_ID_CTRL: u16 = 0x10;
/// `NLMSG_ERROR`.
pub const NLMSG_ERROR: u16 = 2;
/// Clears the bits `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// The byte order of the host that wrote the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// This machine's byte order.
    pub const NATIVE: Self = if cfg!(target_endian = "little") {
        Self::Little
    } else {
        Self::Big
    };

    /// Returns the other byte order.
    pub fn swapped(self) -> Self {
        match self {
            Self::Little => Self::Big,
            Self::Big => Self::Little,
        }
    }

    /// Reads a u16 of exactly two bytes.
    #[inline]
    pub fn u16(self, bytes: &[u8]) -> Option<u16> {
        bytes.try_into().ok().map(|bytes| self.join_u16(bytes))
    }

    /// Reads a u32 of exactly four bytes.
    #[inline]
    pub fn u32(self, bytes: &[u8]) -> Option<u32> {
        bytes.try_into().ok().map(|bytes| self.join_u32(bytes))
    }

    /// Reads four u32s that follow each other.
    #[inline]
    pub fn u32s(self, bytes: &[u8; 16]) -> [u32; 4] {
        let mut numbers = [0; 4];
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = u32::from_ne_bytes(*bytes);
        }
        match self {
            Self::NATIVE => numbers,
            _ => numbers.map(u32::swap_bytes),
        }
    }

    /// Returns the header of an attribute.
    #[inline]
    fn attribute_header(self, len: u16, kind: u16) -> [u8; ATTRIBUTE_HEADER_LEN] {
        let [[a, b], [c, d]] = match self {
            Self::Little => [len.to_le_bytes(), kind.to_le_bytes()],
            Self::Big => [len.to_be_bytes(), kind.to_be_bytes()],
        };
        [a, b, c, d]
    }

    /// Converts two bytes to a u16.
    #[inline]
    fn join_u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// Converts four bytes to a u32.
    #[inline]
    fn join_u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Reads a u64 of exactly eight bytes.
    #[inline]
    pub fn u64(self, bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(|bytes| self.join_u64(bytes))
    }

    /// Converts eight bytes to a u64.
    #[inline]
    fn join_u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// One netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`: a generic netlink family's number; below 16, one of netlink's own types.
    pub kind: u16,
    /// The bytes after the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Returns the command, version and attributes of a generic netlink message.
    pub fn generic(&self, order: ByteOrder) -> Option<Generic<'a>> {
        let (header, attributes) = self.payload.split_at_checked(GENL_HEADER_LEN)?;
        Some(Generic {
            command: header[0],
            version: header[1],
            attributes: Attributes {
                rest: attributes,
                order,
            },
        })
    }
}

/// One generic netlink message (of a family without a header of its own).
#[derive(Clone, Copy, Debug)]
pub struct Generic<'a> {
    /// `genlmsghdr.cmd`.
    pub command: u8,
    /// `genlmsghdr.version`.
    pub version: u8,
    /// The attributes after the header.
    pub attributes: Attributes<'a>,
}

/// The messages of a datagram, each aligned to 4 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    order: ByteOrder,
}

impl<'a> Messages<'a> {
    /// Returns the messages in `bytes`.
    pub fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Self { rest: bytes, order }
    }

    /// Returns the bytes in which no message was found: not empty after a damaged length.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let [a, b, c, d, kind @ .., _, _] = *self.rest.first_chunk::<8>()?;
        let len = self.order.join_u32([a, b, c, d]) as usize;
        let kind = self.order.join_u16(kind);
        let payload = self.rest.get(MESSAGE_HEADER_LEN..len)?;
        self.rest = self.rest.get(aligned(len)..).unwrap_or_default();
        Some(Message { kind, payload })
    }
}

/// The attributes of a message or a nest.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    order: ByteOrder,
}

impl<'a> Attributes<'a> {
    /// Returns the attributes of an answer from this machine's kernel.
    pub fn native(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            order: ByteOrder::NATIVE,
        }
    }

    /// Returns the same attributes with numbers in this byte order.
    pub fn in_order(self, order: ByteOrder) -> Self {
        Self { order, ..self }
    }

    /// Returns the attributes inside a nest's value.
    pub fn nested(self, value: &'a [u8]) -> Self {
        Self {
            rest: value,
            order: self.order,
        }
    }

    /// Returns the byte order of the values.
    pub fn order(&self) -> ByteOrder {
        self.order
    }

    /// Returns the value of the next attribute if it is of this type; otherwise it remains the next
    /// one.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the type and the byte order are known where it is called"
    )]
    pub fn next_if(&mut self, kind: u16) -> Option<&'a [u8]> {
        let [_, _, found @ ..] = *self.rest.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        if self.order.join_u16(found) & ATTRIBUTE_TYPE_MASK != kind {
            return None;
        }
        self.next().map(|(_, value)| value)
    }

    /// Reads the next attribute if it is a u16 of this type; otherwise it remains the next one.
    #[inline]
    pub fn next_u16(&mut self, kind: u16) -> Option<u16> {
        self.next_exact(kind)
            .map(|value| self.order.join_u16(value))
    }

    /// Reads the next attribute if it is a u32 of this type; otherwise it remains the next one.
    #[inline]
    pub fn next_u32(&mut self, kind: u16) -> Option<u32> {
        self.next_exact(kind)
            .map(|value| self.order.join_u32(value))
    }

    /// Reads the next attribute if it is a u64 of this type; otherwise it remains the next one.
    #[inline]
    pub fn next_u64(&mut self, kind: u16) -> Option<u64> {
        self.next_exact(kind)
            .map(|value| self.order.join_u64(value))
    }

    /// Returns the value of the next attribute if it is of this type, has exactly `LEN` bytes, and no flag bits:
    /// one comparison of its header.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the type and the byte order are known where it is called"
    )]
    fn next_exact<const LEN: usize>(&mut self, kind: u16) -> Option<[u8; LEN]> {
        let len = ATTRIBUTE_HEADER_LEN + LEN;
        let (header, rest) = self.rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let value = *rest.first_chunk::<LEN>()?;
        if *header != self.order.attribute_header(u16::try_from(len).ok()?, kind) {
            return None;
        }
        self.rest = self.rest.get(aligned(len)..).unwrap_or_default();
        Some(value)
    }

    /// Returns the bytes in which no attribute was found: not empty after a damaged length.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the truncated attribute after the last whole one: its type and the rest of its
    /// value.
    pub fn cut(&self) -> Option<(u16, &'a [u8])> {
        let (&[_, _, kind @ ..], value) = self.rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        Some((self.order.join_u16(kind) & ATTRIBUTE_TYPE_MASK, value))
    }
}

/// Yields each attribute's type, without the flag bits, and its value.
impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the byte order is known where it matters"
    )]
    fn next(&mut self) -> Option<Self::Item> {
        let [len @ .., c, d] = *self.rest.first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
        let len = usize::from(self.order.join_u16(len));
        let kind = self.order.join_u16([c, d]) & ATTRIBUTE_TYPE_MASK;
        let value = self.rest.get(ATTRIBUTE_HEADER_LEN..len)?;
        self.rest = &self.rest[aligned(len).min(self.rest.len())..];
        Some((kind, value))
    }
}

/// Rounds up to a multiple of 4 (`NLMSG_ALIGN`, `NLA_ALIGN`).
fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// Writes one generic netlink message, in this machine's byte order, into a reused buffer.
#[derive(Debug)]
pub struct MessageBuilder<'b> {
    buffer: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> MessageBuilder<'b> {
    /// Begins a message after the bytes that `buffer` already holds.
    pub fn new(buffer: &'b mut Vec<u8>, family: u16, command: u8, version: u8) -> Self {
        let start = buffer.len();
        buffer.extend([0; 4]); // nlmsg_len, known at the end
        buffer.extend(family.to_ne_bytes());
        buffer.extend([0; 10]); // nlmsg_flags, nlmsg_seq, nlmsg_pid
        buffer.extend([command, version, 0, 0]);
        Self { buffer, start }
    }

    /// Adds an attribute. A value of more than 65531 bytes does not fit and is truncated.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let value = &value[..value
            .len()
            .min(usize::from(u16::MAX) - ATTRIBUTE_HEADER_LEN)];
        let len = u16::try_from(value.len() + ATTRIBUTE_HEADER_LEN).unwrap_or(u16::MAX);
        self.buffer.extend(len.to_ne_bytes());
        self.buffer.extend(kind.to_ne_bytes());
        self.buffer.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a string with a NUL at its end, as the kernel does.
    pub fn string(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.buffer.extend_from_slice(value);
        self.buffer.push(0);
        self.close(start)
    }

    /// Adds a nest with the attributes that `fill` adds.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        /// `NLA_F_NESTED`.
        const NESTED: u16 = 0x8000;
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start)
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.buffer.len();
        self.buffer.extend([0; 2]);
        self.buffer.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) -> &mut Self {
        let len = u16::try_from(self.buffer.len() - start).unwrap_or(u16::MAX);
        self.buffer[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.pad();
        self
    }

    fn pad(&mut self) {
        let end = self.start + aligned(self.buffer.len() - self.start);
        self.buffer.resize(end, 0);
    }

    /// Writes the length into the header.
    pub fn finish(self) {
        let len = u32::try_from(self.buffer.len() - self.start).unwrap_or(u32::MAX);
        self.buffer[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_built_message_is_read_back() {
        let mut buffer = Vec::new();
        for command in [5, 6] {
            let mut message = MessageBuilder::new(&mut buffer, 0x24, command, 2);
            message
                .attribute(14, &0u16.to_ne_bytes())
                .string(3, b"ip_rcv");
            message.nest(4, |nest| {
                nest.attribute(0, &7u32.to_ne_bytes());
            });
            message.finish();
        }
        let mut messages = Messages::new(&buffer, ByteOrder::NATIVE);
        for command in [5, 6] {
            let message = messages.next().unwrap();
            assert_eq!(message.kind, 0x24);
            let generic = message.generic(ByteOrder::NATIVE).unwrap();
            assert_eq!((generic.command, generic.version), (command, 2));
            let mut attributes = generic.attributes;
            assert_eq!(attributes.next(), Some((14, &0u16.to_ne_bytes()[..])));
            assert_eq!(attributes.next(), Some((3, &b"ip_rcv\0"[..])));
            let (kind, nest) = attributes.next().unwrap();
            assert_eq!(kind, 4);
            assert_eq!(
                attributes.nested(nest).next(),
                Some((0, &7u32.to_ne_bytes()[..]))
            );
            assert_eq!(attributes.next(), None);
            assert_eq!(attributes.rest(), b"");
        }
        assert_eq!(messages.next(), None);
        assert_eq!(messages.rest(), b"");
    }

    #[test]
    fn an_impossible_length_ends_the_parsing() {
        #[rustfmt::skip]
        let bytes = [
            3, 0, 1, 0, // length 3: shorter than its own header
            8, 0, 2, 0, 1, 2, 3, 4,
        ];
        let mut attributes = Attributes {
            rest: &bytes,
            order: ByteOrder::Little,
        };
        assert_eq!(attributes.next(), None);
        assert_eq!(attributes.rest(), bytes);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                for message in Messages::new(&bytes, order) {
                    if let Some(generic) = message.generic(order) {
                        let attributes = generic.attributes;
                        for (_, value) in attributes {
                            let _ = attributes.nested(value).count();
                        }
                    }
                }
            }
        }
    }
}
