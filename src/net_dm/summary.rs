//! Parses summary alerts: counts without packets, which the kernel sends once a second for each CPU
//! that dropped something.

use std::ops::ControlFlow;

use super::netlink::{Attributes, ByteOrder, Generic};
use super::{attr, cmd};
use crate::record::{Cause, Location, Name};

/// The most locations (or traps) in one alert (`dm_hit_limit`, net/core/drop_monitor.c). Drops at
/// further ones are not counted, and the kernel does not report that.
pub const MAX_ENTRIES: u64 = 64;

/// A summary alert (`NET_DM_CMD_ALERT`) that was checked.
#[derive(Clone, Copy, Debug)]
pub struct SummaryAlert<'a> {
    attributes: Attributes<'a>,
    /// The number of locations and hardware traps in it.
    pub entries: u64,
    /// The number of drops at all of them.
    pub drops: u64,
}

/// The attribute that holds the locations (`struct net_dm_alert_msg`); the kernel has no name for
/// it.
const PLACES: u16 = 0;
/// Bytes of a location: u64 pc, u32 count (`struct net_dm_drop_point`).
const PLACE_LEN: usize = 12;

impl<'a> SummaryAlert<'a> {
    /// Decodes an alert. Attribute type 0 holds a u32 number of locations, then that many entries
    /// of 12 bytes; hardware traps are in a nest. Returns `None` where the layout differs.
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

    /// Calls `take` with each location or trap and its number of drops. A software cause has only
    /// an address, which is 0 where a network device's own counter rose; a hardware cause has only
    /// a trap.
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
                        let location = Location::new(order.u64(&place[..8]), None);
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

    /// Returns whether the alert is full: the kernel may have passed over further locations.
    pub fn is_full(&self) -> bool {
        self.entries >= MAX_ENTRIES
    }
}

/// Returns the locations if their number is the one that the attribute announces.
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
