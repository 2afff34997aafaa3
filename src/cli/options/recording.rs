//! Checks the options that divide a capture into files, and those that keep only a part of it.

use super::Arguments;
use crate::cli::{Rotation, TriggerChoice, UsageError};

/// The memory for drops before a match, in bytes, unless `--before-size` says another.
const MEMORY: u64 = 64 * 1024 * 1024;

/// The options that do not divide.
const OF_TRIGGER: [&str; 4] = ["--trigger", "--before", "--after", "--before-size"];

impl Arguments {
    /// Returns the options of this file that were given.
    pub(super) fn recording_options(&self) -> impl Iterator<Item = &'static str> + use<> {
        let given = [
            ("-C", self.file_size.is_some()),
            ("-G", self.rotate_seconds.is_some()),
            ("-W", self.file_count.is_some()),
            ("--max-total", self.max_total.is_some()),
            ("-z", self.postrotate.is_some()),
            ("--sync", self.sync.is_some()),
            ("--trigger", self.trigger.is_some()),
            ("--before", self.before.is_some()),
            ("--after", self.after.is_some()),
            ("--before-size", self.before_size.is_some()),
        ];
        let given = given.into_iter().filter(|(_, given)| *given);
        given.map(|(option, _)| option)
    }

    pub(super) fn rotation(&self) -> Result<Rotation, UsageError> {
        let rotation = Rotation {
            size: self.file_size,
            interval: self.rotate_seconds,
            count: self.file_count,
            most: self.max_total,
            command: self.postrotate.clone(),
            sync: self.sync,
        };
        let mut given = self.recording_options();
        let Some(option) = given.find(|option| !OF_TRIGGER.contains(option)) else {
            return Ok(rotation);
        };
        match &self.write {
            None => {
                return Err(UsageError::new(
                    format!("{option} needs a file to write"),
                    "add -w FILE",
                ));
            }
            Some(path) if path.as_os_str() == "-" => {
                return Err(UsageError::new(
                    format!("{option} cannot be used with -w -"),
                    "standard output is one stream and no file: choose a file for -w",
                ));
            }
            Some(_) => {}
        }
        if self.read.is_some() {
            let live = [
                (
                    "-G",
                    rotation.interval.is_some(),
                    "-C SIZE divides a file by size, and `editcap -i SECONDS` by time",
                ),
                (
                    "--sync",
                    rotation.sync.is_some(),
                    "it is for captures that a crash must not lose; a file can be read again",
                ),
            ];
            if let Some((option, _, hint)) = live.into_iter().find(|(_, given, _)| *given) {
                return Err(UsageError::new(
                    format!("{option} cannot be used with -r"),
                    hint,
                ));
            }
        }
        if !rotation.has_several_files() {
            let of_several = [
                ("-W", rotation.count.is_some()),
                ("--max-total", rotation.most.is_some()),
                ("-z", rotation.command.is_some()),
            ];
            if let Some((option, _)) = of_several.into_iter().find(|(_, given)| *given) {
                return Err(UsageError::new(
                    format!("{option} needs -C or -G"),
                    "-C SIZE begins another file when one has more than so many bytes, -G SECONDS after so many seconds",
                ));
            }
        }
        if let (Some(size), Some(most)) = (rotation.size, rotation.most)
            && most < size.saturating_mul(2)
        {
            return Err(UsageError::new(
                "--max-total has to be twice the size of -C at least",
                "else a file would be removed while the first packet after it is still to come",
            ));
        }
        Ok(rotation)
    }

    pub(super) fn trigger(&self) -> Result<Option<TriggerChoice>, UsageError> {
        let Some(filter) = &self.trigger else {
            let mut others = self.recording_options();
            return match others.find(|option| OF_TRIGGER.contains(option)) {
                None => Ok(None),
                Some(option) => Err(UsageError::new(
                    format!("{option} needs --trigger"),
                    "--trigger EXPR says which drops others are kept around",
                )),
            };
        };
        let (Some(before), Some(after)) = (self.before, self.after) else {
            return Err(UsageError::new(
                "--trigger needs --before and --after",
                "say how many seconds around each match are kept: --before 30 --after 10",
            ));
        };
        Ok(Some(TriggerChoice {
            filter: filter.clone(),
            before,
            after,
            memory: usize::try_from(self.before_size.unwrap_or(MEMORY)).unwrap_or(usize::MAX),
        }))
    }
}
