//! Packets that are to be forwarded and are not: forwarding is off, or a route, a rule or the lack of a route
//! refuses them.

use super::fib::{DeviceNames, FlowKey, RouteFate, RoutingState};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::errno::strerror;
use crate::host::HostState;
use crate::host::route::{RouteAnswer, RouteEntry};
use crate::host::rule::RoutingRule;
use crate::host::sysctl::Sysctl;

/// The names of the causes.
const FORWARDING_OFF: &str = "forwarding_off";
const ROUTE_REFUSES: &str = "route_refuses";
const RULE_REFUSES: &str = "rule_refuses";
const NO_ROUTE: &str = "no_route";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Forwarding and routes",
    drops: &[
        "ip_error",
        "ip6_forward",
        "ip6_pkt_discard",
        "ip6_pkt_prohibit",
        "ip6_pkt_drop",
        "dst_discard",
        "IP_INADDRERRORS",
        "IP_INNOROUTES",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: FORWARDING_OFF,
            title: "Forwarding is off",
            evidence: "net.ipv4.conf.INTERFACE.forwarding of the interface that the packet came in by; for IPv6, \
                       net.ipv6.conf.all.forwarding, and force_forwarding of the interface. Certain where it is 0 \
                       and there is a route, or the drop reason is IP_INADDRERRORS.",
            cure: "sysctl(8) sets it. A host that is no router is right to drop what is for others: the sender has \
                   a wrong gateway then.",
        },
        CauseText {
            id: ROUTE_REFUSES,
            title: "A route refuses the packet",
            evidence: "Rules and tables, walked as the kernel walks them, end at a blackhole, unreachable or \
                       prohibit route. Certain where the kernel's own lookup ends with that route's error.",
            cure: "Delete the route, or add one that is more specific.",
        },
        CauseText {
            id: RULE_REFUSES,
            title: "A routing rule refuses the packet",
            evidence: "As before, and the walk ends at such a rule (ip-rule(8)).",
            cure: "Delete the rule.",
        },
        CauseText {
            id: NO_ROUTE,
            title: "There is no route",
            evidence: "As before, and the walk passes all rules without a route.",
            cure: "Add a route to the destination.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    let is_ipv6 = case.destination().is_some_and(|one| one.is_ipv6());
    let places: &[&str] = if is_ipv6 {
        // A blackhole route of IPv6 discards at the last.
        &[
            "ip6_forward",
            "ip6_pkt_drop",
            "ip6_pkt_discard",
            "ip6_pkt_prohibit",
            "dst_discard",
            "dst_discard_out",
        ]
    } else {
        &["ip_error"]
    };
    case.input.is_some() && places.iter().any(|place| case.is_in(place))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if case.is_in("ip6_forward") {
        return judge_forwarding6(case, host);
    }
    let key = FlowKey::received(case, host)?;
    let (input, _) = key.input.as_ref()?;
    let is_off =
        key.destination.is_ipv4() && host.ask(&Sysctl::ipv4(input, "forwarding")).ok()? == "0";
    let Some(fate) = RoutingState::of(&key, host).and_then(|state| state.walk(&key)) else {
        return judge_by_answer(&key, host, is_off);
    };
    match fate.errno() {
        // The kernel has this reason only where forwarding is off (`ip_error`), whatever the routes say.
        Some(_) if is_off && case.has_reason("IP_INADDRERRORS") => {
            let finding = forwarding4(&key, &fate, host);
            Some(match removal(&key, &fate, host) {
                Some(command) => finding.cure(command),
                None => finding.advise(format!("add a route to {}, too", key.destination)),
            })
        }
        Some(errno) => Some(refusal(&key, &fate, errno, is_off, host)),
        None if is_off && fate.unicast().is_some() => Some(forwarding4(&key, &fate, host)),
        None => None,
    }
}

/// The rules or tables are not readable, or not understood: the kernel's own answer is all there is.
fn judge_by_answer(key: &FlowKey, host: &HostState, is_off: bool) -> Option<CauseFinding> {
    let RouteAnswer::Refused(errno) = key.ask_kernel(host).ok()? else {
        return None;
    };
    if is_off {
        return None;
    }
    let finding = CauseFinding::new(
        NO_ROUTE,
        Grade::Likely,
        format!("the kernel refuses a route to {}", key.destination),
    );
    let finding = finding.object(format!("route to {}", key.destination));
    let finding = finding.seen(key.command(), strerror(errno));
    Some(finding.proof("the rules and routes: ip rule; ip route show table all"))
}

fn forwarding4(key: &FlowKey, fate: &RouteFate, host: &HostState) -> CauseFinding {
    let input = key.input.as_ref().map_or("", |(name, _)| name);
    let all = Sysctl::new(["net", "ipv4", "ip_forward"]);
    let own = Sysctl::ipv4(input, "forwarding");
    let is_all_off = host.ask(&all).as_deref() == Ok("0");
    let setting = if is_all_off { &all } else { &own };
    let names = DeviceNames::ask(host);
    let finding = CauseFinding::new(
        FORWARDING_OFF,
        Grade::Certain,
        format!(
            "forwarding is off on {input}, and the packet is for {}",
            key.destination
        ),
    );
    let finding = finding
        .object(format!("sysctl {}", setting.name()))
        .seen(own.name(), "0");
    let finding = if is_all_off {
        finding.seen(all.name(), "0")
    } else {
        finding
    };
    let finding = finding.seen(key.command(), fate.text(&names));
    if is_plain(input) {
        finding.cure(format!("sysctl -w {}=1", setting.name()))
    } else {
        finding
    }
}

