//! Bridges: their ports, the VLANs of these, and the addresses behind them.

use netlink_packet_route::link::{
    BridgePortState, InfoBridge, InfoBridgePort, InfoData, InfoPortData, LinkAttribute, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Question, Unseen, program, rtnetlink};

/// All bridges and ports of bridges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeDevices;

/// A bridge, or a port of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeDevice {
    /// The ifindex.
    pub index: u32,
    /// The name.
    pub name: String,
    /// Of a port: the ifindex of its bridge.
    pub bridge: Option<u32>,
    /// Of a port: its state (`BR_STATE_FORWARDING`, which is 3).
    pub state: Option<u8>,
    /// Of a port: frames of isolated ports do not leave by it.
    pub is_isolated: bool,
    /// Of a bridge: it looks at VLANs.
    pub filters_vlans: bool,
    /// Of a bridge: the VLAN that new ports have for frames without a tag; 0 for none.
    pub usual_vlan: u16,
}

/// The VLANs of all ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeVlans;

/// A range of VLANs that a port is a member of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortVlans {
    /// The port's name.
    pub port: String,
    /// The first VLAN.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Frames without a tag are of this one.
    pub is_untagged_input: bool,
    /// Frames leave without a tag.
    pub is_untagged_output: bool,
}

/// The ports behind which bridges know an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsOfAddress(pub Vec<u8>);

/// The command for the VLANs.
pub const VLANS: &str = "bridge vlan show";

impl Question for BridgeDevices {
    const NAME: &'static str = "bridge devices";
    type Answer = Vec<BridgeDevice>;

    fn look(&self) -> Result<Vec<BridgeDevice>, Unseen> {
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let devices = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => device(message),
            _ => None,
        });
        Ok(devices.collect())
    }
}

impl Question for BridgeVlans {
    const NAME: &'static str = "bridge vlans";
    type Answer = Vec<PortVlans>;

    fn look(&self) -> Result<Vec<PortVlans>, Unseen> {
        let text = program::output("bridge", &["-json", "vlan", "show"])?;
        serde_json::from_slice(&text)
            .map(|json| vlans(&json))
            .map_err(|error| Unseen::Failed(format!("{VLANS}: {error}")))
    }
}

impl Question for PortsOfAddress {
    const NAME: &'static str = "ports of address";
    /// The ifindex of each port, and the VLAN; 0 where there is none.
    type Answer = Vec<(u32, u16)>;

    fn look(&self) -> Result<Self::Answer, Unseen> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetNeighbour(request))?;
        let entry = |answer: &RouteNetlinkMessage| {
            let RouteNetlinkMessage::NewNeighbour(message) = answer else {
                return None;
            };
            let has = |wanted: &dyn Fn(&NeighbourAttribute) -> bool| {
                message.attributes.iter().any(wanted)
            };
            let is_it = has(
                &|one| matches!(one, NeighbourAttribute::LinkLayerAddress(mac) if *mac == self.0),
            );
            // Without a bridge, it is the device's own filter.
            let is_bridges = has(&|one| matches!(one, NeighbourAttribute::Controller(_)));
            let vlan = message.attributes.iter().find_map(|one| match one {
                NeighbourAttribute::Vlan(vlan) => Some(*vlan),
                _ => None,
            });
            (is_it && is_bridges).then_some((message.header.ifindex, vlan.unwrap_or(0)))
        };
        Ok(answers.iter().filter_map(entry).collect())
    }
}

/// Returns a bridge or a port of one; `None` for other devices.
fn device(message: &LinkMessage) -> Option<BridgeDevice> {
    let mut device = BridgeDevice {
        index: message.header.index,
        ..BridgeDevice::default()
    };
    let mut is_bridge = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Controller(bridge) => device.bridge = Some(*bridge),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Data(InfoData::Bridge(facts)) => {
                            is_bridge = true;
                            facts.iter().for_each(|fact| take_bridge(&mut device, fact));
                        }
                        LinkInfo::PortData(InfoPortData::BridgePort(facts)) => {
                            facts.iter().for_each(|fact| take_port(&mut device, fact));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (is_bridge || device.state.is_some()).then_some(device)
}

fn take_bridge(device: &mut BridgeDevice, fact: &InfoBridge) {
    match fact {
        InfoBridge::VlanFiltering(filters) => device.filters_vlans = *filters,
        InfoBridge::VlanDefaultPvid(vlan) => device.usual_vlan = *vlan,
        _ => {}
    }
}

fn take_port(device: &mut BridgeDevice, fact: &InfoBridgePort) {
    match fact {
        InfoBridgePort::State(state) => {
            device.state = Some(match state {
                BridgePortState::Disabled => 0,
                BridgePortState::Listening => 1,
                BridgePortState::Learning => 2,
                BridgePortState::Forwarding => 3,
                BridgePortState::Blocking => 4,
                BridgePortState::Other(other) => *other,
                _ => u8::MAX,
            });
        }
        InfoBridgePort::Isolated(is_isolated) => device.is_isolated = *is_isolated,
        _ => {}
    }
}

/// Parses what the program writes: for each port its VLANs, `{"ifname": …, "vlans": [{"vlan": 1, "vlanEnd": 4, "flags":
/// ["PVID", "Egress Untagged"]}]}`.
fn vlans(json: &Value) -> Vec<PortVlans> {
    let mut found = Vec::new();
    for port in json.as_array().into_iter().flatten() {
        let Some(name) = port["ifname"].as_str() else {
            continue;
        };
        for range in port["vlans"].as_array().into_iter().flatten() {
            let number =
                |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
            let Some(first) = number(&range["vlan"]) else {
                continue;
            };
            let has = |flag: &str| {
                let flags = range["flags"].as_array().into_iter().flatten();
                flags.into_iter().any(|one| one == flag)
            };
            found.push(PortVlans {
                port: name.to_owned(),
                first,
                last: number(&range["vlanEnd"]).unwrap_or(first),
                is_untagged_input: has("PVID"),
                is_untagged_output: has("Egress Untagged"),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_those_of_the_program() {
        let text = r#"[{"ifname":"in0","vlans":[{"vlan":1,"flags":["PVID","Egress Untagged"]},{"vlan":5,"vlanEnd":7}]},
                       {"ifname":"out0"},{"vlans":[{"vlan":3}]},{"ifname":"x","vlans":[{"vlan":70000}]}]"#;
        let found = vlans(&serde_json::from_str(text).unwrap());
        let one = |first, last, is_plain| PortVlans {
            port: "in0".into(),
            first,
            last,
            is_untagged_input: is_plain,
            is_untagged_output: is_plain,
        };
        assert_eq!(found, [one(1, 1, true), one(5, 7, false)]);
    }
}
