//! Captures live with eBPF, on the kernel that runs the tests: scripts of `tests/guest` make the drops, in network
//! namespaces of their own, and check what was captured. Skipped, aloud, where that is not allowed.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
        skip(test, why);
    }
    obstacle.is_none()
}

/// Tells why a test cannot run here. Not by eprintln!, whose text a passing test does not show.
fn skip(test: &str, why: &str) {
    let mut stderr = io::stderr();
    writeln!(stderr, "{test} SKIPPED: {why}").unwrap();
}

/// Waits until no other check runs: each counts all drops of the machine.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a script make this check, where that is possible.
fn check(script: &str, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    check_by(script, &[name, DWDUMP, folder]);
}

/// The same, with these arguments of the script.
fn check_by(script: &str, arguments: &[&str]) {
    let _alone = alone();
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
fn why_names_the_guilty_one_of_several_suspicious_settings() {
    // 200 are the long form.
    check_by("why/combinations.py", &[DWDUMP, "6"]);
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

/// The same where nothing else is to be seen: in a network namespace with loopback alone.
fn check_sandbox(name: &str) {
    if cfg!(not(target_arch = "x86_64")) {
        return skip(name, "takes processes of x86_64 over");
    }
    let _alone = alone();
    if !is_possible(name) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/sandbox.py");
    let line = format!(
        "python3 -B {} {name} $dwdump {}",
        script.display(),
        folder.path().display()
    );
    let checked = in_new_namespace(&line);
    assert!(checked.status.success(), "{}", text(&checked));
}

#[test]
fn a_capture_keeps_no_rights_that_it_does_not_need() {
    check_sandbox("status");
}

#[test]
fn a_capture_that_is_taken_over_can_do_nothing_and_captures_on() {
    check_sandbox("takeover");
}

#[test]
fn a_file_is_parsed_in_the_sandbox() {
    check_sandbox("reading");
}

#[test]
fn a_hundred_files_follow_one_another_under_each_user() {
    check_sandbox("rotation");
}

#[test]
fn a_command_compresses_each_finished_file_under_each_user() {
    check_sandbox("command");
}

#[test]
fn the_live_table_keeps_the_rights_of_its_keys_alone() {
    check_sandbox("table");
}

#[test]
fn the_sandbox_can_be_turned_off() {
    check_sandbox("off");
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

#[test]
fn files_that_follow_one_another_lose_no_drop() {
    check("rings.py", "load");
}

#[test]
fn each_of_several_files_has_its_own_loss() {
    check("rings.py", "loss");
}

#[test]
fn files_follow_one_another_on_time_with_the_names_of_tcpdump() {
    check("rings.py", "times");
}

#[test]
fn hangup_begins_another_file_where_there_is_no_terminal() {
    check("rings.py", "hangup");
}

#[test]
fn drops_around_a_match_are_kept_and_no_others() {
    check("rings.py", "trigger");
}
