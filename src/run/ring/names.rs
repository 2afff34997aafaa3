//! The names of the files of a ring, and when one follows another.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;

use super::super::confinement::Confiner;
use super::super::diagnostics::{hint, say};
use super::super::failure::Failure;
use super::super::finished::run_apart;
use super::super::folder::apart::{Reach, open_apart};
use super::super::folder::{FileName, Folder};
use super::super::output_file::cannot_create;
use super::super::standard_streams::shown;
use super::name::{Dating, NameError, NameTemplate};
use super::schedule::Schedule;
use crate::cli::{Rotation, UsageError};
use crate::record::Timestamp;

/// The names of the files, and when one follows another.
pub struct RingNames {
    pub(super) folder: Rc<Folder>,
    pub(super) template: NameTemplate,
    pub(super) schedule: Schedule,
}

/// Starts the processes that open the files and run the command for this one, which gives up the rights to do so.
/// Must be called while this process has a single thread.
pub fn work_apart(path: &Path, rotation: &Rotation, confiner: &Confiner) -> Result<(), Failure> {
    let folder = match rotation.interval {
        Some(_) => Folder::of_template(path).map(|(folder, _)| folder),
        None => Folder::of(path).map(|(folder, _)| folder),
    };
    let folder = folder.map_err(|error| cannot_create(&shown(path), error))?;
    // The other one closes its copy of the stream to this one, which keeps its folder and so cannot close all.
    open_apart(&folder, Reach::Folder, confiner.has_sandbox())?;
    if let Some(command) = &rotation.command {
        let folder = folder.path(&FileName::new(b""));
        let started = run_apart(command, &folder, confiner.owner());
        started.context("cannot start the process that runs the command of -z")?;
        confiner.tell_command();
    }
    Ok(())
}

impl RingNames {
    /// Opens the folder, and returns the name of the first file.
    pub fn new(path: &Path, rotation: &Rotation) -> Result<(Self, FileName), Failure> {
        let dating = match rotation.interval {
            Some(_) => Dating::Strftime,
            None => Dating::Verbatim,
        };
        let folder = match dating {
            Dating::Strftime => Folder::of_template(path),
            Dating::Verbatim => Folder::of(path).map(|(folder, name)| (folder, name.into_bytes())),
        };
        let (folder, text) = folder.map_err(|error| cannot_create(&shown(path), error))?;
        let template = NameTemplate::new(text, dating, rotation.size.is_some(), rotation.count);
        let are_alike = match rotation.size {
            Some(_) => rotation.count == Some(1),
            None => dating == Dating::Strftime && !template.is_dated(),
        };
        if are_alike && rotation.command.is_some() {
            return Err(UsageError::new(
                "-z needs files whose names differ",
                "each file would be written again while COMMAND works on it: more files with -W, or conversions \
                 of strftime(3) in the name",
            )
            .into());
        }
        if are_alike && rotation.size.is_none() {
            say(format_args!(
                "{} is the name of every file: each replaces the one before",
                shown(path)
            ));
            hint("conversions of strftime(3) tell them apart: `-w drops-%Y-%m-%d-%H-%M-%S.pcapng`");
        }
        let names = Self {
            folder: Rc::new(folder),
            template,
            schedule: Schedule::new(rotation, Instant::now(), Timestamp::now()),
        };
        let first = names
            .name()
            .with_context(|| format!("cannot create {}", shown(path)))?;
        Ok((names, first))
    }

    /// Returns the folder of all files.
    pub fn folder(&self) -> &Rc<Folder> {
        &self.folder
    }

    /// Returns the name of the file.
    pub(super) fn name(&self) -> Result<FileName, NameError> {
        let (began, number) = self.schedule.place();
        self.template.name(began, number)
    }
}
