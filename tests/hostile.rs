//! Texts from outside, in every place that has one, and what of them gets out.

mod hostile_capture;

use std::path::Path;
use std::process::{Command, Stdio};

use hostile_capture::{HOSTILE, capture, obeyed};

/// Runs dwdump; its standard output and standard error together.
fn dwdump(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    [output.stdout, output.stderr].concat()
}

#[track_caller]
fn check(arguments: &[&str]) -> String {
    let shown = String::from_utf8(dwdump(arguments)).unwrap();
    assert_eq!(obeyed(&shown), "", "{arguments:?}:\n{shown}");
    shown
}

#[test]
fn nothing_of_a_capture_reaches_a_terminal_unescaped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("drops{HOSTILE}.pcapng"));
    std::fs::write(&path, capture()).unwrap();
    let path = path.to_str().unwrap();
    for options in [
        &["--print"][..],
        &["-v", "--print"],
        &["-vv", "--print"],
        &["--json"],
        &["--source-lines", "-v", "--print"],
        &["--summary", "--print"],
        &["--summary=0.001", "--print", "-v"],
        &["--count"],
    ] {
        check(&[&["-r", path], options].concat());
    }
    for by in ["location", "reason", "interface", "flow", "module"] {
        for form in ["--print", "--json"] {
            let shown = check(&["-r", path, "--by", by, form]);
            assert_eq!(
                shown.contains("\\x1b"),
                by != "flow" || shown.contains("reading")
            );
        }
    }
    // A row's filter, as it is typed again.
    let summary = dwdump(&["-r", path, "--by", "reason", "--json"]);
    let summary = String::from_utf8(summary).unwrap();
    let object = summary.lines().find(|line| line.starts_with('{')).unwrap();
    let object: serde_json::Value = serde_json::from_str(object).unwrap();
    let filter = object["rows"][0]["filter"].as_str().unwrap();
    assert!(filter.contains("\\x1b"), "{filter}");
    check(&["-r", path, "--print", filter]);
    check(&["-d", filter]);
}

#[test]
fn nothing_that_was_typed_comes_back_unescaped() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join(format!("missing{HOSTILE}"));
    let missing = missing.to_str().unwrap();
    let made = "fixtures/made/own.pcapng";
    let print = "--print";
    let within = format!("{missing}/out.pcapng");
    for arguments in [
        &["-r", missing][..],
        &["-r", made, print, "-F", missing],
        &["-r", made, "-w", &within],
        &["-r", made, print, "-i", HOSTILE],
        &["-r", made, print, HOSTILE],
        &["-r", made, print, "host", HOSTILE],
        &["-r", made, print, "reason", HOSTILE],
        &["-r", made, print, &format!("reason \"{HOSTILE}\"")],
        &["-d", &format!("location \"{HOSTILE}\"")],
        &["--explain", HOSTILE],
        &["--by", HOSTILE],
        &["-c", HOSTILE],
        &[HOSTILE],
        &[&format!("--{HOSTILE}")],
        &["-r", made, print, "--vmlinux", missing, "--source-lines"],
        &["-r", made, print, "--modules", missing, "--source-lines"],
    ] {
        let shown = check(arguments);
        assert!(!shown.is_empty());
    }
    assert!(!Path::new(&within).exists());
}
