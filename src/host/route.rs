//! Routes: all of them, and the one that the kernel takes for a packet.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteType,
    RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, rtnetlink};

/// The table of the addresses of this host.
pub const TABLE_LOCAL: u32 = 255;
/// The usual table.
pub const TABLE_MAIN: u32 = 254;

/// Protocols of IANA's registry.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// RTAX_MTU, whose bit in RTAX_LOCK locks it.
const MTU_LOCK: u32 = 1 << 2;

/// All routes of all tables, of IPv6 or of IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteEntries {
    /// Those of IPv6.
    pub is_ipv6: bool,
}

/// The kind of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// It leads to another host.
    #[default]
    Unicast,
    /// It leads to this host.
    Local,
    /// It leads to all hosts of a network.
    Broadcast,
    /// Packets are dropped without an answer.
    Blackhole,
    /// The sender is told that the host is unreachable.
    Unreachable,
    /// The sender is told that this is prohibited.
    Prohibit,
    /// The table has no route, whatever else is in it.
    Throw,
    /// Another.
    Other,
}

/// A route.
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteEntry {
    /// Its kind.
    pub kind: RouteKind,
    /// The network that it is for.
    pub destination: IpAddr,
    /// The length of that network's prefix.
    pub prefix: u8,
    /// The sources that it is for, with the length of the prefix (IPv6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<(IpAddr, u8)>,
    /// The table that it is in.
    pub table: u32,
    /// The type of service that it is for; 0: all.
    #[serde(default)]
    pub tos: u8,
    /// The metric.
    #[serde(default)]
    pub metric: u32,
    /// The ifindex of the device that it leads out of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u32>,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The MTU that it states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// That MTU is locked.
    #[serde(default)]
    pub is_mtu_locked: bool,
    /// It is not used: its device is down.
    #[serde(default)]
    pub is_dead: bool,
    /// It has several next hops, or one in an object of its own.
    #[serde(default)]
    pub is_shared: bool,
    /// It has more than this says.
    #[serde(default)]
    pub has_more: bool,
}

/// The question which route the kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLookup {
    /// The destination address.
    pub destination: IpAddr,
    /// The source address.
    pub source: Option<IpAddr>,
    /// The ifindex that the packet came in by; `None`: this host sends it.
    pub input: Option<u32>,
    /// The ifindex that it has to leave by.
    pub output: Option<u32>,
    /// The mark.
    pub mark: u32,
    /// The type of service.
    pub tos: u8,
    /// The protocol.
    pub protocol: Option<u8>,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
}

/// The answer to a [`RouteLookup`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteAnswer {
    /// The route.
    Found(RouteEntry),
    /// The error number: `ENETUNREACH` where there is none.
    Refused(i32),
}

impl Question for RouteEntries {
    const NAME: &'static str = "routes";
    type Answer = Vec<RouteEntry>;

    fn look(&self) -> Result<Vec<RouteEntry>, Unseen> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(self.is_ipv6);
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetRoute(request))?;
        let entries = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => Some(entry(message, self.is_ipv6)),
            _ => None,
        });
        Ok(entries.collect())
    }
}

impl Question for RouteLookup {
    const NAME: &'static str = "route";
    type Answer = RouteAnswer;

    fn look(&self) -> Result<RouteAnswer, Unseen> {
        let is_ipv6 = self.destination.is_ipv6();
        let length = if is_ipv6 { 128 } else { 32 };
        let mut request = RouteMessage::default();
        request.header = RouteHeader {
            address_family: family(is_ipv6),
            destination_prefix_length: length,
            tos: self.tos,
            // The entry of the table, not what would be made of it.
            flags: RouteFlags::LookupTable | RouteFlags::FibMatch,
            ..RouteHeader::default()
        };
        let attributes = &mut request.attributes;
        attributes.push(RouteAttribute::Destination(self.destination.into()));
        if let Some(source) = self.source {
            request.header.source_prefix_length = length;
            attributes.push(RouteAttribute::Source(source.into()));
        }
        attributes.extend(self.input.map(RouteAttribute::Iif));
        attributes.extend(self.output.map(RouteAttribute::Oif));
        if self.mark != 0 {
            attributes.push(RouteAttribute::Mark(self.mark));
        }
        // The kernel refuses the question with another protocol (rtm_getroute_parse_ip_proto).
        let icmp = if is_ipv6 { ICMPV6 } else { ICMP };
        let protocol = self.protocol.filter(|one| [icmp, TCP, UDP].contains(one));
        attributes.extend(protocol.map(RouteAttribute::IpProto));
        if let Some((source, destination)) =
            self.ports.filter(|_| matches!(protocol, Some(TCP | UDP)))
        {
            attributes.push(RouteAttribute::Sport(source));
            attributes.push(RouteAttribute::Dport(destination));
        }
        let answers = match rtnetlink::get(RouteNetlinkMessage::GetRoute(request))? {
            Ok(answers) => answers,
            Err(errno) => return Ok(RouteAnswer::Refused(errno)),
        };
        let found = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(message) => Some(entry(message, is_ipv6)),
            _ => None,
        });
        found
            .map(RouteAnswer::Found)
            .ok_or_else(|| Unseen::Failed("the kernel answers without a route".to_owned()))
    }
}

