//! Bridges whose ports do not take a frame, or do not pass it on.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::bridge::{
    BridgeDevice, BridgeDevices, BridgeVlans, PortVlans, PortsOfAddress, VLANS,
};
use crate::packet::be16;
use crate::packet::offset::ethernet;
use crate::record::LinkType;

/// The causes' names.
const STATE: &str = "bridge_port_state";
const VLAN: &str = "bridge_vlan";
const ISOLATED: &str = "bridge_isolated";

/// The state in which a port passes frames on (`BR_STATE_FORWARDING`), and the one in which it only looks at them.
const FORWARDING: u8 = 3;
const LEARNING: u8 = 2;

/// The command for the ports.
const PORTS: &str = "bridge -d link show";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Bridges",
    drops: &[
        "br_handle_frame",
        "br_handle_frame_finish",
        "br_forward",
        "br_flood",
        "BRIDGE_INGRESS_STP_STATE",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: STATE,
            title: "A port of a bridge is not in the state forwarding",
            evidence: "The state of the port that the frame came in by, or is to leave by (bridge link). Certain where \
                       the kernel gives that as its reason.",
            cure: "The spanning tree changes the state, if one runs; otherwise, whoever set it.",
        },
        CauseText {
            id: VLAN,
            title: "A port of a bridge is not a member of the VLAN",
            evidence: "The VLANs of the ports (bridge vlan), the frame's tag, and the port behind which the bridge \
                       knows its destination, or all others. Never certain: other settings of a port forbid, too.",
            cure: "The port becomes a member of the VLAN; or the sender uses another one.",
        },
        CauseText {
            id: ISOLATED,
            title: "Both ports of a bridge are isolated",
            evidence: "The ports (bridge -d link), and the port behind which the bridge knows the destination, or all \
                       others. Never certain, as for VLANs.",
            cure: "One of the ports is not isolated.",
        },
    ],
};

/// The functions that drop what a port may not take.
const INPUT: [&str; 4] = [
    "br_handle_frame",
    "br_handle_frame_finish",
    "br_allowed_ingress",
    "__allowed_ingress",
];
/// Those that drop what no port may pass on.
const OUTPUT: [&str; 3] = ["br_forward", "br_flood", "__br_forward"];

fn concerns(case: &DropCase) -> bool {
    let reasons = [
        "NO_TX_TARGET",
        "BRIDGE_INGRESS_STP_STATE",
        "BRIDGE_INGRESS_VLAN",
        "VLAN_FILTER",
    ];
    let has_reason = case.has_no_reason() || reasons.iter().any(|reason| case.has_reason(reason));
    let is_in = |places: &[&str]| places.iter().any(|place| case.is_in(place));
    has_reason && (is_in(&INPUT) || is_in(&OUTPUT))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let devices = host.ask(&BridgeDevices).ok()?;
    let port = devices.iter().find(|one| {
        one.bridge.is_some() && Some(one.index) == case.input
            || Some(&one.name) == case.device.as_ref()
    })?;
    let bridge = devices.iter().find(|one| Some(one.index) == port.bridge)?;
    let vlans = if bridge.filters_vlans {
        host.ask(&BridgeVlans).ok()?
    } else {
        Vec::new()
    };
    let frame = BridgedFrame {
        case,
        port,
        bridge,
        vlans: &vlans,
    };
    let is_in = |places: &[&str]| places.iter().any(|place| case.is_in(place));
    let refused = is_in(&INPUT).then(|| frame.not_taken(&devices, host));
    let refused = refused.flatten();
    // The compiler puts the functions that pass a frame on into this one.
    if refused.is_none() && (is_in(&OUTPUT) || case.is_in("br_handle_frame_finish")) {
        return frame.not_passed_on(&devices, host);
    }
    refused
}

/// A frame that came in by a port.
struct BridgedFrame<'a> {
    case: &'a DropCase,
    port: &'a BridgeDevice,
    bridge: &'a BridgeDevice,
    vlans: &'a [PortVlans],
}

