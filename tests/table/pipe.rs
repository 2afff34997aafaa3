//! Captures that come through a pipe while the table is shown.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::{reasons, terminal::Terminal, wait_for_selected};

/// A terminal whose table reads a pipe, and the pipe's other end.
fn piped(options: &str) -> (Terminal, std::fs::File, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let name = pipe.to_str().unwrap();
    let line = format!("exec $dwdump -r - {options} --utc <{name}");
    let terminal = Terminal::new(80, 24, &line);
    let writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    (terminal, writer, folder)
}

/// A capture's header, and its packets.
fn capture() -> (Vec<u8>, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/software-6.12.pcap");
    let bytes = std::fs::read(path).unwrap();
    let (header, packets) = bytes.split_at(24);
    (header.to_vec(), packets.to_vec())
}

#[test]
fn a_pipe_is_a_live_table() {
    let (mut terminal, mut pipe, folder) = piped("--summary=0.2");
    let (header, packets) = capture();
    pipe.write_all(&[header, packets.clone()].concat()).unwrap();
    terminal.wait_for("91 drops");
    terminal.wait_for("rate/s");
    // Interval by interval, and nothing comes any more.
    terminal.wait_for("91 drops, 0/s");
    pipe.write_all(&packets).unwrap();
    terminal.wait_for("182 drops");
    // Counting goes on behind a paused view.
    terminal.press_for(" ", "paused, still counting");
    pipe.write_all(&packets).unwrap();
    terminal.press_for("g", "by reason");
    let marked = folder.path().join("marked.pcapng");
    let name = marked.to_str().unwrap();
    terminal.press_for("j", "> ");
    wait_for_selected(&terminal, "NO_SOCKET");
    terminal.press_for("w", "write to:");
    terminal.press_for(&format!("\x15{name}\r"), "writing ");
    terminal.wait_for("182 drops");
    pipe.write_all(&packets).unwrap();
    terminal.wait_for(": 23 packets");
    terminal.press_for("w", "wrote 23 packets to");
    terminal.wait_for("182 drops");
    terminal.press_for("p", "364 drops");
    assert_eq!(reasons(&marked), vec!["NO_SOCKET"; 23]);
    // A filter applies to what comes, and the counts begin anew.
    terminal.press_for("/reason NETFILTER_DROP\r", "the filter applies from now on");
    terminal.wait_for("0 drops, ");
    pipe.write_all(&packets).unwrap();
    terminal.wait_for("7 drops, ");
    terminal.press_for("c", "counts were reset");
    terminal.wait_for("0 drops, ");
    pipe.write_all(&packets).unwrap();
    terminal.wait_for("7 drops, ");
    drop(pipe);
    terminal.wait_for("the input has ended");
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.check_restored("7 drops counted");
}

#[test]
fn a_flood_is_shown_and_keys_are_answered() {
    let (mut terminal, pipe, _folder) = piped("--summary");
    let flooding = std::thread::spawn(move || {
        let (header, packets) = capture();
        let packets = packets.repeat(50);
        let mut pipe = pipe;
        pipe.write_all(&header).unwrap();
        // Until the program has enough.
        while pipe.write_all(&packets).is_ok() {}
    });
    let drops = |screen: &str| {
        let line = screen.lines().find(|line| line.contains(" drops, "));
        let number = line.and_then(|line| line.split(' ').next());
        number
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let mut last = 0;
    for _ in 0..3 {
        terminal.wait("more drops", |screen| drops(screen) > last);
        last = drops(&terminal.screen());
    }
    terminal.press_for("g", "by reason");
    terminal.press_for("\r", "What to check:");
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.check_restored("drops counted");
    flooding.join().unwrap();
}
