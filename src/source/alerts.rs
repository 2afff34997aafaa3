//! Translates the drop monitor's decoded alerts into events, whether they come from the running kernel
//! or from a file.

use std::ops::ControlFlow;

use super::devices::DeviceTable;
use super::{Event, LeftOut, NotPackets};
use crate::net_dm::alert::Alert;
use crate::net_dm::summary::SummaryAlert;
use crate::record::{Cause, DropRecord, Timestamp};
use crate::symbol::Symbols;

/// Translates alerts, and counts those that give no event.
pub struct AlertTranslator<'t> {
    pub not_packets: NotPackets,
    pub supplement: Supplement<'t>,
    pub left_out: &'t mut LeftOut,
}

/// The facts that supplement an alert.
pub enum Supplement<'s> {
    /// Those of this machine, for a live alert, and the clock where the kernel sent no time.
    Host(&'s mut RunningHost),
    /// The time of the packet that contains the alert, for one in a file.
    PacketTime(Option<Timestamp>),
}

/// The symbols of the running kernel, and the devices of this machine.
pub struct RunningHost {
    pub symbols: Symbols,
    pub devices: DeviceTable,
}

impl AlertTranslator<'_> {
    /// Passes on the drop of a packet alert unless it is left out. `family` is NET_DM's number, the type
    /// of the alert's message.
    #[inline]
    pub fn packet<B>(
        &mut self,
        family: u16,
        alert: &Alert<'_>,
        receive: &mut (impl FnMut(Event<'_, '_>) -> ControlFlow<B> + ?Sized),
    ) -> ControlFlow<B> {
        self.left_out.skipped_attributes += u64::from(alert.skipped);
        let not_packets = self.not_packets;
        if self
            .left_out
            .leaves_out(alert.content, Some(family), not_packets)
        {
            return ControlFlow::Continue(());
        }
        match &mut self.supplement {
            Supplement::Host(host) => host.give(alert, |record| receive(Event::Drop(record))),
            Supplement::PacketTime(time) => {
                receive(Event::Drop(&alert.record(*time, None, None, None)))
            }
        }
    }

    /// Passes on the counts of a summary alert.
    pub fn summary<B>(
        &mut self,
        alert: &SummaryAlert<'_>,
        receive: &mut (impl FnMut(Event<'_, '_>) -> ControlFlow<B> + ?Sized),
    ) -> ControlFlow<B> {
        self.left_out.summaries += 1;
        let time = match &self.supplement {
            Supplement::Host(_) => Some(Timestamp::now()),
            Supplement::PacketTime(time) => *time,
        };
        alert.try_for_each(|cause, count| {
            let mut cause = cause;
            if let Supplement::Host(host) = &mut self.supplement {
                complete(&mut cause, &mut host.symbols);
            }
            receive(Event::Count { cause, count, time })
        })?;
        receive(Event::EndOfCounts {
            is_full: alert.is_full(),
        })
    }
}

impl RunningHost {
    /// Passes on the record of an alert from where it was made: to return it would copy it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the callee copies its record")]
    fn give<B>(&mut self, alert: &Alert<'_>, receive: impl FnOnce(&DropRecord<'_>) -> B) -> B {
        let found = self.devices.find(alert.input);
        // The clock is read only where the kernel sent no time.
        let time = alert.time.unwrap_or_else(Timestamp::now);
        let mut record = alert.record(Some(time), found.certain, found.guess, found.name);
        complete(&mut record.cause, &mut self.symbols);
        receive(&record)
    }
}

/// Completes the symbol of a software drop.
#[inline]
fn complete<'s>(cause: &mut Cause<'s>, symbols: &'s mut Symbols) {
    if let Cause::Software { location, .. } = cause {
        *location = symbols.complete(*location);
    }
}
