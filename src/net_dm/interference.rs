//! Describes what other processes did to the monitoring.

use std::fmt;

use super::control::Settings;
use crate::untrusted::Untrusted;

/// An action of another process that disturbs this one's monitoring: later drops are missing, or
/// were reported with the other process's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interference {
    /// Another process sent STOP.
    Stopped,
    /// Another dwdump took over, started with `--force` or after a STOP.
    TakenOver,
    /// Another process sent STOP, then CONFIG with these settings.
    Reconfigured(Settings),
    /// The kernel module was unloaded.
    Unloaded,
}

/// The description that is written into a file.
impl From<Interference> for Untrusted {
    fn from(interference: Interference) -> Self {
        interference.to_string().into()
    }
}

impl fmt::Display for Interference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("monitoring was stopped by another process"),
            Self::TakenOver => f.write_str("another dwdump took over the drop monitor"),
            Self::Reconfigured(settings) => {
                let Settings {
                    mode,
                    trunc_len,
                    queue_len,
                } = settings;
                write!(
                    f,
                    "another process stopped monitoring and changed its settings \
                     ({mode} mode, truncation {trunc_len}, queue length {queue_len})"
                )
            }
            Self::Unloaded => f.write_str("the drop monitor was unloaded (module drop_monitor)"),
        }
    }
}
