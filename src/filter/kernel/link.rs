//! Infers the link types that user space may infer from the bytes.

use super::code::{Code, KIND, LENGTH, PROTOCOL, UNKNOWN_KIND, field_offset};
use crate::bpf::{Arithmetic, Condition, Label, Op, Size};
use crate::filter::layout::ether_type;
use crate::packet::offset::{ethernet, ipv4, ipv6};
use crate::record::EtherType;

/// The offset of Ethernet's type field, and the length of the header (IEEE 802.3, 3.1.1).
const TYPE_AT: u32 = field_offset(ethernet::TYPE);
const ETHERNET_LEN: u32 = field_offset(ethernet::LEN);

/// The labels for the link types that a record of the message can have. A packet of any other link
/// type is never a hit, because its bytes are not read.
#[derive(Clone, Copy)]
pub struct Links {
    pub ethernet: Label,
    pub raw: Label,
    /// Both are possible.
    pub both: Label,
}

/// Jumps to the link type that the bytes show, as [`infer_link`](crate::packet::infer_link) infers it;
/// to both where they do not suffice. The protocol is in its slot and in A.
// These 100 lines let the kernel evaluate `not` before a test of headers. Without them it would have to try both
// link types, and one of the two nearly always passes such a filter: of the 107 drops of
// fixtures/software-6.1.pcap, `not udp` would deliver 107 instead of 51, `not ip6` 100 instead of 70.
pub fn infer_from_bytes(code: &mut Code, links: Links) {
    code.except(EtherType::ETH_802_2.0.into(), links.ethernet);
    code.except(EtherType::ETH_802_3.0.into(), links.ethernet);
    let (ip4, ip6) = (code.label(), code.label());
    code.except(ether_type::IPV4.into(), ip4);
    code.except(ether_type::IPV6.into(), ip6);
    let not_raw = code.label();
    code.jump(not_raw);
    for (label, version) in [(ip4, IpVersion::Four), (ip6, IpVersion::Six)] {
        code.bind(label);
        fit_raw(code, version, not_raw, links);
    }
    code.bind(not_raw);
    is_named(code, links.ethernet, links.both, links.both);
}

#[derive(Clone, Copy)]
enum IpVersion {
    Four,
    Six,
}

/// Tests whether the bytes are an IP packet without a link-layer header: compares its first bits,
/// then its length field with the packet's length.
fn fit_raw(code: &mut Code, version: IpVersion, not_raw: Label, links: Links) {
    let raw = links.raw;
    is_ip(code, version, 0, not_raw);
    let (matching, within) = (code.label(), code.label());
    // A length field that was cut off does not contradict.
    let (at, header) = match version {
        IpVersion::Four => (ipv4::TOTAL_LENGTH, 0),
        IpVersion::Six => (ipv6::PAYLOAD_LENGTH, ipv6::LEN),
    };
    code.fetch(Size::Half, field_offset(at), matching);
    code.calculate(Arithmetic::Add, field_offset(header));
    code.op(Op::RecallToX(LENGTH));
    let differs = code.label();
    code.branch_x(Condition::Equal, raw, differs);
    code.bind(differs);
    code.branch_x(Condition::Greater, matching, within);
    code.bind(matching);
    is_named(code, links.ethernet, links.both, raw);
    // The packet is padded, or it is Ethernet that looks like IP by chance and has an IP header
    // after its own.
    code.bind(within);
    let named = code.label();
    is_named(code, named, links.both, raw);
    code.bind(named);
    is_ip(code, version, ETHERNET_LEN, raw);
    code.jump(links.ethernet);
}

/// Continues if an IP header of this version begins at `at`.
fn is_ip(code: &mut Code, version: IpVersion, at: u32, otherwise: Label) {
    code.fetch(Size::Byte, at, otherwise);
    code.calculate(Arithmetic::And, 0xf0);
    match version {
        IpVersion::Six => code.require(0x60, otherwise),
        IpVersion::Four => {
            code.require(0x40, otherwise);
            code.fetch_again(Size::Byte, at);
            code.calculate(Arithmetic::And, 0x0f);
            let next = code.label();
            code.branch(Condition::GreaterOrEqual, 5, next, otherwise);
            code.bind(next);
        }
    }
}

/// Tests whether Ethernet's type field is the protocol. Behind a VLAN tag there may be another type
/// field.
fn is_named(code: &mut Code, yes: Label, tagged: Label, no: Label) {
    code.fetch(Size::Half, TYPE_AT, no);
    code.op(Op::RecallToX(PROTOCOL));
    let differs = code.label();
    code.branch_x(Condition::Equal, yes, differs);
    code.bind(differs);
    for tag in EtherType::VLAN_TAGS {
        code.except(tag.0.into(), tagged);
    }
    code.jump(no);
}

/// Stores the type of the network header after Ethernet, or of raw IP.
pub fn find_kind(code: &mut Code, framing: PayloadLink) {
    let (unknown, known) = (code.label(), code.label());
    match framing {
        PayloadLink::Ethernet => {
            code.fetch(Size::Half, TYPE_AT, unknown);
            code.jump(known);
        }
        PayloadLink::Raw => {
            code.fetch(Size::Byte, 0, unknown);
            code.calculate(Arithmetic::And, 0xf0);
            for (bits, kind) in [(0x40, ether_type::IPV4), (0x60, ether_type::IPV6)] {
                let next = code.label();
                code.require(bits, next);
                code.op(Op::Number(kind.into()));
                code.jump(known);
                code.bind(next);
            }
            code.op(Op::Number(ether_type::NONE.into()));
            code.jump(known);
        }
    }
    code.bind(unknown);
    code.op(Op::Number(UNKNOWN_KIND));
    code.bind(known);
    code.op(Op::Store(KIND));
}

/// The first header of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadLink {
    Ethernet,
    Raw,
}

impl PayloadLink {
    /// Returns the offset of the network header.
    pub fn network(self) -> u32 {
        match self {
            Self::Ethernet => ETHERNET_LEN,
            Self::Raw => 0,
        }
    }
}
