//! Tells packets from other data that the kernel freed as dropped. Newer kernels (seen on 6.12 and
//! 7.2, not on 6.1) also report socket buffers that never were packets: netlink messages, data
//! between the sockets of one host, and the drop monitor's own alerts.

use super::netlink::{self, ByteOrder, Messages};
use crate::packet::COOKED_NETLINK;

/// The shortest netlink message.
#[expect(clippy::cast_possible_truncation, reason = "16")]
const MESSAGE_HEADER_LEN: u32 = netlink::MESSAGE_HEADER_LEN as u32;

/// The most bytes that messages can have: their length in a file includes the cooked header.
#[expect(clippy::cast_possible_truncation, reason = "16")]
const MAX_LEN: u32 = u32::MAX - COOKED_NETLINK.len() as u32;

/// The type of an alert's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// A packet, from its link-layer header on.
    #[default]
    Packet,
    /// Netlink messages. Where the first one's type is NET_DM's own number, this is an alert of the
    /// drop monitor: the kernel frees one as dropped when a listener's socket filter rejects it after
    /// another listener took it, or when a listener goes away without reading it.
    Netlink {
        /// `nlmsg_type` of the first message.
        kind: u16,
    },
    /// Anything else: data between AF_UNIX or vsock sockets, for instance.
    Data,
}

impl Content {
    /// Tells netlink messages from other data, for a payload that is not a packet. Netlink messages
    /// fill the payload from the first byte to the last, and each begins with its length (`struct
    /// nlmsghdr`, linux/netlink.h). Where the payload was truncated, the first length has to fit
    /// into `original_len`. Data whose length no capture file can state is not
    /// taken for messages.
    pub fn of_no_packet(bytes: &[u8], original_len: u32, order: ByteOrder) -> Self {
        let mut messages = Messages::new(bytes, order);
        let is_whole = bytes.len() >= original_len as usize;
        let fits = if is_whole {
            messages.by_ref().for_each(drop);
            messages.rest().is_empty()
        } else {
            let len = bytes.get(..4).and_then(|len| order.u32(len));
            len.is_some_and(|len| (MESSAGE_HEADER_LEN..=original_len).contains(&len))
        };
        let kind = bytes.get(4..6).and_then(|kind| order.u16(kind));
        match kind.filter(|_| fits && original_len <= MAX_LEN) {
            Some(kind) => Self::Netlink { kind },
            None => Self::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, len: u32, payload: usize) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(netlink::MESSAGE_HEADER_LEN + payload, 0);
        bytes
    }

    #[track_caller]
    fn check(bytes: &[u8], original_len: u32, expected: Content) {
        let found = Content::of_no_packet(bytes, original_len, ByteOrder::NATIVE);
        assert_eq!(found, expected);
    }

    #[test]
    fn netlink_messages_are_recognized_by_their_lengths() {
        let netlink = |kind| Content::Netlink { kind };
        check(&message(2, 36, 20), 36, netlink(2));
        let several = [message(24, 20, 4), message(3, 16, 0)].concat();
        check(&several, 36, netlink(24));
        // Unaligned, without padding at the end.
        check(&message(24, 17, 1), 17, netlink(24));
        // Truncated.
        check(&message(2, 36, 20)[..16], 36, netlink(2));
        check(&message(0x24, 36, 20)[..6], 36, netlink(0x24));
        check(&message(2, 36, 20), u32::MAX - 16, netlink(2));
    }

    #[test]
    fn other_data_is_not_taken_for_netlink() {
        check(b"", 0, Content::Data);
        check(b"hello", 5, Content::Data);
        check(&[b'x'; 100], 100, Content::Data);
        check(&message(2, 37, 20), 36, Content::Data);
        check(&message(2, 20, 20), 36, Content::Data);
        check(&message(2, 15, 20), 36, Content::Data);
        check(&message(2, 36, 20)[..5], 36, Content::Data);
        check(&[b'x'; 40], 100, Content::Data);
        // Longer than a file can say.
        check(&message(2, 36, 20), u32::MAX - 15, Content::Data);
    }
}
