//! Captures on another host, whose part a script plays: `ssh` runs its words by this host's shell,
//! and the dwdump there writes a capture and waits for the end of its input.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{dwdump, make_fifo, read, reader, text, wait_until};

const SSH: &str = r#"#!/bin/sh
printf '%s\n' "$@" >"$PLACE/ssh-words"
if [ -n "$SSH_FAILS" ]; then echo "$SSH_FAILS" >&2; exit 255; fi
for last; do :; done
cd "$PLACE" && exec sh -c "$last"
"#;
const FAR: &str = r#"#!/bin/sh
printf '%s\n' "$@" >"$PLACE/far-words"
case "$*" in *--extcap-reload-option*)
    echo 'arg {number=0}{call=--interface}'; echo 'value {arg=0}{value=far0}{display=far0}'; exit;;
esac
cat "$PACKETS"
if [ -n "$FAR_SAYS" ]; then echo "$FAR_SAYS" >&2; fi
if [ -n "$FAR_FAILS" ]; then exit 1; fi
if [ -n "$FAR_STAYS" ]; then exec sleep 600; fi
cat >/dev/null
echo ended >"$PLACE/ended"
"#;

fn packets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/made/own.pcapng")
}

/// A host that can be reached, and a FIFO.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, script) in [("ssh", SSH), ("far", FAR)] {
            let path = place.path(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        make_fifo(&place.path("fifo"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn words(&self, program: &str) -> Vec<String> {
        let words = fs::read_to_string(self.path(&format!("{program}-words"))).unwrap();
        words.lines().map(ToOwned::to_owned).collect()
    }

    fn has_ended(&self) -> bool {
        self.path("ended").exists()
    }

    fn command(&self, options: &[&str]) -> Command {
        let far = self.path("far");
        let host = [
            "--extcap-interface=drops-ssh",
            "--remote-host=box",
            "--remote-program",
        ];
        let mut command = dwdump(&[&host[..], &[far.to_str().unwrap()], options].concat());
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.folder.path().display()));
        command
            .env("PLACE", self.folder.path())
            .env("PACKETS", packets());
        command
            .env_remove("SSH_ASKPASS")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
    }

    fn capture(&self, options: &[&str]) -> Command {
        let fifo = self.path("fifo");
        let capture = ["--capture", "--fifo", fifo.to_str().unwrap()];
        self.command(&[&capture, options].concat())
    }

    /// A capture that has begun, and its FIFO.
    fn begin(&self, options: &[&str]) -> (Child, File) {
        let mut fifo = reader(&self.path("fifo"));
        let child = self.capture(options).spawn().unwrap();
        let expected = fs::read(packets()).unwrap();
        assert_eq!(read(&mut fifo, expected.len()), expected);
        (child, fifo)
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), text(&stderr).to_owned())
}

#[test]
fn a_capture_ends_in_order_and_without_a_word() {
    let place = Place::new();
    let (child, _fifo) = place.begin(&[]);
    signal(&child, Signal::SIGTERM);
    assert_eq!(end(child), (Some(0), String::new()));
    wait_until("the other host", || place.has_ended());
}

#[test]
fn the_other_host_ends_when_nobody_reads() {
    let place = Place::new();
    let (child, fifo) = place.begin(&[]);
    drop(fifo);
    assert_eq!(end(child), (Some(0), String::new()));
    wait_until("the other host", || place.has_ended());
}

/// What follows ssh reads what the other host says: it can do no more than that, and end ssh.
#[test]
fn the_messages_of_the_other_host_are_read_in_the_sandbox() {
    let place = Place::new();
    let mut fifo = reader(&place.path("fifo"));
    let mut capture = place.capture(&[]);
    let child = capture.env("FAR_STAYS", "yes").spawn().unwrap();
    read(&mut fifo, 1);
    let status = format!("/proc/{}/status", child.id());
    wait_until("the sandbox", || {
        let status = fs::read_to_string(&status).unwrap();
        let has = |line: &str| status.lines().any(|other| other == line);
        has("NoNewPrivs:\t1") && has("Seccomp:\t2") && has("CapPrm:\t0000000000000000")
    });
    let start = Instant::now();
    signal(&child, Signal::SIGTERM);
    assert_eq!(end(child), (Some(0), String::new()));
    assert!(
        start.elapsed() > Duration::from_secs(2),
        "it ended by itself"
    );
}

#[test]
fn the_other_host_ends_when_this_process_is_killed() {
    let place = Place::new();
    let (child, _fifo) = place.begin(&[]);
    signal(&child, Signal::SIGKILL);
    end(child);
    wait_until("the other host", || place.has_ended());
}

