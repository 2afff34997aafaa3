//! Packets to a port at which nobody listens.

use super::end_point::{Candidate, EndPoints, Mismatch, accepting, candidates, with_port};
use super::finding::listed;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;
use crate::host::elsewhere::SocketsElsewhere;
use crate::host::inet_socket::PortProtocol;

/// The names of the causes.
const NOBODY: &str = "nobody_listens";
const OTHER_SOCKET: &str = "listens_elsewhere";
const NO_CONNECTION: &str = "no_connection";

/// The most other namespaces that are named.
const SHOWN: usize = 5;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Ports without a listener",
    drops: &["NO_SOCKET"],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: NOBODY,
            title: "Nobody listens at the port",
            evidence: "The sockets of the network namespace (/proc/net/udp, /proc/net/tcp and those of IPv6). Certain \
                       where none has the port. Likely where one other namespace with a name has it; where several \
                       have, they are listed.",
            cure: "The program is started, or the sender is told another port. The kernel answers with an ICMP message \
                   or a reset.",
        },
        CauseText {
            id: OTHER_SOCKET,
            title: "The socket with the port is for other packets",
            evidence: "The address, the peer, the device (SO_BINDTODEVICE), the VRF and IPV6_V6ONLY of each socket \
                       with the port. Certain where each differs from the packet.",
            cure: "The program binds its socket otherwise. Of packets from a VRF, net.ipv4.udp_l3mdev_accept and \
                   tcp_l3mdev_accept decide.",
        },
        CauseText {
            id: NO_CONNECTION,
            title: "The connection does not exist",
            evidence: "The packet of TCP is not the first of a connection, and no socket of the network namespace has \
                       it: the kernel says so.",
            cure: "The sender has to begin a new connection: the program here has closed this one, or was started \
                   again.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    // The reason of multicast, of raw sockets and of ping's sockets is the same.
    let places = [
        "__udp4_lib_rcv",
        "udp_rcv",
        "udp_unicast_rcv_skb",
        "__udp6_lib_rcv",
        "udpv6_rcv",
        "tcp_v4_rcv",
        "tcp_v6_rcv",
    ];
    case.has_reason("NO_SOCKET") && places.iter().any(|place| case.is_in(place))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let packet = EndPoints::of(case)?;
    // Somebody may listen at the port: without a connection, he would have got a first segment alone.
    if packet.protocol == PortProtocol::Tcp && !packet.is_first {
        return Some(no_connection(&packet));
    }
    let candidates = candidates(case, &packet, packet.question(), host)?;
    let Some(best) = candidates.first() else {
        return Some(nobody(&packet, host));
    };
    let finding = other_socket(&packet, best);
    Some(candidates.iter().fold(finding, |finding, candidate| {
        let file = packet.protocol.file(candidate.socket.address.is_ipv6());
        let name = candidate.name(packet.protocol);
        match candidate.differences() {
            differences if differences.is_empty() => finding.seen(file, name),
            differences => finding.seen(file, format!("{name} is {differences}")),
        }
    }))
}

/// No socket has the port, and the packet belongs to a connection.
fn no_connection(packet: &EndPoints) -> CauseFinding {
    let [here, there] =
        [packet.destination, packet.source].map(|(address, port)| with_port(address, port));
    let object = format!("TCP connection of {here} with {there}");
    CauseFinding::new(
        NO_CONNECTION,
        Grade::Certain,
        format!("there is no {object}"),
    )
    .object(object)
    .seen(
        "the drop",
        "a segment that begins no connection, and the reason NO_SOCKET",
    )
    .advise("begin a new connection: this one is closed, or its program was started again")
}

