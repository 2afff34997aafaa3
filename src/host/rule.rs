//! The rules that choose a routing table (ip-rule(8)).

use std::fmt::Write;
use std::net::IpAddr;

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::route::{TABLE_LOCAL, TABLE_MAIN};
use super::{Question, Unseen, rtnetlink};

/// FRA_SPORT_MASK and FRA_DPORT_MASK (include/uapi/linux/fib_rules.h), which Linux 6.15 added.
const PORT_MASKS: [u16; 2] = [28, 29];

/// All routing rules in their order, of IPv6 or of IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingRules {
    /// Those of IPv6.
    pub is_ipv6: bool,
}

/// The action of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoutingAction {
    /// The route is sought in the table.
    #[default]
    Lookup,
    /// It goes on at another rule.
    Goto,
    /// It goes on with the next rule.
    Nop,
    /// Packets are dropped without an answer.
    Blackhole,
    /// The sender is told that the network is unreachable.
    Unreachable,
    /// The sender is told that this is prohibited.
    Prohibit,
    /// Another.
    Other,
}

/// A rule.
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutingRule {
    /// Its place in the order.
    pub priority: u32,
    /// The action.
    pub action: RoutingAction,
    /// The table of a lookup.
    pub table: u32,
    /// The priority of the rule that a goto leads to.
    pub target: Option<u32>,
    /// The sources, with the length of the prefix.
    pub source: Option<(IpAddr, u8)>,
    /// The destinations, with the length of the prefix.
    pub destination: Option<(IpAddr, u8)>,
    /// The input interface.
    pub input: Option<String>,
    /// The output interface.
    pub output: Option<String>,
    /// The mark and its mask.
    pub mark: Option<(u32, u32)>,
    /// The type of service.
    pub tos: u8,
    /// The protocol.
    pub protocol: Option<u8>,
    /// The first and the last source port.
    pub source_ports: Option<(u16, u16)>,
    /// The first and the last destination port.
    pub destination_ports: Option<(u16, u16)>,
    /// The first and the last user.
    pub users: Option<(u32, u32)>,
    /// Routes with a prefix of at most this length do not count.
    pub suppressed_prefix: Option<u32>,
    /// It is for packets that its words do not fit.
    pub is_inverted: bool,
    /// A device that it names is not there.
    pub is_detached: bool,
    /// It looks in the table of the packet's VRF.
    pub is_of_vrf: bool,
    /// It has words that this does not know.
    pub has_more: bool,
}

impl Question for RoutingRules {
    const NAME: &'static str = "routing rules";
    type Answer = Vec<RoutingRule>;

    fn look(&self) -> Result<Vec<RoutingRule>, Unseen> {
        let mut request = RuleMessage::default();
        request.header.family = if self.is_ipv6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetRule(request))?;
        let rules = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRule(message) => Some(rule(message)),
            _ => None,
        });
        Ok(rules.collect())
    }
}

fn rule(message: &RuleMessage) -> RoutingRule {
    let header = &message.header;
    let detached = RuleFlags::IifDetached | RuleFlags::OifDetached;
    let mut rule = RoutingRule {
        action: action(header.action),
        table: header.table.into(),
        tos: header.tos,
        is_inverted: header.flags.contains(RuleFlags::Invert),
        is_detached: header.flags.intersects(detached),
        ..RoutingRule::default()
    };
    let (mut wanted, mut mask) = (0, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Destination(address) => {
                rule.destination = Some((*address, header.dst_len));
            }
            RuleAttribute::Source(address) => rule.source = Some((*address, header.src_len)),
            RuleAttribute::Iifname(name) => rule.input = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.output = Some(name.clone()),
            RuleAttribute::Goto(target) => rule.target = Some(*target),
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::FwMark(value) => wanted = *value,
            RuleAttribute::FwMask(value) => mask = Some(*value),
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::IpProtocol(protocol) => rule.protocol = Some(u8::from(*protocol)),
            RuleAttribute::SourcePortRange(range) => {
                rule.source_ports = Some((range.start, range.end));
            }
            RuleAttribute::DestinationPortRange(range) => {
                rule.destination_ports = Some((range.start, range.end));
            }
            RuleAttribute::UidRange(range) => rule.users = Some((range.start, range.end)),
            RuleAttribute::L3MDev(is_of_vrf) => rule.is_of_vrf = *is_of_vrf,
            RuleAttribute::SuppressPrefixLen(u32::MAX)
            | RuleAttribute::SuppressIfGroup(u32::MAX)
            | RuleAttribute::Protocol(_)
            | RuleAttribute::Realm(_)
            | RuleAttribute::TunId(0) => {}
            RuleAttribute::SuppressPrefixLen(len) => rule.suppressed_prefix = Some(*len),
            RuleAttribute::Other(other) => rule.has_more |= !is_whole_port(other),
            _ => rule.has_more = true,
        }
    }
    rule.mark = mask
        .map(|mask| (wanted, mask))
        .filter(|mark| *mark != (0, 0));
    rule
}

