//! A plain interpreter of filters, the second opinion on compiled ones: it walks the tree of an expression with three
//! truth values, evaluates every part for every packet, and looks for each header anew. It shares with the compiled
//! filter the tree, the packets inside tunnels (`inner`) and the words for facts of the drop; nothing that is
//! prepared, merged, skipped or classified.

mod link;
mod transport;

use super::Filter;
use super::ast::{
    Arith, Connective, DirQualifier, Expr, Family, LoadBase, Net, Primitive, Relation, Scope, Side,
    TwoWayFlow,
};
use super::packet::{FramedPacket, Lookup};
use super::{drop_predicate, fact, inner};
use crate::record::DropRecord;
use link::LinkLayer;

/// True, false, or `None`: unknown.
type PlainTruth = Option<bool>;

/// A value, or the truth of a test that has no such value: false where the packet has not what it asks for, unknown
/// where the bytes are missing.
type Sought<T> = Result<T, PlainTruth>;

const NO: PlainTruth = Some(false);

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;

fn not(one: PlainTruth) -> PlainTruth {
    one.map(|one| !one)
}

fn and(one: PlainTruth, other: PlainTruth) -> PlainTruth {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(one: PlainTruth, other: PlainTruth) -> PlainTruth {
    not(and(not(one), not(other)))
}

/// Returns the truth of a test.
fn truth(sought: Sought<bool>) -> PlainTruth {
    sought.map_or_else(|truth| truth, Some)
}

/// Combines the tests of both sides of a packet.
fn judge(direction: DirQualifier, source: Sought<bool>, destination: Sought<bool>) -> Sought<bool> {
    let (source, destination) = (truth(source), truth(destination));
    let judged = match direction {
        DirQualifier::Source => source,
        DirQualifier::Destination => destination,
        DirQualifier::Either => or(source, destination),
        DirQualifier::Both => and(source, destination),
    };
    judged.ok_or(None)
}

impl Filter {
    /// Returns what [`matches`](Self::matches) has to return.
    pub(crate) fn matches_plainly(&self, record: &DropRecord<'_>) -> bool {
        let Some(expr) = &self.expr else { return true };
        PlainWalk::new(FramedPacket::new(record)).evaluate(expr) == Some(true)
    }
}

/// A walk over an expression, in the order of its text.
struct PlainWalk<'a> {
    packet: FramedPacket<'a>,
    /// The link layer, as the words before this one see it.
    link: LinkLayer,
}

impl<'a> PlainWalk<'a> {
    fn new(packet: FramedPacket<'a>) -> Self {
        Self {
            packet,
            link: LinkLayer::of(&packet),
        }
    }

    fn evaluate(&mut self, expr: &Expr) -> PlainTruth {
        match expr {
            Expr::Chain(chain) => {
                let mut result = self.evaluate(&chain.first);
                for (connective, expr) in &chain.rest {
                    // Always, for a word that moves the headers.
                    let next = self.evaluate(expr);
                    result = match connective {
                        Connective::And => and(result, next),
                        Connective::Or => or(result, next),
                    };
                }
                result
            }
            Expr::Not(expr) => not(self.evaluate(expr)),
            Expr::Inner(expr) => match inner::packet(&self.packet)? {
                Lookup::Found(inside) => PlainWalk::new(inside).evaluate(expr),
                Lookup::Absent => NO,
            },
            Expr::Primitive(primitive) => {
                let result = truth(self.primitive(primitive));
                match primitive {
                    Primitive::Vlan(_) => self.link.pass_vlan(),
                    Primitive::Mpls(_) => self.link.pass_mpls(),
                    Primitive::Pppoes(_) => self.link.pass_pppoes(),
                    _ => {}
                }
                result
            }
        }
    }

