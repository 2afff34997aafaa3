//! Golden runs: the real program on the captures in `fixtures`, and all that it says and writes.
//!
//! One line a case; what is expected stands in `tests/golden/NAME.out`. After a change that is
//! meant, `UPDATE_GOLDEN=1 cargo test --test golden` writes them anew: review the difference.
//! Capture files are shown as text, by readers that are not the program's.

mod cases;
mod dump;
#[path = "../oracle/pcap.rs"]
mod pcap;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cases::CASES;

/// The cases in which the program starts a process, which it refuses to do while it has several threads.
const STARTING_PROCESSES: [&str; 1] = ["ring-of-files"];

#[test]
fn the_program_says_and_writes_what_it_used_to() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = String::new();
    for (name, arguments) in CASES {
        if big_endian_program().is_some() && STARTING_PROCESSES.contains(name) {
            // Not by eprintln!, whose text a passing test does not show.
            writeln!(
                io::stderr(),
                "left out: {name} (starts a process, beside a thread of QEMU's own)"
            )
            .unwrap();
            continue;
        }
        let found = run(arguments);
        let path = of_this_build(name);
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if found == expected {
            continue;
        }
        if update {
            std::fs::write(&path, &found).unwrap();
        } else {
            writeln!(differences, "\n{name}:\n{}", difference(&expected, &found)).unwrap();
        }
    }
    assert!(
        differences.is_empty(),
        "{differences}\nif this is meant: UPDATE_GOLDEN=1 cargo test --test golden"
    );
}

#[test]
fn every_golden_file_belongs_to_a_case() {
    let cases: BTreeSet<PathBuf> = CASES.iter().map(|(name, _)| golden(name)).collect();
    assert_eq!(cases.len(), CASES.len(), "a name is there twice");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_golden = path.extension().is_some_and(|extension| extension == "out");
        assert!(!is_golden || cases.contains(&path), "{path:?} has no case");
    }
}

#[test]
fn every_made_capture_has_a_case() {
    for folder in ["fixtures/made", "fixtures/odd"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let word = format!("{folder}/{name}");
            let is_used = |arguments: &str| arguments.split(' ').any(|other| other == word);
            assert!(
                CASES.iter().any(|(_, arguments)| is_used(arguments)),
                "{name}"
            );
        }
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.out"))
}

/// A build without source lines says so where they are asked for; a big-endian kernel gets other filters.
fn of_this_build(name: &str) -> PathBuf {
    let usual = golden(name);
    let folder = if big_endian_program().is_some() {
        "big-endian"
    } else if cfg!(feature = "source-lines") {
        return usual;
    } else {
        "without-source-lines"
    };
    let special = usual.with_file_name(format!("{folder}/{name}.out"));
    if special.exists() { special } else { usual }
}

/// The command that `tests/big_endian/run` gives, of a program that was built for a big-endian machine.
fn big_endian_program() -> Option<String> {
    std::env::var("DWDUMP_BIG_ENDIAN").ok()
}

fn program() -> Command {
    let Some(words) = big_endian_program() else {
        return Command::new(env!("CARGO_BIN_EXE_dwdump"));
    };
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// Leaves out what `-v` says about the rights that are given up: that depends on the user and the kernel.
fn without_rights(stderr: &[u8]) -> Vec<u8> {
    const RIGHTS: [&str; 6] = [
        "dwdump: with ",
        "dwdump: going on as ",
        "dwdump: sandbox: ",
        "dwdump: this kernel",
        "dwdump: files are not confined",
        "dwdump: system calls are not confined",
    ];
    let lines = stderr.split_inclusive(|&byte| byte == b'\n');
    let others = lines.filter(|line| {
        !RIGHTS
            .iter()
            .any(|start| line.starts_with(start.as_bytes()))
    });
    others.flatten().copied().collect()
}

/// Runs the program in a folder of its own. All that comes out of it, as text.
fn run(arguments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::os::unix::fs::symlink(&fixtures, folder.path().join("fixtures")).unwrap();
    let own = folder.path().join("own.pcapng");
    std::fs::copy(fixtures.join("made/own.pcapng"), &own).unwrap();

    let output = program()
        .args(arguments.split(' '))
        .current_dir(folder.path())
        .env("TZ", "UTC")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = format!("$ dwdump {arguments}\n");
    section(&mut text, "standard output", &output.stdout);
    section(&mut text, "standard error", &without_rights(&output.stderr));

    assert_eq!(
        std::fs::read(&own).unwrap(),
        std::fs::read(fixtures.join("made/own.pcapng")).unwrap(),
        "{arguments}: the input was changed"
    );
    let names = std::fs::read_dir(folder.path()).unwrap();
    let names: BTreeSet<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    for name in names {
        let name = name.to_str().unwrap();
        if name != "fixtures" && name != "own.pcapng" {
            let bytes = std::fs::read(folder.path().join(name)).unwrap();
            section(&mut text, name, &bytes);
        }
    }
    match output.status.code() {
        Some(code) => writeln!(text, "--- exit status {code}").unwrap(),
        None => writeln!(text, "--- {}", output.status).unwrap(),
    }
    text.replace(
        concat!("dwdump ", env!("CARGO_PKG_VERSION")),
        "dwdump VERSION",
    )
}

/// Left out where there is nothing in it.
fn section(text: &mut String, title: &str, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    writeln!(text, "--- {title}").unwrap();
    match dump::capture(bytes) {
        Some(dump) => text.push_str(&dump),
        None => text.push_str(std::str::from_utf8(bytes).unwrap()),
    }
}

/// What stands between the lines that both begin with and those that both end with.
fn difference(expected: &str, found: &str) -> String {
    let [expected, found] = [expected, found].map(|text| text.lines().collect::<Vec<_>>());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let before = expected.iter().zip(&found).take_while(same).count();
    let [expected_rest, found_rest] = [&expected[before..], &found[before..]];
    let pairs = expected_rest.iter().rev().zip(found_rest.iter().rev());
    let behind = pairs.take_while(same).count();
    let mut text = String::new();
    for (sign, lines) in [("-", expected_rest), ("+", found_rest)] {
        for line in &lines[..lines.len() - behind] {
            writeln!(text, "{:>5} {sign} {line}", before + 1).unwrap();
        }
    }
    text
}
