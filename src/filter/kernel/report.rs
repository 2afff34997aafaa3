//! Reads a report of the eBPF program: its numbers are at fixed offsets, in front of the packet's bytes.

use super::code::{CAPTURED, Code, LENGTH, PROTOCOL};
use super::link::{Links, infer_from_bytes};
use crate::bpf::{Arithmetic, Condition, Label, Op, Operand};
use crate::ebpf::program::filter::{FRAME, load};
use crate::ebpf::report::{self, Start};
use crate::filter::layout::ether_type;
use crate::packet::ArpHardware;
use crate::record::EtherType;

/// The index of loopback in every network namespace (`LOOPBACK_IFINDEX`, net/flow.h).
const LOOPBACK: u32 = 1;
/// The sign of a number.
const NEGATIVE: u32 = 1 << 31;

/// Continues for a packet. Accepts what may be none, which user space leaves out and counts apart.
pub fn begin() -> Code {
    let mut code = Code::with_payload_at(FRAME);
    let packet = code.label();
    code.op(load(report::PROTOCOL));
    code.require(EtherType::NONE.0.into(), packet);
    code.op(load(report::INPUT));
    code.require(0, packet);
    code.op(load(report::START));
    code.require(Start::Data as u32, packet);
    let (positive, may_be_none) = (code.label(), code.label());
    code.op(load(report::NETWORK));
    code.branch(Condition::Greater, 0, positive, may_be_none);
    code.bind(positive);
    code.branch(Condition::GreaterOrEqual, NEGATIVE, may_be_none, packet);
    code.bind(may_be_none);
    code.jump(Label::ACCEPT);
    code.bind(packet);
    code.clear();
    code
}

/// Stores the number of captured bytes, and the packet's length.
pub fn find_packet(code: &mut Code) {
    code.ops([
        load(report::HEADERS_LEN),
        Op::ToX,
        load(report::DATA_LEN),
        Op::Calculate(Arithmetic::Add, Operand::X),
        Op::Store(CAPTURED),
        Op::Store(LENGTH),
        load(report::ORIGINAL_LEN),
    ]);
    code.store_length();
}

/// Jumps to the link types that `source::ebpf` may infer: that of the bytes, and that of the device, which
/// user space may know for certain or not.
pub fn infer_link(code: &mut Code, links: Links) {
    let (ethernet, raw, anything) = (code.label(), code.label(), code.label());
    code.op(load(report::START));
    code.require(Start::Network as u32, anything);
    code.op(load(report::PROTOCOL));
    code.except(ether_type::IPV4.into(), links.raw);
    code.except(ether_type::IPV6.into(), links.raw);
    code.bind(anything);
    code.ops([load(report::PROTOCOL), Op::Store(PROTOCOL)]);
    let of_bytes = Links {
        ethernet,
        raw,
        both: links.both,
    };
    infer_from_bytes(code, of_bytes);
    code.bind(ethernet);
    code.op(load(report::DEVICE_TYPE));
    for hardware in ArpHardware::WITHOUT_HEADER {
        code.except(hardware.0.into(), links.both);
    }
    code.jump(links.ethernet);
    code.bind(raw);
    code.op(load(report::INPUT));
    code.except(LOOPBACK, links.both);
    code.op(load(report::DEVICE_TYPE));
    for hardware in ArpHardware::WITH_ETHERNET {
        code.except(hardware.0.into(), links.both);
    }
    code.jump(links.raw);
}
