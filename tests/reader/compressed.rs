//! Compressed files, whole and cut.

use std::io::{Cursor, Write};

use dwdump::source::savefile::{OpenError, Savefile};

use crate::{feed, fixture, read};

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
