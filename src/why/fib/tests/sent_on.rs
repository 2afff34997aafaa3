//! Packets that have a route, and what befalls them on it.

use super::*;
use crate::host::filters::{LegacyRules, NftRuleset};
use crate::host::ipsec::IpsecPolicies;
use crate::host::neighbour::{
    ForwardingEntries, ForwardingEntry, Neighbour, NeighbourLimit, NeighbourTables, Neighbours,
};
use crate::host::vxlan::{VxlanDevice, VxlanDevices};

#[test]
fn the_remote_of_a_vxlan_device_is_told_if_it_has_no_route() {
    let mut case = packet("vxlan_xmit_one", "172.16.14.2", "172.16.14.1");
    (case.input, case.input_name) = (None, None);
    case.device = Some("overlay0".to_owned());
    let device = VxlanDevice {
        index: OVERLAY0,
        name: "overlay0".to_owned(),
        ..VxlanDevice::default()
    };
    let entry = |address: [u8; 6], remote: &str| ForwardingEntry {
        device: OVERLAY0,
        address: address.to_vec(),
        remote: Some(remote.parse().unwrap()),
        output: None,
    };
    let lookup = |destination: &str| RouteLookup {
        destination: destination.parse().unwrap(),
        source: None,
        input: None,
        output: None,
        mark: 0,
        tos: 0,
        protocol: Some(17),
        ports: None,
    };
    let found = RouteAnswer::Found(route(RouteKind::Unicast, "10.2.0.0", 24, OUT0));
    let host = |entries, errno| {
        quiet()
            .with(&VxlanDevices, vec![device.clone()])
            .with(&ForwardingEntries, entries)
            .with(&lookup("192.0.2.99"), RouteAnswer::Refused(errno))
            .with(&lookup("10.2.0.2"), found.clone())
    };
    let missing = libc::ENETUNREACH;
    let remote = certain("remote 192.0.2.99 of overlay0");
    let default = host(vec![entry([0; 6], "192.0.2.99")], missing);
    assert_eq!(default.object(&underlay::FAMILY, &case), remote);
    let own = vec![entry([0; 6], "10.2.0.2"), entry(MAC, "192.0.2.99")];
    assert_eq!(host(own, missing).object(&underlay::FAMILY, &case), remote);
    let other = vec![entry([0; 6], "10.2.0.2"), entry([2; 6], "192.0.2.99")];
    assert_eq!(host(other, missing).object(&underlay::FAMILY, &case), None);
    let elsewhere = VxlanDevice {
        is_elsewhere: true,
        ..device.clone()
    };
    let moved = default.with(&VxlanDevices, vec![elsewhere]);
    assert_eq!(moved.object(&underlay::FAMILY, &case), None);
    let mut blackhole = refusing(RouteKind::Blackhole);
    blackhole.destination = "192.0.2.0".parse().unwrap();
    let refused = host(vec![entry([0; 6], "192.0.2.99")], libc::EINVAL).routes(vec![blackhole]);
    let object = certain("route blackhole 192.0.2.0/24");
    assert_eq!(refused.object(&underlay::FAMILY, &case), object);
}

#[test]
fn a_next_hop_that_does_not_answer_is_told() {
    let mut case = packet("arp_error_report", "10.1.0.1", "203.0.113.5");
    case.device = Some("out0".to_owned());
    case.reason = Some("NEIGH_FAILED".to_owned());
    let neighbour = |state: &str| {
        vec![Neighbour {
            address: "10.2.0.2".parse().unwrap(),
            device: OUT0,
            state: state.to_owned(),
        }]
    };
    let host = quiet().routes(vec![via_far("203.0.112.0", 20)]);
    let failed = host.clone().with(&Neighbours, neighbour("FAILED"));
    let object = "neighbour 10.2.0.2 dev out0";
    assert_eq!(failed.object(&next_hop::FAMILY, &case), certain(object));
    let answers = host.with(&Neighbours, neighbour("REACHABLE"));
    assert_eq!(answers.object(&next_hop::FAMILY, &case), likely(object));
    case.reason = Some("NEIGH_QUEUEFULL".to_owned());
    assert_eq!(failed.object(&next_hop::FAMILY, &case), likely(object));
    case.reason = Some("NEIGH_CREATEFAIL".to_owned());
    let table = |entries| {
        let name = "arp_cache".to_owned();
        let limit = 1024;
        let table = NeighbourLimit {
            name,
            entries,
            limit,
        };
        quiet().with(&NeighbourTables, vec![table])
    };
    let object = "sysctl net.ipv4.neigh.default.gc_thresh3";
    assert_eq!(table(1030).object(&next_hop::FAMILY, &case), likely(object));
    assert_eq!(table(10).object(&next_hop::FAMILY, &case), None);
}

#[test]
fn the_smallest_mtu_on_the_way_is_told() {
    let mut case = packet("ip_forward", "10.1.0.1", "10.2.0.2");
    case.reason = Some("PKT_TOO_BIG".to_owned());
    let links = vec![
        link(IN0, "in0"),
        NetworkLink {
            mtu: 700,
            ..link(OUT0, "out0")
        },
    ];
    let narrow = quiet().with(&NetworkLinks, links);
    assert_eq!(
        narrow.object(&too_big::FAMILY, &case),
        certain("out0 mtu 700")
    );
    let mut locked = route(RouteKind::Unicast, "10.2.0.2", 32, OUT0);
    (locked.mtu, locked.is_mtu_locked) = (Some(600), true);
    let by_route = quiet().routes(vec![locked]);
    let finding = by_route.judge(&too_big::FAMILY, &case).unwrap();
    assert_eq!(finding.object.as_deref(), Some("route 10.2.0.2/32 mtu 600"));
    let command = "ip route replace 10.2.0.2/32 dev out0 mtu lock 1500";
    assert_eq!(finding.remedy[0].command.as_deref(), Some(command));
    assert_eq!(quiet().object(&too_big::FAMILY, &case), None);
}

