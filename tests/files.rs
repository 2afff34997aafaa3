//! Properties of files: nothing panics the reader, and what is written is what is read, by us and
//! by somebody else's reader.

#[path = "oracle/pcap.rs"]
mod pcap;

use std::io::{self, Cursor};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dwdump::net_dm::interference::Interference;
use dwdump::packet;
use dwdump::record::{
    Basis, CaptureHost, Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Loss,
    Name, PacketFlags, Symbol, Timestamp,
};
use dwdump::sink::{
    Detail, Ending, JsonSink, Linking, NetlinkSink, PcapSink, PcapngSink, Rejected, Sink, TextSink,
    TextStyle, Written,
};
use dwdump::source::savefile::{Damage, OpenError, Savefile};
use dwdump::untrusted::Untrusted;
use pcap_parser::{Block, OptionCode, PcapNGOption, parse_block_le};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

// ---- Any bytes ----

/// Reads a file to its end, writing all of it in every format into nowhere. The number of records,
/// and the damage.
fn exercise(bytes: &[u8]) -> (u64, Option<Damage>) {
    let mut file = match Savefile::open(Cursor::new(bytes)) {
        Ok(file) => file,
        Err(OpenError::Damaged(damage)) => return (0, Some(damage)),
        Err(_) => return (0, None),
    };
    let host = file.remarks().host.clone();
    let mut pcapng = PcapngSink::new(io::sink(), Linking::Auto, "test", &host).unwrap();
    let mut sll2 = PcapSink::new(io::sink(), LinkType::LINUX_SLL2).unwrap();
    let mut raw = PcapSink::new(io::sink(), LinkType::RAW).unwrap();
    let mut netlink = NetlinkSink::new(io::sink(), 0x20).unwrap();
    let mut text = TextSink::new(
        io::sink(),
        TextStyle {
            detail: Detail::Full,
            ..TextStyle::default()
        },
    );
    let mut json = JsonSink::new(io::sink());
    let mut sinks: [&mut dyn Sink; 6] = [
        &mut pcapng,
        &mut sll2,
        &mut raw,
        &mut netlink,
        &mut text,
        &mut json,
    ];
    let mut count = 0;
    let read = file.for_each(|record| {
        count += 1;
        assert!(record.original_len as usize >= record.data.len());
        for sink in &mut sinks {
            sink.write(record).unwrap();
        }
        ControlFlow::<()>::Continue(())
    });
    let ending = Ending {
        loss: file.remarks().loss,
        rejected: Rejected::Counted(0),
        period: file.remarks().period,
        incomplete: Vec::new(),
    };
    for sink in &mut sinks {
        sink.finish(&ending).unwrap();
    }
    (count, read.err())
}

/// Beginnings of files that the reader goes on with.
fn beginning() -> impl Strategy<Value = Vec<u8>> {
    let pcap = |magic: [u8; 4], link: u8| {
        let mut header = magic.to_vec();
        if magic[0] == 0xa1 {
            header.extend([
                0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, link,
            ]);
        } else {
            header.extend([
                2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, link, 0, 0, 0,
            ]);
        }
        header
    };
    let mut beginnings = vec![
        vec![],
        vec![0x0a, 0x0d, 0x0d, 0x0a],
        vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a],
    ];
    for magic in [
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0x4d, 0x3c, 0xb2, 0xa1],
    ] {
        beginnings.push(magic.to_vec());
        beginnings.extend([1, 253].map(|link| pcap(magic, link)));
    }
    // A section, an interface, and the first word of a packet or of statistics.
    for (link, block) in [(1, 6), (253, 6), (1, 5), (1, 2), (1, 3), (1, 1)] {
        let mut section = vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a];
        section.extend([
            1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 28, 0, 0, 0,
        ]);
        section.extend([
            1, 0, 0, 0, 20, 0, 0, 0, link, 0, 0, 0, 0, 0, 4, 0, 20, 0, 0, 0,
        ]);
        section.extend([block, 0, 0, 0]);
        beginnings.push(section);
    }
    select(beginnings)
}

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut paths = Vec::new();
    for folder in [folder.join("made"), folder] {
        let entries = std::fs::read_dir(folder).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "pcap" || extension == "pcapng")
    });
    assert!(paths.len() > 20);
    paths
}

