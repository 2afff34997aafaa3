//! Packets for a tun or tap device that no program reads.

use super::end_point::process_name;
use super::receive_buffer::resume;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;
use crate::host::link::{NetworkLink, NetworkLinks};
use crate::host::tun::{TunHolders, TunPrograms};

/// The names of the causes.
const NOT_READ: &str = "tun_not_read";
const NOT_OPEN: &str = "tun_not_open";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Tun devices",
    drops: &["FULL_RING", "QDISC_DROP", "DEV_READY", "tun_net_xmit"],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: NOT_READ,
            title: "The program behind a tun or tap device does not read",
            evidence: "The reason FULL_RING, and the program that has the device open (iff: in /proc/PID/fdinfo). \
                       Certain where a program of the same network namespace has; likely otherwise.",
            cure: "The program reads faster, or, if it is stopped, is continued. A longer queue (txqueuelen) makes \
                   room for bursts alone.",
        },
        CauseText {
            id: NOT_OPEN,
            title: "No program has a tun or tap device open",
            evidence: "The device is up and has no carrier, and no process has it open. Certain where all processes \
                       could be looked at.",
            cure: "The program of the device is started. Without one, the device has no use.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    let reasons = ["FULL_RING", "QDISC_DROP", "DEV_READY"];
    let is_sending = case.went_through("__dev_queue_xmit") || case.went_through("tun_net_xmit");
    reasons.iter().any(|reason| case.has_reason(reason)) || (case.has_no_reason() && is_sending)
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let device = case.device.as_deref()?;
    let links = host.ask(&NetworkLinks).ok()?;
    let link = links.iter().find(|link| link.name == device)?;
    if link.kind.as_deref() != Some("tun") {
        return None;
    }
    let holders = host.ask(&TunPrograms(device.to_owned())).ok()?;
    if case.has_reason("FULL_RING") {
        return Some(not_read(device, &holders));
    }
    not_open(link, &holders)
}

fn not_read(device: &str, holders: &TunHolders) -> CauseFinding {
    let all = || holders.here.iter().chain(&holders.elsewhere);
    let (grade, holder) = match holders.here.first() {
        Some(process) => (Grade::Certain, Some(process)),
        None => (Grade::Likely, holders.elsewhere.first()),
    };
    let (claim, object) = match holder {
        Some(process) => (
            format!(
                "{} {} {device}, whose queue is full",
                process_name(process),
                if process.is_stopped() {
                    "is stopped and does not read"
                } else {
                    "does not read"
                }
            ),
            format!("{device}, open by {}", process_name(process)),
        ),
        None => (
            format!("no program reads {device}, whose queue is full"),
            device.to_owned(),
        ),
    };
    let mut finding = CauseFinding::new(NOT_READ, grade, claim)
        .object(object)
        .seen("the drop", "the reason FULL_RING");
    if grade == Grade::Likely {
        finding = finding.proof(format!(
            "the program that has {device} open: iff: in /proc/PID/fdinfo"
        ));
    }
    for process in all() {
        finding = finding.seen(
            format!("/proc/{}/fdinfo", process.pid),
            format!(
                "{} has {device} open, state {}",
                process.name, process.state
            ),
        );
    }
    match holder.filter(|process| process.is_stopped()) {
        Some(process) => finding.remedy(resume(process)),
        None => finding.advise(format!(
            "have the program read faster; a larger txqueuelen of {device} helps with bursts alone"
        )),
    }
}

fn not_open(link: &NetworkLink, holders: &TunHolders) -> Option<CauseFinding> {
    // With a program there is a carrier, and its queueing discipline may have dropped.
    if !link.is_up || link.has_carrier || !holders.here.is_empty() || !holders.elsewhere.is_empty()
    {
        return None;
    }
    let name = &link.name;
    let grade = if holders.is_complete {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let finding = CauseFinding::new(
        NOT_OPEN,
        grade,
        format!("{name} is a tun device that no program has open"),
    )
    .object(name.clone())
    .seen(
        "ip -d link show",
        format!("{name} is up and has no carrier"),
    )
    .seen("/proc/PID/fdinfo", format!("none says iff: {name}"))
    .advise(format!("start the program that is to read {name}"));
    Some(if grade == Grade::Likely {
        finding.proof("there was no time to look at all processes")
    } else {
        finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::holder::HostProcess;
    use crate::why::recorded::RecordedHost;

    fn judged(reason: &str, kind: Option<&str>, holders: &TunHolders) -> Option<CauseFinding> {
        let case = DropCase {
            reason: Some(reason.into()),
            device: Some("tun0".into()),
            ..DropCase::default()
        };
        assert!(concerns(&case));
        let link = NetworkLink {
            name: "tun0".into(),
            kind: kind.map(str::to_owned),
            is_up: true,
            ..NetworkLink::default()
        };
        let host = RecordedHost::default()
            .answer(&NetworkLinks, &vec![link])
            .answer(&TunPrograms("tun0".into()), holders);
        judge(&case, &host.state())
    }

    fn held() -> TunHolders {
        TunHolders {
            here: vec![HostProcess {
                pid: 42,
                name: "vpn".into(),
                state: 'T',
            }],
            elsewhere: vec![],
            is_complete: true,
        }
    }

    #[test]
    fn the_program_that_does_not_read_is_named() {
        let finding = judged("FULL_RING", Some("tun"), &held()).unwrap();
        assert_eq!(finding.grade, Grade::Certain);
        assert_eq!(
            finding.object.as_deref(),
            Some("tun0, open by vpn (PID 42)")
        );
        assert_eq!(finding.remedy[0].command.as_deref(), Some("kill -CONT 42"));
        let elsewhere = TunHolders {
            elsewhere: held().here,
            ..TunHolders::default()
        };
        let finding = judged("FULL_RING", Some("tun"), &elsewhere).unwrap();
        assert_eq!(finding.grade, Grade::Likely);
    }

    #[test]
    fn a_device_that_nobody_has_open_is_named() {
        let nobody = TunHolders {
            is_complete: true,
            ..TunHolders::default()
        };
        let finding = judged("QDISC_DROP", Some("tun"), &nobody).unwrap();
        assert_eq!(
            (finding.grade, finding.object.as_deref()),
            (Grade::Certain, Some("tun0"))
        );
        // Another one's queueing discipline drops, or another kind of device.
        assert_eq!(judged("QDISC_DROP", Some("tun"), &held()), None);
        assert_eq!(judged("QDISC_DROP", Some("veth"), &nobody), None);
    }
}
