//! Commands that print an answer and end: `--explain`, `--query`, `--stats`, `--stop`.

use std::io::{self, Write};

use super::diagnostics::say;
use super::failure::{Exit, Failure};
use super::standard_streams::standard_output;
use crate::net_dm::control::Control;
use crate::net_dm::monitoring::stop_all;
use crate::net_dm::ownership::OwnershipFile;
use crate::net_dm::socket::{KernelConversation, Loading};
use crate::reason::{self, Explanation};
use crate::why::looked_at;

/// Prints the catalogue's entry for a reason or a function; without a name, the list of all.
pub fn explain(name: Option<&str>) -> Result<Exit, Failure> {
    let Some(name) = name else {
        return print(&reason::List.to_string());
    };
    match reason::look_up(name.as_bytes()) {
        Ok(explanation) => {
            let mut text = explanation.to_string();
            let name = match explanation {
                Explanation::Reason(entry) => entry.name,
                Explanation::Function(entry) => entry.function,
                _ => "",
            };
            let looked_at: Vec<_> = looked_at(name).collect();
            if !looked_at.is_empty() {
                text.push_str("\n  What dwdump --why looks at:\n");
            }
            for (title, evidence) in looked_at {
                let line = format!("{title}: {evidence}");
                text.push_str(&reason::wrapped("  - ", &line));
            }
            print(&text)
        }
        Err(unknown) => {
            let hint = match unknown.nearest() {
                Some(nearest) => format!("did you mean {nearest}? `dwdump --explain` lists all"),
                None => "`dwdump --explain` lists all".into(),
            };
            Err(Failure::new(unknown, Some(hint)))
        }
    }
}

/// Prints whether drops are monitored, in the C tool's words, because scripts read them.
pub fn query() -> Result<Exit, Failure> {
    let settings = Control::new(KernelConversation::open(Loading::Allowed)?).settings()?;
    let mode = match settings.mode.to_string().as_str() {
        "summary" => "Summary".to_owned(),
        "packet" => "Packet".to_owned(),
        other => other.to_owned(),
    };
    print(&format!(
        "Alert mode: {mode}\nTruncation length: {}\nQueue length: {}\n",
        settings.trunc_len, settings.queue_len
    ))
}

/// Prints the statistics, in the C tool's words, because scripts read them.
pub fn statistics() -> Result<Exit, Failure> {
    let statistics = Control::new(KernelConversation::open(Loading::Allowed)?).statistics()?;
    print(&format!(
        "Software statistics:\nTail dropped: {}\nHardware statistics:\nTail dropped: {}\n",
        statistics.software, statistics.hardware
    ))
}

pub fn stop() -> Result<Exit, Failure> {
    let conversation = KernelConversation::open(Loading::Allowed)?;
    let ownership = OwnershipFile::of_this_host(conversation.family());
    let stopped = stop_all(&mut Control::new(conversation), &ownership)?;
    say(if stopped.was_on {
        "stopped monitoring, software and hardware"
    } else {
        "monitoring was off already"
    });
    if stopped.restored {
        say("restored the settings that a killed dwdump had changed");
    }
    Ok(Exit::Success)
}

/// Prints to standard output. A closed pipe is not a failure.
pub fn print(text: &str) -> Result<Exit, Failure> {
    // The standard library's own handle ignores a standard output that is closed (EBADF).
    match standard_output()?.write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("cannot write to standard output");
            Err(error.into())
        }
        _ => Ok(Exit::Success),
    }
}
