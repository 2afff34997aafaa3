//! Filters in the eBPF program, on the kernel that runs the tests: `tests/guest/ebpf_filter.py` makes the drops, in
//! a network namespace of its own, and compares what is captured with and without. Skipped, aloud, where that is
//! not allowed.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const DWDUMP: &str = env!("CARGO_BIN_EXE_dwdump");

fn run(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let both = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8_lossy(&both).into_owned())
}

/// Returns the reason for which nothing can be captured here.
fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can make network namespaces".into());
    }
    for program in ["ip", "python3"] {
        let version = Command::new(program).arg("-V").output();
        if version.is_err() {
            return Some(format!("{program} is not installed"));
        }
    }
    let namespace = Command::new("unshare").args(["-n", "true"]).output();
    if !namespace.is_ok_and(|made| made.status.success()) {
        return Some("network namespaces are not allowed here".into());
    }
    let arguments = ["--source", "ebpf", "--duration", "0.1", "-w", "/dev/null"];
    let (output, text) = run(Command::new(DWDUMP).args(arguments));
    (!output.status.success()).then_some(text)
}

#[test]
fn the_kernel_keeps_what_dwdump_keeps_and_counts_what_it_rejects() {
    if let Some(why) = obstacle() {
        // Not by eprintln!, whose text a passing test does not show.
        writeln!(io::stderr(), "SKIPPED: {why}").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/ebpf_filter.py");
    let (checked, text) = run(Command::new("python3")
        .arg("-B")
        .arg(script)
        .arg(DWDUMP)
        .arg(folder.path()));
    println!("{text}");
    assert!(checked.status.success(), "see above");
}
