//! Keeps the last packets for the pages of rows, in a ring of buffers that are used again.

use crate::record::{DropRecord, OwnedRecord};

/// The number of packets that are kept.
const PACKETS: usize = 1000;
/// The bytes that are kept of each packet: enough for its headers, also inside a tunnel.
const BYTES: usize = 256;

/// The packets that were counted last.
#[derive(Clone, Debug, Default)]
pub struct LastPackets {
    packets: Vec<OwnedRecord>,
    /// The position of the oldest packet, which the next one replaces once all places are taken.
    next: usize,
}

impl LastPackets {
    /// Keeps a packet. Allocates nothing once the buffers have grown to their final size.
    pub fn push(&mut self, record: &DropRecord<'_>) {
        let record = shortened(record);
        if self.packets.len() < PACKETS {
            self.packets.push(OwnedRecord::new(&record));
        } else {
            self.packets[self.next].set(&record);
            self.next = (self.next + 1) % PACKETS;
        }
    }

    /// Returns the packets, the newest first.
    pub fn records(&self) -> impl Iterator<Item = DropRecord<'_>> {
        let (newer, older) = self.packets.split_at(self.next);
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        newest_first.map(OwnedRecord::record)
    }
}

/// Returns the record with the part of its bytes that is kept.
fn shortened<'a>(record: &DropRecord<'a>) -> DropRecord<'a> {
    let data = &record.data[..record.data.len().min(BYTES)];
    DropRecord { data, ..*record }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Timestamp;
    use crate::source::savefile::Savefile;
    use std::fs::File;
    use std::ops::ControlFlow;

    #[test]
    fn the_last_packets_are_as_they_came() {
        for path in ["fixtures/software-6.12.pcap", "fixtures/hardware-6.12.pcap"] {
            let mut file = Savefile::open(File::open(path).unwrap()).unwrap();
            let mut recent = LastPackets::default();
            let mut seen = 0;
            let _ = file.for_each(|record| {
                recent.push(record);
                seen += 1;
                assert_eq!(recent.records().next(), Some(shortened(record)));
                ControlFlow::<()>::Continue(())
            });
            assert!(seen > 50, "{path}");
            assert_eq!(recent.records().count(), seen.min(PACKETS));
        }
    }

    #[test]
    fn older_packets_make_room_and_no_memory_is_taken_for_it() {
        let mut file = Savefile::open(File::open("fixtures/software-6.12.pcap").unwrap()).unwrap();
        let mut recent = LastPackets::default();
        let mut number = 0;
        let _ = file.for_each(|record| {
            let mut record = *record;
            for _ in 0..PACKETS * 3 {
                number += 1;
                record.time = Some(Timestamp(number));
                recent.push(&record);
            }
            ControlFlow::Break(())
        });
        let times: Vec<u64> = recent
            .records()
            .filter_map(|record| Some(record.time?.0))
            .collect();
        let expected: Vec<u64> = (number - PACKETS as u64 + 1..=number).rev().collect();
        assert_eq!(times, expected);
        let record = recent.clone();
        let record = record.records().next().unwrap();
        let taken = allocation_counter::measure(|| {
            for _ in 0..PACKETS * 2 {
                recent.push(&record);
            }
        });
        assert_eq!(taken.count_total, 0);
    }
}