#[test]
fn a_packet_without_hops_is_the_senders_or_goes_round() {
    let mut case = packet("ip_forward", "10.1.0.1", "203.0.113.5");
    case.reason = Some("IP_INHDR".to_owned());
    let host = || quiet().routes(vec![via_far("203.0.113.0", 24)]);
    assert_eq!(host().object(&hops::FAMILY, &case), None, "64 are left");
    case.data[14 + 8] = 1;
    let object = "TTL of what 10.1.0.1 sends";
    assert_eq!(host().object(&hops::FAMILY, &case), certain(object));
    (case.input, case.input_name) = (Some(OUT0), Some("out0".to_owned()));
    let object = "route 203.0.113.0/24 via 10.2.0.2 dev out0";
    assert_eq!(host().object(&hops::FAMILY, &case), likely(object));
    let mut remote = packet("ip_forward", "198.51.100.7", "203.0.113.5");
    remote.reason = Some("IP_INHDR".to_owned());
    remote.data[14 + 8] = 1;
    let object = "TTL of what 198.51.100.7 sends";
    assert_eq!(host().object(&hops::FAMILY, &remote), likely(object));
}

#[test]
fn a_frame_for_another_machine_is_told() {
    let mut case = packet("ip_rcv_core", "10.1.0.1", "10.1.0.2");
    case.reason = Some("OTHERHOST".to_owned());
    assert_eq!(
        quiet().object(&other_host::FAMILY, &case),
        None,
        "it is for in0"
    );
    case.data[5] = 0x99;
    let object = "destination 02:00:00:00:03:99 on in0";
    assert_eq!(quiet().object(&other_host::FAMILY, &case), certain(object));
}

#[test]
fn ipv6_that_is_off_is_told() {
    let mut case = packet("ip6_rcv_core", "10.1.0.1", "10.1.0.2");
    case.reason = Some("IPV6DISABLED".to_owned());
    let setting = Sysctl::ipv6("in0", "disable_ipv6");
    let off = quiet().with(&setting, "1".to_owned());
    let object = "sysctl net.ipv6.conf.in0.disable_ipv6";
    assert_eq!(off.object(&ipv6_off::FAMILY, &case), certain(object));
    let on = quiet().with(&setting, "0".to_owned());
    assert_eq!(on.object(&ipv6_off::FAMILY, &case), None);
}

#[test]
fn networks_contain_their_addresses() {
    let is_in = |network: &str, prefix, address: &str| {
        contains(network.parse().unwrap(), prefix, address.parse().unwrap())
    };
    assert!(is_in("0.0.0.0", 0, "1.2.3.4"));
    assert!(is_in("10.1.0.0", 24, "10.1.0.255"));
    assert!(!is_in("10.1.0.0", 24, "10.1.1.0"));
    assert!(is_in("10.1.0.2", 32, "10.1.0.2"));
    assert!(!is_in("10.1.0.2", 32, "10.1.0.3"));
    assert!(is_in("2001:db8::", 32, "2001:db8:1::"));
    assert!(!is_in("2001:db8::", 48, "2001:db8:1::"));
    assert!(!is_in("::", 0, "1.2.3.4"));
}

#[test]
fn a_rule_of_forward_by_output_device_is_decided_by_the_route() {
    let mut case = packet("nft_do_chain", "10.1.0.1", "10.2.0.2");
    case.reason = Some("NETFILTER_DROP".to_owned());
    let frames = [
        "nft_do_chain",
        "nft_do_chain_inet",
        "nf_hook_slow",
        "ip_forward",
    ];
    case.stack = frames.map(str::to_owned).to_vec();
    let rule = |device: &str, handle: u64| {
        let output = serde_json::json!({"match": {
            "op": "==", "left": {"meta": {"key": "oifname"}}, "right": device}});
        serde_json::json!({"rule": {"family": "inet", "table": "t", "chain": "c", "handle": handle,
            "expr": [output, {"drop": null}]}})
    };
    let chain = serde_json::json!({"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1,
        "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}});
    let rules = serde_json::json!({"nftables": [chain, rule("in0", 5), rule("out0", 6), rule("overlay0", 7)]});
    let host = || {
        quiet()
            .with(&Sysctl::new(["kernel", "osrelease"]), "6.18.44".to_owned())
            .with(&NftRuleset, rules.clone())
            .with(&LegacyRules(false), String::new())
    };
    let object = |host: Recorded| host.object(&nftables::FAMILY, &case).map(|found| found.0);
    let decided = host().with(&IpsecPolicies, vec![]);
    let guilty = certain("rule inet t c handle 6");
    assert_eq!(decided.object(&nftables::FAMILY, &case), guilty);
    // By which device it would leave is not known where IPsec could lead it elsewhere, nor without a route.
    assert_eq!(object(host()), Some(Grade::Likely));
    let nowhere = decided.routes(vec![route(RouteKind::Blackhole, "10.2.0.2", 32, 0)]);
    assert_eq!(object(nowhere), Some(Grade::Likely));
}
