//! The ways in which a run ends: its exit status, and an error with a hint.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use crate::cli::UsageError;
use crate::ebpf::tracer::TracerError;
use crate::errno::describe;
use crate::net_dm::control::{ControlError, Operation};
use crate::net_dm::monitoring::BeginError;

/// The exit status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All requests were carried out.
    Success,
    /// A request was not carried out, and the reason was printed.
    Failure,
    /// The command line is not valid.
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

/// An error that ended a run early, with a hint for the user.
#[derive(Debug)]
pub struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    /// The exit status.
    pub exit: Exit,
}

impl Failure {
    /// Joins an error and a hint.
    pub fn new(error: impl Into<anyhow::Error>, hint: Option<impl Into<String>>) -> Self {
        Self {
            error: error.into(),
            hint: hint.map(Into::into),
            exit: Exit::Failure,
        }
    }

    /// Replaces the hint.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Removes the hint.
    #[must_use]
    pub(crate) fn without_hint(self) -> Self {
        Self { hint: None, ..self }
    }

    /// Returns whether the kernel refused because of what this process may not do.
    pub(crate) fn lacks_privileges(&self) -> bool {
        if let Some(error) = self.error.downcast_ref::<TracerError>() {
            return error.lacks_privileges();
        }
        let of_both = self.error.downcast_ref::<NoSource>();
        let error = match of_both.map(|error| &error.net_dm) {
            Some(BeginError::Control(error)) => Some(error),
            Some(BeginError::Busy(..)) => None,
            None => self.error.downcast_ref::<ControlError>(),
        };
        error.is_some_and(|error| matches!(error.refusal.errno, libc::EPERM | libc::EACCES))
            || of_both.is_some_and(|error| error.ebpf.lacks_privileges())
    }

    /// Joins an error and a hint, for a command line that is not valid.
    pub fn usage(error: impl Into<anyhow::Error>, hint: Option<impl Into<String>>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(error, hint)
        }
    }
}

/// Neither source of drops can be used.
#[derive(Debug, thiserror::Error)]
#[error("{}; {}", chain(.net_dm), chain(.ebpf))]
pub struct NoSource {
    /// The cause for which the drop monitor cannot be used.
    pub net_dm: BeginError,
    /// The cause for which eBPF cannot.
    pub ebpf: TracerError,
}

/// Returns an error and its causes, joined with `: `.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(if text.is_empty() { "" } else { ": " });
        match error.downcast_ref::<io::Error>() {
            Some(error) => text.push_str(&describe(error)),
            None => text.push_str(&error.to_string()),
        }
        next = error.source();
    }
    text
}

/// The causes joined with `: `, then a line with the hint.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.error))?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// An error without a hint.
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

impl From<TracerError> for Failure {
    fn from(error: TracerError) -> Self {
        let hint = hint_of_tracer(&error);
        Self::new(error, hint)
    }
}

impl From<NoSource> for Failure {
    fn from(error: NoSource) -> Self {
        let net_dm = match &error.net_dm {
            BeginError::Control(error) => hint_of(error),
            BeginError::Busy(..) => error.net_dm.hint().map(ToOwned::to_owned),
        };
        let hints: Vec<_> = net_dm
            .into_iter()
            .chain(hint_of_tracer(&error.ebpf))
            .collect();
        let hints = (!hints.is_empty()).then(|| hints.join("\nhint: "));
        Self::new(error, hints)
    }
}

fn hint_of_tracer(error: &TracerError) -> Option<String> {
    let is_root = nix::unistd::geteuid().is_root();
    error.hint().map(|hint| with_privileges(hint, is_root))
}

/// Returns the error's own hint, unless the machine shows another cause.
pub fn hint_of(error: &ControlError) -> Option<String> {
    let is_unknown = error.operation == Operation::Resolve && error.refusal.errno == libc::ENOENT;
    if is_unknown && is_other_namespace() {
        return Some(
            "the drop monitor exists only in the initial network namespace: run dwdump on the host, \
             outside containers, or with `nsenter -t 1 -n dwdump …`"
                .into(),
        );
    }
    let is_root = nix::unistd::geteuid().is_root();
    error.hint().map(|hint| with_privileges(hint, is_root))
}

/// Adapts a hint of the drop monitor to the user, so that it begins with the command to type.
fn with_privileges(hint: &str, is_root: bool) -> String {
    match hint.strip_suffix(": run as root") {
        Some(why) if is_root => format!(
            "run dwdump outside containers and services, where root has the capability: {why}"
        ),
        Some(why) => format!("run `sudo dwdump …`: {why}"),
        None if is_root => hint.to_owned(),
        None => hint.replace("`modprobe ", "`sudo modprobe "),
    }
}

/// Returns whether this is certainly not the initial network namespace: it is not that of process
/// 1, or the module is loaded and the family is not found.
fn is_other_namespace() -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let differs =
        matches!((namespace("self"), namespace("1")), (Some(own), Some(init)) if own != init);
    differs || Path::new("/sys/module/drop_monitor").exists()
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
            assert!(user.starts_with("run `sudo dwdump …`: "), "{user}");
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
