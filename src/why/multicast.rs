//! Packets to a multicast group that the interface has not joined.

use std::net::IpAddr;

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::membership::{IPV4_GROUPS, IPV6_GROUPS, Memberships};

/// The name of the cause.
const NOT_JOINED: &str = "group_not_joined";

/// The route of a multicast packet is sought in the first; IPv6 drops at its input.
const PLACES: [&str; 3] = ["ip_rcv_finish_core", "ip_route_input_noref", "ip6_mc_input"];

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Multicast groups",
    drops: &PLACES,
    concerns,
    judge,
    causes: &[CauseText {
        id: NOT_JOINED,
        title: "The interface has not joined the multicast group",
        evidence: "The groups of the interface that the packet came in by (/proc/net/igmp, /proc/net/igmp6). Certain \
                   where the group is not among them: the kernel then takes no route for the packet.",
        cure: "The program that wants the packets joins the group on that interface, or ip-address(8) does with \
               autojoin. Where nobody wants them, the drops are harmless.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    let is_multicast = case
        .destination()
        .is_some_and(|address| address.is_multicast());
    is_multicast && PLACES.iter().any(|place| case.is_in(place))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let group = case.destination()?;
    let interface = case.input_interface()?;
    let joined = host.ask(&Memberships(interface.to_owned())).ok()?;
    if joined.contains(&group) {
        return None;
    }
    let same_family = |other: &&IpAddr| other.is_ipv4() == group.is_ipv4();
    let others: Vec<_> = joined
        .iter()
        .filter(same_family)
        .map(IpAddr::to_string)
        .collect();
    let (file, length) = if group.is_ipv4() {
        (IPV4_GROUPS, 32)
    } else {
        (IPV6_GROUPS, 128)
    };
    let others = match others.as_slice() {
        [] => "none".to_owned(),
        others => others.join(", "),
    };
    let finding = CauseFinding::new(
        NOT_JOINED,
        Grade::Certain,
        format!("{interface} has not joined the group {group}"),
    )
    .object(format!("group {group} on {interface}"))
    .seen(file, format!("{interface} has joined {others}"));
    let finding = finding.advise(format!(
        "start the program that wants {group} on {interface}"
    ));
    Some(if is_plain(interface) {
        finding.cure(format!(
            "ip address add {group}/{length} dev {interface} autojoin"
        ))
    } else {
        finding
    })
}
