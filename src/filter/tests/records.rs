//! Drops for testing filters.

use proptest::prelude::*;
use proptest::sample::select;

use crate::record::{
    Cause, DropRecord, Interface, Link, LinkType, Location, Name, Symbol, Timestamp,
};

pub fn name(text: &str) -> Option<Name<'_>> {
    Name::new(text.as_bytes())
}

pub fn software<'a>(reason: &'a str, symbol: &'a str) -> Cause<'a> {
    Cause::Software {
        location: Location {
            pc: Some(0xffff_ffff_b3d4_20b5),
            symbol: name(symbol).map(Symbol),
            ..Location::default()
        },
        reason: name(reason),
    }
}

pub fn hardware() -> Cause<'static> {
    Cause::Hardware {
        group: name("l3_drops"),
        trap: name("blackhole_route"),
        cookie: None,
    }
}

/// Returns a whole packet without a cause.
pub fn record(kind: LinkType, data: &[u8]) -> DropRecord<'_> {
    DropRecord {
        time: Some(Timestamp(0)),
        ..DropRecord::new(Link::known(kind), data)
    }
}

pub fn interface(index: u32, text: &'static str) -> Interface<'static> {
    Interface::new(index, name(text))
}

const LINKS: &[LinkType] = &[
    LinkType::ETHERNET,
    LinkType::RAW,
    LinkType::LINUX_SLL2,
    LinkType::IEEE802_11,
];

/// Generates bytes, many of which look like packets.
pub fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let kind = select(
        &[
            0x0800_u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x8847, 0x8864, 38,
        ][..],
    );
    let rest = proptest::collection::vec(any::<u8>(), 0..120);
    let first = select(&[0x45_u8, 0x46, 0x60, 0x00, 0x41][..]);
    let next = select(&[6_u8, 17, 1, 58, 44, 47, 4, 0, 60, 51][..]);
    let framed = (kind, first, next, rest.clone()).prop_map(|(kind, first, next, mut rest)| {
        for (at, value) in [(0, first), (6, next), (9, next)] {
            if let Some(byte) = rest.get_mut(at) {
                *byte = value;
            }
        }
        [
            &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..],
            &kind.to_be_bytes(),
            &rest,
        ]
        .concat()
    });
    let raw = framed.clone().prop_map(|frame| frame[14..].to_vec());
    prop_oneof![3 => framed, 2 => raw, 1 => rest]
}

pub fn link() -> impl Strategy<Value = LinkType> {
    select(LINKS)
}
