//! Converts a packet to another link type: raw IP, or Linux's cooked header.

use super::inference::ArpHardware;
use super::offset::{ethernet, sll, sll2};
use super::{MIN_ETHERTYPE, SLL2_LEN, be16, ethernet_payload, header_len, protocol};
use crate::record::{Direction, EtherType, Interface, LinkType};

/// A packet converted to another link type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted<'a> {
    /// The new header, which is written before [`data`](Self::data); `None` except for the cooked
    /// header.
    pub header: Option<[u8; SLL2_LEN]>,
    /// The record's bytes that follow the new header.
    pub data: &'a [u8],
    /// The original length after the conversion.
    pub original_len: u32,
}

impl<'a> Converted<'a> {
    /// Puts a cooked header before a packet without its link-layer header.
    fn cooked(header: [u8; SLL2_LEN], data: &'a [u8], len: u32) -> Self {
        let header_len = u32::try_from(SLL2_LEN).unwrap_or(u32::MAX);
        Self {
            header: Some(header),
            data,
            original_len: len.saturating_add(header_len),
        }
    }
}

/// Converts a packet to the link type `target`; `None` where `target` cannot represent it.
pub fn convert<'a>(
    target: LinkType,
    link: LinkType,
    data: &'a [u8],
    original_len: u32,
    input: Option<Interface<'_>>,
    direction: Option<Direction>,
) -> Option<Converted<'a>> {
    let cut = |len: usize| {
        let removed = u32::try_from(len).ok()?;
        Some((data.get(len..)?, original_len.saturating_sub(removed)))
    };
    if target == link {
        return Some(Converted {
            header: None,
            data,
            original_len,
        });
    }
    match (target, link) {
        (LinkType::RAW, LinkType::ETHERNET) => {
            let header = ethernet_payload(data)?;
            if !matches!(EtherType(header.inner), EtherType::IPV4 | EtherType::IPV6) {
                return None;
            }
            let (data, original_len) = cut(header.payload)?;
            Some(Converted {
                header: None,
                data,
                original_len,
            })
        }
        (LinkType::LINUX_SLL2, LinkType::ETHERNET) => {
            let kind = be16(data, ethernet::TYPE)?;
            let (rest, original_len) = cut(ethernet::LEN)?;
            let protocol = match kind {
                MIN_ETHERTYPE.. => kind,
                // The registry's rule for LINKTYPE_LINUX_SLL: 1 for Novell's raw frames, else 4.
                _ if rest.starts_with(&[0xff, 0xff]) => EtherType::ETH_802_3.0,
                _ => EtherType::ETH_802_2.0,
            };
            let source = <[u8; 6]>::try_from(&data[ethernet::SOURCE..ethernet::TYPE]).ok()?;
            let header = sll2_header(
                protocol,
                input,
                ArpHardware::ETHER,
                packet_type(data, direction),
                Some(source),
            );
            Some(Converted::cooked(header, rest, original_len))
        }
        (LinkType::LINUX_SLL2, LinkType::LINUX_SLL) => {
            let (header, _) = data.split_at_checked(sll::LEN)?;
            let (rest, original_len) = cut(sll::LEN)?;
            let mut cooked_header = sll2_header(
                be16(header, sll::PROTOCOL)?,
                input,
                ArpHardware(be16(header, sll::HARDWARE)?),
                packet_type(&[], direction),
                None,
            );
            // The other fields are the same in both headers: packet type, address length, address.
            cooked_header[sll2::PACKET_TYPE] = header[sll::PACKET_TYPE + 1];
            cooked_header[sll2::ADDRESS_LEN] = header[sll::ADDRESS_LEN + 1];
            cooked_header[sll2::ADDRESS].copy_from_slice(&header[sll::ADDRESS]);
            Some(Converted::cooked(cooked_header, rest, original_len))
        }
        (LinkType::LINUX_SLL2, _) => {
            let protocol = protocol(link, data)?;
            let (data, original_len) = cut(header_len(link)?)?;
            let direction = packet_type(&[], direction);
            let header = sll2_header(protocol.0, input, ArpHardware::NONE, direction, None);
            Some(Converted::cooked(header, data, original_len))
        }
        (LinkType::RAW, _) => {
            let is_ip = matches!(protocol(link, data)?, EtherType::IPV4 | EtherType::IPV6);
            let (data, original_len) = cut(header_len(link).filter(|_| is_ip)?)?;
            Some(Converted {
                header: None,
                data,
                original_len,
            })
        }
        _ => None,
    }
}

/// The cooked header's packet type (`PACKET_` of linux/if_packet.h).
#[derive(Clone, Copy)]
pub(super) enum PacketType {
    Host = 0,
    Broadcast = 1,
    Multicast = 2,
    Outgoing = 4,
}

fn packet_type(frame: &[u8], direction: Option<Direction>) -> PacketType {
    match frame.get(ethernet::DESTINATION..ethernet::SOURCE) {
        _ if direction == Some(Direction::Outbound) => PacketType::Outgoing,
        Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => PacketType::Broadcast,
        Some([first, ..]) if first & 1 == 1 => PacketType::Multicast,
        _ => PacketType::Host,
    }
}

/// Builds a cooked header, version 2: protocol, reserved, ifindex, hardware type, packet type,
/// address length, address, all big-endian (LINKTYPE_LINUX_SLL2 in tcpdump.org's registry).
fn sll2_header(
    protocol: u16,
    input: Option<Interface<'_>>,
    hardware: ArpHardware,
    packet_type: PacketType,
    source: Option<[u8; 6]>,
) -> [u8; SLL2_LEN] {
    let mut header = [0; SLL2_LEN];
    header[sll2::PROTOCOL].copy_from_slice(&protocol.to_be_bytes());
    header[sll2::IFINDEX].copy_from_slice(&input.map_or(0, |input| input.key.index).to_be_bytes());
    header[sll2::HARDWARE].copy_from_slice(&hardware.0.to_be_bytes());
    header[sll2::PACKET_TYPE] = packet_type as u8;
    if let Some(source) = source {
        header[sll2::ADDRESS_LEN] = 6;
        header[sll2::ADDRESS][..6].copy_from_slice(&source);
    }
    header
}
