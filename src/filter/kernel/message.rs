//! Reads a message of the drop monitor: checks that it is one packet alert, and finds its parts.

use super::code::{
    ATTRIBUTES, CAPTURED, Code, GENL_COMMAND, LENGTH, NLA_LEN, ORIGIN, PAYLOAD, PROTOCOL, VALUE,
    loaded16, nlmsg,
};
use super::link::{Links, infer_from_bytes};
use crate::bpf::{Arithmetic, Condition, Label, Op, Size};
use crate::net_dm::{ORIGIN_HW, ORIGIN_SW, attr, cmd};
use crate::record::EtherType;

/// Continues for a single whole packet alert of `family` with an origin; accepts any other message.
/// The kernel always sends the origin. If it is not found, no other attribute may be taken for
/// absent: the search finds nothing in a message that is not contiguous in memory.
pub fn begin(family: u16) -> Code {
    let mut code = Code::default();
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
    accept_alert_of_alert(&mut code, family);
    code
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
    code.store_length();
    code.bind(measured);
}

/// Jumps to the link types that [`infer_link`](crate::packet::infer_link) may infer. The bytes
/// decide, unless they do not suffice or the device is certain, as it is for loopback and for a
/// named device.
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
    infer_from_bytes(code, Links { raw, ..links });
    // Loopback has the link type of Ethernet.
    code.bind(raw);
    code.find(attr::IN_PORT, links.raw);
    code.find_nested(attr::in_port::NETDEV_IFINDEX, links.raw);
    code.require_value(4, links.raw);
    code.load_host(Size::Word, VALUE);
    code.branch(Condition::Equal, 1, links.both, links.raw);
}
