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
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The waiting bytes: up to the memory's end, and from its beginning on.
    pieces: [&'a [u8]; 2],
    at: usize,
    damaged: u64,
}

impl<'a> Records<'a> {
    /// Creates a reader of the waiting bytes, which begin with a record.
    pub fn new(pieces: [&'a [u8]; 2]) -> Self {
        Self {
            pieces,
            at: 0,
            damaged: 0,
        }
    }

    /// Returns the time of the next report, and skips other records before it. If the next bytes cannot be
    /// a record, all are skipped.
    pub fn peek(&mut self) -> Option<u64> {
        loop {
            let (kind, len) = self.record()?;
            if kind == SAMPLE
                && let Some(bytes) = self.copy(self.at + DATA_AT)
                && len >= DATA_AT + report::HEADER_LEN
            {
                return Some(u64::from_ne_bytes(bytes));
            }
            // Another type, such as the kernel's own count of lost records, which the program counts, too.
            self.damaged += u64::from(kind == SAMPLE);
            self.at += len;
        }
    }

    /// Takes the next report. It is copied into `joined` if it continues at the beginning of the memory.
    pub fn take<'j>(&mut self, joined: &'j mut Vec<u8>) -> Option<&'j [u8]>
    where
        'a: 'j,
    {
        self.peek()?;
        let (_, len) = self.record()?;
        let (start, end) = (self.at + DATA_AT, self.at + len);
        self.at = end;
        let [first, second] = self.pieces;
        if end <= first.len() {
            return first.get(start..end);
        }
        if let Some(start) = start.checked_sub(first.len()) {
            return second.get(start..end - first.len());
        }
        joined.clear();
        joined.extend_from_slice(&first[start..]);
        joined.extend_from_slice(second.get(..end - first.len())?);
        Some(joined)
    }

    /// Returns the number of bytes that were taken or skipped.
    pub fn taken(&self) -> usize {
        self.at
    }

    /// Returns the number of records that could not be decoded.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Returns the type and the length of the next record. A length that exceeds the waiting bytes is damage.
    fn record(&mut self) -> Option<(u32, usize)> {
        let waiting = self.pieces[0].len() + self.pieces[1].len();
        let header = self.copy(self.at)?;
        let [a, b, c, d, _, _, low, high]: [u8; HEADER_LEN] = header;
        let len = usize::from(u16::from_ne_bytes([low, high]));
        if len < HEADER_LEN || len > waiting - self.at {
            self.damaged += 1;
            self.at = waiting;
            return None;
        }
        Some((u32::from_ne_bytes([a, b, c, d]), len))
    }

    fn copy<const LEN: usize>(&self, at: usize) -> Option<[u8; LEN]> {
        let [first, second] = self.pieces;
        if let Some(bytes) = first.get(at..).and_then(|rest| rest.first_chunk()) {
            return Some(*bytes);
        }
        let mut bytes = [0; LEN];
        for (byte, at) in bytes.iter_mut().zip(at..) {
            let in_second = || second.get(at.checked_sub(first.len())?);
            *byte = *first.get(at).or_else(in_second)?;
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sample of the time and so many bytes after the report's header.
    fn sample(time: u64, more: usize) -> Vec<u8> {
        let mut data = time.to_ne_bytes().to_vec();
        data.resize(report::HEADER_LEN + more, u8::try_from(time).unwrap());
        record(SAMPLE, &data)
    }

    fn record(kind: u32, data: &[u8]) -> Vec<u8> {
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

    /// The times and lengths of the reports in `bytes`, of which `split` stand at the memory's end.
    fn read(bytes: &[u8], split: usize) -> (Vec<(u64, usize)>, Records<'_>) {
        let (first, second) = bytes.split_at(split);
        let mut records = Records::new([first, second]);
        let mut joined = Vec::new();
        let mut found = Vec::new();
        while let Some(time) = records.peek() {
            let data = records.take(&mut joined).unwrap();
            assert_eq!(report::time(data), Some(time));
            let byte = u8::try_from(time).unwrap();
            let filling = &data[8..data.len() - 4];
            assert!(filling.iter().all(|&found| found == byte), "{data:?}");
            found.push((time, data.len()));
        }
        (found, records)
    }

    #[test]
    fn a_record_may_continue_at_the_beginning_of_the_memory() {
        let bytes = [sample(1, 60), sample(2, 8), sample(3, 100)].concat();
        let expected = [(1, data_len(60)), (2, data_len(8)), (3, data_len(100))];
        for split in 0..=bytes.len() {
            let (found, records) = read(&bytes, split);
            assert_eq!(found, expected, "{split}");
            assert_eq!((records.taken(), records.damaged()), (bytes.len(), 0));
        }
    }

    #[test]
    fn records_of_other_types_are_skipped() {
        let lost = record(2, &[0; 16]);
        let bytes = [lost.clone(), sample(1, 4), lost].concat();
        let (found, records) = read(&bytes, 30);
        assert_eq!(found, [(1, data_len(4))]);
        assert_eq!((records.taken(), records.damaged()), (bytes.len(), 0));
    }

    #[test]
    fn a_sample_too_short_for_a_report_is_counted_as_damaged() {
        let bytes = [record(SAMPLE, &[0; 16]), sample(1, 4)].concat();
        let (found, records) = read(&bytes, bytes.len());
        assert_eq!(found, [(1, data_len(4))]);
        assert_eq!(records.damaged(), 1);
    }

    #[test]
    fn an_impossible_length_ends_the_reading() {
        for len in [0_u16, 7, 500] {
            let mut bytes = [sample(1, 4), sample(2, 4)].concat();
            let second = bytes.len() / 2;
            bytes[second + 6..second + 8].copy_from_slice(&len.to_ne_bytes());
            let (found, records) = read(&bytes, 40);
            assert_eq!(found, [(1, data_len(4))]);
            assert_eq!((records.taken(), records.damaged()), (bytes.len(), 1));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400), split in 0_usize..400) {
            let (first, second) = bytes.split_at(split.min(bytes.len()));
            let mut records = Records::new([first, second]);
            let mut joined = Vec::new();
            while records.peek().is_some() {
                let data = records.take(&mut joined).unwrap();
                report::Report::decode(data);
            }
            prop_assert!(records.taken() <= bytes.len());
        }
    }
}
