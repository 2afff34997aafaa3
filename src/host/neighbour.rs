//! Neighbours: the link-layer addresses of next hops, and how many there may be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::neighbour_table::{NeighbourTableAttribute, NeighbourTableMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, rtnetlink};

/// All neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours;

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// The ifindex of the device whose network it is on.
    pub device: u32,
    /// The state in the words of ip-neighbour(8).
    pub state: String,
}

/// The tables of neighbours, which all network namespaces share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourTables;

/// A table of neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourLimit {
    /// Its name: `arp_cache`, `ndisc_cache`.
    pub name: String,
    /// The number of neighbours that there are.
    pub entries: u32,
    /// The number that there may be (gc_thresh3).
    pub limit: u32,
}

/// The entries of the forwarding tables of VXLAN devices and bridges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingEntries;

/// An entry that leads to another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingEntry {
    /// The ifindex of the device whose table it is in.
    pub device: u32,
    /// The link-layer address that it is for; all zeros: for those without an entry.
    pub address: Vec<u8>,
    /// The host that it leads to; `None`: a group of next hops.
    pub remote: Option<IpAddr>,
    /// The ifindex that packets to it have to leave by.
    pub output: Option<u32>,
}

impl Question for Neighbours {
    const NAME: &'static str = "neighbours";
    type Answer = Vec<Neighbour>;

    fn look(&self) -> Result<Vec<Neighbour>, Unseen> {
        let neighbour = |message: &NeighbourMessage| {
            let address = message.attributes.iter().find_map(|one| match one {
                NeighbourAttribute::Destination(address) => plain(address),
                _ => None,
            });
            Some(Neighbour {
                address: address?,
                device: message.header.ifindex,
                state: state(message.header.state),
            })
        };
        Ok(dump(AddressFamily::Unspec)?
            .iter()
            .filter_map(neighbour)
            .collect())
    }
}

impl Question for ForwardingEntries {
    const NAME: &'static str = "forwarding entries";
    type Answer = Vec<ForwardingEntry>;

    fn look(&self) -> Result<Vec<ForwardingEntry>, Unseen> {
        // The core of rtnetlink answers this; the devices' modules are there when the devices are.
        let found = dump(AddressFamily::Bridge)?;
        Ok(found.iter().filter_map(forwarding_entry).collect())
    }
}

impl Question for NeighbourTables {
    const NAME: &'static str = "neighbour tables";
    type Answer = Vec<NeighbourLimit>;

    fn look(&self) -> Result<Vec<NeighbourLimit>, Unseen> {
        let request = NeighbourTableMessage::default();
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetNeighbourTable(request))?;
        let mut tables: Vec<NeighbourLimit> = Vec::new();
        for answer in &answers {
            let RouteNetlinkMessage::NewNeighbourTable(message) = answer else {
                continue;
            };
            let mut table = NeighbourLimit::default();
            for attribute in &message.attributes {
                match attribute {
                    NeighbourTableAttribute::Name(name) => table.name.clone_from(name),
                    NeighbourTableAttribute::Threshold3(limit) => table.limit = *limit,
                    NeighbourTableAttribute::Config(config) => table.entries = config.entries,
                    _ => {}
                }
            }
            // The messages about single devices have no limit.
            if table.limit != 0 {
                tables.push(table);
            }
        }
        Ok(tables)
    }
}

fn dump(family: AddressFamily) -> Result<Vec<NeighbourMessage>, Unseen> {
    let mut request = NeighbourMessage::default();
    request.header.family = family;
    let answers = rtnetlink::dump(RouteNetlinkMessage::GetNeighbour(request))?;
    let messages = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(message) => Some(message),
        _ => None,
    });
    Ok(messages.collect())
}

fn forwarding_entry(message: &NeighbourMessage) -> Option<ForwardingEntry> {
    let mut address = None;
    let (mut remote, mut output) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => address = Some(bytes.clone()),
            NeighbourAttribute::Destination(one) => remote = plain(one),
            NeighbourAttribute::IfIndex(index) => output = Some(*index),
            _ => {}
        }
    }
    Some(ForwardingEntry {
        device: message.header.ifindex,
        address: address?,
        remote,
        output,
    })
}

fn plain(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        // In a forwarding table, the family of the message is another.
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.as_slice()).ok()?).into()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into()),
            _ => None,
        },
        _ => None,
    }
}

fn state(state: NeighbourState) -> String {
    let word = match state {
        NeighbourState::Incomplete => "INCOMPLETE",
        NeighbourState::Reachable => "REACHABLE",
        NeighbourState::Stale => "STALE",
        NeighbourState::Delay => "DELAY",
        NeighbourState::Probe => "PROBE",
        NeighbourState::Failed => "FAILED",
        NeighbourState::Noarp => "NOARP",
        NeighbourState::Permanent => "PERMANENT",
        _ => "NONE",
    };
    word.to_owned()
}
