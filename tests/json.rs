//! `--json`: every line of every capture is what the schema says.

use std::path::Path;
use std::process::Command;

use dwdump::record::Fact;
use serde_json::Value;

fn captures() -> Vec<String> {
    ["fixtures", "fixtures/made"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("pcap" | "pcapng"))
        })
        .map(|path| path.to_str().unwrap().to_owned())
        .collect()
}

fn objects(path: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(["-r", path, "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_object_is_what_the_schema_says() {
    let schema = std::fs::read_to_string(Path::new("fixtures/drop.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (mut count, mut seen) = (0, std::collections::BTreeSet::new());
    for path in captures() {
        for object in objects(&path) {
            if let Some(error) = validator.iter_errors(&object).next() {
                panic!("{path}: {error} in {object}");
            }
            seen.extend(object.as_object().unwrap().keys().cloned());
            count += 1;
        }
    }
    assert!(count > 700, "{count}");
    // Nothing of the schema is there for show.
    let known = schema["properties"].as_object().unwrap().keys();
    // Source lines need debug information, and causes a look at a host, which no test of this file has.
    let is_in_captures = |key: &&String| !key.ends_with("source") && *key != "why";
    let known: Vec<&String> = known.filter(is_in_captures).collect();
    assert_eq!(
        seen.iter().collect::<Vec<_>>().len(),
        known.len(),
        "{seen:?}"
    );
    // And the schema refuses what is not one of ours.
    let mut object = objects("fixtures/software-6.12.pcap").swap_remove(0);
    object["sport"] = "53".into();
    assert!(!validator.is_valid(&object));
}

/// What the schema says of the facts: a line each, between the time and the length.
fn schema_of_facts() -> String {
    let lines = Fact::ALL.iter().map(|fact| {
        let (about, schema) = (fact.about(), fact.kind().schema());
        let what = serde_json::to_string(about.what).unwrap();
        format!(
            "    \"{}\": {{ \"description\": {what}, {schema} }},\n",
            about.name
        )
    });
    lines.collect()
}

#[test]
fn the_schema_says_of_the_facts_what_their_description_says() {
    let path = Path::new("fixtures/drop.schema.json");
    let schema = std::fs::read_to_string(path).unwrap();
    let (head, rest) = schema.split_once("    \"origin\":").unwrap();
    let (_, tail) = rest.split_once("    \"length\":").unwrap();
    let wanted = format!("{head}{}    \"length\":{tail}", schema_of_facts());
    if schema != wanted {
        std::fs::write(path, wanted).unwrap();
        panic!(
            "{} was stale and is rewritten: look at the difference",
            path.display()
        );
    }
}

#[test]
fn a_drop_is_described_field_by_field() {
    let objects = objects("fixtures/software-6.12.pcap");
    let gre = objects
        .iter()
        .find(|object| object["module"] == "gre")
        .unwrap();
    let expected = serde_json::json!({
        "time": "2026-11-21T21:47:05.214240586Z",
        "origin": "software",
        "reason": "NOT_SPECIFIED",
        "location": "gre_rcv+0x41/0xb0 [gre]",
        "module": "gre",
        "pc": "0xffffffffc05361a1",
        "ifindex": 5,
        "link": "ethernet",
        "proto": "0x0800",
        "length": 70,
        "captured": 70,
        "src": "10.10.2.4",
        "dst": "10.10.2.2",
        "transport": "gre",
        "fault": { "layer": "gre", "field": "version", "value": 7, "at_most": 1 },
        "meaning": dwdump::reason::explain_function(b"gre_rcv").unwrap().meaning,
    });
    assert_eq!(*gre, expected);
}
