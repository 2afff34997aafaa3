//! `--summary` of files: the same counts as an independent decoder's, JSON as the schema says, and
//! memory that has a bound.

#[path = "oracle/pcap.rs"]
mod pcap;

use std::collections::BTreeMap;
use std::process::Command;

use dwdump::record::{Cause, DropRecord, Link, LinkType, Location, Name, Symbol, Timestamp};
use dwdump::summary::{Counted, GroupOrder, GroupedCounts, Grouping};
use serde_json::Value;

/// Runs dwdump on a file, and takes its lines and its talk.
fn dwdump(path: &str, options: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(["-r", path])
        .args(options)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

fn objects(path: &str, options: &[&str]) -> Vec<Value> {
    let (lines, _) = dwdump(path, &[options, &["--json"]].concat());
    let objects = lines.lines().map(serde_json::from_str);
    objects.collect::<Result<_, _>>().unwrap()
}

/// Drops by address or trap: what the messages of a file count, and its packets. An alert that
/// promises more than it has counts nothing.
fn counts(path: &str) -> BTreeMap<String, u64> {
    const ALERT: u8 = 1;
    const PACKET_ALERT: u8 = 5;
    let file = pcap::pcap(&std::fs::read(path).unwrap());
    let is_big = file.is_big_endian;
    let number = |bytes: &[u8]| pcap::number(bytes, is_big);
    let text = |bytes: &[u8]| {
        let text = bytes.strip_suffix(b"\0").unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    };
    let address = |bytes: &[u8]| format!("{:#018x}", number(bytes));
    let mut counts = BTreeMap::new();
    let mut count = |name, drops| *counts.entry(name).or_insert(0) += drops;
    for record in &file.records {
        for message in pcap::messages(&record.data, is_big) {
            let find = |kind: u16| {
                let mut found = message
                    .attributes
                    .iter()
                    .filter(|(found, _)| *found == kind);
                found.next().map(|(_, value)| value.clone())
            };
            if message.command == PACKET_ALERT {
                let name = find(16).map(|trap| text(&trap));
                count(name.unwrap_or_else(|| address(&find(2).unwrap())), 1);
            }
            if message.command != ALERT {
                continue;
            }
            if let Some(places) = find(0) {
                let (promised, places) = places.split_at(4);
                if places.len() as u64 == number(promised) * 12 {
                    for place in places.chunks(12) {
                        count(address(&place[..8]), number(&place[8..]));
                    }
                }
            }
            for (_, entry) in pcap::attributes(&find(17).unwrap_or_default(), is_big) {
                let entry: BTreeMap<_, _> = pcap::attributes(&entry, is_big).into_iter().collect();
                count(text(&entry[&16]), number(&entry[&19]));
            }
        }
    }
    counts
}

#[test]
fn an_independent_decoder_counts_the_same() {
    for (path, least) in [
        ("fixtures/summary-6.12.pcap", 4),
        ("fixtures/made/summary.pcap", 68),
        ("fixtures/software-6.1.pcap", 20),
        ("fixtures/software-6.12.pcap", 20),
        ("fixtures/hardware-6.12.pcap", 10),
    ] {
        let wanted = counts(path);
        assert!(wanted.len() >= least, "{path}: {}", wanted.len());
        let objects = objects(path, &["--summary"]);
        let [object] = &objects[..] else {
            panic!("{path}: a file is one interval")
        };
        let mut found = BTreeMap::new();
        for row in object["rows"].as_array().unwrap() {
            let name = row.get("pc").or_else(|| row.get("trap")).unwrap();
            // Places of one address whose symbols differ are two rows.
            *found.entry(name.as_str().unwrap().to_owned()).or_insert(0) +=
                row["drops"].as_u64().unwrap();
        }
        assert_eq!(found, wanted, "{path}");
        assert_eq!(object["total"].as_u64(), Some(wanted.values().sum()));
    }
}

#[test]
fn intervals_add_up_to_the_whole() {
    for options in [&["--summary=1"][..], &["--summary=0.1", "--by", "flow"]] {
        let path = "fixtures/software-6.12.pcap";
        let whole = &objects(
            path,
            &options[1..]
                .iter()
                .copied()
                .chain(["--summary"])
                .collect::<Vec<_>>(),
        )[0];
        let intervals = objects(path, options);
        assert!(intervals.len() > 1);
        let mut totals = BTreeMap::new();
        for row in intervals
            .iter()
            .flat_map(|interval| interval["rows"].as_array().unwrap())
        {
            *totals.entry(row["name"].clone().to_string()).or_insert(0) +=
                row["drops"].as_u64().unwrap();
        }
        for row in whole["rows"].as_array().unwrap() {
            assert_eq!(
                totals.remove(&row["name"].to_string()),
                row["drops"].as_u64()
            );
        }
        assert!(totals.is_empty());
        assert_eq!(intervals.last().unwrap()["total"], whole["total"]);
    }
}

/// A capture of UDP packets, one from each of so many addresses, then so many from one more.
fn flows(single: u32, heavy: usize) -> tempfile::NamedTempFile {
    // Version 2.4, LINKTYPE_RAW.
    let header = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 101];
    let mut file: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
    for source in (0..single).chain(std::iter::repeat_n(single, heavy)) {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend((0x0a00_0000 + source).to_be_bytes());
        packet.extend([192, 0, 2, 1, 0, 53, 0, 53, 0, 8, 0, 0]);
        file.extend([0, 0, 28, 28].into_iter().flat_map(u32::to_be_bytes));
        file.extend(packet);
    }
    let written = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(written.path(), file).unwrap();
    written
}

