//! Netlink messages that are cut.

use std::io::Cursor;
use std::ops::ControlFlow;

use dwdump::source::savefile::Savefile;

use crate::{fixture, read};

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
            let (given, findings) = read(&file);
            assert_eq!(given, expected, "cut to {len}");
            assert_eq!(findings.left_out.damaged_messages, 0, "cut to {len}");
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
        (shown, file.findings().left_out.damaged_messages)
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
