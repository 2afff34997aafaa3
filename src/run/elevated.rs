//! Refuses commands to callers who have no rights but those of the program's file. A copy of dwdump that
//! a group may capture with must neither stop the monitoring of others nor use more memory than the
//! system's limit.

use super::failure::Failure;
use crate::cli::{Capture, Command, Diagnosis, Live, Read, Role, Subject, Summary, UsageError};
use crate::net_dm::monitoring::WhenBusy;
use crate::rights;

/// The file with the limit of a socket's receive buffer.
const RMEM_MAX: &str = "/proc/sys/net/core/rmem_max";

/// Refuses commands that need the caller's own rights, and gives the file's rights up if the command
/// does not need them.
pub fn check(command: &Command) -> Result<(), Failure> {
    if !rights::are_elevated() {
        return Ok(());
    }
    let limit = std::fs::read_to_string(RMEM_MAX).ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    refuse(command, limit)?;
    let is_question = matches!(
        command,
        Command::Check(_) | Command::Query | Command::Statistics
    );
    if live(command).is_none() && !is_question {
        rights::give_up().map_err(anyhow::Error::new)?;
    }
    Ok(())
}

fn live(command: &Command) -> Option<&Live> {
    match command {
        Command::Capture(capture) => Some(&capture.live),
        Command::Summary(Summary { subject, .. }) | Command::Why(Diagnosis { subject, .. }) => {
            match subject {
                Subject::Live(live) => Some(live),
                Subject::File(_) => None,
            }
        }
        _ => None,
    }
}

/// Refuses commands. `limit` is that of a receive buffer, in bytes, if it is known.
fn refuse(command: &Command, limit: Option<u32>) -> Result<(), UsageError> {
    if *command == Command::Stop {
        return Err(refused("-e", "it stops monitoring that others started"));
    }
    if let Command::Capture(Capture { delivery, .. }) | Command::Read(Read { delivery, .. }) =
        command
        && delivery.rotation.command.is_some()
    {
        return Err(refused("-z", "it runs another program"));
    }
    let Some(live) = live(command) else {
        return Ok(());
    };
    if let Role::Owner {
        when_busy: WhenBusy::TakeOver,
        ..
    } = live.role
    {
        return Err(refused(
            "--force",
            "it stops monitoring that others started",
        ));
    }
    match live.buffer {
        Some(bytes) if bytes > limit.unwrap_or(0) => Err(refused(
            "-b beyond net.core.rmem_max",
            "it uses more of the kernel's memory than the system allows",
        )),
        _ => Ok(()),
    }
}

fn refused(option: &str, why: &str) -> UsageError {
    UsageError::new(
        format!("{option} is for root, not for users who capture by this file's capabilities"),
        format!("{why}: type `sudo dwdump …`"),
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli;

    #[track_caller]
    fn check_refusal(line: &str, expected: Option<&str>) {
        let words = line.split(' ').map(OsString::from);
        let command = cli::parse(words).unwrap();
        let refused = refuse(&command, Some(212_992))
            .err()
            .map(|error| error.to_string());
        assert_eq!(
            refused
                .as_deref()
                .and_then(|text| text.split(" is for").next()),
            expected
        );
    }

    #[test]
    fn options_that_disturb_others_are_refused() {
        check_refusal("dwdump -e", Some("-e"));
        check_refusal("dwdump --force", Some("--force"));
        check_refusal("dwdump --summary --force", Some("--force"));
        check_refusal("dwdump -b 212993", Some("-b beyond net.core.rmem_max"));
        check_refusal("dwdump -b 212992 -w x", None);
        check_refusal("dwdump -q", None);
        check_refusal("dwdump --check", None);
        check_refusal("dwdump -r x", None);
        check_refusal("dwdump -w x -C 1 -z gzip", Some("-z"));
        check_refusal("dwdump -r x -w y -C 1 -z gzip", Some("-z"));
        check_refusal("dwdump -w x -C 1 --max-total 1G --sync 1", None);
        check_refusal("dwdump --summary", None);
    }
}
