//! Properties of files: nothing panics the reader, and what is written is what is read, by us and
//! by somebody else's reader.

mod conversions;
mod damage;
mod owned;
#[path = "../oracle/pcap.rs"]
mod pcap;

use std::io::Cursor;
use std::ops::ControlFlow;

use dwdump::net_dm::interference::Interference;
use dwdump::packet;
use dwdump::record::{
    Basis, CaptureHost, Cause, DropRecord, Likeness, LinkType, Loss, Name, Timestamp,
};
use dwdump::sink::{Ending, Linking, NetlinkSink, PcapngSink, Rejected, Sink, Written};
use dwdump::source::savefile::{Damage, Savefile};
use pcap_parser::{Block, OptionCode, PcapNGOption, parse_block_le};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use owned::{Owned, OwnedCause, any_host, any_record};

fn pcapng(records: &[Owned], host: &CaptureHost, ending: &Ending) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = PcapngSink::new(&mut bytes, Linking::Auto, "test 1", host).unwrap();
    for record in records {
        record.with(|record| sink.write(record).unwrap());
    }
    sink.finish(ending).unwrap();
    drop(sink);
    bytes
}

/// All records of a file, each handed on with its number.
fn read(bytes: &[u8], mut take: impl FnMut(usize, &DropRecord<'_>)) -> Result<usize, Damage> {
    let mut file = Savefile::open(Cursor::new(bytes)).unwrap();
    let mut count = 0;
    let flow = file.for_each(|record| {
        take(count, record);
        count += 1;
        ControlFlow::<()>::Continue(())
    });
    flow.map(|_| count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Records of equal facts, with other packets, times and link types, between those of others and those that do not say
    /// that they are alike.
    #[test]
    fn a_file_is_the_same_whether_or_not_alike_records_say_so(
        kinds in vec(any_record(), 1..4),
        drops in vec(
            (0..3_usize, any::<Option<u64>>(), vec(any::<u8>(), 0..60), any::<[bool; 3]>()),
            1..20,
        ),
        linking in select(
            &[Linking::Auto, Linking::One(LinkType::RAW), Linking::One(LinkType::LINUX_SLL2)][..],
        ),
    ) {
        let likenesses: Vec<_> = kinds.iter().map(|_| Likeness::new()).collect();
        let file = |tells: bool| {
            let (mut bytes, host) = (Vec::new(), CaptureHost::default());
            let mut sink = PcapngSink::new(&mut bytes, linking, "test 1", &host).unwrap();
            for (kind, time, data, [is_raw, is_known, tells_this]) in &drops {
                let kind = kind % kinds.len();
                kinds[kind].with(|record| {
                    let mut record = *record;
                    record.time = time.map(Timestamp);
                    (record.data, record.original_len) = (data, 60);
                    if *is_raw {
                        record.link.kind = LinkType::RAW;
                    }
                    if *is_known {
                        record.link.basis = Basis::Known;
                    }
                    // Without a cause, the direction depends on the link type.
                    if tells && *tells_this && record.cause != Cause::Unknown {
                        record.likeness = likenesses[kind];
                    }
                    sink.write(&record).unwrap();
                });
            }
            sink.finish(&Ending::default()).unwrap();
            drop(sink);
            bytes
        };
        prop_assert_eq!(file(true), file(false));
    }

    #[test]
    fn a_record_comes_back_from_our_file_in_every_field(
        records in vec(any_record(), 1..12),
        host in any_host(),
        loss in any::<Option<(u32, u32)>>(),
        rejected in select(&[Rejected::Counted(3), Rejected::InKernel][..]),
    ) {
        let loss = loss.map(|(queue, socket): (u32, u32)| {
            let mut loss = Loss::default();
            (loss.queue, loss.socket) = (queue.into(), socket.into());
            loss
        });
        let period = Some((Timestamp(7), Timestamp(1_767_323_045_000_000_001)));
        let mut ending = Ending::default();
        (ending.loss, ending.rejected, ending.period) = (loss, rejected, period);
        let bytes = pcapng(&records, &host, &ending);
        let count = read(&bytes, |number, found| {
            records[number].with(|written| assert_eq!(found, written));
        });
        prop_assert_eq!(count, Ok(records.len()));
        let mut file = Savefile::open(Cursor::new(&bytes)).unwrap();
        let _ = file.for_each(|_| ControlFlow::<()>::Continue(()));
        prop_assert_eq!(&file.findings().host, &host);
        prop_assert_eq!(file.findings().loss, loss);
        prop_assert_eq!(file.findings().period, period);
    }

    #[test]
    fn another_reader_finds_in_our_file_what_was_written(mut records in vec(any_record(), 1..12)) {
        // Without a time there are sections of another kind.
        for record in &mut records {
            record.time = record.time.or(Some(7));
        }
        let bytes = pcapng(&records, &CaptureHost::default(), &Ending::default());
        let (mut interfaces, mut packets, mut statistics) = (Vec::new(), 0, Vec::new());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (behind, block) = parse_block_le(rest).unwrap();
            rest = behind;
            match block {
                Block::InterfaceDescription(block) => {
                    let name = block.if_name().map_or("", |name| name.unwrap()).to_owned();
                    let description = block.if_description().map(|text| text.unwrap().to_owned());
                    prop_assert_eq!(block.snaplen, 262_144);
                    prop_assert_eq!(block.if_tsresol, 9);
                    interfaces.push((block.linktype.0, name, description));
                }
                Block::EnhancedPacket(block) => {
                    let time = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                    let interface = &interfaces[block.if_id as usize];
                    records[packets].with(|record| {
                        assert_eq!(Some(Timestamp(time)), record.time);
                        assert_eq!(block.origlen, record.original_len);
                        assert_eq!(&block.data[..block.caplen as usize], record.data);
                        assert_eq!(interface.0, i32::from(record.link.kind.0));
                        check_interface(record, &interface.1, interface.2.as_deref());
                        check_comments(record, &block.options);
                    });
                    packets += 1;
                }
                Block::InterfaceStatistics(block) => statistics.push(block.if_id as usize),
                _ => {}
            }
        }
        prop_assert_eq!(packets, records.len());
        // Wireshark shows the statistics only of an interface that has exactly one block of them.
        prop_assert_eq!(statistics, (0..interfaces.len()).collect::<Vec<_>>());
    }
}

/// The options of interface 0's statistics.
fn monitor_statistics(bytes: &[u8]) -> Vec<PcapNGOption<'_>> {
    let mut rest = bytes;
    let mut found = None;
    while !rest.is_empty() {
        let (behind, block) = parse_block_le(rest).unwrap();
        rest = behind;
        if let Block::InterfaceStatistics(block) = block
            && block.if_id == 0
        {
            found = Some(block.options);
        }
    }
    found.expect("interface 0 has statistics")
}