impl BridgedFrame<'_> {
    /// Claims what the port has against the frame.
    fn not_taken(&self, devices: &[BridgeDevice], host: &HostState) -> Option<CauseFinding> {
        let port = self.port;
        let state = port.state?;
        let is_by_vlan = self.case.has_reason("BRIDGE_INGRESS_VLAN")
            || self.case.has_reason("VLAN_FILTER")
            || self.case.is_in("__allowed_ingress")
            || self.case.is_in("br_allowed_ingress");
        // Until the state is looked at, nothing else is; when learning, only after the VLAN.
        if state != FORWARDING && state != LEARNING && !is_by_vlan {
            let is_sure = self.case.has_reason("BRIDGE_INGRESS_STP_STATE");
            return Some(of_state(port, is_sure));
        }
        if self.bridge.filters_vlans
            && !self.case.has_reason("BRIDGE_INGRESS_STP_STATE")
            && !self.is_member(port)
        {
            return Some(self.of_vlan(port, &self.lacking_too(devices, host)));
        }
        let is_learning = state == LEARNING && !is_by_vlan;
        is_learning.then(|| of_state(port, self.case.has_reason("BRIDGE_INGRESS_STP_STATE")))
    }

    /// Returns the ports that would refuse the frame next, because they lack its VLAN, too: where its destination was
    /// seen, or the bridge's only other port.
    fn lacking_too<'d>(
        &self,
        devices: &'d [BridgeDevice],
        host: &HostState,
    ) -> Vec<&'d BridgeDevice> {
        if self.vlan().is_none() {
            return Vec::new();
        }
        let others = self.others(devices);
        let targets = match others.len() {
            1 => others,
            _ => self.seen_behind(None, devices, host).unwrap_or_default(),
        };
        let refusing = targets.into_iter().filter(|one| !self.is_member(one));
        refusing.collect()
    }

    /// Returns the other ports behind which the bridge has seen the frame's destination, in this VLAN or in any. `None`
    /// where that is not known.
    fn seen_behind<'d>(
        &self,
        vlan: Option<u16>,
        devices: &'d [BridgeDevice],
        host: &HostState,
    ) -> Option<Vec<&'d BridgeDevice>> {
        let destination = self.case.data.get(..6)?;
        let known = host.ask(&PortsOfAddress(destination.to_vec())).ok()?;
        let is_behind = |port: &&BridgeDevice| {
            known.iter().any(|(index, of_vlan)| {
                *index == port.index && vlan.is_none_or(|vlan| vlan == *of_vlan)
            })
        };
        let mut ports = self.others(devices);
        ports.retain(is_behind);
        Some(ports)
    }

    /// Returns the other ports of the bridge.
    fn others<'d>(&self, devices: &'d [BridgeDevice]) -> Vec<&'d BridgeDevice> {
        let is_other =
            |one: &&BridgeDevice| one.bridge == self.port.bridge && one.index != self.port.index;
        devices.iter().filter(is_other).collect()
    }

    /// Claims what the ports have against the frame by which it may leave.
    fn not_passed_on(&self, devices: &[BridgeDevice], host: &HostState) -> Option<CauseFinding> {
        if LinkType(self.case.link) != LinkType::ETHERNET {
            return None;
        }
        let vlan = self.vlan().filter(|_| self.bridge.filters_vlans);
        let targets = self.seen_behind(vlan, devices, host)?;
        let targets = if targets.is_empty() {
            self.others(devices)
        } else {
            targets
        };
        // All that it could leave by have to refuse it: the first is named.
        let mut refusals = targets.iter().map(|one| self.refusal(one));
        let first = refusals.next()??;
        if refusals.any(|refusal| refusal.is_none()) {
            return None;
        }
        let target = *targets.first()?;
        let mut finding = match first {
            PortRefusal::State => of_state(target, false),
            PortRefusal::Vlan => self.of_vlan(target, &targets[1..]),
            PortRefusal::Isolated => self.of_isolation(target),
        };
        if targets.len() > 1 {
            let names: Vec<_> = targets.iter().map(|one| one.name.as_str()).collect();
            finding = finding.seen(
                PORTS,
                format!("none of {} takes the frame", names.join(", ")),
            );
        }
        Some(finding)
    }

    /// Returns what a port has against the frame, in the order of `should_deliver` (net/bridge/br_forward.c).
    fn refusal(&self, target: &BridgeDevice) -> Option<PortRefusal> {
        if target.state.is_some_and(|state| state != FORWARDING) {
            return Some(PortRefusal::State);
        }
        if self.bridge.filters_vlans && !self.is_member(target) {
            return Some(PortRefusal::Vlan);
        }
        (self.port.is_isolated && target.is_isolated).then_some(PortRefusal::Isolated)
    }

    /// Returns the frame's VLAN: that of its tag, or the port's own.
    fn vlan(&self) -> Option<u16> {
        let tag = self
            .case
            .vlan
            .map(|tag| u16::try_from(tag & 0xfff).unwrap_or(0));
        let in_frame = || {
            let kind = be16(&self.case.data, ethernet::TYPE)?;
            let tag = be16(&self.case.data, ethernet::LEN)?;
            (LinkType(self.case.link) == LinkType::ETHERNET && kind == 0x8100)
                .then_some(tag & 0xfff)
        };
        let own = || {
            let mut ranges = self.vlans.iter();
            let own = ranges.find(|range| range.port == self.port.name && range.is_untagged_input);
            own.map(|range| range.first)
        };
        // A tag of VLAN 0 is none.
        tag.or_else(in_frame).filter(|tag| *tag != 0).or_else(own)
    }

    fn is_member(&self, port: &BridgeDevice) -> bool {
        let Some(vlan) = self.vlan() else {
            return false;
        };
        let mut ranges = self.vlans.iter().filter(|range| range.port == port.name);
        ranges.any(|range| (range.first..=range.last).contains(&vlan))
    }

    /// Claims that a port is not a member of the frame's VLAN; `others` are not, either.
    fn of_vlan(&self, port: &BridgeDevice, others: &[&BridgeDevice]) -> CauseFinding {
        let name = &port.name;
        let ranges = self.vlans.iter().filter(|range| range.port == *name);
        let member: Vec<_> = ranges
            .clone()
            .map(|range| match range {
                PortVlans { first, last, .. } if first == last => first.to_string(),
                PortVlans { first, last, .. } => format!("{first}-{last}"),
            })
            .collect();
        let member = if member.is_empty() {
            "none".to_owned()
        } else {
            member.join(", ")
        };
        let (object, claim, words) = match self.vlan() {
            Some(vlan) => {
                // As the port's other VLANs are.
                let is_plain = ranges.clone().any(|range| range.is_untagged_output);
                let is_plain = is_plain && port.index != self.port.index;
                (
                    format!("VLAN {vlan} on bridge port {name}"),
                    format!("the bridge port {name} is not a member of VLAN {vlan}"),
                    format!(
                        "vid {vlan} dev %{}",
                        if is_plain { " untagged" } else { "" }
                    ),
                )
            }
            None => (
                format!("VLAN (pvid) of bridge port {name}"),
                format!("the bridge port {name} has no VLAN for frames without a tag"),
                format!("vid {} dev % pvid untagged", self.bridge.usual_vlan.max(1)),
            ),
        };
        let mut finding = CauseFinding::new(VLAN, Grade::Likely, claim)
            .object(object)
            .seen(VLANS, format!("{name} is a member of {member}"))
            .proof("as a member of the VLAN, the port takes the frames");
        for one in [&port].into_iter().chain(others) {
            if is_plain(&one.name) {
                let words = words.replace('%', &one.name);
                finding = finding.cure(format!("bridge vlan add {words}"));
            }
        }
        finding
    }

    fn of_isolation(&self, target: &BridgeDevice) -> CauseFinding {
        let (from, to) = (&self.port.name, &target.name);
        let finding = CauseFinding::new(
            ISOLATED,
            Grade::Likely,
            format!("the bridge ports {from} and {to} are both isolated"),
        )
        .object(format!("isolated bridge ports {from} and {to}"))
        .seen(PORTS, format!("{from} isolated on, {to} isolated on"))
        .proof("where one of them is not isolated, the frames pass");
        if is_plain(to) {
            finding.cure(format!("bridge link set dev {to} isolated off"))
        } else {
            finding
        }
    }
}

/// A reason for which a port does not pass a frame on.
enum PortRefusal {
    State,
    Vlan,
    Isolated,
}

fn of_state(port: &BridgeDevice, is_sure: bool) -> CauseFinding {
    let name = &port.name;
    let state = match port.state {
        Some(0) => "disabled",
        Some(1) => "listening",
        Some(LEARNING) => "learning",
        Some(4) => "blocking",
        _ => "not forwarding",
    };
    let grade = if is_sure {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let mut finding = CauseFinding::new(
        STATE,
        grade,
        format!("the bridge port {name} is in the state {state}"),
    )
    .object(format!("state of bridge port {name}"))
    .seen("bridge link show", format!("{name} state {state}"));
    if !is_sure {
        finding = finding.proof("in the state forwarding, the port passes the frames on");
    }
    finding =
        finding.advise("where a spanning tree runs, it decides: see who is the root, and why");
    if is_plain(name) {
        finding = finding.cure(format!("bridge link set dev {name} state {FORWARDING}"));
    }
    finding
}

#[cfg(test)]
mod tests;
