//! The diagnosis: from a drop and the state of the host to the object that is guilty.
//!
//! A [`Family`] of causes is a file here. Its `judge` is a pure function of a [`Case`] and the answers of a
//! [`Host`]; it claims nothing that these do not show. [`diagnose`] asks the families that the drop concerns,
//! and weakens what they claim where it cannot be certain.

mod case;
mod finding;
mod multicast;

pub use case::{Case, CaseSocket};
pub use finding::{Effect, Evidence, Finding, Grade, Remedy};

use crate::host::Host;
use crate::host::namespace::SeveralNamespaces;

/// A family of causes.
pub struct Family {
    /// Returns whether such a drop can be of one of these causes; what does not concern a family is never asked.
    pub concerns: fn(&Case) -> bool,
    /// Looks for the cause; `None` where it is none of these.
    pub judge: fn(&Case, &Host) -> Option<Finding>,
    /// The causes, for the manual.
    pub causes: &'static [CauseText],
}

/// The description of a cause, in dwdump-why(7).
pub struct CauseText {
    /// Its short name.
    pub id: &'static str,
    /// What is the matter.
    pub title: &'static str,
    /// What is looked at, and when the claim is certain.
    pub evidence: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// All families. The order decides nothing: where two claim something, see [`diagnose`].
pub static FAMILIES: &[&Family] = &[&multicast::FAMILY];

/// The short name of what no family explains.
const UNEXPLAINED: &str = "unexplained";

/// Returns the cause of a drop. Two families that are certain of different objects contradict each other, and
/// then neither is.
pub fn diagnose(case: &Case, host: &Host) -> Finding {
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
    if let Some(rival) = rival
        && best.grade == Grade::Certain
    {
        best.grade = Grade::Likely;
        best.proof = Some(format!("the other possibility: {}", rival.claim));
    }
    if best.grade == Grade::Certain
        && case.netns.is_none()
        && host.ask(&SeveralNamespaces) != Ok(false)
    {
        best.grade = Grade::Likely;
        best.proof =
            Some("the drop's network namespace is not known, and this host has several".into());
    }
    best
}

fn unexplained(case: &Case) -> Finding {
    let place = case.place.as_deref().unwrap_or("an unknown place");
    Finding::new(
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
