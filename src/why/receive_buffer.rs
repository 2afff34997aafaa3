//! Packets for a socket whose receive buffer is full.

use super::end_point::{Candidate, EndPoints, candidates, process_name, with_port};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy};
use crate::host::HostState;
use crate::host::elsewhere::InitialSysctl;
use crate::host::holder::HostProcess;
use crate::host::sysctl::Sysctl;

/// The name of the cause.
const FULL: &str = "receive_buffer_full";
/// The size to which the remedies raise a limit, in bytes.
const LARGER: u32 = 4 << 20;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Receive buffers",
    drops: &["SOCKET_RCVBUFF"],
    concerns,
    judge,
    causes: &[CauseText {
        id: FULL,
        title: "The receive buffer of a socket of UDP is full",
        evidence: "The reason says so. The socket is the one that takes such packets, with the processes that hold it \
                   (/proc/PID/fd) and the size of its buffer. Certain where there is one; where several share the \
                   port, likely the one whose buffer is full now.",
        cure: "The program reads faster, or, if it is stopped, is continued. SO_RCVBUF of its socket, which \
               net.core.rmem_max limits, or net.core.rmem_default make room for bursts alone.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    case.has_reason("SOCKET_RCVBUFF") && case.ip().is_some_and(|ip| ip.protocol == Some(17))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let packet = EndPoints::of(case)?;
    let (address, port) = packet.destination;
    let wanted = with_port(address, port);
    // All sockets that are bound so get a copy.
    let is_for_all = address.is_multicast();
    let candidates = candidates(case, &packet, packet.question(), host)?;
    let fitting: Vec<_> = candidates
        .into_iter()
        .filter(|one| one.mismatches.is_empty())
        .collect();
    let (guilty, grade) = match fitting.as_slice() {
        [only] if !is_for_all => (only, Grade::Certain),
        _ => (fullest(&fitting)?, Grade::Likely),
    };
    let name = guilty.name(packet.protocol);
    let stopped = guilty.process().filter(|process| process.is_stopped());
    let claim = match stopped {
        Some(process) => format!(
            "the receive buffer of {wanted} is full: {} is stopped",
            process_name(process)
        ),
        None => format!("the receive buffer of the {name} is full"),
    };
    let mut finding = CauseFinding::new(FULL, grade, claim).object(name);
    if grade == Grade::Likely {
        finding = finding
            .proof("which of the sockets with the port drops: their counts in /proc/net/udp");
    }
    finding = finding.seen(
        packet.file(),
        format!(
            "{} has {} bytes to be read",
            guilty.address(),
            guilty.socket.waiting
        ),
    );
    if let Some(options) = guilty.options() {
        finding = finding.seen(
            "ss -uamp",
            format!(
                "the buffer is of {} bytes, {} are taken",
                options.memory_limit, options.memory_used
            ),
        );
    }
    if let Some(process) = guilty.process() {
        finding = finding.seen(
            format!("/proc/{}/stat", process.pid),
            format!("{}, state {}", process.name, process.state),
        );
    }
    Some(match stopped {
        Some(process) => finding.remedy(resume(process)),
        None => with_larger_buffer(finding, guilty, host),
    })
}

/// Returns the socket whose buffer is the fullest, if one is more than half full.
fn fullest(fitting: &[Candidate]) -> Option<&Candidate> {
    let taken = |one: &&Candidate| {
        let options = one.options()?;
        let limit = u64::from(options.memory_limit.max(1));
        Some(u64::from(options.memory_used) * 100 / limit)
    };
    let fullest = fitting.iter().max_by_key(taken)?;
    taken(&fullest)
        .filter(|&percent| percent > 50)
        .map(|_| fullest)
}

/// Returns the command that has a stopped process go on.
pub fn resume(process: &HostProcess) -> Remedy {
    Remedy {
        advice: Some(format!("have {} go on", process.name)),
        command: Some(format!("kill -CONT {}", process.pid)),
        effect: Effect::Now,
        is_global: true,
    }
}

fn with_larger_buffer(finding: CauseFinding, guilty: &Candidate, host: &HostState) -> CauseFinding {
    let finding = finding.advise("have the program read faster, or raise SO_RCVBUF of its socket");
    let limit = |name: &str| {
        let sysctl = Sysctl::new(["net", "core", name]);
        let value = host.ask(&InitialSysctl(sysctl.clone())).ok()?;
        Some((sysctl.name(), value.parse::<u32>().ok()?))
    };
    let Some(options) = guilty.options() else {
        return finding;
    };
    let raised = |finding: CauseFinding, name: String, advice: &str| {
        finding.remedy(Remedy {
            advice: Some(advice.into()),
            command: Some(format!("sysctl -w {name}={LARGER}")),
            effect: Effect::NewSockets,
            is_global: true,
        })
    };
    let (default, most) = (limit("rmem_default"), limit("rmem_max"));
    let mut finding = finding;
    for (name, value) in [&default, &most].into_iter().flatten() {
        finding = finding.seen(name.clone(), value.to_string());
    }
    match (default, most) {
        // The program has set nothing.
        (Some((name, value)), _) if options.memory_limit == value && value < LARGER => raised(
            finding,
            name,
            "a larger buffer for all sockets that set none",
        ),
        // It may want more than it got: setsockopt(2) doubles the number.
        (_, Some((name, value))) if options.memory_limit == value.saturating_mul(2) => {
            raised(finding, name, "let the program set a larger buffer")
        }
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{RecordedHost, drop_of};
    use super::*;
    use crate::host::holder::SocketOptions;
    use crate::host::inet_socket::PortProtocol;

    fn judged(address: &str) -> Option<CauseFinding> {
        let sysctl = |name| InitialSysctl(Sysctl::new(["net", "core", name]));
        let options = SocketOptions {
            memory_used: 212_992,
            memory_limit: 212_992,
            ..SocketOptions::default()
        };
        let host = RecordedHost::default()
            .socket(PortProtocol::Udp, address, options)
            .answer(&sysctl("rmem_default"), &"212992".into())
            .answer(&sysctl("rmem_max"), &"212992".into());
        let case = drop_of(
            PortProtocol::Udp,
            0,
            "SOCKET_RCVBUFF",
            "udp_queue_rcv_one_skb",
        );
        assert!(concerns(&case));
        judge(&case, &host.state())
    }

    #[test]
    fn the_socket_that_takes_the_packets_is_named() {
        let finding = judged("0.0.0.0").unwrap();
        assert_eq!(finding.grade, Grade::Certain);
        assert_eq!(
            finding.object.as_deref(),
            Some("UDP socket 0.0.0.0:7000 of daemon (PID 42)")
        );
        let [_, larger] = finding.remedy.as_slice() else {
            panic!("{:?}", finding.remedy);
        };
        assert_eq!(larger.effect, Effect::NewSockets);
        assert_eq!(
            larger.command.as_deref(),
            Some("sysctl -w net.core.rmem_default=4194304")
        );
    }

    #[test]
    fn the_socket_of_another_address_is_not_guilty() {
        assert_eq!(judged("127.0.0.1"), None);
    }
}
