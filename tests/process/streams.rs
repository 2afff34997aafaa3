//! Standard streams and outputs: closed, full, missing, terminals.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::{check_status, dwdump, fixture, shell, text};

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
            error.contains("hint: the file is readable, but lacks up to 256 kB at its end"),
            "{error}"
        );
        assert_eq!(error.matches("cannot write").count(), 1, "{error}");
    }
}

#[test]
fn a_file_that_may_not_grow_is_told_with_a_hint() {
    for options in ["", "-U", "--format pcap", "--format netlink"] {
        // In blocks of 512 bytes.
        let output = shell(&format!(
            "ulimit -f 100; exec $dwdump -r $big -w out.pcapng {options}"
        ));
        check_status(&output, 1);
        let error = text(&output.stderr);
        assert!(
            error.contains("dwdump: cannot write to out.pcapng: File too large\nhint: "),
            "{options}: {error}"
        );
        assert!(error.contains("ulimit -f"), "{error}");
    }
    let output = shell("ulimit -f 1; exec $dwdump --explain >list");
    check_status(&output, 1);
    let error = text(&output.stderr);
    assert!(
        error.starts_with("dwdump: cannot write to standard output: File too large"),
        "{error}"
    );
    let output = shell("ulimit -f 100; $dwdump -r $big -w o 2>/dev/null; $dwdump -r o --print");
    assert!(text(&output.stdout).lines().count() > 100);
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
fn a_missing_stream_that_is_not_needed_is_no_failure() {
    for (line, code) in [
        ("exec $dwdump -r $small -w out.pcapng >&-", 0),
        ("exec $dwdump -r $small -w out.pcapng 2>&-", 0),
        ("exec $dwdump -r $small -w out.pcapng <&- >&- 2>&-", 0),
        ("exec $dwdump -r $small --print 2>&-", 0),
        ("exec $dwdump -r $small --print <&-", 0),
        ("exec $dwdump -V 2>&-", 0),
        ("exec $dwdump -r none -w out.pcapng 2>&-", 1),
        ("exec $dwdump --nonsense 2>&-", 2),
    ] {
        let output = shell(line);
        check_status(&output, code);
    }
}

#[test]
fn what_is_printed_nowhere_is_a_failure() {
    for options in [
        "-r $small",
        "-r $small -w -",
        "-r $small --print",
        "-r $small --json",
        "-r $small -w out.pcapng --json",
        "-r $small --summary",
        "-r $small --by reason --json",
        "--explain",
        "--explain NO_SOCKET",
        "-d tcp",
        "--help",
        "-V",
    ] {
        // Closed, and open for reading alone.
        for redirection in [">&-", "1</dev/null"] {
            let output = shell(&format!("exec $dwdump {options} {redirection}"));
            check_status(&output, 1);
            let error = text(&output.stderr);
            assert!(
                error.contains("dwdump: cannot write to standard output: Bad file descriptor"),
                "{options} {redirection}: {error}"
            );
        }
    }
    let output = shell("$dwdump -r $small --print -w out.pcapng >&-; test ! -e out.pcapng");
    check_status(&output, 0);
}

#[test]
fn what_is_read_from_nowhere_is_a_failure() {
    for (options, words) in [
        ("-r - --print", "cannot open standard input"),
        ("-r - --summary", "cannot open standard input"),
        (
            "-r $small --print -F -",
            "cannot read the filter from standard input",
        ),
    ] {
        let output = shell(&format!("exec $dwdump {options} <&-"));
        check_status(&output, 1);
        let error = text(&output.stderr);
        let wanted = format!("dwdump: {words}: Bad file descriptor");
        assert!(error.contains(&wanted), "{options}: {error}");
    }
}

#[test]
fn packets_and_lines_do_not_share_standard_output() {
    for (options, redirection) in [
        ("-w -", "| cat"),
        ("-w /dev/stdout", "| cat"),
        ("-w /dev/fd/1", "| cat"),
        ("-w /proc/self/fd/1", "| cat"),
        ("-w shared", ">shared"),
        ("-w shared", ">>shared"),
        ("-w link", ">shared"),
        ("-w /dev/stdout", ">shared"),
    ] {
        for lines in ["--json", "--print"] {
            let output = shell(&format!(
                "ln shared link 2>/dev/null || {{ touch shared; ln shared link; }}
                {{ $dwdump -r $small {options} {lines}; echo $? >status; }} {redirection}
                cat shared; exit $(cat status)"
            ));
            check_status(&output, 2);
            assert_eq!(text(&output.stdout), "", "{options} {lines} {redirection}");
            let error = text(&output.stderr);
            let wanted = "dwdump: --print and --json cannot be used with -w ";
            assert!(error.starts_with(wanted), "{options}: {error}");
        }
    }
    // They are not the same, or nothing mixes.
    for line in [
        "exec $dwdump -r $small -w one --json >other",
        "exec $dwdump -r $small -w /dev/null --json >/dev/null",
        "exec $dwdump -r $small -w /dev/stdout | $dwdump -r - --print",
        "exec $dwdump -r $small -w - >shared",
    ] {
        check_status(&shell(line), 0);
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
fn a_terminal_by_its_name_is_one_too() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let name = nix::unistd::ttyname(&terminal.slave).unwrap();
    let output = dwdump()
        .arg("-r")
        .arg(fixture("made/own.pcapng"))
        .arg("-w")
        .arg(&name)
        .output()
        .unwrap();
    check_status(&output, 2);
    let error = text(&output.stderr);
    assert!(
        error.starts_with("dwdump: /dev/pts/")
            && error.contains(" is a terminal, to which no packets are written"),
        "{error}"
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

#[test]
fn what_was_no_packet_is_read_back_as_what_it_was() {
    let output = shell(
        "$dwdump -r $no_packets --all -w out.pcapng &&
         $dwdump -r $no_packets --all --json >before &&
         $dwdump -r out.pcapng --json >after &&
         cmp before after && wc -l <after",
    );
    check_status(&output, 0);
    assert_eq!(text(&output.stdout).trim(), "3");
}

#[test]
fn each_line_on_standard_error_is_written_at_once() {
    for arguments in [
        "-r {small} -w - -v",
        "-r {small} -w last.pcapng -C 1M -z false",
        "-r {small} --summary=1 --totals",
        "-r none",
        "--nonsense",
        "udp port nonsense",
    ] {
        for written in written_to_standard_error(arguments) {
            assert!(written.ends_with('\n'), "{arguments}: {written:?}");
        }
    }
}

/// What the program writes to standard error, call by call: each becomes a datagram.
fn written_to_standard_error(arguments: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = UnixDatagram::pair().unwrap();
    let small = fixture("made/own.pcapng");
    let words = arguments.split(' ').map(|word| match word {
        "{small}" => small.as_os_str(),
        _ => word.as_ref(),
    });
    let mut child = dwdump()
        .args(words)
        .current_dir(folder.path())
        .stdout(File::create("/dev/null").unwrap())
        .stderr(OwnedFd::from(writer))
        .spawn()
        .unwrap();
    reader
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut written = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let has_ended = child.try_wait().unwrap().is_some();
        if let Ok(len) = reader.recv(&mut buffer) {
            written.push(text(&buffer[..len]).to_owned());
        } else if has_ended {
            break;
        }
    }
    assert!(!written.is_empty(), "{arguments}");
    written
}
