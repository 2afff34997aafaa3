//! Connections for which there is no room in the queue of a socket that listens.

use super::end_point::{EndPoints, candidates, process_name, with_port};
use super::receive_buffer::resume;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy};
use crate::host::HostState;
use crate::host::inet_socket::PortProtocol;
use crate::host::sysctl::Sysctl;

/// The name of the cause.
const FULL: &str = "accept_queue_full";
/// The length to which the remedy raises the limit.
const LONGER: u32 = 4096;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Accept queues",
    drops: &[
        "TCP_LISTEN_OVERFLOW",
        "tcp_v4_rcv",
        "tcp_v6_rcv",
        "tcp_check_req",
    ],
    concerns,
    judge,
    causes: &[CauseText {
        id: FULL,
        title: "The queue of connections that wait for accept(2) is full",
        evidence: "The socket that listens, the connections in its queue (/proc/net/tcp) and the length of it, which \
                   ss -ltn shows. Certain where the kernel gives the reason TCP_LISTEN_OVERFLOW, which older ones do \
                   not, and the queue is full; likely where it is full when dwdump looks.",
        cure: "The program accepts faster, or has a longer queue: the argument of listen(2), which net.core.somaxconn \
               limits. Both take a restart.",
    }],
};

fn concerns(case: &DropCase) -> bool {
    let places = ["tcp_v4_rcv", "tcp_v6_rcv", "tcp_check_req"];
    let is_there = places.iter().any(|place| case.is_in(place));
    is_there && (case.has_reason("TCP_LISTEN_OVERFLOW") || case.has_no_reason())
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let packet = EndPoints::of(case)?;
    // The queue of half-open connections drops a SYN elsewhere.
    if packet.protocol != PortProtocol::Tcp || packet.is_first {
        return None;
    }
    let listeners = candidates(case, &packet, packet.question(), host)?;
    let mut fitting = listeners
        .iter()
        .filter(|one| one.mismatches.is_empty())
        .peekable();
    let is_alone = fitting.clone().count() == 1;
    // Of several that share the port, the guilty one is full.
    let listener = fitting.clone().find(|one| one.socket.waiting > 0);
    let listener = listener.or(fitting.next())?;
    let waiting = listener.socket.waiting;
    let queue = listener.options().and_then(|options| options.accept_queue);
    let length = queue.map(|(_, length)| length);
    // `sk_acceptq_is_full` (include/net/sock.h)
    let is_full = match length {
        Some(length) => waiting > length,
        None => waiting > 0,
    };
    let has_overflowed = case.has_reason("TCP_LISTEN_OVERFLOW");
    let grade = match (has_overflowed, is_full) {
        (true, true) if is_alone && length.is_some() => Grade::Certain,
        (false, false) => return None,
        _ => Grade::Likely,
    };
    let (address, port) = packet.destination;
    let wanted = with_port(address, port);
    let name = listener.name(packet.protocol);
    let stopped = listener.process().filter(|process| process.is_stopped());
    let claim = match stopped {
        Some(process) => format!(
            "the accept queue of {wanted} is full: {} is stopped",
            process_name(process)
        ),
        None => format!("the accept queue of the {name} is full"),
    };
    let mut finding = CauseFinding::new(FULL, grade, claim).object(name).seen(
        packet.protocol.file(listener.socket.address.is_ipv6()),
        format!("{waiting} connections wait for accept(2)"),
    );
    if grade == Grade::Likely {
        finding = finding
            .proof("TcpExtListenOverflows rises with the drops: nstat -az TcpExtListenOverflows");
    }
    if let Some(length) = length {
        finding = finding.seen("ss -ltn", format!("the queue's length is {length}"));
    }
    let somaxconn = Sysctl::new(["net", "core", "somaxconn"]);
    let limit = host.ask(&somaxconn).ok();
    if let Some(limit) = &limit {
        finding = finding.seen(somaxconn.name(), limit.clone());
    }
    if let Some(process) = stopped {
        return Some(finding.remedy(resume(process)));
    }
    let finding = finding.advise("have the program accept faster, or call listen(2) with more");
    let limit = limit.and_then(|limit| limit.parse::<u32>().ok());
    Some(match (limit, length) {
        (Some(limit), Some(length)) if length >= limit && limit < LONGER => {
            finding.remedy(Remedy {
                advice: Some("let listen(2) have a longer queue".into()),
                command: Some(format!("sysctl -w {}={LONGER}", somaxconn.name())),
                effect: Effect::AfterRestart,
                is_global: false,
            })
        }
        _ => finding,
    })
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{RecordedHost, drop_of};
    use super::*;
    use crate::host::holder::SocketOptions;

    /// What is said of an ACK to a socket with a queue of 128, in which so many wait.
    fn judged(flags: u8, reason: &str, waiting: u32) -> Option<CauseFinding> {
        let options = SocketOptions {
            accept_queue: Some((waiting, 128)),
            ..SocketOptions::default()
        };
        let host = RecordedHost::default()
            .socket(PortProtocol::Tcp, "0.0.0.0", options)
            .answer(&Sysctl::new(["net", "core", "somaxconn"]), &"128".into());
        let case = drop_of(PortProtocol::Tcp, flags, reason, "tcp_v4_rcv");
        assert!(concerns(&case));
        judge(&case, &host.state())
    }

    #[test]
    fn a_full_queue_is_named() {
        let finding = judged(0x10, "TCP_LISTEN_OVERFLOW", 129).unwrap();
        assert_eq!(finding.grade, Grade::Certain);
        assert_eq!(
            finding.object.as_deref(),
            Some("TCP socket 0.0.0.0:7000 of daemon (PID 42)")
        );
        let command = finding.remedy[1].command.as_deref();
        assert_eq!(command, Some("sysctl -w net.core.somaxconn=4096"));
        // Without the reason, something else may have dropped it.
        let finding = judged(0x10, "NOT_SPECIFIED", 129).unwrap();
        assert_eq!(finding.grade, Grade::Likely);
    }

    #[test]
    fn a_queue_with_room_is_not_guilty() {
        assert_eq!(judged(0x10, "NOT_SPECIFIED", 128), None);
        // The queue of half-open connections takes the first segment.
        assert_eq!(judged(0x02, "NOT_SPECIFIED", 129), None);
    }
}
