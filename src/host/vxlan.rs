//! VXLAN devices.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, rtnetlink};

/// All VXLAN devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VxlanDevices;

/// A VXLAN device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VxlanDevice {
    /// Its ifindex.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The source address of what it sends.
    pub local: Option<IpAddr>,
    /// The ifindex of the device that it sends by.
    pub output: Option<u32>,
    /// Each packet brings its own remote.
    pub is_external: bool,
    /// It sends in another network namespace, that in which it was made.
    pub is_elsewhere: bool,
}

impl Question for VxlanDevices {
    const NAME: &'static str = "vxlan devices";
    type Answer = Vec<VxlanDevice>;

    fn look(&self) -> Result<Vec<VxlanDevice>, Unseen> {
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let devices = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => device(message),
            _ => None,
        });
        Ok(devices.collect())
    }
}

fn device(message: &LinkMessage) -> Option<VxlanDevice> {
    let mut device = VxlanDevice {
        index: message.header.index,
        ..VxlanDevice::default()
    };
    let mut is_it = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::LinkNetNsId(_) => device.is_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Data(InfoData::Vxlan(settings)) = info {
                        is_it = true;
                        take_settings(&mut device, settings);
                    }
                }
            }
            _ => {}
        }
    }
    is_it.then_some(device)
}

fn take_settings(device: &mut VxlanDevice, settings: &[InfoVxlan]) {
    for setting in settings {
        match setting {
            InfoVxlan::Local(address) => device.local = Some((*address).into()),
            InfoVxlan::Local6(address) => device.local = Some((*address).into()),
            InfoVxlan::Link(index) => device.output = Some(*index).filter(|index| *index != 0),
            InfoVxlan::CollectMetadata(is_external) => device.is_external = *is_external,
            _ => {}
        }
    }
}
