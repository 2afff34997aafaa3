//! Packets whose next hop has no link-layer address.

use std::net::IpAddr;

use super::fib::{DeviceNames, FlowKey, RoutingState};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy};
use crate::host::HostState;
use crate::host::neighbour::{NeighbourTables, Neighbours};

/// The names of the causes.
const UNANSWERED: &str = "neighbour_failed";
const QUEUE_FULL: &str = "neighbour_queue_full";
const TABLE_FULL: &str = "neighbour_table_full";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Neighbours",
    drops: &[
        "NEIGH_FAILED",
        "NEIGH_QUEUEFULL",
        "NEIGH_CREATEFAIL",
        "arp_error_report",
        "ndisc_error_report",
        "neigh_invalidate",
        "__neigh_event_send",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: UNANSWERED,
            title: "No answer came from the next hop",
            evidence: "The route of the packet, and the state of the neighbour that it leads to (ip neigh). Certain \
                       where that is FAILED.",
            cure: "The host with that address, the cable or the VLAN to it; what drops its answers here, such as an XDP \
                   program; or another gateway in the route.",
        },
        CauseText {
            id: QUEUE_FULL,
            title: "Too many packets wait for the answer of the next hop",
            evidence: "The drop reason, the route of the packet and the state of the neighbour. Likely.",
            cure: "As before: packets are queued only while a neighbour does not answer. A longer queue \
                   (unres_qlen_bytes) helps where it is only slow.",
        },
        CauseText {
            id: TABLE_FULL,
            title: "The table of neighbours is full",
            evidence: "The drop reason, the number of neighbours and gc_thresh3, which all network namespaces \
                       share. Likely.",
            cure: "A larger gc_thresh3 (and gc_thresh2), or fewer neighbours.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    let places = [
        "arp_error_report",
        "ndisc_error_report",
        "neigh_invalidate",
        "__neigh_event_send",
    ];
    let reasons = ["NEIGH_FAILED", "NEIGH_QUEUEFULL", "NEIGH_CREATEFAIL"];
    let is_there = places.iter().any(|place| case.is_in(place)) && case.has_no_reason();
    is_there || reasons.iter().any(|reason| case.has_reason(reason))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if case.has_reason("NEIGH_CREATEFAIL") {
        return judge_table(case, host);
    }
    let key = match case.input {
        Some(_) => FlowKey::received(case, host)?,
        None => FlowKey::sent(case)?,
    };
    let fate = RoutingState::of(&key, host)?.walk(&key)?;
    let route = fate.unicast()?;
    if route.is_shared {
        return None;
    }
    let names = DeviceNames::ask(host);
    let next = route.gateway.unwrap_or(key.destination);
    let index = route.output?;
    let device = names.of(index)?;
    if case.device.as_deref().is_some_and(|other| other != device) {
        return None;
    }
    let neighbours = host.ask(&Neighbours).ok()?;
    let neighbour = neighbours
        .iter()
        .find(|one| one.address == next && one.device == index);
    let state = neighbour.map_or("no entry", |one| one.state.as_str());
    let is_queue = case.has_reason("NEIGH_QUEUEFULL");
    // What has an address by now had none when the packet was dropped.
    let grade = if state == "FAILED" && !is_queue {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let claim = if is_queue {
        format!("too many packets wait for {next} on {device}, which has not answered yet")
    } else {
        format!("no answer from {next} came in by {device}")
    };
    let id = if is_queue { QUEUE_FULL } else { UNANSWERED };
    let mut finding = CauseFinding::new(id, grade, claim)
        .object(format!("neighbour {next} dev {device}"))
        .seen(key.command(), fate.text(&names))
        .seen(format!("ip neigh show {next} dev {device}"), state);
    if grade == Grade::Likely {
        finding = finding.proof(format!("ip neigh show {next} dev {device} says FAILED"));
    }
    Some(finding.advise(format!(
        "look whether the host with {next} is there, in the network of {device}, and whether something here drops its \
         answers: ip -d link show {device} has XDP programs"
    )))
}

fn judge_table(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let (name, version) = match case.destination()? {
        IpAddr::V4(_) => ("arp_cache", "ipv4"),
        IpAddr::V6(_) => ("ndisc_cache", "ipv6"),
    };
    let tables = host.ask(&NeighbourTables).ok()?;
    let table = tables.iter().find(|table| table.name == name)?;
    if table.entries < table.limit {
        return None;
    }
    let setting = format!("net.{version}.neigh.default.gc_thresh3");
    let finding = CauseFinding::new(
        TABLE_FULL,
        Grade::Likely,
        format!(
            "the table of neighbours is full: it has {} of at most {}",
            table.entries, table.limit
        ),
    );
    let finding = finding
        .object(format!("sysctl {setting}"))
        .seen(
            "ip ntable show",
            format!("{name}: entries {}", table.entries),
        )
        .seen(&setting, table.limit.to_string())
        .proof("the kernel's log says: neighbour: arp_cache: neighbor table overflow!");
    let more = table.entries.saturating_mul(2).max(1024);
    Some(finding.remedy(Remedy {
        advice: None,
        command: Some(format!("sysctl -w {setting}={more}")),
        effect: Effect::Now,
        is_global: true,
    }))
}
