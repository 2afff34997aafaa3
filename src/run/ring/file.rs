//! One file of a ring.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;

use chrono::{DateTime, SecondsFormat, Utc};

use super::super::folder::{FileIdentity, FileName, Folder};
use super::super::packet_sink::SinkMaker;
use crate::record::Timestamp;
use crate::sink::{BUFFER_LEN, Rejected, Sink};

/// A file that is written.
pub struct RingFile {
    /// Its name in the folder.
    pub name: FileName,
    /// Its name in messages.
    pub shown: String,
    /// The file itself, for all but writing.
    pub file: File,
    /// Its identity.
    pub identity: FileIdentity,
    /// Its sink.
    pub sink: Box<dyn Sink>,
    /// The bytes of it so far.
    pub written: Rc<Cell<u64>>,
    /// The time at which it was begun.
    pub began: Timestamp,
}

/// A file that takes no more packets and is not finished.
pub struct LeftFile {
    /// The file.
    pub file: RingFile,
    /// The time at which it was left.
    pub end: Timestamp,
    /// The records that were rejected meanwhile.
    pub rejected: Rejected,
}

/// An error with one of the files.
#[derive(Debug)]
pub enum RingError {
    /// The file of this name could not be created.
    Create(String, io::Error),
    /// It could not be written to.
    Write(String, io::Error),
}

/// Counts what is written.
struct CountedWriter<W> {
    writer: W,
    count: Rc<Cell<u64>>,
}

impl<W: Write> Write for CountedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.writer.write(bytes)?;
        self.count.set(self.count.get() + len as u64);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl RingFile {
    /// Begins an empty file.
    pub fn begin(
        maker: &SinkMaker,
        folder: &Folder,
        name: FileName,
        file: File,
        comment: Option<&str>,
    ) -> io::Result<Self> {
        let written = Rc::new(Cell::new(0));
        let writer = CountedWriter {
            writer: BufWriter::with_capacity(BUFFER_LEN, file.try_clone()?),
            count: Rc::clone(&written),
        };
        Ok(Self {
            shown: folder.shown(&name),
            name,
            identity: FileIdentity::of(&file)?,
            sink: maker.buffered(writer, comment)?,
            file,
            written,
            began: Timestamp::now(),
        })
    }

    /// Returns the error of a write to it.
    pub fn failed(&self, error: io::Error) -> RingError {
        RingError::Write(self.shown.clone(), error)
    }
}

/// Returns the comment on a file that says where it belongs.
pub fn place(number: u64, began: Timestamp, before: Option<&str>) -> String {
    let began = DateTime::<Utc>::from(began).to_rfc3339_opts(SecondsFormat::Secs, true);
    let before = before.map(|name| format!(", after {name}"));
    let before = before.unwrap_or_default();
    format!("ring: file {number} of the run that began {began}{before}")
}
