//! The eBPF programs' reports as a source: completes them with the names of reasons, the symbols of the
//! running kernel and the names of this machine's interfaces, and decides which link types are certain.

mod counting;

pub use counting::EbpfCounts;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use super::context::{ContextTable, FoundContext};
use super::devices::{DeviceTable, LOOPBACK};
use super::stacks::Stacks;
use super::{Event, LeftOut, NotPackets, Receive, Source, Taken};
use crate::bpf::BpfProgram;
use crate::ebpf::reasons::Reasons;
use crate::ebpf::report::{Report, Start};
use crate::ebpf::tracer::{BATCH, SETTLED_NANOS, Tracer, TracerError, TracerSettings, Until};
use crate::net_dm::content::Content;
use crate::net_dm::netlink::ByteOrder;
use crate::packet::{self, ArpHardware};
use crate::record::{
    Cause, DropRecord, EtherType, Interface, InterfaceKey, Link, LinkType, Location, Loss, Name,
    Timestamp,
};
use crate::symbol::Symbols;

/// The longest time that reports wait if too few come to wake this process.
const PAUSE: Duration = Duration::from_millis(50);

/// The stream of the programs' reports.
pub struct Ebpf {
    tracer: Tracer,
    completer: Completer,
    /// Drops that the programs rejected, as far as they were passed on.
    rejected: u64,
    /// Earlier drops are left out, by the monotonic clock in nanoseconds.
    beginning: u64,
    /// The time up to which all reports have been taken.
    settled: Option<Timestamp>,
    /// The programs are detached.
    is_ended: bool,
}

/// Makes records of reports, which it completes.
struct Completer {
    reasons: Reasons,
    symbols: Symbols,
    /// Present where call stacks are captured.
    stacks: Option<Stacks>,
    devices: DeviceTable,
    contexts: ContextTable,
    /// NET_DM's number, where the kernel has it.
    family: Option<u16>,
    not_packets: NotPackets,
    left_out: LeftOut,
}

impl Ebpf {
    /// Attaches the programs. `family` is NET_DM's number, by which its alerts are recognised. The programs
    /// reject what `filter` rejects, which is made for the running kernel's reasons.
    pub fn new(
        wanted: TracerSettings,
        family: Option<u16>,
        not_packets: NotPackets,
        filter: impl FnOnce(&Reasons) -> Option<BpfProgram>,
    ) -> Result<Self, TracerError> {
        let (tracer, reasons) = Tracer::new(wanted, filter)?;
        let symbols = Symbols::named_by_kernel();
        Ok(Self {
            tracer,
            completer: Completer {
                stacks: wanted.program.stack_frames.map(Stacks::new),
                ..Completer::new(reasons, symbols, family, not_packets)
            },
            rejected: 0,
            beginning: 0,
            settled: None,
            is_ended: false,
        })
    }

    /// Takes the kernel's refusal of the filter out, if there was one.
    pub fn filter_refusal(&mut self) -> Option<TracerError> {
        self.tracer.filter_refused.take()
    }

    /// Passes on how many more drops the programs have rejected.
    fn pass_on_rejected(&mut self, receive: &mut Receive<'_>) -> io::Result<ControlFlow<()>> {
        if !self.tracer.filters {
            return Ok(ControlFlow::Continue(()));
        }
        let rejected = self.tracer.rejected()?;
        let more = rejected.saturating_sub(self.rejected);
        self.rejected = rejected;
        Ok(match more {
            0 => ControlFlow::Continue(()),
            more => receive(Event::Rejected(more)),
        })
    }

    /// Passes on some of the waiting reports, and returns their number. `realtime` is the time of day in nanoseconds.
    fn take_waiting(
        &mut self,
        realtime: u64,
        receive: &mut Receive<'_>,
    ) -> io::Result<ControlFlow<(), usize>> {
        let now = monotonic_time()?;
        // Measured anew each time, for somebody may set the clock.
        let offset = realtime.wrapping_sub(now);
        let until = if self.is_ended {
            Until::End
        } else {
            Until::Time(now)
        };
        let completer = &mut self.completer;
        let beginning = self.beginning;
        let taken = self.tracer.take(until, |report| {
            if report.time < beginning {
                return ControlFlow::Continue(());
            }
            let time = Timestamp(report.time.wrapping_add(offset));
            completer.hand_on(&report, time, receive)
        });
        completer.left_out.damaged_messages = self.tracer.damaged();
        self.settled = match taken {
            ControlFlow::Continue(0..BATCH) => Some(Timestamp(
                now.saturating_sub(SETTLED_NANOS).wrapping_add(offset),
            )),
            _ => None,
        };
        Ok(taken)
    }

    /// Ends the capture: what waits can still be taken.
    fn stop(&mut self) {
        self.tracer.detach();
        self.is_ended = true;
    }

