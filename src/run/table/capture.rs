//! Writes the packets of one row of the live table to a pcapng file.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::folder::{FileName, Folder};
use super::super::packet_sink::APPLICATION;
use super::super::standard_streams::shown;
use crate::net_dm::interference::Disturbance;
use crate::record::{CaptureHost, DropRecord, Loss, Timestamp};
use crate::sink::{BUFFER_LEN, Ending, Linking, PcapngSink, Rejected, Sink};
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
    /// Creates the file, which must not exist yet; a relative name starts from this folder. `began` is the present time and the loss so far,
    /// where drops are written as they happen.
    pub fn create(
        folder: &Folder,
        path: &Path,
        grouping: Grouping,
        key: GroupKey,
        host: &CaptureHost,
        began: Option<(Timestamp, Option<Loss>)>,
    ) -> io::Result<Self> {
        let name = FileName::new(path.as_os_str().as_bytes());
        // What creates it in place of this process creates no others.
        if !name.is_of_capture() {
            return Err(io::Error::other(
                "the table writes pcapng alone: choose a name ending in .pcapng",
            ));
        }
        let file = folder.create_new(&name)?;
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

    /// Ends the file. `loss` is the loss so far, `disturbance` what another process did.
    pub fn finish(
        mut self,
        loss: Option<Loss>,
        disturbance: Option<Disturbance>,
    ) -> io::Result<()> {
        let before = self.began.and_then(|(_, loss)| loss).unwrap_or_default();
        let loss = loss.map(|loss| loss.since(before));
        self.sink.finish(&Ending {
            loss,
            rejected: Rejected::Counted(self.rejected),
            period: self.began.map(|(began, _)| (began, Timestamp::now())),
            incomplete: disturbance.into_iter().map(Into::into).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_kind_is_refused_before_it_is_created() {
        let (folder, current) = (tempfile::tempdir().unwrap(), Folder::current().unwrap());
        for name in ["row", "row.pcap", "row.pcapng.GZ"] {
            let path = folder.path().join(name);
            let host = CaptureHost::default();
            let (grouping, key) = (Grouping::Reason, GroupKey::Local);
            let error = RowCapture::create(&current, &path, grouping, key, &host, None);
            let error = error.map(drop).unwrap_err();
            assert!(error.to_string().contains(".pcapng"), "{error}");
            assert!(!path.exists());
        }
    }
}
