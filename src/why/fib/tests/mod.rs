//! The families that follow a packet's route, on hosts whose answers are written here: near (10.1.0.1) is behind in0,
//! far (10.2.0.2) behind out0.

mod sent_on;

use std::net::IpAddr;

use super::super::recorded::RecordedHost;
use super::super::*;
use super::*;
use crate::host::Question;
use crate::host::link::NetworkLink;
use crate::host::sysctl::Sysctl;

const IN0: u32 = 2;
const OUT0: u32 = 3;
const OVERLAY0: u32 = 4;
const MAC: [u8; 6] = [2, 0, 0, 0, 3, 2];

/// Answers for a host that is replayed.
#[derive(Clone, Default)]
struct Recorded(RecordedHost);

impl Recorded {
    #[allow(clippy::needless_pass_by_value)] // The callers have made it for this.
    fn with<Q: Question>(self, question: &Q, answer: Q::Answer) -> Self {
        Self(self.0.answer(question, &answer))
    }

    fn set(self, device: &str, name: &str, value: &str) -> Self {
        self.with(&Sysctl::ipv4(device, name), value.to_owned())
    }

    /// The kernel's answer for a packet from near.
    fn answers(self, case: &DropCase, answer: RouteAnswer) -> Self {
        let key = FlowKey::received(case, &self.host()).unwrap();
        self.with(&key.lookup(), answer)
    }

    fn rules(self, more: Vec<RoutingRule>) -> Self {
        let rule = |priority, table| RoutingRule {
            priority,
            table,
            ..RoutingRule::default()
        };
        let mut rules = vec![rule(0, 255), rule(32766, 254), rule(32767, 253)];
        rules.extend(more);
        rules.sort_by_key(|rule| rule.priority);
        let is_ipv6 = false;
        self.with(&RoutingRules { is_ipv6 }, rules)
    }

    fn routes(self, more: Vec<RouteEntry>) -> Self {
        let mut routes = vec![
            route(RouteKind::Local, "10.1.0.2", 32, IN0),
            route(RouteKind::Local, "10.2.0.1", 32, OUT0),
            route(RouteKind::Unicast, "10.1.0.0", 24, IN0),
            route(RouteKind::Unicast, "10.2.0.0", 24, OUT0),
        ];
        routes.extend(more);
        let is_ipv6 = false;
        self.with(&RouteEntries { is_ipv6 }, routes)
    }

    fn host(&self) -> HostState {
        self.0.clone().state()
    }

    fn judge(&self, family: &CauseFamily, case: &DropCase) -> Option<CauseFinding> {
        assert!((family.concerns)(case), "{case:?}");
        (family.judge)(case, &self.host())
    }

    /// Returns grade and object.
    fn object(&self, family: &CauseFamily, case: &DropCase) -> Option<(Grade, String)> {
        let finding = self.judge(family, case)?;
        Some((finding.grade, finding.object.unwrap()))
    }
}

fn route(kind: RouteKind, destination: &str, prefix: u8, output: u32) -> RouteEntry {
    let text = serde_json::json!({
        "kind": kind,
        "destination": destination,
        "prefix": prefix,
        "table": if kind == RouteKind::Local { 255 } else { 254 },
        "output": output,
    });
    serde_json::from_value(text).unwrap()
}

fn refusing(kind: RouteKind) -> RouteEntry {
    let mut route = route(kind, "203.0.113.0", 24, 0);
    route.output = None;
    route
}

fn via_far(destination: &str, prefix: u8) -> RouteEntry {
    let mut route = route(RouteKind::Unicast, destination, prefix, OUT0);
    route.gateway = Some("10.2.0.2".parse().unwrap());
    route
}

fn link(index: u32, name: &str) -> NetworkLink {
    NetworkLink {
        index,
        name: name.to_owned(),
        mtu: 1500,
        address: MAC.to_vec(),
        is_up: true,
        ..NetworkLink::default()
    }
}

