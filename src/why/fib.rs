//! The route of a packet: rules and tables, walked as the kernel walks them (`fib_rules_lookup`,
//! `fib_table_lookup`, `fib6_rule_lookup`).

use std::fmt::Write;
use std::net::IpAddr;

use super::DropCase;
use crate::host::link::{NetworkLink, NetworkLinks};
use crate::host::route::{RouteAnswer, RouteEntries, RouteEntry, RouteKind, RouteLookup};
use crate::host::rule::{RoutingAction, RoutingRule, RoutingRules};
use crate::host::{HostState, Unseen};

/// The input interface of what this host sends itself, in rules.
const LOOPBACK: &str = "lo";
/// The bits of the type of service that every kernel compares; newer ones compare three more.
const TOS_BITS: u8 = 0x1c;
/// All bits that can be compared: the DSCP.
const DSCP_BITS: u8 = 0xfc;

/// The facts of a packet by which its route is chosen.
#[derive(Clone, Debug)]
pub struct FlowKey {
    pub destination: IpAddr,
    pub source: IpAddr,
    /// Name and ifindex of the interface that it came in by; `None`: this host sends it.
    pub input: Option<(String, u32)>,
    pub mark: u32,
    pub tos: u8,
    pub protocol: u8,
    pub ports: (u16, u16),
}

/// The end of the walk.
#[derive(Clone, Debug)]
pub enum RouteFate {
    /// A route, of whatever kind.
    Route(RouteEntry),
    /// A rule refuses the packet.
    Rule(RoutingRule),
    /// There is no route.
    Nothing,
}

/// The rules and routes of one version of IP.
pub struct RoutingState {
    rules: Vec<RoutingRule>,
    routes: Vec<RouteEntry>,
}

/// The names of the devices.
pub struct DeviceNames(Vec<NetworkLink>);

impl FlowKey {
    /// Returns the key of a received packet. `None` where something is not known, and where the interface belongs
    /// to a VRF, which would be looked at instead of it.
    pub fn received(case: &DropCase, host: &HostState) -> Option<Self> {
        let name = case.input_interface()?;
        let links = host.ask(&NetworkLinks).ok()?;
        let link = links.iter().find(|link| link.name == name)?;
        let master = links.iter().find(|other| Some(other.index) == link.master);
        if master.is_some_and(|master| master.kind.as_deref() == Some("vrf")) {
            return None;
        }
        let mut key = Self::sent(case)?;
        key.input = Some((name.to_owned(), link.index));
        Some(key)
    }

    /// Returns the key of a packet that this host sends.
    pub fn sent(case: &DropCase) -> Option<Self> {
        let ip = case.ip()?;
        let (source, destination) = (ip.source?, ip.destination?);
        let first: [u8; 2] = *ip.bytes.first_chunk()?;
        let tos = match destination {
            IpAddr::V4(_) => first[1],
            IpAddr::V6(_) => first[0] << 4 | first[1] >> 4,
        };
        // The kernel does not look for the ports of fragments.
        let ports = match ip.fragment {
            None => ip.ports(),
            Some(_) => (None, None),
        };
        Some(Self {
            destination,
            source,
            input: None,
            mark: case.mark,
            tos,
            protocol: ip.protocol?,
            ports: (ports.0.unwrap_or(0), ports.1.unwrap_or(0)),
        })
    }

    /// Returns the key of the way back, as the reverse path filter looks for it (`__fib_validate_source`).
    pub fn back(&self, keeps_mark: bool) -> Self {
        Self {
            destination: self.source,
            source: self.destination,
            input: None,
            mark: if keeps_mark { self.mark } else { 0 },
            ports: (self.ports.1, self.ports.0),
            ..self.clone()
        }
    }

    /// Returns the kernel's own answer.
    pub fn ask_kernel(&self, host: &HostState) -> Result<RouteAnswer, Unseen> {
        host.ask(&self.lookup())
    }

    fn lookup(&self) -> RouteLookup {
        RouteLookup {
            destination: self.destination,
            source: Some(self.source),
            input: self.input.as_ref().map(|(_, index)| *index),
            output: None,
            mark: self.mark,
            tos: self.tos & TOS_BITS,
            protocol: Some(self.protocol),
            ports: Some(self.ports),
        }
    }

