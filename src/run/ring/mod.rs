//! The packet files that follow one another: `-C`, `-G`, `-W`. The next file is there before the one before is finished,
//! and the packet that begins it is in no other.
//!
//! Each file has its own loss, and says for itself if another process has disturbed the monitoring. Both are read when
//! the events that were taken together are passed on, so a file is finished a little after it was left; where several
//! are left in that time, the last of them has what was read.

mod durable;
mod file;
mod kept;
mod name;
mod names;
mod schedule;
mod words;

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;

use super::diagnostics::{hint, say};
use super::failure::Failure;
use super::finished::FinishedFiles;
use super::folder::{FileIdentity, FileName};
use super::packet_sink::SinkMaker;
use crate::cli::Rotation;
use crate::net_dm::interference::Disturbance;
use crate::record::{DropRecord, Loss, Timestamp};
use crate::sink::{Ending, Rejected, Written};
use durable::Durable;
pub use file::RingError;
use file::{LeftFile, RingFile, place};
use kept::KeptFiles;
pub use names::{RingNames, work_apart};
pub use schedule::Turn;
pub use words::words;

/// The endings of the files that compressors write in the place of another.
const COMPRESSED: [&str; 5] = [".gz", ".zst", ".xz", ".bz2", ".lz4"];

/// The files that are being written, one at a time.
pub struct Ring {
    names: RingNames,
    maker: SinkMaker,
    /// A file that must not be written to: the one that is read.
    input: Option<FileIdentity>,
    /// A file was replaced whose name did not change with its interval, and that was told.
    has_warned: bool,
    /// The start of the run.
    began: Timestamp,
    /// The files of the run so far.
    count: u64,
    current: RingFile,
    /// The file before, which takes no more packets and is not finished.
    left: Option<LeftFile>,
    /// The loss that files have; `None` where it is known only at the end.
    told: Option<Loss>,
    /// The records that had been rejected when the file began.
    rejected: Rejected,
    kept: Option<KeptFiles<(FileName, FileIdentity)>>,
    /// The bytes of the file above which the oldest makes room.
    room: u64,
    // The disk is waited for first, then the commands.
    durable: Option<Durable>,
    finished: Option<FinishedFiles>,
}

/// The drops that are in no file, as far as they are known when one is finished.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missing {
    /// The loss of the run so far; `None` where this is unknown.
    pub loss: Option<Loss>,
    /// The interference of another process with the monitoring.
    pub disturbance: Option<Disturbance>,
}

impl Ring {
    /// Begins with `file`, which is empty. `input` is the file that is read, where the packets come from one.
    pub fn begin(
        names: RingNames,
        rotation: &Rotation,
        maker: SinkMaker,
        file: File,
        input: Option<FileIdentity>,
    ) -> Result<Self, Failure> {
        let name = names.name().map_err(anyhow::Error::new)?;
        let began = Timestamp::now();
        let has_places = rotation.has_several_files();
        let comment = has_places.then(|| place(1, began, None));
        let shown = names.folder.shown(&name);
        let current = RingFile::begin(&maker, &names.folder, name, file, comment.as_deref())
            .with_context(|| format!("cannot write to {shown}"))?;
        let finished = rotation.command.is_some().then(FinishedFiles::new);
        let durable = rotation.sync.map(Durable::new);
        let ring = Self {
            maker,
            told: input.is_none().then(Loss::default),
            input,
            has_warned: false,
            began,
            count: 1,
            current,
            left: None,
            rejected: Rejected::default(),
            kept: rotation.most.map(KeptFiles::new),
            room: u64::MAX,
            durable: durable.transpose().context("cannot start a thread")?,
            finished: finished
                .transpose()
                .context("cannot run the command of -z")?,
            names,
        };
        ring.sync_names();
        Ok(ring)
    }

    /// Writes a record, into the next file if this one is full. `rejected` is the number of records that the filter
    /// has rejected so far.
    pub fn write(
        &mut self,
        record: &DropRecord<'_>,
        rejected: Rejected,
    ) -> Result<Written, RingError> {
        if self.names.schedule.is_full(self.current.written.get()) {
            self.names.schedule.turn_by_size();
            self.turn(rejected)?;
        }
        let written = self.current.sink.write(record);
        let written = written.map_err(|error| self.current.failed(error))?;
        if self.current.written.get() > self.room {
            self.make_room();
        }
        Ok(written)
    }

