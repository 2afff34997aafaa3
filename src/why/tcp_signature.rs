//! Segments of TCP whose signature (RFC 2385, RFC 5925) is missing, unexpected or wrong.

use super::end_point::{EndPoints, candidates, with_port};
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;
use crate::host::inet_socket::{PortProtocol, PortSockets};

/// The name of the cause.
const SIGNATURE: &str = "tcp_signature";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Signatures of TCP",
    drops: &[
        "TCP_MD5NOTFOUND",
        "TCP_MD5UNEXPECTED",
        "TCP_MD5FAILURE",
        "TCP_AONOTFOUND",
        "TCP_AOUNEXPECTED",
        "TCP_AOKEYNOTFOUND",
        "TCP_AOFAILURE",
        "TCP_AUTH_HDR",
    ],
    concerns,
    judge,
    causes: &[CauseText {
        id: SIGNATURE,
        title: "A segment of TCP has no signature, or not the right one",
        evidence: "The reason says what is wrong (TCP_MD5NOTFOUND, TCP_MD5UNEXPECTED, TCP_MD5FAILURE, and those of \
                   TCP-AO). The socket is the one of the connection, or the one that listens. No key is looked at.",
        cure: "Both ends are given the same key for each other, or none. BGP daemons have it in the neighbour's \
               password. Translated addresses break signatures.",
    }],
};

/// The reasons, each with what is the matter and what to do.
const REASONS: &[(&str, &str, &str)] = &[
    (
        "TCP_MD5NOTFOUND",
        "has an MD5 key for {peer}, and its segments have no signature",
        "set the same MD5 key on {peer}, or take that for {peer} away here",
    ),
    (
        "TCP_MD5UNEXPECTED",
        "has no MD5 key for {peer}, and its segments have a signature",
        "set the MD5 key of {peer} here, or take it away there",
    ),
    (
        "TCP_MD5FAILURE",
        "has another MD5 key for {peer} than the segments were signed with, or they were changed on their way",
        "set the same MD5 key on both ends; let nothing between them translate addresses",
    ),
    (
        "TCP_AONOTFOUND",
        "has a TCP-AO key for {peer}, and its segments have no signature",
        "set the same TCP-AO key on {peer}, or take that for {peer} away here",
    ),
    (
        "TCP_AOUNEXPECTED",
        "has no TCP-AO key for {peer}, and its segments have a signature",
        "set the TCP-AO key of {peer} here, or take it away there",
    ),
    (
        "TCP_AOKEYNOTFOUND",
        "has no TCP-AO key for {peer} of the number that the segments have",
        "set the key with that KeyID on both ends",
    ),
    (
        "TCP_AOFAILURE",
        "has another TCP-AO key for {peer} than the segments were signed with, or they were changed on their way",
        "set the same TCP-AO key on both ends; let nothing between them translate addresses",
    ),
    (
        "TCP_AUTH_HDR",
        "got segments of {peer} whose signature option is malformed, or MD5 and TCP-AO at once",
        "fix the sender: {peer}",
    ),
];

fn concerns(case: &DropCase) -> bool {
    REASONS.iter().any(|(reason, ..)| case.has_reason(reason))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let packet = EndPoints::of(case).filter(|packet| packet.protocol == PortProtocol::Tcp)?;
    let (reason, matter, cure) = REASONS
        .iter()
        .find(|(reason, ..)| case.has_reason(reason))?;
    let (address, port) = packet.destination;
    let peer = packet.source.0;
    let here = with_port(address, port);
    let connected = PortSockets {
        is_connected: true,
        ..packet.question()
    };
    let questions = [connected, packet.question()];
    // The connection, where there is one.
    let questions = &questions[usize::from(packet.is_first)..];
    let socket = questions.iter().find_map(|&question| {
        let found = candidates(case, &packet, question, host)?;
        found.into_iter().find(|one| one.mismatches.is_empty())
    });
    let name = match &socket {
        Some(socket) => socket.name(packet.protocol),
        None => format!("TCP socket {here}"),
    };
    let told = |text: &str| text.replace("{peer}", &peer.to_string());
    let mut finding = CauseFinding::new(
        SIGNATURE,
        Grade::Certain,
        format!("the {name} {}", told(matter)),
    )
    .object(format!("{name}, the key for {peer}"))
    .seen("the drop", format!("the reason {reason}"));
    if let Some(socket) = &socket {
        finding = finding.seen(
            packet.protocol.file(socket.socket.address.is_ipv6()),
            socket.address(),
        );
    }
    Some(finding.advise(told(cure)))
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{RecordedHost, drop_of};
    use super::*;
    use crate::host::holder::SocketOptions;

    #[test]
    fn the_socket_and_the_peer_are_named() {
        let case = drop_of(PortProtocol::Tcp, 0x02, "TCP_MD5NOTFOUND", "tcp_v4_rcv");
        assert!(concerns(&case));
        let options = SocketOptions::default();
        let host = RecordedHost::default().socket(PortProtocol::Tcp, "10.1.0.2", options);
        let finding = judge(&case, &host.state()).unwrap();
        assert_eq!(finding.grade, Grade::Certain);
        let object = finding.object.unwrap();
        assert_eq!(
            object,
            "TCP socket 10.1.0.2:7000 of daemon (PID 42), the key for 10.1.0.1"
        );
    }

    #[test]
    fn other_reasons_are_of_other_causes() {
        let case = drop_of(PortProtocol::Tcp, 0x02, "NO_SOCKET", "tcp_v4_rcv");
        assert!(!concerns(&case));
    }
}
