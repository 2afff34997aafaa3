//! Makes the records of reports: adds what this host's tables know, and what follows from both.

use std::ops::ControlFlow;

use crate::ebpf::reasons::Reasons;
use crate::ebpf::report::{self, Report, ReportedPacket, Start};
use crate::net_dm::content::Content;
use crate::net_dm::netlink::ByteOrder;
use crate::packet::{self, ArpHardware};
use crate::record::{
    Cause, DropRecord, EtherType, Interface, InterfaceKey, Likeness, Link, LinkType, Location,
    Name, Timestamp,
};
use crate::source::context::{ContextTable, FoundContext};
use crate::source::devices::{DeviceTable, LOOPBACK};
use crate::source::stacks::Stacks;
use crate::source::{Event, LeftOut, NotPackets, Receive};
use crate::symbol::Symbols;

/// Makes records of reports, which it completes.
pub struct Completer {
    pub tables: Tables,
    /// NET_DM's number, where the kernel has it.
    family: Option<u16>,
    not_packets: NotPackets,
    pub left_out: LeftOut,
}

/// The tables of this host.
pub struct Tables {
    reasons: Reasons,
    pub symbols: Symbols,
    stacks: Option<Stacks>,
    devices: DeviceTable,
    contexts: ContextTable,
}

/// The record of a report, and what is needed to make those of others with the same facts.
pub struct Completed<'r> {
    pub record: DropRecord<'r>,
    report: Report<'r>,
    hardware: KnownHardware,
    /// The report's facts; `None` where more of the record than its link type depends on the packet's bytes.
    facts: Option<&'r [u8]>,
}

/// The hardware types of a packet's devices, as far as they are known.
#[derive(Clone, Copy, Default)]
pub struct KnownHardware {
    /// The index and the type of `skb->dev`, where that certainly is a device.
    pub device: Option<(u32, ArpHardware)>,
    /// The type of the input interface.
    pub certain: Option<ArpHardware>,
    /// The type of the interface in this namespace that has its index.
    pub guess: Option<ArpHardware>,
}

impl Completer {
    pub fn new(tables: Tables, family: Option<u16>, not_packets: NotPackets) -> Self {
        Self {
            tables,
            family,
            not_packets,
            left_out: LeftOut::default(),
        }
    }

    /// Passes on the records of reports, without those from before `beginning`, and returns the number of reports.
    /// `offset` is what the time of day has more than the reports' clock.
    pub fn hand_on<'r>(
        &'r mut self,
        reports: impl Iterator<Item = &'r [u8]>,
        beginning: u64,
        offset: u64,
        receive: &mut Receive<'_>,
    ) -> ControlFlow<(), usize> {
        let mut count = 0;
        // Most drops of a flood are alike. What was found out for one is kept for those after it, but only for these
        // reports, because tables change. That saves 770 instructions a drop here, and 400 where it is written.
        let mut latest: Option<Completed<'_>> = None;
        for bytes in reports {
            count += 1;
            let Some(packet) = ReportedPacket::decode(bytes) else {
                self.left_out.damaged_messages += 1;
                continue;
            };
            if packet.time < beginning {
                continue;
            }
            let time = Timestamp(packet.time.wrapping_add(offset));
            let record = match &mut latest {
                Some(completed) if completed.is_alike(bytes) => completed.with(packet, time),
                _ => {
                    latest = None;
                    let Some(report) = Report::decode_facts(packet, bytes) else {
                        self.left_out.damaged_messages += 1;
                        continue;
                    };
                    let content = content(&report);
                    let (family, not_packets) = (self.family, self.not_packets);
                    if self.left_out.leaves_out(content, family, not_packets) {
                        continue;
                    }
                    let facts = report::facts(bytes).filter(|_| content == Content::Packet);
                    let completed = self.tables.complete(report, content, time, facts);
                    &latest.insert(completed).record
                }
            };
            receive(Event::Drop(record))?;
        }
        ControlFlow::Continue(count)
    }
}

impl<'r> Completed<'r> {
    /// Returns whether another report has the same facts.
    fn is_alike(&self, bytes: &[u8]) -> bool {
        self.facts.is_some() && self.facts == report::facts(bytes)
    }

    /// Returns the record of another report with the same facts.
    fn with(&mut self, packet: ReportedPacket<'r>, time: Timestamp) -> &DropRecord<'r> {
        self.report.packet = packet;
        self.record.time = Some(time);
        self.record.original_len = packet.whole_len();
        self.record.data = packet.data;
        self.record.link = link(&self.report, self.hardware);
        &self.record
    }
}

impl Tables {
    /// `stacks` is there where call stacks are captured.
    pub fn new(reasons: Reasons, symbols: Symbols, stacks: Option<Stacks>) -> Self {
        Self {
            reasons,
            symbols,
            stacks,
            devices: DeviceTable::default(),
            contexts: ContextTable::new(),
        }
    }

