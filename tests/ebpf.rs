//! Captures live with eBPF, on the kernel that runs the tests: `tests/guest/ebpf.py` makes the drops, in
//! network namespaces of its own, and checks what was captured. Skipped, aloud, where that is not allowed.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

const DWDUMP: &str = env!("CARGO_BIN_EXE_dwdump");

/// Returns the reason for which nothing can be captured here.
fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make network namespaces".into());
    }
    for program in ["ip", "nft", "python3"] {
        let version = Command::new(program).arg("-V").output();
        if version.is_err() {
            return Some(format!("{program} is not installed"));
        }
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF".into());
    }
    let namespace = Command::new("unshare").args(["-n", "true"]).output();
    if !namespace.is_ok_and(|made| made.status.success()) {
        return Some("network namespaces are not allowed here".into());
    }
    let arguments = ["--source", "ebpf", "--duration", "0.1", "-w", "/dev/null"];
    let captured = run(Command::new(DWDUMP).args(arguments));
    let text = text(&captured);
    let needed = ["CAP_BPF", "CAP_PERFMON", "needs its capabilities"];
    needed
        .iter()
        .any(|needed| text.contains(needed))
        .then_some(text)
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Has a script make this check, where that is possible; one at a time, for each counts all drops of the
/// machine.
fn check(script: &str, name: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(why) = obstacle() {
        // Not by eprintln!, whose text a passing test does not show.
        writeln!(io::stderr(), "{name} SKIPPED: {why}").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let checked = run(Command::new("python3")
        .arg("-B")
        .arg(guest.join(script))
        .args([name, DWDUMP])
        .arg(folder.path()));
    println!("{}", text(&checked));
    assert!(checked.status.success(), "see above");
}

#[test]
fn each_kind_of_drop_is_captured_once_and_whole() {
    check("ebpf.py", "kinds");
}

#[test]
fn in_a_flood_that_overflows_the_counts_are_those_of_the_kernel() {
    check("ebpf.py", "flood");
}

#[test]
fn drops_during_the_capture_of_another_are_captured_or_counted() {
    check("ebpf.py", "recursion");
}

#[test]
fn kill_leaves_nothing_attached() {
    check("ebpf.py", "killed");
}

#[test]
fn an_ordinary_user_needs_two_capabilities_and_is_told_which_is_missing() {
    check("ebpf.py", "rights");
}

#[test]
fn a_drop_has_its_device_namespace_task_socket_and_mark() {
    check("ebpf_facts.py", "check");
}
