//! Compiles predicates on the packet. Each load is made only if its bytes were captured, and in the
//! same order as in [`filter::predicate`](super::super::predicate), so that the same answers are
//! certain.

use super::code::{Code, Compiled, Goal, KIND, UNKNOWN_KIND, field_offset};
use super::link::PayloadLink;
use super::{DropForm, report_word, word};
use crate::bpf::{Arithmetic, Condition, Op, Size};
use crate::filter::ast::{
    Arith, Comparison, DirQualifier, DropWord, Family, LoadBase, Net, Primitive, Width,
};
use crate::filter::layout::{MAX_LLC_LENGTH, ether_type};
use crate::filter::predicate::Predicate;
use crate::packet::ip::number;
use crate::packet::offset::{ethernet, ipv4, ipv6, vlan};

/// The part of a drop that a predicate inspects, from the cheapest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inspected {
    /// The facts of the drop.
    Drop,
    /// The packet's length.
    Length,
    /// The packet from its first byte or its outermost header on.
    Packet,
    /// The packet from the header to which `vlan`, `mpls` or `pppoes` has moved.
    Header,
}

impl Inspected {
    pub fn of(predicate: &Predicate) -> Self {
        match predicate {
            Predicate::Relation { guards, .. } if guards.is_empty() => Self::Length,
            Predicate::Other(primitive) => match **primitive {
                Primitive::Drop(_) | Primitive::Direction(_) => Self::Drop,
                Primitive::TransportAddress(..)
                | Primitive::TransportPort(..)
                | Primitive::Flow(_)
                | Primitive::OneWay(_) => Self::Packet,
                _ => Self::Header,
            },
            _ => Self::Header,
        }
    }
}

/// Writes predicates for packets of one link type.
pub struct PredicateWriter<'c> {
    pub code: &'c mut Code,
    pub framing: PayloadLink,
    pub form: DropForm<'c>,
}

