//! What is wrong with a command line, in one line, and a hint for fingers that know tcpdump.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Command;

/// A command line that makes no sense: one line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    pub(super) message: String,
    /// What to do.
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

/// Turns clap's several lines into one, with our hints.
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
                    suggestion => format!("there is {suggestion}"),
                }
            });
            (format!("unknown option {argument}"), hint)
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let hint = match option {
                "-l" | "--limit" => {
                    "-l N sets the kernel's queue length; output is handed on whenever no drop waits, \
                     and -U hands on every drop, as tcpdump's -l does with lines"
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
                String::new(),
            )
        }
        ErrorKind::ArgumentConflict => (format!("{option} was given twice"), general()),
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

/// Options that fingers know from tcpdump.
fn tcpdump_hint(argument: &str) -> Option<String> {
    Some(
        match argument {
            "-A" | "-X" | "-x" => {
                "for packet contents write pcapng: `dwdump -w - | tshark -r - -x`, or open the file in Wireshark"
            }
            "-D" => "drops come from all interfaces; `ip link` lists them, and -i NAME keeps those of one",
            _ => return None,
        }
        .into(),
    )
}
