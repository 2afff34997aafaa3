//! Packets that a BPF program, or a filter that a program has set, does not let pass.

use super::end_point::{Candidate, EndPoints, candidates};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::HostState;
use crate::host::bpf::{AttachedProgram, CgroupPrograms, ProcessCgroup, XdpPrograms};
use crate::host::inet_socket::{PortProtocol, PortSockets};

/// The names of the causes.
const SOCKET_FILTER: &str = "socket_filter";
const CGROUP: &str = "cgroup_program";
const XDP: &str = "xdp_program";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "BPF programs and socket filters",
    drops: &[
        "SOCKET_FILTER",
        "BPF_CGROUP_INGRESS",
        "BPF_CGROUP_EGRESS",
        "XDP",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: SOCKET_FILTER,
            title: "A filter of the socket does not take the packet",
            evidence: "The reason SOCKET_FILTER, which programs of control groups have as well, and a filter on the \
                       socket (SO_ATTACH_FILTER, SO_ATTACH_BPF). Never certain: what the filter says is not asked.",
            cure: "The program that has the socket sets another filter, or none.",
        },
        CauseText {
            id: CGROUP,
            title: "A BPF program of a control group does not let the packet pass",
            evidence: "The programs that run for the control group of the process that holds the socket, with the \
                       groups that they are attached to. Certain for what is sent where there is one; likely for what \
                       is received, as a filter of the socket or a security module could have dropped it.",
            cure: "Whoever attached the program detaches it, or fixes it: systemd does so for IPAddressDeny=.",
        },
        CauseText {
            id: XDP,
            title: "An XDP program drops the packet",
            evidence: "The reason XDP, or a drop in do_xdp_generic or veth_xdp_rcv_skb, and the programs on the device (ip -d link show). \
                       Certain where the device has one. What native XDP of other drivers drops is in the driver's counters alone.",
            cure: "Whoever attached the program detaches it, or fixes it. Unless a link holds it, ip link takes it off.",
        },
    ],
};

/// Returns whether XDP dropped it where the kernel had made a packet already, and gives no reason: before the stack,
/// or in a pair of virtual devices.
fn is_in_xdp(case: &DropCase) -> bool {
    case.has_no_reason()
        && (case.is_in("do_xdp_generic")
            || case.is_in("netif_receive_generic_xdp")
            || case.is_in("veth_xdp_rcv_skb"))
}

fn concerns(case: &DropCase) -> bool {
    if is_in_xdp(case) {
        return true;
    }
    [
        "SOCKET_FILTER",
        "BPF_CGROUP_INGRESS",
        "BPF_CGROUP_EGRESS",
        "XDP",
    ]
    .iter()
    .any(|reason| case.has_reason(reason))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if case.has_reason("XDP") || is_in_xdp(case) {
        return xdp(case, host);
    }
    if case.has_reason("BPF_CGROUP_EGRESS") {
        return sending_group(case, host);
    }
    receiving(case, host)
}

fn xdp(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let device = case.device.as_deref().or(case.input_interface())?;
    let programs = host.ask(&XdpPrograms(device.to_owned())).ok()?;
    let program = programs.first()?;
    let grade = match programs.len() {
        1 => Grade::Certain,
        _ => Grade::Likely,
    };
    let name = program.text();
    let finding = CauseFinding::new(XDP, grade, format!("the {name} at XDP of {device} drops"))
        .object(format!("XDP on {device}: {name}"))
        .seen("the drop", "by XDP")
        .seen(
            format!("ip -d link show dev {device}"),
            format!("prog/xdp id {}", program.id),
        );
    let finding = match &program.mode {
        Some(mode) if is_plain(device) => {
            finding.cure(format!("ip link set dev {device} {mode} off"))
        }
        _ => finding.advise(format!(
            "have whoever attached the {name} to {device} detach it, or fix it"
        )),
    };
    Some(match grade {
        Grade::Certain => finding,
        _ => finding.proof("which of the programs on the device drops"),
    })
}

/// Names the first program for a control group.
fn of_group(program: &AttachedProgram, path: &str, grade: Grade, hook: &str) -> CauseFinding {
    let group = program.cgroup.as_deref().unwrap_or(path);
    let name = program.text();
    CauseFinding::new(
        CGROUP,
        grade,
        format!("the {name} of the control group {group} drops at its {hook}"),
    )
    .object(format!("{name} at {hook} of cgroup {group}"))
    .advise(format!(
        "have whoever attached the {name} to {group} detach it, or fix it"
    ))
}

fn sending_group(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let path = case.cgroup.clone()?;
    let question = CgroupPrograms {
        path: path.clone(),
        is_ingress: false,
    };
    let programs = host.ask(&question).ok()?;
    let program = programs.first()?;
    let grade = match programs.len() {
        1 => Grade::Certain,
        _ => Grade::Likely,
    };
    let mut finding = of_group(program, &path, grade, "egress").seen(
        "the drop",
        format!("the reason BPF_CGROUP_EGRESS, in {path}"),
    );
    for program in &programs {
        finding = finding.seen(
            format!("bpftool cgroup show effective {path}"),
            program.text(),
        );
    }
    Some(match grade {
        Grade::Certain => finding,
        _ => finding.proof("which of these programs drops"),
    })
}

