//! The reader of capture files, fed in pieces: compressed files, cut and damaged ones, and pcapng as no careful
//! program writes it.

use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;

use dwdump::record::DropRecord;
use dwdump::source::NotPackets;
use dwdump::source::savefile::{OpenError, Progress, Reader, Remarks, Savefile};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

/// What a file gave.
#[derive(Debug, Default, PartialEq)]
struct Given {
    /// The records, as text.
    records: Vec<String>,
    /// Why there are no more, unless the file is at its end.
    damage: Option<String>,
}

fn shown(record: &DropRecord<'_>) -> String {
    format!("{record:?}")
}

/// Feeds a reader pieces of so many bytes.
fn feed(bytes: &[u8], piece: usize) -> Given {
    let mut reader = Reader::new(NotPackets::LeaveOut);
    let mut pieces = bytes.chunks(piece);
    let mut more = |reader: &mut Reader| match pieces.next() {
        Some(bytes) => {
            reader.space()[..bytes.len()].copy_from_slice(bytes);
            reader.filled(bytes.len());
        }
        None => reader.end(),
    };
    let mut given = Given::default();
    loop {
        match reader.open() {
            Ok(Progress::NeedsBytes) => more(&mut reader),
            Ok(_) => break,
            Err(error) => {
                given.damage = Some(error.to_string());
                return given;
            }
        }
    }
    loop {
        let progress = reader.events(|event| {
            given.records.push(format!("{event:?}"));
            ControlFlow::<()>::Continue(())
        });
        match progress {
            Ok(Progress::NeedsBytes) => more(&mut reader),
            Ok(_) => return given,
            Err(damage) => {
                given.damage = Some(damage.to_string());
                return given;
            }
        }
    }
}

/// The records of a file, and what was remarked.
fn read(bytes: &[u8]) -> (Given, Remarks) {
    let mut given = Given::default();
    let mut file = match Savefile::open(Cursor::new(bytes)) {
        Ok(file) => file,
        Err(error) => {
            given.damage = Some(error.to_string());
            return (given, Remarks::default());
        }
    };
    let flow = file.for_each(|record| {
        given.records.push(shown(record));
        ControlFlow::<()>::Continue(())
    });
    given.damage = flow.err().map(|damage| damage.to_string());
    (given, file.remarks().clone())
}

#[test]
fn bytes_that_come_one_at_a_time_tell_the_same() {
    for name in [
        "made/own.pcapng",
        "made/plain.pcapng",
        "made/several-messages.pcap",
        "made/cut.pcapng",
        "made/damaged-length.pcapng",
        "odd/links.pcapng",
        "odd/own.pcapng.gz",
        "odd/own.pcapng.zst",
        "odd/own.pcapng.xz",
        "odd/cut.pcapng.gz",
        "made/empty",
        "made/notes.txt",
    ] {
        let bytes = fixture(name);
        let whole = feed(&bytes, 64 * 1024);
        for piece in [1, 2, 3, 7, 100] {
            assert_eq!(feed(&bytes, piece), whole, "{name} in pieces of {piece}");
        }
    }
}

// ---- Compressed files ----

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A pcap file of so many packets that nothing can be made smaller in.
fn noise(packets: u32) -> Vec<u8> {
    let mut file = fixture("made/header-only.pcap");
    file[20] = 1;
    let mut state = 1_u32;
    for number in 0..packets {
        for field in [number, 0, 200, 200] {
            file.extend(field.to_le_bytes());
        }
        for _ in 0..50 {
            // xorshift32
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            file.extend(state.to_le_bytes());
        }
    }
    file
}

/// Compresses a file.
type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: [Compress; 3] = [gzip, zstd, xz];

#[test]
fn a_compressed_file_tells_what_it_holds() {
    let plain = fixture("software-6.12.pcap");
    let (expected, _) = read(&plain);
    assert_eq!(expected.records.len(), 91);
    for compress in COMPRESSIONS {
        assert_eq!(read(&compress(&plain)).0, expected);
        // Members, frames and streams, one behind the other, cut where no packet ends.
        let (one, other) = plain.split_at(10_001);
        let both = [compress(one), compress(other)].concat();
        assert_eq!(read(&both).0, expected);
    }
}

