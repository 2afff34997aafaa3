//! Decodes and encodes alerts: real ones, reordered ones and damaged ones.

use super::*;
use crate::net_dm::netlink::MessageBuilder;
use crate::net_dm::netlink::{GENL_ID_CTRL, Messages};
use crate::net_dm::{FAMILY_VERSION, cmd};
use proptest::prelude::*;

/// A software alert of Linux 6.12, in big-endian byte order.
#[rustfmt::skip]
const BIG_ENDIAN_ALERT: [u8; 104] = [
    0, 0, 0, 104,  0, 0x24,  0, 0,  0, 0, 0, 0,  0, 0, 0, 0, // length, type, flags, seq, pid
    5, 2, 0, 0,                                               // PACKET_ALERT, version
    0, 6, 0, 14,  0, 0, 0, 0,                                 // ORIGIN software
    0, 12, 0, 2,  0xff, 0xff, 0xff, 0xff, 0xb3, 0xd4, 0x20, 0xb5, // PC
    0, 10, 0, 23,  b'N', b'O', b'_', b'X', b'Y', 0,  0, 0,    // REASON
    0, 12, 0x80, 4,  0, 8, 0, 0,  0, 0, 0, 5,                 // IN_PORT { IFINDEX 5 }
    0, 12, 0, 5,  0, 0, 0, 0, 0, 0, 0x30, 0x39,               // TIMESTAMP 12345
    0, 8, 0, 10,  0, 1, 0x11, 0x70,                           // ORIG_LEN 70000
    0, 6, 0, 6,  8, 0, 0, 0,                                  // PROTO
    0, 7, 0, 7,  0x45, 0, 0, 0,                               // PAYLOAD, 3 bytes
    0, 4, 0, 99,                                              // unknown, empty
];

fn decode(bytes: &[u8], order: ByteOrder) -> Alert<'_> {
    let message = Messages::new(bytes, order).next().unwrap();
    Alert::decode(message.generic(order).unwrap().attributes)
}

#[test]
fn an_alert_decodes_in_both_byte_orders() {
    let alert = decode(&BIG_ENDIAN_ALERT, ByteOrder::Big);
    assert_eq!(alert.skipped, 1);
    let record = alert.record(Some(Timestamp(1)), None, None, None);
    assert_eq!(record.time, Some(Timestamp(12345)));
    assert_eq!(record.original_len, 70000);
    assert_eq!(record.protocol, Some(EtherType::IPV4));
    assert_eq!(record.data, [0x45, 0, 0]);
    assert_eq!(record.input, Some(Interface::new(5, None)));
    let Cause::Software { location, reason } = record.cause else {
        panic!("software")
    };
    assert_eq!(location.pc, Some(0xffff_ffff_b3d4_20b5));
    assert_eq!(location.symbol, None);
    assert_eq!(reason, Name::new(b"NO_XY"));
}

#[test]
fn an_encoded_record_decodes_to_itself() {
    let name = |text: &'static [u8]| Name::new(text);
    let frame = [&[2; 12][..], &[0x88, 0xcc], &[0; 20]].concat();
    let software = DropRecord {
        time: Some(Timestamp(1_700_000_000_123_456_789)),
        cause: Cause::Software {
            location: Location {
                pc: Some(7),
                symbol: name(b"ip_rcv+0x1/0x2").map(Symbol),
                ..Location::default()
            },
            reason: name(b"NO_SOCKET"),
        },
        input: Some(Interface::new(3, None)),
        protocol: Some(EtherType(0x88cc)),
        original_len: 1500,
        ..DropRecord::new(
            crate::record::Link::known(crate::record::LinkType::ETHERNET),
            &frame,
        )
    };
    let hardware = DropRecord {
        cause: Cause::Hardware {
            group: name(b"l3_drops"),
            trap: name(b"blackhole_route"),
            cookie: Some(&[0xde, 0xad]),
        },
        input: Some(Interface::new(3, name(b"eth0"))),
        ..software
    };
    for record in [software, hardware] {
        let mut buffer = Vec::new();
        assert!(encode(&record, 0x24, &mut buffer));
        let alert = decode(&buffer, ByteOrder::NATIVE);
        assert!(alert.is_certain());
        assert_eq!(alert.record(Some(Timestamp(0)), None, None, None), record);
    }
}

