//! Decompresses capture files (gzip, zstd and xz) as their bytes come. Memory is bounded by the
//! largest window that is accepted. If a file is truncated or damaged, everything before the damage
//! is decompressed.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use lzma_rust2::{Action, Status, XzStream};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::buffer::Buffer;
use super::{Foreign, OpenError};

/// The largest window of zstd, as a power of two: zstd's own default limit, 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The number of bytes of xz that are decompressed at once: when a call fails, all its output is
/// lost.
const XZ_STEP: usize = 32;
/// The most memory for xz, in KiB: twice what its highest level needs.
const XZ_MEMORY: u32 = 128 * 1024;

/// A compression of capture files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionKind {
    Gzip,
    Zstd,
    Xz,
    /// A compression that is recognised by its first bytes, but not supported.
    Foreign(Foreign),
}

impl CompressionKind {
    /// Returns the compression of a file that begins with these bytes; six are enough.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let foreign = |name, command| Some(Self::Foreign(Foreign { name, command }));
        match *bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or a skippable frame (RFC 8878, 3.1).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => foreign("bzip2", "bzcat"),
            [0x04, 0x22, 0x4d, 0x18, ..] => foreign("lz4", "lz4cat"),
            [b'L', b'Z', b'I', b'P', ..] => foreign("lzip", "lzip -dc"),
            [0x89, b'L', b'Z', b'O', ..] => foreign("lzop", "lzop -dc"),
            [0x1f, 0x9d, ..] => foreign("compress", "zcat"),
            [0x5d, 0, 0, ..] => foreign("lzma", "lzcat"),
            [b'P', b'K', 3, 4, ..] => foreign("zip", "unzip -p"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => foreign("7z", "7z x -so"),
            _ => None,
        }
    }
}

/// A compressed file with its decoder.
pub struct Decompression {
    /// Bytes of the file that were not decompressed yet.
    raw: Buffer,
    codec: Codec,
    /// The error that ended the decompression.
    failure: Option<String>,
}

impl Codec {
    /// Returns whether the compressed data is complete, when there are no more bytes and the last
    /// step produced none.
    fn is_over(&self) -> bool {
        match self {
            Self::Gzip(_) | Self::Zstd(_) => true,
            Self::Xz(codec) => codec.is_finished,
        }
    }
}

enum Codec {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
    Xz(Box<Xz>),
}

/// The result of decompressing some bytes.
#[derive(Default)]
struct Step {
    consumed: usize,
    produced: usize,
    failure: Option<String>,
}

impl Decompression {
    pub fn new(kind: CompressionKind) -> Result<Self, OpenError> {
        let codec = match kind {
            CompressionKind::Gzip => Codec::Gzip(Box::default()),
            CompressionKind::Zstd => Codec::Zstd(Zstd::new()?),
            CompressionKind::Xz => Codec::Xz(Box::new(Xz {
                stream: XzStream::new_mem_limit(true, XZ_MEMORY),
                is_finished: false,
                is_drained: false,
            })),
            CompressionKind::Foreign(foreign) => return Err(OpenError::Compressed(foreign)),
        };
        Ok(Self {
            raw: Buffer::default(),
            codec,
            failure: None,
        })
    }

    /// Returns space for bytes of the file.
    pub fn space(&mut self) -> &mut [u8] {
        self.raw.space(0)
    }

    /// Notes that so many bytes were written to the space.
    pub fn filled(&mut self, len: usize) {
        self.raw.filled(len);
    }

    /// Appends the first bytes of the file.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.raw.extend(bytes);
    }

    /// Returns whether more bytes of the file are needed.
    pub fn needs_bytes(&self) -> bool {
        self.raw.pending().is_empty()
    }

    /// Decompresses into `output`, which is not empty, and returns how many bytes were written to
    /// it: none if more bytes of the file are needed, or if the file has ended, which `is_ended`
    /// tells.
    pub fn run(&mut self, output: &mut [u8], is_ended: bool) -> Result<usize, String> {
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            let raw = self.raw.pending();
            if raw.is_empty() && !is_ended {
                return Ok(0);
            }
            let has_input = !raw.is_empty();
            let step = match &mut self.codec {
                Codec::Gzip(codec) => codec.step(raw, output),
                Codec::Zstd(codec) => codec.step(raw, output),
                Codec::Xz(codec) => codec.step(raw, output),
            };
            self.raw.consume(step.consumed);
            self.failure = step.failure;
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if step.consumed == 0 && self.failure.is_none() {
                if !has_input && self.codec.is_over() {
                    return Ok(0);
                }
                if !has_input {
                    continue;
                }
                self.failure = Some("the compressed data is malformed".into());
            }
        }
    }
}

