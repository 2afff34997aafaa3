//! Decodes attributes that come in the order in which the kernel writes them. Each is looked for once,
//! in its place. Without this decoder, reading a netlink file takes 1.53 times the instructions where few
//! packets match (1645 a packet instead of 1077).

use super::{Alert, cookie, origin};
use crate::net_dm::attr;
use crate::net_dm::content::Content;
use crate::net_dm::netlink::Attributes;
use crate::record::{EtherType, Interface, Location, Name, Origin, Symbol, Timestamp};

impl<'a> Alert<'a> {
    /// Decodes attributes in the order of `net_dm_packet_report_fill` and `net_dm_hw_packet_report_fill`
    /// (net/core/drop_monitor.c). `None` where the order differs or an attribute has to be skipped.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the byte order is known where it is called"
    )]
    pub(super) fn in_kernel_order(mut attributes: Attributes<'a>) -> Option<Self> {
        let rest = &mut attributes;
        let origin = origin(rest.next_u16(attr::ORIGIN)?)?;
        let (mut pc, mut reason, mut symbol, mut group, mut trap) = (None, None, None, None, None);
        match origin {
            Origin::Software => {
                pc = rest.next_u64(attr::PC);
                reason = take(rest, attr::REASON, Name::new)?;
                symbol = take(rest, attr::SYMBOL, Name::new)?;
            }
            Origin::Hardware => {
                group = take(rest, attr::HW_TRAP_GROUP_NAME, Name::new)?;
                trap = take(rest, attr::HW_TRAP_NAME, Name::new)?;
            }
        }
        let input = rest.next_if(attr::IN_PORT);
        let cookie = match origin {
            Origin::Software => None,
            Origin::Hardware => take(rest, attr::FLOW_ACTION_COOKIE, cookie)?,
        };
        let time = rest.next_u64(attr::TIMESTAMP);
        let original_len = rest.next_u32(attr::ORIG_LEN);
        let protocol = rest.next_u16(attr::PROTO);
        let payload = rest.next_if(attr::PAYLOAD);
        if !rest.rest().is_empty() {
            return None;
        }
        let input = match input {
            None | Some([]) => None,
            Some(nest) => {
                let mut nest = attributes.nested(nest);
                let index = nest.next_u32(attr::in_port::NETDEV_IFINDEX);
                let name = take(&mut nest, attr::in_port::NETDEV_NAME, Name::new)?;
                if !nest.rest().is_empty() {
                    return None;
                }
                Some(Interface::new(index.unwrap_or(0), name))
            }
        };
        Some(Self {
            origin: Some(origin),
            location: Location::new(pc, symbol.map(Symbol)),
            reason,
            group,
            trap,
            cookie,
            input,
            time: time.map(Timestamp),
            protocol: protocol.map(EtherType),
            original_len,
            payload: payload.unwrap_or_default(),
            content: Content::Packet,
            skipped: 0,
        })
    }
}

/// Reads the next attribute if it is of this type. `Some(None)` where it is of another type, `None`
/// where its value is malformed.
#[inline(always)]
#[expect(
    clippy::inline_always,
    clippy::option_option,
    reason = "the byte order is known where it is called; the caller asks with a question mark"
)]
fn take<'a, T>(
    attributes: &mut Attributes<'a>,
    kind: u16,
    read: impl FnOnce(&'a [u8]) -> Option<T>,
) -> Option<Option<T>> {
    match attributes.next_if(kind) {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}
