//! Datagrams of the drop monitor.

use std::ops::ControlFlow;

use super::captures::Copies;
use crate::net_dm::alert::Alert;
use crate::net_dm::cmd;
use crate::net_dm::netlink::{ByteOrder, Messages};
use crate::net_dm::summary::SummaryAlert;
use crate::record::Timestamp;

/// Decodes the messages of a datagram. What the fast decoder finds is what the plain one finds, and a drop is the
/// same in a capture file.
pub fn datagram(bytes: &[u8]) {
    let mut copies = Copies::new(&crate::record::CaptureHost::default(), 0x20);
    let mut drops = Vec::new();
    for message in Messages::new(bytes, ByteOrder::NATIVE) {
        let Some(generic) = message.generic(ByteOrder::NATIVE) else {
            continue;
        };
        if generic.command == cmd::PACKET_ALERT {
            let alert = Alert::decode(generic.attributes);
            assert_eq!(alert, Alert::decode_plainly(generic.attributes));
            drops.push(alert);
        } else if let Some(alert) = SummaryAlert::decode(&generic) {
            let mut drops = 0_u64;
            let _ = alert.try_for_each(|_, count| {
                drops = drops.saturating_add(count);
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(drops, alert.drops);
        }
    }
    for order in [ByteOrder::Little, ByteOrder::Big] {
        // A message that a capture cut: the attributes are those from here on.
        let attributes = crate::net_dm::netlink::Attributes::native(bytes).in_order(order);
        let (alert, _) = Alert::decode_cut(attributes);
        drops.push(alert);
    }
    let records: Vec<_> = drops
        .iter()
        .map(|alert| alert.record(Some(Timestamp(1)), None, None, None))
        .collect();
    for record in &records {
        copies.write(record);
    }
    let mut records = records.iter();
    copies
        .finish(&crate::sink::Ending::default())
        .check(|same| {
            for record in records.by_ref() {
                same.is_next(record);
            }
        });
}