    /// Returns the bytes of one CPU's buffer.
    pub fn cpu_buffer_bytes(&self) -> usize {
        self.tracer.cpu_buffer_bytes()
    }

    /// Returns the bytes of all buffers, where the kernel granted less than was wanted.
    pub fn small_buffers(&self) -> Option<usize> {
        self.tracer.is_small.then_some(self.tracer.buffer_bytes)
    }
}

impl Source for Ebpf {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        descriptors.push(self.tracer.as_fd());
    }

    fn longest_wait(&self) -> Option<Duration> {
        Some(PAUSE)
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        let realtime = nanos(clock_gettime(ClockId::CLOCK_REALTIME)?);
        let taken = if self.tracer.is_empty() {
            self.settled = Some(Timestamp(realtime.saturating_sub(SETTLED_NANOS)));
            ControlFlow::Continue(0)
        } else {
            self.take_waiting(realtime, receive)?
        };
        let ControlFlow::Continue(count) = taken else {
            return Ok(Taken::Break(()));
        };
        Ok(match (self.pass_on_rejected(receive)?, count) {
            (ControlFlow::Break(()), _) => Taken::Break(()),
            (ControlFlow::Continue(()), 0) => Taken::Nothing,
            (ControlFlow::Continue(()), _) => Taken::Some,
        })
    }

    fn settled(&self) -> Option<Timestamp> {
        self.settled
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop();
        Ok(())
    }

    fn loss(&self) -> io::Result<Loss> {
        Ok(Loss {
            perf: self.tracer.lost()?,
            ..Loss::default()
        })
    }

    fn left_out(&self) -> LeftOut {
        self.completer.left_out
    }

    fn symbols_are_newly_hidden(&mut self) -> bool {
        self.completer.symbols.are_newly_hidden()
    }
}

/// Returns the time of the reports' clock, in nanoseconds.
fn monotonic_time() -> io::Result<u64> {
    Ok(nanos(clock_gettime(ClockId::CLOCK_MONOTONIC)?))
}

fn nanos(time: TimeSpec) -> u64 {
    let time = Duration::from(time);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Completer {
    fn new(
        reasons: Reasons,
        symbols: Symbols,
        family: Option<u16>,
        not_packets: NotPackets,
    ) -> Self {
        Self {
            reasons,
            symbols,
            stacks: None,
            devices: DeviceTable::default(),
            contexts: ContextTable::new(),
            family,
            not_packets,
            left_out: LeftOut::default(),
        }
    }

    fn hand_on(
        &mut self,
        report: &Report<'_>,
        time: Timestamp,
        receive: &mut Receive<'_>,
    ) -> ControlFlow<()> {
        let content = content(report);
        if self
            .left_out
            .leaves_out(content, self.family, self.not_packets)
        {
            return ControlFlow::Continue(());
        }
        receive(Event::Drop(&self.complete(report, content, time)))
    }

    /// Makes the record of a report.
    fn complete<'r>(
        &'r mut self,
        report: &Report<'r>,
        content: Content,
        time: Timestamp,
    ) -> DropRecord<'r> {
        let stacks = self.stacks.as_mut();
        let stack =
            stacks.and_then(|stacks| stacks.find(report.stack, report.pc, &mut self.symbols));
        let location = Location {
            stack,
            ..self.symbols.complete(Location::new(Some(report.pc), None))
        };
        let FoundContext {
            facts: around,
            device,
            is_here,
            input_name,
        } = self.contexts.find(report);
        let key = InterfaceKey::new(report.input, around.netns);
        let input = (report.input != 0).then(|| Interface::new(key, None));
        let found = self.devices.find(input);
        // Where the packet is not certainly of this namespace, the index may mean another device here.
        let is_named = report.input == LOOPBACK || is_here;
        let name = input_name.or(found.name.filter(|_| is_named));
        let hardware = device.map(|device| (device.index, ArpHardware(device.hardware)));
        let link = match content {
            Content::Packet => link(report, hardware, found.certain, found.guess),
            Content::Netlink { .. } => Link::known(LinkType::NETLINK),
            Content::Data => Link::known(LinkType::NO_PACKET),
        };
        let captured = u32::try_from(report.data.len()).unwrap_or(u32::MAX);
        DropRecord {
            time: Some(time),
            cause: Cause::Software {
                location,
                reason: Name::new(self.reasons.name(report.reason)),
            },
            input: input.map(|input| Interface::new(input.key, name)),
            context: around,
            protocol: Some(EtherType(report.protocol)),
            original_len: report.original_len.max(captured),
            ..DropRecord::new(link, report.data)
        }
    }
}

