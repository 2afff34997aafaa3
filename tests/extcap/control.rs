//! Control pipes: what is said goes to Wireshark's window.

use super::{dwdump, make_fifo, reader, run, text};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The packets in some bytes: control, command, text.
fn packets(mut bytes: &[u8]) -> Vec<(u8, u8, String)> {
    let mut found = Vec::new();
    while let [b'T', a, b, c, control, command, rest @ ..] = bytes {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize - 2;
        found.push((*control, *command, text(&rest[..len]).to_owned()));
        bytes = &rest[len..];
    }
    assert_eq!(bytes, b"");
    found
}

/// Starts a capture that cannot begin, since it names no host, with both control pipes.
fn capture_nowhere(fifo: &Path, input: &Path, output: &Path) -> Output {
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    run(&[
        "--capture",
        "--extcap-interface=drops-ssh",
        "--fifo",
        &path(fifo),
        "--extcap-control-in",
        &path(input),
        "--extcap-control-out",
        &path(output),
    ])
}

#[test]
fn an_error_is_shown_in_the_window_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [fifo, input, output] = ["fifo", "in", "out"].map(|name| folder.path().join(name));
    for path in [&fifo, &input, &output] {
        make_fifo(path);
    }
    let mut window = reader(&output);
    // Wireshark opens its end as soon as somebody has the other.
    let toolbar = input.clone();
    let toolbar = std::thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(toolbar).unwrap();
        pipe.write_all(b"T\0\0\x02\0\0").unwrap();
    });
    let done = capture_nowhere(&fifo, &input, &output);
    toolbar.join().unwrap();
    assert_eq!(text(&done.stderr), "");
    assert_eq!(done.status.code(), Some(2));
    let mut bytes = Vec::new();
    window.read_to_end(&mut bytes).unwrap();
    let [(0, 2, log), (0, 9, error)] = &packets(&bytes)[..] else {
        panic!("{bytes:?}");
    };
    assert!(
        error.starts_with("dwdump: no host to capture on\nhint: "),
        "{error}"
    );
    assert_eq!(*log, format!("{error}\n"));
}

#[test]
fn a_window_that_never_opens_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let [fifo, input, output] = ["fifo", "in", "out"].map(|name| folder.path().join(name));
    for path in [&fifo, &input, &output] {
        make_fifo(path);
    }
    let start = Instant::now();
    let done = capture_nowhere(&fifo, &input, &output);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(text(&done.stderr).starts_with("dwdump: no host to capture on\n"));
}

/// At the end of the FIFO dumpcap ends, and Wireshark ends its capture interfaces.
#[test]
fn an_error_is_written_before_the_fifo_ends() {
    let folder = tempfile::tempdir().unwrap();
    let [fifo, input, output] = ["fifo", "in", "out"].map(|name| folder.path().join(name));
    for path in [&fifo, &input, &output] {
        make_fifo(path);
    }
    let mut command = dwdump(&["--capture", "--extcap-interface=drops-ssh"]);
    command.arg("--fifo").arg(&fifo);
    command.arg("--extcap-control-in").arg(&input);
    command.arg("--extcap-control-out").arg(&output);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // Returns when the FIFO has a writer.
    assert_eq!(File::open(&fifo).unwrap().read(&mut [0]).unwrap(), 0);
    let mut stderr = child.stderr.take().unwrap();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ready, PollTimeout::ZERO).unwrap(), 1);
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(
        said.starts_with("dwdump: no host to capture on\n"),
        "{said}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
