//! Captures live with eBPF, on the kernel that runs the tests: `tests/guest/ebpf.py` makes the drops, in
//! network namespaces of its own, and checks what was captured. Skipped, aloud, where that is not allowed.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

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
    text.contains("CAP_BPF").then_some(text)
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Runs a script of the guests' tests; skips it, aloud, where nothing can be captured.
fn check(script: &str) {
    if let Some(why) = obstacle() {
        // Not by eprintln!, whose text a passing test does not show.
        let mut stderr = io::stderr();
        writeln!(stderr, "skipped: {why}").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let checked = run(Command::new("python3")
        .arg(guest.join(script))
        .args(["check", DWDUMP])
        .arg(folder.path()));
    assert!(checked.status.success(), "{}", text(&checked));
}

/// The drop monitor is in the first network namespace alone, so a new one is like a kernel without it.
fn in_new_namespace(line: &str) -> Output {
    let line = format!("ip link set lo up && {line}");
    run(Command::new("unshare")
        .args(["-n", "bash", "-c", &line])
        .env("dwdump", DWDUMP))
}

#[test]
fn where_there_is_no_drop_monitor_ebpf_captures_everything() {
    if let Some(why) = obstacle() {
        writeln!(io::stderr(), "skipped: {why}").unwrap();
        return;
    }
    let captured = in_new_namespace(
        "exec 3< <($dwdump --print -c 1 udp port 9 2>&1); read -ru 3 opening; echo \"$opening\"; \
         echo -n dropped >/dev/udp/127.0.0.1/9; cat <&3",
    );
    let text = text(&captured);
    assert!(captured.status.success(), "{text}");
    let opening =
        "dwdump: capturing software drops with eBPF, as text: there is no drop monitor here";
    assert_eq!(text.lines().next(), Some(opening), "{text}");
    assert!(text.contains("UDP, length 7 NO_SOCKET "), "{text}");
    assert!(text.contains("\n1 packet captured\n"), "{text}");
}

#[test]
fn where_neither_source_can_be_used_both_causes_are_told() {
    if let Some(why) = obstacle() {
        writeln!(io::stderr(), "skipped: {why}").unwrap();
        return;
    }
    let refused = in_new_namespace("exec setpriv --bounding-set=-all $dwdump -w /dev/null");
    let text = text(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let (net_dm, ebpf) = lines[0].split_once("; ").unwrap();
    assert_eq!(
        net_dm,
        "dwdump: cannot find the NET_DM netlink family: No such file or directory"
    );
    assert!(
        ebpf.contains("eBPF") && ebpf.ends_with("Operation not permitted"),
        "{text}"
    );
    assert!(lines[1].starts_with("hint: "), "{text}");
    assert!(
        lines[2].contains("eBPF needs CAP_BPF and CAP_PERFMON"),
        "{text}"
    );
}

#[test]
fn every_drop_is_captured_once_and_counted() {
    check("ebpf.py");
}

#[test]
fn a_drop_has_its_device_namespace_task_socket_and_mark() {
    check("ebpf_facts.py");
}