/// A fixture; of the recorded ones the beginning, which has all there is.
fn fixture() -> impl Strategy<Value = Vec<u8>> {
    select(captures()).prop_map(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes.truncate(20_000);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic_the_reader(mut bytes in beginning(), rest in vec(any::<u8>(), 0..300)) {
        bytes.extend(rest);
        exercise(&bytes);
    }

    #[test]
    fn no_damage_to_a_capture_panics_the_reader(
        mut bytes in fixture(),
        changes in vec((any::<Index>(), prop_oneof![any::<u8>(), select(vec![0, 1, 4, 0x7f, 0x80, 0xff])]), 1..8),
        inserted in (any::<Index>(), vec(any::<u8>(), 0..9)),
        len in any::<Index>(),
    ) {
        for (place, byte) in changes {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        let (place, more) = inserted;
        let place = place.index(bytes.len() + 1);
        bytes.splice(place..place, more);
        exercise(&bytes);
        bytes.truncate(len.index(bytes.len() + 1));
        exercise(&bytes);
    }
}

// ---- Any record ----

/// A record that owns what it is made of.
#[derive(Clone, Debug)]
struct Owned {
    time: Option<u64>,
    cause: OwnedCause,
    input: Option<(u32, Option<Vec<u8>>)>,
    link: u16,
    is_assumed: bool,
    protocol: Option<u16>,
    missing: u32,
    data: Vec<u8>,
    notes: Vec<String>,
    flags: u32,
}

#[derive(Clone, Debug)]
enum OwnedCause {
    Software(Option<u64>, Option<Vec<u8>>, Option<Vec<u8>>),
    Hardware(Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>),
    Unknown,
}

impl Owned {
    /// The record, as a source would have made it.
    fn with<T>(&self, use_it: impl FnOnce(&DropRecord<'_>) -> T) -> T {
        fn name(bytes: Option<&Vec<u8>>) -> Option<Name<'_>> {
            Name::new(bytes?)
        }
        let cause = match &self.cause {
            OwnedCause::Software(pc, symbol, reason) => Cause::Software {
                location: Location {
                    pc: *pc,
                    symbol: name(symbol.as_ref()).map(Symbol),
                    source_line: None,
                },
                reason: name(reason.as_ref()),
            },
            OwnedCause::Hardware(group, trap, cookie) => Cause::Hardware {
                group: name(group.as_ref()),
                trap: name(trap.as_ref()),
                cookie: cookie.as_deref(),
            },
            OwnedCause::Unknown => Cause::Unknown,
        };
        let input = self.input.as_ref();
        let input = input.map(|(index, text)| Interface::new(*index, name(text.as_ref())));
        // Only what says something of itself can be assumed: a packet of no drop and no interface
        // is of a plain file, whose link type is known.
        let is_plain = cause == Cause::Unknown && input.is_none();
        let link = Link {
            kind: LinkType(self.link),
            basis: if self.is_assumed && !is_plain {
                Basis::Assumed
            } else {
                Basis::Known
            },
        };
        let captured = u32::try_from(self.data.len()).unwrap();
        let notes: Vec<_> = self
            .notes
            .iter()
            .map(|note| Untrusted::new(note.as_str()))
            .collect();
        use_it(&DropRecord {
            time: self.time.map(Timestamp),
            cause,
            input,
            link,
            // Where the kernel says nothing, the bytes do: DropRecord::protocol.
            protocol: self
                .protocol
                .map(EtherType)
                .or_else(|| packet::protocol(link.kind, &self.data)),
            original_len: captured.saturating_add(self.missing),
            data: &self.data,
            notes: &notes,
            // The direction of a drop is that of its input.
            flags: match &self.cause {
                OwnedCause::Unknown => PacketFlags(self.flags),
                _ => PacketFlags(self.flags).with_direction(None),
            },
        })
    }
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let odd = [
        "local",
        "dwdump",
        "if5",
        "if0",
        "if",
        " ",
        ": ",
        "\\x41",
        "\\",
        "a, software",
        "\x1b[2J",
        "a+0x1/0x2 [b]",
        "grün",
        "\u{202e}",
        "e\u{301}",
        "\u{301}",
        "\u{feff}",
        "\u{10ffff}",
    ];
    prop_oneof![
        3 => "[A-Za-z_]{1,20}".prop_map(String::into_bytes),
        2 => select(odd.map(|text| text.as_bytes().to_vec()).to_vec()),
        2 => vec(any::<u8>(), 0..40),
        1 => any::<String>().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1000..1100),
    ]
}

fn any_cause() -> impl Strategy<Value = OwnedCause> {
    let name = || proptest::option::of(any_name());
    prop_oneof![
        4 => (any::<Option<u64>>(), name(), name())
            .prop_map(|(pc, symbol, reason)| OwnedCause::Software(pc, symbol, reason)),
        // A cookie is never empty: the decoder takes an empty one for none.
        4 => (name(), name(), proptest::option::of(vec(any::<u8>(), 1..40)))
            .prop_map(|(group, trap, cookie)| OwnedCause::Hardware(group, trap, cookie)),
        1 => Just(OwnedCause::Unknown),
    ]
}

/// Comments of others: what begins like one of ours would be read as one.
fn any_note() -> impl Strategy<Value = String> {
    let ours = ["reason", "location", "pc", "trap", "cookie", "protocol"];
    prop_oneof![
        any::<String>(),
        Just(String::new()),
        Just("todo: ask".into())
    ]
    .prop_filter("not ours", move |note| {
        !ours.iter().any(|key| note.starts_with(key))
    })
}

fn any_record() -> impl Strategy<Value = Owned> {
    let link = prop_oneof![
        select(vec![1, 101, 105, 127, 276]),
        // Those hold messages; these are read as what they mean, which is 101.
        any::<u16>().prop_filter("read as it is", |link| ![253, 12, 14].contains(link)),
    ];
    let place = (
        any_cause(),
        proptest::option::of((
            prop_oneof![0_u32..20, any::<u32>()],
            proptest::option::of(any_name()),
        )),
        link,
        any::<bool>(),
    );
    let packet = (
        prop_oneof![
            4 => any::<u64>().prop_map(Some),
            1 => select(vec![None, Some(0), Some(u64::MAX)]),
        ],
        proptest::option::of(prop_oneof![
            any::<u16>(),
            select(vec![0x0800, 4, 1, 0x86dd])
        ]),
        prop_oneof![Just(0), any::<u32>()],
        vec(any::<u8>(), 0..100),
        vec(any_note(), 0..3),
        prop_oneof![Just(0), any::<u32>()],
    );
    (place, packet).prop_map(
        |((cause, input, link, is_assumed), (time, protocol, missing, data, notes, flags))| Owned {
            time,
            cause,
            input,
            link,
            is_assumed,
            protocol,
            missing,
            data,
            notes,
            flags,
        },
    )
}

fn any_host() -> impl Strategy<Value = CaptureHost> {
    let text = || proptest::option::of(any::<String>());
    (text(), text()).prop_map(|(hardware, os)| CaptureHost {
        hardware: hardware.map(Untrusted::new),
        os: os.map(Untrusted::new),
    })
}

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

    #[test]
    fn a_record_comes_back_from_our_file_in_every_field(
        records in vec(any_record(), 1..12),
        host in any_host(),
        loss in any::<Option<(u32, u32)>>(),
        rejected in select(&[Rejected::Counted(3), Rejected::InKernel][..]),
    ) {
        let loss = loss.map(|(queue, socket)| Loss { queue: queue.into(), socket: socket.into() });
        let period = Some((Timestamp(7), Timestamp(1_767_323_045_000_000_001)));
        let ending = Ending { loss, rejected, period, ..Ending::default() };
        let bytes = pcapng(&records, &host, &ending);
        let count = read(&bytes, |number, found| {
            records[number].with(|written| assert_eq!(found, written));
        });
        prop_assert_eq!(count, Ok(records.len()));
        let mut file = Savefile::open(Cursor::new(&bytes)).unwrap();
        let _ = file.for_each(|_| ControlFlow::<()>::Continue(()));
        prop_assert_eq!(&file.remarks().host, &host);
        prop_assert_eq!(file.remarks().loss, loss);
        prop_assert_eq!(file.remarks().period, period);
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
        let ending = Ending {
            incomplete: interference.into_iter().map(Into::into).collect(),
            ..Ending::default()
        };
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
        assert_eq!(file.remarks().incomplete, ending.incomplete);
    }
}

