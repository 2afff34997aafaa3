//! Compiles tests of addresses: IPv4, ARP and RARP, IPv6, Ethernet.

use super::code::{Goal, KIND};
use super::message::Framing;
use super::test::Tests;
use crate::bpf::{Condition, Op, Size};
use crate::filter::ast::{Direction, Net, Scope};
use crate::filter::layout::ether_type;
use crate::filter::offset::{arp, ipv4, ipv6};

impl Tests<'_> {
    pub fn address4(
        &mut self,
        scope: Scope,
        direction: Direction,
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

    /// The addresses of IPv4, ARP or RARP, whichever it is.
    fn addresses4(&mut self, direction: Direction, address: u32, mask: u32, goal: Goal) {
        // Without a link layer there is IP alone.
        if self.framing == Framing::Ethernet {
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
        direction: Direction,
        (source, destination): (usize, usize),
        address: u32,
        mask: u32,
        goal: Goal,
    ) {
        let is = |tests: &mut Self, at: usize, goal: Goal| {
            tests.fetch_network(Size::Word, at, goal);
            tests.code.mask(mask, u32::MAX);
            tests.ask(Condition::Equal, address, goal);
        };
        self.judge(
            direction,
            goal,
            |tests, goal| is(tests, source, goal),
            |tests, goal| is(tests, destination, goal),
        );
    }

    pub fn address6(&mut self, direction: Direction, address: u128, mask: u128, goal: Goal) {
        let is = |tests: &mut Self, at: usize, goal: Goal| {
            for word in 0..4 {
                let shift = 96 - 32 * word;
                #[expect(clippy::cast_possible_truncation, reason = "one word of four")]
                let (address, mask) = ((address >> shift) as u32, (mask >> shift) as u32);
                if mask != 0 {
                    tests.fetch_network(Size::Word, at + 4 * word, goal);
                    tests.code.mask(mask, u32::MAX);
                    tests.code.require(address, goal.no());
                }
            }
            tests.code.jump(goal.yes());
        };
        self.judge(
            direction,
            goal,
            |tests, goal| is(tests, ipv6::SOURCE, goal),
            |tests, goal| is(tests, ipv6::DESTINATION, goal),
        );
    }

    /// Where the kind of network header is not behind VLAN tags. Of one that is, all is possible.
    pub fn far_kinds(&mut self, kinds: &[u16], goal: Goal) {
        if self.framing == Framing::Ethernet {
            self.code.op(Op::Recall(KIND));
            for tag in ether_type::VLAN_TAGS {
                self.code.except(tag.into(), goal.hit);
            }
        }
        self.kinds(kinds, goal);
    }

    pub fn far_address(&mut self, direction: Direction, net: Net, goal: Goal) {
        match net {
            Net::V4 { address, mask } => {
                let kinds = [ether_type::IPV4, ether_type::ARP, ether_type::RARP];
                self.far_kinds(&kinds, goal);
                self.addresses4(direction, address, mask, goal);
            }
            Net::V6 { address, mask } => {
                self.far_kinds(&[ether_type::IPV6], goal);
                self.address6(direction, address, mask, goal);
            }
        }
    }

    pub fn mac(&mut self, direction: Direction, mac: [u8; 6], goal: Goal) {
        if self.framing == Framing::Raw {
            return self.code.jump(goal.no());
        }
        let [head @ .., fifth, sixth] = mac;
        let head = u32::from_be_bytes(head);
        let tail = u16::from_be_bytes([fifth, sixth]);
        // The end first: where it was captured, so was the rest.
        let is = |tests: &mut Self, at: u32, goal: Goal| {
            tests.code.fetch(Size::Half, at + 4, goal.miss);
            tests.code.require(tail.into(), goal.no());
            tests.code.op(Op::LoadBehindX(Size::Word, at));
            tests.ask(Condition::Equal, head, goal);
        };
        self.judge(
            direction,
            goal,
            |tests, goal| is(tests, 6, goal),
            |tests, goal| is(tests, 0, goal),
        );
    }
}