    /// Returns the command that shows the kernel's own answer.
    pub fn command(&self) -> String {
        let mut command = format!("ip route get {} from {}", self.destination, self.source);
        if let Some((name, _)) = &self.input {
            let _ = write!(command, " iif {name}");
        }
        if self.mark != 0 {
            let _ = write!(command, " mark {:#x}", self.mark);
        }
        command
    }
}

impl RoutingState {
    /// Asks for the rules and routes that decide about this key.
    pub fn of(key: &FlowKey, host: &HostState) -> Option<Self> {
        let is_ipv6 = key.destination.is_ipv6();
        Some(Self {
            rules: host.ask(&RoutingRules { is_ipv6 }).ok()?,
            routes: host.ask(&RouteEntries { is_ipv6 }).ok()?,
        })
    }

    /// Returns how the walk ends; `None` where it passes words that are not understood.
    pub fn walk(&self, key: &FlowKey) -> Option<RouteFate> {
        self.walk_without(key, |_| false, |_| false)
    }

    /// Returns how the walk would end without what refused the packet.
    pub fn walk_past(&self, key: &FlowKey, fate: &RouteFate) -> Option<RouteFate> {
        let is_route = |route: &RouteEntry| matches!(fate, RouteFate::Route(one) if one == route);
        let is_rule = |rule: &RoutingRule| matches!(fate, RouteFate::Rule(one) if one == rule);
        self.walk_without(key, is_route, is_rule)
    }

    fn walk_without(
        &self,
        key: &FlowKey,
        is_route_gone: impl Fn(&RouteEntry) -> bool,
        is_rule_gone: impl Fn(&RoutingRule) -> bool,
    ) -> Option<RouteFate> {
        let mut at = 0;
        while let Some(rule) = self.rules.get(at) {
            at += 1;
            if is_rule_gone(rule) || !matches(rule, key)? {
                continue;
            }
            match rule.action {
                RoutingAction::Blackhole | RoutingAction::Unreachable | RoutingAction::Prohibit => {
                    return Some(RouteFate::Rule(rule.clone()));
                }
                RoutingAction::Goto => {
                    // Only forward; without such a rule it goes on.
                    let later = &self.rules[at..];
                    let target = later
                        .iter()
                        .position(|other| Some(other.priority) == rule.target);
                    at += target.unwrap_or(0);
                    continue;
                }
                RoutingAction::Lookup => {}
                RoutingAction::Nop => continue,
                RoutingAction::Other => return None,
            }
            let Some(route) = self.best(rule.table, key, &is_route_gone)? else {
                continue;
            };
            if route.kind == RouteKind::Throw {
                continue;
            }
            let is_suppressed = rule
                .suppressed_prefix
                .is_some_and(|prefix| u32::from(route.prefix) <= prefix);
            if is_suppressed && !route.kind.refuses() {
                continue;
            }
            return Some(RouteFate::Route(route.clone()));
        }
        Some(RouteFate::Nothing)
    }

    /// Returns the route of a table: the most specific one, then the one with the lowest metric. The outer `None`:
    /// this depends on what kernels do differently.
    #[allow(clippy::option_option)]
    fn best(
        &self,
        table: u32,
        key: &FlowKey,
        is_gone: impl Fn(&RouteEntry) -> bool,
    ) -> Option<Option<&RouteEntry>> {
        let fits = |route: &&RouteEntry| {
            route.table == table
                && contains(route.destination, route.prefix, key.destination)
                && route
                    .source
                    .is_none_or(|(source, prefix)| contains(source, prefix, key.source))
                && (!route.is_dead || route.kind.refuses())
                && !is_gone(route)
        };
        let candidates: Vec<_> = self.routes.iter().filter(fits).collect();
        if candidates.iter().any(|route| route.tos != 0) && key.tos & DSCP_BITS & !TOS_BITS != 0 {
            return None;
        }
        let best = candidates
            .into_iter()
            .filter(|route| route.tos == 0 || route.tos == key.tos & DSCP_BITS)
            .min_by_key(|route| {
                (
                    u8::MAX - route.prefix,
                    u8::MAX - route.source.map_or(0, |(_, prefix)| prefix),
                    u8::MAX - route.tos,
                    route.metric,
                )
            });
        Some(best)
    }
}

