//! A contiguous buffer of bytes that were read and not parsed yet.

/// The number of bytes to read at once, unless a longer block is incomplete: few enough to be still
/// in the processor's cache when they are parsed.
pub const MIN_READ: usize = 128 * 1024;

/// A buffer that is filled at its end and emptied at its beginning.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Returns the bytes that were not consumed yet.
    #[inline]
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Removes bytes from the beginning.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
    }

    /// Returns space for more bytes; [`filled`](Self::filled) takes the number that was written to
    /// it. It has [`MIN_READ`] bytes. If `wanted` bytes have to be contiguous, it is longer, but
    /// grows only in proportion to the pending bytes, so that a false length takes no memory.
    pub fn space(&mut self, wanted: usize) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let missing = wanted.saturating_sub(self.end);
        let end = self.end + missing.min(self.end).max(MIN_READ);
        if self.bytes.len() < end {
            // A little more, because the next incomplete block begins elsewhere. Fresh zeroed
            // memory costs nothing until it is used.
            let mut bytes = vec![0; end + MIN_READ];
            bytes[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = bytes;
        }
        &mut self.bytes[self.end..end]
    }

    /// Notes that so many bytes were written to the space.
    pub fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.bytes.len());
    }

    /// Appends bytes.
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
