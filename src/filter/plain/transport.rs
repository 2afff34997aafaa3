//! The headers behind IP.

use super::{IPV4, IPV6, NO, PlainTruth, PlainWalk, Sought};
use crate::filter::packet::Framing;
use crate::packet::{MAX_VLAN_TAGS, protocol_of_family};
use crate::record::LinkType;

/// A header's protocol number and its offset; unknown where the header before it was cut.
type ProtocolAt = Sought<(u8, usize)>;

impl PlainWalk<'_> {
    /// Returns the offset behind an IPv4 header. A later fragment has nothing there.
    pub fn behind_ipv4(&self, network: usize) -> Sought<usize> {
        if self.word(network + 6)? & 0x1fff != 0 {
            return Err(NO);
        }
        Ok(network + 4 * usize::from(self.byte(network)? & 0x0f))
    }

    /// Returns the Ethernet type and the offset of the network header behind all VLAN tags, whatever words were before.
    pub fn network_behind_tags(&self) -> Sought<(u16, usize)> {
        let family = |link| {
            let bytes = self.packet.bytes.0.first_chunk().ok_or(None::<bool>)?;
            Ok::<(u16, usize), PlainTruth>((
                protocol_of_family(link, *bytes).map_or(0, |protocol| protocol.0),
                4,
            ))
        };
        let (mut kind, mut at) = match self.packet.framing {
            Framing::Ethernet => (self.word(12)?, 14),
            Framing::Sll2 => (self.word(0)?, 20),
            Framing::Sll => (self.word(14)?, 16),
            Framing::Null => family(LinkType::NULL)?,
            Framing::Loop => family(LinkType::LOOP)?,
            Framing::Ip4 => (IPV4, 0),
            Framing::Ip6 => (IPV6, 0),
            Framing::Payload => (self.packet.ether_type, 0),
            Framing::Ip => match self.byte(0)? >> 4 {
                4 => (IPV4, 0),
                6 => (IPV6, 0),
                _ => (0, 0),
            },
            Framing::Unread => return Err(None),
        };
        for _ in 0..MAX_VLAN_TAGS {
            if [0x8100, 0x88a8, 0x9100].contains(&kind) {
                kind = self.word(at + 2)?;
                at += 4;
            }
        }
        Ok((kind, at))
    }

    /// Returns all headers behind IP: extension headers, and the first other one.
    pub fn headers(&self, kind: u16, network: usize) -> Sought<Vec<ProtocolAt>> {
        let is_ipv6 = kind == IPV6;
        let (mut number, mut at) = if is_ipv6 {
            (self.byte(network + 6)?, network + 40)
        } else {
            let words = usize::from(self.byte(network)? & 0x0f).max(5);
            (self.byte(network + 9)?, network + 4 * words)
        };
        let mut all = Vec::new();
        loop {
            all.push(Ok((number, at)));
            let length = self.byte(at + 1).map(usize::from);
            let len = match number {
                0 | 43 | 60 if is_ipv6 => length.map(|length| 8 * length + 8),
                44 if is_ipv6 => Ok(8),
                51 => length.map(|length| 4 * length + 8),
                _ => return Ok(all),
            };
            let (Ok(next), Ok(len)) = (self.byte(at), len) else {
                all.push(Err(None));
                return Ok(all);
            };
            (number, at) = (next, at + len);
        }
    }

    /// Returns the protocol and the offset of the ports.
    pub fn ports(&self) -> ProtocolAt {
        let (kind, network) = self.network_behind_tags()?;
        if kind != IPV4 && kind != IPV6 || kind == IPV4 && self.word(network + 6)? & 0x1fff != 0 {
            return Err(NO);
        }
        let mut last = Err(NO);
        for header in self.headers(kind, network)? {
            let (number, at) = header?;
            if kind == IPV6 && number == 44 && self.word(at + 2)? & 0xfff8 != 0 {
                return Err(NO);
            }
            last = Ok((number, at));
        }
        let (number, at) = last?;
        if [6, 17, 132].contains(&number) {
            Ok((number, at))
        } else {
            Err(NO)
        }
    }
}
