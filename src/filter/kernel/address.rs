//! Compiles tests of addresses: IPv4, ARP and RARP, IPv6, Ethernet.

use super::code::{Goal, KIND, field_offset};
use super::link::PayloadLink;
use super::writer::PredicateWriter;
use crate::bpf::{Condition, Op, Size};
use crate::filter::ast::{DirQualifier, Net, Scope};
use crate::filter::layout::ether_type;
use crate::packet::offset::{arp, ethernet, ipv4, ipv6};

impl PredicateWriter<'_> {
    pub fn address4(
        &mut self,
        scope: Scope,
        direction: DirQualifier,
        address: u32,
        mask: u32,
        goal: Goal,
    ) {
        let kinds: &[u16] = match scope {
            Scope::Any => &[ether_type::IPV4, ether_type::ARP, ether_type::RARP],
            Scope::Ip => &[ether_type::IPV4],
            Scope::Arp => &[ether_type::ARP],
            Scope::Rarp => &[ether_type::RARP],
        };
        self.kinds(kinds, goal);
        if mask == 0 {
            self.code.jump(goal.yes());
        } else {
            self.addresses4(direction, address, mask, goal);
        }
    }

    /// Writes the test of the addresses of IPv4, ARP or RARP, whichever the packet has.
    fn addresses4(&mut self, direction: DirQualifier, address: u32, mask: u32, goal: Goal) {
        // Without a link layer there is nothing but IP.
        if self.framing == PayloadLink::Ethernet {
            let ip = self.code.label();
            self.code.op(Op::Recall(KIND));
            self.code.except(ether_type::IPV4.into(), ip);
            self.words4(direction, (arp::SENDER, arp::TARGET), address, mask, goal);
            self.code.bind(ip);
        }
        let places = (ipv4::SOURCE, ipv4::DESTINATION);
        self.words4(direction, places, address, mask, goal);
    }

    fn words4(
        &mut self,
        direction: DirQualifier,
        (source, destination): (usize, usize),
        address: u32,
        mask: u32,
        goal: Goal,
    ) {
        let is = |writer: &mut Self, at: usize, goal: Goal| {
            writer.fetch_network(Size::Word, at, goal);
            writer.code.mask(mask, u32::MAX);
            writer.ask(Condition::Equal, address, goal);
        };
        self.judge(
            direction,
            goal,
            |writer, goal| is(writer, source, goal),
            |writer, goal| is(writer, destination, goal),
        );
    }

    pub fn address6(&mut self, direction: DirQualifier, address: u128, mask: u128, goal: Goal) {
        let is = |writer: &mut Self, at: usize, goal: Goal| {
            for word in 0..4 {
                let shift = 96 - 32 * word;
                #[expect(clippy::cast_possible_truncation, reason = "one word of four")]
                let (address, mask) = ((address >> shift) as u32, (mask >> shift) as u32);
                if mask != 0 {
                    writer.fetch_network(Size::Word, at + 4 * word, goal);
                    writer.code.mask(mask, u32::MAX);
                    writer.code.require(address, goal.no());
                }
            }
            writer.code.jump(goal.yes());
        };
        self.judge(
            direction,
            goal,
            |writer, goal| is(writer, ipv6::SOURCE, goal),
            |writer, goal| is(writer, ipv6::DESTINATION, goal),
        );
    }

    /// Continues if the network header is one of `kinds`. A VLAN tag is a hit, because user space
    /// looks after it.
    pub fn untagged_kinds(&mut self, kinds: &[u16], goal: Goal) {
        if self.framing == PayloadLink::Ethernet {
            self.code.op(Op::Recall(KIND));
            for tag in ether_type::VLAN_TAGS {
                self.code.except(tag.into(), goal.hit);
            }
        }
        self.kinds(kinds, goal);
    }

    pub fn transport_address(&mut self, direction: DirQualifier, net: Net, goal: Goal) {
        match net {
            Net::V4 { address, mask } => {
                let kinds = [ether_type::IPV4, ether_type::ARP, ether_type::RARP];
                self.untagged_kinds(&kinds, goal);
                self.addresses4(direction, address, mask, goal);
            }
            Net::V6 { address, mask } => {
                self.untagged_kinds(&[ether_type::IPV6], goal);
                self.address6(direction, address, mask, goal);
            }
        }
    }

    pub fn mac(&mut self, direction: DirQualifier, mac: [u8; 6], goal: Goal) {
        if self.framing == PayloadLink::Raw {
            return self.code.jump(goal.no());
        }
        let [head @ .., fifth, sixth] = mac;
        let head = u32::from_be_bytes(head);
        let tail = u16::from_be_bytes([fifth, sixth]);
        // The last bytes first: if they were captured, so were those before them.
        let is = |writer: &mut Self, at: usize, goal: Goal| {
            let at = field_offset(at);
            writer.code.fetch(Size::Half, at + 4, goal.miss);
            writer.code.require(tail.into(), goal.no());
            writer.code.fetch_again(Size::Word, at);
            writer.ask(Condition::Equal, head, goal);
        };
        self.judge(
            direction,
            goal,
            |writer, goal| is(writer, ethernet::SOURCE, goal),
            |writer, goal| is(writer, ethernet::DESTINATION, goal),
        );
    }
}
