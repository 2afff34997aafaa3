//! The reader of capture files, fed in pieces: compressed files, cut and damaged ones, and pcapng as no careful
//! program writes it.

mod compressed;
mod cut;
mod odd;

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;

use dwdump::record::DropRecord;
use dwdump::source::NotPackets;
use dwdump::source::savefile::{Findings, Progress, Reader, Savefile};

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
fn read(bytes: &[u8]) -> (Given, Findings) {
    let mut given = Given::default();
    let mut file = match Savefile::open(Cursor::new(bytes)) {
        Ok(file) => file,
        Err(error) => {
            given.damage = Some(error.to_string());
            return (given, Findings::default());
        }
    };
    let flow = file.for_each(|record| {
        given.records.push(shown(record));
        ControlFlow::<()>::Continue(())
    });
    given.damage = flow.err().map(|damage| damage.to_string());
    (given, file.findings().clone())
}

#[test]
fn netlink_messages_of_either_byte_order_tell_the_same() {
    let (little, _) = read(&fixture("made/little-endian.pcap"));
    assert_eq!((little.records.len(), &little.damage), (2, &None));
    // In a big-endian file, and in a little-endian one into which they were copied.
    for name in ["made/big-endian.pcap", "made/rewritten.pcap"] {
        assert_eq!(read(&fixture(name)).0, little, "{name}");
    }
    // Two sections, the second one big-endian, and a packet between them.
    let (sections, _) = read(&fixture("made/netlink.pcapng"));
    assert_eq!(sections.records.len(), 5);
    assert_eq!(sections.records[..2], little.records);
    assert_eq!(sections.records[3..], little.records);
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
