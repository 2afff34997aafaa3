//! The options for call stacks.

use super::*;

fn counted(words: &str) -> Summary {
    match parse_words(words) {
        Ok(Command::Summary(summary)) => summary,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn call_stacks_come_with_ebpf() {
    for (words, frames) in [
        ("--stack", 24),
        ("--stack=64 -w x", 64),
        ("--stack=1 --source ebpf", 1),
    ] {
        assert_eq!(captured(words).live.stack, Some(frames), "{words}");
    }
    assert_eq!(captured("--source ebpf").live.stack, None);
    // A filter is no number of frames.
    let filtered = captured("--stack tcp").delivery.selection.filter;
    assert_eq!(filtered, FilterText::Words("tcp".into()));
    let hint = "the kernel's drop monitor sends no call stacks: they come with --source ebpf";
    for (words, message) in [
        (
            "--stack --source netdm",
            "--stack cannot be used with --source netdm",
        ),
        ("--stack -p", "--stack cannot be used with -p"),
        (
            "--by stack --kernel-filter --source netdm",
            "--kernel-filter cannot be used with --summary",
        ),
        ("--by stack -l 5", "--by stack cannot be used with -l"),
        ("--folded --force", "--folded cannot be used with --force"),
    ] {
        let hint = if message.contains("filter") { "" } else { hint };
        check(words, message, hint);
    }
    let expected = "expected a number of frames from 1 to 64";
    for value in ["0", "65", "x", "+5"] {
        check(
            &format!("--stack={value}"),
            &format!("invalid value '{value}' for --stack: {expected}"),
            "",
        );
    }
}

#[test]
fn counting_by_stack_captures_stacks() {
    for (words, frames) in [
        ("--by stack", Some(24)),
        ("--summary --by stack --stack=5", Some(5)),
        ("--folded", Some(24)),
        ("--folded --summary --by stack --duration 1", Some(24)),
    ] {
        let summary = counted(words);
        let Subject::Live(live) = summary.subject else {
            panic!("{words}")
        };
        assert_eq!(live.stack, frames);
        assert_eq!(summary.grouping, Grouping::Stack);
        assert_eq!(summary.counting, Counting::Packets);
        assert_eq!(summary.is_folded, words.contains("--folded"));
    }
    let summary = counted("--summary --stack");
    assert_eq!(summary.grouping, Grouping::Location);
    assert_eq!(summary.counting, Counting::Packets);
}

#[test]
fn a_file_has_the_stacks_that_it_has() {
    for words in ["-r x --by stack", "-r x --folded"] {
        let summary = counted(words);
        assert!(matches!(summary.subject, Subject::File(_)));
        assert_eq!(summary.grouping, Grouping::Stack);
    }
    let hint = "a file has the call stacks that it was captured with";
    check("-r x --stack", "--stack cannot be used with -r", hint);
    let message = "--stack cannot be used with -r";
    check("-r x --by stack --stack=5", message, hint);
}

#[test]
fn folded_stacks_are_written_once_and_by_themselves() {
    let hint = "folded stacks are written once, at the end";
    for (words, other) in [
        ("--folded --json", "--json"),
        ("--folded --print", "--print"),
        ("--folded --by reason", "--by"),
        ("--folded --summary=5", "--summary=SECONDS"),
    ] {
        let message = format!("{other} cannot be used with --folded");
        check(words, &message, hint);
    }
    check("--folded -w x", "-w cannot be used with --summary", "");
    check("-q --folded", "-q and --folded cannot be used together", "");
}
