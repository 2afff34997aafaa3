//! The link layer as pcap-filter(7) describes it: what is before the network header, and what `vlan`, `mpls` and
//! `pppoes` make of it for the words behind them.

use super::{IPV4, IPV6, NO, PlainTruth, PlainWalk, Sought};
use crate::filter::packet::{FramedPacket, Framing};
use crate::packet::protocol_of_family;
use crate::record::LinkType;

/// The source of the network header's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypeSource {
    /// The type field at this offset.
    Ethernet(usize),
    /// PPP's protocol field at this offset.
    Ppp(usize),
    /// The protocol field of a cooked header at this offset; of version 1, where 1 and 4 are no types.
    Cooked(usize, bool),
    /// The address family of a loopback device.
    Family(LinkType),
    /// Nothing: it is always this one.
    Always(u16),
    /// The header before, for the packet in a tunnel.
    Tunnel(u16),
    /// The version of IP.
    Version,
    /// The link type is not understood.
    Unknown,
}

/// The link layer at a place in the text.
#[derive(Clone, Copy, Debug)]
pub struct LinkLayer {
    source: TypeSource,
    /// The offset of the link layer's header.
    pub header: usize,
    /// The offset of what the type announces.
    pub payload: usize,
    /// MPLS labels in front of the network header.
    labels: usize,
    /// The VLAN whose tag a device took off, until a `vlan` asks for it.
    pub tag_off: Option<u32>,
}

impl LinkLayer {
    pub fn of(packet: &FramedPacket<'_>) -> Self {
        let (source, payload) = match packet.framing {
            Framing::Ethernet => (TypeSource::Ethernet(12), 14),
            Framing::Ip => (TypeSource::Version, 0),
            Framing::Sll2 => (TypeSource::Cooked(0, false), 20),
            Framing::Sll => (TypeSource::Cooked(14, true), 16),
            Framing::Null => (TypeSource::Family(LinkType::NULL), 4),
            Framing::Loop => (TypeSource::Family(LinkType::LOOP), 4),
            Framing::Ip4 => (TypeSource::Always(IPV4), 0),
            Framing::Ip6 => (TypeSource::Always(IPV6), 0),
            Framing::Payload => (TypeSource::Tunnel(packet.ether_type), 0),
            Framing::Unread => (TypeSource::Unknown, 0),
        };
        Self {
            source,
            header: 0,
            payload,
            labels: 0,
            tag_off: packet.tag_off,
        }
    }

    pub fn network(&self) -> usize {
        self.payload + 4 * self.labels
    }

    pub fn is_ethernet(&self) -> bool {
        matches!(self.source, TypeSource::Ethernet(_))
    }

    /// Returns the truth of what this link layer never has.
    pub fn cannot(&self) -> PlainTruth {
        match self.source {
            TypeSource::Unknown => None,
            _ => NO,
        }
    }

    pub fn is_of_ip_alone(&self) -> bool {
        matches!(
            self.source,
            TypeSource::Version | TypeSource::Family(_) | TypeSource::Always(_)
        )
    }

    pub fn pass_vlan(&mut self) {
        if self.tag_off.take().is_some() || self.labels > 0 {
            return;
        }
        match self.source {
            TypeSource::Ethernet(at) => {
                self.source = TypeSource::Ethernet(at + 4);
                self.payload += 4;
            }
            TypeSource::Tunnel(_) => {
                self.source = TypeSource::Ethernet(self.payload + 2);
                self.payload += 4;
            }
            _ => {}
        }
    }

    pub fn pass_mpls(&mut self) {
        if matches!(
            self.source,
            TypeSource::Ethernet(_) | TypeSource::Ppp(_) | TypeSource::Tunnel(_)
        ) {
            self.labels += 1;
        }
    }

    pub fn pass_pppoes(&mut self) {
        if self.labels > 0 || self.source == TypeSource::Unknown {
            return;
        }
        self.header = self.payload + 6;
        self.source = TypeSource::Ppp(self.header);
        self.payload += 8;
    }
}

