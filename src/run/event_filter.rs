//! Selects the events that are counted, and counts those that are not.

use super::selection::Selected;
use crate::filter::Filter;
use crate::net_dm::control::Origins;
use crate::record::{Basis, Cause, DropRecord, Link, LinkType, Origin, Timestamp};
use crate::source::Event;
use crate::summary::Counted;

/// Selects events of a source.
pub struct EventFilter {
    /// The drops that are selected.
    pub selected: Selected,
    /// Drops that were not selected.
    pub rejected: u64,
    /// Summary alerts, readings of an eBPF program's counts, and packets that were selected.
    pub alerts: u64,
    /// Summary alerts that could not name every location.
    pub full_alerts: u64,
    /// Drops whose facts are unknown to a filter that depends on them.
    pub undecided: u64,
}

impl EventFilter {
    /// Starts with no counts.
    pub fn new(filter: Filter, origins: Option<Origins>) -> Self {
        Self {
            selected: Selected { filter, origins },
            rejected: 0,
            alerts: 0,
            full_alerts: 0,
            undecided: 0,
        }
    }

    /// Starts again with the same selection and no counts.
    pub fn reset(&mut self) {
        let Selected { filter, origins } = self.selected.clone();
        *self = Self::new(filter, origins);
    }

    /// Returns what to count of an event; `None` where it is not selected.
    pub fn select<'r, 'a>(&mut self, event: Event<'r, 'a>) -> Option<Counted<'r, 'a>> {
        match event {
            Event::Drop(record) => {
                if self.selected.keeps(record) {
                    self.alerts += 1;
                    return Some(Counted::Packet(record));
                }
                self.rejected += 1;
            }
            Event::Count { cause, count, time } => {
                if self.selected.keeps(&without_packet(cause, time)) {
                    return Some(Counted::Kernel { cause, count });
                }
                self.rejected = self.rejected.saturating_add(count);
            }
            Event::Rejected(count) => self.rejected = self.rejected.saturating_add(count),
            Event::Drops { record, count } => {
                if self.selected.keeps(record) {
                    return Some(Counted::Drops { record, count });
                }
                self.rejected = self.rejected.saturating_add(count);
            }
            Event::Unnamed { count, .. } => {
                let Selected { filter, origins } = &self.selected;
                // eBPF programs see software drops alone.
                if filter.keeps_all()
                    && origins.is_none_or(|wanted| wanted.contains(Origin::Software))
                {
                    return Some(Counted::Unnamed { count });
                }
                self.undecided = self.undecided.saturating_add(count);
            }
            Event::EndOfCounts { is_full } => {
                self.alerts += 1;
                self.full_alerts += u64::from(is_full);
            }
        }
        None
    }
}

/// Returns the record that a filter sees for drops that the kernel counted: one without a packet.
fn without_packet(cause: Cause<'_>, time: Option<Timestamp>) -> DropRecord<'_> {
    DropRecord {
        time,
        cause,
        ..DropRecord::new(
            Link {
                kind: LinkType::ETHERNET,
                basis: Basis::Assumed,
            },
            &[],
        )
    }
}