#[test]
fn the_other_host_ends_when_wireshark_is_killed() {
    let place = Place::new();
    let mut fifo = reader(&place.path("fifo"));
    let mut wireshark = Command::new("sh");
    wireshark.args([
        "-c",
        "\"$@\" & wait",
        "sh",
        env!("CARGO_BIN_EXE_dwdump"),
        "--capture",
        "--fifo",
    ]);
    wireshark.arg(place.path("fifo"));
    wireshark.args([
        "--extcap-interface=drops-ssh",
        "--remote-host=box",
        "--remote-program",
    ]);
    wireshark.arg(place.path("far"));
    place.prepare(&mut wireshark);
    let mut wireshark = wireshark.stderr(Stdio::null()).spawn().unwrap();
    read(&mut fifo, 1);
    let start = Instant::now();
    wireshark.kill().unwrap();
    wireshark.wait().unwrap();
    wait_until("the other host", || place.has_ended());
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn words_cross_whole() {
    let place = Place::new();
    let filter = "reason \"'; touch x; $(touch x) `touch x`\" and not port 22";
    let options = [
        "--extcap-capture-filter",
        filter,
        "--interface",
        "; touch x",
        "--trunc=96",
        "--all",
    ];
    let (child, _fifo) = place.begin(&options);
    signal(&child, Signal::SIGTERM);
    assert_eq!(end(child), (Some(0), String::new()));
    assert_eq!(
        place.words("far"),
        [
            "--capture",
            "--extcap-interface=drops",
            "--fifo=-",
            "--interface=; touch x",
            "--trunc=96",
            "--all",
            &format!("--extcap-capture-filter={filter}"),
        ]
    );
    assert!(!place.path("x").exists() && !Path::new("x").exists());
    // This one is no filter, and goes nowhere.
    let output = place
        .capture(&["--extcap-capture-filter", "'; touch x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!place.path("x").exists() && !Path::new("x").exists());
}

#[test]
fn ssh_is_asked_for_what_was_chosen() {
    let place = Place::new();
    let options = [
        "--remote-user=me",
        "--remote-port=2222",
        "--ssh-key=/a key",
        "--remote-privilege=none",
    ];
    let (child, _fifo) = place.begin(&options);
    signal(&child, Signal::SIGTERM);
    end(child);
    let words = place.words("ssh");
    let far = place.path("far");
    let expected = [
        "-T",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "BatchMode=yes",
        "-l",
        "me",
        "-p",
        "2222",
        "-i",
        "/a key",
        "--",
        "box",
        &format!(
            "{} --capture '--extcap-interface=drops' '--fifo=-'",
            far.display()
        ),
    ];
    assert_eq!(
        words.join("\n").replace('\'', ""),
        expected.join("\n").replace('\'', "")
    );
}

#[test]
fn somebody_who_can_be_asked_is_asked() {
    let place = Place::new();
    let mut fifo = reader(&place.path("fifo"));
    let child = place
        .capture(&[])
        .env("SSH_ASKPASS", "/bin/false")
        .spawn()
        .unwrap();
    read(&mut fifo, 1);
    signal(&child, Signal::SIGTERM);
    end(child);
    assert!(!place.words("ssh").contains(&"BatchMode=yes".to_owned()));
}

#[test]
fn privileges_come_from_sudo_or_doas() {
    for name in ["sudo", "doas"] {
        let place = Place::new();
        let path = place.path(name);
        fs::write(
            &path,
            "#!/bin/sh\n[ \"$1\" = -n ] && shift && exec \"$@\"\n",
        )
        .unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        let (child, _fifo) = place.begin(&[&format!("--remote-privilege={name}")]);
        signal(&child, Signal::SIGTERM);
        assert_eq!(end(child), (Some(0), String::new()));
        let words = place.words("ssh");
        assert!(
            words.last().unwrap().starts_with(&format!("{name} -n ")),
            "{words:?}"
        );
    }
}

#[test]
fn an_unknown_host_key_is_an_error_that_says_so() {
    let place = Place::new();
    let _fifo = reader(&place.path("fifo"));
    let mut command = place.capture(&[]);
    command.env("SSH_FAILS", "Host key verification failed.");
    let (status, said) = end(command.spawn().unwrap());
    assert_eq!(
        said,
        "dwdump: box: the host key is unknown: Host key verification failed.\n\
         hint: type `ssh box` once in a terminal, and compare the key that it shows\n"
    );
    assert_eq!(status, Some(1));
}

#[test]
fn a_failure_over_there_is_a_failure_here() {
    let place = Place::new();
    let _fifo = reader(&place.path("fifo"));
    let mut command = place.capture(&[]);
    command
        .env("FAR_FAILS", "1")
        .env("FAR_SAYS", "dwdump: no\u{1b}[1m");
    let (status, said) = end(command.spawn().unwrap());
    assert_eq!(status, Some(1));
    assert_eq!(said, "dwdump: box: the capture ended: dwdump: no\\x1b[1m\n");
}

#[test]
fn a_warning_over_there_is_a_warning_here() {
    let place = Place::new();
    let mut fifo = reader(&place.path("fifo"));
    let mut command = place.capture(&[]);
    let child = command.env("FAR_SAYS", "dwdump: careful").spawn().unwrap();
    read(&mut fifo, 1);
    // Longer than the pause that ends a message.
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, Signal::SIGTERM);
    assert_eq!(end(child), (Some(0), "box: dwdump: careful\n".to_owned()));
}

#[test]
fn names_that_ssh_would_take_for_options_are_refused() {
    let place = Place::new();
    for option in [
        "--remote-host=-oProxyCommand=touch x",
        "--remote-user=-x",
        "--remote-program=-x",
    ] {
        let output = place.capture(&[option]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(!place.path("ssh-words").exists());
    }
}

#[test]
fn a_selector_lists_what_the_other_host_has() {
    let place = Place::new();
    let output = place
        .command(&["--extcap-config", "--extcap-reload-option", "interface"])
        .output();
    let output = output.unwrap();
    assert_eq!(
        text(&output.stdout),
        "value {arg=6}{value=far0}{display=far0}\n"
    );
    assert_eq!(output.status.code(), Some(0));
    let mut command = place.command(&["--extcap-config", "--extcap-reload-option", "reason"]);
    let output = command.env("SSH_FAILS", "no").output().unwrap();
    assert!(text(&output.stdout).contains("{value=NO_SOCKET}"));
    assert_eq!(output.status.code(), Some(0));
}
