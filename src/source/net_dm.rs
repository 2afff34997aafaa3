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
use crate::record::Loss;
use crate::symbol::Symbols;

use super::alerts::{AlertTranslator, RunningHost, Supplement};
use super::devices::DeviceTable;
use super::hardware::without_software;
use super::{LeftOut, NotPackets, Receive, Source, Taken};

/// The stream of the drop monitor's alerts.
pub struct NetDm {
    alerts: AlertSocket,
    host: RunningHost,
    not_packets: NotPackets,
    left_out: LeftOut,
    /// Software drops are passed over.
    is_hardware_only: bool,
}

impl NetDm {
    /// Reads from a socket that joined the group.
    pub fn new(alerts: AlertSocket, not_packets: NotPackets) -> Self {
        Self {
            alerts,
            host: RunningHost {
                symbols: Symbols::of_running_kernel(),
                devices: DeviceTable::default(),
            },
            not_packets,
            left_out: LeftOut::default(),
            is_hardware_only: false,
        }
    }

    /// Leaves software drops to another source.
    pub fn hardware_only(self) -> Self {
        Self {
            is_hardware_only: true,
            ..self
        }
    }

    fn take_all(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        let family = self.alerts.family();
        let datagrams = self.alerts.receive()?;
        if datagrams.len() == 0 {
            return Ok(Taken::Nothing);
        }
        let mut translator = AlertTranslator {
            not_packets: self.not_packets,
            supplement: Supplement::Host(&mut self.host),
            left_out: &mut self.left_out,
        };
        for datagram in datagrams {
            let AlertDatagram::Alerts(mut messages) = datagram else {
                translator.left_out.damaged_messages += 1;
                continue;
            };
            for message in messages.by_ref().filter(|message| message.kind == family) {
                let Some(generic) = message.generic(ByteOrder::NATIVE) else {
                    continue;
                };
                let flow = match generic.command {
                    cmd::PACKET_ALERT => {
                        translator.packet(family, &Alert::decode(generic.attributes), receive)
                    }
                    cmd::ALERT => {
                        if let Some(alert) = SummaryAlert::decode(&generic) {
                            translator.summary(&alert, receive)
                        } else {
                            translator.left_out.damaged_messages += 1;
                            ControlFlow::Continue(())
                        }
                    }
                    _ => ControlFlow::Continue(()),
                };
                if flow.is_break() {
                    return Ok(Taken::Break(()));
                }
            }
            translator.left_out.damaged_messages += u64::from(!messages.rest().is_empty());
        }
        Ok(Taken::Some)
    }
}

impl Source for NetDm {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        descriptors.push(self.alerts.as_fd());
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        if self.is_hardware_only {
            self.take_all(&mut without_software(receive))
        } else {
            self.take_all(receive)
        }
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
        self.host.symbols.are_newly_hidden()
    }

    fn filter_is_reported(&self) -> bool {
        self.left_out.alerts_of_alerts > 0
    }

    fn detach_filter(&self) -> io::Result<()> {
        self.alerts.detach_filter()
    }
}