fn sum(rows: &[Value], field: &str) -> u64 {
    rows.iter().filter_map(|row| row[field].as_u64()).sum()
}

#[test]
fn the_busiest_row_of_a_file_is_shown_however_many_there_are() {
    let file = flows(10_000, 30_000);
    let path = file.path().to_str().unwrap();
    let object = &objects(path, &["--by", "flow"])[0];
    let rows = object["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 10_000);
    assert_eq!(rows[0]["src"], "10.0.39.16");
    for (field, wanted) in [("drops", 30_000), ("total", 30_000), ("error", 1)] {
        assert_eq!(rows[0][field], wanted, "{field}");
    }
    assert_eq!(object["other"], 1);
    assert_eq!(sum(rows, "drops") + 1, 40_000);
    let (lines, talk) = dwdump(path, &["--by", "flow", "--print"]);
    let busiest = "30000 drops of udp 10.0.39.16:53 > 192.0.2.1:53 (at most 1 more)\n";
    assert!(lines.starts_with(busiest), "{}", &lines[..200]);
    assert!(lines.ends_with("\n1 drops of other flows\n"));
    let counts = lines.lines().map(|line| line.split_once(' ').unwrap().0);
    let sum: u64 = counts.map(|count| count.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 40_000);
    assert!(talk.contains("40000 drops counted\n"), "{talk}");
    let others =
        "1 drop of other flows: only the 10000 flows with the most drops are counted one by one\n";
    assert!(talk.contains(others), "{talk}");
}

#[test]
fn as_many_rows_as_there_is_room_for_are_exact() {
    let file = flows(9_999, 3);
    let path = file.path().to_str().unwrap();
    let object = &objects(path, &["--by", "flow"])[0];
    let rows = object["rows"].as_array().unwrap();
    assert_eq!((rows.len(), sum(rows, "total")), (10_000, 10_002));
    assert!(rows.iter().all(|row| row.get("error").is_none()));
    assert_eq!(
        (&object["other"], &object["other_total"]),
        (&0.into(), &0.into())
    );
    let (_, talk) = dwdump(path, &["--by", "flow"]);
    assert!(!talk.contains("other flows"), "{talk}");
}

#[test]
fn the_filter_of_a_row_counts_the_row_alone() {
    for path in [
        "fixtures/summary-6.12.pcap",
        "fixtures/made/summary.pcap",
        "fixtures/made/links.pcap",
        "fixtures/made/names.pcap",
        "fixtures/made/plain.pcapng",
    ] {
        for by in ["location", "reason", "interface", "flow", "module"] {
            for object in objects(path, &["--by", by]) {
                for row in object["rows"].as_array().unwrap().iter().take(5) {
                    let filter = row["filter"].as_str().unwrap();
                    let alone = objects(path, &["--by", by, filter]);
                    let [alone] = &alone[..] else {
                        panic!("{path} by {by}: {filter} gives {alone:?}")
                    };
                    assert_eq!(alone["rows"], Value::from(vec![row.clone()]), "{path}");
                }
            }
        }
    }
}

#[test]
fn every_object_is_what_the_schema_says() {
    let schema = std::fs::read_to_string("fixtures/summary.schema.json").unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let many = flows(10_000, 2);
    for path in [
        many.path().to_str().unwrap(),
        "fixtures/summary-6.12.pcap",
        "fixtures/made/summary.pcap",
        "fixtures/software-6.12.pcap",
        "fixtures/hardware-6.12.pcap",
        "fixtures/made/names.pcap",
        "fixtures/made/links.pcap",
        "fixtures/made/plain.pcap",
        "fixtures/made/stacks.pcapng",
    ] {
        for by in ["location", "reason", "interface", "flow", "module", "stack"] {
            for object in objects(path, &["--by", by]) {
                if let Some(error) = validator.iter_errors(&object).next() {
                    panic!("{path} by {by}: {error} in {object}");
                }
                assert_eq!(object["by"], by);
                for row in object["rows"].as_array().unwrap() {
                    seen.extend(row.as_object().unwrap().keys().cloned());
                }
            }
        }
    }
    // Nothing of the schema is there for show.
    let known = &schema["properties"]["rows"]["items"]["properties"];
    let known = known.as_object().unwrap().keys().cloned().collect();
    assert_eq!(seen, known);
}

/// Most bytes that a counts holds while a million drops are counted, each of another key.
fn most_bytes(grouping: Grouping, locate: impl Fn(u32, &mut [u8]) -> Location<'_>) -> u64 {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 0, 53, 0, 8, 0, 0]);
    let mut name = vec![b'f'; 1024];
    let mut counts = GroupedCounts::new(grouping);
    let taken = allocation_counter::measure(|| {
        for number in 0..1_000_000u32 {
            // The source address.
            frame[26..30].copy_from_slice(&number.to_be_bytes());
            let location = locate(number, &mut name);
            let mut record = DropRecord::new(Link::known(LinkType::ETHERNET), &frame);
            record.time = Some(Timestamp(0));
            record.cause = Cause::Software {
                location,
                reason: Name::new(b"NO_SOCKET"),
            };
            record.original_len = 42;
            counts.count(&Counted::Packet(&record));
            if number % 50_000 == 0 {
                counts.end_interval();
            }
        }
    });
    assert!(counts.len() > 5000);
    assert_eq!(counts.sum().total, 1_000_000);
    let in_rows: u64 = counts
        .groups(GroupOrder::Total)
        .iter()
        .map(|(_, row)| row.total)
        .sum();
    assert_eq!(in_rows + counts.others().total, 1_000_000);
    taken.bytes_max
}

#[test]
fn a_million_keys_do_not_fill_the_memory() {
    let flows = most_bytes(Grouping::Flow, |_, _| Location::default());
    assert!(flows < 12_000_000, "{flows} bytes");
    // The longest names there are: no kernel has them, a hostile file may.
    let places = most_bytes(Grouping::Location, |number, name| {
        name[..10].copy_from_slice(format!("{number:010}").as_bytes());
        Location::new(Some(u64::from(number)), Name::new(name).map(Symbol))
    });
    assert!(places < 40_000_000, "{places} bytes");
}
