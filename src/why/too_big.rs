//! Packets that are to be forwarded and are larger than the way on allows.

use super::fib::{DeviceNames, FlowKey, RoutingState};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::route::RouteEntry;
use crate::host::sysctl::Sysctl;

/// The name of the cause.
const TOO_BIG: &str = "packet_too_big";

/// The usual MTU: what is printed is not less.
const USUAL_MTU: u32 = 1500;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Packets that are too big",
    drops: &["PKT_TOO_BIG", "ip_forward", "ip6_forward"],
    concerns,
    judge,
    causes: &[CauseText {
        id: TOO_BIG,
        title: "A packet that is to be forwarded is too big",
        evidence: "The packet's length, its route, the MTU that the route states, and otherwise the MTU of the \
                   device that it leads out of (for IPv6, net.ipv6.conf.INTERFACE.mtu). Certain where the packet \
                   is larger than that.",
        cure: "A larger MTU, if the network has it. Otherwise the sender has to learn the MTU of the path: let ICMP \
               pass, or clamp the MSS of TCP.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    case.has_reason("PKT_TOO_BIG") && (case.is_in("ip_forward") || case.is_in("ip6_forward"))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let key = FlowKey::received(case, host)?;
    let fate = RoutingState::of(&key, host)?.walk(&key)?;
    let route = fate.unicast().filter(|route| !route.is_shared)?;
    let names = DeviceNames::ask(host);
    let device = names.of(route.output?)?;
    let link = names.link(device)?;
    let ip = case.ip()?;
    let length = u32::try_from(ip.stated_end?).ok()?;
    let own = Sysctl::ipv6(device, "mtu");
    let own_mtu = if key.destination.is_ipv6() {
        host.ask(&own).ok()?.parse().ok()?
    } else {
        link.mtu
    };
    // What the route states counts first (ip_dst_mtu_maybe_forward).
    let (object, mtu, source) = match route.mtu.filter(|mtu| *mtu != 0) {
        Some(mtu) => (
            format!("route {} mtu {mtu}", route.text()),
            mtu,
            "ip route show table all".to_owned(),
        ),
        None if own_mtu < link.mtu => (format!("sysctl {}", own.name()), own_mtu, own.name()),
        None => (
            format!("{device} mtu {}", link.mtu),
            link.mtu,
            format!("ip link show {device}"),
        ),
    };
    if length <= mtu {
        return None;
    }
    let mut finding = CauseFinding::new(
        TOO_BIG,
        Grade::Certain,
        format!("the packet has {length} bytes and must not be fragmented, and the MTU is {mtu}: {object}"),
    )
    .object(object)
    .seen("the packet", format!("{length} bytes"))
    .seen(key.command(), fate.text(&names))
    .seen(source, format!("mtu {mtu}"));
    let learned = Sysctl::new(["net", "ipv4", "ip_forward_use_pmtu"]);
    if key.destination.is_ipv4() && host.ask(&learned).is_ok_and(|value| value != "0") {
        finding.grade = Grade::Likely;
        finding = finding.proof(format!(
            "no smaller MTU of the path was learned: {}",
            key.command()
        ));
    }
    let enough = length.max(USUAL_MTU);
    let command = match route.mtu {
        Some(_) => change(route, device, enough, key.destination.is_ipv6()),
        None if own_mtu < link.mtu => Some(format!("sysctl -w {}={}", own.name(), link.mtu)),
        None => Some(format!("ip link set dev {device} mtu {enough}")),
    };
    Some(match command.filter(|_| is_plain(device)) {
        Some(command) => finding.cure(command),
        None => finding.advise("a larger MTU, if the network has it"),
    })
}

/// Returns the command that changes the MTU of a route; `None` where it would lose something else.
fn change(route: &RouteEntry, device: &str, mtu: u32, is_ipv6: bool) -> Option<String> {
    if route.has_more {
        return None;
    }
    let version = if is_ipv6 { " -6" } else { "" };
    let via = route.gateway.map(|gateway| format!(" via {gateway}"));
    let lock = if route.is_mtu_locked { "lock " } else { "" };
    Some(format!(
        "ip{version} route replace {}{} dev {device} mtu {lock}{mtu}",
        route.selector(),
        via.unwrap_or_default()
    ))
}
