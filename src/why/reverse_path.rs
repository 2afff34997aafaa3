//! Packets of IPv4 whose source or destination the kernel does not believe.

use std::net::{IpAddr, Ipv4Addr};

use super::fib::{DeviceNames, FlowKey, RouteFate, RoutingState};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::route::RouteKind;
use crate::host::sysctl::Sysctl;

/// The names of the causes.
const REVERSE_PATH: &str = "reverse_path";
const MARTIAN: &str = "martian_address";
const OWN_SOURCE: &str = "own_source";

/// The length of a header without options, in its first byte: options can be at fault as well.
const PLAIN_HEADER: u8 = 0x45;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Addresses that the kernel does not believe",
    drops: &[
        "IP_RPFILTER",
        "IP_LOCAL_SOURCE",
        "IP_INVALID_SOURCE",
        "IP_INVALID_DEST",
        "IP_LOCALNET",
        "ip_rcv_finish_core",
        "ip_route_input_noref",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: REVERSE_PATH,
            title: "The reverse path filter",
            evidence: "The larger of net.ipv4.conf.all.rp_filter and that of the interface, and the route to the \
                       packet's source. Certain with 1 (strict) where that route does not lead out of the \
                       interface, and with 2 (loose) where there is none.",
            cure: "A route to the source out of that interface, or rp_filter 2 or 0.",
        },
        CauseText {
            id: MARTIAN,
            title: "An address that has no place on a wire",
            evidence: "The packet's source (multicast, broadcast, 0.0.0.0/8, 127.0.0.0/8) or destination \
                       (0.0.0.0/8, 127.0.0.0/8); for 127.0.0.0/8, route_localnet of all and of the interface. \
                       Certain where the packet has such an address.",
            cure: "The sender is at fault; for 127.0.0.0/8, route_localnet lets such packets in.",
        },
        CauseText {
            id: OWN_SOURCE,
            title: "The source is an address of this host",
            evidence: "The route to the source is a local one, and accept_local is 0 for all and for the interface. \
                       Certain then.",
            cure: "Another host uses the address, or the packet came back: fix that, or set accept_local.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    let places = [
        "ip_rcv_finish_core",
        "ip_rcv_finish",
        "ip_route_input_noref",
        "ip_route_input_slow",
        "ip_route_input_rcu",
    ];
    let is_ipv4 = case.destination().is_some_and(|address| address.is_ipv4());
    is_ipv4 && case.input.is_some() && places.iter().any(|place| case.is_in(place))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let key = FlowKey::received(case, host)?;
    if case.has_reason("IP_RPFILTER") {
        return judge_filter(&key, host);
    }
    let reasons = [
        "IP_LOCALNET",
        "IP_INVALID_SOURCE",
        "IP_INVALID_DEST",
        "IP_LOCAL_SOURCE",
    ];
    let is_plain_header = case.ip()?.bytes.first() == Some(&PLAIN_HEADER);
    let is_possible = (case.has_no_reason() && is_plain_header)
        || reasons.iter().any(|reason| case.has_reason(reason));
    // Multicast is looked at in another order, and first for the group.
    if !is_possible || key.destination.is_multicast() {
        return None;
    }
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (key.source, key.destination) else {
        return None;
    };
    judge_addresses(&key, source, destination, host).or_else(|| judge_own(&key, host))
}

/// Returns a setting of all interfaces and that of one.
fn settings(input: &str, name: &str) -> [Sysctl; 2] {
    [Sysctl::ipv4("all", name), Sysctl::ipv4(input, name)]
}

/// Returns whether a setting is 0 for all interfaces and for this one.
fn is_off(host: &HostState, settings: &[Sysctl; 2]) -> Option<bool> {
    let mut is_off = true;
    for setting in settings {
        is_off &= host.ask(setting).ok()? == "0";
    }
    Some(is_off)
}

/// Checks the addresses in the order of `ip_route_input_slow`.
fn judge_addresses(
    key: &FlowKey,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    host: &HostState,
) -> Option<CauseFinding> {
    let is_zero_net = |address: Ipv4Addr| address.octets()[0] == 0;
    let (input, _) = key.input.as_ref()?;
    let martian = |what: &str, address: Ipv4Addr, why: &str| {
        let other = if what == "source" {
            format!("to {destination}")
        } else {
            format!("from {source}")
        };
        CauseFinding::new(
            MARTIAN,
            Grade::Certain,
            format!("{address} is no {what} for packets on {input}: {why}"),
        )
        .object(format!("{what} {address} {other}"))
        .seen("the packet", format!("{source} > {destination}"))
    };
    let sender = |finding: CauseFinding| {
        finding.advise(format!(
            "the sender is at fault: look for it behind {input}"
        ))
    };
    if source.is_multicast() || source.is_broadcast() {
        let why = "it stands for many hosts";
        return Some(sender(martian("source", source, why)));
    }
    let is_for_all =
        destination.is_broadcast() || (source.is_unspecified() && destination.is_unspecified());
    if is_for_all {
        return None;
    }
    if is_zero_net(source) {
        return Some(sender(martian("source", source, "0.0.0.0/8 is no network")));
    }
    if is_zero_net(destination) {
        let why = "0.0.0.0/8 is no network";
        return Some(sender(martian("destination", destination, why)));
    }
    let (what, address) = if destination.is_loopback() {
        ("destination", destination)
    } else if source.is_loopback() {
        ("source", source)
    } else {
        return None;
    };
    let settings = settings(input, "route_localnet");
    if !is_off(host, &settings)? {
        return None;
    }
    let mut finding = martian(what, address, "it is a loopback address");
    for setting in &settings {
        finding = finding.seen(setting.name(), "0");
    }
    let finding = sender(finding);
    Some(if is_plain(input) {
        finding.cure(format!("sysctl -w {}=1", settings[1].name()))
    } else {
        finding
    })
}

