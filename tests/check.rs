//! `dwdump --check` on the machine that runs the tests: as root, as root without capabilities, as somebody
//! with the two that eBPF needs, in another network namespace. Skipped, aloud, where that is not allowed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const DWDUMP: &str = env!("CARGO_BIN_EXE_dwdump");
/// Two seconds, and what a busy machine that runs other tests may add.
const LONGEST: Duration = Duration::from_secs(10);

/// Returns whether a test can run here, and says why not.
fn is_possible() -> bool {
    let obstacle = if !nix::unistd::geteuid().is_root() {
        "only root can give up rights and change namespaces"
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        "this kernel has no BTF"
    } else if !succeeds(&["unshare", "-n", "true"]) {
        "network namespaces are not allowed here"
    } else if refuses_ebpf() {
        "eBPF is not allowed here"
    } else {
        return true;
    };
    say_skipped(obstacle);
    false
}

/// Not by eprintln!, whose text a passing test does not show.
fn say_skipped(why: &str) {
    let line = format!("skipped: {why}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}

fn succeeds(words: &[&str]) -> bool {
    let status = Command::new(words[0]).args(&words[1..]).status();
    status.is_ok_and(|status| status.success())
}

fn refuses_ebpf() -> bool {
    let captured = run(&[
        DWDUMP,
        "--source",
        "ebpf",
        "--duration",
        "0.1",
        "-w",
        "/dev/null",
    ]);
    String::from_utf8_lossy(&captured.stderr).contains("CAP_BPF")
}

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command.output().unwrap()
}

/// An answer as a program gets it.
struct Answer {
    status: Option<i32>,
    object: Value,
}

impl Answer {
    /// Runs `dwdump --check --json` behind the words of another program, and holds it against the schema.
    fn of(prefix: &[&str]) -> Self {
        let started = Instant::now();
        let output = run(&[prefix, &[DWDUMP, "--check", "--json"]].concat());
        assert!(started.elapsed() < LONGEST, "{:?}", started.elapsed());
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let object: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text} {errors}");
        });
        let schema = std::fs::read_to_string("fixtures/check.schema.json").unwrap();
        let schema = serde_json::from_str(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        if let Some(error) = validator.iter_errors(&object).next() {
            panic!("{error} in {object}");
        }
        let status = output.status.code();
        assert_eq!(object["ok"], status == Some(0), "{object}");
        Self { status, object }
    }

    /// The answers, by subject.
    fn findings(&self) -> BTreeMap<&str, bool> {
        let findings = self.object["findings"].as_array().unwrap().iter();
        let findings = findings.map(|finding| {
            let subject = finding["subject"].as_str().unwrap();
            (subject, finding["ok"].as_bool().unwrap())
        });
        findings.collect()
    }

    /// What was found of a subject, and the cure.
    fn line(&self, subject: &str) -> String {
        let mut findings = self.object["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["subject"] == subject);
        finding.unwrap().to_string()
    }

    /// Checks that each drop was made, and who saw it.
    #[track_caller]
    fn check_drops(&self, ebpf: impl Into<Value>, auto: bool) {
        let drops = self.object["drops"].as_array().unwrap();
        let names: Vec<_> = drops.iter().map(|drop| &drop["drop"]).collect();
        assert_eq!(names, ["output", "no_listener", "bad_checksum"]);
        let ebpf = ebpf.into();
        for drop in drops {
            assert_eq!((&drop["ebpf"], &drop["auto"]), (&ebpf, &auto.into()));
        }
    }
}

#[test]
fn root_sees_every_drop() {
    if !is_possible() {
        return;
    }
    let answer = Answer::of(&[]);
    assert_eq!(answer.status, Some(0), "{}", answer.object);
    answer.check_drops(true, true);
    let drops = &answer.object["drops"];
    assert_eq!(drops[1]["reason"], "NO_SOCKET");
    assert_eq!(drops[2]["reason"], "UDP_CSUM");
    assert!(
        drops[0]["function"].as_str().unwrap().contains("ip_"),
        "{drops}"
    );
    let findings = answer.findings();
    for subject in ["BTF", "eBPF", "CAP_SYS_ADMIN", "CAP_BPF", "lockdown"] {
        assert!(findings[subject], "{}", answer.object);
    }
}

