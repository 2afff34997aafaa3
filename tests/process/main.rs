//! The program as a process: pipes that close, disks that are full, streams that are missing, files
//! that it creates, signals.

mod created;
mod rings;
mod signals;
mod streams;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The program, with the usual dispositions of all signals: under nohup, the tests themselves have
/// SIGHUP ignored.
fn dwdump() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", env!("CARGO_BIN_EXE_dwdump")]);
    command.env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// A line for a shell, in which `$dwdump` is the program, `$big` a capture that fills any pipe's
/// buffer many times over, `$small` a capture of a few packets, and
/// `$no_packets` one of what never was a packet.
fn shell(line: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let big = folder.path().join("big.pcap");
    std::fs::write(&big, big_capture()).unwrap();
    Command::new("sh")
        .args(["-c", line])
        .current_dir(folder.path())
        .env("dwdump", env!("CARGO_BIN_EXE_dwdump"))
        .env("big", &big)
        .env("small", fixture("made/own.pcapng"))
        .env("no_packets", fixture("made/no-packets.pcap"))
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A recorded capture, twenty times.
fn big_capture() -> Vec<u8> {
    let once = std::fs::read(fixture("hardware-6.12.pcap")).unwrap();
    let (header, records) = once.split_at(24);
    [header, &records.repeat(20)].concat()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn check_status(output: &Output, code: i32) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(!error.contains("panicked"), "{error}");
}
