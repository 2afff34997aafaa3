//! Queueing disciplines that drop: their queue is full, or dropping is what they are for.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy, is_plain};
use crate::host::HostState;
use crate::host::link::NetworkLinks;
use crate::host::qdisc::{QueueDiscipline, QueueDisciplines};

/// The causes' names.
const FULL: &str = "qdisc_full";
const LOSS: &str = "qdisc_loss";

/// The reasons of such drops; others that begin with the first one's first word are, too.
const REASONS: [&str; 6] = [
    "QDISC_DROP",
    "QDISC_OVERLIMIT",
    "FQ_BAND_LIMIT",
    "FQ_FLOW_LIMIT",
    "FQ_HORIZON_LIMIT",
    "CAKE_FLOOD",
];

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Queueing disciplines",
    drops: &REASONS,
    concerns,
    judge,
    causes: &[
        CauseText {
            id: FULL,
            title: "A queueing discipline of the device drops",
            evidence: "The queueing disciplines of the device that the packet was to leave by, and which of them have \
                       counted drops (tc -s qdisc); of one inside another, the inner one. Never certain: the counts \
                       may be of other packets.",
            cure: "A larger limit or rate, a sender that sends less, or another queueing discipline.",
        },
        CauseText {
            id: LOSS,
            title: "netem loses packets on purpose",
            evidence: "The options of netem. Certain where it is the device's root and loses every packet.",
            cure: "netem is for tests: without it, nothing is lost.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    let reason = case.reason.as_deref().unwrap_or_default();
    reason.starts_with("QDISC_") || REASONS.contains(&reason)
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let device = case.device.as_deref()?;
    let links = host.ask(&NetworkLinks).ok()?;
    let index = links.iter().find(|link| link.name == device)?.index;
    let all = host.ask(&QueueDisciplines).ok()?;
    let own: Vec<_> = all.iter().filter(|one| one.index == index).collect();
    let dropping: Vec<_> = own.iter().copied().filter(|one| one.drops > 0).collect();
    // What an inner one drops, the outer ones count, too.
    let is_inner = |one: &&QueueDiscipline| {
        let holds = |other: &&QueueDiscipline| {
            other.major != one.major
                && other
                    .parent
                    .is_some_and(|(major, _)| major != 0 && major == one.major)
        };
        !dropping.iter().any(holds)
    };
    let mut inner: Vec<_> = dropping.iter().copied().filter(is_inner).collect();
    inner.sort_by_key(|one| std::cmp::Reverse(one.drops));
    let guilty = *inner.first()?;
    let loses_all = guilty.loss == Some(u32::MAX);
    let id = if guilty.loss.is_some_and(|loss| loss > 0) {
        LOSS
    } else {
        FULL
    };
    let is_sure = loses_all && guilty.parent.is_none();
    let grade = if is_sure {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let name = name(guilty);
    let claim = if loses_all {
        format!("the queueing discipline {name} on {device} loses every packet")
    } else {
        format!("the queueing discipline {name} on {device} drops packets")
    };
    let mut finding = CauseFinding::new(id, grade, claim)
        .object(format!("qdisc {name} on {device}"))
        .seen(format!("tc -s qdisc show dev {device}"), counts(guilty));
    if inner.len() > 1 {
        let others: Vec<_> = inner[1..].iter().map(|one| counts(one)).collect();
        finding = finding.seen("the same", others.join("; "));
    }
    if !is_sure {
        finding = finding.proof(format!(
            "its count of drops grows with the next drop: tc -s qdisc show dev {device}"
        ));
    }
    if id == FULL {
        finding = finding.advise(format!(
            "send less through {device}, or raise limit or rate"
        ));
    }
    Some(with_commands(finding, device, guilty, &own))
}

fn with_commands(
    mut finding: CauseFinding,
    device: &str,
    guilty: &QueueDiscipline,
    own: &[&QueueDiscipline],
) -> CauseFinding {
    if !is_plain(device) {
        return finding;
    }
    let limit = guilty.limit.unwrap_or(0);
    // These keep what else they are set to.
    if matches!(guilty.kind.as_str(), "pfifo" | "bfifo" | "fq_codel")
        && guilty.major != 0
        && limit > 0
    {
        let place = match guilty.parent {
            None => "root".to_owned(),
            Some((major, minor)) => format!("parent {major:x}:{minor:x}"),
        };
        let more = limit.saturating_mul(100).max(1000);
        finding = finding.cure(format!(
            "tc qdisc change dev {device} {place} handle {:x}: {} limit {more}",
            guilty.major, guilty.kind
        ));
    }
    let has_root = own.iter().any(|one| one.parent.is_none() && one.major != 0);
    if has_root {
        finding = finding.remedy(Remedy {
            advice: Some(format!("where {device} needs no shaping")),
            command: Some(format!("tc qdisc del dev {device} root")),
            effect: Effect::Now,
            is_global: false,
        });
    }
    finding
}

fn name(one: &QueueDiscipline) -> String {
    match one.major {
        0 => one.kind.clone(),
        major => format!("{} {major:x}:", one.kind),
    }
}

fn counts(one: &QueueDiscipline) -> String {
    let unit = match one.kind.as_str() {
        "tbf" | "bfifo" => "bytes",
        _ => "packets",
    };
    let limit = one
        .limit
        .map(|limit| format!(", limit {limit} {unit}"))
        .unwrap_or_default();
    let loss = one.loss.filter(|loss| *loss > 0).map(|loss| {
        let share = f64::from(loss) / f64::from(u32::MAX) * 100.0;
        format!(", loss {share:.1}%")
    });
    format!(
        "{} has dropped {}{limit}{}, {} waiting",
        name(one),
        one.drops,
        loss.unwrap_or_default(),
        one.waiting
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn case(device: &str) -> DropCase {
        DropCase {
            reason: Some("QDISC_DROP".into()),
            function: Some("__dev_queue_xmit".into()),
            device: Some(device.into()),
            ..DropCase::default()
        }
    }

    fn one(kind: &str, major: u16, parent: Option<(u16, u16)>, drops: u32) -> Value {
        json!({
            "index": 3, "kind": kind, "major": major, "parent": parent, "drops": drops, "waiting": 2,
            "limit": 2, "loss": null,
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals are passed")]
    fn finding(disciplines: Value) -> Option<CauseFinding> {
        let link = json!({
            "index": 3, "name": "out0", "kind": "veth", "mtu": 1500, "address": [], "master": null, "is_up": true,
            "is_promiscuous": false,
        });
        let host = json!({"links": {"Ok": [link]}, "queueing disciplines": {"Ok": disciplines}});
        assert!(concerns(&case("out0")));
        judge(
            &case("out0"),
            &HostState::replay(&host.to_string()).unwrap(),
        )
    }

    #[test]
    fn the_inner_one_is_named() {
        let found = finding(json!([
            one("htb", 1, None, 9),
            one("pfifo", 16, Some((1, 1)), 9)
        ]))
        .unwrap();
        assert_eq!(found.object.as_deref(), Some("qdisc pfifo 10: on out0"));
        assert_eq!(found.grade, Grade::Likely);
        let commands: Vec<_> = found
            .remedy
            .iter()
            .filter_map(|remedy| remedy.command.as_deref())
            .collect();
        assert_eq!(
            commands,
            [
                "tc qdisc change dev out0 parent 1:1 handle 10: pfifo limit 1000",
                "tc qdisc del dev out0 root",
            ]
        );
    }

    #[test]
    fn one_that_has_dropped_nothing_is_not_named() {
        assert_eq!(finding(json!([one("tbf", 5, None, 0)])), None);
        let mut elsewhere = one("tbf", 5, None, 9);
        elsewhere["index"] = json!(4);
        assert_eq!(finding(json!([elsewhere])), None);
        assert_eq!(judge(&case("in0"), &HostState::replay("{}").unwrap()), None);
    }

    #[test]
    fn netem_is_certain_where_it_loses_all() {
        let mut netem = one("netem", 5, None, 9);
        netem["loss"] = json!(u32::MAX);
        assert_eq!(finding(json!([netem])).unwrap().grade, Grade::Certain);
        netem["loss"] = json!(u32::MAX / 2);
        assert_eq!(finding(json!([netem])).unwrap().grade, Grade::Likely);
    }
}
