//! The capture file of `--why -w`: each packet that the host was looked at for has in its comments what was found.
//!
//! The look takes a while, and a packet that is written cannot be changed. So the first packet of a kind waits for
//! its finding here, with all that come behind it, and the capture goes on meanwhile. Packets wait in bounded
//! memory and for a bounded time; a finding that comes later stands with the next packet of its kind.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::record::{DropRecord, Likeness, OwnedRecord};
use crate::run::output::NamedSink;
use crate::sink::Ending;
use crate::untrusted::Untrusted;
use crate::why::CauseFinding;

/// The longest time that a packet waits: a look takes 5 seconds at most.
const PATIENCE: Duration = Duration::from_secs(6);
/// The most bytes of packets that wait.
const MAX_BYTES: usize = 8 << 20;

/// The number of a kind of drops, which is that of its look.
pub type KindNumber = u64;

/// The file, and the packets that wait to be written to it.
pub struct CommentedFile {
    file: NamedSink,
    waiting: VecDeque<WaitingPacket>,
    waiting_bytes: usize,
    /// Records whose buffers are used again.
    spare: Vec<OwnedRecord>,
    /// The comments that came after their packet was written.
    late: HashMap<KindNumber, Vec<String>, RandomState>,
    /// The packets that were written.
    written: u64,
}

struct WaitingPacket {
    record: OwnedRecord,
    since: Instant,
    kind: Option<KindNumber>,
    finding: FindingOfPacket,
}

/// The comments of a packet about its cause.
enum FindingOfPacket {
    /// It has none.
    Never,
    /// They are awaited.
    Awaited,
    /// They have come.
    Comments(Vec<String>),
}

impl CommentedFile {
    /// Writes to this file.
    pub fn new(file: NamedSink) -> Self {
        Self {
            file,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            spare: Vec::new(),
            late: HashMap::default(),
            written: 0,
        }
    }

    /// Returns the file's name, for messages.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Returns the number of packets in the file.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Takes a packet of this kind, for which a look has begun or not.
    pub fn take(
        &mut self,
        record: &DropRecord<'_>,
        kind: Option<KindNumber>,
        is_looked_at: bool,
    ) -> io::Result<()> {
        if self.waiting.is_empty() && !is_looked_at {
            return self.write(record, kind, &[]);
        }
        let copy = match self.spare.pop() {
            Some(mut spare) => {
                spare.set(record);
                spare
            }
            None => OwnedRecord::new(record),
        };
        self.waiting_bytes += size_of::<WaitingPacket>() + copy.byte_count();
        self.waiting.push_back(WaitingPacket {
            record: copy,
            since: Instant::now(),
            kind,
            finding: if is_looked_at {
                FindingOfPacket::Awaited
            } else {
                FindingOfPacket::Never
            },
        });
        while self.waiting_bytes > MAX_BYTES {
            self.write_first()?;
        }
        self.write_ready()
    }

    /// Takes what was found for the packet that was looked at.
    pub fn found(&mut self, kind: KindNumber, finding: &CauseFinding) -> io::Result<()> {
        let comments = finding.comments();
        let awaits = |packet: &&mut WaitingPacket| {
            packet.kind == Some(kind) && matches!(packet.finding, FindingOfPacket::Awaited)
        };
        match self.waiting.iter_mut().find(awaits) {
            Some(packet) => packet.finding = FindingOfPacket::Comments(comments),
            None => drop(self.late.insert(kind, comments)),
        }
        self.write_ready()
    }

    /// Returns when a packet will have waited for too long.
    pub fn due(&self) -> Option<Instant> {
        let first = self.waiting.front()?;
        first.since.checked_add(PATIENCE)
    }

    /// Passes on to the file what does not wait.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.due().is_some_and(|due| due <= Instant::now()) {
            self.write_first()?;
        }
        self.write_ready()?;
        self.file.sink.flush()
    }

    /// Writes all packets, and the end of the file.
    pub fn finish(&mut self, ending: &Ending) -> io::Result<()> {
        while !self.waiting.is_empty() {
            self.write_first()?;
        }
        self.file.sink.finish(ending)
    }

    /// Writes the packets up to the first that waits.
    fn write_ready(&mut self) -> io::Result<()> {
        let is_ready = |first: &WaitingPacket| !matches!(first.finding, FindingOfPacket::Awaited);
        while self.waiting.front().is_some_and(is_ready) {
            self.write_first()?;
        }
        Ok(())
    }

    fn write_first(&mut self) -> io::Result<()> {
        let Some(packet) = self.waiting.pop_front() else {
            return Ok(());
        };
        let WaitingPacket {
            record,
            kind,
            finding,
            ..
        } = packet;
        let len = size_of::<WaitingPacket>() + record.byte_count();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(len);
        let comments = match finding {
            FindingOfPacket::Comments(comments) => comments,
            FindingOfPacket::Never | FindingOfPacket::Awaited => Vec::new(),
        };
        self.write(&record.record(), kind, &comments)?;
        self.spare.push(record);
        Ok(())
    }

    fn write(
        &mut self,
        record: &DropRecord<'_>,
        kind: Option<KindNumber>,
        comments: &[String],
    ) -> io::Result<()> {
        let late;
        let mut comments = comments;
        if comments.is_empty()
            && !self.late.is_empty()
            && let Some(found) = kind.and_then(|kind| self.late.remove(&kind))
        {
            late = found;
            comments = &late;
        }
        self.written += 1;
        if comments.is_empty() {
            self.file.sink.write(record)?;
            return Ok(());
        }
        let notes: Vec<_> = comments
            .iter()
            .map(|text| Untrusted::new(text.as_str()))
            .collect();
        self.file.sink.write(&DropRecord {
            notes: &notes,
            likeness: Likeness::default(),
            ..*record
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
