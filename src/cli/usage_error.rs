//! Errors in a command line: one line, and a hint for users who know tcpdump.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Command;

/// An invalid command line: an error of one line, and a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    pub(super) message: String,
    /// The hint for the user.
    pub hint: Option<String>,
}

impl UsageError {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// Turns clap's error into one line with a hint, or into the help or version text.
pub(super) fn explain(error: &clap::Error) -> Result<Command, UsageError> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let option = argument.split([' ', '[']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    let general = || "`dwdump --help` lists the options".to_owned();
    let (message, hint) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Ok(Command::Print(error.to_string()));
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let hint = tcpdump_hint(&argument).unwrap_or_else(|| {
                match context(ContextKind::SuggestedArg) {
                    suggestion if suggestion.is_empty() => general(),
                    suggestion => format!("did you mean {suggestion}?"),
                }
            });
            (format!("unknown option {argument}"), hint)
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let hint = match option {
                "-l" | "--limit" => LIMIT.into(),
                "-t" | "--trunc" => {
                    "-t LEN cuts packets; tcpdump's -t, which omits times, does not exist here"
                        .into()
                }
                _ => general(),
            };
            (format!("{option} needs a value"), hint)
        }
        ErrorKind::InvalidValue => {
            let expected = context(ContextKind::ValidValue);
            (
                format!("invalid value '{value}' for {option}"),
                format!("expected one of {expected}"),
            )
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            (
                format!("invalid value '{value}' for {option}: {reason}"),
                value_hint(option, &value).unwrap_or_default().into(),
            )
        }
        ErrorKind::ArgumentConflict => {
            let hint = match option {
                "-d" => {
                    "-d prints the filter; with --kernel-filter also the kernel's program".into()
                }
                _ => general(),
            };
            (format!("{option} was given twice"), hint)
        }
        _ => (first_line(&error.to_string()), general()),
    };
    let message = crate::record::Escaped(message.as_bytes()).to_string();
    Err(UsageError {
        message,
        hint: Some(hint).filter(|hint| !hint.is_empty()),
    })
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Returns the hint for an option that exists only in tcpdump.
fn tcpdump_hint(argument: &str) -> Option<String> {
    let hint = match argument {
        "-A" | "-X" | "-x" => {
            "for packet contents write pcapng: `dwdump -w - | tshark -r - -x`, or open the file in Wireshark"
        }
        "-D" | "-L" | "--list-interfaces" | "--list-data-link-types" => {
            "drops come from all interfaces; `ip link` lists them, and -i NAME keeps those of one"
        }
        // A cluster such as `-s0` or `-nns0`.
        "-0" => {
            "-s shows the drop monitor's statistics; tcpdump's snapshot length is -t here, and whole packets are the default"
        }
        "--snapshot-length" => {
            "-t LEN keeps LEN bytes of each packet; whole packets are the default"
        }
        "-B" | "--buffer-size" => {
            "-b BYTES sets the size of the socket buffer, with k or M, where tcpdump's -B counts KiB"
        }
        "--relinquish-privileges" => "-Z USER chooses the user that a run goes on as",
        "-S" | "--absolute-tcp-sequence-numbers" => {
            "TCP's sequence numbers are absolute here: leave it out"
        }
        "-f" | "-N" => "names are never looked up: leave it out",
        "-K" | "--dont-verify-checksums" => "checksums do not affect the filter: leave it out",
        "-O" | "--no-optimize" => "there is no optimizer to switch off: leave it out",
        "-I" | "--monitor-mode" | "--no-promiscuous-mode" => {
            "no interface is opened, because the kernel reports its drops: leave it out"
        }
        "-Q" | "-P" | "--direction" => {
            "use the filters `inbound` and `outbound`: packets with an input interface, and without"
        }
        "-j" | "-J" | "--time-stamp-type" | "--list-time-stamp-types" => {
            "a time is always that of the drop: leave it out"
        }
        "--time-stamp-precision" | "--nanosecond-time-stamp-precision" => {
            "files always have nanoseconds; --nano shows them"
        }
        "--immediate-mode" | "--line-buffered" => {
            "output is flushed whenever no drop is waiting, and with -U after every drop"
        }
        "-y" | "--linktype" => "--link-type TYPE writes a file of one link type",
        "-E" | "-M" | "-T" | "-m" => {
            "payloads are not decoded: write pcapng, and open the file in tshark or Wireshark"
        }
        "-#" | "--number" => "`dwdump … --print | cat -n` numbers the lines",
        "--count" => {
            "the last lines show the number of drops; `--summary` and `--by WHAT` only count"
        }
        "--verbose" => "use -v",
        _ => return None,
    };
    Some(hint.into())
}

/// Returns the hint for an option that takes a value here, but none or another in tcpdump.
fn value_hint(option: &str, value: &str) -> Option<&'static str> {
    let is_option = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if value.is_empty() || !is_option(value) {
        return None;
    }
    match option.split(' ').next()? {
        "-t" | "--trunc" => Some(
            "-t LEN cuts packets; tcpdump's -t to -ttttt for other times are --utc and --nano here",
        ),
        "-l" | "--limit" => Some(LIMIT),
        "-b" | "--bufsize" => Some("-b BYTES sets the size of the socket buffer"),
        _ => None,
    }
}

/// The difference between tcpdump's `-l` and dwdump's.
const LIMIT: &str = "-l N sets the kernel's queue length; output is flushed whenever no drop is waiting, \
                     and with -U after every drop, as tcpdump's -l does after every line";
