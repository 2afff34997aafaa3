//! Tests of link type inference and conversion.

use super::*;
use crate::record::{Basis, Interface, Link, Name};

/// A minimal IPv4 header: total length, source, and nothing that matters besides.
fn ipv4(total: u16, source: [u8; 4]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header.extend(source);
    header.extend([10, 0, 0, 2]);
    header.resize(usize::from(total).max(20), 0);
    header
}

fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn link(protocol: u16, data: &[u8]) -> (LinkType, Basis) {
    let len = u32::try_from(data.len()).unwrap();
    let link = infer_link(Some(EtherType(protocol)), data, len, None, None);
    (link.kind, link.basis)
}

const ETHERNET: (LinkType, Basis) = (LinkType::ETHERNET, Basis::Known);
const RAW: (LinkType, Basis) = (LinkType::RAW, Basis::Known);

#[test]
fn ethernet_is_told_by_its_type_field_tagged_or_not() {
    assert_eq!(
        link(0x0800, &framed(0x0800, &ipv4(28, [10, 0, 0, 1]))),
        ETHERNET
    );
    assert_eq!(link(0x0806, &framed(0x0806, &[0; 28])), ETHERNET);
    let tagged = framed(
        0x8100,
        &[&[0, 100, 8, 0][..], &ipv4(28, [10, 0, 0, 1])].concat(),
    );
    assert_eq!(link(0x0800, &tagged), ETHERNET);
    assert_eq!(link(0x8100, &tagged), ETHERNET);
}

#[test]
fn spanning_tree_is_ethernet() {
    assert_eq!(link(4, &framed(38, &[0x42, 0x42, 3])), ETHERNET);
    assert_eq!(link(1, &framed(38, &[0xff, 0xff, 0])), ETHERNET);
}

#[test]
fn a_tun_packet_is_raw_even_from_8_0_1_1() {
    assert_eq!(link(0x0800, &ipv4(60, [10, 0, 0, 1])), RAW);
    assert_eq!(link(0x0800, &ipv4(60, [8, 0, 1, 1])), RAW);
    let mut padded = ipv4(28, [8, 0, 1, 1]);
    padded.resize(46, 0);
    assert_eq!(link(0x0800, &padded), RAW);
}

#[test]
fn an_ethernet_destination_that_begins_like_ip_is_still_ethernet() {
    let mut frame = framed(0x0800, &ipv4(28, [10, 0, 0, 1]));
    frame[..4].copy_from_slice(&[0x45, 0, 0, 20]);
    assert_eq!(link(0x0800, &frame), ETHERNET);
}

#[test]
fn an_undetermined_link_type_is_marked_as_assumed() {
    assert_eq!(link(0x88cc, &[0; 20]), (LinkType::ETHERNET, Basis::Assumed));
    assert_eq!(link(0x0800, &[0x45, 0]), (LinkType::RAW, Basis::Assumed));
    assert_eq!(link(0x0800, &[]), (LinkType::RAW, Basis::Assumed));
    let tun = infer_link(None, &[0; 20], 20, None, Some(ArpHardware::NONE));
    assert_eq!(
        tun,
        Link {
            kind: LinkType::RAW,
            basis: Basis::Assumed
        }
    );
    let tun = infer_link(None, &[0; 20], 20, Some(ArpHardware::NONE), None);
    assert_eq!(
        tun,
        Link {
            kind: LinkType::RAW,
            basis: Basis::Known
        }
    );
}

#[test]
fn raw_cuts_the_link_layer_header_off() {
    let ip = ipv4(28, [10, 0, 0, 1]);
    let frame = framed(0x8100, &[&[0, 100, 8, 0][..], &ip].concat());
    let cut = convert(LinkType::RAW, LinkType::ETHERNET, &frame, 46, None, None).unwrap();
    assert_eq!(
        cut,
        Converted {
            header: None,
            data: &ip,
            original_len: 28
        }
    );
    assert_eq!(
        convert(
            LinkType::RAW,
            LinkType::ETHERNET,
            &framed(0x0806, &[0; 28]),
            42,
            None,
            None
        ),
        None
    );
    assert_eq!(
        convert(LinkType::ETHERNET, LinkType::RAW, &ip, 28, None, None),
        None
    );
}

#[test]
fn sll2_keeps_source_and_ifindex() {
    let ip = ipv4(28, [10, 0, 0, 1]);
    let input = Some(Interface::new(5, Name::new(b"eth0")));
    let inbound = Some(Direction::Inbound);
    let frame = framed(0x0800, &ip);
    let cooked = convert(
        LinkType::LINUX_SLL2,
        LinkType::ETHERNET,
        &frame,
        42,
        input,
        inbound,
    )
    .unwrap();
    assert_eq!((cooked.data, cooked.original_len), (&ip[..], 48));
    #[rustfmt::skip]
    assert_eq!(cooked.header.unwrap(), [
        8, 0,  0, 0,  0, 0, 0, 5, // protocol, reserved, ifindex
        0, 1,  0,  6,             // hardware type, packet type, address length
        2, 0, 0, 0, 0, 1,  0, 0,  // address
    ]);
    let outbound = Some(Direction::Outbound);
    let cooked = convert(LinkType::LINUX_SLL2, LinkType::RAW, &ip, 28, None, outbound).unwrap();
    assert_eq!((cooked.data, cooked.original_len), (&ip[..], 48));
    assert_eq!(cooked.header.unwrap()[8..12], [0xff, 0xfe, 4, 0]);
    let frame = framed(38, &[0x42, 0x42, 3]);
    let tree = convert(
        LinkType::LINUX_SLL2,
        LinkType::ETHERNET,
        &frame,
        52,
        input,
        inbound,
    );
    assert_eq!(tree.unwrap().header.unwrap()[..2], [0, 4]);
}