#[test]
fn the_text_has_a_cure_below_each_no() {
    let output = run(&[DWDUMP, "--check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    let last = lines.pop().unwrap();
    let sum = if output.status.success() {
        "dwdump sees every drop that it made here"
    } else {
        "dwdump does not see every drop that it made here"
    };
    assert_eq!(last, sum);
    let mut lines = lines.into_iter().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        count += 1;
        let cure = lines.next_if(|line| line.starts_with("      "));
        match line.split_at(6) {
            ("ok    ", _) => assert_eq!(cure, None, "{text}"),
            ("no    ", _) => assert!(cure.is_some(), "{text}"),
            _ => panic!("{text}"),
        }
    }
    assert!(count >= 12, "{text}");
}

#[test]
fn the_sample_in_the_readme_has_the_programs_lines() {
    if !is_possible() {
        return;
    }
    let readme = include_str!("../README.md");
    let (_, sample) = readme.split_once("dwdump --check\n").unwrap();
    let (sample, _) = sample.split_once("\n```").unwrap();
    let lines = sample
        .lines()
        .filter(|line| line.starts_with("ok ") || line.starts_with("no "));
    let shown: Vec<_> = lines
        .map(|line| line[6..].split(": ").next().unwrap())
        .collect();
    let answer = Answer::of(&[]);
    let findings = answer.object["findings"].as_array().unwrap().iter();
    let subjects: Vec<_> = findings.map(|finding| &finding["subject"]).collect();
    assert_eq!(subjects, shown);
    assert!(sample.ends_with("\ndwdump sees every drop that it made here"));
}

#[test]
fn an_ordinary_user_is_told_what_to_do() {
    if !is_possible() {
        return;
    }
    let user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let none = ["--inh-caps=-all", "--bounding-set=-all"];
    let answer = Answer::of(&[&user[..], &none].concat());
    assert_eq!(answer.status, Some(1));
    let findings = answer.findings();
    for subject in [
        "eBPF",
        "CAP_NET_ADMIN",
        "CAP_SYS_ADMIN",
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_IPC_LOCK",
        "CAP_SYSLOG",
    ] {
        assert!(!findings[subject], "{}", answer.object);
        assert!(
            answer.line(subject).contains("sudo dwdump"),
            "{}",
            answer.object
        );
    }
    for drop in answer.object["drops"].as_array().unwrap() {
        assert_eq!(drop["auto"], false);
    }
}

#[test]
fn two_capabilities_are_enough_for_ebpf() {
    if !is_possible() {
        return;
    }
    let two = "+bpf,+perfmon";
    let answer = Answer::of(&[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        &format!("--inh-caps=-all,{two}"),
        &format!("--ambient-caps=-all,{two}"),
        &format!("--bounding-set=-all,{two}"),
    ]);
    let findings = answer.findings();
    assert!(findings["eBPF"] && findings["CAP_BPF"] && findings["CAP_PERFMON"]);
    assert!(!findings["CAP_SYS_ADMIN"] && !findings["CAP_SYSLOG"]);
    if answer.object["drops"].as_array().unwrap().is_empty() {
        let line = answer.line("drops");
        assert!(line.contains("cannot make a network namespace"), "{line}");
        say_skipped("users may not make namespaces here");
        return;
    }
    answer.check_drops(true, true);
    assert_eq!(answer.status, Some(0));
}

#[test]
fn a_container_is_told_from_the_host() {
    if !is_possible() {
        return;
    }
    let answer = Answer::of(&["unshare", "-n"]);
    assert_eq!(answer.status, Some(0), "{}", answer.object);
    answer.check_drops(true, true);
    let line = answer.line("NET_DM");
    // Without a look at process 1, nothing tells one namespace from another.
    if std::fs::read_link("/proc/1/ns/net").is_ok() {
        assert!(line.contains("nsenter -t 1 -n"), "{line}");
    } else {
        say_skipped("process 1 is not to be seen");
        assert!(
            line.contains("outside containers") || line.contains("no module"),
            "{line}"
        );
    }

    // All capabilities, but in a user namespace.
    let answer = Answer::of(&["unshare", "-U", "-r"]);
    assert_eq!(answer.status, Some(1));
    let line = answer.line("CAP_BPF");
    assert!(line.contains("held in a user namespace only"), "{line}");
}

#[test]
fn nothing_is_left_behind() {
    if !is_possible() {
        return;
    }
    let modules = || std::fs::read_to_string("/proc/modules").unwrap_or_default();
    let names = |text: &str| {
        let lines = text
            .lines()
            .map(|line| line.split(' ').next().unwrap().to_owned());
        lines
            .filter(|name| name != "drop_monitor")
            .collect::<Vec<_>>()
    };
    let before = modules();
    Answer::of(&[]);
    assert_eq!(
        names(&modules()),
        names(&before),
        "it loads no other module"
    );
}
