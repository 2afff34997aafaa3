//! Packets that are at fault themselves: bad checksums, malformed headers, protocols that nobody speaks.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::dissect::{Bound, Fault, Field, InFull, Layer, ProtocolName};
use crate::host::HostState;
use crate::host::raw_socket::{RAW_SOCKETS, RawSockets};
use crate::packet::ip::Version;

/// The causes' names.
const CHECKSUM: &str = "bad_checksum";
const HEADER: &str = "malformed_header";
const PROTOCOL: &str = "unknown_protocol";

/// The protocols that a module or a device of this host could take: IPIP, DCCP, IPv6 in IP, GRE, ESP, AH, PIM,
/// IPComp, L2TP, SCTP, UDP-Lite, MPLS.
const LOADABLE: [u8; 12] = [4, 33, 41, 47, 50, 51, 103, 108, 115, 132, 136, 137];

/// The reasons of such drops.
const REASONS: [&str; 9] = [
    "ICMP_CSUM",
    "IP_CSUM",
    "IP_INHDR",
    "IP_NOPROTO",
    "PKT_TOO_SMALL",
    "HDR_TRUNC",
    "TCP_CSUM",
    "UDP_CSUM",
    "UNHANDLED_PROTO",
];

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Damaged and malformed packets",
    drops: &REASONS,
    concerns,
    judge,
    causes: &[
        CauseText {
            id: CHECKSUM,
            title: "A checksum is wrong",
            evidence: "The packet, whose checksum is computed again. Certain where all of its bytes were captured \
                       and the sum is another one; likely where the kernel says so of a packet that was cut.",
            cure: "The sender is at fault, or what changes or damages packets on the way: a network card, a cable, \
                   a tunnel, a middlebox. A capture at the sender shows which.",
        },
        CauseText {
            id: HEADER,
            title: "A header is malformed",
            evidence: "The packet: the field that is wrong, its value, and the values that it may have. Certain where \
                       the field is one that the kernel checks at the drop's place.",
            cure: "The sender is at fault, or what cuts its packets on the way.",
        },
        CauseText {
            id: PROTOCOL,
            title: "Nobody here speaks the protocol",
            evidence: "The packet's IP protocol, and the raw sockets (/proc/net/raw, /proc/net/raw6). Certain where \
                       Linux has nothing that could take the protocol; likely where a module or a tunnel could.",
            cure: "A program with a raw socket, the module or the tunnel that takes the protocol; or the sender stops.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    REASONS.iter().any(|reason| case.has_reason(reason))
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if case.has_reason("IP_NOPROTO") {
        return unknown_protocol(case, host);
    }
    match case.fault() {
        Some(fault) if fault.depth == 0 => {
            faulty(case, &fault).filter(|_| is_checked(case, &fault))
        }
        Some(_) => None,
        None => cut(case),
    }
}

/// Returns whether the kernel checks the field at the drop's place and gives such drops the reason of this one.
/// `dissect` looks in the kernel's order: so nothing that it checks before is wrong.
fn is_checked(case: &DropCase, fault: &Fault) -> bool {
    let layer = fault.layer;
    let reason = case.reason.as_deref().unwrap_or_default();
    match (reason, fault.field) {
        ("IP_CSUM", Field::Checksum) => layer == Layer::Ip,
        ("UDP_CSUM", Field::Checksum) => layer == Layer::Udp,
        ("TCP_CSUM", Field::Checksum) => layer == Layer::Tcp,
        ("ICMP_CSUM", Field::Checksum) => matches!(layer, Layer::Icmp | Layer::Icmp6),
        // ip_rcv_core, ip6_rcv_core; ip_forward and ip6_forward have this reason for the TTL.
        ("IP_INHDR", Field::Version | Field::HeaderLength | Field::Size | Field::PayloadLength) => {
            matches!(layer, Layer::Ip | Layer::Ip6) && is_in_input(case, layer)
        }
        ("IP_INHDR", Field::TotalLength) => {
            is_in_input(case, layer) && matches!(fault.bound, Some(Bound::AtLeast(_)))
        }
        ("PKT_TOO_SMALL", Field::TotalLength) => {
            is_in_input(case, layer) && matches!(fault.bound, Some(Bound::AtMost(_)))
        }
        ("PKT_TOO_SMALL", Field::PayloadLength) => is_in_input(case, layer),
        ("PKT_TOO_SMALL" | "HDR_TRUNC", Field::Size) => true,
        ("PKT_TOO_SMALL", Field::Length | Field::HeaderLength) => {
            matches!(layer, Layer::Udp | Layer::Tcp)
        }
        // Of a packet that came as IPv6 (ip6_rcv_core, until Linux 6.1).
        ("UNHANDLED_PROTO", Field::Version) => layer == Layer::Ip6,
        _ => false,
    }
}

fn is_in_input(case: &DropCase, layer: Layer) -> bool {
    case.is_in(match layer {
        Layer::Ip => "ip_rcv_core",
        Layer::Ip6 => "ip6_rcv_core",
        _ => return false,
    })
}

fn faulty(case: &DropCase, fault: &Fault) -> Option<CauseFinding> {
    let sender = case.source()?;
    let header = name(fault.layer);
    // The value of a checksum is another one in each packet, and they are one cause.
    let (id, claim, object) = match fault.field {
        Field::Checksum => (
            CHECKSUM,
            format!("the {header} checksum of packets from {sender} is wrong"),
            format!("{header} checksum from {sender}"),
        ),
        _ => (
            HEADER,
            format!("a malformed {header} header in packets from {sender}: {fault}"),
            format!("{} from {sender}", InFull(*fault)),
        ),
    };
    let finding = CauseFinding::new(id, Grade::Certain, claim)
        .object(object)
        .seen("the packet", InFull(*fault).to_string());
    Some(finding.advise(sender_advice(&sender.to_string())))
}

/// Claims what the kernel says of a packet that was not captured to its end.
fn cut(case: &DropCase) -> Option<CauseFinding> {
    if case.is_whole() {
        return None;
    }
    let header = match case.reason.as_deref()? {
        "UDP_CSUM" => "UDP",
        "TCP_CSUM" => "TCP",
        "ICMP_CSUM" => "ICMP",
        _ => return None,
    };
    let sender = case.source()?;
    let finding = CauseFinding::new(
        CHECKSUM,
        Grade::Likely,
        format!("the {header} checksum of packets from {sender} is wrong"),
    )
    .object(format!("{header} checksum from {sender}"))
    .seen("the drop reason", case.reason.clone()?)
    .seen(
        "the packet",
        format!(
            "{} of {} bytes were looked at",
            case.data.len(),
            case.length
        ),
    )
    .proof("dwdump -v, which captures whole packets, shows the checksum that would be right");
    Some(finding.advise(sender_advice(&sender.to_string())))
}

fn sender_advice(sender: &str) -> String {
    format!("fix {sender}, or what damages its packets on the way; a capture there shows which")
}

fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Ip => "IP",
        Layer::Ip6 => "IPv6",
        Layer::Icmp => "ICMP",
        Layer::Icmp6 => "ICMPv6",
        Layer::Tcp => "TCP",
        Layer::Udp => "UDP",
        _ => "packet",
    }
}

