//! The source of the kernel's drop monitor: receives its alerts and completes them with the symbols of
//! the running kernel and the names and types of this machine's interfaces.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use crate::net_dm::alert::Alert;
use crate::net_dm::cmd;
use crate::net_dm::netlink::ByteOrder;
use crate::net_dm::socket::{AlertDatagram, AlertSocket};
use crate::net_dm::summary::SummaryAlert;
use crate::record::{Cause, Loss, Timestamp};
use crate::symbol::Symbols;

use super::devices::DeviceTable;
use super::{Event, LeftOut, NotPackets, Receive, Source, Taken};

/// The stream of the drop monitor's alerts.
pub struct NetDm {
    alerts: AlertSocket,
    devices: DeviceTable,
    symbols: Symbols,
    not_packets: NotPackets,
    left_out: LeftOut,
}

impl NetDm {
    /// Reads from a socket that joined the group.
    pub fn new(alerts: AlertSocket, not_packets: NotPackets) -> Self {
        Self {
            alerts,
            devices: DeviceTable::default(),
            symbols: Symbols::of_running_kernel(),
            not_packets,
            left_out: LeftOut::default(),
        }
    }
}

impl Source for NetDm {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        descriptors.push(self.alerts.as_fd());
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        let family = self.alerts.family();
        let datagrams = self.alerts.receive()?;
        if datagrams.len() == 0 {
            return Ok(Taken::Nothing);
        }
        for datagram in datagrams {
            let AlertDatagram::Alerts(mut messages) = datagram else {
                self.left_out.damaged_messages += 1;
                continue;
            };
            for message in messages.by_ref().filter(|message| message.kind == family) {
                let Some(generic) = message.generic(ByteOrder::NATIVE) else {
                    continue;
                };
                match generic.command {
                    cmd::PACKET_ALERT => {}
                    cmd::ALERT => {
                        self.left_out.summaries += 1;
                        match SummaryAlert::decode(&generic) {
                            Some(alert) => {
                                if let ControlFlow::Break(()) =
                                    count(&alert, &mut self.symbols, receive)
                                {
                                    return Ok(Taken::Break(()));
                                }
                            }
                            None => self.left_out.damaged_messages += 1,
                        }
                        continue;
                    }
                    _ => continue,
                }
                let mut alert = Alert::decode(generic.attributes);
                self.left_out.skipped_attributes += u64::from(alert.skipped);
                let content = alert.content;
                if self
                    .left_out
                    .leaves_out(content, Some(family), self.not_packets)
                {
                    continue;
                }
                alert.location = self.symbols.complete(alert.location);
                let found = self.devices.find(alert.input);
                // The clock is read only where the kernel sent no time.
                let time = alert.time.unwrap_or_else(Timestamp::now);
                let record = alert.record(Some(time), found.certain, found.guess, found.name);
                if let ControlFlow::Break(()) = receive(Event::Drop(&record)) {
                    return Ok(Taken::Break(()));
                }
            }
            self.left_out.damaged_messages += u64::from(!messages.rest().is_empty());
        }
        Ok(Taken::Some)
    }

    fn end(&mut self) -> io::Result<()> {
        self.alerts.leave()
    }

    fn loss(&self) -> io::Result<Loss> {
        Ok(Loss {
            socket: self.alerts.lost()?,
            ..Loss::default()
        })
    }

    fn left_out(&self) -> LeftOut {
        self.left_out
    }

    fn symbols_are_newly_hidden(&mut self) -> bool {
        self.symbols.are_newly_hidden()
    }

    fn detach_filter(&self) -> io::Result<()> {
        self.alerts.detach_filter()
    }
}

/// Passes on the counts of a summary alert, with the symbols of their locations.
fn count(
    alert: &SummaryAlert<'_>,
    symbols: &mut Symbols,
    receive: &mut Receive<'_>,
) -> ControlFlow<()> {
    let time = Some(Timestamp::now());
    alert.try_for_each(|cause, count| {
        let cause = match cause {
            Cause::Software { location, reason } => Cause::Software {
                location: symbols.complete(location),
                reason,
            },
            other => other,
        };
        receive(Event::Count { cause, count, time })
    })?;
    receive(Event::EndOfCounts {
        is_full: alert.is_full(),
    })
}
