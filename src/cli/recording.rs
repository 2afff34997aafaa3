//! A capture that runs for weeks, as typed: its files, and the drops that it is about.

use std::path::PathBuf;
use std::time::Duration;

/// The division of a capture into files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The bytes after which the next file begins.
    pub size: Option<u64>,
    /// The time after which the next file begins.
    pub interval: Option<Duration>,
    /// The number of files, whose meaning depends on the two above.
    pub count: Option<u32>,
    /// The bytes that all files of the run may have together.
    pub most: Option<u64>,
    /// The command that is run with each finished file.
    pub command: Option<PathBuf>,
    /// The longest time for which what was written may not be on the disk.
    pub sync: Option<Duration>,
}

impl Rotation {
    /// Returns whether a file is ever followed by another.
    pub fn has_several_files(&self) -> bool {
        self.size.is_some() || self.interval.is_some()
    }
}

/// The drops around which others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerChoice {
    /// The filter that matches them.
    pub filter: String,
    /// The time before them from which all drops are kept.
    pub before: Duration,
    /// The time after them up to which all drops are kept.
    pub after: Duration,
    /// The memory for those before, in bytes.
    pub memory: usize,
}
