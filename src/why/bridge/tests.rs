use serde_json::{Value, json};

use super::*;

const FAR: [u8; 6] = [2, 0, 0, 0, 3, 4];

/// A frame of type 0x88b5 that came in by in0.
fn case(function: &str, tag: Option<u32>) -> DropCase {
    let mut data = FAR.to_vec();
    data.extend([2, 0, 0, 0, 3, 1, 0x88, 0xb5, 0, 0]);
    DropCase {
        reason: Some("NOT_SPECIFIED".into()),
        function: Some(function.into()),
        device: Some("in0".into()),
        input: Some(2),
        link: LinkType::ETHERNET.0,
        length: 16,
        vlan: tag,
        data,
        ..DropCase::default()
    }
}

/// The ports in0, out0 and more0 of a bridge, and their VLANs.
struct BridgePorts {
    devices: Vec<BridgeDevice>,
    vlans: Vec<PortVlans>,
    known: Vec<(u32, u16)>,
}

fn ports(filters_vlans: bool) -> BridgePorts {
    let bridge = BridgeDevice {
        index: 9,
        name: "br0".into(),
        filters_vlans,
        usual_vlan: 1,
        ..BridgeDevice::default()
    };
    let port = |(index, name): (u32, &str)| BridgeDevice {
        index,
        name: name.into(),
        bridge: Some(9),
        state: Some(FORWARDING),
        ..BridgeDevice::default()
    };
    let names = [(2, "in0"), (3, "out0"), (4, "more0")];
    let vlan = |(_, name): (u32, &str)| PortVlans {
        port: name.into(),
        first: 1,
        last: 1,
        is_untagged_input: true,
        is_untagged_output: true,
    };
    BridgePorts {
        devices: [bridge].into_iter().chain(names.map(port)).collect(),
        vlans: names.map(vlan).into(),
        known: vec![(3, u16::from(filters_vlans))],
    }
}

impl BridgePorts {
    fn judge(&self, case: &DropCase) -> Option<(String, Vec<String>)> {
        assert!(concerns(case));
        let mac: Value = json!(FAR);
        let host = json!({
            "bridge devices": {"Ok": self.devices},
            "bridge vlans": {"Ok": self.vlans},
            format!("ports of address {mac}"): {"Ok": self.known},
        });
        let finding = judge(case, &HostState::replay(&host.to_string()).unwrap())?;
        assert!(!finding.evidence.is_empty());
        let commands = finding.remedy.into_iter().filter_map(|one| one.command);
        Some((finding.object?, commands.collect()))
    }
}

#[allow(clippy::unnecessary_wraps)] // It is compared with what may be none.
fn claim(object: &str, command: &str) -> Option<(String, Vec<String>)> {
    Some((object.to_owned(), vec![command.to_owned()]))
}

#[test]
fn a_port_that_is_not_forwarding_is_named() {
    let mut ports = ports(false);
    for (state, function) in [(0, "br_handle_frame"), (2, "br_handle_frame_finish")] {
        ports.devices[1].state = Some(state);
        assert_eq!(
            ports.judge(&case(function, None)),
            claim(
                "state of bridge port in0",
                "bridge link set dev in0 state 3"
            )
        );
    }
    ports.devices[1].state = Some(FORWARDING);
    assert_eq!(ports.judge(&case("br_handle_frame", None)), None);
    ports.devices[2].state = Some(4);
    assert_eq!(
        ports.judge(&case("br_forward", None)),
        claim(
            "state of bridge port out0",
            "bridge link set dev out0 state 3"
        )
    );
}

#[test]
fn a_port_that_lacks_the_vlan_is_named() {
    let mut ports = ports(true);
    assert_eq!(
        ports.judge(&case("__allowed_ingress", Some(30))),
        Some((
            "VLAN 30 on bridge port in0".into(),
            ["in0", "out0"]
                .map(|port| format!("bridge vlan add vid 30 dev {port}"))
                .into()
        ))
    );
    // Where several ports could be meant, no other is opened.
    ports.known.clear();
    assert_eq!(
        ports.judge(&case("__allowed_ingress", Some(30))),
        claim(
            "VLAN 30 on bridge port in0",
            "bridge vlan add vid 30 dev in0"
        )
    );
    ports.known = vec![(3, 1)];
    assert_eq!(ports.judge(&case("__allowed_ingress", None)), None);
    ports.vlans[1].first = 20;
    ports.vlans[1].last = 20;
    assert_eq!(
        ports.judge(&case("br_forward", None)),
        claim(
            "VLAN 1 on bridge port out0",
            "bridge vlan add vid 1 dev out0 untagged"
        )
    );
    ports.vlans.remove(0);
    assert_eq!(
        ports.judge(&case("__allowed_ingress", None)),
        claim(
            "VLAN (pvid) of bridge port in0",
            "bridge vlan add vid 1 dev in0 pvid untagged"
        )
    );
}

#[test]
fn isolated_ports_are_named_where_both_are() {
    let mut ports = ports(false);
    ports.devices[1].is_isolated = true;
    assert_eq!(ports.judge(&case("br_forward", None)), None);
    ports.devices[2].is_isolated = true;
    for function in ["br_forward", "br_handle_frame_finish"] {
        assert_eq!(
            ports.judge(&case(function, None)),
            claim(
                "isolated bridge ports in0 and out0",
                "bridge link set dev out0 isolated off"
            )
        );
    }
    // Nobody knows where the destination is: more0 would have taken the frame.
    ports.known.clear();
    assert_eq!(ports.judge(&case("br_flood", None)), None);
}
