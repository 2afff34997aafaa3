//! The program as a process: pipes that close, disks that are full, streams that are missing,
//! signals.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn dwdump() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dwdump"));
    command.env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// A line for a shell, in which `$dwdump` is the program, `$big` a capture that fills any pipe's
/// buffer many times over, and `$small` a capture of a few packets.
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

// ---- Outputs that end early ----

#[test]
fn a_reader_that_leaves_is_no_failure() {
    for options in [
        "-w -",
        "-w - -U",
        "-w - --format netlink",
        "-w - --format pcap",
        "--print",
    ] {
        // `head` leaves; the program's status goes where the shell's would.
        let output = shell(&format!(
            "{{ $dwdump -r $big {options}; echo $? >status; }} | head -c 100 >/dev/null; exit $(cat status)"
        ));
        check_status(&output, 0);
        let error = text(&output.stderr);
        assert!(!error.contains("roken pipe"), "{options}: {error}");
    }
}

#[test]
fn a_full_disk_is_told_with_a_hint() {
    for options in [
        "-w /dev/full",
        "-w /dev/full -U",
        "-w /dev/full --format pcap",
        "-w /dev/full --format netlink",
    ] {
        let output = shell(&format!("exec $dwdump -r $big {options}"));
        check_status(&output, 1);
        let error = text(&output.stderr);
        assert!(
            error.contains("dwdump: cannot write to /dev/full: No space left on device"),
            "{options}: {error}"
        );
        assert!(
            error.contains(
                "hint: what was written stays readable: all but the last 256 kB of what is counted"
            ),
            "{error}"
        );
        assert_eq!(error.matches("cannot write").count(), 1, "{error}");
    }
}

#[test]
fn a_full_standard_output_is_told_too() {
    for options in [
        "-r $small --print",
        "-r $small -w -",
        "-r $small",
        "--help",
        "-V",
    ] {
        let output = shell(&format!("exec $dwdump {options} >/dev/full"));
        check_status(&output, 1);
        let error = text(&output.stderr);
        assert!(
            error.contains("dwdump: cannot write to standard output: No space left on device"),
            "{options}: {error}"
        );
    }
}

#[test]
fn a_missing_stream_is_no_panic() {
    for (line, code) in [
        ("exec $dwdump -r $small -w out.pcapng >&-", 0),
        ("exec $dwdump -r $small -w out.pcapng 2>&-", 0),
        ("exec $dwdump -r $small -w out.pcapng <&- >&- 2>&-", 0),
        ("exec $dwdump -r $small --print 2>&-", 0),
        ("exec $dwdump -V 2>&-", 0),
        ("exec $dwdump -r none -w out.pcapng 2>&-", 1),
        ("exec $dwdump --nonsense 2>&-", 2),
    ] {
        let output = shell(line);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line}: {}",
            text(&output.stderr)
        );
    }
    // What is printed into nothing is lost; whether that is an error, the system decides.
    for line in [
        "exec $dwdump -V >&-",
        "exec $dwdump -r $small --print >&-",
        "exec $dwdump -r - --print <&-",
    ] {
        let output = shell(line);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{line}: {:?}",
            output.status
        );
        assert!(!text(&output.stderr).contains("panicked"));
    }
}

#[test]
fn a_file_is_not_written_through_a_missing_stream() {
    // Without standard error the file must not get its number, and the talk with it.
    let output = shell("$dwdump -r $small -w out.pcapng 2>&- && $dwdump -r out.pcapng --print");
    check_status(&output, 0);
    assert_eq!(text(&output.stdout).lines().count(), 5);
}

#[test]
fn packets_are_not_written_to_a_terminal() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let output = dwdump()
        .args(["-w", "-", "-r"])
        .arg(fixture("made/own.pcapng"))
        .stdout(terminal.slave)
        .output()
        .unwrap();
    check_status(&output, 2);
    assert!(
        text(&output.stderr).starts_with("dwdump: packets are not written to a terminal\nhint: ")
    );
}

#[test]
fn a_terminal_gets_text() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let output = dwdump()
        .arg("-r")
        .arg(fixture("made/own.pcapng"))
        .stdout(terminal.slave)
        .output()
        .unwrap();
    check_status(&output, 0);
    let mut shown = [0; 4096];
    let count = File::from(terminal.master).read(&mut shown).unwrap();
    assert!(text(&shown[..count]).starts_with("03:04:05.001000 if5 IP 10.0.0.1.40000"));
}

// ---- Signals ----

/// The program reading a pipe that we hold.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    talk: String,
}

impl Running {
    /// `folder` is where `out` appears.
    fn new(folder: &Path, options: &[&str]) -> Self {
        let mut child = dwdump()
            .args(["-r", "-"])
            .args(options)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            talk: String::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(id, signal).unwrap();
    }

