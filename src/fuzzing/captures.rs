//! Capture files, plain and compressed.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;

use flate2::write::GzEncoder;

use crate::record::{CaptureHost, DropRecord, LinkType};
use crate::sink::file_in_memory::FileInMemory;
use crate::sink::{
    Detail, Ending, JsonSink, Linking, NetlinkSink, PcapSink, PcapngSink, Sink, TextSink,
    TextStyle, Written,
};
use crate::source::savefile::{Findings, Savefile};

/// The first bytes of a section header of pcapng.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// A number that NET_DM may have.
const FAMILY: u16 = 0x20;

/// Reads a pcapng file.
pub fn pcapng(bytes: &[u8]) {
    if bytes.starts_with(&SECTION) {
        read(bytes);
    }
}

/// Reads a pcap file, of packets or of netlink messages.
pub fn pcap(bytes: &[u8]) {
    if !bytes.starts_with(&SECTION) && !is_compressed(bytes) {
        read(bytes);
    }
}

/// Reads a compressed file, and the same file compressed again.
pub fn compressed(bytes: &[u8]) {
    if is_compressed(bytes) {
        read(bytes);
        return;
    }
    // Written and read back.
    let Some(plain) = written(bytes) else { return };
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("memory takes it");
    let gzip = gzip.finish().expect("memory takes it");
    assert_eq!(written(&gzip).as_ref(), Some(&plain), "through gzip");
    let zstd = zstd::bulk::compress(bytes, 1).expect("memory takes it");
    assert_eq!(written(&zstd).as_ref(), Some(&plain), "through zstd");
}

/// Returns whether the first bytes are those of a compressed file that is read.
fn is_compressed(bytes: &[u8]) -> bool {
    let magics: [&[u8]; 3] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7']];
    magics.iter().any(|magic| bytes.starts_with(magic))
}

/// Returns what a capture file is as pcapng; `None` where no part of it can be read.
fn written(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut file = Savefile::open(bytes).ok()?;
    let host = file.findings().host.clone();
    let copy = FileInMemory::default();
    let mut sink =
        PcapngSink::new(copy.clone(), Linking::Auto, "fuzzing", &host).expect("memory takes it");
    let _ = file.for_each(|record| {
        sink.write(record).expect("memory takes it");
        ControlFlow::<()>::Continue(())
    });
    sink.finish(&ending(file.findings()))
        .expect("memory takes it");
    Some(copy.take())
}

/// Returns what is written at the end of a file that was made of another.
fn ending(findings: &Findings) -> Ending {
    Ending {
        loss: findings.loss,
        period: findings.period,
        incomplete: findings.incomplete.clone(),
        ..Ending::default()
    }
}

/// Reads a capture file and writes it in all formats. Each record is the same in what was written.
fn read(bytes: &[u8]) {
    let Ok(mut file) = Savefile::open(bytes) else {
        return;
    };
    let host = file.findings().host.clone();
    let mut copies = Copies::new(&host, FAMILY);
    let end = file.for_each(|record| {
        assert!(record.original_len as usize >= record.data.len());
        copies.write(record);
        ControlFlow::<()>::Continue(())
    });
    let written = copies.finish(&ending(file.findings()));
    written.check(|same| {
        // In pieces of a few bytes: the reader finds the same. Of compressed data that is damaged, a decoder may
        // give more when it gets less at a time.
        let len = if is_compressed(bytes) {
            bytes.len()
        } else {
            1 + bytes.len() % 61
        };
        let pieces = SmallReads { bytes, len };
        let mut file = match Savefile::open(pieces) {
            Ok(file) => file,
            Err(error) => panic!("opened before, and not in pieces: {error}"),
        };
        let again = file.for_each(|record| {
            same.is_next(record);
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(again, end);
        assert_eq!(file.findings().host, same.file.findings().host);
    });
}

/// Bytes that arrive a few at a time.
struct SmallReads<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl Read for SmallReads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.len.min(buffer.len());
        self.bytes.read(&mut buffer[..len])
    }
}

/// Records in every format.
pub struct Copies {
    pcapng: PcapngSink<FileInMemory>,
    netlink: NetlinkSink<FileInMemory>,
    pcapng_file: FileInMemory,
    netlink_file: FileInMemory,
    others: [Box<dyn Sink>; 4],
    family: u16,
}

