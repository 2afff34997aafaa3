//! Fragments that are dropped before their packet is whole: the rest does not come, or there is no memory for them.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;
use crate::host::sysctl::Sysctl;
use crate::packet::ip::{Ip, Version};

/// The causes' names.
const MISSING: &str = "fragment_missing";
const NO_MEMORY: &str = "fragment_memory";

/// The seconds that the kernel waits by itself.
const USUAL_WAIT: u32 = 30;
/// The bytes of fragments that the kernel keeps by itself.
const USUAL_MEMORY: u32 = 4 << 20;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Fragments",
    drops: &[
        "FRAG_REASM_TIMEOUT",
        "ip_expire",
        "inet_frag_rbtree_purge",
        "ip_defrag",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: MISSING,
            title: "The other fragments of a packet do not come in time",
            evidence: "The fragment that was dropped: what stands before it or behind it is what may be missing. \
                       The time that the kernel waits (net.ipv4.ipfrag_time, net.ipv6.ip6frag_time). Never certain: \
                       which of the others came is not seen.",
            cure: "Whatever loses the other fragments: a firewall that lets only first fragments pass, a full link; \
                   or a sender that sends packets that need no fragments.",
        },
        CauseText {
            id: NO_MEMORY,
            title: "There is no memory for fragments",
            evidence: "net.ipv4.ipfrag_high_thresh and net.ipv6.ip6frag_high_thresh. Certain for IPv4 where it is 0, \
                       with which no fragment is kept.",
            cure: "A larger limit.",
        },
    ],
};

/// The functions that drop what a queue of fragments held.
const ENDS: [&str; 7] = [
    "inet_frag_rbtree_purge",
    "inet_frag_destroy",
    "ip_expire",
    "ip6_frag_expire",
    "ip6frag_expire_frag_queue",
    "ipv6_frag_expire",
    "nf_ct_frag6_expire",
];
/// Those of them that a timer calls, and what runs timers: in 6.1, `ip_expire` ends with a jump to
/// `inet_frag_destroy` where the first fragment is missing, and is then not in the stack.
const TIMERS: [&str; 7] = [
    "ip_expire",
    "ip6_frag_expire",
    "ip6frag_expire_frag_queue",
    "ipv6_frag_expire",
    "nf_ct_frag6_expire",
    "call_timer_fn",
    "__run_timers",
];

fn concerns(case: &DropCase) -> bool {
    has_timed_out(case) || finds_no_queue(case)
}

fn has_timed_out(case: &DropCase) -> bool {
    let is_by_timer = TIMERS.iter().any(|timer| case.went_through(timer));
    let is_at_end = ENDS.iter().any(|end| case.is_in(end));
    case.has_reason("FRAG_REASM_TIMEOUT") || case.has_no_reason() && is_at_end && is_by_timer
}

/// Returns whether no queue may have been found for the fragment (`ip_find` in `ip_defrag`).
fn finds_no_queue(case: &DropCase) -> bool {
    (case.has_no_reason() || case.has_reason("FRAG_REASM_MEMORY"))
        && (case.is_in("ip_defrag") || case.is_in("ipv6_frag_rcv"))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let ip = case.ip()?;
    if has_timed_out(case) {
        missing(&ip, host)
    } else {
        no_memory(&ip, host)
    }
}

/// Returns the names of the sysctl below `net`.
fn sysctl(version: Version, name: &str) -> Sysctl {
    match version {
        Version::V4 => Sysctl::new(["net", "ipv4", &format!("ipfrag_{name}")]),
        Version::V6 => Sysctl::new(["net", "ipv6", &format!("ip6frag_{name}")]),
    }
}

fn missing(ip: &Ip<'_>, host: &HostState) -> Option<CauseFinding> {
    let (sender, own) = (ip.source?, ip.destination?);
    let fragment = ip.fragment?;
    let length = ip
        .stated_end
        .map_or(ip.payload.len(), |end| end.saturating_sub(ip.payload_at));
    let (start, end) = (
        usize::from(fragment.offset),
        usize::from(fragment.offset) + length,
    );
    // A fragment that is reported is one of those that came.
    let gap = match (start, fragment.more) {
        (0, _) => format!("a piece behind byte {end}"),
        (_, false) => format!("a piece before byte {start}"),
        (_, true) => format!("a piece before byte {start} or behind byte {end}"),
    };
    let time = sysctl(ip.version, "time");
    let seconds: u32 = host.ask(&time).ok()?.parse().ok()?;
    let mut finding = CauseFinding::new(
        MISSING,
        Grade::Likely,
        format!(
            "fragments of packets from {sender} to {own} do not come in {seconds} seconds: {gap} is missing"
        ),
    )
    .object(format!("fragments from {sender} to {own}"))
    .seen(
        "the packet",
        format!("a fragment with the bytes {start} to {end} came"),
    )
    .seen(format!("sysctl {}", time.name()), seconds.to_string())
    .proof(format!(
        "a capture at {sender} and here shows which pieces are lost on the way"
    ))
    .advise(format!(
        "find what loses the other fragments between {sender} and here, or have {sender} send smaller packets"
    ));
    if seconds < USUAL_WAIT {
        finding = finding.advise(format!(
            "where they are only late, wait longer: {} is {USUAL_WAIT} by itself",
            time.name()
        ));
    }
    Some(finding)
}

