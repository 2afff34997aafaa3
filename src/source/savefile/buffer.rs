//! A contiguous buffer of bytes that were read and not parsed yet.

/// Bytes that are asked for at once, unless a longer block waits for its rest: few enough to be in the
/// processor's cache still when they are looked at.
pub const MIN_READ: usize = 128 * 1024;

/// A buffer that is filled at its end and emptied at its beginning.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that wait.
    #[inline]
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes bytes away from the beginning.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }

    /// Room for more bytes, of which [`filled`](Self::filled) tells how many came. It is [`MIN_READ`] long; where
    /// `wanted` bytes are to be in one piece, it is longer, but grows with what is there, so that a length that
    /// is a lie takes no memory.
    pub fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let missing = wanted.saturating_sub(self.end);
        let end = self.end + missing.min(self.end).max(MIN_READ);
        if self.bytes.len() < end {
            // And some more, since the next time another part of a block waits.
            // Fresh zeroed memory costs nothing until it is used.
            let mut bytes = vec![0; end + MIN_READ];
            bytes[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = bytes;
        }
        &mut self.bytes[self.end..end]
    }

    /// So many bytes were put into the room.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// Adds bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.space(0);
            let len = rest.len().min(space.len());
            space[..len].copy_from_slice(&rest[..len]);
            self.filled(len);
            rest = &rest[len..];
        }
    }
}
