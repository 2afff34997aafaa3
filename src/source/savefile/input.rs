//! Passes the bytes of a file to the reader, decompressed if necessary.

use super::OpenError;
use super::buffer::Buffer;
use super::compression::{CompressionKind, Decompression};

/// The bytes of the file that were read and not parsed yet.
#[derive(Default)]
pub struct Input {
    buffer: Buffer,
    decompression: Option<Decompression>,
    /// The number of bytes of the capture before those in the buffer.
    offset: u64,
    /// The number of bytes that have to be contiguous.
    wanted: usize,
    is_ended: bool,
    /// The error for which no more bytes come.
    failure: Option<String>,
}

impl Input {
    /// Returns the bytes that can be parsed.
    #[inline]
    pub fn pending(&self) -> &[u8] {
        self.buffer.pending()
    }

    /// Removes bytes from the beginning.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        self.buffer.consume(len);
        self.offset += len as u64;
    }

    /// Returns the position of the pending bytes in the decompressed capture.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns space for bytes of the file.
    pub fn space(&mut self) -> &mut [u8] {
        match &mut self.decompression {
            Some(decompression) => decompression.space(),
            None => self.buffer.space(self.wanted),
        }
    }

    /// Notes that so many bytes were written to the space.
    pub fn filled(&mut self, len: usize) {
        match &mut self.decompression {
            Some(decompression) => decompression.filled(len),
            None => self.buffer.filled(len),
        }
    }

    /// Notes that no more bytes come, and the error if there was one.
    pub fn end(&mut self, failure: Option<String>) {
        self.is_ended = true;
        self.failure = failure;
    }

    /// Asks for `wanted` pending bytes. Returns whether more bytes of the file are needed for that.
    /// If not, and there are still fewer, the capture has ended.
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

    /// Returns the error for which no more bytes come.
    pub fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Returns the description of the damage if bytes are missing at the end.
    pub fn cut(&self) -> String {
        let what = self.failure.as_deref().unwrap_or("the file is cut short");
        format!("{what}, in the packet or block")
    }

    /// Starts the decompression if the file is compressed.
    pub fn begin_decompression(&mut self) -> Result<bool, OpenError> {
        if self.decompression.is_some() {
            return Ok(false);
        }
        let Some(kind) = CompressionKind::of(self.pending()) else {
            return Ok(false);
        };
        let mut decompression = Decompression::new(kind)?;
        decompression.extend(self.buffer.pending());
        self.buffer = Buffer::default();
        self.decompression = Some(decompression);
        Ok(true)
    }
}
