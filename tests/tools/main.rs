//! Our files in the tools that people have: tshark, tcpdump, capinfos, editcap, mergecap. A tool
//! that is not there fails its tests. What they ought to show is taken from the kernel's messages
//! in the fixtures, by the oracle.
//!
//! Not part of a plain `cargo test`: `cargo test --test tools`.

mod json;
mod others;
#[path = "../oracle/pcap.rs"]
mod pcap;
mod rings;
mod tshark;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pcap::{Message, number};
use tempfile::TempDir;

/// Captures of every kind of drop.
const CAPTURES: [&str; 6] = [
    "software-6.1",
    "software-6.12",
    "hardware-6.12",
    "made/little-endian",
    "made/links",
    "made/no-reason",
];

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: it has to be installed"))
}

/// What a tool prints; it has to succeed.
#[track_caller]
fn output(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program. The packets that it kept and those that it left out of the file.
#[track_caller]
fn dwdump(arguments: &[&str]) -> (usize, usize) {
    let output = run(env!("CARGO_BIN_EXE_dwdump"), arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {error}");
    let count = |what: &str| {
        let line = error.lines().find(|line| line.contains(what))?;
        line.split(' ').next()?.parse::<usize>().ok()
    };
    let kept = count(" kept").unwrap();
    (kept, count(" left out, because link type").unwrap_or(0))
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    path.join(format!("{name}.pcap"))
        .to_str()
        .unwrap()
        .to_owned()
}

/// A folder, and files in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A fixture, converted.
    #[track_caller]
    fn convert(&self, fixture_name: &str, name: &str, options: &[&str]) -> (String, usize, usize) {
        let (input, path) = (fixture(fixture_name), self.file(name));
        let (kept, left_out) = dwdump(&[&["-r", &input, "-w", &path], options].concat());
        (path, kept, left_out)
    }
}

/// The fields that tshark shows of every packet that the filter selects.
#[track_caller]
fn fields(path: &str, filter: &str, names: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = vec![
        "-r",
        path,
        "-T",
        "fields",
        "-E",
        "separator=/t",
        "-E",
        "aggregator=|",
    ];
    if !filter.is_empty() {
        arguments.extend(["-Y", filter]);
    }
    for name in names {
        arguments.extend(["-e", name]);
    }
    let text = output("tshark", &arguments);
    let lines = text.lines();
    lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// The packet alerts of a capture.
fn alerts(name: &str) -> Vec<Message> {
    let capture = pcap::pcap(&std::fs::read(fixture(name)).unwrap());
    assert_eq!(capture.link, 253);
    let is_big_endian = capture.is_big_endian;
    let records = capture.records.iter();
    let messages = records.flat_map(|record| pcap::messages(&record.data, is_big_endian));
    let alerts = messages.filter(|message| message.kind > 16 && message.command == 5);
    alerts.collect()
}

fn get(attributes: &[(u16, Vec<u8>)], kind: u16) -> Option<&[u8]> {
    let found = attributes.iter().find(|(other, _)| *other == kind);
    found.map(|(_, value)| value.as_slice())
}

/// What tshark has to show of a drop.
struct Expected {
    time: String,
    len: String,
    captured: String,
    interface: String,
    description: String,
    flags: &'static str,
    comments: Vec<String>,
    payload: Vec<u8>,
}

// NET_DM_ATTR_ of linux/net_dropmon.h.
impl Expected {
    fn new(alert: &Message) -> Self {
        let value = |kind| get(&alert.attributes, kind);
        let unsigned = |kind| value(kind).map(|bytes| number(bytes, false));
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).unwrap();
            text.strip_suffix('\0').unwrap().to_owned()
        };
        let mut comments = Vec::new();
        let mut comment = |key: &str, text: Option<String>| {
            comments.extend(text.map(|text| format!("{key}: {text}")));
        };
        comment("reason", value(23).map(text));
        comment("location", value(3).map(text));
        comment("pc", unsigned(2).map(|pc| format!("0x{pc:016x}")));
        comment("trap", value(16).map(text));
        comment("trap_group", value(15).map(text));
        comment("cookie", value(22).map(pcap::hex));
        let time = unsigned(5).unwrap();
        let port = pcap::attributes(value(4).unwrap_or_default(), false);
        let index = get(&port, 0).map(|bytes| number(bytes, false));
        let origin = match unsigned(14).unwrap() {
            0 => "software",
            _ => "hardware",
        };
        let payload = value(7).unwrap_or_default().to_vec();
        Self {
            time: format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000),
            len: unsigned(10).unwrap().to_string(),
            captured: payload.len().to_string(),
            interface: match (get(&port, 1), index) {
                (Some(name), _) => text(name),
                (None, Some(index)) => format!("if{index}"),
                (None, None) => "local".into(),
            },
            description: match index {
                Some(index) => format!("ifindex {index}, {origin}"),
                None => format!("locally generated, {origin}"),
            },
            flags: if port.is_empty() {
                "0x00000002"
            } else {
                "0x00000001"
            },
            comments,
            payload,
        }
    }
}
