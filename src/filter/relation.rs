//! Evaluates arithmetic over lengths and bytes, and finds the headers from which the bytes are
//! counted.

use super::ast::{Arith, LoadBase, Width};
use super::layout::ether_type;
use super::packet::Lookup::{self, Absent, Found};
use super::view::{Class, PacketView};
use crate::packet::ip::number;
use crate::packet::offset::{ipv4, ipv6};

/// Returns the value of arithmetic that depends on no packet; `None` for any other.
pub fn constant(arith: &Arith) -> Option<u32> {
    match arith {
        Arith::Number(number) => Some(*number),
        Arith::Length | Arith::Load { .. } => None,
        Arith::Negated(arith) => constant(arith).map(u32::wrapping_neg),
        Arith::Operation { first, rest } => rest
            .iter()
            .try_fold(constant(first)?, |left, (operator, right)| {
                operator.apply(left, constant(right)?)
            }),
    }
}

pub fn find_guards(arith: &Arith, guards: &mut Vec<LoadBase>) {
    match arith {
        Arith::Number(_) | Arith::Length => {}
        Arith::Load { header, offset, .. } => {
            find_guards(offset, guards);
            if !guards.contains(header) {
                guards.push(*header);
            }
        }
        Arith::Negated(arith) => find_guards(arith, guards),
        Arith::Operation { first, rest } => {
            find_guards(first, guards);
            for (_, arith) in rest {
                find_guards(arith, guards);
            }
        }
    }
}

pub fn evaluate(arith: &Arith, view: &PacketView<'_>) -> Option<u32> {
    match arith {
        Arith::Number(number) => Some(*number),
        Arith::Length => Some(view.packet.len),
        Arith::Load {
            header,
            offset,
            width,
        } => {
            let offset = usize::try_from(evaluate(offset, view)?).ok()?;
            match base(view, *header)? {
                Found(base) => load(view, base.checked_add(offset)?, *width),
                // Not reached: the guards are checked first.
                Absent => None,
            }
        }
        Arith::Negated(arith) => evaluate(arith, view).map(u32::wrapping_neg),
        Arith::Operation { first, rest } => {
            let mut value = evaluate(first, view)?;
            for (operator, right) in rest {
                value = operator.apply(value, evaluate(right, view)?)?;
            }
            Some(value)
        }
    }
}

#[inline]
pub fn load(view: &PacketView<'_>, at: usize, width: Width) -> Option<u32> {
    match width {
        Width::One => view.packet.bytes.u8(at).map(u32::from),
        Width::Two => view.packet.bytes.u16(at).map(u32::from),
        Width::Four => view.packet.bytes.u32(at),
    }
}

/// Returns the offset of a header.
#[inline]
pub fn base(view: &PacketView<'_>, header: LoadBase) -> Option<Lookup<usize>> {
    let network = view.layout.network();
    let kind = match header {
        LoadBase::Link => return Some(Found(view.layout.header)),
        LoadBase::Ip | LoadBase::Transport(_) => ether_type::IPV4,
        LoadBase::Ip6 | LoadBase::Icmp6 => ether_type::IPV6,
        LoadBase::Arp | LoadBase::Rarp if view.layout.naming.is_of_ip_alone() => {
            return Some(Absent);
        }
        LoadBase::Arp => ether_type::ARP,
        LoadBase::Rarp => ether_type::RARP,
    };
    if view.kind? != kind {
        return Some(Absent);
    }
    match header {
        LoadBase::Transport(number) => {
            if view.packet.bytes.u8(network + ipv4::PROTOCOL)? != number {
                return Some(Absent);
            }
            first_fragment(view, network)
        }
        LoadBase::Icmp6 => {
            let is_icmp6 = view.packet.bytes.u8(network + ipv6::NEXT_HEADER)? == number::ICMPV6;
            Some(if is_icmp6 {
                Found(network + ipv6::LEN)
            } else {
                Absent
            })
        }
        _ => Some(Found(network)),
    }
}

/// Returns the offset of the transport header of an IPv4 packet; absent in a later fragment.
#[inline]
pub fn first_fragment(view: &PacketView<'_>, network: usize) -> Option<Lookup<usize>> {
    if view.packet.bytes.u16(network + ipv4::FRAGMENT)? & ipv4::FRAGMENT_OFFSET != 0 {
        return Some(Absent);
    }
    let words = usize::from(view.packet.bytes.u8(network)? & 0x0f);
    Some(Found(network + 4 * words))
}

/// Returns whether a packet of this class can have the header.
pub fn has_header(class: Class, header: LoadBase) -> bool {
    match header {
        LoadBase::Link => true,
        LoadBase::Ip | LoadBase::Transport(_) => class == Class::Ip4,
        LoadBase::Ip6 | LoadBase::Icmp6 => class == Class::Ip6,
        LoadBase::Arp => class == Class::Arp,
        LoadBase::Rarp => class == Class::Rarp,
    }
}
