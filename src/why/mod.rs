//! The diagnosis: from a drop and the state of the host to the object that is guilty.
//!
//! A [`CauseFamily`] of causes is a file here. Its `judge` is a pure function of a [`DropCase`] and the answers of a
//! [`HostState`]; it claims nothing that these do not show. [`diagnose`] asks the families that the drop concerns,
//! and weakens what they claim where it cannot be certain.

mod accept_queue;
mod backlog;
mod bridge;
mod case;
mod classic_bpf;
mod comments;
pub mod counter;
mod damaged;
mod end_point;
mod fib;
mod finding;
mod fragments;
mod gre;
mod hops;
#[cfg(test)]
mod hostile;
mod ipsec;
mod ipv6_off;
#[cfg(test)]
mod manual;
mod multicast;
mod next_hop;
mod nftables;
mod nobody;
mod other_host;
mod program;
mod qdisc;
mod receive_buffer;
#[cfg(test)]
mod recorded;
mod refused;
mod reverse_path;
mod tcp_signature;
mod too_big;
mod tracking;
mod traffic_filter;
mod tun;
mod underlay;

pub use case::DropCase;
pub use finding::{CauseFinding, Effect, Evidence, Grade, Remedy};

use crate::host::HostState;
use crate::host::namespace::SeveralNamespaces;

/// A family of causes.
pub struct CauseFamily {
    /// The heading of its causes in the manual.
    pub title: &'static str,
    /// The reasons and functions of such drops, for those who ask about one of them.
    pub drops: &'static [&'static str],
    /// Returns whether such a drop can be of one of these causes; what does not concern a family is never asked.
    pub concerns: fn(&DropCase) -> bool,
    /// Looks for the cause; `None` where it is none of these.
    pub judge: fn(&DropCase, &HostState) -> Option<CauseFinding>,
    /// The causes, for the manual.
    pub causes: &'static [CauseText],
}

/// The description of a cause, in dwdump-why(7).
#[cfg_attr(not(test), expect(dead_code, reason = "a test writes the manual"))]
pub struct CauseText {
    /// Its short name.
    pub id: &'static str,
    /// The matter.
    pub title: &'static str,
    /// The things that are looked at, and the condition of a certain claim.
    pub evidence: &'static str,
    /// The cure.
    pub cure: &'static str,
}

/// All families. The order decides nothing: where two claim something, see [`diagnose`].
pub static FAMILIES: &[&CauseFamily] = &[
    &accept_queue::FAMILY,
    &backlog::FAMILY,
    &bridge::FAMILY,
    &damaged::FAMILY,
    &fragments::FAMILY,
    &gre::FAMILY,
    &hops::FAMILY,
    &ipsec::FAMILY,
    &ipv6_off::FAMILY,
    &multicast::FAMILY,
    &next_hop::FAMILY,
    &nftables::FAMILY,
    &nobody::FAMILY,
    &other_host::FAMILY,
    &program::FAMILY,
    &qdisc::FAMILY,
    &receive_buffer::FAMILY,
    &refused::FAMILY,
    &reverse_path::FAMILY,
    &tcp_signature::FAMILY,
    &too_big::FAMILY,
    &tracking::FAMILY,
    &traffic_filter::FAMILY,
    &tun::FAMILY,
    &underlay::FAMILY,
];

/// Returns what is looked at where the kernel drops a packet for this reason, or in this function: for each family
/// of causes that such a drop can have, its heading and what it looks at.
pub fn looked_at(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let families = FAMILIES
        .iter()
        .filter(move |family| family.drops.contains(&name));
    families.filter_map(|family| {
        let evidence = family.causes.first()?.evidence;
        let end = evidence.find(". ").unwrap_or(evidence.len());
        Some((family.title, evidence[..end].trim_end_matches('.')))
    })
}

/// The short name of what no family explains.
const UNEXPLAINED: &str = "unexplained";

/// Returns the cause of a drop. Two families that are certain of different objects contradict each other, and
/// then neither is.
pub fn diagnose(case: &DropCase, host: &HostState) -> CauseFinding {
    let concerned = FAMILIES.iter().filter(|family| (family.concerns)(case));
    let mut findings: Vec<_> = concerned
        .filter_map(|family| (family.judge)(case, host))
        .collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    let mut findings = findings.into_iter();
    let Some(mut best) = findings.next() else {
        return unexplained(case);
    };
    let rival = findings
        .next()
        .filter(|other| other.grade == best.grade && other.object != best.object);
    if let Some(rival) = rival {
        best.weaken(format!("the other possibility: {}", rival.claim));
    }
    if best.grade == Grade::Certain
        && case.netns.is_none()
        && host.ask(&SeveralNamespaces) != Ok(false)
    {
        best.weaken("the drop's network namespace is not known, and this host has several");
    }
    best
}

fn unexplained(case: &DropCase) -> CauseFinding {
    let place = case.place.as_deref().unwrap_or("an unknown place");
    CauseFinding::new(
        UNEXPLAINED,
        Grade::Unknown,
        "no cause that dwdump knows explains this drop",
    )
    .seen("the drop", format!("at {place}"))
}

/// Returns whether an interface name can stand in a command as it is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:@".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain)
}
