//! Captures call stacks live, on the kernel that runs the tests: `tests/guest/stack.py` makes the drops, in a
//! network namespace of its own, and checks what was captured. Skipped, aloud, where that is not allowed.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const DWDUMP: &str = env!("CARGO_BIN_EXE_dwdump");

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Returns the reason for which nothing can be captured here.
fn obstacle() -> Option<String> {
    for arguments in [&["ip", "-V"][..], &["python3", "-V"]] {
        if Command::new(arguments[0])
            .arg(arguments[1])
            .output()
            .is_err()
        {
            return Some(format!("{} is not installed", arguments[0]));
        }
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF".into());
    }
    let namespace = Command::new("unshare").args(["-n", "true"]).output();
    if !namespace.is_ok_and(|made| made.status.success()) {
        return Some("network namespaces are not allowed here".into());
    }
    let arguments = ["--stack", "--duration", "0.1", "-w", "/dev/null"];
    let text = text(&run(Command::new(DWDUMP).args(arguments)));
    text.contains("CAP_BPF").then_some(text)
}

#[test]
fn a_drop_has_the_stack_that_led_to_it() {
    if let Some(why) = obstacle() {
        // Not by eprintln!, whose text a passing test does not show.
        writeln!(io::stderr(), "skipped: {why}").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/stack.py");
    let checked = run(Command::new("python3")
        .arg(script)
        .args(["check", DWDUMP])
        .arg(folder.path()));
    assert!(checked.status.success(), "{}", text(&checked));
}