    /// Reads the talk until a line contains `words`.
    fn wait_for(&mut self, words: &str) {
        loop {
            let mut line = String::new();
            let count = self.stderr.read_line(&mut line).unwrap();
            assert_ne!(count, 0, "{words} is not in:\n{}", self.talk);
            self.talk.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    /// The exit status and the rest of the talk, with the input still open.
    fn end(mut self) -> (Option<i32>, String) {
        let stdin = self.child.stdin.take();
        self.stderr.read_to_string(&mut self.talk).unwrap();
        let status = self.child.wait().unwrap();
        drop(stdin);
        (status.code(), self.talk)
    }
}

/// Waits for something that the program does on its own.
#[track_caller]
fn wait_until(what: &str, mut is_done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn statistics(file: &[u8]) -> usize {
    let (mut rest, mut count) = (file, 0);
    while !rest.is_empty() {
        let (behind, block) = pcap_parser::parse_block_le(rest).unwrap();
        count += usize::from(matches!(block, pcap_parser::Block::InterfaceStatistics(_)));
        rest = behind;
    }
    count
}

#[test]
fn an_interrupted_run_finishes_its_file() {
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGHUP,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.pcapng");
        let mut run = Running::new(folder.path(), &["-w", "out.pcapng"]);
        run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
        // The input is open and quiet: what was read is handed on.
        wait_until("the flush", || {
            std::fs::metadata(&out).is_ok_and(|file| file.len() > 500)
        });
        run.signal(signal);
        let (status, talk) = run.end();
        assert_eq!(status, Some(0), "{signal}: {talk}");
        assert!(talk.contains("2 packets kept\n"), "{talk}");
        assert_eq!(statistics(&std::fs::read(&out).unwrap()), 3, "{signal}");
    }
}

#[test]
fn an_interrupt_before_the_first_byte_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let header = std::fs::read(fixture("made/header-only.pcap")).unwrap();
    for beginning in [&[][..], &header[..10]] {
        let mut run = Running::new(folder.path(), &["-w", "out.pcapng"]);
        run.feed(beginning);
        // Nothing tells that the signals are taken over: the thread that waits for them does.
        let threads = format!("/proc/{}/task", run.child.id());
        wait_until("the thread", || {
            std::fs::read_dir(&threads).is_ok_and(|entries| entries.count() == 2)
        });
        run.signal(Signal::SIGINT);
        let (status, talk) = run.end();
        assert_eq!(status, Some(0), "{talk}");
        assert!(!talk.contains("cannot read"), "{talk}");
    }
}

#[test]
fn a_count_that_is_reached_ends_an_open_input() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Running::new(folder.path(), &["-w", "out.pcapng", "-c", "1"]);
    run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
    let (status, talk) = run.end();
    assert_eq!(status, Some(0), "{talk}");
    assert!(talk.contains("1 packet kept\n"), "{talk}");
    let file = std::fs::read(folder.path().join("out.pcapng")).unwrap();
    assert_eq!(statistics(&file), 2);
}

#[test]
fn sigusr1_prints_the_counts_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Running::new(folder.path(), &["-w", "out.pcapng", "-o", "sw"]);
    run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
    let out = folder.path().join("out.pcapng");
    wait_until("the flush", || {
        std::fs::metadata(&out).is_ok_and(|file| file.len() > 300)
    });
    run.signal(Signal::SIGUSR1);
    run.wait_for("1 packet kept");
    run.wait_for("1 packet rejected by the filter");
    run.child.stdin = None;
    let (status, talk) = run.end();
    assert_eq!(status, Some(0));
    assert_eq!(talk.matches("1 packet kept").count(), 2, "{talk}");
}

#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    let output = shell(
        "trap '' HUP
        { cat $small; sleep 0.3; kill -HUP $(cat id); sleep 0.3; } |
            { sh -c 'echo $$ >id; exec $dwdump -r - -w out.pcapng'; echo $? >status; }
        $dwdump -r out.pcapng --print; exit $(cat status)",
    );
    check_status(&output, 0);
    assert_eq!(text(&output.stdout).lines().count(), 5);
}

#[test]
fn a_quiet_input_hands_on_what_came() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Running::new(folder.path(), &["-w", "-"]);
    run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
    // Section, two interfaces and more, long before the input ends.
    let mut seen = [0; 400];
    run.child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut seen)
        .unwrap();
    assert_eq!(seen[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    run.child.stdin = None;
    let mut rest = Vec::new();
    run.child
        .stdout
        .as_mut()
        .unwrap()
        .read_to_end(&mut rest)
        .unwrap();
    assert_eq!(statistics(&[&seen, &rest[..]].concat()), 3);
    assert_eq!(run.end().0, Some(0));
}

#[test]
fn a_file_can_be_read_from_standard_input() {
    let output = shell("$dwdump -r - --print <$small");
    check_status(&output, 0);
    assert_eq!(text(&output.stdout).lines().count(), 5);
    let output = shell("$dwdump -r $big | $dwdump -r - | $dwdump -r - -w out.pcapng");
    check_status(&output, 0);
    assert_eq!(
        text(&output.stderr).matches("10800 packets kept").count(),
        3,
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_signal_ends_the_wait_for_the_first_writer_of_a_fifo() {
    for options in [
        &["--print"][..],
        &["--source-lines", "--print"],
        &["--by", "reason", "--print"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let child = dwdump()
            .arg("-r")
            .arg(&fifo)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whether it listens cannot be seen from here, and nothing can be written to it to find out.
        std::thread::sleep(Duration::from_millis(500));
        kill(
            Pid::from_raw(i32::try_from(child.id()).unwrap()),
            Signal::SIGINT,
        )
        .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn a_fifo_is_read_from_its_first_writer_to_its_last() {
    let output = shell(
        "mkfifo fifo; { sleep 0.3; cat $small >fifo; } & $dwdump -r fifo --print; status=$?; wait; exit $status",
    );
    check_status(&output, 0);
    assert_eq!(text(&output.stdout).lines().count(), 5);
}

#[test]
fn a_compressed_output_holds_what_the_plain_one_does() {
    let output = shell(
        "for name in a.pcapng a.pcap; do
            $dwdump -r $small -w $name || exit
            for ending in gz ZST; do
                $dwdump -r $small -w $name.$ending || exit
                $dwdump -r $name.$ending -w again-$name || exit
                cmp $name again-$name || exit
            done
            gzip -dc $name.gz | cmp - $name || exit
        done",
    );
    check_status(&output, 0);
}
