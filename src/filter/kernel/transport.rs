//! Compiles tests of transport headers and their ports.

use super::code::{Goal, TRANSPORT, field_offset};
use super::writer::PredicateWriter;
use crate::bpf::{Arithmetic, Condition, Op, Size};
use crate::filter::ast::{DirQualifier, PortRange, PortScope, Side};
use crate::filter::layout::ether_type;
use crate::packet::offset::{ipv4, ipv6, udp};

/// The IP protocols with ports: TCP, UDP, SCTP.
const TRANSPORTS: [u8; 3] = [6, 17, 132];
/// The authentication header, which another header follows (RFC 4302).
const AUTHENTICATION: u32 = 51;
/// The extension headers of IPv6: hop-by-hop, routing, fragment, authentication, destination
/// options.
const EXTENSIONS: [u32; 5] = [0, 43, 44, AUTHENTICATION, 60];

impl PredicateWriter<'_> {
    pub fn port(
        &mut self,
        scope: PortScope,
        direction: DirQualifier,
        ranges: &[PortRange],
        goal: Goal,
    ) {
        let (ip6, found) = (self.code.label(), self.code.label());
        self.kinds(&[ether_type::IPV4, ether_type::IPV6], goal);
        self.code.except(ether_type::IPV6.into(), ip6);
        self.fetch_network(Size::Byte, ipv4::PROTOCOL, goal);
        self.require_covered(scope, goal);
        self.find_transport(goal);
        self.code.jump(found);
        self.code.bind(ip6);
        self.fetch_network(Size::Byte, ipv6::NEXT_HEADER, goal);
        self.require_covered(scope, goal);
        self.store_behind_ip6();
        self.code.bind(found);
        self.judge(
            direction,
            goal,
            |writer, goal| writer.is_port(udp::SOURCE, ranges, goal),
            |writer, goal| writer.is_port(udp::DESTINATION, ranges, goal),
        );
    }

    /// Continues if the scope covers the protocol in A.
    fn require_covered(&mut self, scope: PortScope, goal: Goal) {
        let next = self.code.label();
        for number in TRANSPORTS.into_iter().filter(|&one| scope.covers(one)) {
            self.code.except(number.into(), next);
        }
        self.code.jump(goal.no());
        self.code.bind(next);
    }

    /// Stores the offset of IPv4's transport header; the protocol was captured. A later fragment
    /// has no transport header.
    pub fn find_transport(&mut self, goal: Goal) {
        let next = self.code.label();
        self.fetch_network(Size::Half, ipv4::FRAGMENT, goal);
        let offset = ipv4::FRAGMENT_OFFSET.into();
        self.code.branch(Condition::AnyBit, offset, goal.no(), next);
        self.code.bind(next);
        let network = self.framing.network();
        self.code.fetch_again(Size::Byte, network);
        self.code.calculate(Arithmetic::And, 0x0f);
        self.code.calculate(Arithmetic::ShiftLeft, 2);
        self.code.calculate(Arithmetic::Add, network);
        self.code.op(Op::Store(TRANSPORT));
    }

    pub fn store_behind_ip6(&mut self) {
        let len = field_offset(ipv6::LEN);
        self.code.store(TRANSPORT, self.framing.network() + len);
    }

    /// Hits if the IPv4 header claims to be shorter than its fixed part, so that user space
    /// decides.
    fn hit_impossible_length(&mut self, goal: Goal) {
        let next = self.code.label();
        self.code.fetch_again(Size::Byte, self.framing.network());
        self.code.calculate(Arithmetic::And, 0x0f);
        self.code
            .branch(Condition::GreaterOrEqual, 5, next, goal.hit);
        self.code.bind(next);
    }

    /// Tests whether a port is in any of the ranges.
    fn is_port(&mut self, at: usize, ranges: &[PortRange], goal: Goal) {
        self.code
            .fetch_transport(Size::Half, field_offset(at), goal.miss);
        for range in ranges {
            let (first, last) = (range.first.into(), range.last.into());
            if first == last {
                self.code.except(first, goal.yes());
                continue;
            }
            let (reached, next) = (self.code.label(), self.code.label());
            self.code
                .branch(Condition::GreaterOrEqual, first, reached, next);
            self.code.bind(reached);
            self.code.branch(Condition::Greater, last, next, goal.yes());
            self.code.bind(next);
        }
        self.code.jump(goal.no());
    }

    /// Tests a port directly after IP. Hits after extension headers, so that user space decides.
    pub fn transport_port(&mut self, side: Side, range: PortRange, goal: Goal) {
        let (ip6, found) = (self.code.label(), self.code.label());
        self.untagged_kinds(&[ether_type::IPV4, ether_type::IPV6], goal);
        self.code.except(ether_type::IPV6.into(), ip6);
        self.find_transport(goal);
        self.hit_impossible_length(goal);
        self.fetch_network(Size::Byte, ipv4::PROTOCOL, goal);
        self.code.except(AUTHENTICATION, goal.hit);
        self.require_covered(PortScope::Any, goal);
        self.code.jump(found);
        self.code.bind(ip6);
        self.fetch_network(Size::Byte, ipv6::NEXT_HEADER, goal);
        for extension in EXTENSIONS {
            self.code.except(extension, goal.hit);
        }
        self.require_covered(PortScope::Any, goal);
        self.store_behind_ip6();
        self.code.bind(found);
        let at = match side {
            Side::Source => udp::SOURCE,
            Side::Destination => udp::DESTINATION,
        };
        self.is_port(at, &[range], goal);
    }
}