/// Tells packets from other data, which has no protocol, no headers and no input device.
fn content(report: &Report<'_>) -> Content {
    let has_headers = report.start != Start::Data || report.network > 0;
    if report.protocol != EtherType::NONE.0 || report.input != 0 || has_headers {
        return Content::Packet;
    }
    Content::of_no_packet(report.data, report.original_len, ByteOrder::NATIVE)
}

/// Returns the link type. `device` is the index and the hardware type of `skb->dev`, where that certainly
/// is a device; `certain` and `guess` are those of the input interface.
fn link(
    report: &Report<'_>,
    device: Option<(u32, ArpHardware)>,
    certain: Option<ArpHardware>,
    guess: Option<ArpHardware>,
) -> Link {
    let protocol = EtherType(report.protocol);
    let is_ip = matches!(protocol, EtherType::IPV4 | EtherType::IPV6);
    let hardware = match report.start {
        Start::Network if is_ip => return Link::known(LinkType::RAW),
        Start::Network => None,
        // The header is that of the device which the packet came in by; on its way out, `skb->dev` may
        // already be another one.
        Start::LinkLayer => match device {
            Some((index, hardware)) if report.input == 0 || report.input == index => Some(hardware),
            Some(_) => None,
            None => certain,
        },
        // The header of the next device has been put in front.
        Start::Data => device.map(|(_, hardware)| hardware),
    };
    // A packet that was made without a link-layer header has none, whatever its device is.
    let has_header = !is_ip || report.network != 0;
    packet::infer_link(
        Some(protocol),
        report.data,
        report.original_len,
        hardware.filter(|_| has_header),
        guess,
    )
}

#[cfg(test)]
mod filtered;
#[cfg(test)]
mod verified;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebpf::report::{CallStack, RunningTask};

    const ETHER: ArpHardware = ArpHardware::ETHER;
    const NONE: ArpHardware = ArpHardware::NONE;

    fn report(start: Start, protocol: EtherType, network: i32, data: &[u8]) -> Report<'_> {
        Report {
            time: 0,
            pc: 0,
            reason: 0,
            original_len: u32::try_from(data.len()).unwrap(),
            input: 0,
            protocol: protocol.0,
            network,
            start,
            headers_len: 0,
            device: None,
            stack: CallStack::default(),
            running: RunningTask {
                process: 0,
                name: b"",
            },
            cgroup: None,
            socket: None,
            mark: None,
            vlan: None,
            is_marked_received: false,
            data,
        }
    }

    /// An IPv4 header, and nothing after it.
    const IP: [u8; 20] = [
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ];

    #[test]
    fn a_packet_without_a_link_layer_header_is_raw_whatever_its_device_is() {
        let report = report(Start::Network, EtherType::IPV4, 0, &IP);
        let found = link(&report, Some((2, ETHER)), None, Some(ETHER));
        assert_eq!(found, Link::known(LinkType::RAW));
    }

    #[test]
    fn a_device_decides_where_the_header_is_its_own() {
        let data = [0; 60];
        let other = EtherType(0x88b5);
        // Its input device, and another one that it is on its way to.
        let arrived = Report {
            input: 2,
            ..report(Start::LinkLayer, other, 14, &data)
        };
        assert_eq!(
            link(&arrived, Some((2, NONE)), None, None),
            Link::known(LinkType::RAW)
        );
        let found = link(&arrived, Some((3, NONE)), None, Some(ETHER));
        assert_eq!(found.kind, LinkType::ETHERNET);
        assert_ne!(found, Link::known(LinkType::ETHERNET));
        // The next device's header stands in front already.
        let leaving = Report {
            input: 2,
            ..report(Start::Data, other, 14, &data)
        };
        assert_eq!(
            link(&leaving, Some((3, NONE)), None, None),
            Link::known(LinkType::RAW)
        );
        // Where an Ethernet device's packet begins with IP, it has no Ethernet header.
        let bare = report(Start::LinkLayer, EtherType::IPV4, 0, &IP);
        assert_eq!(
            link(&bare, Some((2, ETHER)), None, None),
            Link::known(LinkType::RAW)
        );
    }

    #[test]
    fn what_never_was_a_packet_has_nothing_that_a_packet_has() {
        let none = EtherType::NONE;
        let data = *b"hello";
        assert_eq!(
            content(&report(Start::Data, none, -64, &data)),
            Content::Data
        );
        let message = [16_u32.to_ne_bytes(), 5_u32.to_ne_bytes(), [0; 4], [0; 4]].concat();
        let netlink = content(&report(Start::Data, none, -64, &message));
        assert!(matches!(netlink, Content::Netlink { .. }));
        for packet in [
            report(Start::Data, EtherType::ARP, -64, &data),
            report(Start::Data, none, 14, &data),
            report(Start::Network, none, 0, &data),
            Report {
                input: 1,
                ..report(Start::Data, none, -64, &data)
            },
        ] {
            assert_eq!(content(&packet), Content::Packet);
        }
    }
}