fn cut(name: &str) -> String {
    format!("the {name} data is cut short")
}

fn damaged(name: &str, error: &io::Error) -> String {
    let words = error.to_string();
    // The messages of libzstd and lzma-rust2 for a window or a dictionary beyond the limit.
    if words.contains("too much memory") || words.contains("mem_limit") {
        return format!("the {name} data needs more memory than is allowed here");
    }
    format!("the {name} data is damaged: {words}")
}

/// gzip, any number of members (RFC 1952).
#[derive(Default)]
struct Gzip {
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// Decompressed bytes that were not passed on yet.
    output: Buffer,
    is_finished: bool,
    failure: Option<String>,
}

impl Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut step = Step::default();
        if self.output.pending().is_empty() && !self.is_finished {
            let decoder = self
                .decoder
                .get_or_insert_with(|| MultiGzDecoder::new(Vec::new()));
            let written = if input.is_empty() {
                self.is_finished = true;
                decoder.try_finish().map(|()| 0)
            } else {
                decoder.write(input)
            };
            match written {
                Ok(len) => step.consumed = len,
                Err(error) => {
                    self.is_finished = true;
                    step.consumed = input.len();
                    self.failure = Some(match error.kind() {
                        io::ErrorKind::UnexpectedEof => cut("gzip"),
                        _ => damaged("gzip", &error),
                    });
                }
            }
            let decompressed = decoder.get_mut();
            self.output.extend(decompressed);
            decompressed.clear();
        }
        let pending = self.output.pending();
        step.produced = pending.len().min(output.len());
        output[..step.produced].copy_from_slice(&pending[..step.produced]);
        self.output.consume(step.produced);
        if step.produced == 0 {
            step.failure = self.failure.take();
        }
        step
    }
}

/// zstd, any number of frames (RFC 8878).
struct Zstd {
    decoder: Decoder<'static>,
    /// The number of bytes that the decoder asks for next; 0 between frames.
    wanted: usize,
}

impl Zstd {
    fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self { decoder, wanted: 0 })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        // No more than the decoder asks for: when a call fails, all its output is lost, which is
        // then one block.
        let len = input.len().min(self.wanted.max(1));
        let mut input = InBuffer::around(&input[..len]);
        let mut output = OutBuffer::around(output);
        let result = self.decoder.run(&mut input, &mut output);
        let failure = match result {
            Ok(wanted) => {
                let is_over = len == 0 && output.pos() == 0 && wanted > 0 && self.wanted > 0;
                if len > 0 || output.pos() > 0 {
                    self.wanted = wanted;
                }
                is_over.then(|| cut("zstd"))
            }
            Err(error) => Some(damaged("zstd", &error)),
        };
        Step {
            consumed: input.pos(),
            produced: output.pos(),
            failure,
        }
    }
}

/// xz, any number of streams.
struct Xz {
    stream: XzStream,
    is_finished: bool,
    /// No more output comes from the available bytes.
    is_drained: bool,
}

impl Xz {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if self.is_finished {
            return Step {
                consumed: input.len(),
                ..Step::default()
            };
        }
        let is_over = input.is_empty();
        let input = &input[..input.len().min(XZ_STEP)];
        let action = if is_over && self.is_drained {
            Action::Finish
        } else {
            Action::Run
        };
        let before = (self.stream.total_in(), self.stream.total_out());
        let result = self.stream.process(input, output, action);
        let since = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(0);
        let mut step = Step {
            consumed: since(self.stream.total_in(), before.0),
            produced: since(self.stream.total_out(), before.1).min(output.len()),
            failure: None,
        };
        match result {
            Ok(result) => {
                self.is_finished = result.status == Status::StreamEnd;
                let is_stuck = is_over && step.produced == 0 && !self.is_finished;
                step.failure = (is_stuck && self.is_drained).then(|| cut("xz"));
                self.is_drained = is_stuck;
            }
            Err(error) => {
                step.failure = Some(match error.kind() {
                    io::ErrorKind::UnexpectedEof => cut("xz"),
                    _ => damaged("xz", &error),
                });
            }
        }
        step
    }
}