#[test]
fn a_capture_that_another_process_disturbed_says_so() {
    let stopped = (
        Some(Interference::Stopped),
        Some("incomplete: monitoring was stopped by another process"),
    );
    for (interference, said) in [(None, None), stopped] {
        let mut ending = Ending::default();
        ending.incomplete = interference.into_iter().map(Into::into).collect();
        let bytes = pcapng(&[received_by(5)], &CaptureHost::default(), &ending);
        let options = monitor_statistics(&bytes);
        let comment = options
            .iter()
            .find(|option| option.code == OptionCode::Comment);
        let comment = comment.map(|option| {
            let text = std::str::from_utf8(&option.value).unwrap();
            text.trim_end_matches('\0')
        });
        assert_eq!(comment, said);
        let mut count = 0;
        let mut file = Savefile::open(Cursor::new(&bytes[..])).unwrap();
        let flow = file.for_each(|_| {
            count += 1;
            ControlFlow::<()>::Continue(())
        });
        assert_eq!((flow, count), (Ok(ControlFlow::Continue(())), 1));
        // What was said is known to who reads it, and can be written again.
        assert_eq!(file.findings().incomplete, ending.incomplete);
    }
}

#[test]
fn packets_received_are_counted_only_where_the_rejected_ones_are() {
    /// `isb_ifrecv` (section 4.6).
    const RECEIVED: u16 = 4;
    const IS_SAID: &str = "rejected by the filter: not counted (filtered in the kernel)";
    for (rejected, received) in [(Rejected::Counted(3), Some(3)), (Rejected::InKernel, None)] {
        let mut ending = Ending::default();
        ending.rejected = rejected;
        let bytes = pcapng(&[], &CaptureHost::default(), &ending);
        let found = monitor_statistics(&bytes);
        let count = found.iter().find(|option| option.code.0 == RECEIVED);
        let count = count.map(|option| u64::from_le_bytes(option.value[..8].try_into().unwrap()));
        assert_eq!(count, received);
        let is_said = found.iter().any(|option| {
            option.code == OptionCode::Comment && option.value.starts_with(IS_SAID.as_bytes())
        });
        assert_eq!(is_said, received.is_none());
    }
}

/// The way back from `\xNN`.
fn unescaped(text: &str) -> Vec<u8> {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    let mut pieces = text.split("\\x");
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend(&piece.as_bytes()[2..]);
    }
    bytes
}

fn check_interface(record: &DropRecord<'_>, name: &str, description: Option<&str>) {
    let expected_name = match record.input {
        None if record.cause == Cause::Unknown => Vec::new(),
        None => b"local".to_vec(),
        Some(input) => match input.name() {
            Some(name) => name.as_bytes().to_vec(),
            None => format!("if{}", input.key).into_bytes(),
        },
    };
    assert_eq!(unescaped(name), expected_name);
    let place = match record.input {
        None => "locally generated".to_owned(),
        Some(input) => format!("ifindex {}", input.key),
    };
    let origin = match record.cause {
        Cause::Software { .. } => ", software",
        Cause::Hardware { .. } => ", hardware",
        Cause::Unknown => "",
    };
    let assumed = match record.link.basis {
        Basis::Known => "",
        Basis::Assumed => ", link type assumed",
    };
    let says_nothing = record.cause == Cause::Unknown && record.input.is_none();
    let expected = (!says_nothing).then(|| format!("{place}{origin}{assumed}"));
    assert_eq!(description, expected.as_deref());
}