/// The reason is the same for a filter of the socket, a program of its control group and a security module
/// (`sk_filter_trim_cap`, net/core/filter.c).
fn receiving(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let packet = EndPoints::of(case)?;
    let socket = receiver(case, &packet, host)?;
    let name = socket.name(packet.protocol);
    let has_filter = socket.options().and_then(|options| options.has_filter);
    let group = socket
        .process()
        .and_then(|process| host.ask(&ProcessCgroup(process.pid)).ok());
    let programs = group.as_ref().map(|path| {
        host.ask(&CgroupPrograms {
            path: path.clone(),
            is_ingress: true,
        })
        .unwrap_or_default()
    });
    let programs = programs.unwrap_or_default();
    let finding = match (has_filter, programs.first(), &group) {
        (Some(true), None, _) => CauseFinding::new(
            SOCKET_FILTER,
            Grade::Likely,
            format!("a filter of the {name} does not take the packet"),
        )
        .object(format!("filter of the {name}"))
        .proof("the drops end once the program takes the filter off the socket")
        .advise("have the program set another filter, or none (SO_DETACH_FILTER)"),
        (Some(false) | None, Some(program), Some(path)) => {
            of_group(program, path, Grade::Likely, "ingress")
                .proof("the drops end once it is detached")
        }
        (Some(true), Some(program), Some(path)) => {
            let claim = format!(
                "a filter of the {name}, or the {} of its control group, drops",
                program.text()
            );
            CauseFinding::new(SOCKET_FILTER, Grade::Likely, claim)
                .object(format!("filter of the {name}, or {} of cgroup {path}", program.text()))
                .proof("the drops end once one of them is taken away")
                .advise("have the program set another filter, or have the program of the group detached")
        }
        _ => return None,
    };
    let mut finding = finding.seen(
        packet.protocol.file(socket.socket.address.is_ipv6()),
        name.clone(),
    );
    if let Some(has_filter) = has_filter {
        let text = if has_filter {
            "it has a filter"
        } else {
            "it has no filter"
        };
        finding = finding.seen("getsockopt SO_GET_FILTER", text);
    }
    if let Some(path) = &group {
        for program in &programs {
            finding = finding.seen(
                format!("bpftool cgroup show effective {path}"),
                program.text(),
            );
        }
    }
    Some(finding)
}

/// Returns the socket that the packet came to, if there is one alone.
fn receiver(case: &DropCase, packet: &EndPoints, host: &HostState) -> Option<Candidate> {
    let connected = PortSockets {
        is_connected: true,
        ..packet.question()
    };
    let questions = match packet.protocol {
        PortProtocol::Tcp if !packet.is_first => vec![connected, packet.question()],
        _ => vec![packet.question()],
    };
    questions.into_iter().find_map(|question| {
        let found = candidates(case, packet, question, host)?;
        let mut fitting = found.into_iter().filter(|one| one.mismatches.is_empty());
        fitting.next().filter(|_| fitting.next().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::holder::SocketOptions;
    use crate::why::recorded::{RecordedHost, drop_of};

    fn program(cgroup: Option<&str>) -> AttachedProgram {
        AttachedProgram {
            id: 7,
            name: "deny".into(),
            cgroup: cgroup.map(str::to_owned),
            mode: None,
        }
    }

    fn received(has_filter: bool, programs: &[AttachedProgram]) -> Option<CauseFinding> {
        let case = drop_of(
            PortProtocol::Udp,
            0,
            "SOCKET_FILTER",
            "udp_queue_rcv_one_skb",
        );
        assert!(concerns(&case));
        let options = SocketOptions {
            has_filter: Some(has_filter),
            ..SocketOptions::default()
        };
        let question = CgroupPrograms {
            path: "/a/b".into(),
            is_ingress: true,
        };
        let host = RecordedHost::default()
            .socket(PortProtocol::Udp, "0.0.0.0", options)
            .answer(&ProcessCgroup(42), &"/a/b".into())
            .answer(&question, &programs.to_vec());
        judge(&case, &host.state())
    }

    #[test]
    fn a_filter_and_a_program_of_a_group_are_told_apart() {
        let finding = received(true, &[]).unwrap();
        assert_eq!(
            (finding.cause.as_str(), finding.grade),
            (SOCKET_FILTER, Grade::Likely)
        );
        let finding = received(false, &[program(Some("/a"))]).unwrap();
        assert_eq!(
            (finding.cause.as_str(), finding.grade),
            (CGROUP, Grade::Likely)
        );
        let object = finding.object.unwrap();
        assert_eq!(object, "BPF program deny (id 7) at ingress of cgroup /a");
        // A security module did it.
        assert_eq!(received(false, &[]), None);
    }

    #[test]
    fn the_program_at_xdp_is_named() {
        let case = DropCase {
            reason: Some("XDP".into()),
            device: Some("in0".into()),
            ..DropCase::default()
        };
        let with = |programs| {
            let host = RecordedHost::default().answer(&XdpPrograms("in0".into()), &programs);
            judge(&case, &host.state())
        };
        let finding = with(vec![program(None)]).unwrap();
        assert_eq!(finding.grade, Grade::Certain);
        assert_eq!(
            finding.object.as_deref(),
            Some("XDP on in0: BPF program deny (id 7)")
        );
        assert_eq!(with(vec![]), None);
    }
}
