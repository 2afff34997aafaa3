//! Packets that a VXLAN device cannot send, because there is no route to the remote.

use std::fmt::Write;
use std::net::IpAddr;

use super::fib::{DeviceNames, FlowKey, RouteFate, RoutingState};
use super::refused::removal;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::errno::strerror;
use crate::host::HostState;
use crate::host::neighbour::{ForwardingEntries, ForwardingEntry};
use crate::host::route::{RouteAnswer, RouteLookup};
use crate::host::vxlan::{VxlanDevice, VxlanDevices};
use crate::record::LinkType;

/// The name of the cause.
const NO_UNDERLAY: &str = "vxlan_remote_without_route";

/// UDP, by its number in IANA's registry.
const UDP: u8 = 17;
/// The length of a link-layer address.
const ADDRESS_LEN: usize = 6;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "VXLAN",
    drops: &["vxlan_xmit_one", "vxlan_xmit", "IP_OUTNOROUTES"],
    concerns,
    judge,
    causes: &[CauseText {
        id: NO_UNDERLAY,
        title: "There is no route to the remote of a VXLAN device",
        evidence: "The entries of the device's forwarding table for the frame's destination (bridge fdb), those for \
                   all others (00:00:00:00:00:00) where it has none, and the kernel's route lookup for each remote. \
                   Certain where the kernel has no route for one of them; a blackhole, unreachable or prohibit \
                   route is named instead.",
        cure: "A route to the remote, or another remote.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    let is_there = case.is_in("vxlan_xmit_one") || case.is_in("vxlan_xmit");
    let has_reason = case.has_no_reason() || case.has_reason("IP_OUTNOROUTES");
    is_there && has_reason && LinkType(case.link) == LinkType::ETHERNET
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let name = case.device.as_deref()?;
    let devices = host.ask(&VxlanDevices).ok()?;
    let device = devices.iter().find(|device| device.name == name)?;
    // The routes of another namespace are not seen from here.
    if device.is_external || device.is_elsewhere {
        return None;
    }
    let address = case.data.get(..ADDRESS_LEN)?;
    let entries = host.ask(&ForwardingEntries).ok()?;
    let of = |address: &[u8]| -> Vec<&ForwardingEntry> {
        let is_it = |entry: &&ForwardingEntry| {
            entry.device == device.index && entry.address == address && entry.remote.is_some()
        };
        entries.iter().filter(is_it).collect()
    };
    let mut used = of(address);
    if used.is_empty() {
        used = of(&[0; ADDRESS_LEN]);
    }
    used.into_iter()
        .find_map(|entry| judge_entry(case, device, entry, host))
}

/// Looks for the route to the remote of an entry.
fn judge_entry(
    case: &DropCase,
    device: &VxlanDevice,
    entry: &ForwardingEntry,
    host: &HostState,
) -> Option<CauseFinding> {
    let remote = entry.remote?;
    let output = entry.output.or(device.output);
    let lookup = RouteLookup {
        destination: remote,
        source: device.local,
        input: None,
        output,
        mark: case.mark,
        tos: 0,
        protocol: Some(UDP),
        ports: None,
    };
    let RouteAnswer::Refused(errno) = host.ask(&lookup).ok()? else {
        return None;
    };
    let name = &device.name;
    let finding = CauseFinding::new(
        NO_UNDERLAY,
        Grade::Certain,
        format!("{name} sends this to {remote}, to which there is no route"),
    );
    let finding = finding
        .object(format!("remote {remote} of {name}"))
        .seen(
            format!("bridge fdb show dev {name}"),
            format!("{} dst {remote}", hardware(&entry.address)),
        )
        .seen(command(&lookup, host), strerror(errno));
    // Which route refuses the packet, if one does.
    let key = FlowKey {
        destination: remote,
        source: device.local.unwrap_or(unspecified(remote)),
        input: None,
        mark: case.mark,
        tos: 0,
        protocol: UDP,
        ports: (0, 0),
    };
    let state = RoutingState::of(&key, host);
    let fate = state.as_ref().and_then(|state| state.walk(&key));
    let refusing = match &fate {
        Some(fate @ RouteFate::Route(route)) if fate.errno() == Some(errno) => Some((
            fate,
            format!("route {}", route.text()),
            "ip route show table all",
        )),
        Some(fate @ RouteFate::Rule(rule)) if fate.errno() == Some(errno) => {
            Some((fate, rule.text(), "ip rule"))
        }
        _ => None,
    };
    let Some((fate, object, source)) = refusing else {
        return Some(finding.advise(format!(
            "add a route, or change the remote: ip route add {remote} via GATEWAY"
        )));
    };
    let mut finding = finding.object(object.clone()).seen(source, object.clone());
    finding.claim = format!("{name} sends this to {remote}, which the {object} refuses");
    let next = state.and_then(|state| state.walk_past(&key, fate));
    let helps = next.is_some_and(|next| next.unicast().is_some());
    Some(match removal(&key, fate, host).filter(|_| helps) {
        Some(command) => finding.cure(command),
        None => finding.advise(format!("add a route: ip route add {remote} via GATEWAY")),
    })
}

fn command(lookup: &RouteLookup, host: &HostState) -> String {
    let mut command = format!("ip route get {}", lookup.destination);
    if let Some(source) = lookup.source {
        let _ = write!(command, " from {source}");
    }
    let names = DeviceNames::ask(host);
    if let Some(name) = lookup.output.and_then(|index| names.of(index)) {
        let _ = write!(command, " oif {name}");
    }
    command
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Writes a link-layer address.
pub fn hardware(address: &[u8]) -> String {
    let bytes: Vec<_> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}
