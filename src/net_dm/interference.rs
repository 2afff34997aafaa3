//! Describes what other processes did to the monitoring.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::control::Settings;
use crate::record::Timestamp;
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

/// Interference with a capture, and the time from which drops may be missing: at that time, monitoring was last seen
/// on. Until the capture's end it is not again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// The interference.
    pub interference: Interference,
    /// The beginning.
    pub since: Timestamp,
}

/// The description that is written into a file.
impl From<Disturbance> for Untrusted {
    fn from(
        Disturbance {
            interference,
            since,
        }: Disturbance,
    ) -> Self {
        let since = DateTime::<Utc>::from(since).to_rfc3339_opts(SecondsFormat::Nanos, true);
        format!("{interference}; drops may be missing from {since} to the end").into()
    }
}

/// The description without a time.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_from_when_on_drops_may_be_missing() {
        let disturbance = Disturbance {
            interference: Interference::Stopped,
            since: Timestamp(1_767_323_045_000_000_001),
        };
        assert_eq!(
            Untrusted::from(disturbance).raw(),
            "monitoring was stopped by another process; drops may be missing from \
             2026-01-02T03:04:05.000000001Z to the end"
        );
    }
}