    /// Passes all written records on to the file.
    pub fn flush(&mut self) -> Result<(), RingError> {
        let flushed = self.current.sink.flush();
        flushed.map_err(|error| self.current.failed(error))
    }

    /// Returns whether a file waits to be finished.
    pub fn has_left_a_file(&self) -> bool {
        self.left.is_some()
    }

    /// Returns when [`attend`](Self::attend) has something to do.
    pub fn due(&self) -> Option<Instant> {
        let durable = self.durable.as_ref().map(Durable::due);
        self.names.schedule.due().into_iter().chain(durable).min()
    }

    /// Finishes the file before, and does what it is time for.
    pub fn attend(
        &mut self,
        now: Instant,
        missing: Missing,
        rejected: Rejected,
    ) -> Result<Turn, RingError> {
        self.finish_left(missing)?;
        let (before, _) = self.names.schedule.place();
        match self.names.schedule.turn_by_time(now, Timestamp::now()) {
            None => {}
            Some(Turn::End) => return Ok(Turn::End),
            Some(Turn::Next) => {
                self.warn_of_same_name(before);
                self.turn(rejected)?;
                self.finish_left(missing)?;
            }
        }
        if let Some(durable) = &mut self.durable
            && durable.is_due(now)
        {
            self.flush()?;
            self.sync_current();
        }
        Ok(Turn::Next)
    }

    /// Warns once if the files of two intervals have one name.
    fn warn_of_same_name(&mut self, before: Timestamp) {
        let template = &self.names.template;
        let (began, _) = self.names.schedule.place();
        let (next, last) = (template.name(began, 0), template.name(before, 0));
        if self.has_warned || !template.is_dated() || next != last {
            return;
        }
        self.has_warned = true;
        if let Ok(name) = next {
            let name = self.names.folder.shown(&name);
            say(format_args!(
                "{name} is written again: the packets of the interval before are gone"
            ));
            hint(
                "the name has to change with each interval, as with %S, or %s for seconds since 1970",
            );
        }
    }

    /// Begins the next file at once.
    pub fn turn_early(&mut self, missing: Missing, rejected: Rejected) -> Result<Turn, RingError> {
        self.finish_left(missing)?;
        let before = self.names.schedule.clone();
        let turn = self
            .names
            .schedule
            .turn_early(Instant::now(), Timestamp::now());
        if turn == Some(Turn::End) {
            return Ok(Turn::End);
        }
        let name = self.names.name();
        let is_present = |name: &FileName| {
            *name == self.current.name
                && self
                    .names
                    .folder
                    .identity(name)
                    .is_ok_and(|found| found == self.current.identity)
        };
        if turn.is_none() || name.as_ref().is_ok_and(is_present) {
            self.names.schedule = before;
            say(format_args!(
                "SIGHUP: the next file would replace {}, which goes on",
                self.current.shown
            ));
            return Ok(Turn::Next);
        }
        self.turn(rejected)?;
        self.finish_left(missing)?;
        Ok(Turn::Next)
    }

    /// Leaves the file for the next one.
    fn turn(&mut self, rejected: Rejected) -> Result<(), RingError> {
        self.finish_left(Missing::default())?;
        let folder = Rc::clone(&self.names.folder);
        let named = self.names.name().map_err(io::Error::other);
        let name = named.map_err(|error| RingError::Create(self.current.shown.clone(), error))?;
        let shown = folder.shown(&name);
        let created = |error| RingError::Create(shown.clone(), error);
        let file = folder.create(&name).map_err(created)?;
        let identity = FileIdentity::of(&file).map_err(created)?;
        if self.input == Some(identity) {
            return Err(created(io::Error::other("it is the file that is read")));
        }
        let end = Timestamp::now();
        let of_file = rejected.since(self.rejected);
        let is_same = identity == self.current.identity;
        if is_same {
            // Its content is about to go, but what follows a finished file has to see it whole.
            let period = (self.current.began, end);
            let ending = self.ending(Missing::default(), of_file, period);
            let finished = self.current.sink.finish(&ending);
            finished.map_err(|error| self.current.failed(error))?;
        }
        file.set_len(0).map_err(created)?;
        self.count += 1;
        let comment = place(self.count, self.began, Some(&self.current.shown));
        let next = RingFile::begin(&self.maker, &folder, name, file, Some(&comment));
        let next = next.map_err(|error| RingError::Write(shown, error))?;
        let file = std::mem::replace(&mut self.current, next);
        self.rejected = rejected;
        if let Some(kept) = &mut self.kept {
            kept.forget(|(_, kept)| *kept == self.current.identity);
        }
        if !is_same {
            self.left = Some(LeftFile {
                file,
                end,
                rejected: of_file,
            });
        }
        self.sync_names();
        Ok(())
    }