impl PredicateWriter<'_> {
    /// Writes a predicate that leads to its goal.
    pub fn write(&mut self, predicate: &Predicate, goal: Goal) -> Compiled {
        match predicate {
            &Predicate::EtherProto(kind) => self.ether_proto(kind, goal),
            &Predicate::IpProto(family, number) => {
                self.ip_proto(family, number, goal);
                Some(())
            }
            &Predicate::Address4(scope, direction, address, mask) => {
                self.address4(scope, direction, address, mask, goal);
                Some(())
            }
            Predicate::Port(scope, direction, range, more) => {
                let ranges = [std::slice::from_ref(range), more].concat();
                self.port(*scope, *direction, &ranges, goal);
                Some(())
            }
            &Predicate::Field {
                header,
                offset,
                width,
                mask,
                comparison,
                value,
            } => {
                let at = u32::try_from(offset).ok().filter(|at| *at <= MAX_OFFSET)?;
                let size = Size::from(width);
                self.field(header, at, size, goal);
                self.code.mask(mask, size.all());
                self.compare(comparison, value, goal);
                Some(())
            }
            Predicate::Relation { relation, .. } => match (&relation.left, &relation.right) {
                (Arith::Length, &Arith::Number(number)) => {
                    self.code.op(Op::Recall(super::code::LENGTH));
                    self.compare(relation.comparison, number, goal);
                    Some(())
                }
                _ => None,
            },
            Predicate::Other(primitive) => self.other(primitive, goal),
        }
    }

    fn other(&mut self, primitive: &Primitive, goal: Goal) -> Compiled {
        match primitive {
            Primitive::Drop(word) => return self.drop_word(word, goal),
            &Primitive::Address(_, direction, Net::V6 { address, mask }) => {
                self.kinds(&[ether_type::IPV6], goal);
                self.address6(direction, address, mask, goal);
            }
            &Primitive::TransportAddress(direction, net) => {
                self.transport_address(direction, net, goal);
            }
            &Primitive::TransportPort(side, range) => self.transport_port(side, range, goal),
            &Primitive::Mac(direction, mac) => self.mac(direction, mac, goal),
            Primitive::Broadcast => self.mac(DirQualifier::Destination, [0xff; 6], goal),
            Primitive::Multicast => {
                if self.framing == PayloadLink::Ethernet {
                    self.code
                        .fetch(Size::Byte, field_offset(ethernet::DESTINATION), goal.miss);
                    self.ask(Condition::AnyBit, 1, goal);
                } else {
                    self.code.jump(goal.no());
                }
            }
            Primitive::IpBroadcast => {
                self.kinds(&[ether_type::IPV4], goal);
                self.fetch_network(Size::Word, ipv4::DESTINATION, goal);
                self.code.except(0, goal.yes());
                self.ask(Condition::Equal, u32::MAX, goal);
            }
            Primitive::IpMulticast => {
                self.kinds(&[ether_type::IPV4], goal);
                self.fetch_network(Size::Byte, ipv4::DESTINATION, goal);
                self.ask(Condition::GreaterOrEqual, 224, goal);
            }
            Primitive::Ip6Multicast => {
                self.kinds(&[ether_type::IPV6], goal);
                self.fetch_network(Size::Byte, ipv6::DESTINATION, goal);
                self.ask(Condition::Equal, 0xff, goal);
            }
            &Primitive::Vlan(id) => self.vlan(id, goal),
            _ => return None,
        }
        Some(())
    }

    fn drop_word(&mut self, word: &DropWord, goal: Goal) -> Compiled {
        match self.form {
            DropForm::Message { .. } => word::write(self.code, word, goal),
            DropForm::Report { reasons } => report_word::write(self.code, word, reasons, goal),
        }
    }

    /// Branches to the goal on a comparison of A with a number.
    pub fn ask(&mut self, condition: Condition, number: u32, goal: Goal) {
        self.code.branch(condition, number, goal.yes(), goal.no());
    }

    fn compare(&mut self, comparison: Comparison, value: u32, goal: Goal) {
        let opposite = Goal {
            wanted: !goal.wanted,
            ..goal
        };
        match comparison {
            Comparison::Equal => self.ask(Condition::Equal, value, goal),
            Comparison::NotEqual => self.ask(Condition::Equal, value, opposite),
            Comparison::Greater => self.ask(Condition::Greater, value, goal),
            Comparison::LessOrEqual => self.ask(Condition::Greater, value, opposite),
            Comparison::GreaterOrEqual => self.ask(Condition::GreaterOrEqual, value, goal),
            Comparison::Less => self.ask(Condition::GreaterOrEqual, value, opposite),
        }
    }

    /// Combines the tests of the two sides of a packet, as [`DirQualifier::judge`] does. One side
    /// is enough for a hit if either side may match, or if both must not.
    pub fn judge(
        &mut self,
        direction: DirQualifier,
        goal: Goal,
        source: impl FnOnce(&mut Self, Goal),
        destination: impl FnOnce(&mut Self, Goal),
    ) {
        match direction {
            DirQualifier::Source => source(self, goal),
            DirQualifier::Destination => destination(self, goal),
            DirQualifier::Either | DirQualifier::Both => {
                let next = self.code.label();
                let is_enough = (direction == DirQualifier::Either) == goal.wanted;
                let first = if is_enough {
                    Goal { miss: next, ..goal }
                } else {
                    Goal { hit: next, ..goal }
                };
                source(self, first);
                self.code.bind(next);
                destination(self, goal);
            }
        }
    }

    /// Continues if the network header is one of these kinds; any other kind answers no.
    pub fn kinds(&mut self, kinds: &[u16], goal: Goal) {
        let next = self.code.label();
        self.code.op(Op::Recall(KIND));
        for &kind in kinds {
            self.code.except(kind.into(), next);
        }
        self.code.except(UNKNOWN_KIND, goal.miss);
        self.code.jump(goal.no());
        self.code.bind(next);
    }

    pub fn fetch_network(&mut self, size: Size, at: usize, goal: Goal) {
        let at = self.framing.network() + field_offset(at);
        self.code.fetch(size, at, goal.miss);
    }

    fn ether_proto(&mut self, kind: u16, goal: Goal) -> Compiled {
        let is_ip = matches!(kind, ether_type::IPV4 | ether_type::IPV6);
        if self.framing == PayloadLink::Raw && !is_ip {
            self.code.jump(goal.no());
            return Some(());
        }
        // 802.2 has access points or SNAP headers for these types.
        if kind <= MAX_LLC_LENGTH || matches!(kind, 0x809b | 0x80f3) {
            return None;
        }
        self.kinds(&[kind], goal);
        self.code.jump(goal.yes());
        Some(())
    }

    fn ip_proto(&mut self, family: Family, number: u8, goal: Goal) {
        let (ip4, ip6) = (self.code.label(), self.code.label());
        self.code.op(Op::Recall(KIND));
        if family != Family::Ip6 {
            self.code.except(ether_type::IPV4.into(), ip4);
        }
        if family != Family::Ip {
            self.code.except(ether_type::IPV6.into(), ip6);
        }
        self.code.except(UNKNOWN_KIND, goal.miss);
        self.code.jump(goal.no());
        if family != Family::Ip6 {
            self.code.bind(ip4);
            self.fetch_network(Size::Byte, ipv4::PROTOCOL, goal);
            self.ask(Condition::Equal, number.into(), goal);
        }
        if family != Family::Ip {
            self.code.bind(ip6);
            self.fetch_network(Size::Byte, ipv6::NEXT_HEADER, goal);
            self.code.except(number.into(), goal.yes());
            self.code.require(ipv6::FRAGMENT.into(), goal.no());
            self.fetch_network(Size::Byte, ipv6::LEN, goal);
            self.ask(Condition::Equal, number.into(), goal);
        }
    }

    /// Loads a header's field into A, if the packet has that header.
    fn field(&mut self, header: LoadBase, at: u32, size: Size, goal: Goal) {
        let kind = match header {
            LoadBase::Link => return self.code.fetch(size, at, goal.miss),
            LoadBase::Ip | LoadBase::Transport(_) => ether_type::IPV4,
            LoadBase::Ip6 | LoadBase::Icmp6 => ether_type::IPV6,
            LoadBase::Arp | LoadBase::Rarp if self.framing == PayloadLink::Raw => {
                return self.code.jump(goal.no());
            }
            LoadBase::Arp => ether_type::ARP,
            LoadBase::Rarp => ether_type::RARP,
        };
        self.kinds(&[kind], goal);
        match header {
            LoadBase::Transport(number) => {
                self.fetch_network(Size::Byte, ipv4::PROTOCOL, goal);
                self.code.require(number.into(), goal.no());
                self.find_transport(goal);
                self.code.fetch_transport(size, at, goal.miss);
            }
            LoadBase::Icmp6 => {
                self.fetch_network(Size::Byte, ipv6::NEXT_HEADER, goal);
                self.code.require(number::ICMPV6.into(), goal.no());
                self.store_behind_ip6();
                self.code.fetch_transport(size, at, goal.miss);
            }
            _ => self
                .code
                .fetch(size, self.framing.network() + at, goal.miss),
        }
    }

    fn vlan(&mut self, id: Option<u16>, goal: Goal) {
        if matches!(self.form, DropForm::Report { .. }) {
            report_word::vlan(self.code, id, goal);
        }
        if self.framing == PayloadLink::Raw {
            return self.code.jump(goal.no());
        }
        self.kinds(&ether_type::VLAN_TAGS, goal);
        let Some(id) = id else {
            return self.code.jump(goal.yes());
        };
        self.fetch_network(Size::Half, vlan::CONTROL, goal);
        self.code.calculate(Arithmetic::And, vlan::ID.into());
        self.ask(Condition::Equal, id.into(), goal);
    }
}

/// An offset after the end of every payload.
pub const MAX_OFFSET: u32 = 0xffff;
impl From<Width> for Size {
    fn from(width: Width) -> Self {
        match width {
            Width::One => Self::Byte,
            Width::Two => Self::Half,
            Width::Four => Self::Word,
        }
    }
}

impl Size {
    /// Returns the largest number of this size.
    fn all(self) -> u32 {
        match self {
            Self::Byte => 0xff,
            Self::Half => 0xffff,
            Self::Word => u32::MAX,
        }
    }
}