/// What the file says of a packet, and in which order: compared as bytes, without the escapes.
fn check_comments(record: &DropRecord<'_>, options: &[PcapNGOption<'_>]) {
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut name = |key: &str, name: Option<Name<'_>>| {
        expected.extend(name.map(|name| [key.as_bytes(), b": ", name.as_bytes()].concat()));
    };
    match record.cause {
        Cause::Software { location, reason } => {
            name("reason", reason);
            name("location", location.symbol.map(|symbol| symbol.0));
            expected.extend(
                location
                    .pc
                    .map(|pc| format!("pc: 0x{pc:016x}").into_bytes()),
            );
        }
        Cause::Hardware {
            group,
            trap,
            cookie,
        } => {
            name("trap", trap);
            name("trap_group", group);
            expected
                .extend(cookie.map(|cookie| format!("cookie: {}", pcap::hex(cookie)).into_bytes()));
        }
        Cause::Unknown => {}
    }
    if record.protocol != packet::protocol(record.link.kind, record.data)
        && let Some(protocol) = record.protocol
    {
        expected.push(format!("protocol: 0x{:04x}", protocol.0).into_bytes());
    }
    let comments: Vec<&[u8]> = options
        .iter()
        .filter(|option| option.code == OptionCode::Comment)
        .map(|option| &option.value[..usize::from(option.len)])
        .collect();
    let (ours, notes) = comments.split_at(expected.len());
    let ours: Vec<Vec<u8>> = ours
        .iter()
        .map(|comment| unescaped(std::str::from_utf8(comment).unwrap()))
        .collect();
    assert_eq!(ours, expected);
    let expected: Vec<&[u8]> = record
        .notes
        .iter()
        .map(|note| note.raw().as_bytes())
        .collect();
    assert_eq!(notes, expected);
}

#[test]
fn the_greatest_record_comes_back() {
    let record = Owned {
        time: Some(u64::MAX),
        cause: OwnedCause::Software(
            Some(u64::MAX),
            Some(vec![0xff; 2000]),
            Some(vec![0xff; 2000]),
        ),
        input: Some((u32::MAX, Some(vec![0xff; 2000]))),
        link: 1,
        is_assumed: true,
        protocol: Some(0xffff),
        missing: u32::MAX,
        data: vec![0xff; 262_144],
        notes: vec!["x".repeat(65_535), "ž".repeat(32_767)],
        flags: u32::MAX,
    };
    let bytes = pcapng(
        std::slice::from_ref(&record),
        &CaptureHost::default(),
        &Ending::default(),
    );
    let count = read(&bytes, |_, found| {
        record.with(|written| assert_eq!(found, written));
    });
    assert_eq!(count, Ok(1));
}

/// A drop of a packet that came in by the interface with this index.
fn received_by(index: u32) -> Owned {
    Owned {
        time: Some(index.into()),
        cause: OwnedCause::Software(None, None, None),
        input: Some((index, None)),
        link: 1,
        is_assumed: false,
        protocol: None,
        missing: 0,
        data: vec![],
        notes: vec![],
        flags: 0,
    }
}

#[test]
fn a_drop_after_2106_comes_back_from_the_netlink_format() {
    // The records of a pcap file have 32 bits for the seconds.
    for time in [
        u64::from(u32::MAX) * 1_000_000_000,
        5_000_000_000_000_000_000,
        u64::MAX,
    ] {
        let record = Owned {
            time: Some(time),
            cause: OwnedCause::Software(Some(0x1234), None, None),
            data: vec![0x45; 20],
            ..received_by(5)
        };
        let mut bytes = Vec::new();
        let mut sink = NetlinkSink::new(&mut bytes, 0x31).unwrap();
        let written = record.with(|record| sink.write(record).unwrap());
        assert_eq!(written, Written::Yes);
        sink.finish(&Ending::default()).unwrap();
        drop(sink);
        let file = Savefile::open(Cursor::new(&bytes)).unwrap();
        assert_eq!(file.family(), Some(0x31));
        let count = read(&bytes, |_, found| {
            assert_eq!(found.time, Some(Timestamp(time)));
        });
        assert_eq!(count, Ok(1));
    }
}

#[test]
fn any_number_of_interfaces_comes_back() {
    // The second number: more than the writer keeps in a section, and than a reader would.
    for (drops, interfaces) in [(2000, 1000), (120_000, 120_000)] {
        let records: Vec<Owned> = (0..drops)
            .map(|drop| received_by(drop % interfaces))
            .collect();
        let mut loss = Loss::default();
        (loss.queue, loss.socket) = (3, 4);
        let loss = Some(loss);
        let mut ending = Ending::default();
        ending.loss = loss;
        let bytes = pcapng(&records, &CaptureHost::default(), &ending);
        let mut file = Savefile::open(Cursor::new(&bytes[..])).unwrap();
        let mut number = 0;
        let flow = file.for_each(|found| {
            records[number].with(|written| assert_eq!(found, written));
            number += 1;
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(
            (flow, number),
            (Ok(ControlFlow::Continue(())), records.len())
        );
        assert_eq!(file.findings().loss, loss);
    }
}
