//! Decides what is certain of the circumstances that a report of the eBPF program tells.

use super::cgroups::{CgroupNames, CgroupTable};
use super::namespaces::NamespaceTable;
use crate::ebpf::report::{Report, SkbDevice, Start};
use crate::packet::ArpHardware;
use crate::record::{Direction, DropContext, Heading, Name, SocketRole};

/// This host's namespaces and cgroups.
pub struct ContextTable {
    namespaces: NamespaceTable,
    cgroups: CgroupTable,
}

/// The circumstances of a drop.
pub struct FoundContext<'r, 't> {
    /// The facts.
    pub facts: DropContext<'t>,
    /// `skb->dev`, where that certainly is a device.
    pub device: Option<SkbDevice<'r>>,
    /// The packet's namespace is this process's own.
    pub is_here: bool,
    /// The name of the input device in another namespace.
    pub input_name: Option<Name<'t>>,
}

/// The bits of a tag that are the number of the VLAN; the others are its priority.
const VLAN_ID: u16 = 0x0fff;

impl ContextTable {
    /// Has not yet looked for any.
    pub fn new() -> Self {
        Self {
            namespaces: NamespaceTable::new(),
            cgroups: CgroupTable::default(),
        }
    }

    /// Returns the circumstances of a drop.
    pub fn find<'r: 't, 't>(&'t mut self, report: &Report<'r>) -> FoundContext<'r, 't> {
        let Self {
            namespaces,
            cgroups,
        } = self;
        let device = report
            .device
            .filter(|it| namespaces.has_device(it.namespace, it.index, it.name));
        let netns = match device {
            Some(device) => Some(device.namespace),
            None => namespace_of_socket(report, namespaces),
        };
        let is_here = netns.is_some_and(|inode| namespaces.is_own(inode));
        let netns_facts = netns.map(|inode| namespaces.netns(inode));
        let elsewhere = netns.filter(|_| !is_here && report.input != 0);
        if let Some(inode) = elsewhere {
            namespaces.look_up(inode, report.input);
        } else if let Some(inode) = netns {
            // So that its name is known.
            namespaces.has(inode);
        }
        let namespaces = &*namespaces;
        let CgroupNames { path, unit } = match report.cgroup {
            Some(number) => cgroups.names(number),
            None => CgroupNames::default(),
        };
        FoundContext {
            facts: DropContext {
                device: device.and_then(|device| Name::new(device.name)),
                netns: netns_facts,
                netns_name: netns.and_then(|inode| namespaces.known_name(inode)),
                running: Name::new(report.running.name),
                running_pid: Some(report.running.process),
                cgroup: path,
                cgroup_id: report.cgroup,
                unit,
                socket: report.socket.map(|socket| socket.facts),
                mark: report.mark,
                vlan: report.vlan.map(|tag| (tag & VLAN_ID).into()),
                heading: Some(heading(report, device)),
                ..DropContext::default()
            },
            device,
            is_here,
            input_name: elsewhere.and_then(|inode| namespaces.known_device(inode, report.input)),
        }
    }
}

/// Returns the namespace of the socket, where nothing speaks against its being the packet's. A packet that has just
/// passed a pair of virtual devices still belongs to the sender's socket, in another namespace: then it has a device.
fn namespace_of_socket(report: &Report<'_>, namespaces: &mut NamespaceTable) -> Option<u32> {
    let socket = report.socket?;
    if socket.namespace == 0 {
        return None;
    }
    let is_its_own = match report.device {
        _ if socket.facts.role == SocketRole::Receiver => true,
        None => true,
        Some(device) => device.namespace == socket.namespace || namespaces.lacks(device.namespace),
    };
    is_its_own.then_some(socket.namespace)
}

