//! The queue in which a CPU keeps packets until it takes them is full.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy};
use crate::host::HostState;
use crate::host::backlog::{COUNTERS, CpuBacklogs};

/// The name of the cause.
const FULL: &str = "cpu_backlog";
/// The limit that the kernel has by itself.
const USUAL_LIMIT: u64 = 1000;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "A CPU's backlog",
    drops: &["CPU_BACKLOG"],
    concerns,
    judge,
    causes: &[CauseText {
        id: FULL,
        title: "A CPU's backlog is full",
        evidence: "net.core.netdev_max_backlog, and the CPUs that have dropped packets (/proc/net/softnet_stat). Never \
                   certain: a limit for each flow drops in the same place, and a CPU that is too slow fills any queue.",
        cure: "A larger limit for bursts; receive packet steering to more CPUs, or less load, where it is full for long.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    case.has_reason("CPU_BACKLOG") && case.is_in("enqueue_to_backlog")
}

fn judge(_: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let state = host.ask(&CpuBacklogs).ok()?;
    let limit = state.limit?;
    let dropping: Vec<_> = state
        .drops
        .iter()
        .map(|(cpu, drops)| format!("CPU {cpu} has dropped {drops}"))
        .collect();
    if dropping.is_empty() {
        return None;
    }
    let which = match state.drops.as_slice() {
        [(cpu, _)] => format!("the backlog of CPU {cpu}"),
        _ => "a CPU's backlog".to_owned(),
    };
    let finding = CauseFinding::new(
        FULL,
        Grade::Likely,
        format!("{which} is full: net.core.netdev_max_backlog is {limit}"),
    )
    .object("sysctl net.core.netdev_max_backlog")
    .seen(COUNTERS, dropping.join(", "))
    .seen("sysctl net.core.netdev_max_backlog", limit.to_string());
    let proof = if state.flow_drops > 0 {
        "with a larger limit, the drops end; the limit for each flow (net.core.flow_limit_cpu_bitmap) drops, too"
    } else {
        "with a larger limit, the drops end; a CPU that is too slow fills any"
    };
    Some(finding.proof(proof).remedy(Remedy {
        advice: None,
        command: Some(format!(
            "sysctl -w net.core.netdev_max_backlog={}",
            limit.saturating_mul(4).max(USUAL_LIMIT)
        )),
        effect: Effect::Now,
        is_global: true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(state: &str) -> Option<String> {
        let case = DropCase {
            reason: Some("CPU_BACKLOG".into()),
            function: Some("enqueue_to_backlog".into()),
            ..DropCase::default()
        };
        assert!(concerns(&case));
        let host = HostState::replay(&format!(r#"{{"backlogs": {{"Ok": {state}}}}}"#)).unwrap();
        Some(judge(&case, &host)?.claim)
    }

    #[test]
    fn the_cpu_is_named() {
        assert_eq!(
            claim(r#"{"limit": 1, "drops": [[3, 9]], "flow_drops": 0}"#).as_deref(),
            Some("the backlog of CPU 3 is full: net.core.netdev_max_backlog is 1")
        );
    }

    #[test]
    fn a_cpu_that_dropped_nothing_is_not_named() {
        assert_eq!(claim(r#"{"limit": 1, "drops": [], "flow_drops": 0}"#), None);
        assert_eq!(
            claim(r#"{"limit": null, "drops": [[3, 9]], "flow_drops": 0}"#),
            None
        );
    }
}