#[test]
fn packets_received_are_counted_only_where_the_rejected_ones_are() {
    /// `isb_ifrecv` (section 4.6).
    const RECEIVED: u16 = 4;
    const IS_SAID: &str = "rejected by the filter: not counted (filtered in the kernel)";
    for (rejected, received) in [(Rejected::Counted(3), Some(3)), (Rejected::InKernel, None)] {
        let ending = Ending {
            rejected,
            ..Ending::default()
        };
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
            None => format!("if{}", input.index).into_bytes(),
        },
    };
    assert_eq!(unescaped(name), expected_name);
    let place = match record.input {
        None => "locally generated".to_owned(),
        Some(input) => format!("ifindex {}", input.index),
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
        let loss = Some(Loss {
            queue: 3,
            socket: 4,
        });
        let ending = Ending {
            loss,
            ..Ending::default()
        };
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
        assert_eq!(file.remarks().loss, loss);
    }
}

// ---- Conversions and cuts ----

/// Reads a capture and writes it through a sink.
fn convert<'v>(
    bytes: &[u8],
    converted: &'v mut Vec<u8>,
    make: impl FnOnce(&'v mut Vec<u8>, Option<u16>) -> Box<dyn Sink + 'v>,
) {
    let mut file = Savefile::open(Cursor::new(bytes)).unwrap();
    let mut sink = make(converted, file.family());
    let flow = file.for_each(|record| {
        sink.write(record).unwrap();
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(flow, Ok(ControlFlow::Continue(())));
    sink.finish(&Ending::default()).unwrap();
}

#[test]
fn netlink_to_pcapng_and_back_keeps_every_attribute() {
    for name in [
        "software-6.1.pcap",
        "software-6.12.pcap",
        "hardware-6.12.pcap",
        "made/no-reason.pcap",
        "made/little-endian.pcap",
        "made/links.pcap",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        let original = std::fs::read(path).unwrap();
        let (mut pcapng, mut back) = (Vec::new(), Vec::new());
        convert(&original, &mut pcapng, |file, _| {
            let host = CaptureHost::default();
            Box::new(PcapngSink::new(file, Linking::Auto, "test", &host).unwrap())
        });
        convert(&pcapng, &mut back, |file, _| {
            Box::new(NetlinkSink::new(file, 0x20).unwrap())
        });
        let [original, back] = [&original, &back].map(|file| alerts(file));
        assert!(!original.is_empty());
        assert_eq!(original.len(), back.len(), "{name}");
        for (original, back) in original.iter().zip(&back) {
            assert_eq!(original, back, "{name}");
        }
    }
}

/// The attributes of every packet alert, and the time of its record.
fn alerts(file: &[u8]) -> Vec<Vec<(u16, Vec<u8>)>> {
    let capture = pcap::pcap(file);
    assert_eq!((capture.link, capture.units), (253, 1_000_000));
    let records = capture.records.iter();
    let messages = records.flat_map(|record| {
        assert_eq!(record.original_len as usize, record.data.len());
        assert_ne!((record.seconds, record.fraction), (0, 0));
        pcap::messages(&record.data, capture.is_big_endian)
    });
    let alerts = messages.filter(|message| message.kind > 16 && message.command == 5);
    alerts.map(|message| message.attributes).collect()
}

#[test]
fn a_cut_file_gives_everything_before_the_cut() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/made/own.pcapng");
    let whole = std::fs::read(path).unwrap();
    // Where each block ends, and how many packets are before that.
    let (mut ends, mut packets, mut rest) = (vec![(0, 0)], 0, &whole[..]);
    while !rest.is_empty() {
        let (behind, block) = parse_block_le(rest).unwrap();
        packets += usize::from(matches!(block, Block::EnhancedPacket(_)));
        rest = behind;
        ends.push((whole.len() - rest.len(), packets));
    }
    assert_eq!(packets, 5);
    for len in 1..=whole.len() {
        let (count, damage) = exercise(&whole[..len]);
        let (end, packets) = *ends.iter().rev().find(|(end, _)| *end <= len).unwrap();
        if len < 4 {
            assert_eq!((count, damage), (0, None), "too short for a magic number");
            continue;
        }
        assert_eq!(count, packets as u64, "cut at {len}");
        let offset = damage.map(|damage| damage.offset);
        assert_eq!(offset, (end != len).then_some(end as u64), "cut at {len}");
    }
}