    /// Returns a number of so many bytes.
    fn number(&self, at: usize, width: usize) -> Sought<u32> {
        let end = at.checked_add(width).ok_or(None)?;
        let bytes = self.packet.bytes.0.get(at..end).ok_or(None)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    fn byte(&self, at: usize) -> Sought<u8> {
        self.packet.bytes.0.get(at).copied().ok_or(None)
    }

    fn word(&self, at: usize) -> Sought<u16> {
        Ok(u16::from_be_bytes([self.byte(at)?, self.byte(at + 1)?]))
    }

    /// Returns the offset of the network header, if it is of this type.
    fn network(&self, kind: u16) -> Sought<usize> {
        if self.network_type()? == kind {
            Ok(self.link.network())
        } else {
            Err(NO)
        }
    }

    fn primitive(&self, primitive: &Primitive) -> Sought<bool> {
        match primitive {
            &Primitive::EtherProto(kind) => self.is_ether_proto(kind),
            &Primitive::IpProto(family, number) => self.is_ip_proto(family, number),
            &Primitive::ProtoChain(family, number) => {
                let kind = self.network_type()?;
                let is_asked = match kind {
                    IPV4 => family != Family::Ip6,
                    IPV6 => family != Family::Ip,
                    _ => false,
                };
                if !is_asked {
                    return Err(NO);
                }
                for header in self.headers(kind, self.link.network())? {
                    if header?.0 == number {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            &Primitive::Address(scope, direction, net) => self.has_address(scope, direction, net),
            &Primitive::TransportAddress(direction, net) => self.has_inner_address(direction, net),
            &Primitive::Port(scope, direction, range) => {
                let kind = self.network_type()?;
                let network = self.link.network();
                let (protocol, at) = match kind {
                    IPV4 => {
                        let protocol = self.byte(network + 9)?;
                        if !scope.covers(protocol) {
                            return Err(NO);
                        }
                        (protocol, self.behind_ipv4(network)?)
                    }
                    IPV6 => (self.byte(network + 6)?, network + 40),
                    _ => return Err(NO),
                };
                if !scope.covers(protocol) {
                    return Err(NO);
                }
                let is = |at| Ok(range.contains(self.word(at)?));
                judge(direction, is(at), is(at + 2))
            }
            &Primitive::TransportPort(side, range) => {
                let (_, at) = self.ports()?;
                let at = match side {
                    Side::Source => at,
                    Side::Destination => at + 2,
                };
                Ok(range.contains(self.word(at)?))
            }
            Primitive::Flow(flow) => self.is_flow(flow),
            Primitive::OneWay(flow) => Ok(fact::flow(&self.packet) == *flow),
            Primitive::Mac(direction, mac) => {
                self.needs_macs()?;
                let is = |at: usize| {
                    let found = self.packet.bytes.0.get(at..at + 6).ok_or(None)?;
                    Ok(found == mac)
                };
                judge(*direction, is(self.link.header + 6), is(self.link.header))
            }
            Primitive::Broadcast => {
                self.needs_macs()?;
                let at = self.link.header;
                let found = self.packet.bytes.0.get(at..at + 6).ok_or(None)?;
                Ok(found == [0xff; 6])
            }
            Primitive::Multicast => {
                self.needs_macs()?;
                Ok(self.byte(self.link.header)? % 2 == 1)
            }
            Primitive::IpBroadcast => {
                let network = self.network(IPV4)?;
                Ok([0, u32::MAX].contains(&self.number(network + 16, 4)?))
            }
            Primitive::IpMulticast => Ok(self.byte(self.network(IPV4)? + 16)? >= 224),
            Primitive::Ip6Multicast => Ok(self.byte(self.network(IPV6)? + 24)? == 0xff),
            &Primitive::Vlan(id) => self.is_vlan(id),
            &Primitive::Mpls(label) => self.is_mpls(label),
            &Primitive::Pppoes(session) => self.is_pppoes(session),
            Primitive::Llc(llc) => self.is_llc(llc.mask, llc.value),
            &Primitive::Direction(direction) => {
                let record = self.packet.record;
                match record.direction() {
                    None if record.is_direction_cut() => Err(None),
                    found => Ok(found == Some(direction)),
                }
            }
            Primitive::Relation(relation) => self.holds(relation),
            Primitive::Drop(word) => Ok(drop_predicate::holds(word, self.packet.record)),
        }
    }

    fn is_ip_proto(&self, family: Family, number: u8) -> Sought<bool> {
        let network = self.link.network();
        match self.network_type()? {
            IPV4 if family != Family::Ip6 => Ok(self.byte(network + 9)? == number),
            IPV6 if family != Family::Ip => match self.byte(network + 6)? {
                next if next == number => Ok(true),
                44 => Ok(self.byte(network + 40)? == number),
                _ => Ok(false),
            },
            _ => Err(NO),
        }
    }

    fn has_address(&self, scope: Scope, direction: DirQualifier, net: Net) -> Sought<bool> {
        let kind = self.network_type()?;
        let is_in_scope = match kind {
            IPV4 => matches!(scope, Scope::Any | Scope::Ip),
            ARP => matches!(scope, Scope::Any | Scope::Arp),
            RARP => matches!(scope, Scope::Any | Scope::Rarp),
            _ => true,
        };
        if let Net::V4 { mask: 0, .. } = net
            && is_in_scope
            && kind != IPV6
        {
            // Every packet with such addresses is in it, whatever they are.
            return match kind {
                IPV4 | ARP | RARP => Ok(true),
                _ => Err(NO),
            };
        }
        if !is_in_scope {
            return Err(NO);
        }
        self.has_address_at(kind, self.link.network(), direction, net)
    }

    /// Tests the addresses of a network header of this type.
    fn has_address_at(
        &self,
        kind: u16,
        network: usize,
        direction: DirQualifier,
        net: Net,
    ) -> Sought<bool> {
        match (net, kind) {
            (Net::V4 { address, mask }, IPV4 | ARP | RARP) => {
                let [source, destination] = if kind == IPV4 { [12, 16] } else { [14, 24] };
                let is = |at| Ok(self.number(network + at, 4)? & mask == address);
                judge(direction, is(source), is(destination))
            }
            (Net::V6 { address, mask }, IPV6) => {
                let is = |at: usize| {
                    // By words: the first that differs decides.
                    for (number, at) in (0..4).zip((network + at..).step_by(4)) {
                        let part = |whole: u128| (whole >> (96 - 32 * number)) & 0xffff_ffff;
                        let (address, mask) = (part(address), part(mask));
                        if mask != 0 && u128::from(self.number(at, 4)?) & mask != address {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                };
                judge(direction, is(8), is(24))
            }
            _ => Err(NO),
        }
    }

    fn has_inner_address(&self, direction: DirQualifier, net: Net) -> Sought<bool> {
        let (kind, network) = self.network_behind_tags()?;
        self.has_address_at(kind, network, direction, net)
    }

    fn is_flow(&self, flow: &TwoWayFlow) -> Sought<bool> {
        let (protocol, at) = self.ports()?;
        if !flow.protocol.covers(protocol) {
            return Err(NO);
        }
        let (source, destination) = (self.word(at)?, self.word(at + 2)?);
        let is = |from: std::net::SocketAddr, to: std::net::SocketAddr| {
            if (source, destination) != (from.port(), to.port()) {
                return Ok(false);
            }
            let from = self.has_inner_address(DirQualifier::Source, from.ip().into());
            let to = self.has_inner_address(DirQualifier::Destination, to.ip().into());
            judge(DirQualifier::Both, from, to)
        };
        judge(
            DirQualifier::Either,
            is(flow.one, flow.other),
            is(flow.other, flow.one),
        )
    }

    fn is_llc(&self, mask: u8, value: u8) -> Sought<bool> {
        if !self.link.is_ethernet() {
            return Err(self.link.cannot());
        }
        if self.type_field()? > 1500 || self.word(self.link.payload)? == 0xffff {
            return Err(NO);
        }
        Ok(mask == 0 || self.byte(self.link.payload + 2)? & mask == value)
    }

    /// Compares. A packet that certainly lacks one of the headers is not what is asked for.
    fn holds(&self, relation: &Relation) -> Sought<bool> {
        let mut headers = Some(true);
        for side in [&relation.left, &relation.right] {
            each_header(side, &mut |header| {
                let is_there = truth(self.header(header).map(|_| true));
                headers = and(headers, is_there);
            });
        }
        if headers != Some(true) {
            return Err(headers);
        }
        let [left, right] = [&relation.left, &relation.right].map(|side| self.calculate(side));
        Ok(relation.comparison.holds(left?, right?))
    }

    fn calculate(&self, arith: &Arith) -> Sought<u32> {
        match arith {
            Arith::Number(number) => Ok(*number),
            Arith::Length => Ok(self.packet.len),
            Arith::Negated(arith) => Ok(0_u32.wrapping_sub(self.calculate(arith)?)),
            Arith::Load {
                header,
                offset,
                width,
            } => {
                let offset = usize::try_from(self.calculate(offset)?).map_err(|_| None)?;
                let at = self.header(*header)?.checked_add(offset).ok_or(None)?;
                self.number(at, *width as usize)
            }
            Arith::Operation { first, rest } => {
                let mut value = self.calculate(first)?;
                for (operator, right) in rest {
                    let right = self.calculate(right)?;
                    value = operator.apply(value, right).ok_or(None)?;
                }
                Ok(value)
            }
        }
    }

    /// Returns the offset of a header.
    fn header(&self, header: LoadBase) -> Sought<usize> {
        match header {
            LoadBase::Link => Ok(self.link.header),
            LoadBase::Arp | LoadBase::Rarp if self.link.is_of_ip_alone() => Err(NO),
            LoadBase::Arp => self.network(ARP),
            LoadBase::Rarp => self.network(RARP),
            LoadBase::Ip => self.network(IPV4),
            LoadBase::Ip6 => self.network(IPV6),
            LoadBase::Transport(number) => {
                let network = self.network(IPV4)?;
                if self.byte(network + 9)? != number {
                    return Err(NO);
                }
                self.behind_ipv4(network)
            }
            LoadBase::Icmp6 => {
                let network = self.network(IPV6)?;
                match self.byte(network + 6)? {
                    58 => Ok(network + 40),
                    _ => Err(NO),
                }
            }
        }
    }
}

/// Calls `take` with each header that a term loads from.
fn each_header(arith: &Arith, take: &mut dyn FnMut(LoadBase)) {
    match arith {
        Arith::Number(_) | Arith::Length => {}
        Arith::Negated(arith) => each_header(arith, take),
        Arith::Load { header, offset, .. } => {
            each_header(offset, take);
            take(*header);
        }
        Arith::Operation { first, rest } => {
            each_header(first, take);
            for (_, arith) in rest {
                each_header(arith, take);
            }
        }
    }
}
