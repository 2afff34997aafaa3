//! Tests chains of IPv6 extension headers: filter and text find the same packet after them, however
//! long the chain is.

use super::parse;
use super::records::record;
use crate::dissect;
use crate::record::LinkType;

/// Returns UDP from port 1234 to port 53 after these headers, each as short as it can be.
fn udp_after(extensions: &[u8]) -> Vec<u8> {
    let mut chain = Vec::new();
    for (index, &kind) in extensions.iter().enumerate() {
        let next = extensions.get(index + 1).copied().unwrap_or(17);
        // RFC 4302, 2.2: its length counts units of 4 bytes, less two; that of other headers counts
        // units of 8 bytes, less one.
        let (length, bytes) = if kind == 51 { (1, 12) } else { (0, 8) };
        let mut header = vec![0; bytes];
        header[..2].copy_from_slice(&[next, length]);
        chain.extend(header);
    }
    chain.extend([0x04, 0xd2, 0, 53, 0, 8, 0, 0]);
    let length = u16::try_from(chain.len()).unwrap().to_be_bytes();
    let first = extensions.first().copied().unwrap_or(17);
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], first, 64];
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(chain);
    packet
}

#[test]
fn filter_and_text_find_the_same_packet_after_any_number_of_headers() {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION_OPTIONS: u8 = 60;
    for count in [0, 1, 2, 8, 63, 64, 65, 300, 5000] {
        for kind in [ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS] {
            for first in [None, Some(HOP_BY_HOP)] {
                let extensions: Vec<u8> = first
                    .into_iter()
                    .chain(std::iter::repeat_n(kind, count))
                    .collect();
                let packet = udp_after(&extensions);
                let record = record(LinkType::RAW, &packet);
                let text = dissect::DissectedPacket::new(&record).to_string();
                let name = format!("{count} of {kind} behind {first:?}");
                assert_eq!(
                    text, "IP6 2001:db8::1.1234 > 2001:db8::2.53: UDP, length 0",
                    "{name}"
                );
                for (filter, holds) in [
                    ("sport 1234 and dport 53", true),
                    ("flow udp [2001:db8::1]:1234 [2001:db8::2]:53", true),
                    ("ip6 protochain 17", true),
                    ("not dport 53", false),
                    ("not protochain 17", false),
                    ("protochain 6", false),
                    ("not protochain 6", true),
                ] {
                    assert_eq!(parse(filter).matches(&record), holds, "{filter}: {name}");
                }
            }
        }
    }
}