#[test]
fn a_compressed_file_that_is_cut_tells_what_is_before_the_cut() {
    // Of zstd whole blocks alone can be decompressed, of 128 KiB.
    let plain = noise(3000);
    let (whole, _) = read(&plain);
    assert_eq!(whole.records.len(), 3000);
    for compress in COMPRESSIONS {
        let compressed = compress(&plain);
        let (given, _) = read(&compressed[..compressed.len() - 1]);
        // flate2 does not tell a checksum that is cut from one that is wrong.
        let damage = given.damage.unwrap();
        assert!(
            damage.contains("cut short") || damage.contains("checksum"),
            "{damage}"
        );
        let mut before = 0;
        for len in (20..compressed.len()).step_by(compressed.len() / 20) {
            let (given, _) = read(&compressed[..len]);
            let all = whole.records.iter().cycle();
            assert!(
                given
                    .records
                    .iter()
                    .zip(all)
                    .all(|(one, other)| one == other)
            );
            assert!(given.records.len() >= before);
            before = given.records.len();
            let damage = given.damage.expect("it is cut");
            assert!(damage.contains("cut short"), "{damage}");
        }
        assert!(before > 2000, "{before}");
    }
}

/// A frame whose header claims a window of 2 GiB (RFC 8878, 3.1.1.1.2), and one raw block.
#[test]
fn a_zstd_window_that_is_too_large_is_refused() {
    let bytes = b"\x28\xb5\x2f\xfd\x00\xa8\x21\x00\x00abcd";
    let damage = feed(bytes, bytes.len()).damage.unwrap();
    assert!(damage.contains("needs more memory"), "{damage}");
}

#[test]
fn a_compression_that_is_not_read_is_named() {
    for (name, compression) in [
        ("odd/own.pcapng.bz2", "bzip2"),
        ("odd/own.pcapng.lz4", "lz4"),
    ] {
        let Err(OpenError::Compressed(foreign)) = Savefile::open(Cursor::new(fixture(name))) else {
            panic!("{name}")
        };
        assert_eq!(foreign.name, compression);
    }
}

// ---- pcapng that is odd ----

/// Writes pcapng in one byte order.
#[derive(Clone, Copy, Debug)]
struct Order {
    is_big: bool,
}

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = self.u32(u32::try_from(body.len() + 12).unwrap());
        [&self.u32(kind)[..], &len, &body, &len].concat()
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let len = self.u16(u16::try_from(value.len()).unwrap());
        let mut option = [&self.u16(code)[..], &len, value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn options(self, options: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let options = options.iter();
        options
            .flat_map(|(code, value)| self.option(*code, value))
            .collect()
    }
}

/// A block behind the interfaces.
#[derive(Clone, Debug)]
enum Odd {
    Enhanced(u32, Vec<u8>, Vec<(u16, Vec<u8>)>),
    Obsolete(u16, Vec<u8>, Vec<(u16, Vec<u8>)>),
    Simple(Vec<u8>),
    Statistics(u32, Vec<u8>),
    Unknown(u32, Vec<u8>),
    /// An unknown block of so many bytes.
    Huge(usize),
}

#[derive(Clone, Debug)]
struct OddSection {
    order: Order,
    interfaces: Vec<Vec<(u16, Vec<u8>)>>,
    blocks: Vec<Odd>,
}

fn odd_options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let value = prop_oneof![
        4 => vec(any::<u8>(), 0..12),
        1 => Just(b"caf\xe9".to_vec()),
        1 => vec(any::<u8>(), 300..400),
    ];
    vec((1_u16..20, value), 0..5)
}

fn odd_block() -> impl Strategy<Value = Odd> {
    let data = || vec(any::<u8>(), 0..60);
    prop_oneof![
        4 => (0..4_u32, data(), odd_options()).prop_map(|(at, data, options)| Odd::Enhanced(at, data, options)),
        1 => (0..4_u16, data(), odd_options()).prop_map(|(at, data, options)| Odd::Obsolete(at, data, options)),
        1 => data().prop_map(Odd::Simple),
        1 => (any::<u32>(), data()).prop_map(|(at, data)| Odd::Statistics(at, data)),
        1 => (select(vec![0, 4, 7, 10, 0xbad, 0x8000_0001]), data()).prop_map(|(kind, data)| Odd::Unknown(kind, data)),
        1 => (60_000..9_000_000_usize).prop_map(Odd::Huge),
    ]
}

