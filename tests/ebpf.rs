//! Captures live with eBPF, on the kernel that runs the tests: scripts of `tests/guest` make the drops, in network
//! namespaces of their own, and check what was captured. Skipped, aloud, where that is not allowed.

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
    let needed = ["CAP_BPF", "CAP_PERFMON"];
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

/// Returns whether this test can run here, and tells the reason if not.
fn is_possible(test: &str) -> bool {
    let obstacle = obstacle();
    if let Some(why) = &obstacle {
        // Not by eprintln!, whose text a passing test does not show.
        let mut stderr = io::stderr();
        writeln!(stderr, "{test} SKIPPED: {why}").unwrap();
    }
    obstacle.is_none()
}

/// Has a script make this check, where that is possible; one at a time, for each counts all drops of the
/// machine.
fn check(script: &str, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    check_by(script, &[name, DWDUMP, folder]);
}

/// The same, with these arguments of the script.
fn check_by(script: &str, arguments: &[&str]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_possible(&format!("{script} {}", arguments[0])) {
        return;
    }
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let checked = run(Command::new("python3")
        .arg("-B")
        .arg(guest.join(script))
        .args(arguments));
    println!("{}", text(&checked));
    assert!(checked.status.success(), "see above");
}

#[test]
fn drops_are_counted_in_the_kernel_by_what_they_have_in_common() {
    check("ebpf_counts.py", "check");
}

#[test]
fn why_names_the_group_that_was_not_joined_and_nothing_where_it_was() {
    check_by("why/run.py", &[DWDUMP, "ospf-not-joined", "ospf-joined"]);
}

#[test]
fn why_prints_no_key() {
    let variants = [
        "esp-unknown-spi",
        "esp-wrong-key",
        "md5-missing",
        "md5-wrong",
    ];
    check_by("why/run.py", &[&[DWDUMP], &variants[..]].concat());
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
    if !is_possible("a kernel without a drop monitor") {
        return;
    }
    let captured = in_new_namespace(
        // A port that nothing else on this machine sends to: eBPF sees all namespaces.
        "exec 3< <($dwdump --print -c 1 udp port 4949 2>&1); read -ru 3 opening; echo \"$opening\"; \
         echo -n dropped >/dev/udp/127.0.0.1/4949; cat <&3",
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
    if !is_possible("a kernel without any source") {
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

#[test]
fn a_drop_has_the_stack_that_led_to_it() {
    check("stack.py", "check");
}

#[test]
fn the_kernel_keeps_what_dwdump_keeps_and_counts_what_it_rejects() {
    check("ebpf_filter.py", "same");
}

#[test]
fn the_kernel_rejects_a_flood_of_which_nothing_is_read() {
    check("ebpf_filter.py", "flood");
}