fn no_memory(ip: &Ip<'_>, host: &HostState) -> Option<CauseFinding> {
    ip.fragment?;
    let limit = sysctl(ip.version, "high_thresh");
    let bytes: u64 = host.ask(&limit).ok()?.parse().ok()?;
    if bytes != 0 {
        return None;
    }
    let grade = match ip.version {
        Version::V4 => Grade::Certain,
        // The headers are looked at before, and dropped for in the same function.
        Version::V6 => Grade::Likely,
    };
    let name = limit.name();
    let finding = CauseFinding::new(
        NO_MEMORY,
        grade,
        format!("no fragment is kept: {name} is 0"),
    )
    .object(format!("sysctl {name}"))
    .seen(format!("sysctl {name}"), "0")
    .cure(format!("sysctl -w {name}={USUAL_MEMORY}"));
    Some(if grade == Grade::Likely {
        finding.proof("with another value, the drops end")
    } else {
        finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LinkType;

    /// A fragment of 16 bytes.
    fn case(reason: &str, function: &str, field: u16) -> DropCase {
        let mut data = vec![0x45, 0, 0, 36, 0, 7];
        data.extend(field.to_be_bytes());
        data.extend([64, 17, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2]);
        data.resize(36, 0);
        DropCase {
            reason: Some(reason.into()),
            function: Some(function.into()),
            link: LinkType::RAW.0,
            length: 36,
            data,
            ..DropCase::default()
        }
    }

    fn host(time: &str, memory: &str) -> HostState {
        let answer = |name: &str, value: &str| {
            let key = format!(r#"sysctl ["net","ipv4","{name}"]"#);
            (key, serde_json::json!({"Ok": value}))
        };
        let answers = [
            answer("ipfrag_time", time),
            answer("ipfrag_high_thresh", memory),
        ];
        let answers: serde_json::Map<_, _> = answers.into_iter().collect();
        HostState::replay(&serde_json::to_string(&answers).unwrap()).unwrap()
    }

    #[test]
    fn the_gap_is_where_the_fragment_is_not() {
        let host = host("1", "4194304");
        for (field, gap) in [
            (0x2000, "a piece behind byte 16"),
            (4, "a piece before byte 32"),
            (0x2004, "a piece before byte 32 or behind byte 48"),
        ] {
            let case = case("FRAG_REASM_TIMEOUT", "inet_frag_rbtree_purge", field);
            assert!(concerns(&case));
            let finding = judge(&case, &host).unwrap();
            assert!(finding.claim.contains(gap), "{}", finding.claim);
            assert_eq!(
                finding.object.as_deref(),
                Some("fragments from 10.1.0.1 to 10.1.0.2")
            );
            assert_eq!(finding.grade, Grade::Likely);
        }
        // What is no fragment says nothing.
        assert_eq!(
            judge(&case("FRAG_REASM_TIMEOUT", "ip_expire", 0), &host),
            None
        );
    }

    #[test]
    fn without_a_reason_the_timer_decides() {
        let mut purged = case("NOT_SPECIFIED", "inet_frag_rbtree_purge", 0x2000);
        assert!(!concerns(&purged));
        for caller in ["ip_expire", "call_timer_fn"] {
            purged.stack = vec!["inet_frag_destroy".into(), caller.into()];
            assert!(concerns(&purged));
        }
        purged.stack = vec!["inet_frag_destroy".into(), "ip_defrag".into()];
        assert!(!concerns(&purged));
    }

    #[test]
    fn a_limit_of_zero_is_named_alone() {
        let case = case("NOT_SPECIFIED", "ip_defrag", 0x2000);
        assert!(concerns(&case));
        let finding = judge(&case, &host("30", "0")).unwrap();
        assert_eq!(
            finding.object.as_deref(),
            Some("sysctl net.ipv4.ipfrag_high_thresh")
        );
        assert_eq!(judge(&case, &host("30", "4194304")), None);
    }
}
