//! Writes the packets of one row of the live table to a pcapng file.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use super::super::output::APPLICATION;
use super::super::output_file::create_new;
use super::super::standard_streams::shown;
use crate::net_dm::interference::Interference;
use crate::record::{CaptureHost, DropRecord, Loss, Timestamp};
use crate::sink::{BUFFER_LEN, Compression, Ending, Linking, PcapngSink, Rejected, Sink};
use crate::summary::{Counted, GroupKey, Grouping};

/// A capture of one row that is being written.
pub struct RowCapture {
    sink: PcapngSink<BufWriter<File>>,
    grouping: Grouping,
    key: GroupKey,
    /// The file's name, escaped.
    pub name: String,
    /// The number of packets in the file.
    pub packets: u64,
    /// The number of drops of other rows since the start.
    rejected: u64,
    /// The start of the capture, and the loss before it; `None` where a file is the input.
    began: Option<(Timestamp, Option<Loss>)>,
}

impl RowCapture {
    /// Creates the file, which must not exist yet. `began` is the present time and the loss so far,
    /// where drops are written as they happen.
    pub fn create(
        path: &Path,
        grouping: Grouping,
        key: GroupKey,
        host: &CaptureHost,
        began: Option<(Timestamp, Option<Loss>)>,
    ) -> io::Result<Self> {
        if Compression::of(path).is_some() {
            return Err(io::Error::other(
                "it would have to be compressed, which the table cannot do: choose a name ending in .pcapng",
            ));
        }
        let file = create_new(path)?;
        let writer = BufWriter::with_capacity(BUFFER_LEN, file);
        Ok(Self {
            sink: PcapngSink::new(writer, Linking::Auto, APPLICATION, host)?,
            grouping,
            key,
            name: shown(path),
            packets: 0,
            rejected: 0,
            began,
        })
    }

    /// Writes a drop if it belongs to the row.
    pub fn take(&mut self, record: &DropRecord<'_>) -> io::Result<()> {
        if !self.key.is_of(self.grouping, &Counted::Packet(record)) {
            self.rejected += 1;
            return Ok(());
        }
        self.sink.write(record)?;
        self.packets += 1;
        Ok(())
    }

    /// Writes buffered packets to the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Ends the file. `loss` is the loss so far, `interference` what another process did.
    pub fn finish(
        mut self,
        loss: Option<Loss>,
        interference: Option<Interference>,
    ) -> io::Result<()> {
        let before = self.began.and_then(|(_, loss)| loss).unwrap_or_default();
        let loss = loss.map(|loss| Loss {
            queue: loss.queue.saturating_sub(before.queue),
            socket: loss.socket.saturating_sub(before.socket),
            perf: loss.perf.saturating_sub(before.perf),
            interrupts: loss.interrupts.saturating_sub(before.interrupts),
        });
        self.sink.finish(&Ending {
            loss,
            rejected: Rejected::Counted(self.rejected),
            period: self.began.map(|(began, _)| (began, Timestamp::now())),
            incomplete: interference.into_iter().map(Into::into).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_is_refused_before_it_is_created() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("row.pcapng.GZ");
        let host = CaptureHost::default();
        let error = RowCapture::create(&path, Grouping::Reason, GroupKey::Local, &host, None);
        let error = error.map(drop).unwrap_err();
        assert!(error.to_string().contains("compressed"), "{error}");
        assert!(!path.exists());
    }
}