/// Returns how a lookup of the way back ends, as the kernel does it.
fn way_back(key: &FlowKey, host: &HostState) -> Option<RouteFate> {
    let (input, _) = key.input.as_ref()?;
    let keeps_mark = !is_off(host, &settings(input, "src_valid_mark"))?;
    let back = key.back(keeps_mark);
    RoutingState::of(&back, host)?.walk(&back)
}

fn is_own(fate: &RouteFate) -> bool {
    matches!(fate, RouteFate::Route(route) if route.kind == RouteKind::Local)
}

fn judge_own(key: &FlowKey, host: &HostState) -> Option<CauseFinding> {
    let (input, _) = key.input.as_ref()?;
    let settings = settings(input, "accept_local");
    let fate = way_back(key, host)?;
    if !is_own(&fate) || !is_off(host, &settings)? {
        return None;
    }
    let names = DeviceNames::ask(host);
    let mut finding = CauseFinding::new(
        OWN_SOURCE,
        Grade::Certain,
        format!(
            "the source {} is an address of this host, and accept_local is off on {input}",
            key.source
        ),
    )
    .object(format!("sysctl {}", settings[1].name()))
    .seen(format!("ip route get {}", key.source), fate.text(&names));
    for setting in &settings {
        finding = finding.seen(setting.name(), "0");
    }
    let finding = finding.advise(format!(
        "find out who sends as {} behind {input}: another host with the address, or a loop",
        key.source
    ));
    Some(if is_plain(input) {
        finding.cure(format!("sysctl -w {}=1", settings[1].name()))
    } else {
        finding
    })
}

fn judge_filter(key: &FlowKey, host: &HostState) -> Option<CauseFinding> {
    let (input, index) = key.input.as_ref()?;
    let settings = settings(input, "rp_filter");
    let values = [
        host.ask(&settings[0]).ok()?.parse::<u8>().ok()?,
        host.ask(&settings[1]).ok()?.parse::<u8>().ok()?,
    ];
    // The larger of the two counts (IN_DEV_RPFILTER).
    let is_all = values[0] > values[1];
    let value = values[0].max(values[1]);
    let fate = way_back(key, host);
    let way = fate.as_ref().and_then(RouteFate::unicast);
    let leads_out_of_it = way.is_some_and(|way| way.output == Some(*index));
    let is_guilty = match value {
        0 => return None,
        1 => !leads_out_of_it,
        _ => way.is_none(),
    };
    // The filter does not look at packets from this host itself.
    if !is_guilty || fate.as_ref().is_some_and(is_own) {
        return None;
    }
    let names = DeviceNames::ask(host);
    let (setting, word) = (
        &settings[usize::from(!is_all)],
        if value == 1 { "strict" } else { "loose" },
    );
    let found = match &fate {
        Some(fate) => fate.text(&names),
        None => "not understood".to_owned(),
    };
    let on = if is_all { "all interfaces" } else { input };
    let mut finding = CauseFinding::new(
        REVERSE_PATH,
        Grade::Certain,
        format!(
            "the reverse path filter of {on} is {word}, and the way to {} is: {found}",
            key.source
        ),
    )
    .object(format!("sysctl {}", setting.name()));
    for (setting, value) in settings.iter().zip(values) {
        finding = finding.seen(setting.name(), value.to_string());
    }
    finding = finding.seen(format!("ip route get {}", key.source), found);
    if way.is_some_and(|way| way.is_shared) || fate.is_none() {
        // One of several next hops may be the interface's.
        finding.grade = Grade::Likely;
        finding = finding.proof(format!(
            "ip route get {} does not answer dev {input}",
            key.source
        ));
    }
    if !is_plain(input) {
        return Some(finding);
    }
    // Loose is enough where there is a route, and wins over strict.
    if way.is_some() {
        return Some(finding.cure(format!("sysctl -w {}=2", settings[1].name())));
    }
    let guilty = settings.iter().zip(values).filter(|(_, value)| *value != 0);
    let words: Vec<_> = guilty
        .map(|(setting, _)| format!("{}=0", setting.name()))
        .collect();
    Some(finding.cure(format!("sysctl -w {}", words.join(" "))))
}
