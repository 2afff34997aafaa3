//! Passes the bytes of a file to the reader, decompressed if necessary.

use super::OpenError;
use super::buffer::Buffer;
use super::compression::{Decompression, Kind};

/// What came of the file and was not read yet.
#[derive(Default)]
pub struct Input {
    buffer: Buffer,
    decompression: Option<Decompression>,
    /// Bytes of the capture before those in the buffer.
    offset: u64,
    /// Bytes that have to be in one piece.
    wanted: usize,
    is_ended: bool,
    /// Why the bytes end before the file does.
    failure: Option<String>,
}

impl Input {
    /// The bytes that can be read.
    #[inline]
    pub fn pending(&self) -> &[u8] {
        self.buffer.pending()
    }

    /// Takes bytes away from the beginning.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        self.buffer.consume(len);
        self.offset += len as u64;
    }

    /// Where the pending bytes begin in the capture, decompressed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Room for bytes of the file.
    pub fn space(&mut self) -> &mut [u8] {
        match &mut self.decompression {
            Some(decompression) => decompression.space(),
            None => self.buffer.space(self.wanted),
        }
    }

    /// So many bytes were put into the room.
    pub fn filled(&mut self, len: usize) {
        match &mut self.decompression {
            Some(decompression) => decompression.filled(len),
            None => self.buffer.filled(len),
        }
    }

    /// No more bytes come, perhaps for this reason.
    pub fn end(&mut self, failure: Option<String>) {
        self.is_ended = true;
        self.failure = failure;
    }

    /// Fewer than `wanted` bytes are pending: whether bytes of the file are needed for more. Where they are not,
    /// and there still are fewer, that was all.
    pub fn more(&mut self, wanted: usize) -> bool {
        self.wanted = wanted;
        let Some(decompression) = &mut self.decompression else {
            return !self.is_ended;
        };
        while self.buffer.pending().len() < wanted && self.failure.is_none() {
            let space = self.buffer.space(wanted);
            match decompression.run(space, self.is_ended) {
                Ok(0) if decompression.needs_bytes() && !self.is_ended => return true,
                Ok(0) if self.is_ended => break,
                Ok(len) => self.buffer.filled(len),
                Err(what) => self.failure = Some(what),
            }
        }
        false
    }

    /// Why the bytes end before the file does.
    pub fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// What is wrong where bytes are missing.
    pub fn cut(&self) -> String {
        let what = self.failure.as_deref().unwrap_or("the file is cut short");
        format!("{what}, in the packet or block")
    }

    /// Decompresses from here on, if that is what the bytes need.
    pub fn begin_decompression(&mut self) -> Result<bool, OpenError> {
        if self.decompression.is_some() {
            return Ok(false);
        }
        let Some(kind) = Kind::of(self.pending()) else {
            return Ok(false);
        };
        let mut decompression = Decompression::new(kind)?;
        decompression.extend(self.buffer.pending());
        self.buffer = Buffer::default();
        self.decompression = Some(decompression);
        Ok(true)
    }
}
