//! The offsets of a packet's headers at one position of the expression. In pcap-filter(7), `vlan`,
//! `mpls` and `pppoes` shift the offsets for everything to their right, regardless of `or`, `not`
//! and parentheses. Each position in the text therefore has its own offsets, one set for each
//! framing. If a device took a VLAN tag off, the first `vlan` asks for that one and shifts nothing, as
//! in libpcap.

use super::packet::{FramedPacket, Framing};
use crate::packet::offset::{ethernet, mpls, pppoe, sll, sll2, vlan};
use crate::packet::{FAMILY_LEN, protocol_of_family};
use crate::record::LinkType;

/// Ethernet types.
pub mod ether_type {
    use crate::record::EtherType;

    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    /// The types that announce a VLAN tag.
    pub const VLAN_TAGS: [u16; 3] = [EtherType::VLAN.0, EtherType::QINQ.0, EtherType::QINQ_OLD.0];
    pub const RARP: u16 = 0x8035;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS: u16 = 0x8847;
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// No packet has this type: it says that no known header follows.
    pub const NONE: u16 = 0;
}

/// The largest value of Ethernet's type field that is the length of an 802.2 frame (libpcap's
/// reading of IEEE 802.3, 3.2.6).
pub const MAX_LLC_LENGTH: u16 = 1500;

/// The header offsets for packets of one framing.
#[derive(Clone, Copy, Debug)]
pub struct HeaderLayout {
    pub naming: Naming,
    /// The offset of `ether[0]`.
    pub header: usize,
    type_at: usize,
    /// The offset of the link layer's payload.
    pub payload: usize,
    /// The number of MPLS labels before the network header.
    labels: usize,
    /// True if the link layer has MAC addresses.
    pub has_macs: bool,
    /// True if the next `vlan` asks for the tag that a device took off.
    is_tag_off: bool,
}

/// The source of the network header's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Ethernet's type field: a type, or the length of an 802.2 frame.
    Ethernet,
    /// PPP's protocol field (RFC 1661, 2).
    Ppp,
    /// The protocol field of the cooked header, version 2.
    Cooked,
    /// The protocol field of the cooked header, version 1, in which 1 and 4 announce frames without
    /// an Ethernet type.
    Cooked1,
    /// The address family before a packet of a loopback device of this link type.
    Family(LinkType),
    /// The link type, which allows only this type.
    Always(u16),
    /// The first four bits of the IP header.
    Version,
    /// The header before it, which belongs to a tunnel.
    Given,
    /// Unknown: the link layer is not supported.
    Unread,
}

impl Naming {
    /// Returns whether nothing but IP can follow.
    pub fn is_of_ip_alone(self) -> bool {
        matches!(self, Self::Version | Self::Family(_) | Self::Always(_))
    }
}

impl HeaderLayout {
    fn of(framing: Framing) -> Self {
        let (naming, type_at, payload) = match framing {
            Framing::Ethernet => (Naming::Ethernet, ethernet::TYPE, ethernet::LEN),
            Framing::Ip => (Naming::Version, 0, 0),
            Framing::Sll2 => (Naming::Cooked, sll2::PROTOCOL.start, sll2::LEN),
            Framing::Sll => (Naming::Cooked1, sll::PROTOCOL, sll::LEN),
            Framing::Null => (Naming::Family(LinkType::NULL), 0, FAMILY_LEN),
            Framing::Loop => (Naming::Family(LinkType::LOOP), 0, FAMILY_LEN),
            Framing::Ip4 => (Naming::Always(ether_type::IPV4), 0, 0),
            Framing::Ip6 => (Naming::Always(ether_type::IPV6), 0, 0),
            Framing::Payload => (Naming::Given, 0, 0),
            Framing::Unread => (Naming::Unread, 0, 0),
        };
        Self {
            naming,
            header: 0,
            type_at,
            payload,
            labels: 0,
            has_macs: framing == Framing::Ethernet,
            is_tag_off: false,
        }
    }

