//! Compresses the output of any other sink.

use std::cell::RefCell;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::{BUFFER_LEN, Ending, Sink, Written};
use crate::record::DropRecord;

/// The compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Compression {
    /// Returns the compression that a file's name ends with, and the name without that ending.
    pub fn of(path: &Path) -> Option<(Self, PathBuf)> {
        let extension = path.extension()?;
        let is = |name: &str| extension.eq_ignore_ascii_case(name);
        let compression = match () {
            () if is("gz") => Self::Gzip,
            () if is("zst") => Self::Zstd,
            () => return None,
        };
        Some((compression, path.with_extension("")))
    }
}

/// A sink whose output is compressed.
pub struct CompressedSink<W: Write> {
    sink: Box<dyn Sink>,
    encoder: Rc<RefCell<Encoder<W>>>,
}

enum Encoder<W: Write> {
    Gzip(GzEncoder<W>),
    Zstd(ZstdEncoder<'static, W>),
}

/// The writer of the inner sink. Only [`CompressedSink`] ends the compression.
struct Shared<W: Write>(Rc<RefCell<Encoder<W>>>);

impl<W: Write + 'static> CompressedSink<W> {
    /// Compresses the output of the sink that `make` returns into `writer`, which should be buffered.
    pub fn new(
        compression: Compression,
        writer: W,
        make: impl FnOnce(Box<dyn Write>) -> io::Result<Box<dyn Sink>>,
    ) -> io::Result<Self> {
        let encoder = match compression {
            Compression::Gzip => {
                Encoder::Gzip(GzEncoder::new(writer, flate2::Compression::default()))
            }
            Compression::Zstd => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                Encoder::Zstd(ZstdEncoder::new(writer, level)?)
            }
        };
        let encoder = Rc::new(RefCell::new(encoder));
        let shared = BufWriter::with_capacity(BUFFER_LEN, Shared(Rc::clone(&encoder)));
        Ok(Self {
            sink: make(Box::new(shared))?,
            encoder,
        })
    }
}

impl<W: Write> Encoder<W> {
    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    /// Ends the compressed stream.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => {
                encoder.try_finish()?;
                encoder.get_mut().flush()
            }
            Self::Zstd(encoder) => {
                encoder.do_finish()?;
                encoder.get_mut().flush()
            }
        }
    }
}

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().as_write().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().as_write().flush()
    }
}

impl<W: Write> Sink for CompressedSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        self.sink.write(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self, ending: &Ending) -> io::Result<()> {
        self.sink.finish(ending)?;
        self.encoder.borrow_mut().finish()
    }
}
