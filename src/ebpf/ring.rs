//! Parses the records of a perf buffer (`struct perf_event_header`, linux/perf_event.h). The buffer is a
//! ring: a record that reaches the end of its memory continues at the beginning.

use super::report;

/// The type of a record that a program wrote (`PERF_RECORD_SAMPLE`).
const SAMPLE: u32 = 9;
/// Bytes of a record's header: type, misc, size.
const HEADER_LEN: usize = 8;
/// Bytes before a sample's data: the header, and the data's length.
const DATA_AT: usize = HEADER_LEN + 4;

/// The records that wait in a buffer.
#[derive(Debug)]
pub struct Records<'a> {
    /// The waiting bytes: up to the memory's end, and from its beginning on.
    pieces: [&'a [u8]; 2],
    /// Room for the record that is in both, of which there is one at most.
    joined: Option<&'a mut Vec<u8>>,
    next: Option<Sample<'a>>,
    taken: usize,
    damaged: u64,
}

/// A record that a program wrote.
#[derive(Clone, Copy, Debug)]
struct Sample<'a> {
    time: u64,
    report: &'a [u8],
    /// Bytes of the whole record.
    len: usize,
}

impl<'a> Records<'a> {
    /// Creates a reader of the waiting bytes, which begin with a record. One that continues at the beginning of the
    /// memory is copied into `joined`.
    pub fn new(pieces: [&'a [u8]; 2], joined: &'a mut Vec<u8>) -> Self {
        Self {
            pieces,
            joined: Some(joined),
            next: None,
            taken: 0,
            damaged: 0,
        }
    }

    /// Returns the time of the next report, and skips other records before it. If the next bytes cannot be
    /// a record, all are skipped.
    #[inline]
    pub fn peek(&mut self) -> Option<u64> {
        while self.next.is_none() {
            let record = self.record()?;
            let header = record.first_chunk()?;
            let report = record.get(DATA_AT..).unwrap_or_default();
            let len = record.len();
            self.next = report::time(report)
                .filter(|_| kind(*header) == SAMPLE && report.len() >= report::HEADER_LEN)
                .map(|time| Sample { time, report, len });
            if self.next.is_none() {
                // Another type, such as the kernel's own count of lost records, which the program counts, too.
                self.damaged += u64::from(kind(*header) == SAMPLE);
                self.taken += len;
            }
        }
        self.next.map(|sample| sample.time)
    }

    /// Takes the next report.
    #[inline]
    pub fn take(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let Sample { report, len, .. } = self.next.take()?;
        self.taken += len;
        Some(report)
    }

    /// Returns the number of bytes that were taken or skipped.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Returns the number of records that could not be decoded.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Splits off the next record. A length that exceeds the waiting bytes is damage.
    #[inline]
    fn record(&mut self) -> Option<&'a [u8]> {
        let [first, second] = self.pieces;
        if first.is_empty() {
            self.pieces = [second, &[]];
        }
        let [first, second] = self.pieces;
        match first.first_chunk().map(|header| record_len(*header)) {
            Some(len) if (HEADER_LEN..=first.len()).contains(&len) => {
                let (record, rest) = first.split_at(len);
                self.pieces = [rest, second];
                Some(record)
            }
            _ => self.joined_record(),
        }
    }

    /// The same where the record is not whole in the first piece.
    #[cold]
    fn joined_record(&mut self) -> Option<&'a [u8]> {
        let [first, second] = self.pieces;
        let mut header = [0; HEADER_LEN];
        let mut bytes = first.iter().chain(second);
        for place in &mut header {
            *place = *bytes.next()?;
        }
        let len = record_len(header);
        let missing = len.checked_sub(first.len()).filter(|_| len >= HEADER_LEN);
        let Some((end, rest)) = missing.and_then(|missing| second.split_at_checked(missing)) else {
            self.damaged += 1;
            self.taken += first.len() + second.len();
            self.pieces = [&[]; 2];
            return None;
        };
        self.pieces = [rest, &[]];
        let joined = self.joined.take()?;
        joined.clear();
        joined.extend_from_slice(first);
        joined.extend_from_slice(end);
        Some(joined)
    }
}

