//! From a command to what is done: plan, event loop, closing counts. Only here and in `main` is
//! anything printed to standard error.

mod begin;
mod capacity;
mod capture;
mod closing;
mod kernel_filter;
mod keyboard;
mod live;
mod offline;
mod output;
mod output_file;
mod pipeline;
mod probe;
mod read;
mod receiver;
mod screen;
mod selection;
mod sieve;
mod signals;
#[cfg_attr(not(feature = "source-lines"), path = "no_source_lines.rs")]
mod source_lines;
mod summary;
mod table;
mod talk;
mod tally;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use crate::cli::{Command, UsageError};
use crate::net_dm::control::{Control, ControlError, Operation, strerror};
use crate::net_dm::monitoring::{BeginError, stop_all};
use crate::net_dm::ownership::OwnershipFile;
use crate::net_dm::socket::KernelConversation;
use crate::reason;
use crate::source::kernel::Remarks;
use crate::sys;
use talk::{hint, say};

/// How a run ended: the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for, was done.
    Success,
    /// Something was not, and was told.
    Failure,
    /// The command line makes no sense.
    Usage,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
        }
    }
}

/// Why a run ended early: what happened, and what to do.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    /// The exit status.
    pub exit: Exit,
}

impl Failure {
    fn new(error: impl Into<anyhow::Error>, hint: Option<impl Into<String>>) -> Self {
        Self {
            error: error.into(),
            hint: hint.map(Into::into),
            exit: Exit::Failure,
        }
    }
}

/// The causes joined with `: `, then a line with the hint.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, cause) in self.error.chain().enumerate() {
            f.write_str(if position == 0 { "" } else { ": " })?;
            // Without the number that the standard library adds: ` (os error 2)`.
            match cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::raw_os_error)
            {
                Some(errno) => f.write_str(&strerror(errno))?,
                None => write!(f, "{cause}")?,
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// There is nothing to do about it that the error does not say.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(error, None::<String>)
    }
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        let hint = error.hint.clone();
        Self {
            error: error.into(),
            hint,
            exit: Exit::Usage,
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let hint = hint_of(&error);
        Self::new(error, hint)
    }
}

impl From<BeginError> for Failure {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Control(error) => error.into(),
            BeginError::Busy(..) => {
                let hint = error.hint();
                Self::new(error, hint)
            }
        }
    }
}

/// The error's own hint, unless the machine shows that the reason is another.
fn hint_of(error: &ControlError) -> Option<String> {
    let is_unknown = error.operation == Operation::Resolve && error.refusal.errno == libc::ENOENT;
    if is_unknown && is_other_namespace() {
        return Some(
            "NET_DM answers in the initial network namespace alone: run dwdump on the host, \
             outside containers, or with `nsenter -t 1 -n dwdump …`"
                .into(),
        );
    }
    let is_root = nix::unistd::geteuid().is_root();
    error.hint().map(|hint| with_privileges(hint, is_root))
}

/// A hint of the drop monitor's for this user: first what to type.
fn with_privileges(hint: &str, is_root: bool) -> String {
    match hint.strip_suffix(": run as root") {
        Some(why) if is_root => format!(
            "root has it on the host alone: run dwdump there, outside containers and services; {why}"
        ),
        Some(why) => format!("type `sudo dwdump …`: {why}"),
        None if is_root => hint.to_owned(),
        None => hint.replace("`modprobe ", "`sudo modprobe "),
    }
}

/// Whether this is certainly not the initial network namespace: it is not init's, or the module is
/// loaded and yet not found.
fn is_other_namespace() -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let differs =
        matches!((namespace("self"), namespace("1")), (Some(own), Some(init)) if own != init);
    differs || Path::new("/sys/module/drop_monitor").exists()
}

/// Does what the command says.
pub fn run(command: &Command) -> Result<Exit, Failure> {
    sys::ignore_file_size_signal();
    match command {
        Command::Capture(command) => capture::capture(command),
        Command::Read(command) => read::read(command),
        Command::Summary(command) => summary::summary(command),
        Command::Query => query(),
        Command::Statistics => statistics(),
        Command::Stop => stop(),
        Command::Explain(name) => explain(name.as_deref()),
        Command::ShowFilter(selection, filtering) => {
            let filter = selection::filter(selection)?;
            print(&kernel_filter::shown(&filter, *filtering))
        }
        Command::Print(text) => print(text),
    }
}

