//! Properties of all packets, valid or not.

use etherparse::PacketBuilder;
use proptest::prelude::{Strategy, any, prop, proptest};

use super::{
    IP, TRANSPORT, TRANSPORT6, damaged, ethernet, fault, fault_text, frame, received, text,
};
use crate::dissect::Field;
use crate::dissect::fault::Bound;
use crate::packet::{self, ArpHardware, be16};
use crate::record::{DropRecord, EtherType, LinkType};

/// Generates valid packets of all kinds, with any addresses, ports and payload.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let ports = any::<(u16, u16)>();
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    (
        0..10,
        any::<([u8; 4], [u8; 16])>(),
        ports,
        payload,
        any::<Option<u16>>(),
    )
        .prop_map(|(kind, (source4, source6), (from, to), payload, tag)| {
            let mut data = Vec::new();
            let link = ethernet();
            let tagged = |link: etherparse::PacketBuilderStep<etherparse::Ethernet2Header>| {
                let id = etherparse::VlanId::try_new(tag.unwrap_or(7) & 0x0fff);
                link.single_vlan(id.unwrap())
            };
            let v4 = |link: etherparse::PacketBuilderStep<etherparse::Ethernet2Header>| {
                link.ipv4(source4, [10, 0, 0, 2], 1)
            };
            let v6 = |link: etherparse::PacketBuilderStep<etherparse::Ethernet2Header>| {
                link.ipv6(source6, [0xfd; 16], 255)
            };
            let written = match kind {
                0 => v4(link).udp(from, to).write(&mut data, &payload),
                1 => v6(link).udp(from, to).write(&mut data, &payload),
                2 => v4(link).tcp(from, to, 1, 2).write(&mut data, &payload),
                3 => v6(link).tcp(from, to, 1, 2).write(&mut data, &payload),
                4 => v4(link)
                    .icmpv4_echo_reply(from, to)
                    .write(&mut data, &payload),
                5 => v6(link)
                    .icmpv6_echo_reply(from, to)
                    .write(&mut data, &payload),
                6 => tagged(link)
                    .ipv4(source4, [10, 0, 0, 2], 1)
                    .udp(from, to)
                    .write(&mut data, &payload),
                7 => v4(link)
                    .tcp(from, to, 1, 2)
                    .options_raw(&[1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
                    .unwrap()
                    .write(&mut data, &payload),
                8 => v4(link).write(&mut data, etherparse::IpNumber(253), &payload),
                _ => {
                    let mut inner = Vec::new();
                    let packet = PacketBuilder::ipv4(source4, [10, 0, 0, 3], 9);
                    packet.udp(from, to).write(&mut inner, &payload).unwrap();
                    v4(link).write(&mut data, etherparse::IpNumber(4), &inner)
                }
            };
            written.unwrap();
            data
        })
}

/// Returns the flow that etherparse finds.
fn read_by_etherparse(data: &[u8]) -> Option<(u8, Option<(u16, u16)>)> {
    let sliced = etherparse::SlicedPacket::from_ethernet(data).ok()?;
    let number = sliced.ip_payload()?.ip_number.0;
    let ports = match sliced.transport {
        Some(etherparse::TransportSlice::Udp(udp)) => {
            Some((udp.source_port(), udp.destination_port()))
        }
        Some(etherparse::TransportSlice::Tcp(tcp)) => {
            Some((tcp.source_port(), tcp.destination_port()))
        }
        _ => None,
    };
    Some((number, ports))
}

proptest! {
    /// The packet may be padded, as Ethernet pads short frames.
    #[test]
    fn a_valid_packet_has_no_fault(mut data in valid(), padding in 0..20_usize) {
        proptest::prop_assert_eq!(fault_text(&frame(&data)), "", "{}", text(&frame(&data)));
        let flow = packet::flow(LinkType::ETHERNET, &data).unwrap();
        proptest::prop_assert_eq!(
            Some((flow.transport, flow.ports)),
            read_by_etherparse(&data)
        );
        data.resize(data.len() + padding, 0);
        proptest::prop_assert_eq!(fault_text(&frame(&data)), "");
    }

    #[test]
    fn a_valid_packet_cut_anywhere_has_no_fault(data in valid(), captured in 0..300_usize) {
        let captured = captured.min(data.len());
        let record = received(LinkType::ETHERNET, &data[..captured], data.len());
        proptest::prop_assert_eq!(fault_text(&record), "", "{}", text(&record));
    }

    /// The line and JSON agree on whether there is a fault.
    #[test]
    fn the_line_and_the_fault_agree(data in valid(), at in 14..60_usize, byte: u8, captured in 0..300_usize) {
        let mut data = data;
        if let Some(found) = data.get_mut(at) {
            *found = byte;
        }
        let captured = captured.min(data.len());
        let record = received(LinkType::ETHERNET, &data[..captured], data.len());
        let told = fault(&record).is_some();
        proptest::prop_assert_eq!(text(&record).contains('['), told || text(&record).contains("Flags [") || captured < data.len());
    }

    /// The correct checksum is the one that etherparse wrote.
    #[test]
    fn a_wrong_checksum_is_reported_with_the_correct_one(data in valid(), wrong: u16) {
        proptest::prop_assume!(data[12] != 0x81);
        let (at, least) = match (data[12], data[IP + 9], data[IP + 6]) {
            (8, 6, _) => (TRANSPORT + 16, 1),
            (8, 17, _) => (TRANSPORT + 6, 1),
            (8, 1, _) => (TRANSPORT + 2, 0),
            (0x86, _, 6) => (TRANSPORT6 + 16, 1),
            (0x86, _, 17) => (TRANSPORT6 + 6, 1),
            (0x86, _, 58) => (TRANSPORT6 + 2, 0),
            _ => (IP + 10, 0),
        };
        let right = be16(&data, at).unwrap();
        // UDP uses 0 for no checksum, and one's complement has two zeros.
        proptest::prop_assume!(wrong >= least && wrong != right && wrong != 0xffff && right != 0xffff);
        let data = damaged(data, at, &wrong.to_be_bytes());
        match fault(&frame(&data)) {
            Some(fault) => {
                proptest::prop_assert_eq!(fault.field, Field::Checksum);
                proptest::prop_assert_eq!(fault.bound, Some(Bound::Expected(right.into())));
            }
            // The checksum that a sender leaves to the device.
            None => proptest::prop_assume!(false),
        }
    }

    #[test]
    fn any_bytes_have_a_description(
        data in prop::collection::vec(any::<u8>(), 0..200),
        link in prop::sample::select(vec![1_u16, 101, 276, 105, 9]),
        more in 0..100_usize,
        protocol: Option<u16>,
    ) {
        let record = DropRecord {
            protocol: protocol.map(EtherType),
            ..received(LinkType(link), &data, data.len() + more)
        };
        let _ = (text(&record), fault_text(&record), packet::flow(LinkType(link), &data));
        let assumed = packet::infer_link(record.protocol, &data, record.original_len, None, Some(ArpHardware::NONE));
        let record = DropRecord { link: assumed, ..record };
        let _ = (text(&record), fault_text(&record));
    }

    /// Headers that are nearly valid reach more code than random bytes do.
    #[test]
    fn nearly_valid_bytes_have_a_description(
        data in valid(),
        changes in prop::collection::vec((12..120_usize, any::<u8>()), 0..6),
        captured in 0..300_usize,
    ) {
        let mut data = data;
        for (at, byte) in changes {
            if let Some(found) = data.get_mut(at) {
                *found = byte;
            }
        }
        let captured = captured.min(data.len());
        let record = received(LinkType::ETHERNET, &data[..captured], data.len());
        let _ = (text(&record), fault_text(&record));
    }
}
