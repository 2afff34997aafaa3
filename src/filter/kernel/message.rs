//! Reads a message: checks that it is one packet alert, finds its parts, and infers the link types
//! that user space may infer.

use super::code::{
    ATTRIBUTES, CAPTURED, Code, GENL_COMMAND, KIND, LENGTH, NLA_LEN, ORIGIN, PAYLOAD, PROTOCOL,
    UNKNOWN_KIND, VALUE, field_offset, loaded16, nlmsg,
};
use crate::bpf::{Arithmetic, Condition, Label, Op, Size};
use crate::filter::layout::ether_type;
use crate::net_dm::{ORIGIN_HW, ORIGIN_SW, attr, cmd};
use crate::packet::offset::{ethernet, ipv4, ipv6};
use crate::record::EtherType;

/// The offset of Ethernet's type field, and the length of the header (IEEE 802.3, 3.1.1).
const TYPE_AT: u32 = field_offset(ethernet::TYPE);
const ETHERNET_LEN: u32 = field_offset(ethernet::LEN);

/// Continues for a single whole packet alert of `family` with an origin; accepts any other message.
/// The kernel always sends the origin. If it is not found, no other attribute may be taken for
/// absent: the search finds nothing in a message that is not contiguous in memory.
pub fn begin(code: &mut Code, family: u16) {
    let next = code.label();
    code.op(Op::Length);
    code.branch(Condition::GreaterOrEqual, ATTRIBUTES, next, Label::ACCEPT);
    code.bind(next);
    code.clear();
    // nlmsg_len equals the length: no second message follows.
    code.op(Op::NumberToX(0));
    code.load_host(Size::Word, nlmsg::TOTAL_LEN);
    code.ops([Op::ToX, Op::Length]);
    let next = code.label();
    code.branch_x(Condition::Equal, next, Label::ACCEPT);
    code.bind(next);
    code.op(Op::Load(Size::Half, nlmsg::TYPE));
    code.require(loaded16(family), Label::ACCEPT);
    code.op(Op::Load(Size::Byte, nlmsg::LEN + GENL_COMMAND));
    code.require(cmd::PACKET_ALERT.into(), Label::ACCEPT);
    code.find(attr::ORIGIN, Label::ACCEPT);
    code.require_value(2, Label::ACCEPT);
    code.ops([Op::LoadBehindX(Size::Half, VALUE), Op::Store(ORIGIN)]);
    let next = code.label();
    code.except(loaded16(ORIGIN_SW), next);
    code.require(loaded16(ORIGIN_HW), Label::ACCEPT);
    code.bind(next);
    accept_alert_of_alert(code, family);
}

/// Accepts an alert about an alert. The kernel reports a message that is rejected here as one more
/// drop if another listener took it before. If the report about that were rejected too, it would
/// cause another one, and so on endlessly. Such an alert is recognised by protocol 0 and by the
/// type of the netlink message in its payload; by protocol 0 alone if the type was cut off.
fn accept_alert_of_alert(code: &mut Code, family: u16) {
    const TYPE_END: u32 = nlmsg::TYPE + 2;
    let goes_on = code.label();
    code.find(attr::PROTO, goes_on);
    code.require_value(2, goes_on);
    code.op(Op::LoadBehindX(Size::Half, VALUE));
    code.require(EtherType::NONE.0.into(), goes_on);
    code.find(attr::PAYLOAD, goes_on);
    code.load_host(Size::Half, NLA_LEN);
    let has_type = code.label();
    code.branch(
        Condition::GreaterOrEqual,
        VALUE + TYPE_END,
        has_type,
        Label::ACCEPT,
    );
    code.bind(has_type);
    code.find(attr::PAYLOAD, goes_on);
    code.op(Op::LoadBehindX(Size::Half, VALUE + nlmsg::TYPE));
    code.except(loaded16(family), Label::ACCEPT);
    code.bind(goes_on);
}

/// Finds the payload and the packet's length.
pub fn find_packet(code: &mut Code) {
    let (absent, measured) = (code.label(), code.label());
    code.find(attr::PAYLOAD, absent);
    code.op(Op::FromX);
    code.calculate(Arithmetic::Add, VALUE);
    code.op(Op::Store(PAYLOAD));
    code.load_host(Size::Half, NLA_LEN);
    code.calculate(Arithmetic::Subtract, VALUE);
    code.op(Op::Store(CAPTURED));
    code.bind(absent);
    code.ops([Op::Recall(CAPTURED), Op::Store(LENGTH)]);
    code.find(attr::ORIG_LEN, measured);
    code.require_value(4, measured);
    code.load_host(Size::Word, VALUE);
    // The length is never less than the captured bytes.
    code.op(Op::RecallToX(CAPTURED));
    let longer = code.label();
    code.branch_x(Condition::Greater, longer, measured);
    code.bind(longer);
    code.op(Op::Store(LENGTH));
    code.bind(measured);
}

/// The labels for the link types that a record of the message can have. A packet of any other link
/// type is never a hit, because its bytes are not read.
#[derive(Clone, Copy)]
pub struct Links {
    pub ethernet: Label,
    pub raw: Label,
    /// Both are possible.
    pub both: Label,
}

/// Jumps to the link types that [`infer_link`](crate::packet::infer_link) may infer. The bytes
/// decide, unless they do not suffice or the device is certain, as it is for loopback and for a
/// named device.
// These 100 lines let the kernel evaluate `not` before a test of headers. Without them it would have to try both
// link types, and one of the two nearly always passes such a filter: of the 107 drops of
// fixtures/software-6.1.pcap, `not udp` would deliver 107 instead of 51, `not ip6` 100 instead of 70.
pub fn infer_link(code: &mut Code, links: Links) {
    let (local, raw) = (code.label(), code.label());
    code.find(attr::IN_PORT, local);
    code.find_nested(attr::in_port::NETDEV_NAME, local);
    code.jump(links.both);
    code.bind(local);
    code.find(attr::PROTO, links.both);
    code.require_value(2, links.both);
    code.load_host(Size::Half, VALUE);
    code.op(Op::Store(PROTOCOL));
    code.except(EtherType::ETH_802_2.0.into(), links.ethernet);
    code.except(EtherType::ETH_802_3.0.into(), links.ethernet);
    let (ip4, ip6) = (code.label(), code.label());
    code.except(ether_type::IPV4.into(), ip4);
    code.except(ether_type::IPV6.into(), ip6);
    let not_raw = code.label();
    code.jump(not_raw);
    for (label, version) in [(ip4, IpVersion::Four), (ip6, IpVersion::Six)] {
        code.bind(label);
        fit_raw(code, version, not_raw, links, raw);
    }
    code.bind(not_raw);
    is_named(code, links.ethernet, links.both, links.both);
    // Loopback has the link type of Ethernet.
    code.bind(raw);
    code.find(attr::IN_PORT, links.raw);
    code.find_nested(attr::in_port::NETDEV_IFINDEX, links.raw);
    code.require_value(4, links.raw);
    code.load_host(Size::Word, VALUE);
    code.branch(Condition::Equal, 1, links.both, links.raw);
}

#[derive(Clone, Copy)]
enum IpVersion {
    Four,
    Six,
}

/// Tests whether the bytes are an IP packet without a link-layer header: compares its first bits,
/// then its length field with the packet's length.
fn fit_raw(code: &mut Code, version: IpVersion, not_raw: Label, links: Links, raw: Label) {
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
            code.op(Op::LoadBehindX(Size::Byte, at));
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