/// No socket has the port.
fn nobody(packet: &EndPoints, host: &HostState) -> CauseFinding {
    let (address, port) = packet.destination;
    let protocol = packet.protocol.name();
    let claim = format!("nobody listens on {protocol} port {port} in this network namespace");
    let file = packet.protocol.file(false);
    let seen = |finding: CauseFinding| {
        finding.seen(
            format!("{file}, {file}6"),
            format!("no socket has the port {port}"),
        )
    };
    let elsewhere = host
        .ask(&SocketsElsewhere(packet.question()))
        .unwrap_or_default();
    // With more of them, it is hard to say which was meant.
    if let [other] = elsewhere.as_slice()
        && let Some(socket) = other.sockets.first()
    {
        let name = &other.name;
        let socket = with_port(socket.address, socket.port);
        let finding = CauseFinding::new(
            NOBODY,
            Grade::Likely,
            format!("{claim}, but in the namespace {name}"),
        )
        .object(format!(
            "{protocol} socket {socket} in the namespace {name}"
        ));
        return seen(finding)
            .seen(format!("{file} in {name}"), socket)
            .proof(format!("the packets are meant for the program in {name}"))
            .advise(format!(
                "start the program in this namespace, or send the packets to {name}"
            ));
    }
    let finding = CauseFinding::new(NOBODY, Grade::Certain, claim)
        .object(format!("{protocol} port {port} of {address}"));
    let mut finding = seen(finding);
    if !elsewhere.is_empty() {
        let names: Vec<_> = elsewhere.iter().map(|one| one.name.as_str()).collect();
        let names = listed(&names, SHOWN);
        finding = finding.seen(
            format!("{file}, {file}6 in other namespaces"),
            format!("{names} have sockets with the port"),
        );
    }
    finding.advise(format!(
        "start the program that is to listen on {protocol} port {port}"
    ))
}