fn unknown_protocol(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let ip = case.ip()?;
    let (number, sender) = (ip.protocol?, ip.source?);
    let places = [
        "ip_protocol_deliver_rcu",
        "ip_local_deliver_finish",
        "ip6_protocol_deliver_rcu",
        "ip6_input_finish",
    ];
    if ip.fragment.is_some() || !places.iter().any(|place| case.is_in(place)) {
        return None;
    }
    let sockets = host.ask(&RawSockets(ip.version == Version::V6)).ok()?;
    // One that takes the protocol would have got the packet, had it been there.
    if sockets.contains(&number) {
        return None;
    }
    let grade = if LOADABLE.contains(&number) {
        Grade::Likely
    } else {
        Grade::Certain
    };
    let protocol = match ProtocolName(number).to_string() {
        name if name.ends_with(&number.to_string()) => number.to_string(),
        name => format!("{number} ({name})"),
    };
    let mut finding = CauseFinding::new(
        PROTOCOL,
        grade,
        format!("nobody here speaks IP protocol {protocol}, which {sender} sends"),
    )
    .object(format!("IP protocol {protocol} from {sender}"))
    .seen(
        RAW_SOCKETS[usize::from(ip.version == Version::V6)],
        format!("no socket for protocol {number}"),
    );
    if grade == Grade::Likely {
        finding = finding
            .proof("the module or tunnel for this protocol ends the drops")
            .advise("load the module or add the tunnel that takes this protocol");
    }
    Some(finding.advise(format!(
        "start the program that takes it, or have {sender} stop"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LinkType;

    /// An IPv4 packet, whose header has the right checksum.
    fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let total = u8::try_from(20 + payload.len()).unwrap();
        let mut data = vec![0x45, 0, 0, total, 0, 0, 0, 0, 64, protocol, 0, 0];
        data.extend([10, 1, 0, 1, 10, 1, 0, 2]);
        let words = data
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        let sum = !u16::try_from(sum % 0xffff).unwrap();
        data[10..12].copy_from_slice(&sum.to_be_bytes());
        data.extend(payload);
        data
    }

    /// A drop of an IPv4 packet in an Ethernet frame.
    fn case(reason: &str, function: &str, packet: &[u8]) -> DropCase {
        let data = [&[2; 12][..], &[8, 0], packet].concat();
        DropCase {
            reason: Some(reason.into()),
            place: Some(format!("{function}+0x1/0x2")),
            function: Some(function.into()),
            is_inbound: Some(true),
            link: LinkType::ETHERNET.0,
            protocol: Some(0x0800),
            length: u32::try_from(data.len()).unwrap(),
            data,
            ..DropCase::default()
        }
    }

    const DATAGRAM: [u8; 12] = [0x30, 0x39, 0x1b, 0x58, 0, 12, 0x11, 0x11, 1, 2, 3, 4];

    fn claim(case: &DropCase) -> Option<(Grade, String)> {
        let host = r#"{"raw sockets false": {"Ok": [89]}}"#;
        let host = HostState::replay(host).unwrap();
        assert!(concerns(case));
        let finding = judge(case, &host)?;
        Some((finding.grade, finding.object?))
    }

    #[allow(clippy::unnecessary_wraps)] // It is compared with what may be none.
    fn certain(object: &str) -> Option<(Grade, String)> {
        Some((Grade::Certain, object.to_owned()))
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let mut bad_sum = packet(17, &DATAGRAM);
        bad_sum[10] ^= 1;
        assert_eq!(
            claim(&case("IP_CSUM", "ip_rcv_core", &bad_sum)),
            certain("IP checksum from 10.1.0.1")
        );
        assert_eq!(
            claim(&case("UDP_CSUM", "__udp4_lib_rcv", &packet(17, &DATAGRAM))),
            certain("UDP checksum from 10.1.0.1")
        );
        let mut short = packet(17, &DATAGRAM);
        short[0] = 0x43;
        assert_eq!(
            claim(&case("IP_INHDR", "ip_rcv_core", &short)),
            certain("ip header length 12, at least 20 from 10.1.0.1")
        );
        let mut version = packet(17, &DATAGRAM);
        version[0] = 0x55;
        assert_eq!(
            claim(&case("IP_INHDR", "ip_rcv_core", &version)),
            certain("ip version 5, expected 4 from 10.1.0.1")
        );
        let mut long = DATAGRAM;
        long[4] = 1;
        assert_eq!(
            claim(&case("PKT_TOO_SMALL", "__udp4_lib_rcv", &packet(17, &long))),
            certain("udp length 268, at most 12 from 10.1.0.1")
        );
    }

    #[test]
    fn a_fault_that_the_place_does_not_check_is_not_named() {
        // A TTL that runs out has this reason, too; the datagram's checksum is nobody's matter there.
        let expired = case("IP_INHDR", "ip_forward", &packet(17, &DATAGRAM));
        assert_eq!(claim(&expired), None);
        let mut version = packet(17, &DATAGRAM);
        version[0] = 0x55;
        assert_eq!(claim(&case("IP_INHDR", "ip_forward", &version)), None);
        let mut unused = DATAGRAM;
        unused[6..8].fill(0);
        let unused = packet(17, &unused);
        assert_eq!(claim(&case("UDP_CSUM", "__udp4_lib_rcv", &unused)), None);
    }

    #[test]
    fn of_a_packet_that_was_cut_the_checksum_is_not_certain() {
        let mut cut = case("UDP_CSUM", "__udp4_lib_rcv", &packet(17, &DATAGRAM));
        cut.data.truncate(44);
        let expected = (Grade::Likely, "UDP checksum from 10.1.0.1".to_owned());
        assert_eq!(claim(&cut), Some(expected));
    }

    #[test]
    fn a_protocol_without_a_socket_is_named() {
        let place = "ip_protocol_deliver_rcu";
        let unknown = case("IP_NOPROTO", place, &packet(253, &[0; 8]));
        assert_eq!(claim(&unknown), certain("IP protocol 253 from 10.1.0.1"));
        // A socket takes OSPF: what dropped it is not known.
        assert_eq!(
            claim(&case("IP_NOPROTO", place, &packet(89, &[0; 8]))),
            None
        );
        let tunnel = claim(&case("IP_NOPROTO", place, &packet(47, &[0; 8]))).unwrap();
        assert_eq!(tunnel.0, Grade::Likely);
        assert!(tunnel.1.contains("GRE"));
    }
}