impl PlainWalk<'_> {
    /// Returns the link layer's own word for what follows.
    pub fn type_field(&self) -> Sought<u16> {
        match self.link.source {
            TypeSource::Ethernet(at) | TypeSource::Ppp(at) | TypeSource::Cooked(at, _) => {
                self.word(at)
            }
            TypeSource::Family(link) => {
                let bytes = self.packet.bytes.0.first_chunk().ok_or(None)?;
                Ok(protocol_of_family(link, *bytes).map_or(0, |protocol| protocol.0))
            }
            TypeSource::Always(kind) | TypeSource::Tunnel(kind) => Ok(kind),
            TypeSource::Version => self.version(self.link.payload),
            TypeSource::Unknown => Err(None),
        }
    }

    fn version(&self, at: usize) -> Sought<u16> {
        Ok(match self.byte(at)? >> 4 {
            4 => IPV4,
            6 => IPV6,
            _ => 0,
        })
    }

    /// Returns the Ethernet type of the network header.
    pub fn network_type(&self) -> Sought<u16> {
        if self.link.labels > 0 {
            return if self.is_behind_bottom()? {
                self.version(self.link.network())
            } else {
                Ok(0)
            };
        }
        let kind = self.type_field()?;
        Ok(match (self.link.source, kind) {
            (TypeSource::Ppp(_), 0x0021) => IPV4,
            (TypeSource::Ppp(_), 0x0057) => IPV6,
            (TypeSource::Ppp(_), IPV4 | IPV6) => 0,
            _ => kind,
        })
    }

    /// Returns whether the last label is the bottom of the stack.
    fn is_behind_bottom(&self) -> Sought<bool> {
        Ok(self.byte(self.link.network() - 2)? % 2 == 1)
    }

    pub fn is_ether_proto(&self, kind: u16) -> Sought<bool> {
        if self.link.is_of_ip_alone() && kind != IPV4 && kind != IPV6 {
            return Err(NO);
        }
        if self.link.labels > 0 {
            return Ok(self.network_type()? == kind);
        }
        let is_cooked = match self.link.source {
            TypeSource::Ethernet(_) => false,
            TypeSource::Cooked(_, true) => true,
            TypeSource::Ppp(_) => {
                let wanted = match kind {
                    IPV4 => 0x21,
                    IPV6 => 0x57,
                    0x00fe => 0x23,
                    0x0600 => 0x25,
                    0x6003 => 0x27,
                    0x809b => 0x29,
                    0x00e0 => 0x2b,
                    0x0042 => 0x31,
                    kind => kind,
                };
                return Ok(self.type_field()? == wanted);
            }
            _ => return Ok(self.type_field()? == kind),
        };
        let field = self.type_field()?;
        let has_points = if is_cooked { field == 4 } else { field <= 1500 };
        if !has_points {
            let is_ipx = kind == 0xe0 && (field == 0x8137 || is_cooked && field == 1);
            return Ok(is_ipx || kind > 1500 && field == kind);
        }
        let payload = self.link.payload;
        let is_snap = |organization: [u8; 3], kind: u16| {
            let found = self.packet.bytes.0.get(payload..payload + 8).ok_or(None)?;
            let start = [&[0xaa, 0xaa, 3][..], &organization].concat();
            Ok::<bool, PlainTruth>(found[..6] == start && found[6..] == kind.to_be_bytes())
        };
        match kind {
            0x809b => is_snap([8, 0, 7], kind),
            0x80f3 => is_snap([0; 3], kind),
            0x00e0 => {
                let point = super::truth(self.byte(payload).map(|point| point == 0xe0));
                let none = self.word(payload).map(|word| word == 0xffff && !is_cooked);
                let snap = super::truth(is_snap([0; 3], 0x8137));
                super::or(super::or(point, super::truth(none)), snap).ok_or(None)
            }
            0x00fe | 0x00f0 | 0x0006 => Ok(self.word(payload)? == kind * 0x101),
            0..=1500 => Ok(u16::from(self.byte(payload)?) == kind),
            _ => Ok(field == kind),
        }
    }

    /// Returns nothing where the link layer has MAC addresses.
    pub fn needs_macs(&self) -> Sought<()> {
        let is_frame = self.packet.framing == Framing::Ethernet;
        match self.link.source {
            TypeSource::Ethernet(_) if is_frame => Ok(()),
            _ => Err(self.link.cannot()),
        }
    }

    pub fn is_vlan(&self, id: Option<u16>) -> Sought<bool> {
        if let Some(tag) = self.link.tag_off {
            return Ok(id.is_none_or(|id| u32::from(id) == tag));
        }
        let takes_tags = matches!(
            self.link.source,
            TypeSource::Ethernet(_) | TypeSource::Tunnel(_)
        );
        if !takes_tags || self.link.labels > 0 {
            return Err(self.link.cannot());
        }
        if ![0x8100, 0x88a8, 0x9100].contains(&self.type_field()?) {
            return Err(NO);
        }
        match id {
            None => Ok(true),
            Some(id) => Ok(self.word(self.link.payload)? & 0x0fff == id),
        }
    }

    pub fn is_mpls(&self, label: Option<u32>) -> Sought<bool> {
        let is_here = match self.link.source {
            TypeSource::Ethernet(_) | TypeSource::Ppp(_) | TypeSource::Tunnel(_)
                if self.link.labels > 0 =>
            {
                !self.is_behind_bottom()?
            }
            TypeSource::Ethernet(_) | TypeSource::Tunnel(_) => self.type_field()? == 0x8847,
            TypeSource::Ppp(_) => self.type_field()? == 0x0281,
            _ => return Err(self.link.cannot()),
        };
        match label {
            Some(label) if is_here => Ok(self.number(self.link.network(), 4)? >> 12 == label),
            _ => Ok(is_here),
        }
    }

    pub fn is_pppoes(&self, session: Option<u16>) -> Sought<bool> {
        if self.link.is_of_ip_alone() || self.link.labels > 0 || self.type_field()? != 0x8864 {
            return Err(NO);
        }
        match session {
            None => Ok(true),
            Some(session) => Ok(self.word(self.link.payload + 2)? == session),
        }
    }
}