impl Copies {
    /// Begins all files. `family` is the number of NET_DM in that of netlink messages.
    pub fn new(host: &CaptureHost, family: u16) -> Self {
        let style = TextStyle {
            detail: Detail::Full,
            ..TextStyle::default()
        };
        let packets = |link| PcapSink::new(io::sink(), link).expect("nothing takes it");
        let (pcapng, netlink) = (FileInMemory::default(), FileInMemory::default());
        Self {
            pcapng: PcapngSink::new(pcapng.clone(), Linking::Auto, "fuzzing", host)
                .expect("memory takes it"),
            netlink: NetlinkSink::new(netlink.clone(), family).expect("memory takes it"),
            pcapng_file: pcapng,
            netlink_file: netlink,
            others: [
                Box::new(packets(LinkType::LINUX_SLL2)),
                Box::new(packets(LinkType::RAW)),
                Box::new(TextSink::new(io::sink(), style)),
                Box::new(JsonSink::new(io::sink())),
            ],
            family,
        }
    }

    /// Writes a record into all files.
    pub fn write(&mut self, record: &DropRecord<'_>) {
        let written = self.pcapng.write(record).expect("memory takes it");
        assert_eq!(written, Written::Yes);
        self.netlink.write(record).expect("memory takes it");
        for sink in &mut self.others {
            sink.write(record).expect("nothing takes it");
        }
    }

    /// Ends all files.
    pub fn finish(mut self, ending: &Ending) -> WrittenFiles {
        for sink in &mut self.others {
            sink.finish(ending).expect("nothing takes it");
        }
        self.pcapng.finish(ending).expect("memory takes it");
        self.netlink.finish(ending).expect("memory takes it");
        WrittenFiles {
            pcapng: self.pcapng_file.take(),
            netlink: self.netlink_file.take(),
            family: self.family,
            ending: ending.clone(),
        }
    }
}

/// The files that are read again.
pub struct WrittenFiles {
    pcapng: Vec<u8>,
    netlink: Vec<u8>,
    family: u16,
    ending: Ending,
}

/// A file of dwdump, record by record.
pub struct ReadBack<'f> {
    file: Savefile<&'f [u8]>,
}

impl ReadBack<'_> {
    /// Panics unless the file's next record is this one.
    pub fn is_next(&mut self, record: &DropRecord<'_>) {
        let next = self.file.for_each(|found| {
            assert_eq!(found, record, "read back");
            ControlFlow::Break(())
        });
        assert_eq!(
            next,
            Ok(ControlFlow::Break(())),
            "not read back: {record:?}"
        );
    }
}

impl WrittenFiles {
    /// Compares what was written with what is read back. `records` names the records in their order.
    pub fn check(&self, records: impl FnOnce(&mut ReadBack<'_>)) {
        let file = match Savefile::open(&self.pcapng[..]) {
            Ok(file) => file,
            Err(error) => panic!("own file is not read: {error}"),
        };
        let mut same = ReadBack { file };
        records(&mut same);
        let end = same.file.for_each(|_| ControlFlow::Break(()));
        assert_eq!(end, Ok(ControlFlow::Continue(())), "more than was written");
        let findings = same.file.findings();
        assert_eq!(findings.loss, self.ending.loss);
        assert_eq!(findings.incomplete, self.ending.incomplete);
        if self.ending.period.is_some() {
            assert_eq!(findings.period, self.ending.period);
        }
        // The kernel's format holds less. What it holds of what was read from it is the same.
        if let Some(once) = self.again(&self.netlink) {
            assert_eq!(self.again(&once), Some(once), "written again");
        }
    }

    /// Returns what a file of netlink messages is when it is read and written; `None` if it has no drop.
    fn again(&self, netlink: &[u8]) -> Option<Vec<u8>> {
        let mut file = Savefile::open(netlink).ok()?;
        let copy = FileInMemory::default();
        let mut sink = NetlinkSink::new(copy.clone(), self.family).expect("memory takes it");
        let mut count = 0_u32;
        let end = file.for_each(|record| {
            let written = sink.write(record).expect("memory takes it");
            assert_eq!(written, Written::Yes, "{record:?}");
            count += 1;
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(end, Ok(ControlFlow::Continue(())));
        sink.finish(&self.ending).expect("memory takes it");
        (count > 0).then(|| copy.take())
    }
}
