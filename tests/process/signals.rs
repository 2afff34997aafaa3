//! Signals, to a program that reads a pipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{big_capture, check_status, dwdump, fixture, shell, text};

/// The program reading a pipe that we hold.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    talk: String,
}

impl Running {
    /// `folder` is where `out` appears.
    fn new(folder: &Path, options: &[&str]) -> Self {
        let input = if options.contains(&"-r") {
            &[][..]
        } else {
            &["-r", "-"]
        };
        let mut child = dwdump()
            .args(input)
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
            let line = self.read_line();
            assert_ne!(line, "", "{words} is not in:\n{}", self.talk);
            if line.contains(words) {
                return;
            }
        }
    }

    /// The exit status and the rest of the talk, with the input still open.
    fn end(mut self) -> (Option<i32>, String) {
        let stdin = self.child.stdin.take();
        while !self.read_line().is_empty() {}
        let status = self.child.wait().unwrap();
        drop(stdin);
        (status.code(), std::mem::take(&mut self.talk))
    }

    /// The next line of the talk, empty at its end. A program that says nothing for a minute fails.
    fn read_line(&mut self) -> String {
        const PATIENCE: u16 = 60_000;
        if self.stderr.buffer().is_empty() {
            let talk = self.stderr.get_ref().as_fd();
            let mut ready = [PollFd::new(talk, PollFlags::POLLIN)];
            let count = poll(&mut ready, PollTimeout::from(PATIENCE)).unwrap();
            assert_ne!(count, 0, "nothing is said behind:\n{}", self.talk);
        }
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        self.talk.push_str(&line);
        line
    }
}

/// A test that fails leaves nothing behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGXCPU,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGSTKFLT,
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
fn real_time_signals_end_a_run_in_order() {
    for signal in ["RTMIN", "RTMIN+7", "RTMAX"] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Running::new(folder.path(), &["-w", "out.pcapng"]);
        run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
        run.wait_for("reading");
        let sent = shell(&format!("kill -s {signal} {}", run.child.id()));
        check_status(&sent, 0);
        let (status, talk) = run.end();
        assert_eq!(status, Some(0), "{signal}: {talk}");
    }
}

#[test]
fn a_fault_keeps_its_signal() {
    for signal in [Signal::SIGABRT, Signal::SIGILL, Signal::SIGFPE] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = Running::new(folder.path(), &["-w", "out.pcapng"]);
        run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
        run.wait_for("reading");
        run.signal(signal);
        let status = run.child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal as i32));
    }
}

/// A run whose output is a pipe that nobody reads: an ending signal leaves it waiting.
fn blocked() -> (tempfile::TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    let big = folder.path().join("big.pcap");
    std::fs::write(&big, big_capture()).unwrap();
    let run = Running::new(folder.path(), &["-r", "big.pcap", "-w", "-"]);
    let pipe = format!("/proc/{}/wchan", run.child.id());
    wait_until("the write", || {
        std::fs::read_to_string(&pipe).is_ok_and(|place| place.contains("pipe_write"))
    });
    (folder, run)
}

#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let (_folder, mut run) = blocked();
    run.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(20));
    run.signal(Signal::SIGTERM);
    run.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(20));
    let mut written = Vec::new();
    let stdout = run.child.stdout.as_mut().unwrap();
    stdout.read_to_end(&mut written).unwrap();
    let (status, talk) = run.end();
    assert_eq!(status, Some(0), "{talk}");
    assert!(!talk.contains("interrupted again"), "{talk}");
    assert!(talk.contains("packets kept\n"), "{talk}");
    assert!(statistics(&written) > 1);
}

#[test]
fn a_second_signal_later_gives_up_but_not_a_timers() {
    let (_folder, run) = blocked();
    run.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(600));
    // A limit on CPU time is signalled every second.
    run.signal(Signal::SIGXCPU);
    std::thread::sleep(Duration::from_millis(100));
    run.signal(Signal::SIGINT);
    let (status, talk) = run.end();
    assert_eq!(status, Some(1), "{talk}");
    let given_up = "interrupted again: packets that were not written yet are lost";
    assert_eq!(talk.matches(given_up).count(), 1, "{talk}");

    let (_folder, mut run) = blocked();
    run.signal(Signal::SIGXCPU);
    std::thread::sleep(Duration::from_millis(600));
    run.signal(Signal::SIGXCPU);
    std::thread::sleep(Duration::from_millis(100));
    let mut written = Vec::new();
    let stdout = run.child.stdout.as_mut().unwrap();
    stdout.read_to_end(&mut written).unwrap();
    let (status, talk) = run.end();
    assert_eq!(status, Some(0), "{talk}");
}

/// coreutils' timeout signals the process, then its own group, the process among it.
#[test]
fn a_timeout_is_one_signal() {
    for _ in 0..3 {
        // Long enough for a busy machine to start it.
        let output = shell(
            "{ cat $small; sleep 3; } |
                timeout --preserve-status -s INT 1.5 $dwdump -r - -w out.pcapng",
        );
        check_status(&output, 0);
        let error = text(&output.stderr);
        assert!(error.contains("5 packets kept"), "{error}");
        assert!(!error.contains("interrupted again"), "{error}");
    }
}

#[test]
fn a_fifo_that_nobody_reads_is_left_at_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut run = Running::new(folder.path(), &["-w", "fifo"]);
    run.wait_for("waiting for a reader of fifo");
    run.signal(Signal::SIGINT);
    let (status, talk) = run.end();
    assert_eq!(status, Some(0), "{talk}");
    assert!(talk.contains("0 packets kept"), "{talk}");

    let mut run = Running::new(folder.path(), &["-w", "fifo"]);
    run.wait_for("waiting for a reader of fifo");
    run.feed(&std::fs::read(fixture("made/little-endian.pcap")).unwrap());
    run.child.stdin = None;
    let mut reader = std::fs::File::open(&fifo).unwrap();
    let mut written = Vec::new();
    reader.read_to_end(&mut written).unwrap();
    let (status, talk) = run.end();
    assert_eq!(status, Some(0), "{talk}");
    assert_eq!(statistics(&written), 3);
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
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
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
