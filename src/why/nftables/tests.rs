//! Rules as `nft -j -n list ruleset` of nft 1.0.6 writes them, and drops of Linux 6.18 and 6.1.

use serde_json::{Value, json};

use super::judge;
use crate::host::HostState;
use crate::why::{CauseFinding, DropCase, Grade};

mod kernels;

const RELEASE: &str = "6.18.44";

/// A datagram from 10.1.0.1 to 10.1.0.2, port 7000, that was dropped in a hook. `caller` is the function that called the
/// hook.
fn case(caller: &str) -> DropCase {
    let frames = ["nft_do_chain", "nft_do_chain_inet", "nf_hook_slow", caller];
    // Behind it is what made the packet: hooks that it passed before.
    let stack = frames
        .iter()
        .chain(&["__netif_receive_skb_one_core", "ip_output"]);
    let mut data = vec![2, 0, 0, 0, 3, 2, 2, 0, 0, 0, 3, 1, 8, 0];
    data.extend([
        0x45, 0, 0, 43, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2,
    ]);
    data.extend([0x9c, 0x40, 0x1b, 0x58, 0, 23, 0, 0]);
    data.extend(b"why:000000:000:");
    DropCase {
        reason: Some("NETFILTER_DROP".into()),
        function: Some("nft_do_chain".into()),
        stack: stack.map(|frame| (*frame).to_owned()).collect(),
        netns: Some(5),
        device: Some("in0".into()),
        input: Some(2),
        input_name: Some("in0".into()),
        protocol: Some(0x0800),
        is_inbound: Some(true),
        link: 1,
        length: u32::try_from(data.len()).unwrap(),
        data,
        ..DropCase::default()
    }
}

fn input() -> DropCase {
    case("ip_local_deliver")
}

/// The same, on a kernel that drops all that netfilter does in one function.
fn old_kernel() -> DropCase {
    let mut case = input();
    case.function = Some("nf_hook_slow".into());
    case.stack.drain(..2);
    case
}

fn chain(name: &str, hook: &str, policy: &str) -> Value {
    json!({"chain": {"family": "inet", "table": "t", "name": name, "handle": 1, "type": "filter", "hook": hook,
                     "prio": 0, "policy": policy}})
}

fn sub(name: &str) -> Value {
    json!({"chain": {"family": "inet", "table": "t", "name": name, "handle": 2}})
}

/// A rule of the table inet t.
fn rule(chain: &str, handle: u64, parts: &[Value]) -> Value {
    json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": handle, "expr": parts}})
}

