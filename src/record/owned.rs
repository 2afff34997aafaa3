//! A record that owns its bytes, to be kept.

use super::{DropRecord, Link, Packed, PacketFlags, Timestamp};

/// A copy of a [`DropRecord`], without its [`notes`](DropRecord::notes): only records of a capture
/// file have some, and nobody keeps those.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    time: Option<Timestamp>,
    facts: Packed,
    /// The names of the facts, one behind the other.
    names: Vec<u8>,
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
            facts: Packed::default(),
            names: Vec::new(),
            link: record.link,
            original_len: 0,
            flags: PacketFlags::default(),
            data: Vec::new(),
        };
        owned.set(record);
        owned
    }

    /// Becomes a copy of a record. Allocates nothing where the buffers are large enough.
    pub fn set(&mut self, record: &DropRecord<'_>) {
        let names = self.facts.set(record);
        self.names.clear();
        for name in names.as_slice() {
            self.names.extend_from_slice(name);
        }
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
            ..self.facts.record(&self.names)
        }
    }

    /// Returns how many bytes the record owns beside its own size.
    pub fn byte_count(&self) -> usize {
        self.names.capacity() + self.data.capacity()
    }
}