fn odd_section() -> impl Strategy<Value = OddSection> {
    (
        any::<bool>(),
        vec(odd_options(), 0..4),
        vec(odd_block(), 0..6),
    )
        .prop_map(|(is_big, interfaces, blocks)| OddSection {
            order: Order { is_big },
            interfaces,
            blocks,
        })
}

impl OddSection {
    fn write(&self, file: &mut Vec<u8>) {
        let order = self.order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend([0xff; 8]);
        body.extend(order.option(4, b"caf\xe9"));
        file.extend(order.block(0x0a0d_0d0a, &body));
        for options in &self.interfaces {
            let mut body = [order.u16(1), order.u16(0)].concat();
            body.extend(order.u32(0));
            body.extend(order.options(options));
            file.extend(order.block(1, &body));
        }
        for block in &self.blocks {
            self.write_block(block, file);
        }
    }

    fn write_block(&self, block: &Odd, file: &mut Vec<u8>) {
        let order = self.order;
        let packet = |before: &[u8], data: &[u8], options: &[(u16, Vec<u8>)]| {
            let mut body = before.to_vec();
            let len = order.u32(u32::try_from(data.len()).unwrap());
            body.extend([[0; 4], order.u32(7), len, len].concat());
            body.extend(data);
            body.resize(body.len().next_multiple_of(4), 0);
            body.extend(order.options(options));
            body
        };
        file.extend(match block {
            Odd::Enhanced(at, data, options) => {
                order.block(6, &packet(&order.u32(*at), data, options))
            }
            Odd::Obsolete(at, data, options) => {
                let before = [order.u16(*at), order.u16(0)].concat();
                order.block(2, &packet(&before, data, options))
            }
            Odd::Simple(data) => {
                let len = order.u32(u32::try_from(data.len()).unwrap());
                order.block(3, &[&len[..], data].concat())
            }
            Odd::Statistics(at, data) => {
                order.block(5, &[&order.u32(*at)[..], &[0; 8], data].concat())
            }
            Odd::Unknown(kind, data) => order.block(*kind, data),
            Odd::Huge(len) => order.block(0xbad, &vec![0; *len]),
        });
    }

    /// Packets of interfaces that are there, and of others.
    fn packets(&self) -> (usize, u64) {
        let count = self.interfaces.len();
        let packets = self.blocks.iter().filter_map(|block| match block {
            Odd::Enhanced(at, ..) => Some(*at as usize),
            Odd::Obsolete(at, ..) => Some(usize::from(*at)),
            Odd::Simple(_) => Some(0),
            _ => None,
        });
        let (there, missing): (Vec<_>, Vec<_>) = packets.partition(|at| *at < count);
        (there.len(), missing.len() as u64)
    }