fn matches(left: &Value, right: &Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn port(right: &Value) -> Value {
    matches(
        &json!({"payload": {"protocol": "udp", "field": "dport"}}),
        right,
    )
}

fn mark(right: u32) -> Value {
    matches(&json!({"meta": {"key": "mark"}}), &json!(right))
}

fn is_new() -> Value {
    json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": 8}})
}

fn drop() -> Value {
    json!({"drop": null})
}

fn answers(release: &str, rules: &[Value]) -> Value {
    json!({
        "sysctl [\"kernel\",\"osrelease\"]": {"Ok": release},
        "nftables": {"Ok": {"nftables": rules}},
        "iptables-legacy false": {"Ok": ""},
        "table of connections": {"Ok": null},
        "other filters": {"Ok": []},
    })
}

fn replay(answers: &Value) -> HostState {
    HostState::replay(&answers.to_string()).unwrap()
}

fn found(case: &DropCase, rules: &[Value]) -> Option<CauseFinding> {
    judge(case, &replay(&answers(RELEASE, rules)))
}

#[track_caller]
fn certain(case: &DropCase, rules: &[Value], object: &str) {
    let finding = found(case, rules).expect("nothing is claimed");
    assert_eq!(finding.object.as_deref(), Some(object), "{finding:?}");
    assert_eq!(finding.grade, Grade::Certain, "{finding:?}");
}

/// A chain in INPUT that accepts, with these rules.
#[track_caller]
fn certain_in_input(rules: &[&[Value]], object: &str) {
    certain(&input(), &in_input(rules), object);
}

fn in_input(rules: &[&[Value]]) -> Vec<Value> {
    let rules = rules
        .iter()
        .zip(5..)
        .map(|(parts, handle)| rule("c", handle, parts));
    std::iter::once(chain("c", "input", "accept"))
        .chain(rules)
        .collect()
}

/// The rule in the middle is the guilty one, those around it are for other packets.
#[track_caller]
fn guilty(parts: &[Value]) {
    let other = [port(&json!(7001)), drop()];
    certain_in_input(&[&other, parts, &other], "rule inet t c handle 6");
}

#[track_caller]
fn innocent(parts: &[Value]) {
    assert_eq!(found(&input(), &in_input(&[parts])), None);
}

#[test]
fn the_rule_that_matches_is_guilty_and_one_that_does_not_is_innocent() {
    guilty(&[port(&json!(7000)), drop()]);
    innocent(&[port(&json!(7001)), drop()]);
    for right in [
        json!({"range": [6990, 7010]}),
        json!({"set": [53, 7000]}),
        json!({"set": [53, {"range": [6999, 7000]}]}),
    ] {
        guilty(&[port(&right), drop()]);
    }
    for right in [json!({"range": [7001, 7010]}), json!({"set": [53, 9000]})] {
        innocent(&[port(&right), drop()]);
    }
    let address = |field: &str, right: Value| {
        matches(
            &json!({"payload": {"protocol": "ip", "field": field}}),
            &right,
        )
    };
    guilty(&[address("saddr", json!("10.1.0.1")), drop()]);
    guilty(&[
        address("daddr", json!({"prefix": {"addr": "10.0.0.0", "len": 8}})),
        drop(),
    ]);
    innocent(&[
        address("daddr", json!({"prefix": {"addr": "10.2.0.0", "len": 16}})),
        drop(),
    ]);
    let six = json!({"payload": {"protocol": "ip6", "field": "saddr"}});
    // A rule for IPv6 does not match a packet of IPv4, whatever is compared.
    innocent(&[
        json!({"match": {"op": "!=", "left": six, "right": "fd01::1"}}),
        drop(),
    ]);
    let tcp = json!({"payload": {"protocol": "tcp", "field": "dport"}});
    innocent(&[matches(&tcp, &json!(7000)), drop()]);
    let raw = json!({"payload": {"base": "th", "offset": 16, "len": 16}});
    guilty(&[matches(&raw, &json!(7000)), drop()]);
    let masked = json!({"&": [raw, 0xff00]});
    guilty(&[matches(&masked, &json!(0x1b00)), drop()]);
    innocent(&[matches(&masked, &json!(0x1c00)), drop()]);
    guilty(&[json!({"reject": null})]);
}

#[test]
fn facts_beside_the_packet_are_those_of_the_hook() {
    let meta = |key: &str, right: Value| matches(&json!({"meta": {"key": key}}), &right);
    for (key, right) in [
        ("iifname", json!("in0")),
        ("iifname", json!("in*")),
        ("iif", json!("in0")),
        ("l4proto", json!({"set": [6, 17]})),
        ("nfproto", json!(2)),
        // 0x0800, the wrong way round.
        ("protocol", json!(8)),
        ("pkttype", json!(0)),
        ("length", json!(43)),
    ] {
        guilty(&[meta(key, right), drop()]);
    }
    for (key, right) in [
        ("iifname", json!("in")),
        ("iifname", json!("in\\*")),
        ("oifname", json!("in0")),
        ("l4proto", json!(6)),
        ("protocol", json!(56710)),
        ("pkttype", json!(1)),
    ] {
        innocent(&[meta(key, right), drop()]);
    }
    // Without an output device, its name is empty.
    let not = json!({"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "in0"}});
    guilty(&[not, drop()]);
}

#[test]
fn sets_and_maps_are_looked_into() {
    let set = json!({"set": {"family": "inet", "table": "t", "name": "pairs", "type": ["ipv4_addr", "inet_service"],
        "flags": ["interval"], "elem": [
            {"concat": [{"prefix": {"addr": "10.1.0.0", "len": 24}}, {"range": [6990, 7010]}]},
            {"concat": ["10.1.1.1", 5]}]}});
    let key = json!({"concat": [{"payload": {"protocol": "ip", "field": "saddr"}},
                                {"payload": {"protocol": "udp", "field": "dport"}}]});
    let parts = [matches(&key, &json!("@pairs")), drop()];
    let mut rules = in_input(&[&parts]);
    rules.insert(0, set.clone());
    certain(&input(), &rules, "rule inet t c handle 5");
    // What is there now may not have been there then.
    let mut changing = set;
    changing["set"]["flags"] = json!(["timeout"]);
    rules[0] = changing;
    rules.push(rule("c", 9, &[drop()]));
    let finding = found(&input(), &rules).unwrap();
    assert_eq!(finding.grade, Grade::Likely);
    assert!(finding.proof.unwrap().contains("rule inet t c handle 5"));

    let verdicts = |first: Value| {
        json!({"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}},
                        "data": {"set": [[7000, first], [7001, {"accept": null}]]}}})
    };
    guilty(&[verdicts(drop())]);
    innocent(&[verdicts(json!({"accept": null}))]);
    let map = json!({"mangle": {"key": {"meta": {"key": "mark"}}, "value":
        {"map": {"key": {"payload": {"protocol": "udp", "field": "dport"}}, "data": {"set": [[7000, 5], [7001, 6]]}}}}});
    let mut marked = input();
    marked.mark = 5;
    let rules = in_input(&[
        &[mark(0), drop()],
        &[map],
        &[mark(6), drop()],
        &[mark(5), drop()],
    ]);
    let finding = found(&marked, &rules).unwrap();
    // The mark that it had before is not known; but whom it had no mark for did not drop it, for it has one now.
    assert_eq!(finding.object.as_deref(), Some("rule inet t c handle 8"));
    assert_eq!(finding.grade, Grade::Certain);
}

#[test]
fn chains_lead_to_others_and_back() {
    let jump = |target: &str| json!({"jump": {"target": target}});
    let goto = |target: &str| json!({"goto": {"target": target}});
    let table = |lead: Value, inner: &[Value], policy: &str| {
        vec![
            sub("sub"),
            chain("c", "input", policy),
            rule("sub", 3, inner),
            rule("c", 4, &[lead]),
            rule("c", 5, &[drop()]),
        ]
    };
    let accept = json!({"accept": null});
    certain(
        &input(),
        &table(jump("sub"), &[drop()], "accept"),
        "rule inet t sub handle 3",
    );
    let back = [json!({"return": null})];
    certain(
        &input(),
        &table(jump("sub"), &back, "accept"),
        "rule inet t c handle 5",
    );
    certain(
        &input(),
        &table(goto("sub"), &back, "drop"),
        "policy of chain inet t c",
    );
    assert_eq!(
        found(
            &input(),
            &table(jump("sub"), std::slice::from_ref(&accept), "drop")
        ),
        None
    );
    // A loop, and a chain that is not there: the kernel has neither.
    assert_eq!(
        found(
            &input(),
            &table(jump("sub"), &[jump("sub"), jump("sub")], "drop")
        ),
        None
    );
    assert_eq!(
        found(&input(), &table(jump("none"), &[drop()], "drop")),
        None
    );
}

#[test]
fn what_one_chain_accepts_the_next_one_may_drop() {
    let mut rules = in_input(&[&[json!({"accept": null})]]);
    let mut second = chain("d", "input", "drop");
    second["chain"]["prio"] = json!(5);
    rules.push(second);
    certain(&input(), &rules, "policy of chain inet t d");
    // Those of other hooks have nothing to do with it.
    assert_eq!(found(&case("ip_forward"), &rules), None);
    assert_eq!(found(&case("ip_rcv"), &rules), None);
    // Neither has a dormant table.
    rules.insert(
        0,
        json!({"table": {"family": "inet", "name": "t", "flags": "d"}}),
    );
    assert_eq!(found(&input(), &rules), None);
}

#[test]
fn the_only_one_that_can_have_dropped_it_is_guilty() {
    guilty(&[is_new(), drop()]);
    guilty(&[
        json!({"limit": {"rate": 1, "per": "hour", "inv": true}}),
        drop(),
    ]);
    // Which of two is not known.
    let rules = in_input(&[&[is_new(), drop()], &[port(&json!(7000)), drop()]]);
    let finding = found(&input(), &rules).unwrap();
    assert_eq!(finding.grade, Grade::Likely);
    assert_eq!(finding.object.as_deref(), Some("rule inet t c handle 6"));
    assert!(finding.proof.unwrap().starts_with("rule inet t c handle 5"));
    // A counter of 0: nothing came so far.
    let none = json!({"counter": {"packets": 0, "bytes": 0}});
    let rules = in_input(&[&[is_new(), none, drop()], &[port(&json!(7000)), drop()]]);
    certain(&input(), &rules, "rule inet t c handle 6");
    let some = json!({"counter": {"packets": 7, "bytes": 0}});
    let rules = in_input(&[&[is_new(), some, drop()], &[port(&json!(7000)), drop()]]);
    assert_eq!(found(&input(), &rules).unwrap().grade, Grade::Likely);
}

#[test]
fn a_packet_that_was_cut_is_not_known_where_it_was() {
    let mut cut = input();
    cut.data.truncate(36);
    let rules = in_input(&[&[port(&json!(7001)), drop()], &[port(&json!(7000)), drop()]]);
    let finding = found(&cut, &rules).unwrap();
    assert_eq!(finding.grade, Grade::Likely);
    // One that was sent so has no port.
    cut.length = 36;
    assert_eq!(
        found(&cut, &rules).map(|finding| finding.grade),
        Some(Grade::Likely)
    );
}

#[test]
fn a_translation_changes_what_rules_saw_before() {
    let nat = json!({"chain": {"family": "inet", "table": "t", "name": "n", "handle": 8, "type": "nat",
                               "hook": "prerouting", "prio": -100, "policy": "accept"}});
    let mut raw = chain("c", "prerouting", "accept");
    raw["chain"]["prio"] = json!(-300);
    let late = chain("d", "prerouting", "drop");
    let early = rule("c", 5, &[port(&json!(53)), drop()]);
    let dropped = case("ip_rcv");
    certain(
        &dropped,
        &[raw.clone(), early.clone(), late.clone()],
        "policy of chain inet t d",
    );
    // It was not for port 53 when it was dropped: had the rule dropped it, it would be.
    certain(
        &dropped,
        &[raw, early, late, nat],
        "policy of chain inet t d",
    );
}