/// A host that forwards and filters nothing.
fn quiet() -> Recorded {
    let links = vec![
        link(IN0, "in0"),
        link(OUT0, "out0"),
        link(OVERLAY0, "overlay0"),
    ];
    let mut recorded = Recorded::default().with(&NetworkLinks, links);
    for device in ["all", "in0"] {
        recorded = recorded.set(device, "forwarding", "1");
        for name in [
            "rp_filter",
            "accept_local",
            "route_localnet",
            "src_valid_mark",
        ] {
            recorded = recorded.set(device, name, "0");
        }
    }
    let forward = Sysctl::new(["net", "ipv4", "ip_forward"]);
    let learned = Sysctl::new(["net", "ipv4", "ip_forward_use_pmtu"]);
    recorded
        .with(&forward, "1".to_owned())
        .with(&learned, "0".to_owned())
        .rules(vec![])
        .routes(vec![])
}

/// A datagram to port 7000 that came in by in0.
fn packet(function: &str, source: &str, destination: &str) -> DropCase {
    let octets = |text: &str| match text.parse().unwrap() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => unreachable!(),
    };
    let mut data = [MAC.as_slice(), &[2, 0, 0, 0, 3, 1], &[8, 0]].concat();
    data.extend([0x45, 0, 4, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    data.extend(octets(source));
    data.extend(octets(destination));
    data.extend([0x9c, 0x40, 0x1b, 0x58, 3, 0xec, 0, 0]);
    DropCase {
        function: Some(function.to_owned()),
        input: Some(IN0),
        input_name: Some("in0".to_owned()),
        is_inbound: Some(true),
        link: 1,
        length: u32::try_from(data.len()).unwrap(),
        data,
        ..DropCase::default()
    }
}

fn beyond() -> DropCase {
    packet("ip_error", "10.1.0.1", "203.0.113.5")
}

#[allow(clippy::unnecessary_wraps)] // It is compared with what may be none.
fn certain(object: &str) -> Option<(Grade, String)> {
    Some((Grade::Certain, object.to_owned()))
}

#[allow(clippy::unnecessary_wraps)] // It is compared with what may be none.
fn likely(object: &str) -> Option<(Grade, String)> {
    Some((Grade::Likely, object.to_owned()))
}

#[test]
fn a_route_that_refuses_is_named() {
    let case = beyond();
    for (kind, errno) in [
        (RouteKind::Blackhole, libc::EINVAL),
        (RouteKind::Unreachable, libc::EHOSTUNREACH),
        (RouteKind::Prohibit, libc::EACCES),
    ] {
        let routes = vec![via_far("203.0.112.0", 20), refusing(kind)];
        let host = quiet().routes(routes);
        let object = format!("route {} 203.0.113.0/24", kind.word());
        let proven = host.clone().answers(&case, RouteAnswer::Refused(errno));
        let finding = proven.judge(&refused::FAMILY, &case).unwrap();
        assert_eq!(finding.object.as_deref(), Some(object.as_str()));
        assert_eq!(finding.grade, Grade::Certain);
        let command = format!("ip route del {} 203.0.113.0/24", kind.word());
        assert_eq!(finding.remedy[0].command, Some(command));
        // The kernel contradicts, or does not answer.
        let other = host
            .clone()
            .answers(&case, RouteAnswer::Refused(libc::ENETUNREACH));
        assert_eq!(other.object(&refused::FAMILY, &case), likely(&object));
        assert_eq!(host.object(&refused::FAMILY, &case), likely(&object));
        // Forwarding is off as well.
        let off = proven.set("in0", "forwarding", "0");
        assert_eq!(off.object(&refused::FAMILY, &case), likely(&object));
    }
}

#[test]
fn a_route_that_is_less_specific_or_in_another_table_is_innocent() {
    let case = beyond();
    let wide = quiet().routes(vec![
        via_far("203.0.113.5", 32),
        refusing(RouteKind::Blackhole),
    ]);
    assert_eq!(wide.object(&refused::FAMILY, &case), None);
    let mut unused = refusing(RouteKind::Blackhole);
    unused.table = 77;
    let unused = quiet().routes(vec![via_far("203.0.112.0", 20), unused]);
    assert_eq!(unused.object(&refused::FAMILY, &case), None);
}

#[test]
fn a_rule_that_refuses_or_leads_to_a_route_that_does_is_named() {
    let case = beyond();
    let rule = |action, table| RoutingRule {
        priority: 100,
        action,
        table,
        source: Some(("10.1.0.0".parse().unwrap(), 24)),
        input: Some("in0".to_owned()),
        protocol: Some(17),
        destination_ports: Some((7000, 7000)),
        ..RoutingRule::default()
    };
    let routes = vec![via_far("203.0.112.0", 20)];
    let text = "rule 100: from 10.1.0.0/24 iif in0 ipproto 17 dport 7000 blackhole";
    let host = quiet()
        .routes(routes.clone())
        .rules(vec![rule(RoutingAction::Blackhole, 0)])
        .answers(&case, RouteAnswer::Refused(libc::EINVAL));
    let finding = host.judge(&refused::FAMILY, &case).unwrap();
    assert_eq!(finding.object.as_deref(), Some(text));
    assert_eq!(
        finding.remedy[0].command.as_deref(),
        Some("ip rule del pref 100")
    );
    let mut other = refusing(RouteKind::Blackhole);
    (other.table, other.prefix) = (77, 0);
    let host = quiet()
        .routes(vec![routes[0].clone(), other])
        .rules(vec![rule(RoutingAction::Lookup, 77)])
        .answers(&case, RouteAnswer::Refused(libc::EINVAL));
    let object = "route blackhole default table 77";
    assert_eq!(host.object(&refused::FAMILY, &case), certain(object));
    // Not for this packet: another port, another mark, the opposite.
    let mut rules = [(); 3].map(|()| rule(RoutingAction::Blackhole, 0));
    rules[0].destination_ports = Some((7001, 7010));
    rules[1].mark = Some((1, 1));
    rules[2].is_inverted = true;
    let host = quiet().routes(routes.clone()).rules(rules.to_vec());
    assert_eq!(host.object(&refused::FAMILY, &case), None);
    // Words that are not known: nothing is certain.
    rules[0] = rule(RoutingAction::Blackhole, 0);
    rules[0].has_more = true;
    let host = quiet()
        .routes(routes)
        .rules(rules.to_vec())
        .answers(&case, RouteAnswer::Refused(libc::EINVAL));
    let object = "route to 203.0.113.5";
    assert_eq!(host.object(&refused::FAMILY, &case), likely(object));
}

#[test]
fn a_missing_route_is_told_and_a_throw_is_none() {
    let case = beyond();
    let missing = RouteAnswer::Refused(libc::ENETUNREACH);
    for routes in [vec![], vec![refusing(RouteKind::Throw)]] {
        let host = quiet().routes(routes).answers(&case, missing.clone());
        let object = "no route to 203.0.113.5";
        assert_eq!(host.object(&refused::FAMILY, &case), certain(object));
    }
}

#[test]
fn forwarding_that_is_off_is_told_where_there_is_a_route() {
    let case = packet("ip_error", "10.1.0.1", "10.2.0.2");
    let off = quiet().set("in0", "forwarding", "0");
    let own = "sysctl net.ipv4.conf.in0.forwarding";
    assert_eq!(off.object(&refused::FAMILY, &case), certain(own));
    let forward = Sysctl::new(["net", "ipv4", "ip_forward"]);
    let all = off.with(&forward, "0".to_owned());
    assert_eq!(
        all.object(&refused::FAMILY, &case),
        certain("sysctl net.ipv4.ip_forward")
    );
    assert_eq!(quiet().object(&refused::FAMILY, &case), None);
}

#[test]
fn forwarding_that_is_off_goes_before_a_route_that_refuses() {
    let mut case = packet("ip_error", "10.1.0.1", "203.0.113.5");
    let route = refusing(RouteKind::Blackhole);
    let off = quiet()
        .routes(vec![route])
        .set("in0", "forwarding", "0")
        .answers(&case, RouteAnswer::Refused(libc::EHOSTUNREACH));
    // Without a reason, as before Linux 5.19, either could be it.
    let found = off.object(&refused::FAMILY, &case).unwrap();
    assert_eq!(found.0, Grade::Likely);
    case.reason = Some("IP_INADDRERRORS".to_owned());
    let own = "sysctl net.ipv4.conf.in0.forwarding";
    assert_eq!(off.object(&refused::FAMILY, &case), certain(own));
    let remedy = off.judge(&refused::FAMILY, &case).unwrap().remedy;
    let commands: Vec<_> = remedy.iter().map(|one| one.command.as_deref()).collect();
    let expected = [
        "sysctl -w net.ipv4.conf.in0.forwarding=1",
        "ip route del blackhole 203.0.113.0/24",
    ];
    assert_eq!(commands, expected.map(Some));
}

#[test]
fn the_larger_reverse_path_filter_counts() {
    let mut case = packet("ip_rcv_finish_core", "10.9.0.1", "10.1.0.2");
    case.reason = Some("IP_RPFILTER".to_owned());
    let elsewhere = || quiet().routes(vec![route(RouteKind::Unicast, "10.9.0.1", 32, OUT0)]);
    let set = |host: Recorded, all, own| {
        host.set("all", "rp_filter", all)
            .set("in0", "rp_filter", own)
    };
    let object = |name: &str| certain(&format!("sysctl net.ipv4.conf.{name}.rp_filter"));
    let judge = |host: Recorded| host.object(&reverse_path::FAMILY, &case);
    assert_eq!(judge(set(elsewhere(), "0", "1")), object("in0"));
    assert_eq!(judge(set(elsewhere(), "1", "0")), object("all"));
    assert_eq!(judge(set(elsewhere(), "1", "1")), object("in0"));
    assert_eq!(judge(set(quiet(), "0", "2")), object("in0"));
    assert_eq!(judge(set(quiet(), "2", "1")), object("all"));
    // Loose, and there is a route; strict, and the route is right; off.
    assert_eq!(judge(set(elsewhere(), "2", "1")), None);
    let right = || quiet().routes(vec![route(RouteKind::Unicast, "10.9.0.1", 32, IN0)]);
    assert_eq!(judge(set(right(), "1", "0")), None);
    assert_eq!(judge(elsewhere()), None);
    let finding = set(elsewhere(), "1", "0")
        .judge(&reverse_path::FAMILY, &case)
        .unwrap();
    let command = "sysctl -w net.ipv4.conf.in0.rp_filter=2";
    assert_eq!(finding.remedy[0].command.as_deref(), Some(command));
}

#[test]
fn addresses_without_a_place_on_a_wire_are_told() {
    let judge = |host: Recorded, source, destination| {
        let case = packet("ip_rcv_finish_core", source, destination);
        host.object(&reverse_path::FAMILY, &case)
    };
    let here = "10.1.0.2";
    for source in ["224.1.1.1", "255.255.255.255", "0.1.2.3", "127.0.0.5"] {
        let object = format!("source {source} to {here}");
        assert_eq!(judge(quiet(), source, here), certain(&object));
    }
    let object = "destination 127.0.0.1 from 10.1.0.1";
    assert_eq!(judge(quiet(), "10.1.0.1", "127.0.0.1"), certain(object));
    let localnet = quiet().set("all", "route_localnet", "1");
    assert_eq!(judge(localnet.clone(), "127.0.0.5", here), None);
    assert_eq!(judge(localnet, "10.1.0.1", "127.0.0.1"), None);
    let own = "sysctl net.ipv4.conf.in0.accept_local";
    assert_eq!(judge(quiet(), "10.2.0.1", here), certain(own));
    let strict = quiet().set("in0", "rp_filter", "1");
    assert_eq!(judge(strict, "10.2.0.1", here), certain(own));
    let accepted = quiet().set("all", "accept_local", "1");
    assert_eq!(judge(accepted, "10.2.0.1", here), None);
    assert_eq!(judge(quiet(), "10.1.0.1", here), None);
}