/// Returns whether an attribute is the mask of a port that all bits count of.
fn is_whole_port(attribute: &netlink_packet_core::DefaultNla) -> bool {
    use netlink_packet_core::Nla;
    let mut value = [0; 2];
    if !PORT_MASKS.contains(&attribute.kind()) || attribute.value_len() != value.len() {
        return false;
    }
    attribute.emit_value(&mut value);
    value == [0xff; 2]
}

fn action(action: RuleAction) -> RoutingAction {
    match action {
        RuleAction::ToTable => RoutingAction::Lookup,
        RuleAction::Goto => RoutingAction::Goto,
        RuleAction::Nop => RoutingAction::Nop,
        RuleAction::Blackhole => RoutingAction::Blackhole,
        RuleAction::Unreachable => RoutingAction::Unreachable,
        RuleAction::Prohibit => RoutingAction::Prohibit,
        _ => RoutingAction::Other,
    }
}

impl RoutingRule {
    /// Returns the rule in the words of ip-rule(8).
    pub fn text(&self) -> String {
        let mut text = format!("rule {}:", self.priority);
        let mut word = |name: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = write!(text, " {name} {value}");
        };
        if self.is_inverted {
            word("not", "");
        }
        match self.source {
            Some((source, prefix)) => word("from", &format!("{source}/{prefix}")),
            None => word("from", "all"),
        }
        if let Some((destination, prefix)) = self.destination {
            word("to", &format!("{destination}/{prefix}"));
        }
        if let Some((mark, mask)) = self.mark {
            word("fwmark", &format!("{mark:#x}/{mask:#x}"));
        }
        if self.tos != 0 {
            word("tos", &format!("{:#x}", self.tos));
        }
        if let Some(name) = &self.input {
            word("iif", name);
        }
        if let Some(name) = &self.output {
            word("oif", name);
        }
        if let Some(protocol) = self.protocol {
            word("ipproto", &protocol.to_string());
        }
        for (name, ports) in [
            ("sport", self.source_ports),
            ("dport", self.destination_ports),
        ] {
            match ports {
                Some((first, last)) if first == last => word(name, &first.to_string()),
                Some((first, last)) => word(name, &format!("{first}-{last}")),
                None => {}
            }
        }
        match self.action {
            RoutingAction::Lookup => word("lookup", &table(self.table)),
            RoutingAction::Goto => word("goto", &self.target.unwrap_or(0).to_string()),
            RoutingAction::Nop => word("nop", ""),
            RoutingAction::Blackhole => word("blackhole", ""),
            RoutingAction::Unreachable => word("unreachable", ""),
            RoutingAction::Prohibit => word("prohibit", ""),
            RoutingAction::Other => word("another", "action"),
        }
        text.trim_end().replace("  ", " ")
    }
}

/// Returns the name of a table.
fn table(table: u32) -> String {
    match table {
        TABLE_MAIN => "main".to_owned(),
        TABLE_LOCAL => "local".to_owned(),
        253 => "default".to_owned(),
        table => table.to_string(),
    }
}