/// Returns the type of a record.
fn kind([a, b, c, d, ..]: [u8; HEADER_LEN]) -> u32 {
    u32::from_ne_bytes([a, b, c, d])
}

/// Returns the length of a record, in bytes.
fn record_len([.., low, high]: [u8; HEADER_LEN]) -> usize {
    u16::from_ne_bytes([low, high]).into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sample of the time and so many bytes after the report's header.
    pub fn sample(time: u64, more: usize) -> Vec<u8> {
        let mut data = time.to_ne_bytes().to_vec();
        data.resize(report::HEADER_LEN + more, u8::try_from(time).unwrap());
        record(SAMPLE, &data)
    }

    pub fn record(kind: u32, data: &[u8]) -> Vec<u8> {
        // The length of the data is such that the record's is a multiple of 8.
        let len = (DATA_AT + data.len()).next_multiple_of(8);
        let mut record = kind.to_ne_bytes().to_vec();
        record.extend([0, 0]);
        record.extend(u16::try_from(len).unwrap().to_ne_bytes());
        record.extend(u32::try_from(len - DATA_AT).unwrap().to_ne_bytes());
        record.extend(data);
        record.resize(len, 0);
        record
    }

    /// The length of what a sample with so many bytes behind the report's header holds.
    fn data_len(more: usize) -> usize {
        (DATA_AT + report::HEADER_LEN + more).next_multiple_of(8) - DATA_AT
    }

    /// The times and lengths of the reports in `bytes`, of which `split` stand at the memory's end; the bytes taken, and
    /// the records damaged.
    fn read(bytes: &[u8], split: usize) -> (Vec<(u64, usize)>, (usize, u64)) {
        let (first, second) = bytes.split_at(split);
        let mut joined = Vec::new();
        let mut records = Records::new([first, second], &mut joined);
        let mut found = Vec::new();
        while let Some(time) = records.peek() {
            let data = records.take().unwrap();
            assert_eq!(report::time(data), Some(time));
            let byte = u8::try_from(time).unwrap();
            let filling = &data[8..data.len() - 4];
            assert!(filling.iter().all(|&found| found == byte), "{data:?}");
            found.push((time, data.len()));
        }
        (found, (records.taken(), records.damaged()))
    }

    #[test]
    fn a_record_may_continue_at_the_beginning_of_the_memory() {
        let bytes = [sample(1, 60), sample(2, 8), sample(3, 100)].concat();
        let expected = [(1, data_len(60)), (2, data_len(8)), (3, data_len(100))];
        for split in 0..=bytes.len() {
            let (found, counts) = read(&bytes, split);
            assert_eq!(found, expected, "{split}");
            assert_eq!(counts, (bytes.len(), 0));
        }
    }

    #[test]
    fn records_of_other_types_are_skipped() {
        let lost = record(2, &[0; 16]);
        let bytes = [lost.clone(), sample(1, 4), lost].concat();
        let (found, counts) = read(&bytes, 30);
        assert_eq!(found, [(1, data_len(4))]);
        assert_eq!(counts, (bytes.len(), 0));
    }

    #[test]
    fn a_sample_too_short_for_a_report_is_counted_as_damaged() {
        let bytes = [record(SAMPLE, &[0; 16]), sample(1, 4)].concat();
        let (found, counts) = read(&bytes, bytes.len());
        assert_eq!(found, [(1, data_len(4))]);
        assert_eq!(counts, (bytes.len(), 1));
    }

    #[test]
    fn an_impossible_length_ends_the_reading() {
        for len in [0_u16, 7, 500] {
            let mut bytes = [sample(1, 4), sample(2, 4)].concat();
            let second = bytes.len() / 2;
            bytes[second + 6..second + 8].copy_from_slice(&len.to_ne_bytes());
            let (found, counts) = read(&bytes, 40);
            assert_eq!(found, [(1, data_len(4))]);
            assert_eq!(counts, (bytes.len(), 1));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400), split in 0_usize..400) {
            let (first, second) = bytes.split_at(split.min(bytes.len()));
            let mut joined = Vec::new();
            let mut records = Records::new([first, second], &mut joined);
            while records.peek().is_some() {
                let data = records.take().unwrap();
                report::Report::decode(data);
            }
            prop_assert!(records.taken() <= bytes.len());
        }
    }
}
