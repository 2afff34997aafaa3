//! Converts a packet to another link type: raw IP, or Linux's cooked header.

use super::inference::ArpHardware;
use super::{ETHERNET_LEN, MIN_ETHERTYPE, SLL_LEN, SLL2_LEN, be16, ethernet, header_len, protocol};
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
            let header = ethernet(data)?;
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
            let kind = be16(data, 12)?;
            let (rest, original_len) = cut(ETHERNET_LEN)?;
            let protocol = match kind {
                MIN_ETHERTYPE.. => kind,
                // The registry's rule for LINKTYPE_LINUX_SLL: 1 for Novell's raw frames, else 4.
                _ if rest.starts_with(&[0xff, 0xff]) => EtherType::ETH_802_3.0,
                _ => EtherType::ETH_802_2.0,
            };
            let source = <[u8; 6]>::try_from(&data[6..12]).ok()?;
            let header = sll2_header(
                protocol,
                input,
                ArpHardware::ETHER,
                packet_type(data, direction),
                Some(source),
            );
            Some(Converted {
                header: Some(header),
                data: rest,
                original_len: original_len.saturating_add(20),
            })
        }
        (LinkType::LINUX_SLL2, LinkType::LINUX_SLL) => {
            let (header, _) = data.split_at_checked(SLL_LEN)?;
            let (rest, original_len) = cut(SLL_LEN)?;
            let mut sll2 = sll2_header(
                be16(header, 14)?,
                input,
                ArpHardware(be16(header, 2)?),
                packet_type(&[], direction),
                None,
            );
            // The other fields are the same in both headers: packet type, address length, address.
            sll2[10] = header[1];
            sll2[11] = header[5];
            sll2[12..20].copy_from_slice(&header[6..14]);
            Some(Converted {
                header: Some(sll2),
                data: rest,
                original_len: original_len.saturating_add(20),
            })
        }
        (LinkType::LINUX_SLL2, _) => {
            let protocol = protocol(link, data)?;
            let (data, original_len) = cut(header_len(link)?)?;
            let direction = packet_type(&[], direction);
            let header = sll2_header(protocol.0, input, ArpHardware::NONE, direction, None);
            Some(Converted {
                header: Some(header),
                data,
                original_len: original_len.saturating_add(20),
            })
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

fn packet_type(ethernet: &[u8], direction: Option<Direction>) -> PacketType {
    match ethernet.get(..6) {
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
    header[0..2].copy_from_slice(&protocol.to_be_bytes());
    header[4..8].copy_from_slice(&input.map_or(0, |input| input.key.index).to_be_bytes());
    header[8..10].copy_from_slice(&hardware.0.to_be_bytes());
    header[10] = packet_type as u8;
    if let Some(source) = source {
        header[11] = 6;
        header[12..18].copy_from_slice(&source);
    }
    header
}
