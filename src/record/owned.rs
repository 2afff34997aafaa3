//! A record that owns its bytes.

use super::{DropRecord, Link, OwnedFacts, PacketFlags, Timestamp};

/// A copy of a [`DropRecord`] without its [`notes`](DropRecord::notes), which only records of
/// capture files have, and which no owner of a copy needs.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    time: Option<Timestamp>,
    facts: OwnedFacts,
    link: Link,
    original_len: u32,
    flags: PacketFlags,
    data: Vec<u8>,
}

impl OwnedRecord {
    /// Copies a record.
    pub fn new(record: &DropRecord<'_>) -> Self {
        let mut owned = Self {
            time: None,
            facts: OwnedFacts::default(),
            link: record.link,
            original_len: 0,
            flags: PacketFlags::default(),
            data: Vec::new(),
        };
        owned.set(record);
        owned
    }

    /// Copies a record into this one. Allocates nothing if the buffers are large enough.
    pub fn set(&mut self, record: &DropRecord<'_>) {
        self.facts.set(record);
        self.data.clear();
        self.data.extend_from_slice(record.data);
        self.time = record.time;
        self.link = record.link;
        self.original_len = record.original_len;
        self.flags = record.flags;
    }

    /// Returns the record.
    pub fn record(&self) -> DropRecord<'_> {
        DropRecord {
            time: self.time,
            link: self.link,
            original_len: self.original_len,
            flags: self.flags,
            data: &self.data,
            ..self.facts.record()
        }
    }

    /// Returns how many bytes the record owns beside its own size.
    pub fn byte_count(&self) -> usize {
        self.facts.byte_count() + self.data.capacity()
    }
}