    fn others(&self) -> u64 {
        let others = self.blocks.iter();
        others
            .filter(|block| matches!(block, Odd::Unknown(..) | Odd::Huge(_)))
            .count() as u64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_packet_of_an_odd_file_is_read(sections in vec(odd_section(), 1..4)) {
        let mut file = Vec::new();
        let (mut packets, mut missing, mut others) = (0, 0, 0);
        for section in &sections {
            section.write(&mut file);
            let (there, not_there) = section.packets();
            packets += there;
            missing += not_there;
            others += section.others();
        }
        let (given, remarks) = read(&file);
        prop_assert_eq!(given.damage, None);
        prop_assert_eq!(given.records.len(), packets);
        prop_assert_eq!(remarks.unreadable_packets, missing);
        prop_assert_eq!(remarks.skipped_blocks, others);
    }
}

#[test]
fn an_option_beyond_its_block_costs_nothing_but_itself() {
    let order = Order { is_big: false };
    let mut file = Vec::new();
    let section = OddSection {
        order,
        interfaces: vec![vec![(9, vec![9, 9])]],
        blocks: vec![Odd::Enhanced(0, vec![1, 2, 3], vec![(2, vec![1])])],
    };
    section.write(&mut file);
    // One more packet, whose comment says to be longer than the block.
    let mut body = vec![0; 20];
    body.extend([1, 0, 0xff, 0, b'x', 0, 0, 0]);
    file.extend(order.block(6, &body));
    let (given, remarks) = read(&file);
    assert_eq!((given.records.len(), given.damage), (2, None));
    assert_eq!(remarks.skipped_options, 3);
}

#[test]
fn a_packet_block_of_many_megabytes_is_read_as_far_as_its_comments_are_looked_at() {
    let order = Order { is_big: false };
    let mut file = Vec::new();
    let comment = (1, vec![b'x'; 60_000]);
    let section = OddSection {
        order,
        interfaces: vec![vec![]],
        blocks: vec![
            Odd::Enhanced(0, vec![1, 2, 3], vec![comment; 400]),
            Odd::Enhanced(0, vec![4], vec![]),
        ],
    };
    section.write(&mut file);
    assert!(file.len() > 24_000_000);
    let (given, remarks) = read(&file);
    assert_eq!((given.records.len(), given.damage), (2, None));
    assert_eq!(remarks.skipped_options, 1);
}

// ---- Netlink messages that are cut ----

/// The records of a pcap file: header and bytes.
fn records(file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let captured = u32::from_le_bytes(rest[8..12].try_into().unwrap());
        let (record, behind) = rest.split_at(16 + captured as usize);
        records.push(record);
        rest = behind;
    }
    records
}

/// A record cut to so many bytes; `original` is the length that it says to have had.
fn cut(record: &[u8], len: usize, original: usize) -> Vec<u8> {
    let mut cut = record[..16 + len].to_vec();
    cut[8..12].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
    cut[12..16].copy_from_slice(&u32::try_from(original).unwrap().to_le_bytes());
    cut
}

#[test]
fn a_list_of_families_that_is_cut_is_no_damage() {
    let file = fixture("odd/host1.pcap");
    let all = records(&file);
    let (first, drops) = all.split_first().unwrap();
    let (expected, _) = read(&file);
    assert_eq!(expected.records.len(), 107);
    let whole = first.len() - 16;
    for len in (40..whole).step_by(37) {
        // As the C tool says it, and as a snapshot length would.
        for original in [len, whole] {
            let first = cut(first, len, original);
            let file = [&file[..24], &first, &drops.concat()].concat();
            let (given, remarks) = read(&file);
            assert_eq!(given, expected, "cut to {len}");
            assert_eq!(remarks.damaged_messages, 0, "cut to {len}");
        }
    }
}

#[test]
fn an_alert_that_is_cut_tells_what_is_there() {
    let file = fixture("odd/host1.pcap");
    let all = records(&file);
    // Where the payload begins, by its attribute's header, differs; the last 20 bytes are of it.
    let alert = all[1];
    let whole = alert.len() - 16;
    let show = |len: usize, original: usize| {
        let alert = cut(alert, len, original);
        let file = [&file[..24], all[0], &alert].concat();
        let mut shown = Vec::new();
        let mut file = Savefile::open(Cursor::new(file)).unwrap();
        let _ = file.for_each(|record| {
            shown.push((
                format!("{:?} {:?} {:?}", record.time, record.cause, record.input),
                record.original_len,
                record.data.len(),
            ));
            ControlFlow::<()>::Continue(())
        });
        (shown, file.remarks().damaged_messages)
    };
    let (whole_alert, damaged) = show(whole, whole);
    let [(facts, length, captured)] = &whole_alert[..] else {
        panic!("{whole_alert:?}")
    };
    assert_eq!(damaged, 0);
    for missing in 4..20 {
        let (shown, damaged) = show(whole - missing, whole);
        let [(found, found_length, found_captured)] = &shown[..] else {
            panic!("{shown:?}")
        };
        assert_eq!((found, found_length, damaged), (facts, length, 0));
        assert!(found_captured < captured && found_captured + missing >= *captured);
        // Without a snapshot length it is damage.
        assert_eq!(show(whole - missing, whole - missing), (vec![], 1));
    }
    // Cut before its facts are all there: what there is, and that it is not all.
    let (shown, damaged) = show(100, whole);
    assert_eq!((shown.len(), damaged), (1, 1));
    // Too little for anything.
    assert_eq!(show(30, whole), (vec![], 1));
}
