//! The running kernel as a source: its drop monitor's alerts, and the names and types of this
//! machine's interfaces.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

use crate::cache::Memo;
use crate::net_dm::alert::Alert;
use crate::net_dm::cmd;
use crate::net_dm::content::Content;
use crate::net_dm::netlink::ByteOrder;
use crate::net_dm::socket::{AlertSocket, Datagram};
use crate::net_dm::summary::SummaryAlert;
use crate::packet::ArpHardware;
use crate::record::{Cause, Name, Timestamp};
use crate::symbol::Symbols;

use super::{Event, NotPackets};

/// The stream of drops, and what it came across beside them.
pub struct Kernel {
    alerts: AlertSocket,
    devices: Devices,
    symbols: Symbols,
    not_packets: NotPackets,
    left_out: LeftOut,
}

/// Counts of what was received and gave no record.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeftOut {
    /// Attributes that were skipped: unknown, or of the wrong size.
    pub skipped_attributes: u64,
    /// Summary alerts: the kernel is in summary mode.
    pub summaries: u64,
    /// Datagrams that did not fit the buffer, or ended in an impossible length.
    pub damaged_messages: u64,
    /// Alerts of what never was a packet, left out.
    pub not_packets: u64,
    /// Alerts of alerts that the kernel freed as dropped, left out.
    pub alerts_of_alerts: u64,
}

/// What one look into the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<B> {
    /// Records were handed on, or something else was skipped; there may be more.
    Some,
    /// Nothing was waiting.
    Nothing,
    /// The receiver wants no more.
    Break(B),
}

impl Kernel {
    /// Reads from a socket that joined the group.
    pub fn new(alerts: AlertSocket, not_packets: NotPackets) -> Self {
        Self {
            alerts,
            devices: Devices::default(),
            symbols: Symbols::of_running_kernel(),
            not_packets,
            left_out: LeftOut::default(),
        }
    }

    /// Hands what some of the waiting datagrams tell to `take`, without waiting for any.
    pub fn take<B>(
        &mut self,
        mut take: impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> io::Result<Taken<B>> {
        let family = self.alerts.family();
        let datagrams = self.alerts.receive()?;
        if datagrams.len() == 0 {
            return Ok(Taken::Nothing);
        }
        for datagram in datagrams {
            let Datagram::Alerts(mut messages) = datagram else {
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
                                if let ControlFlow::Break(value) =
                                    count(&alert, &mut self.symbols, &mut take)
                                {
                                    return Ok(Taken::Break(value));
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
                match alert.content {
                    Content::Packet => {}
                    // Never a drop, even where all else is wanted: a listener made it.
                    Content::Netlink { kind } if kind == family => {
                        self.left_out.alerts_of_alerts += 1;
                        continue;
                    }
                    Content::Netlink { .. } | Content::Data => {
                        if self.not_packets == NotPackets::LeaveOut {
                            self.left_out.not_packets += 1;
                            continue;
                        }
                    }
                }
                alert.location = self.symbols.complete(alert.location);
                let found = self.devices.find(&alert);
                // The kernel says the time: the clock would be asked for nothing.
                let time = alert.time.unwrap_or_else(Timestamp::now);
                let record = alert.record(Some(time), found.certain, found.guess, found.name);
                if let ControlFlow::Break(value) = take(Event::Drop(&record)) {
                    return Ok(Taken::Break(value));
                }
            }
            self.left_out.damaged_messages += u64::from(!messages.rest().is_empty());
        }
        Ok(Taken::Some)
    }

    /// Leaves the group: what waits can still be taken, and no more comes.
    pub fn leave(&self) -> io::Result<()> {
        self.alerts.leave()
    }

    /// What came across so far.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Whether a symbol stays cut because this process may not see addresses. True once.
    pub fn symbols_are_newly_hidden(&mut self) -> bool {
        self.symbols.are_newly_hidden()
    }

    /// Has the kernel deliver all alerts again: detaches the filter.
    pub fn detach_filter(&self) -> io::Result<()> {
        self.alerts.detach_filter()
    }

    /// Alerts lost in the socket's buffer so far.
    pub fn lost(&self) -> io::Result<u64> {
        self.alerts.lost()
    }
}

/// Hands on what a summary alert counts, with the names of the places.
fn count<B>(
    alert: &SummaryAlert<'_>,
    symbols: &mut Symbols,
    take: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let time = Some(Timestamp::now());
    alert.try_for_each(|cause, count| {
        let cause = match cause {
            Cause::Software { location, reason } => Cause::Software {
                location: symbols.complete(location),
                reason,
            },
            other => other,
        };
        take(Event::Count { cause, count, time })
    })?;
    take(Event::EndOfCounts {
        is_full: alert.is_full(),
    })
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alerts.as_fd()
    }
}

/// The devices of this network namespace, each looked up once.
#[derive(Default)]
struct Devices {
    known: Memo<u32, Option<Device>>,
}

/// A device of this namespace.
struct Device {
    name: Vec<u8>,
    hardware: Option<ArpHardware>,
}

/// What a lookup says of an alert's input device.
#[derive(Default)]
struct Found<'d> {
    /// Its hardware type, where it is certainly the device of the alert.
    certain: Option<ArpHardware>,
    /// The hardware type of what has its index here.
    guess: Option<ArpHardware>,
    name: Option<Name<'d>>,
}

/// The loopback device's index, in every network namespace (`LOOPBACK_IFINDEX`, net/flow.h).
const LOOPBACK: u32 = 1;

impl Devices {
    /// A software drop's index belongs to the packet's own namespace, which the kernel does not
    /// name: only loopback is certain. A hardware drop's is certain where its name fits.
    fn find(&mut self, alert: &Alert<'_>) -> Found<'_> {
        let Some(input) = alert.input else {
            return Found::default();
        };
        let look_up = || Device::look_up(input.index);
        let Some(device) = self.known.get(input.index, look_up) else {
            return Found::default();
        };
        let name = Name::new(&device.name);
        let is_certain =
            input.index == LOOPBACK || (input.name().is_some() && input.name() == name);
        Found {
            certain: device.hardware.filter(|_| is_certain),
            guess: device.hardware,
            name,
        }
    }
}

impl Device {
    fn look_up(index: u32) -> Option<Self> {
        let name = nix::net::if_::if_indextoname(index).ok()?;
        // Interface names hold no slash (dev_valid_name, net/core/dev.c).
        let path = name
            .to_str()
            .ok()
            .map(|name| format!("/sys/class/net/{name}/type"));
        let hardware =
            path.and_then(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
        Some(Self {
            name: name.into_bytes(),
            hardware: hardware.map(ArpHardware),
        })
    }
}