/// Sockets have the port; this one differs the least from what the packet wants.
fn other_socket(packet: &EndPoints, best: &Candidate) -> CauseFinding {
    let name = best.name(packet.protocol);
    let (address, port) = packet.destination;
    let wanted = with_port(address, port);
    if best.mismatches.is_empty() {
        // It was opened afterwards, or something about it is not seen.
        let finding = CauseFinding::new(
            NOBODY,
            Grade::Likely,
            format!("nobody listened on {wanted} when the packet came; {name} does by now"),
        )
        .object(format!(
            "{} port {port} of {address}",
            packet.protocol.name()
        ));
        return if best.is_uncertain {
            finding.proof("the socket's options, which this user may not see: a device, IPv6 alone")
        } else {
            finding.proof("further drops like this")
        };
    }
    let finding = CauseFinding::new(
        OTHER_SOCKET,
        Grade::Certain,
        format!("the {name} is {}", best.differences()),
    )
    .object(name.clone());
    let finding = finding.advise(format!("have the program listen on {wanted}"));
    if let [Mismatch::Vrf(vrf)] = best.mismatches.as_slice() {
        let finding = finding.object(format!("{name} outside the VRF {vrf}"));
        let sysctl = accepting(packet.protocol).name();
        return finding
            .seen(sysctl.clone(), "0")
            .cure(format!("sysctl -w {sysctl}=1"));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::recorded::{RecordedHost, drop_of, sockets};
    use super::*;
    use crate::host::elsewhere::NamespaceSockets;
    use crate::host::holder::SocketOptions;
    use crate::host::inet_socket::InetSocket;

    const UDP: PortProtocol = PortProtocol::Udp;

    fn judged(host: RecordedHost) -> (Grade, String, String) {
        let case = drop_of(UDP, 0, "NO_SOCKET", "__udp4_lib_rcv");
        assert!(concerns(&case));
        let finding = judge(&case, &host.state()).unwrap();
        (finding.grade, finding.object.unwrap(), finding.claim)
    }

    fn with(address: &str, options: SocketOptions) -> (Grade, String, String) {
        judged(RecordedHost::default().socket(UDP, address, options))
    }

    #[test]
    fn nobody_has_the_port() {
        let host = || RecordedHost::default().answer(&sockets(UDP), &vec![]);
        let nowhere = host().answer(&SocketsElsewhere(sockets(UDP)), &vec![]);
        let (grade, object, _) = judged(nowhere);
        assert_eq!(
            (grade, object.as_str()),
            (Grade::Certain, "UDP port 7000 of 10.1.0.2")
        );
        let other = |name: &str| NamespaceSockets {
            name: name.into(),
            sockets: vec![InetSocket {
                address: [0, 0, 0, 0].into(),
                port: 7000,
                peer: [0, 0, 0, 0].into(),
                peer_port: 0,
                inode: 1,
                waiting: 0,
            }],
        };
        let with = |names: &[&str]| {
            let others = names.iter().map(|name| other(name)).collect();
            host().answer(&SocketsElsewhere(sockets(UDP)), &others)
        };
        let (grade, object, _) = judged(with(&["blue"]));
        assert_eq!(grade, Grade::Likely);
        assert_eq!(object, "UDP socket 0.0.0.0:7000 in the namespace blue");
        // With several, none is named as the one that was meant.
        let case = drop_of(UDP, 0, "NO_SOCKET", "__udp4_lib_rcv");
        let finding = judge(&case, &with(&["a", "b", "c", "d", "e", "f", "g"]).state()).unwrap();
        assert_eq!(finding.grade, Grade::Certain);
        assert_eq!(finding.object.unwrap(), "UDP port 7000 of 10.1.0.2");
        let said: Vec<_> = finding.evidence.iter().map(|one| &one.value).collect();
        assert_eq!(
            said,
            [
                "no socket has the port 7000",
                "a, b, c, d, e and 2 more have sockets with the port"
            ]
        );
    }

    #[test]
    fn a_socket_that_differs_is_named() {
        let plain = SocketOptions::default;
        let (grade, object, claim) = with("127.0.0.1", plain());
        assert_eq!(grade, Grade::Certain);
        assert_eq!(object, "UDP socket 127.0.0.1:7000 of daemon (PID 42)");
        assert!(claim.ends_with("is bound to the address 127.0.0.1 alone"));
        let device = SocketOptions {
            device: "out0".into(),
            ..plain()
        };
        let (grade, object, _) = with("0.0.0.0", device);
        assert_eq!(grade, Grade::Certain);
        assert_eq!(object, "UDP socket 0.0.0.0:7000 on out0 of daemon (PID 42)");
        let ipv6 = SocketOptions {
            is_ipv6_only: true,
            ..plain()
        };
        let (grade, _, claim) = with("::", ipv6);
        assert_eq!(grade, Grade::Certain);
        assert!(claim.ends_with("is for IPv6 alone"));
    }

    #[test]
    fn a_socket_outside_the_vrf_is_named_with_it() {
        let accepts = |value: &str| {
            let host = RecordedHost::default()
                .socket(UDP, "0.0.0.0", SocketOptions::default())
                .links(&[("in0", Some("vrf"))])
                .answer(&accepting(UDP), &value.to_owned());
            judged(host)
        };
        let (grade, object, claim) = accepts("0");
        assert_eq!(grade, Grade::Certain);
        assert_eq!(
            object,
            "UDP socket 0.0.0.0:7000 of daemon (PID 42) outside the VRF in0"
        );
        assert!(claim.ends_with("is not bound to the VRF in0"));
        assert_eq!(accepts("1").1, "UDP port 7000 of 10.1.0.2");
    }

    #[test]
    fn a_socket_that_fits_is_not_guilty() {
        let (device, plain) = ("in0".into(), SocketOptions::default);
        let bound = SocketOptions { device, ..plain() };
        for (address, options) in [("0.0.0.0", plain()), ("::", plain()), ("10.1.0.2", bound)] {
            let (grade, object, _) = with(address, options);
            assert_eq!(
                (grade, object.as_str()),
                (Grade::Likely, "UDP port 7000 of 10.1.0.2")
            );
        }
    }

    #[test]
    fn a_segment_of_no_connection_is_told_from_a_first_one() {
        const TCP: PortProtocol = PortProtocol::Tcp;
        let host = RecordedHost::default()
            .answer(&sockets(TCP), &vec![])
            .answer(&SocketsElsewhere(sockets(TCP)), &vec![])
            .state();
        let cause = |flags| {
            let case = drop_of(TCP, flags, "NO_SOCKET", "tcp_v4_rcv");
            judge(&case, &host).unwrap().cause
        };
        assert_eq!(
            (cause(0x02).as_str(), cause(0x10).as_str()),
            (NOBODY, NO_CONNECTION)
        );
    }
}
