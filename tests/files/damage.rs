//! No bytes panic the reader, and a cut file gives what is before the cut.

use std::io::{self, Cursor};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dwdump::record::LinkType;
use dwdump::sink::{
    Detail, Ending, JsonSink, Linking, NetlinkSink, PcapSink, PcapngSink, Sink, TextSink, TextStyle,
};
use dwdump::source::savefile::{Damage, OpenError, Savefile};
use pcap_parser::{Block, parse_block_le};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Reads a file to its end, writing all of it in every format into nowhere. The number of records,
/// and the damage.
fn exercise(bytes: &[u8]) -> (u64, Option<Damage>) {
    let mut file = match Savefile::open(Cursor::new(bytes)) {
        Ok(file) => file,
        Err(OpenError::Damaged(damage)) => return (0, Some(damage)),
        Err(_) => return (0, None),
    };
    let host = file.findings().host.clone();
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
    let mut ending = Ending::default();
    ending.loss = file.findings().loss;
    ending.period = file.findings().period;
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
