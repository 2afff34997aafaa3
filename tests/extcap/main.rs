//! The program as Wireshark and tshark start it, by the extcap protocol. What the calls that only ask
//! get is in `tests/golden`; captures of this host's drops are in `tests/guest`.

mod control;
mod remote;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

/// What the issue of a call that Wireshark makes at each start may take.
const DISCOVERY: Duration = Duration::from_millis(20);
/// A slow machine is given this long for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, with the usual dispositions of all signals.
fn dwdump(arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", env!("CARGO_BIN_EXE_dwdump")]);
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    dwdump(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
}

/// The end of a FIFO that dumpcap has.
fn reader(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_NONBLOCK);
    options.open(path).unwrap()
}

/// Reads until so many bytes have come.
fn read(reader: &mut File, len: usize) -> Vec<u8> {
    let (mut found, mut bytes) = (Vec::new(), [0; 4096]);
    wait_until("the bytes", || {
        if let Ok(len) = reader.read(&mut bytes) {
            found.extend(&bytes[..len]);
        }
        found.len() >= len
    });
    found
}

fn wait_until(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_filter_is_checked_in_one_line_and_with_status_0() {
    let check = |filter| {
        let output = run(&[
            "--extcap-capture-filter",
            filter,
            "--extcap-interface",
            "drops",
        ]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout).to_owned()
    };
    assert_eq!(check("saddr 10.10.2.4 and reason NETFILTER_DROP"), "");
    assert_eq!(
        check("tcp and port 70000"),
        "invalid filter: expected a port number from 0 to 65535, at column 14 (70000)\n"
    );
}

#[test]
fn a_capture_refuses_a_filter_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    make_fifo(&fifo);
    for interface in ["drops", "drops-ssh"] {
        let output = run(&[
            "--capture",
            "--extcap-interface",
            interface,
            "--fifo",
            fifo.to_str().unwrap(),
            "--extcap-capture-filter",
            "tcp and port 70000",
        ]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            text(&output.stderr),
            "dwdump: invalid filter: expected a port number from 0 to 65535, at column 14 (70000)\n"
        );
    }
}

/// dumpcap would wait for ever for a writer that never was.
#[test]
fn a_capture_that_fails_ends_its_fifo() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    make_fifo(&fifo);
    let path = fifo.clone();
    let reader = std::thread::spawn(move || std::fs::read(path).unwrap());
    let fifo = fifo.to_str().unwrap();
    run(&[
        "--capture",
        "--extcap-interface=drops",
        "--fifo",
        fifo,
        "--extcap-capture-filter=port",
    ]);
    assert_eq!(reader.join().unwrap(), b"");
}

#[test]
fn a_fifo_that_is_gone_does_not_become_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let output = run(&[
        "--capture",
        "--extcap-interface=drops",
        "--fifo",
        fifo.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("dwdump: there is no FIFO "));
    assert!(!fifo.exists());
}

/// The best of several runs: others use the machine, too.
#[test]
fn the_calls_at_wiresharks_start_are_quick() {
    for call in [
        &["--extcap-interfaces", "--extcap-version=4.0"][..],
        &["--extcap-dlts", "--extcap-interface", "drops"],
        &["--extcap-config", "--extcap-interface", "drops"],
        &["--extcap-config", "--extcap-interface", "drops-ssh"],
    ] {
        let time = |_| {
            let start = Instant::now();
            let mut command = Command::new(env!("CARGO_BIN_EXE_dwdump"));
            let output = command.args(call).output().unwrap();
            assert!(output.status.success() && !output.stdout.is_empty());
            start.elapsed()
        };
        let best = (0..50).map(time).min().unwrap();
        assert!(best <= DISCOVERY, "{call:?} took {best:?}");
    }
}