/// Returns the direction, where it is certain. `device` is that of the packet, where it is certain.
fn heading(report: &Report<'_>, device: Option<SkbDevice<'_>>) -> Heading {
    let is_receiver = |role| role == SocketRole::Receiver;
    let was_received = report.input != 0
        || report.is_marked_received
        || report
            .socket
            .is_some_and(|socket| is_receiver(socket.facts.role));
    // A packet that was made here gets its link-layer header last, and then begins with it. From one that
    // was received, the kernel takes an Ethernet header off before anything else.
    let is_ethernet =
        device.is_some_and(|device| ArpHardware(device.hardware) == ArpHardware::ETHER);
    let is_unsent = match report.start {
        Start::Network => true,
        Start::LinkLayer => is_ethernet && report.headers_len == 0,
        Start::Data => false,
    };
    match (was_received, is_unsent) {
        (true, _) => Heading::Known(Direction::Inbound),
        (false, true) => Heading::Known(Direction::Outbound),
        (false, false) => Heading::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebpf::report::{ReportedSocket, RunningTask};
    use crate::record::{DropSocket, EtherType};

    fn report(start: Start) -> Report<'static> {
        Report {
            protocol: EtherType::IPV4.0,
            start,
            headers_len: 14,
            running: RunningTask {
                process: 7,
                name: b"curl",
            },
            ..Report::of_nothing()
        }
    }

    fn device(namespace: u32, index: u32, name: &[u8]) -> SkbDevice<'_> {
        SkbDevice {
            index,
            namespace,
            hardware: ArpHardware::ETHER.0,
            name,
        }
    }

    fn socket(role: SocketRole, namespace: u32) -> ReportedSocket {
        ReportedSocket {
            facts: DropSocket {
                role,
                family: 2,
                protocol: 17,
                port: 53,
                peer_port: 0,
                state: 7,
            },
            namespace,
        }
    }

    #[test]
    fn a_direction_is_told_only_where_it_is_certain() {
        #[track_caller]
        fn check(report: &Report<'_>, device: Option<SkbDevice<'_>>, expected: Heading) {
            assert_eq!(heading(report, device), expected);
        }
        let [inbound, outbound] = [Direction::Inbound, Direction::Outbound].map(Heading::Known);
        let framed = report(Start::LinkLayer);
        // A packet that came in has an input interface, or a type that only such packets have; and only those
        // find a receiver.
        check(&Report { input: 2, ..framed }, None, inbound);
        let is_marked_received = true;
        let marked = Report {
            is_marked_received,
            ..framed
        };
        check(&marked, None, inbound);
        let received = Some(socket(SocketRole::Receiver, 1));
        let received = Report {
            socket: received,
            ..framed
        };
        check(&received, None, inbound);
        // A sender's socket proves nothing: the packet may have passed a pair of devices.
        let owned = Some(socket(SocketRole::Owner, 1));
        let owned = Report {
            socket: owned,
            ..framed
        };
        check(&owned, None, Heading::Unknown);
        // What has no link-layer header was made here, as was what still begins with its own.
        check(&report(Start::Network), None, outbound);
        let leaving = Report {
            headers_len: 0,
            ..framed
        };
        let ethernet = device(1, 2, b"eth0");
        check(&leaving, Some(ethernet), outbound);
        // Without a header of its own, the device says nothing.
        let tun = SkbDevice {
            hardware: ArpHardware::NONE.0,
            ..ethernet
        };
        check(&leaving, Some(tun), Heading::Unknown);
        check(&leaving, None, Heading::Unknown);
        check(&report(Start::Data), None, Heading::Unknown);
        // Forwarded on its way out.
        let forwarded = Report {
            input: 2,
            ..report(Start::Network)
        };
        check(&forwarded, Some(ethernet), inbound);
    }

    #[test]
    fn a_device_is_told_only_where_this_host_has_it() {
        let mut table = ContextTable::new();
        let own = table.namespaces.own().unwrap();
        let with = |device| Report {
            device: Some(device),
            ..report(Start::LinkLayer)
        };
        let report = with(device(own, 1, b"lo"));
        let found = table.find(&report);
        assert_eq!(found.device, report.device);
        assert_eq!(found.facts.device, Name::new(b"lo"));
        assert_eq!(found.facts.netns.unwrap().inode, own);
        assert_eq!(found.facts.running, Name::new(b"curl"));
        assert_eq!(found.facts.running_pid, Some(7));
        for wrong in [
            device(own, 1, b"l\0"),
            device(own, u32::MAX, b"lo"),
            device(7, 1, b"lo"),
        ] {
            let report = with(wrong);
            let found = table.find(&report);
            assert_eq!((found.device, found.facts.device), (None, None));
            assert_eq!(found.facts.netns, None);
        }
    }

    #[test]
    fn the_namespace_comes_from_the_socket_where_no_device_contradicts() {
        let mut table = ContextTable::new();
        let own = table.namespaces.own().unwrap();
        let mut netns = |socket, device| {
            let report = Report {
                socket: Some(socket),
                device,
                ..report(Start::LinkLayer)
            };
            table.find(&report).facts.netns.map(|netns| netns.inode)
        };
        let owner = socket(SocketRole::Owner, 5);
        assert_eq!(netns(owner, None), Some(5));
        assert_eq!(netns(socket(SocketRole::Owner, 0), None), None);
        // Something else stands where the device is: this host has no such namespace.
        let other = device(7, 4, b"\x01");
        assert_eq!(netns(owner, Some(other)), Some(5));
        // A device of the same namespace that may not be looked at.
        assert_eq!(netns(owner, Some(device(5, 4, b"x"))), Some(5));
        // It may have passed a pair of devices, the second of which is not known yet.
        let elsewhere = device(own, u32::MAX, b"new");
        assert_eq!(netns(owner, Some(elsewhere)), None);
        // One that this host did not have at the last look, and may have now.
        let new = device(0xf000_1234, 2, b"eth0");
        assert_eq!(netns(owner, Some(new)), None);
        let receiver = socket(SocketRole::Receiver, 5);
        assert_eq!(netns(receiver, Some(elsewhere)), Some(5));
    }

    #[test]
    fn the_priority_of_a_tag_is_not_its_number() {
        let report = Report {
            vlan: Some(0x6007),
            mark: Some(0x17),
            ..report(Start::LinkLayer)
        };
        let mut table = ContextTable::new();
        let facts = table.find(&report).facts;
        assert_eq!((facts.vlan, facts.mark), (Some(7), Some(0x17)));
    }
}