    /// Returns the offset of the network header.
    #[inline]
    pub fn network(&self) -> usize {
        self.payload + mpls::LEN * self.labels
    }

    /// Returns the value of the link layer's own type field.
    #[inline]
    pub fn type_field(&self, packet: &FramedPacket<'_>) -> Option<u16> {
        match self.naming {
            Naming::Ethernet | Naming::Ppp | Naming::Cooked | Naming::Cooked1 => {
                packet.bytes.u16(self.type_at)
            }
            Naming::Family(link) => {
                let protocol = protocol_of_family(link, packet.bytes.array(self.type_at)?);
                Some(protocol.map_or(ether_type::NONE, |protocol| protocol.0))
            }
            Naming::Always(kind) => Some(kind),
            Naming::Given => Some(packet.ether_type),
            Naming::Version => Some(match packet.bytes.u8(self.payload)? >> 4 {
                4 => ether_type::IPV4,
                6 => ether_type::IPV6,
                _ => ether_type::NONE,
            }),
            Naming::Unread => None,
        }
    }

    /// Returns the Ethernet type of the network header, from whatever source.
    #[inline]
    pub fn ether_type(&self, packet: &FramedPacket<'_>) -> Option<u16> {
        if self.naming == Naming::Ethernet && self.labels == 0 {
            return packet.bytes.u16(self.type_at);
        }
        self.other_type(packet)
    }

    fn other_type(&self, packet: &FramedPacket<'_>) -> Option<u16> {
        if self.labels > 0 {
            return self.labelled_type(packet);
        }
        let kind = self.type_field(packet)?;
        Some(match self.naming {
            Naming::Ppp => from_ppp(kind),
            _ => kind,
        })
    }

    /// Returns the Ethernet type after MPLS labels. After the bottom of the stack (RFC 3032, 2.1)
    /// only the version of IP tells it.
    fn labelled_type(&self, packet: &FramedPacket<'_>) -> Option<u16> {
        if self.naming == Naming::Unread {
            return None;
        }
        if !self.is_behind_bottom(packet)? {
            return Some(ether_type::NONE);
        }
        Some(match packet.bytes.u8(self.network())? >> 4 {
            4 => ether_type::IPV4,
            6 => ether_type::IPV6,
            _ => ether_type::NONE,
        })
    }

    /// Returns whether `kind` is the Ethernet type or the 802.2 service access point.
    pub fn is_ether_proto(&self, packet: &FramedPacket<'_>, kind: u16) -> Option<bool> {
        match self.naming {
            // An impossible type is false even if no byte was captured.
            naming
                if naming.is_of_ip_alone()
                    && !matches!(kind, ether_type::IPV4 | ether_type::IPV6) =>
            {
                Some(false)
            }
            _ if self.labels > 0 => Some(self.labelled_type(packet)? == kind),
            Naming::Ethernet | Naming::Cooked1 => self.is_ethernet_proto(packet, kind),
            Naming::Ppp => Some(self.type_field(packet)? == to_ppp(kind)),
            _ => Some(self.type_field(packet)? == kind),
        }
    }

