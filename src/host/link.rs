//! The devices of a namespace.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, rtnetlink};

/// All devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkLinks;

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkLink {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its kind where it is no hardware: `veth`, `vxlan`, …
    pub kind: Option<String>,
    /// The largest packet that it sends, in bytes.
    pub mtu: u32,
    /// Its link-layer address.
    pub address: Vec<u8>,
    /// The device that it belongs to: a bridge, a VRF.
    pub master: Option<u32>,
    /// It was set up.
    pub is_up: bool,
    /// It is connected: of a tun device, a program has it open.
    #[serde(default)]
    pub has_carrier: bool,
    /// It receives all frames, whoever they are for.
    pub is_promiscuous: bool,
}

impl Question for NetworkLinks {
    const NAME: &'static str = "links";
    type Answer = Vec<NetworkLink>;

    fn look(&self) -> Result<Vec<NetworkLink>, Unseen> {
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let links = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(link(&message)),
            _ => None,
        });
        Ok(links.collect())
    }
}

fn link(message: &LinkMessage) -> NetworkLink {
    let mut link = NetworkLink {
        index: message.header.index,
        is_up: message.header.flags.contains(LinkFlags::Up),
        has_carrier: message.header.flags.contains(LinkFlags::LowerUp),
        is_promiscuous: message.header.flags.contains(LinkFlags::Promisc),
        ..NetworkLink::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => link.address.clone_from(address),
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}
