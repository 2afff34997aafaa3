//! Decompresses files and sections of debug information into bounded memory.
//!
//! The size that a file states is never trusted: memory grows with the unpacked bytes, up to the most
//! that real debug information of that compressed size has.

use std::io::{self, Read};

use thiserror::Error;

use crate::sys::SharedBytes;

/// The largest ratio of zlib (its manual, "Maximum Compression Factor"). xz and zstd reach larger
/// ones only with constant bytes, which debug information does not consist of.
const MAX_RATIO: u64 = 1032;
/// The size up to which any ratio is accepted: a section of a module may be nearly all zeros.
const SMALL: u64 = 16 << 20;
/// The most bytes that a run unpacks, all files together. The debug information of a distribution's
/// vmlinux has 400 MB to 1 GB.
pub const MAX_UNPACKED: u64 = 3 << 30;
/// The logarithm of the largest window for xz and zstd, 128 MB. Neither program uses a larger one
/// unless it is asked to.
const MAX_WINDOW_LOG: u32 = 27;

/// An error for which a compressed file or section could not be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The data is damaged, or of an unsupported variant.
    #[error("it cannot be unpacked: {0}")]
    Damaged(#[from] io::Error),
    /// More bytes would come out than the budget allows.
    #[error("it would be too large when unpacked")]
    TooLarge,
    /// A section does not have the size that its header states.
    #[error("its unpacked size is not the one that it states")]
    WrongSize,
}

/// The format of a compressed file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedFormat {
    Gzip,
    Zlib,
    Xz,
    Zstd,
}

impl PackedFormat {
    /// Returns the format of a whole file, by its first bytes (RFC 1952, 2.3.1; the .xz file format,
    /// 2.1.1.1; RFC 8878, 3.1.1).
    pub fn of_file(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    fn reader<'b>(self, packed: &'b [u8]) -> io::Result<Box<dyn Read + 'b>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Zlib => Box::new(flate2::read::ZlibDecoder::new(packed)),
            Self::Xz => {
                // In KiB: the window and the rest of the decoder.
                let limit = (1 << (MAX_WINDOW_LOG - 10)) + 1024;
                Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, limit))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// The number of bytes that may still be unpacked.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBudget(u64);

impl MemoryBudget {
    /// Returns the budget of a run.
    pub fn new() -> Self {
        Self(MAX_UNPACKED)
    }

    /// Returns the part of the run's budget for one file of so many bytes.
    pub fn of_file(self, bytes: u64) -> Self {
        Self(self.0.min(bytes.saturating_mul(MAX_RATIO).max(SMALL)))
    }

    /// Returns what is left when so many bytes were kept.
    pub fn less(self, kept: u64) -> Self {
        Self(self.0.saturating_sub(kept))
    }

    /// Returns how many bytes of this budget were spent if `left` is left.
    pub fn spent(self, left: Self) -> u64 {
        self.0.saturating_sub(left.0)
    }

    /// Copies bytes that are not compressed.
    pub fn copy(&mut self, bytes: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let left = self.0.checked_sub(bytes.len() as u64);
        self.0 = left.ok_or(UnpackError::TooLarge)?;
        Ok(bytes.to_vec())
    }

    /// Unpacks a whole file, and spends the unpacked bytes.
    pub fn file(
        &mut self,
        format: PackedFormat,
        packed: &[u8],
    ) -> Result<SharedBytes, UnpackError> {
        Ok(self.unpack(format, packed, None)?.into())
    }

    /// Unpacks a section whose header states `size` bytes.
    pub fn section(
        &mut self,
        format: PackedFormat,
        packed: &[u8],
        size: u64,
    ) -> Result<Vec<u8>, UnpackError> {
        self.unpack(format, packed, Some(size))
    }