fn family(is_ipv6: bool) -> AddressFamily {
    if is_ipv6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    }
}

fn entry(message: &RouteMessage, is_ipv6: bool) -> RouteEntry {
    let header = &message.header;
    let mut entry = RouteEntry {
        kind: kind(header.kind),
        destination: if is_ipv6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        },
        prefix: header.destination_prefix_length,
        source: None,
        table: header.table.into(),
        tos: header.tos,
        metric: 0,
        output: None,
        gateway: None,
        mtu: None,
        is_mtu_locked: false,
        is_dead: header.flags.contains(RouteFlags::Dead),
        is_shared: false,
        has_more: false,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                entry.destination = plain(address).unwrap_or(entry.destination);
            }
            RouteAttribute::Source(address) => {
                entry.source = plain(address).map(|address| (address, header.source_prefix_length));
            }
            RouteAttribute::Table(table) => entry.table = *table,
            RouteAttribute::Priority(metric) => entry.metric = *metric,
            RouteAttribute::Oif(index) => entry.output = Some(*index),
            RouteAttribute::Gateway(address) => entry.gateway = plain(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => {
                entry.gateway = Some((*address).into());
            }
            RouteAttribute::Via(RouteVia::Inet6(address)) => {
                entry.gateway = Some((*address).into());
            }
            RouteAttribute::MultiPath(_) | RouteAttribute::NhId(_) => entry.is_shared = true,
            RouteAttribute::Metrics(metrics) => take_metrics(&mut entry, metrics),
            RouteAttribute::CacheInfo(_) | RouteAttribute::Preference(_) => {}
            _ => entry.has_more = true,
        }
    }
    entry
}

fn take_metrics(entry: &mut RouteEntry, metrics: &[RouteMetric]) {
    for metric in metrics {
        match metric {
            RouteMetric::Mtu(mtu) => entry.mtu = Some(*mtu),
            RouteMetric::Lock(bits) => {
                entry.is_mtu_locked = bits & MTU_LOCK != 0;
                entry.has_more |= bits & !MTU_LOCK != 0;
            }
            _ => entry.has_more = true,
        }
    }
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        _ => RouteKind::Other,
    }
}

impl RouteKind {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other => "other",
        }
    }
}

impl RouteEntry {
    /// Returns the network as ip-route(8) writes it.
    pub fn network(&self) -> String {
        if self.prefix == 0 {
            return "default".to_owned();
        }
        format!("{}/{}", self.destination, self.prefix)
    }

    /// Returns kind, network, and the table where it is not the usual one: `blackhole 192.0.2.0/24 table 7`.
    pub fn text(&self) -> String {
        let mut text = match self.kind {
            RouteKind::Unicast => self.network(),
            kind => format!("{} {}", kind.word(), self.network()),
        };
        if let Some((source, prefix)) = self.source {
            let _ = write!(text, " from {source}/{prefix}");
        }
        match self.table {
            TABLE_MAIN => {}
            TABLE_LOCAL => text += " table local",
            table => {
                let _ = write!(text, " table {table}");
            }
        }
        text
    }

    /// Returns the words that name this route alone in `ip route del` and the like.
    pub fn selector(&self) -> String {
        let mut words = self.text();
        if self.tos != 0 {
            let _ = write!(words, " tos {:#x}", self.tos);
        }
        if self.metric != 0 {
            let _ = write!(words, " metric {}", self.metric);
        }
        words
    }
}