    /// Tests a type or access point as pcap-filter(7) describes under "In the case of Ethernet".
    fn is_ethernet_proto(&self, packet: &FramedPacket<'_>, kind: u16) -> Option<bool> {
        /// Returns whether an 802.2 frame has a SNAP header of this organization and type.
        fn is_snap(
            layout: &HeaderLayout,
            packet: &FramedPacket<'_>,
            organization: u32,
            kind: u16,
        ) -> Option<bool> {
            let header: [u8; 8] = packet.bytes.array(layout.payload)?;
            let expected = (0xaa_aa03_u64 << 40) | u64::from(organization) << 16 | u64::from(kind);
            Some(u64::from_be_bytes(header) == expected)
        }
        let field = self.type_field(packet)?;
        // The cooked header's field has ETH_P_802_3 and ETH_P_802_2 of linux/if_ether.h.
        let is_cooked = self.naming == Naming::Cooked1;
        let is_llc = match field {
            field if is_cooked => field == 4,
            field => field <= MAX_LLC_LENGTH,
        };
        let point = |point: u16| Some(packet.bytes.u16(self.payload)? == point << 8 | point);
        match kind {
            // AppleTalk and its address resolution.
            0x809b if is_llc => is_snap(self, packet, 0x08_0007, kind),
            0x80f3 if is_llc => is_snap(self, packet, 0, kind),
            // IPX is known by its type, by its access point, by the absence of 802.2, or by SNAP.
            0x00e0 if field == 0x8137 || is_cooked && field == 1 => Some(true),
            0x00e0 if is_llc => either(
                either(
                    packet.bytes.u8(self.payload).map(|point| point == 0xe0),
                    packet
                        .bytes
                        .u16(self.payload)
                        .map(|word| word == 0xffff && !is_cooked),
                ),
                is_snap(self, packet, 0, 0x8137),
            ),
            // ISO, NetBEUI and IP have the same value in both access points.
            0x00fe | 0x00f0 | 0x0006 if is_llc => point(kind),
            0..=MAX_LLC_LENGTH if is_llc => Some(u16::from(packet.bytes.u8(self.payload)?) == kind),
            0..=MAX_LLC_LENGTH => Some(false),
            kind => Some(field == kind),
        }
    }

    /// Returns whether a VLAN tag is here, with this identifier.
    pub fn is_vlan(&self, packet: &FramedPacket<'_>, id: Option<u16>) -> Option<bool> {
        if self.is_tag_off {
            let tag = packet.tag_off;
            return Some(tag.is_some() && id.is_none_or(|id| tag == Some(id.into())));
        }
        if !self.takes_tags() {
            return (self.naming != Naming::Unread).then_some(false);
        }
        if !ether_type::VLAN_TAGS.contains(&self.type_field(packet)?) {
            return Some(false);
        }
        match id {
            None => Some(true),
            Some(id) => Some(packet.bytes.u16(self.payload)? & vlan::ID == id),
        }
    }

    /// Returns whether an MPLS label of this value is here. Behind a label, another one is here
    /// unless that was the bottom of the stack.
    pub fn is_mpls(&self, packet: &FramedPacket<'_>, label: Option<u32>) -> Option<bool> {
        let found = match self.naming {
            Naming::Unread => return None,
            Naming::Version
            | Naming::Cooked
            | Naming::Cooked1
            | Naming::Family(_)
            | Naming::Always(_) => false,
            _ if self.labels > 0 => !self.is_behind_bottom(packet)?,
            Naming::Ppp => self.type_field(packet)? == ppp::MPLS,
            Naming::Ethernet | Naming::Given => self.type_field(packet)? == ether_type::MPLS,
        };
        match label {
            Some(label) if found => {
                Some(packet.bytes.u32(self.network())? >> mpls::LABEL_SHIFT == label)
            }
            _ => Some(found),
        }
    }

    /// Returns whether a PPPoE session of this identifier is here (RFC 2516, 4).
    pub fn is_pppoes(&self, packet: &FramedPacket<'_>, session: Option<u16>) -> Option<bool> {
        let found = !self.naming.is_of_ip_alone()
            && self.labels == 0
            && self.type_field(packet)? == ether_type::PPPOE_SESSION;
        match session {
            Some(session) if found => {
                Some(packet.bytes.u16(self.payload + pppoe::SESSION)? == session)
            }
            _ => Some(found),
        }
    }

    /// Returns whether the MPLS label before the network header is the bottom of the stack.
    fn is_behind_bottom(&self, packet: &FramedPacket<'_>) -> Option<bool> {
        let last_label = self.network() - mpls::LEN;
        let flags = packet.bytes.u8(last_label + mpls::BOTTOM)?;
        Some(flags & mpls::BOTTOM_BIT != 0)
    }

    fn takes_tags(&self) -> bool {
        matches!(self.naming, Naming::Ethernet | Naming::Given) && self.labels == 0
    }

