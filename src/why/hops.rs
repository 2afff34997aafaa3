//! Packets whose hops are used up.

use super::fib::{DeviceNames, FlowKey, RoutingState};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;

/// The names of the causes.
const NO_HOPS: &str = "hops_used_up";
const LOOP: &str = "routing_loop";

/// The positions of the hops that are left, in headers of IPv4 and IPv6.
const TTL_AT: usize = 8;
const HOP_LIMIT_AT: usize = 7;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Hops",
    drops: &["IP_INHDR", "ip_forward", "ip6_forward"],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: NO_HOPS,
            title: "The packet has no hop left",
            evidence: "The packet's TTL or hop limit, and the route to its source. Certain where the source is a \
                       neighbour: then it sent the packet so. traceroute(8) does that on purpose.",
            cure: "The sender has to allow more hops.",
        },
        CauseText {
            id: LOOP,
            title: "The packet goes round in a loop",
            evidence: "The packet has no hop left, and its route leads out of the interface that it came in by. \
                       Likely.",
            cure: "Correct the route here, or that of the next hop, which sends the packet back.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    case.has_reason("IP_INHDR") && (case.is_in("ip_forward") || case.is_in("ip6_forward"))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let key = FlowKey::received(case, host)?;
    let (name, at) = if key.destination.is_ipv6() {
        ("hop limit", HOP_LIMIT_AT)
    } else {
        ("TTL", TTL_AT)
    };
    let hops = *case.ip()?.bytes.get(at)?;
    if hops > 1 {
        return None;
    }
    let (input, index) = key.input.as_ref()?;
    let names = DeviceNames::ask(host);
    let fate = RoutingState::of(&key, host)?.walk(&key)?;
    let route = fate.unicast()?;
    let packet = format!("{} > {}, {name} {hops}", key.source, key.destination);
    if route.output == Some(*index) {
        let finding = CauseFinding::new(
            LOOP,
            Grade::Likely,
            format!(
                "packets to {} go round: they come in by {input} and would leave by it",
                key.destination
            ),
        );
        let finding = finding
            .object(format!("route {}", fate.text(&names)))
            .seen("the packet", packet)
            .seen(key.command(), fate.text(&names));
        return Some(
            finding
                .proof(format!(
                    "traceroute {} shows the same hops again",
                    key.destination
                ))
                .advise(format!(
                    "correct the route to {} here or at the next hop",
                    key.destination
                )),
        );
    }
    let back = key.back(false);
    let way = RoutingState::of(&back, host)?.walk(&back);
    let is_near = way
        .as_ref()
        .and_then(|way| way.unicast())
        .is_some_and(|way| way.gateway.is_none() && way.output == Some(*index) && !way.is_shared);
    let mut finding = CauseFinding::new(
        NO_HOPS,
        if is_near {
            Grade::Certain
        } else {
            Grade::Likely
        },
        format!(
            "the packet of {} has no hop left ({name} {hops})",
            key.source
        ),
    )
    .object(format!("{name} of what {} sends", key.source))
    .seen("the packet", packet)
    .seen(
        format!("ip route get {}", key.source),
        way.map_or("not understood".to_owned(), |way| way.text(&names)),
    );
    if !is_near {
        finding = finding.proof(format!(
            "no loop before this host: traceroute {} from {}",
            key.destination, key.source
        ));
    }
    Some(finding.advise(format!(
        "{} has to allow more hops; traceroute sends such packets on purpose",
        key.source
    )))
}
