//! Parses summary alerts: counts without packets, which the kernel sends once a second for each CPU
//! that dropped something.

use std::ops::ControlFlow;

use super::netlink::{Attributes, ByteOrder, Generic};
use super::{attr, cmd};
use crate::record::{Cause, Location, Name};

/// Places (or traps) that one alert holds at most (`dm_hit_limit`, net/core/drop_monitor.c). Drops
/// at others are not counted, and the kernel says nothing of it.
pub const MAX_ENTRIES: u64 = 64;

/// A summary alert (`NET_DM_CMD_ALERT`), checked.
#[derive(Clone, Copy, Debug)]
pub struct SummaryAlert<'a> {
    attributes: Attributes<'a>,
    /// Places and hardware traps that it counts.
    pub entries: u64,
    /// Drops at all of them.
    pub drops: u64,
}

/// The attribute that holds the places (`struct net_dm_alert_msg`); the kernel gave it no name.
const PLACES: u16 = 0;
/// Bytes of a place: u64 pc, u32 count (`struct net_dm_drop_point`).
const PLACE_LEN: usize = 12;

impl<'a> SummaryAlert<'a> {
    /// Attribute type 0 holds a u32 number of places, and as many of 12 bytes; hardware traps come
    /// in a nest. `None` where the message is not laid out so.
    pub fn decode(message: &Generic<'a>) -> Option<Self> {
        if message.command != cmd::ALERT {
            return None;
        }
        let mut alert = Self {
            attributes: message.attributes,
            entries: 0,
            drops: 0,
        };
        let mut is_summary = false;
        for (kind, value) in message.attributes {
            if kind == PLACES {
                places(message.attributes.order(), value)?;
            }
            is_summary |= matches!(kind, PLACES | attr::HW_ENTRIES);
        }
        let (mut entries, mut drops) = (0, 0u64);
        let _ = alert.try_for_each(|_, count| {
            entries += 1;
            drops = drops.saturating_add(count);
            ControlFlow::<()>::Continue(())
        });
        (alert.entries, alert.drops) = (entries, drops);
        is_summary.then_some(alert)
    }

    /// Hands on each place or trap, and the drops there. A software cause has an address alone,
    /// 0 where a network device's own counter rose; a hardware cause has a trap alone.
    pub fn try_for_each<B>(
        &self,
        mut take: impl FnMut(Cause<'a>, u64) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let order = self.attributes.order();
        for (kind, value) in self.attributes {
            match kind {
                PLACES => {
                    let places = places(order, value).unwrap_or_default();
                    for place in places.chunks_exact(PLACE_LEN) {
                        let location = Location {
                            pc: order.u64(&place[..8]),
                            symbol: None,
                            source_line: None,
                        };
                        let cause = Cause::Software {
                            location,
                            reason: None,
                        };
                        take(cause, order.u32(&place[8..]).map_or(0, u64::from))?;
                    }
                }
                attr::HW_ENTRIES => {
                    for (_, entry) in self.attributes.nested(value) {
                        let (trap, count) = read_trap(self.attributes.nested(entry));
                        let cause = Cause::Hardware {
                            group: None,
                            trap,
                            cookie: None,
                        };
                        take(cause, count)?;
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether there was no room for another place: the kernel may have passed some over.
    pub fn is_full(&self) -> bool {
        self.entries >= MAX_ENTRIES
    }
}

/// The places, if there are as many as it says.
fn places(order: ByteOrder, value: &[u8]) -> Option<&[u8]> {
    let (count, places) = value.split_at_checked(4)?;
    let count = usize::try_from(order.u32(count)?).ok()?;
    (places.len() == count.checked_mul(PLACE_LEN)?).then_some(places)
}

fn read_trap(entry: Attributes<'_>) -> (Option<Name<'_>>, u64) {
    let (mut trap, mut count) = (None, 0);
    for (kind, value) in entry {
        match kind {
            attr::HW_TRAP_NAME => trap = Name::new(value),
            attr::HW_TRAP_COUNT => count = entry.order().u32(value).map_or(0, u64::from),
            _ => {}
        }
    }
    (trap, count)
}