/// Returns whether a rule is for this packet (`fib_rule_match`, `fib4_rule_match`, `fib6_rule_match`).
fn matches(rule: &RoutingRule, key: &FlowKey) -> Option<bool> {
    let input = key.input.as_ref().map_or(LOOPBACK, |(name, _)| name);
    let fits_prefix = |wanted: Option<(IpAddr, u8)>, address| {
        wanted.is_none_or(|(network, prefix)| contains(network, prefix, address))
    };
    let fits_ports = |wanted: Option<(u16, u16)>, port| {
        wanted.is_none_or(|(first, last)| (first..=last).contains(&port))
    };
    let fits = !rule.is_detached
        && !rule.is_of_vrf
        && rule.input.as_deref().is_none_or(|name| name == input)
        && rule.output.is_none()
        && rule
            .mark
            .is_none_or(|(mark, mask)| (mark ^ key.mark) & mask == 0)
        && fits_prefix(rule.source, key.source)
        && fits_prefix(rule.destination, key.destination)
        && rule.protocol.is_none_or(|one| one == key.protocol)
        && fits_ports(rule.source_ports, key.ports.0)
        && fits_ports(rule.destination_ports, key.ports.1);
    if !fits {
        return Some(rule.is_inverted);
    }
    if rule.has_more {
        return None;
    }
    if rule.tos != 0 {
        if key.tos & DSCP_BITS & !TOS_BITS != 0 {
            return None;
        }
        if rule.tos != key.tos & DSCP_BITS {
            return Some(rule.is_inverted);
        }
    }
    match rule.users {
        // A received packet has no user; whose the others are is not known.
        Some((0, u32::MAX)) | None => Some(!rule.is_inverted),
        Some(_) if key.input.is_some() => Some(rule.is_inverted),
        Some(_) => None,
    }
}

/// Returns whether an address is in a network.
pub fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let common = |one: u128, other: u128, bits: u32| {
        let differing = (one ^ other).leading_zeros() - (u128::BITS - bits);
        differing >= u32::from(prefix)
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            common(u32::from(network).into(), u32::from(address).into(), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            common(u128::from(network), u128::from(address), 128)
        }
        _ => false,
    }
}

impl RouteKind {
    /// Returns whether a route of this kind refuses packets.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Blackhole | Self::Unreachable | Self::Prohibit)
    }
}

impl RouteFate {
    /// Returns the kernel's error number for it; `None`: the packet has a route.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Nothing => Some(libc::ENETUNREACH),
            Self::Route(route) => match route.kind {
                RouteKind::Blackhole => Some(libc::EINVAL),
                RouteKind::Unreachable => Some(libc::EHOSTUNREACH),
                RouteKind::Prohibit => Some(libc::EACCES),
                _ => None,
            },
            Self::Rule(rule) => Some(match rule.action {
                RoutingAction::Blackhole => libc::EINVAL,
                RoutingAction::Prohibit => libc::EACCES,
                _ => libc::ENETUNREACH,
            }),
        }
    }

    /// Returns the route that leads to another host.
    pub fn unicast(&self) -> Option<&RouteEntry> {
        match self {
            Self::Route(route) if route.kind == RouteKind::Unicast => Some(route),
            _ => None,
        }
    }

    /// Returns what it is, for evidence.
    pub fn text(&self, names: &DeviceNames) -> String {
        match self {
            Self::Nothing => "no route".to_owned(),
            Self::Rule(rule) => rule.text(),
            Self::Route(route) => {
                let mut text = route.text();
                if let Some(gateway) = route.gateway {
                    let _ = write!(text, " via {gateway}");
                }
                if let Some(name) = route.output.and_then(|index| names.of(index)) {
                    let _ = write!(text, " dev {name}");
                }
                text
            }
        }
    }
}

impl DeviceNames {
    /// Asks for them.
    pub fn ask(host: &HostState) -> Self {
        Self(host.ask(&NetworkLinks).unwrap_or_default())
    }

    /// Returns the name of a device.
    pub fn of(&self, index: u32) -> Option<&str> {
        let link = self.0.iter().find(|link| link.index == index)?;
        Some(&link.name)
    }

    /// Returns the device of a name.
    pub fn link(&self, name: &str) -> Option<&NetworkLink> {
        self.0.iter().find(|link| link.name == name)
    }
}

#[cfg(test)]
mod tests;