    fn unpack(
        &mut self,
        format: PackedFormat,
        packed: &[u8],
        size: Option<u64>,
    ) -> Result<Vec<u8>, UnpackError> {
        let possible = (packed.len() as u64).saturating_mul(MAX_RATIO).max(SMALL);
        let limit = self.0.min(possible);
        if size.is_some_and(|size| size > limit) {
            return Err(UnpackError::TooLarge);
        }
        // Reading one byte more shows whether there are more.
        let limit = size.unwrap_or(limit);
        let mut bytes = Vec::new();
        let mut reader = format.reader(packed)?.take(limit.saturating_add(1));
        reader.read_to_end(&mut bytes)?;
        let unpacked = bytes.len() as u64;
        match size {
            Some(size) if size != unpacked => return Err(UnpackError::WrongSize),
            None if unpacked > limit => return Err(UnpackError::TooLarge),
            _ => {}
        }
        self.0 -= unpacked;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_stated_size_is_not_allocated() {
        let packed = zlib(b"a few bytes");
        for claim in [u64::MAX, 4 << 30, 100 << 20] {
            let mut budget = MemoryBudget::new();
            let taken = allocation_counter::measure(|| {
                let unpacked = budget.section(PackedFormat::Zlib, &packed, claim);
                assert!(matches!(unpacked, Err(UnpackError::TooLarge)));
            });
            assert_eq!(taken.bytes_max, 0, "{claim}");
        }
        // A possible size takes only the memory of the bytes that really come out.
        let taken = allocation_counter::measure(|| {
            let unpacked = MemoryBudget::new().section(PackedFormat::Zlib, &packed, 16 << 20);
            assert!(matches!(unpacked, Err(UnpackError::WrongSize)));
        });
        assert!(taken.bytes_max < 200_000, "{} bytes", taken.bytes_max);
        let unpacked = MemoryBudget::new().section(PackedFormat::Zlib, &packed, 11);
        assert_eq!(unpacked.unwrap(), b"a few bytes");
        let unpacked = MemoryBudget::new().section(PackedFormat::Zlib, &packed, 10);
        assert!(matches!(unpacked, Err(UnpackError::WrongSize)));
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        // 64 MB of zeros: zstd makes 6 KB of them, and gzip 64 KB.
        let zeros = vec![0; 64 << 20];
        let packed = zstd::encode_all(&zeros[..], 3).unwrap();
        assert!(packed.len() < 16_000);
        let taken = allocation_counter::measure(|| {
            let unpacked = MemoryBudget::new().file(PackedFormat::Zstd, &packed);
            assert!(matches!(unpacked, Err(UnpackError::TooLarge)));
        });
        assert!(taken.bytes_max < 4 * SMALL, "{} bytes", taken.bytes_max);
        // The budget of all files together is used up.
        let packed = gzip(&zeros[..1 << 20]);
        let mut budget = MemoryBudget(3 << 20);
        for _ in 0..3 {
            assert_eq!(
                budget.file(PackedFormat::Gzip, &packed).unwrap().len(),
                1 << 20
            );
        }
        assert!(matches!(
            budget.file(PackedFormat::Gzip, &packed),
            Err(UnpackError::TooLarge)
        ));
    }

    const TEXT: &[u8] = b"what a module says, ";
    /// Eight times the text, by xz with a checksum as the kernel's build asks for it.
    const XZ: &[u8] =
        b"\xfd\x37\x7a\x58\x5a\x00\x00\x01\x69\x22\xde\x36\x02\x00\x21\x01\x16\x00\x00\x00\
        \x74\x2f\xe5\xa3\xe0\x00\x9f\x00\x1c\x5d\x00\x3b\x9a\x08\x48\x69\xea\x12\xa0\x7a\
        \x8e\x74\x86\x6d\xe3\x28\x95\x35\xf3\x9e\x46\x77\x8b\x49\xd9\x56\xe0\x00\x00\x00\
        \x15\x2e\xc9\xac\x00\x01\x34\xa0\x01\x00\x00\x00\x95\x69\x25\x94\x3e\x30\x0d\x8b\
        \x02\x00\x00\x00\x00\x01\x59\x5a";

    #[test]
    fn every_format_is_unpacked() {
        let text = TEXT.repeat(8);
        let zstd = zstd::encode_all(&text[..], 19).unwrap();
        // A file may consist of several streams.
        let twice = [gzip(&text), gzip(&text)].concat();
        for (packed, wanted) in [
            (XZ, text.clone()),
            (&zstd, text.clone()),
            (&gzip(&text), text.clone()),
            (&twice, text.repeat(2)),
            (&[XZ, XZ].concat(), text.repeat(2)),
            (&[&zstd[..], &zstd].concat(), text.repeat(2)),
        ] {
            let format = PackedFormat::of_file(packed).unwrap();
            let unpacked = MemoryBudget::new().file(format, packed).unwrap();
            assert_eq!(&unpacked[..], wanted, "{format:?}");
        }
    }

    proptest! {
        #[test]
        fn no_damage_panics_or_fills_the_memory(
            damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
            end in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let text = TEXT.repeat(8);
            for whole in [XZ, &zstd::encode_all(&text[..], 3).unwrap(), &gzip(&text)] {
                let mut packed = whole.to_vec();
                for (place, byte) in &damages {
                    // The first bytes tell the format.
                    let place = 6 + place.index(packed.len() - 6);
                    packed[place] = *byte;
                }
                if is_cut {
                    packed.truncate(6 + end.index(packed.len() - 6));
                }
                let format = PackedFormat::of_file(&packed).unwrap();
                let mut budget = MemoryBudget::new();
                if let Ok(bytes) = budget.file(format, &packed) {
                    prop_assert!(bytes.len() as u64 <= SMALL);
                }
            }
        }
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert_eq!(PackedFormat::of_file(&gzip(b"")), Some(PackedFormat::Gzip));
        assert_eq!(
            PackedFormat::of_file(b"\xfd7zXZ\0\0"),
            Some(PackedFormat::Xz)
        );
        let packed = zstd::encode_all(&b""[..], 3).unwrap();
        assert_eq!(PackedFormat::of_file(&packed), Some(PackedFormat::Zstd));
        assert_eq!(PackedFormat::of_file(b"\x7fELF"), None);
        assert_eq!(PackedFormat::of_file(b""), None);
    }
}
