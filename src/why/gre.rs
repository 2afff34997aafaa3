//! GRE packets that nobody takes apart: of a version that does not exist, or without a tunnel.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;
use crate::host::link::NetworkLinks;
use crate::packet::ip::{Ip, number};

/// The causes' names.
const VERSION: &str = "gre_version";
const LENGTH: &str = "gre_too_short";
const NO_TUNNEL: &str = "gre_no_tunnel";

/// The versions that there are: 0, and 1 for PPTP (`GREPROTO_MAX` of net/gre.h).
const VERSIONS: u8 = 2;
/// The bits of the second byte that the kernel takes for the version: all but PPTP's flag.
const VERSION_BITS: u8 = 0x7f;
/// The bits that RFC 2784 has for it.
const REAL_VERSION_BITS: u8 = 0x07;
/// The bytes that the kernel wants before it looks (`gre_rcv`, net/ipv4/gre_demux.c).
const LEAST: usize = 12;
/// The kinds of devices that take GRE packets apart.
const KINDS: [&str; 6] = [
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
];

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "GRE",
    drops: &["gre_rcv"],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: VERSION,
            title: "A GRE packet has a version that does not exist",
            evidence: "The second byte of the GRE header. Certain where it is neither 0 nor 1, apart from the \
                       highest bit: the kernel then gives the packet to nobody.",
            cure: "The sender is at fault, or what changes its packets on the way.",
        },
        CauseText {
            id: LENGTH,
            title: "A GRE packet is too short",
            evidence: "The packet's length. Certain below 12 bytes: the kernel then does not look at the header.",
            cure: "The sender is at fault.",
        },
        CauseText {
            id: NO_TUNNEL,
            title: "No GRE tunnel takes the packet",
            evidence: "The version, which is one that exists, and the GRE devices (ip -d link). Never certain: \
                       addresses, key, checksum and sequence number decide, too.",
            cure: "A tunnel whose addresses and key are those of the sender; or the sender stops.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    // The function of the module ip_gre has the same name, and runs only for version 0.
    case.is_in("gre_rcv") && case.has_no_reason()
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let ip = case.ip().filter(|ip| ip.protocol == Some(number::GRE))?;
    let sender = ip.source?;
    let flags = *ip.payload.get(1)?;
    let version = flags & VERSION_BITS;
    if !case.is_in_module("ip_gre") && version >= VERSIONS {
        let real = flags & REAL_VERSION_BITS;
        let object = if real >= VERSIONS {
            format!("GRE version {real} from {sender}")
        } else {
            format!("GRE flags {version:#04x} from {sender}")
        };
        let finding = CauseFinding::new(
            VERSION,
            Grade::Certain,
            format!("{sender} sends GRE with a version or flags that nobody defined"),
        )
        .object(object)
        .seen(
            "the packet",
            format!("the second byte of the GRE header is {flags:#04x}"),
        );
        return Some(finding.advise(format!("fix {sender}, which sends these packets")));
    }
    let length = length(case, &ip)?;
    if !case.is_in_module("ip_gre") && length < LEAST {
        let finding = CauseFinding::new(
            LENGTH,
            Grade::Certain,
            format!("{sender} sends GRE packets of {length} bytes; the kernel wants {LEAST}"),
        )
        .object(format!("GRE of {length} bytes from {sender}"))
        .seen("the packet", format!("{length} bytes behind the IP header"));
        return Some(finding.advise(format!("fix {sender}, which sends these packets")));
    }
    no_tunnel(&ip, host)
}

/// Returns the length of what the IP packet carries, as far as it came.
fn length(case: &DropCase, ip: &Ip<'_>) -> Option<usize> {
    let header = case.data.len().checked_sub(ip.bytes.len())?;
    let total = (case.length as usize).checked_sub(header)?;
    let end = ip.stated_end.unwrap_or(total).min(total);
    end.checked_sub(ip.payload_at)
}

fn no_tunnel(ip: &Ip<'_>, host: &HostState) -> Option<CauseFinding> {
    let (sender, own) = (ip.source?, ip.destination?);
    let links = host.ask(&NetworkLinks).ok()?;
    let is_tunnel = |kind: &Option<String>| {
        let kind = kind.as_deref().unwrap_or_default();
        KINDS.contains(&kind)
    };
    let tunnels: Vec<_> = links
        .iter()
        .filter(|link| is_tunnel(&link.kind))
        .map(|link| link.name.as_str())
        .collect();
    let seen = match tunnels.as_slice() {
        [] => "there is no GRE device".to_owned(),
        tunnels => format!("GRE devices: {}", tunnels.join(", ")),
    };
    let finding = CauseFinding::new(
        NO_TUNNEL,
        Grade::Likely,
        format!("no GRE tunnel here takes packets from {sender} to {own}"),
    )
    .object(format!("GRE tunnel from {sender} to {own}"))
    .seen("ip -d link show", seen)
    .proof("a tunnel with these addresses and the sender's key ends the drops");
    Some(finding.advise(format!(
        "add a tunnel with local {own} and remote {sender}, or have {sender} stop"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LinkType;

    fn case(second: u8, payload: usize, place: &str) -> DropCase {
        let total = 24 + payload;
        let mut data = vec![
            0x45,
            0,
            0,
            u8::try_from(total).unwrap(),
            0,
            0,
            0,
            0,
            64,
            47,
            0,
            0,
        ];
        data.extend([10, 1, 0, 1, 10, 1, 0, 2]);
        data.extend([0, second, 8, 0]);
        data.resize(total, 0);
        DropCase {
            reason: Some("NOT_SPECIFIED".into()),
            place: Some(place.into()),
            function: Some("gre_rcv".into()),
            link: LinkType::RAW.0,
            length: u32::try_from(total).unwrap(),
            data,
            ..DropCase::default()
        }
    }

    fn object(case: &DropCase) -> Option<(Grade, String)> {
        let host = HostState::replay(r#"{"links": {"Ok": []}}"#).unwrap();
        assert!(concerns(case));
        let finding = judge(case, &host)?;
        Some((finding.grade, finding.object?))
    }

    #[test]
    fn the_sender_is_named_where_the_version_does_not_exist() {
        let place = "gre_rcv+0x41/0xb0 [gre]";
        for (second, expected) in [
            (7, "GRE version 7 from 10.1.0.1"),
            (0x82, "GRE version 2 from 10.1.0.1"),
            (0x08, "GRE flags 0x08 from 10.1.0.1"),
        ] {
            let expected = Some((Grade::Certain, expected.to_owned()));
            assert_eq!(object(&case(second, 20, place)), expected);
        }
        let short = Some((Grade::Certain, "GRE of 8 bytes from 10.1.0.1".to_owned()));
        assert_eq!(object(&case(0, 4, place)), short);
    }

    #[test]
    fn a_version_that_exists_is_not_at_fault() {
        let missing = (
            Grade::Likely,
            "GRE tunnel from 10.1.0.1 to 10.1.0.2".to_owned(),
        );
        for second in [0, 0x80, 0x81, 1] {
            let case = case(second, 20, "gre_rcv+0x41/0xb0 [gre]");
            assert_eq!(object(&case), Some(missing.clone()));
        }
        let by_tunnels = case(7, 20, "gre_rcv+0x61/0x2b0 [ip_gre]");
        assert_eq!(object(&by_tunnels), Some(missing));
    }

    #[test]
    fn without_the_devices_nothing_is_claimed() {
        let host = HostState::replay("{}").unwrap();
        assert_eq!(judge(&case(0, 20, "gre_rcv+0x41/0xb0 [gre]"), &host), None);
    }
}
