//! Refuses the option for source lines, in a build without that feature.

use super::failure::Failure;
use crate::cli::{DebugFiles, UsageError};
use crate::record::{CaptureHost, Location};
use crate::sink::SharedFinder;

/// A finder, which this build cannot create.
#[derive(Clone)]
pub enum Finder {}

impl Finder {
    /// Returns the error that this build finds no source lines.
    pub fn of_running_kernel(_: &DebugFiles) -> Result<Self, Failure> {
        Err(refusal())
    }

    /// Returns the error that this build finds no source lines.
    pub fn of_capture(_: &CaptureHost, _: &DebugFiles) -> Result<Self, Failure> {
        Err(refusal())
    }

    /// Never called, because there is no finder.
    pub fn learn(&self, _: Location<'_>) {
        match *self {}
    }

    /// Never called, because there is no finder.
    pub fn shared(&self) -> SharedFinder {
        match *self {}
    }

    /// Never called, because there is no finder.
    pub fn tell(&self) {
        match *self {}
    }
}

fn refusal() -> Failure {
    UsageError::new(
        "this dwdump was built without source lines",
        "build it with the feature source-lines, which is on by default",
    )
    .into()
}
