//! Packets of new connections, when the table of connections is full.

use super::nftables::can_have_dropped;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy};
use crate::host::HostState;
use crate::host::filters::OtherFilters;
use crate::host::tracking::{COUNT, ConnectionTable, MAX};

/// The name of the cause.
const TABLE_FULL: &str = "conntrack_full";
/// The least limit that is proposed.
const LEAST_LIMIT: u64 = 65_536;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Connection tracking",
    drops: &["NETFILTER_DROP", "nf_hook_slow"],
    concerns,
    judge,
    causes: &[CauseText {
        id: TABLE_FULL,
        title: "The table of connections is full",
        evidence: "The number of tracked connections and its limit (net.netfilter.nf_conntrack_count and \
                   nf_conntrack_max), and the counter of packets that were dropped for it \
                   (/proc/net/stat/nf_conntrack). Certain where the table is full and no rule and no policy can have \
                   dropped the packet in that hook.",
        cure: "Raise the limit, shorten the timeouts, or do not track what needs no tracking.",
    }],
};

/// The functions from which packets come to where connections are tracked: PREROUTING and OUTPUT.
const BEFORE: &[&str] = &[
    "ip_rcv",
    "ip_sublist_rcv",
    "ip_list_rcv",
    "__ip_local_out",
    "ip_local_out",
    "raw_sendmsg",
    "ipv6_rcv",
    "ip6_sublist_rcv",
    "ipv6_list_rcv",
    "__ip6_local_out",
    "ip6_local_out",
    "ip6_xmit",
    "rawv6_sendmsg",
];

fn concerns(case: &DropCase) -> bool {
    if !case.is_in("nf_hook_slow") || !(case.has_reason("NETFILTER_DROP") || case.has_no_reason()) {
        return false;
    }
    // The function that called the hook: nothing behind it counts.
    let caller = case
        .stack
        .iter()
        .find(|frame| !frame.starts_with("nf_") && !frame.starts_with("NF_HOOK"));
    caller.is_some_and(|caller| BEFORE.contains(&caller.as_str()))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let table = host.ask(&ConnectionTable).ok()??;
    // A counter of 0 says that it never happened.
    if !table.is_full() || table.dropped == Some(0) {
        return None;
    }
    let others = host.ask(&OtherFilters).unwrap_or_default();
    let is_alone = can_have_dropped(case, host) == Some(false) && others.is_empty();
    let is_certain = is_alone && table.count >= table.max;
    let grade = if is_certain {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let claim = format!(
        "the table of connections is full: {} of at most {}",
        table.count, table.max
    );
    let mut finding = CauseFinding::new(TABLE_FULL, grade, claim)
        .object("sysctl net.netfilter.nf_conntrack_max")
        .seen(MAX, table.max.to_string())
        .seen(COUNT, table.count.to_string());
    if let Some(dropped) = table.dropped {
        finding = finding.seen(
            "/proc/net/stat/nf_conntrack",
            format!("drop, of all CPUs: {dropped}"),
        );
    }
    if !is_certain {
        finding = finding.proof("conntrack -S: its counter drop grows with these drops");
    }
    let limit = table.max.saturating_mul(2).max(LEAST_LIMIT);
    Some(finding.remedy(Remedy {
        advice: None,
        command: Some(format!("sysctl -w net.netfilter.nf_conntrack_max={limit}")),
        effect: Effect::Now,
        is_global: !table.is_own_limit,
    }))
}