    /// Makes the record of a report; `facts` are those that others may have, too.
    pub fn complete<'r>(
        &'r mut self,
        report: Report<'r>,
        content: Content,
        time: Timestamp,
        facts: Option<&'r [u8]>,
    ) -> Completed<'r> {
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
        } = self.contexts.find(&report);
        let key = InterfaceKey::new(report.input, around.netns);
        let input = (report.input != 0).then(|| Interface::new(key, None));
        let found = self.devices.find(input);
        // Where the packet is not certainly of this namespace, the index may mean another device here.
        let is_named = report.input == LOOPBACK || is_here;
        let name = input_name.or(found.name.filter(|_| is_named));
        let hardware = KnownHardware {
            device: device.map(|device| (device.index, ArpHardware(device.hardware))),
            certain: found.certain,
            guess: found.guess,
        };
        let link = match content {
            Content::Packet => link(&report, hardware),
            Content::Netlink { .. } => Link::known(LinkType::NETLINK),
            Content::Data => Link::known(LinkType::NO_PACKET),
        };
        let record = DropRecord {
            time: Some(time),
            cause: Cause::Software {
                location,
                reason: Name::new(self.reasons.name(report.reason)),
            },
            input: input.map(|input| Interface::new(input.key, name)),
            context: around,
            protocol: Some(EtherType(report.protocol)),
            original_len: report.packet.whole_len(),
            likeness: facts.map(|_| Likeness::new()).unwrap_or_default(),
            ..DropRecord::new(link, report.packet.data)
        };
        Completed {
            record,
            report,
            hardware,
            facts,
        }
    }
}

/// Tells packets from other data, which has no protocol, no headers and no input device.
pub fn content(report: &Report<'_>) -> Content {
    let has_headers = report.start != Start::Data || report.network > 0;
    if report.protocol != EtherType::NONE.0 || report.input != 0 || has_headers {
        return Content::Packet;
    }
    let ReportedPacket {
        data, original_len, ..
    } = report.packet;
    Content::of_no_packet(data, original_len, ByteOrder::NATIVE)
}

/// Returns the link type.
pub fn link(report: &Report<'_>, hardware: KnownHardware) -> Link {
    let KnownHardware {
        device,
        certain,
        guess,
    } = hardware;
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
        report.packet.data,
        report.packet.original_len,
        hardware.filter(|_| has_header),
        guess,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHER: ArpHardware = ArpHardware::ETHER;
    const NONE: ArpHardware = ArpHardware::NONE;

    fn report(start: Start, protocol: EtherType, network: i32, data: &[u8]) -> Report<'_> {
        Report {
            packet: ReportedPacket {
                time: 0,
                original_len: u32::try_from(data.len()).unwrap(),
                data,
            },
            protocol: protocol.0,
            network,
            start,
            ..Report::of_nothing()
        }
    }

    /// An IPv4 header, and nothing after it.
    const IP: [u8; 20] = [
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ];

    fn hardware(device: Option<(u32, ArpHardware)>, guess: Option<ArpHardware>) -> KnownHardware {
        KnownHardware {
            device,
            certain: None,
            guess,
        }
    }

    #[test]
    fn a_packet_without_a_link_layer_header_is_raw_whatever_its_device_is() {
        let report = report(Start::Network, EtherType::IPV4, 0, &IP);
        let found = link(&report, hardware(Some((2, ETHER)), Some(ETHER)));
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
            link(&arrived, hardware(Some((2, NONE)), None)),
            Link::known(LinkType::RAW)
        );
        let found = link(&arrived, hardware(Some((3, NONE)), Some(ETHER)));
        assert_eq!(found.kind, LinkType::ETHERNET);
        assert_ne!(found, Link::known(LinkType::ETHERNET));
        // The next device's header stands in front already.
        let leaving = Report {
            input: 2,
            ..report(Start::Data, other, 14, &data)
        };
        assert_eq!(
            link(&leaving, hardware(Some((3, NONE)), None)),
            Link::known(LinkType::RAW)
        );
        // Where an Ethernet device's packet begins with IP, it has no Ethernet header.
        let bare = report(Start::LinkLayer, EtherType::IPV4, 0, &IP);
        assert_eq!(
            link(&bare, hardware(Some((2, ETHER)), None)),
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