#[test]
fn the_link_type_of_a_packet_on_its_way_into_gre_is_assumed() {
    #[track_caller]
    fn check(frame: &[u8], input: Option<u32>, basis: Basis) {
        let alert = Alert {
            protocol: Some(EtherType::IPV4),
            input: input.map(|index| Interface::new(index, None)),
            payload: frame,
            ..Alert::default()
        };
        let record = alert.record(None, None, None, None);
        let kind = LinkType::ETHERNET;
        assert_eq!(record.link, Link { kind, basis });
    }
    let inner = [
        &[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0][..],
        &[10, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    // From the checksum of the outer IP header on, over what was the Ethernet header.
    let outer_end = [0xbe, 0xef, 10, 9, 0, 1, 10, 9, 0, 2];
    let in_gre = [&outer_end[..], &[0, 0, 8, 0], &inner].concat();
    check(&in_gre, Some(2), Basis::Assumed);
    // What was made here has no link-layer header yet.
    check(&in_gre, None, Basis::Known);
    // A device with an address, and loopback, which has none.
    for address in [[2; 12], [0; 12]] {
        let frame = [&address[..], &[8, 0], &inner].concat();
        check(&frame, Some(2), Basis::Known);
    }
}

#[test]
fn a_long_symbol_is_cut_as_the_kernel_cuts_it() {
    let mut alert = decode(&BIG_ENDIAN_ALERT, ByteOrder::Big);
    let long = b"__netif_receive_skb_core.constprop.0+0x14/0xdf0";
    alert.location.symbol = Name::new(long).map(Symbol);
    let mut buffer = Vec::new();
    assert!(encode(
        &alert.record(Some(Timestamp(0)), None, None, None),
        0x24,
        &mut buffer
    ));
    let symbol = decode(&buffer, ByteOrder::NATIVE).location.symbol.unwrap();
    assert_eq!(
        symbol.0.as_bytes(),
        b"__netif_receive_skb_core.constprop.0+0x"
    );
}

#[test]
fn the_first_of_repeated_attributes_counts_even_where_it_is_damaged() {
    let mut buffer = Vec::new();
    let mut message = MessageBuilder::new(&mut buffer, 0x24, cmd::PACKET_ALERT, FAMILY_VERSION);
    message
        .attribute(attr::PAYLOAD, &[1])
        .attribute(attr::ORIG_LEN, &[0; 3])
        .attribute(attr::PAD, &[])
        .attribute(attr::PAD, &[])
        .attribute(attr::PAYLOAD, &[2, 3])
        .attribute(attr::ORIG_LEN, &70000_u32.to_ne_bytes())
        .nest(attr::IN_PORT, |nest| {
            nest.attribute(attr::in_port::NETDEV_IFINDEX, &5_u32.to_ne_bytes())
                .attribute(attr::in_port::NETDEV_IFINDEX, &6_u32.to_ne_bytes());
        });
    message.finish();
    let alert = decode(&buffer, ByteOrder::NATIVE);
    assert_eq!((alert.payload, alert.original_len), (&[1][..], None));
    assert_eq!(alert.input, Some(Interface::new(5, None)));
    assert_eq!(alert.skipped, 4);
}

#[test]
fn kernels_send_the_kernels_order() {
    const FILE_HEADER: usize = 24;
    const PACKET_AND_COOKED_HEADER: usize = 16 + 16;
    for path in [
        "fixtures/software-6.1.pcap",
        "fixtures/software-6.12.pcap",
        "fixtures/hardware-6.12.pcap",
    ] {
        let file = std::fs::read(path).unwrap();
        let (mut rest, mut alerts) = (&file[FILE_HEADER..], 0);
        while !rest.is_empty() {
            let len = ByteOrder::Little.u32(&rest[8..12]).unwrap() as usize;
            let (packet, others) = rest.split_at(16 + len);
            rest = others;
            let message = &packet[PACKET_AND_COOKED_HEADER..];
            let message = Messages::new(message, ByteOrder::Little).next().unwrap();
            let generic = message.generic(ByteOrder::Little).unwrap();
            if message.kind == GENL_ID_CTRL {
                continue;
            }
            alerts += 1;
            let ordered = Alert::in_kernel_order(generic.attributes);
            assert_eq!(
                ordered,
                Some(Alert::in_any_order(generic.attributes)),
                "{path}"
            );
        }
        assert!(alerts > 10, "{path}: {alerts}");
    }
}

/// Attributes mostly in the kernel's order, mostly of the right size.
fn nearly_in_order() -> impl Strategy<Value = Vec<u8>> {
    let sizes = [
        (attr::ORIGIN, 2),
        (attr::PC, 8),
        (attr::REASON, 5),
        (attr::SYMBOL, 7),
        (attr::HW_TRAP_GROUP_NAME, 3),
        (attr::HW_TRAP_NAME, 4),
        (attr::IN_PORT, 8),
        (attr::FLOW_ACTION_COOKIE, 6),
        (attr::TIMESTAMP, 8),
        (attr::ORIG_LEN, 4),
        (attr::PROTO, 2),
        (attr::PAYLOAD, 9),
    ];
    let value = |size| {
        let byte = prop_oneof![1 => Just(0), 1 => Just(1), 4 => any::<u8>()];
        let nest = Just(vec![8, 0, 0, 0, 7, 0, 0, 0]);
        let len = prop_oneof![19 => Just(size), 1 => 0..10_usize];
        let bytes = len.prop_flat_map(move |len| proptest::collection::vec(byte.clone(), len));
        prop_oneof![4 => bytes, 1 => nest]
    };
    // Of the other origin's attributes few, for with one of them the order is not the kernel's.
    let attributes = (0..=1_u8).prop_flat_map(move |origin| {
        let attributes: Vec<_> = sizes
            .into_iter()
            .map(|(kind, size)| {
                let weight = match kind {
                    attr::PC | attr::REASON | attr::SYMBOL if origin != 0 => 0.02,
                    attr::HW_TRAP_GROUP_NAME | attr::HW_TRAP_NAME | attr::FLOW_ACTION_COOKIE
                        if origin == 0 =>
                    {
                        0.02
                    }
                    attr::ORIGIN => 0.95,
                    _ => 0.8,
                };
                let value = match kind {
                    attr::ORIGIN => {
                        prop_oneof![9 => Just(vec![origin, 0]), 1 => value(size)].boxed()
                    }
                    _ => value(size).boxed(),
                };
                proptest::option::weighted(weight, (Just(kind), value))
            })
            .collect();
        attributes
    });
    let swap = proptest::option::weighted(0.2, (0..12_usize, 0..12_usize));
    (attributes, swap, 0..6_usize).prop_map(|(mut attributes, swap, cut)| {
        if let Some((one, other)) = swap {
            attributes.swap(one, other);
        }
        let mut bytes = Vec::new();
        for (kind, value) in attributes.into_iter().flatten() {
            let len = u16::try_from(value.len()).unwrap() + 4;
            bytes.extend(len.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(&value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(2)));
        bytes
    })
}

#[test]
fn an_original_length_below_the_payload_is_corrected() {
    let mut alert = decode(&BIG_ENDIAN_ALERT, ByteOrder::Big);
    alert.original_len = Some(1);
    assert_eq!(
        alert
            .record(Some(Timestamp(0)), None, None, None)
            .original_len,
        3
    );
}

proptest! {
    #[test]
    fn both_decoders_agree(bytes in nearly_in_order()) {
        let attributes = Attributes::native(&bytes).in_order(ByteOrder::Little);
        let mut any = Alert::in_any_order(attributes);
        if let Some(ordered) = Alert::in_kernel_order(attributes) {
            prop_assert_eq!(ordered, any);
        }
        any.set_content(ByteOrder::Little);
        prop_assert_eq!(Alert::decode(attributes), any);
    }

    #[test]
    fn no_attributes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0..80usize) {
        // Half random, half a real alert with random bytes in it, which reaches deeper.
        let mut alert = BIG_ENDIAN_ALERT.to_vec();
        let end = alert.len().min(start + bytes.len());
        alert[start..end].copy_from_slice(&bytes[..end - start]);
        for bytes in [&bytes, &alert] {
            for message in Messages::new(bytes, ByteOrder::Big) {
                if let Some(generic) = message.generic(ByteOrder::Big) {
                    let alert = Alert::decode(generic.attributes);
                    if let Some(mut ordered) = Alert::in_kernel_order(generic.attributes) {
                        ordered.set_content(ByteOrder::Big);
                        prop_assert_eq!(ordered, alert);
                    }
                    let record = alert.record(Some(Timestamp(0)), None, None, None);
                    prop_assert!(record.original_len as usize >= record.data.len());
                    let _ = crate::net_dm::summary::SummaryAlert::decode(&generic);
                }
            }
        }
    }
}
