//! Packets for the primitives of the language: every framing, all headers in between, both versions
//! of IP with extension headers and fragments, tunnels, and causes of a drop.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::messages::{ip4, ip6, transport};
use super::records::{hardware, interface, record, software};
use crate::record::{Cause, DropRecord, LinkType};

/// A packet with the cause of its drop.
#[derive(Clone, Debug)]
pub struct SamplePacket {
    link: LinkType,
    data: Vec<u8>,
    cause: usize,
    input: usize,
    more: u32,
}

impl SamplePacket {
    pub fn record(&self) -> DropRecord<'_> {
        let mut record = record(self.link, &self.data);
        record.original_len += self.more;
        record.cause = match self.cause {
            0 => Cause::Unknown,
            1 => software("NO_SOCKET", "tcp_v4_rcv+0x1/0x2"),
            2 => software("NETFILTER_DROP", "nf_hook_slow.part.0+0x1/0x2 [nf_tables]"),
            3 => software("NOT_SPECIFIED", "gre_rcv+0x41/0xb0 [gre]"),
            4 => software("", ""),
            _ => hardware(),
        };
        record.input = match self.input {
            0 => None,
            1 => Some(interface(2, "eth0")),
            2 => Some(interface(5, "")),
            _ => Some(interface(5, "if5")),
        };
        record
    }
}

/// The same packets in each run.
pub static SAMPLES: LazyLock<Vec<SamplePacket>> = LazyLock::new(|| {
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let strategy = sample();
    (0..4000)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
});

fn sample() -> impl Strategy<Value = SamplePacket> {
    (
        framed(),
        0_usize..6,
        0_usize..4,
        select(&[0_u32, 0, 40, 900][..]),
    )
        .prop_map(|((link, data), cause, input, more)| SamplePacket {
            link,
            data,
            cause,
            input,
            more,
        })
}

fn framed() -> impl Strategy<Value = (LinkType, Vec<u8>)> {
    let packet = network().prop_recursive(
        2,
        8,
        1,
        |inside| prop_oneof![2 => network(), 3 => in_tunnel(inside)],
    );
    let whole = (0_u8..10, packet, mac(), mac(), any::<u16>()).prop_map(
        |(way, (kind, bytes), source, destination, odd)| {
            let macs = [destination, source].concat();
            let frame = |kind: u16, between: &[u8]| {
                [&macs[..], &kind.to_be_bytes(), between, &bytes].concat()
            };
            let tag = |id: u16, kind: u16| [id.to_be_bytes(), kind.to_be_bytes()].concat();
            let is_ip = matches!(kind, 0x0800 | 0x86dd);
            match way {
                0 | 1 if is_ip => (LinkType::RAW, bytes),
                2 => (LinkType::LINUX_SLL2, cooked(kind, &bytes)),
                3 => (LinkType::ETHERNET, frame(0x8100, &tag(5, kind))),
                4 => {
                    let tags = [tag(100, 0x8100), tag(5, kind)].concat();
                    (LinkType::ETHERNET, frame(0x88a8, &tags))
                }
                5 if is_ip => (LinkType::ETHERNET, frame(0x8847, &[0, 1, 1, 64])),
                6 if is_ip => {
                    let labels = [0, 1, 0, 64, 0, 2, 1, 64];
                    (LinkType::ETHERNET, frame(0x8847, &labels))
                }
                7 => {
                    let inside = match (kind, odd % 4) {
                        (0x0800, _) => 0x0021,
                        (0x86dd, _) => 0x0057,
                        (_, 0) => 0x0281,
                        (_, 1) => 0x0031,
                        (kind, _) => kind,
                    };
                    let session = [&[0x11, 0, 0, 3, 0, 9][..], &u16::to_be_bytes(inside)].concat();
                    (LinkType::ETHERNET, frame(0x8864, &session))
                }
                8 => {
                    let points = [0x42, 0xfe, 0xe0, 0xff, 0xaa][usize::from(odd % 5)];
                    let control = [0x03, 0x00, 0x01, 0xe3][usize::from(odd / 5 % 4)];
                    (LinkType::ETHERNET, frame(38, &[points, points, control]))
                }
                _ => (LinkType::ETHERNET, frame(kind, &[])),
            }
        },
    );
    // Some packets are truncated.
    (whole, prop_oneof![4 => Just(2000_usize), 1 => 0_usize..80]).prop_map(
        |((link, mut data), cut)| {
            if cut == 2000 {
                data.resize(data.len() + 30, 0);
            }
            data.truncate(cut);
            (link, data)
        },
    )
}