/// Looks at the first thing that `ip6_forward` does.
fn judge_forwarding6(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if !case.has_no_reason() && !case.has_reason("IP_INADDRERRORS") {
        return None;
    }
    let input = case.input_interface()?;
    let all = Sysctl::ipv6("all", "forwarding");
    // Linux 6.17 has this, too.
    let forced = Sysctl::ipv6(input, "force_forwarding");
    let forced_value = host.ask(&forced);
    let is_on = |value: &str| value != "0";
    if is_on(&host.ask(&all).ok()?) || forced_value.as_deref().is_ok_and(is_on) {
        return None;
    }
    let finding = CauseFinding::new(
        FORWARDING_OFF,
        Grade::Certain,
        format!(
            "forwarding of IPv6 is off, and the packet is for {}",
            case.destination()?
        ),
    );
    let mut finding = finding
        .object(format!("sysctl {}", all.name()))
        .seen(all.name(), "0");
    if let Ok(value) = forced_value {
        finding = finding.seen(forced.name(), value);
    }
    Some(finding.cure(format!("sysctl -w {}=1", all.name())))
}

fn refusal(
    key: &FlowKey,
    fate: &RouteFate,
    errno: i32,
    is_off: bool,
    host: &HostState,
) -> CauseFinding {
    let names = DeviceNames::ask(host);
    let finding = match fate {
        RouteFate::Route(route) => CauseFinding::new(
            ROUTE_REFUSES,
            Grade::Certain,
            format!(
                "the route {} refuses packets to {}",
                route.text(),
                key.destination
            ),
        )
        .object(format!("route {}", route.text()))
        .seen("ip route show table all", route.text()),
        RouteFate::Rule(rule) => CauseFinding::new(
            RULE_REFUSES,
            Grade::Certain,
            format!(
                "the routing {} refuses packets to {}",
                rule.text(),
                key.destination
            ),
        )
        .object(rule.text())
        .seen("ip rule", rule.text()),
        RouteFate::Nothing => CauseFinding::new(
            NO_ROUTE,
            Grade::Certain,
            format!("there is no route to {}", key.destination),
        )
        .object(format!("no route to {}", key.destination)),
    };
    // Where forwarding is off, IPv4 says so first.
    let expected = if is_off { libc::EHOSTUNREACH } else { errno };
    let answer = key.ask_kernel(host);
    let mut finding = match &answer {
        Ok(RouteAnswer::Refused(errno)) => finding.seen(key.command(), strerror(*errno)),
        Ok(RouteAnswer::Found(route)) => {
            let found = RouteFate::Route(route.clone());
            finding.seen(key.command(), found.text(&names))
        }
        Err(unseen) => finding.seen(key.command(), unseen.to_string()),
    };
    if is_off {
        finding.grade = Grade::Likely;
        finding = finding.proof(format!(
            "forwarding is off as well: net.ipv4.conf.{}.forwarding",
            key.input.as_ref().map_or("", |(name, _)| name)
        ));
    } else if answer != Ok(RouteAnswer::Refused(expected)) {
        finding.grade = Grade::Likely;
        finding = finding.proof(format!(
            "the kernel's lookup has to end with: {}",
            strerror(expected)
        ));
    }
    let helps = RoutingState::of(key, host)
        .and_then(|state| state.walk_past(key, fate))
        .is_some_and(|next| next.unicast().is_some());
    match removal(key, fate, host).filter(|_| helps) {
        Some(command) => finding.cure(command),
        None => finding.advise(format!(
            "add a route: ip route add {} via GATEWAY",
            key.destination
        )),
    }
}

/// Returns the command that takes away what refuses the packet.
pub fn removal(key: &FlowKey, fate: &RouteFate, host: &HostState) -> Option<String> {
    let version = if key.destination.is_ipv6() { " -6" } else { "" };
    match fate {
        RouteFate::Route(route) => Some(route_removal(version, route)),
        RouteFate::Rule(rule) => rule_removal(version, rule, key, host),
        RouteFate::Nothing => None,
    }
}

fn route_removal(version: &str, route: &RouteEntry) -> String {
    format!("ip{version} route del {}", route.selector())
}

/// Names the rule by its priority, if it is alone there.
fn rule_removal(
    version: &str,
    rule: &RoutingRule,
    key: &FlowKey,
    host: &HostState,
) -> Option<String> {
    let is_ipv6 = key.destination.is_ipv6();
    let rules = host
        .ask(&crate::host::rule::RoutingRules { is_ipv6 })
        .ok()?;
    let same = rules.iter().filter(|other| other.priority == rule.priority);
    (same.count() == 1).then(|| format!("ip{version} rule del pref {}", rule.priority))
}