/// What the catalogue says of a reason or a function; without a name, the list of them.
fn explain(name: Option<&str>) -> Result<Exit, Failure> {
    let Some(name) = name else {
        return print(&reason::List.to_string());
    };
    match reason::look_up(name.as_bytes()) {
        Ok(explanation) => print(&explanation.to_string()),
        Err(unknown) => {
            let hint = match unknown.nearest() {
                Some(nearest) => format!("did you mean {nearest}? `dwdump --explain` lists all"),
                None => "`dwdump --explain` lists all".into(),
            };
            Err(Failure::new(unknown, Some(hint)))
        }
    }
}

/// In the C tool's words: scripts read them.
fn query() -> Result<Exit, Failure> {
    let settings = Control::new(KernelConversation::open()?).settings()?;
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

/// In the C tool's words: scripts read them.
fn statistics() -> Result<Exit, Failure> {
    let statistics = Control::new(KernelConversation::open()?).statistics()?;
    print(&format!(
        "Software statistics:\nTail dropped: {}\nHardware statistics:\nTail dropped: {}\n",
        statistics.software, statistics.hardware
    ))
}

fn stop() -> Result<Exit, Failure> {
    let conversation = KernelConversation::open()?;
    let ownership = OwnershipFile::of_this_host(conversation.family());
    let stopped = stop_all(&mut Control::new(conversation), &ownership)?;
    say(if stopped.was_on {
        "stopped monitoring, software and hardware"
    } else {
        "monitoring was off already"
    });
    if stopped.restored {
        say("a dwdump that was killed had changed the settings: they are as before");
    }
    Ok(Exit::Success)
}

/// Prints to standard output; a closed pipe is no failure.
fn print(text: &str) -> Result<Exit, Failure> {
    // The standard library's own handle ignores that nothing can be written there (EBADF).
    match output::standard_output()?.write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("cannot write to standard output");
            Err(error.into())
        }
        _ => Ok(Exit::Success),
    }
}

/// Says what this version does not know; nothing where there is nothing.
fn tell_skipped(attributes: u64) {
    if attributes > 0 {
        say(format_args!(
            "{} skipped: unknown to this version",
            Plural(attributes, "attribute")
        ));
    }
}

/// Says how many of the kernel's messages made no sense; nothing where all did.
fn tell_damaged(messages: u64) {
    if messages > 0 {
        say(format_args!(
            "{} could not be read",
            Plural(messages, "damaged message")
        ));
    }
}

/// Says what a live run came across beside drops.
fn tell_remarks(remarks: Remarks) {
    tell_not_packets(remarks.not_packets, remarks.alerts_of_alerts);
    tell_damaged(remarks.damaged_messages);
}

/// Says how many alerts were left out because they tell of no packet.
fn tell_not_packets(not_packets: u64, alerts_of_alerts: u64) {
    if not_packets > 0 {
        say(format_args!(
            "{} of no packet left out (netlink messages, data between local sockets): --all takes them",
            Plural(not_packets, "drop")
        ));
    }
    if alerts_of_alerts > 0 {
        say(format_args!(
            "{} about alerts left out: the kernel reports an alert that a listener's filter rejects, \
             or that a listener leaves unread, as one more drop",
            Plural(alerts_of_alerts, "alert")
        ));
    }
}

/// `1 packet`, `2 packets`.
struct Plural<'a>(u64, &'a str);

impl fmt::Display for Plural<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}{}",
            self.0,
            self.1,
            if self.0 == 1 { "" } else { "s" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::control::Origins;
    use crate::net_dm::control::Refusal;

    #[test]
    fn a_user_is_told_first_what_to_type() {
        let hint = |operation, errno, is_root| {
            let refusal = Refusal { errno, words: None };
            let error = ControlError { operation, refusal };
            with_privileges(error.hint().unwrap(), is_root)
        };
        for operation in [
            Operation::Probe,
            Operation::Configure,
            Operation::Join,
            Operation::Start(Origins::Both),
            Operation::Stop,
        ] {
            let user = hint(operation, libc::EPERM, false);
            assert!(user.starts_with("type `sudo dwdump …`: "), "{user}");
            assert!(user.contains("needs CAP_"), "{user}");
            let root = hint(operation, libc::EPERM, true);
            assert!(
                !root.contains("sudo") && root.contains("needs CAP_"),
                "{root}"
            );
        }
        let user = hint(Operation::Resolve, libc::ENOENT, false);
        assert!(
            user.starts_with("load it with `sudo modprobe drop_monitor`"),
            "{user}"
        );
        let root = hint(Operation::Resolve, libc::ENOENT, true);
        assert!(
            root.starts_with("load it with `modprobe drop_monitor`"),
            "{root}"
        );
    }
}
