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
            cgroups: CgroupTable::new(),
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
        Some(device) => device.namespace == socket.namespace || !namespaces.has(device.namespace),
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
