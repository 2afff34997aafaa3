//! Encodes a record as the alert that the kernel would have sent, for the C tool's file format.

use crate::net_dm::netlink::MessageBuilder;
use crate::net_dm::{FAMILY_VERSION, ORIGIN_HW, ORIGIN_SW, attr, cmd};
use crate::record::{Cause, DropRecord, Interface, LinkType, Origin};

/// The longest symbol that the kernel sends, in bytes (`NET_DM_MAX_SYMBOL_LEN` less the NUL).
const MAX_SYMBOL: usize = 39;

/// Appends the alert that the kernel would have sent for `record`. Returns `false` where it could not
/// have sent one: the record is no drop, or its bytes do not begin with a link-layer header.
pub fn encode(record: &DropRecord<'_>, family: u16, buffer: &mut Vec<u8>) -> bool {
    let is_as_sent = matches!(
        record.link.kind,
        LinkType::ETHERNET
            | LinkType::RAW
            | LinkType::IEEE802_11
            | LinkType::IEEE802_11_RADIOTAP
            | LinkType::NETLINK
            | LinkType::NO_PACKET
    );
    let (Some(origin), Some(time)) = (record.cause.origin().filter(|_| is_as_sent), record.time)
    else {
        return false;
    };
    let mut message = MessageBuilder::new(buffer, family, cmd::PACKET_ALERT, FAMILY_VERSION);
    let (code, name) = match origin {
        // The interface name of a software drop is a guess, which the kernel does not send.
        Origin::Software => (ORIGIN_SW, None),
        Origin::Hardware => (ORIGIN_HW, record.input.and_then(Interface::name)),
    };
    message.attribute(attr::ORIGIN, &code.to_ne_bytes());
    match record.cause {
        Cause::Software { location, reason } => {
            if let Some(pc) = location.pc {
                message.attribute(attr::PC, &pc.to_ne_bytes());
            }
            if let Some(reason) = reason {
                message.string(attr::REASON, reason.as_bytes());
            }
            if let Some(symbol) = location.symbol {
                let text = symbol.0.as_bytes();
                message.string(attr::SYMBOL, &text[..text.len().min(MAX_SYMBOL)]);
            }
        }
        Cause::Hardware { group, trap, .. } => {
            if let Some(group) = group {
                message.string(attr::HW_TRAP_GROUP_NAME, group.as_bytes());
            }
            if let Some(trap) = trap {
                message.string(attr::HW_TRAP_NAME, trap.as_bytes());
            }
        }
        Cause::Unknown => {}
    }
    message.nest(attr::IN_PORT, |nest| {
        if let Some(input) = record.input {
            if input.key.index != 0 {
                nest.attribute(
                    attr::in_port::NETDEV_IFINDEX,
                    &input.key.index.to_ne_bytes(),
                );
            }
            if let Some(name) = name {
                nest.string(attr::in_port::NETDEV_NAME, name.as_bytes());
            }
        }
    });
    if let Cause::Hardware {
        cookie: Some(cookie),
        ..
    } = record.cause
    {
        message.attribute(attr::FLOW_ACTION_COOKIE, cookie);
    }
    message
        .attribute(attr::TIMESTAMP, &time.0.to_ne_bytes())
        .attribute(attr::ORIG_LEN, &record.original_len.to_ne_bytes());
    // The kernel sends neither attribute where it copied nothing.
    if !record.data.is_empty() {
        if let Some(protocol) = record.protocol {
            message.attribute(attr::PROTO, &protocol.0.to_ne_bytes());
        }
        message.attribute(attr::PAYLOAD, record.data);
    }
    message.finish();
    true
}