    fn behind_vlan(self) -> Self {
        match self.naming {
            _ if self.is_tag_off => Self {
                is_tag_off: false,
                ..self
            },
            Naming::Ethernet if self.takes_tags() => Self {
                type_at: self.type_at + vlan::LEN,
                payload: self.payload + vlan::LEN,
                ..self
            },
            // A tag stands in place of the announced header: control information, then a type.
            Naming::Given if self.takes_tags() => Self {
                naming: Naming::Ethernet,
                type_at: self.payload + vlan::INNER_TYPE,
                payload: self.payload + vlan::LEN,
                ..self
            },
            _ => self,
        }
    }

    fn behind_mpls(self) -> Self {
        match self.naming {
            Naming::Ethernet | Naming::Ppp | Naming::Given => Self {
                labels: self.labels + 1,
                ..self
            },
            _ => self,
        }
    }

    fn behind_pppoes(self) -> Self {
        if self.labels > 0 || self.naming == Naming::Unread {
            return self;
        }
        let session = self.network();
        let header = session + pppoe::PROTOCOL;
        Self {
            naming: Naming::Ppp,
            header,
            type_at: header,
            payload: session + pppoe::LEN,
            labels: 0,
            has_macs: false,
            ..self
        }
    }
}

/// PPP's protocol numbers (IANA; MPLS: RFC 3032, 4.2).
pub mod ppp {
    pub const IPV4: u16 = 0x0021;
    pub const IPV6: u16 = 0x0057;
    pub const MPLS: u16 = 0x0281;
}

/// PPP's protocol numbers for some Ethernet types and access points (IANA's PPP numbers).
const PPP_TYPES: [(u16, u16); 8] = [
    (ppp::IPV4, ether_type::IPV4),
    (ppp::IPV6, ether_type::IPV6),
    (0x0023, 0x00fe),
    (0x0025, 0x0600),
    (0x0027, 0x6003),
    (0x0029, 0x809b),
    (0x002b, 0x00e0),
    (0x0031, 0x0042),
];

fn to_ppp(kind: u16) -> u16 {
    let found = PPP_TYPES.iter().find(|&&(_, ether)| ether == kind);
    found.map_or(kind, |&(ppp, _)| ppp)
}

/// Converts PPP's protocol numbers of IPv4 and IPv6 to Ethernet types.
fn from_ppp(kind: u16) -> u16 {
    match kind {
        ppp::IPV4 => ether_type::IPV4,
        ppp::IPV6 => ether_type::IPV6,
        ether_type::IPV4 | ether_type::IPV6 => ether_type::NONE,
        kind => kind,
    }
}

/// Returns `one or other` for three truth values, of which `None` is unknown.
fn either(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// The header layouts for all framings at one position of the expression: of packets as they are, and of those that a
/// device took a VLAN tag off.
#[derive(Clone, Copy, Debug)]
pub struct FramingLayouts([[HeaderLayout; Framing::ALL.len()]; 2]);

impl FramingLayouts {
    /// Returns the layouts at the beginning of an expression.
    pub fn start() -> Self {
        Self([false, true].map(|is_tag_off| {
            Framing::ALL.map(|framing| HeaderLayout {
                is_tag_off,
                ..HeaderLayout::of(framing)
            })
        }))
    }

    #[inline]
    pub fn layout(&self, packet: &FramedPacket<'_>) -> &HeaderLayout {
        &self.0[usize::from(packet.tag_off.is_some())][packet.framing as usize]
    }

    pub fn behind_vlan(self) -> Self {
        self.map(HeaderLayout::behind_vlan)
    }

    pub fn behind_mpls(self) -> Self {
        self.map(HeaderLayout::behind_mpls)
    }

    pub fn behind_pppoes(self) -> Self {
        self.map(HeaderLayout::behind_pppoes)
    }

    fn map(self, behind: fn(HeaderLayout) -> HeaderLayout) -> Self {
        Self(self.0.map(|layouts| layouts.map(behind)))
    }
}