fn cooked(kind: u16, bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[..2].copy_from_slice(&kind.to_be_bytes());
    [&header, bytes].concat()
}

fn mac() -> impl Strategy<Value = [u8; 6]> {
    select(
        &[
            [2, 0, 0, 0, 0, 1],
            [2, 0, 0, 0, 0, 2],
            [0xff; 6],
            [1, 0, 0x5e, 0, 0, 1],
        ][..],
    )
}

/// Generates an Ethernet type with its packet.
fn network() -> BoxedStrategy<(u16, Vec<u8>)> {
    let port = || select(&[22_u16, 53, 80, 443, 1234, 4789]);
    let next = select(&[
        6_u8, 6, 17, 17, 132, 1, 2, 58, 44, 44, 0, 43, 51, 60, 50, 89,
    ]);
    let behind = select(&[6_u8, 17, 58, 132, 44, 1]);
    let fragment = select(&[0_u16, 0, 0, 0x2000, 0x2001]);
    let body = (next, behind, port(), port(), select(&[0_u8, 2, 18, 135])).prop_map(
        |(next, behind, from, to, byte)| {
            let mut bytes = transport(next, behind, from, to);
            if matches!(next, 1 | 2 | 58) {
                bytes[0] = byte;
            }
            bytes.resize(bytes.len().max(40), byte);
            (next, bytes)
        },
    );
    let four = (
        body.clone(),
        select(&[5_u8, 5, 6]),
        fragment,
        select(&[[10_u8, 0, 0, 1], [10, 0, 1, 2], [10, 10, 2, 4]]),
        select(&[[10_u8, 0, 0, 1], [10, 0, 1, 2], [224, 0, 0, 22], [255; 4]]),
    )
        .prop_map(|((next, bytes), words, fragment, source, destination)| {
            let mut packet = ip4(words, next, fragment, source, &bytes);
            packet[16..20].copy_from_slice(&destination);
            (0x0800, packet)
        });
    let six = (body, select(&[[0x20_u8, 1, 0x0d, 0xb8]]), any::<bool>()).prop_map(
        |((next, bytes), source, is_known)| {
            let mut packet = ip6(next, source, &bytes);
            if is_known {
                packet[8..24]
                    .copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            }
            (0x86dd, packet)
        },
    );
    let resolution = (
        select(&[0x0806_u16, 0x8035]),
        select(&[[10_u8, 0, 0, 1], [10, 0, 1, 2]]),
    )
        .prop_map(|(kind, sender)| {
            let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1];
            packet.extend(sender);
            packet.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 9]);
            (kind, packet)
        });
    let other = (
        select(&[0x8863_u16, 0x88cc, 0x8137, 0x809b, 0x6003]),
        proptest::collection::vec(any::<u8>(), 40),
    );
    prop_oneof![5 => four, 4 => six, 1 => resolution, 1 => other].boxed()
}

/// Generates a packet in a tunnel over IPv4 or IPv6.
fn in_tunnel(inside: BoxedStrategy<(u16, Vec<u8>)>) -> BoxedStrategy<(u16, Vec<u8>)> {
    (inside, 0_u8..5, any::<bool>())
        .prop_map(|((kind, bytes), way, is_ipv4)| {
            let frame = [
                &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..],
                &kind.to_be_bytes(),
            ]
            .concat();
            let udp = |to: u16| transport(17, 17, 1234, to)[..4].to_vec();
            let (next, payload) = match (way, kind) {
                (0, 0x0800) => (4, bytes),
                (0, 0x86dd) => (41, bytes),
                (1, _) => {
                    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
                    (
                        17,
                        [&udp(4789)[..], &[0; 4], &vxlan, &frame, &bytes].concat(),
                    )
                }
                (2, _) => {
                    let geneve = [&[0, 0][..], &kind.to_be_bytes(), &[0; 4]].concat();
                    (17, [&udp(6081)[..], &[0; 4], &geneve, &bytes].concat())
                }
                (3, _) => {
                    let gre = [&[0, 0, 0x65, 0x58][..], &frame].concat();
                    (47, [gre, bytes].concat())
                }
                _ => {
                    let gre = [&[0x20, 0][..], &kind.to_be_bytes(), &[0, 0, 0, 1]].concat();
                    (47, [gre, bytes].concat())
                }
            };
            if is_ipv4 {
                (0x0800, ip4(5, next, 0, [10, 0, 0, 1], &payload))
            } else {
                (0x86dd, ip6(next, [0x20, 1, 0x0d, 0xb8], &payload))
            }
        })
        .boxed()
}
