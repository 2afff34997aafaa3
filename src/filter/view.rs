//! A packet with the offsets that apply at one position of the expression, and the class of its
//! network header.

use super::ast::Family;
use super::layout::{HeaderLayout, ether_type};
use super::packet::FramedPacket;

/// A packet with the offsets that apply at one position of the expression.
#[derive(Clone, Copy)]
pub struct PacketView<'a> {
    pub packet: &'a FramedPacket<'a>,
    pub layout: &'a HeaderLayout,
    /// The Ethernet type of the network header.
    pub kind: Option<u16>,
}

/// The class of network header; most predicates apply to one or two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Ip4,
    Ip6,
    Arp,
    Rarp,
    Other,
    /// The type was not captured, or no header states it.
    Unknown,
}

impl Class {
    pub const ALL: [Self; 6] = [
        Self::Ip4,
        Self::Ip6,
        Self::Arp,
        Self::Rarp,
        Self::Other,
        Self::Unknown,
    ];

    #[inline]
    pub fn of(kind: Option<u16>) -> Self {
        match kind {
            Some(ether_type::IPV4) => Self::Ip4,
            Some(ether_type::IPV6) => Self::Ip6,
            Some(ether_type::ARP) => Self::Arp,
            Some(ether_type::RARP) => Self::Rarp,
            Some(_) => Self::Other,
            None => Self::Unknown,
        }
    }

    pub fn is_of(self, family: Family) -> bool {
        match self {
            Self::Ip4 => family != Family::Ip6,
            Self::Ip6 => family != Family::Ip,
            _ => false,
        }
    }
}
