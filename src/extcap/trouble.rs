//! Explains why a capture on another host failed, from the messages and the exit status of ssh.

use std::process::ExitStatus;

use crate::record::Escaped;
use crate::run::Failure;

/// Parts of messages, each with its meaning and a hint. The first that occurs counts.
#[rustfmt::skip]
const MEANINGS: &[(&str, &str, &str)] = &[
    ("REMOTE HOST IDENTIFICATION HAS CHANGED",
     "the host key has changed",
     "this may be another host: find out why it changed before you remove the old key (`ssh-keygen -R HOST`)"),
    ("Host key verification failed",
     "the host key is unknown",
     "type `ssh HOST` once in a terminal, and compare the key that it shows"),
    ("Permission denied",
     "the login was refused",
     "no password is asked for: load a key into the agent (`ssh-add`), or choose a key file"),
    ("password is required",
     "sudo there asks for a password",
     "allow that user to run dwdump without one (NOPASSWD: in sudoers)"),
    ("unknown option --capture",
     "the dwdump there is too old",
     "install the version of this host there"),
];

/// The exit status of a shell that does not find the program.
const NOT_FOUND: i32 = 127;

/// Returns the error for the last message and the exit status.
pub fn failure(host: &str, status: ExitStatus, lines: &[String]) -> Failure {
    let host = Escaped(host.as_bytes());
    let said = lines.join("; ");
    let known = MEANINGS.iter().find(|(words, ..)| said.contains(words));
    let (meaning, hint) = match (known, status.code()) {
        (Some((_, meaning, hint)), _) => (*meaning, Some(*hint)),
        (None, Some(NOT_FOUND)) => (
            "there is no dwdump in the PATH there",
            Some("give its path as the program, in the tab Host"),
        ),
        (None, _) => ("the capture ended", None),
    };
    let said = if said.is_empty() {
        status.to_string()
    } else {
        said
    };
    let error = anyhow::anyhow!("{host}: {meaning}: {said}");
    Failure::new(
        error,
        hint.map(|hint| hint.replace("HOST", &host.to_string())),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[track_caller]
    fn check(status: i32, lines: &[&str], expected: &str) {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        let failure = failure("box", ExitStatus::from_raw(status << 8), &lines);
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn an_unknown_host_key_is_named() {
        check(
            255,
            &["Host key verification failed."],
            "box: the host key is unknown: Host key verification failed.\n\
             hint: type `ssh box` once in a terminal, and compare the key that it shows",
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        check(
            127,
            &["sh: 1: dwdump: not found"],
            "box: there is no dwdump in the PATH there: sh: 1: dwdump: not found\n\
             hint: give its path as the program, in the tab Host",
        );
    }

    #[test]
    fn other_messages_are_passed_on() {
        check(1, &["dwdump: no"], "box: the capture ended: dwdump: no");
        check(1, &[], "box: the capture ended: exit status: 1");
    }
}
