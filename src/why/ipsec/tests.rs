use serde_json::{Value, json};

use super::*;
use crate::record::LinkType;

/// An IPv4 packet from 10.1.0.1 to 10.1.0.2.
fn case(reason: &str, function: &str, protocol: u8, payload: &[u8]) -> DropCase {
    let total = u8::try_from(20 + payload.len()).unwrap();
    let mut data = vec![0x45, 0, 0, total, 0, 0, 0, 0, 64, protocol, 0, 0];
    data.extend([10, 1, 0, 1, 10, 1, 0, 2]);
    data.extend(payload);
    DropCase {
        reason: Some(reason.into()),
        function: Some(function.into()),
        link: LinkType::RAW.0,
        length: total.into(),
        data,
        ..DropCase::default()
    }
}

fn esp() -> DropCase {
    let payload = [0, 0, 0x10, 0, 0, 0, 0, 1, 9, 9, 9, 9];
    case("NOT_SPECIFIED", "xfrm_input", 50, &payload)
}

fn datagram(reason: &str, function: &str) -> DropCase {
    let payload = [0x30, 0x39, 0x1b, 0x58, 0, 8, 0, 0];
    case(reason, function, 17, &payload)
}

fn state(spi: u32, destination: &str) -> Value {
    json!({
        "source": "10.1.0.1", "destination": destination, "protocol": 50, "spi": spi, "mark": null, "packets": 0,
        "most_packets": 0, "replays": 0, "too_old": 0, "integrity_failures": 0,
    })
}

fn policy(direction: u8, priority: u32, is_block: bool) -> Value {
    json!({
        "source": ["10.1.0.1", 32], "destination": ["10.1.0.2", 32], "protocol": 17, "source_port": [0, 0],
        "destination_port": [7000, 0xffff], "ifindex": 0, "mark": null, "interface_id": 0,
        "direction": direction, "priority": priority, "is_block": is_block, "is_sub": false, "templates": ["ESP"],
    })
}

#[expect(clippy::needless_pass_by_value, reason = "literals are passed")]
fn host(states: Value, policies: Value, counters: Value) -> HostState {
    let host = json!({
        "ipsec states": {"Ok": states},
        "ipsec policies": {"Ok": policies},
        "ipsec counters": {"Ok": counters},
    });
    HostState::replay(&host.to_string()).unwrap()
}

fn claim(case: &DropCase, host: &HostState) -> Option<(String, Grade, String)> {
    assert!(concerns(case));
    let finding = judge(case, host)?;
    assert!(!finding.evidence.is_empty());
    Some((finding.cause, finding.grade, finding.object?))
}

#[allow(clippy::unnecessary_wraps)] // It is compared with what may be none.
fn input(cause: &str, grade: Grade) -> Option<(String, Grade, String)> {
    let object = "ESP SPI 0x00001000 from 10.1.0.1 to 10.1.0.2";
    Some((cause.to_owned(), grade, object.to_owned()))
}

#[test]
fn an_spi_that_no_association_has_is_named() {
    let counted = json!({"XfrmInNoStates": 1, "XfrmInStateExpired": 0});
    let states = json!([state(0x1001, "10.1.0.2"), state(0x2000, "10.1.0.2")]);
    let found = claim(&esp(), &host(states, json!([]), counted.clone()));
    assert_eq!(found, input(UNKNOWN_SPI, Grade::Certain));
    let states = json!([state(0x1000, "10.2.0.1")]);
    let found = claim(&esp(), &host(states, json!([]), counted));
    assert_eq!(found, input(OTHER_DESTINATION, Grade::Certain));
}

#[test]
fn an_association_that_may_have_expired_leaves_doubt() {
    let counted = json!({"XfrmInNoStates": 5, "XfrmInStateExpired": 1});
    let found = claim(&esp(), &host(json!([]), json!([]), counted));
    assert_eq!(found, input(UNKNOWN_SPI, Grade::Likely));
    // Without the counters, nobody knows.
    let found = claim(&esp(), &host(json!([]), json!([]), json!({})));
    assert_eq!(found, input(UNKNOWN_SPI, Grade::Likely));
    let mut by_reason = esp();
    by_reason.reason = Some("XFRM_IN_STATE_EXPIRED".into());
    let found = claim(&by_reason, &host(json!([]), json!([]), json!({})));
    assert_eq!(found, input(EXPIRED, Grade::Likely));
}

#[test]
fn the_association_s_own_counters_decide() {
    let mut failed = state(0x1000, "10.1.0.2");
    failed["integrity_failures"] = json!(3);
    let found = claim(&esp(), &host(json!([failed]), json!([]), json!({})));
    assert_eq!(found, input(INTEGRITY, Grade::Certain));
    let mut replayed = state(0x1000, "10.1.0.2");
    replayed["replays"] = json!(1);
    let found = claim(&esp(), &host(json!([replayed]), json!([]), json!({})));
    assert_eq!(found, input(REPLAY, Grade::Certain));
    // Both: which of them it was is open.
    failed["replays"] = json!(1);
    let found = claim(&esp(), &host(json!([failed]), json!([]), json!({})));
    assert_eq!(found, input(INTEGRITY, Grade::Likely));
    // None, and no association of another mark is its.
    let innocent = state(0x1000, "10.1.0.2");
    assert_eq!(
        claim(&esp(), &host(json!([innocent]), json!([]), json!({}))),
        None
    );
}

#[test]
fn the_first_policy_that_fits_is_named() {
    let block = json!([policy(IN, 9, true), policy(FORWARD, 1, true)]);
    let clear = datagram("XFRM_POLICY", "udp_queue_rcv_one_skb");
    let words = "src 10.1.0.1/32 dst 10.1.0.2/32 proto udp dport 7000 dir in";
    let found = judge(&clear, &host(json!([]), block, json!({}))).unwrap();
    assert_eq!(
        (found.grade, found.cause.as_str()),
        (Grade::Certain, BLOCKED)
    );
    assert_eq!(found.object, Some(format!("policy {words}")));
    let command = found.remedy[0].command.as_deref();
    assert_eq!(command, Some(&*format!("ip xfrm policy delete {words}")));
    let wants = json!([policy(IN, 3, false), policy(IN, 9, true)]);
    let found = claim(&clear, &host(json!([]), wants.clone(), json!({}))).unwrap();
    assert_eq!((found.0.as_str(), found.1), (CLEAR_TEXT, Grade::Certain));
    // An association is in use: the packet may have come by it.
    let mut used = state(0x1000, "10.1.0.2");
    used["packets"] = json!(7);
    let found = claim(&clear, &host(json!([used]), wants, json!({}))).unwrap();
    assert_eq!(found.1, Grade::Likely);
}

#[test]
fn a_policy_that_does_not_fit_is_not_named() {
    let mut other = policy(IN, 1, true);
    other["destination_port"] = json!([7001, 0xffff]);
    let mut far = policy(IN, 1, true);
    far["source"] = json!(["10.1.0.2", 32]);
    let mut allows = policy(IN, 0, false);
    allows["templates"] = json!([]);
    let clear = datagram("XFRM_POLICY", "udp_queue_rcv_one_skb");
    for policies in [json!([other, far]), json!([policy(IN, 1, true), allows])] {
        assert_eq!(claim(&clear, &host(json!([]), policies, json!({}))), None);
    }
    // One of a socket may decide.
    let of_socket = json!([policy(IN, 1, true), policy(3, 0, false)]);
    let found = claim(&clear, &host(json!([]), of_socket, json!({}))).unwrap();
    assert_eq!(found.1, Grade::Likely);
}
