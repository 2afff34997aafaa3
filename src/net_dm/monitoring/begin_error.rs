//! Errors at the start of the monitoring.

use std::fmt;

use super::{AlertMode, Claim, ControlError};

/// A reason for which a capture could not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// Monitoring is already on, in this mode.
    #[error("drops are already being monitored, {1}")]
    Busy(AlertMode, Holder),
    /// The kernel refused a request.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl BeginError {
    /// Returns a line that says what to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Busy(..) => Some(
                "`dwdump -p` listens as well, `--force` takes over (and stops the other), `dwdump -e` stops it",
            ),
            Self::Control(error) => error.hint(),
        }
    }
}

/// The process that turned monitoring on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A running dwdump with this process number.
    Dwdump(u32),
    /// Unknown.
    Unknown,
}

impl Holder {
    pub(super) fn of(claim: Option<&Claim>) -> Self {
        match claim {
            Some(claim) => Self::Dwdump(claim.owner.pid),
            None => Self::Unknown,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dwdump(pid) => write!(f, "by another dwdump (process {pid})"),
            Self::Unknown => f.write_str("by another program or left on by one that was killed"),
        }
    }
}
