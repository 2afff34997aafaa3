//! The drop monitor's settings and statistics.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Origin;

/// The way in which the kernel reports drops (`enum net_dm_alert_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum AlertMode {
    /// Counts for each location.
    Summary,
    /// Every packet.
    Packet,
    /// A mode of a kernel newer than this program.
    Other(u8),
}

impl From<u8> for AlertMode {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Summary,
            1 => Self::Packet,
            other => Self::Other(other),
        }
    }
}

impl From<AlertMode> for u8 {
    fn from(mode: AlertMode) -> Self {
        match mode {
            AlertMode::Summary => 0,
            AlertMode::Packet => 1,
            AlertMode::Other(other) => other,
        }
    }
}

impl fmt::Display for AlertMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Summary => f.write_str("summary"),
            Self::Packet => f.write_str("packet"),
            Self::Other(other) => write!(f, "unknown ({other})"),
        }
    }
}

/// The drop monitor's settings. They are global and stay when the process that made them exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The kind of reports that the kernel sends.
    pub mode: AlertMode,
    /// Bytes of each packet; 0 means all of it.
    pub trunc_len: u32,
    /// Packets that each CPU's queue holds before it drops more.
    pub queue_len: u32,
}

/// Alerts that never left the kernel's queues, since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Alerts of software drops.
    pub software: u64,
    /// Alerts of hardware drops.
    pub hardware: u64,
}

impl Statistics {
    /// Returns their sum.
    pub fn total(self) -> u64 {
        self.software.saturating_add(self.hardware)
    }
}

/// Which drops are monitored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Drops of the kernel.
    Software,
    /// Drops of devices.
    Hardware,
    /// Both.
    Both,
}

impl Origins {
    /// Returns the origins one by one.
    pub fn each(self) -> &'static [Self] {
        match self {
            Self::Software => &[Self::Software],
            Self::Hardware => &[Self::Hardware],
            Self::Both => &[Self::Software, Self::Hardware],
        }
    }

    /// Returns whether drops of `origin` are included.
    pub fn contains(self, origin: Origin) -> bool {
        match self {
            Self::Software => origin == Origin::Software,
            Self::Hardware => origin == Origin::Hardware,
            Self::Both => true,
        }
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::Both => "software and hardware",
        })
    }
}