    fn ending(
        &mut self,
        missing: Missing,
        rejected: Rejected,
        period: (Timestamp, Timestamp),
    ) -> Ending {
        let (_, end) = period;
        let of_file = missing.disturbance.filter(|found| found.since < end);
        Ending {
            loss: self.new_loss(missing.loss),
            rejected,
            // Those of a file have times of their own.
            period: self.input.is_none().then_some(period),
            incomplete: of_file.into_iter().map(Into::into).collect(),
        }
    }

    /// Returns what was lost since the last call.
    fn new_loss(&mut self, loss: Option<Loss>) -> Option<Loss> {
        let told = self.told?;
        let loss = loss.unwrap_or(told);
        self.told = Some(loss);
        Some(loss.since(told))
    }

    fn finish_left(&mut self, missing: Missing) -> Result<(), RingError> {
        let Some(LeftFile {
            file,
            end,
            rejected,
        }) = self.left.take()
        else {
            return Ok(());
        };
        let ending = self.ending(missing, rejected, (file.began, end));
        self.close(file, &ending)
    }

    fn close(&mut self, mut file: RingFile, ending: &Ending) -> Result<(), RingError> {
        let finished = file.sink.finish(ending);
        finished.map_err(|error| file.failed(error))?;
        if let Some(durable) = &self.durable {
            durable.sync(file.file.try_clone(), &file.shown);
        }
        if let Some(finished) = &self.finished {
            finished.hand_over(&self.names.folder.path(&file.name));
        }
        if let Some(kept) = &mut self.kept {
            let bytes = file
                .file
                .metadata()
                .map_or(file.written.get(), |data| data.len());
            kept.add((file.name, file.identity), bytes);
        }
        self.make_room();
        Ok(())
    }

    /// Removes the oldest files as long as all have too many bytes.
    fn make_room(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        while let Some((name, identity)) = kept.take_surplus(self.current.written.get()) {
            let folder = &self.names.folder;
            let is_compressed = self.finished.is_some();
            let removed = folder.remove(&name, identity).or_else(|error| {
                let is_gone = error.kind() == io::ErrorKind::NotFound;
                if !(is_gone && is_compressed) {
                    return Err(error);
                }
                let names = COMPRESSED.map(|suffix| name.with_suffix(suffix));
                let found = names
                    .iter()
                    .find_map(|name| Some((name, folder.identity(name).ok()?)));
                found.map_or(Err(error), |(name, identity)| folder.remove(name, identity))
            });
            let shown = folder.shown(&name);
            match removed {
                Ok(true) => {}
                // Somebody else has made room.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_compressed => {}
                Ok(false) => say(format_args!(
                    "{shown} is another file now, and stays: --max-total no longer counts it"
                )),
                Err(error) => {
                    let error = crate::errno::describe(&error);
                    say(format_args!(
                        "cannot remove {shown}, for --max-total: {error}"
                    ));
                }
            }
        }
        self.room = kept.room();
    }

    fn sync_current(&self) {
        if let Some(durable) = &self.durable {
            durable.sync(self.current.file.try_clone(), &self.current.shown);
        }
    }

    /// Has the name of the present file on the disk.
    fn sync_names(&self) {
        if let Some(durable) = &self.durable {
            let name = format!("the name {}", self.current.shown);
            durable.sync(self.names.folder.holding(&self.current.name), &name);
        }
    }

    /// Ends the last file; `ending` is that of the run.
    pub fn finish(&mut self, ending: &Ending) -> Result<(), RingError> {
        self.finish_left(Missing::default())?;
        let ending = Ending {
            loss: ending
                .loss
                .map(|loss| loss.since(self.told.unwrap_or_default())),
            rejected: ending.rejected.since(self.rejected),
            period: ending.period.map(|(began, end)| {
                let began = if self.input.is_none() && self.count > 1 {
                    self.current.began
                } else {
                    began
                };
                (began, end)
            }),
            incomplete: ending.incomplete.clone(),
        };
        let finished = self.current.sink.finish(&ending);
        finished.map_err(|error| self.current.failed(error))?;
        self.sync_current();
        if let Some(finished) = &self.finished {
            finished.hand_over(&self.names.folder.path(&self.current.name));
        }
        Ok(())
    }
}
