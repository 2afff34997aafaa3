//! Refused requests: what was asked, why the kernel refused, and what the user can do.

use std::fmt;

use super::settings::Origins;
use crate::errno::strerror;
use crate::untrusted::Untrusted;

/// A request that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {refusal}", .operation.failure())]
pub struct ControlError {
    /// The request.
    pub operation: Operation,
    /// The reason.
    pub refusal: Refusal,
}

impl ControlError {
    /// Returns whether the family is gone because its module was unloaded.
    pub fn is_unloaded(&self) -> bool {
        self.refusal.errno == libc::ENOENT
    }

    /// Returns a line that says what to do, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        const ADMIN: &str = "this needs CAP_NET_ADMIN in the initial user namespace: run as root";
        const TOO_OLD: &str =
            "packets need Linux 5.4 or later: this kernel's drop monitor only counts";
        const BUSY: &str = "another program turned monitoring on in the meantime: \
                            `dwdump -p` listens as well, `--force` takes over, `dwdump -e` stops it";
        Some(match (self.operation, self.refusal.errno) {
            (Operation::Resolve, libc::ENOENT) => {
                "load it with `modprobe drop_monitor`, or check that the kernel has CONFIG_NET_DROP_MONITOR"
            }
            (Operation::Join, libc::EPERM) => {
                "since Linux 6.7 listening needs CAP_SYS_ADMIN in the initial user namespace: run as root"
            }
            (Operation::Restore, libc::EBUSY) => {
                "another program turned monitoring on in the meantime: the settings are left as they are"
            }
            (_, libc::EPERM) => ADMIN,
            (
                Operation::ReadSettings | Operation::ReadStatistics | Operation::Configure,
                libc::EOPNOTSUPP,
            ) => TOO_OLD,
            (Operation::Configure, libc::EBUSY) | (Operation::Start(_), libc::EAGAIN) => BUSY,
            (Operation::Start(_), libc::EINPROGRESS) => {
                "the kernel could not hook its kfree_skb tracepoint: its log (`dmesg`) may say why"
            }
            (Operation::Start(_), libc::EOPNOTSUPP) => {
                "this kernel has no devlink, so no hardware drops: use `-o sw`"
            }
            _ => return None,
        })
    }
}

/// A request to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Finding the family.
    Resolve,
    /// CONFIG_GET.
    ReadSettings,
    /// STATS_GET.
    ReadStatistics,
    /// CONFIG without settings.
    Probe,
    /// CONFIG.
    Configure,
    /// CONFIG with the settings that CONFIG_GET returned at the start.
    Restore,
    /// Joining the multicast group.
    Join,
    /// START.
    Start(Origins),
    /// STOP.
    Stop,
}

impl Operation {
    /// Returns the message for its failure.
    fn failure(self) -> String {
        match self {
            Self::Resolve => "cannot find the NET_DM netlink family".into(),
            Self::ReadSettings => "cannot read the drop monitor's settings".into(),
            Self::ReadStatistics => "cannot read the drop monitor's statistics".into(),
            Self::Probe => "cannot find out whether monitoring is on".into(),
            Self::Configure => "cannot configure the drop monitor".into(),
            Self::Restore => "cannot restore the drop monitor's settings".into(),
            Self::Join => "cannot listen to the drop monitor".into(),
            Self::Start(origins) => format!("cannot start monitoring {origins} drops"),
            Self::Stop => "cannot stop monitoring".into(),
        }
    }
}

/// The reason for which the kernel refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The errno.
    pub errno: i32,
    /// The kernel's own words, from the extended acknowledgement.
    pub words: Option<Untrusted>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&strerror(self.errno))?;
        match &self.words {
            Some(words) => write!(f, ": {words}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of the kernel's errors has a message and a hint of its own.
    #[test]
    fn every_refusal_says_what_to_do() {
        #[track_caller]
        fn check(operation: Operation, errno: i32, message: &str, hint: &str) {
            let error = ControlError {
                operation,
                refusal: Refusal { errno, words: None },
            };
            assert_eq!(error.to_string(), message);
            let found = error.hint().unwrap_or_default();
            assert!(found.contains(hint), "{found}");
        }
        use Operation::{
            Configure, Join, Probe, ReadSettings, ReadStatistics, Resolve, Restore, Start,
        };
        let start = Start(Origins::Software);
        check(
            Resolve,
            libc::ENOENT,
            "cannot find the NET_DM netlink family: No such file or directory",
            "modprobe drop_monitor",
        );
        check(
            Configure,
            libc::EPERM,
            "cannot configure the drop monitor: Operation not permitted",
            "CAP_NET_ADMIN",
        );
        check(
            start,
            libc::EPERM,
            "cannot start monitoring software drops: Operation not permitted",
            "CAP_NET_ADMIN",
        );
        check(
            Probe,
            libc::EPERM,
            "cannot find out whether monitoring is on: Operation not permitted",
            "CAP_NET_ADMIN",
        );
        check(
            Join,
            libc::EPERM,
            "cannot listen to the drop monitor: Operation not permitted",
            "CAP_SYS_ADMIN",
        );
        check(
            Configure,
            libc::EBUSY,
            "cannot configure the drop monitor: Device or resource busy",
            "in the meantime",
        );
        check(
            Restore,
            libc::EBUSY,
            "cannot restore the drop monitor's settings: Device or resource busy",
            "left as they are",
        );
        check(
            ReadSettings,
            libc::EOPNOTSUPP,
            "cannot read the drop monitor's settings: Operation not supported",
            "Linux 5.4",
        );
        check(
            ReadStatistics,
            libc::EOPNOTSUPP,
            "cannot read the drop monitor's statistics: Operation not supported",
            "Linux 5.4",
        );
        check(
            Configure,
            libc::EOPNOTSUPP,
            "cannot configure the drop monitor: Operation not supported",
            "Linux 5.4",
        );
        check(
            start,
            libc::EAGAIN,
            "cannot start monitoring software drops: Resource temporarily unavailable",
            "--force",
        );
        check(
            start,
            libc::EINPROGRESS,
            "cannot start monitoring software drops: Operation now in progress",
            "tracepoint",
        );
        let start = Start(Origins::Hardware);
        check(
            start,
            libc::EAGAIN,
            "cannot start monitoring hardware drops: Resource temporarily unavailable",
            "--force",
        );
        check(
            start,
            libc::EOPNOTSUPP,
            "cannot start monitoring hardware drops: Operation not supported",
            "-o sw",
        );
    }

    #[test]
    fn the_kernels_own_words_are_shown() {
        let refusal = Refusal {
            errno: libc::EINVAL,
            words: Some("Invalid alert mode".into()),
        };
        let error = ControlError {
            operation: Operation::Configure,
            refusal,
        };
        assert_eq!(
            error.to_string(),
            "cannot configure the drop monitor: Invalid argument: Invalid alert mode"
        );
    }
}
