//! The names of the files of a ring, byte by byte as tcpdump makes them.

use std::ffi::CString;

use super::super::folder::FileName;
use crate::record::Timestamp;
use crate::sys::local_time::strftime;

/// The longest name, as in tcpdump.
const LONGEST: usize = libc::PATH_MAX as usize;

/// The name of `-w`, from which those of all files are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    /// The name relative to the folder of the ring.
    text: Vec<u8>,
    dating: Dating,
    /// The fewest digits of a number.
    digits: usize,
}

/// The meaning of `%` in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dating {
    /// It begins a conversion of strftime(3): with `-G`.
    Strftime,
    /// It is a character like any other.
    Verbatim,
}

/// No file can have the name that the template gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is longer than a path may be.
    #[error("the name is empty or longer than {LONGEST} bytes")]
    Length,
    /// The name has a byte 0.
    #[error("the name has a NUL")]
    Nul,
}

impl NameTemplate {
    /// `size_limited` says that files are numbered (`-C`), `count` is that of `-W`.
    pub fn new(text: Vec<u8>, dating: Dating, size_limited: bool, count: Option<u32>) -> Self {
        Self {
            text,
            dating,
            digits: if size_limited { digits(count) } else { 0 },
        }
    }

    /// Returns whether names differ by their time.
    pub fn is_dated(&self) -> bool {
        self.dating == Dating::Strftime && self.text.contains(&b'%')
    }

    /// Returns the name of the file that was begun at this time, the `number`th since the last change of the time.
    pub fn name(&self, began: Timestamp, number: u32) -> Result<FileName, NameError> {
        let mut name = match self.dating {
            Dating::Verbatim => self.text.clone(),
            Dating::Strftime => {
                let format = CString::new(self.text.clone()).map_err(|_| NameError::Nul)?;
                let seconds = i64::try_from(began.as_duration().as_secs()).unwrap_or(i64::MAX);
                strftime(&format, seconds, LONGEST - 1).ok_or(NameError::Length)?
            }
        };
        // The first file has a number only where others have leading zeros.
        if number > 0 || self.digits > 0 {
            name.extend_from_slice(format!("{number:0width$}", width = self.digits).as_bytes());
        }
        if name.is_empty() || name.len() > LONGEST {
            return Err(NameError::Length);
        }
        Ok(FileName::new(&name))
    }
}

/// Returns the digits of the largest number of `count` files, which are counted from 0. That of a single file has none.
fn digits(count: Option<u32>) -> usize {
    match count.map_or(0, |count| count.saturating_sub(1)) {
        0 => 0,
        largest => largest.ilog10() as usize + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number, and the name of the file.
    type Numbered = (u32, &'static str);

    /// What tcpdump 4.99.3 and 4.99.5 call the files with these numbers of `-C 1 -w drops.pcap`, by the count of `-W`.
    const NUMBERED: [(Option<u32>, [Numbered; 3]); 8] = [
        (
            None,
            [(0, "drops.pcap"), (1, "drops.pcap1"), (12, "drops.pcap12")],
        ),
        (
            Some(1),
            [(0, "drops.pcap"), (0, "drops.pcap"), (0, "drops.pcap")],
        ),
        (
            Some(2),
            [(0, "drops.pcap0"), (1, "drops.pcap1"), (0, "drops.pcap0")],
        ),
        (
            Some(10),
            [(0, "drops.pcap0"), (1, "drops.pcap1"), (9, "drops.pcap9")],
        ),
        (
            Some(11),
            [
                (0, "drops.pcap00"),
                (1, "drops.pcap01"),
                (10, "drops.pcap10"),
            ],
        ),
        (
            Some(100),
            [
                (0, "drops.pcap00"),
                (9, "drops.pcap09"),
                (99, "drops.pcap99"),
            ],
        ),
        (
            Some(101),
            [
                (0, "drops.pcap000"),
                (9, "drops.pcap009"),
                (100, "drops.pcap100"),
            ],
        ),
        (
            Some(u32::MAX),
            [
                (0, "drops.pcap0000000000"),
                (7, "drops.pcap0000000007"),
                (4_000_000_000, "drops.pcap4000000000"),
            ],
        ),
    ];

    #[test]
    fn numbers_are_those_of_tcpdump() {
        for (count, files) in NUMBERED {
            let template = NameTemplate::new(b"drops.pcap".to_vec(), Dating::Verbatim, true, count);
            for (number, name) in files {
                let expected = FileName::new(name.as_bytes());
                assert_eq!(
                    template.name(Timestamp(0), number),
                    Ok(expected),
                    "{count:?}"
                );
            }
        }
    }

    #[test]
    fn without_a_size_there_are_no_numbers() {
        let template = NameTemplate::new(b"a".to_vec(), Dating::Strftime, false, Some(1000));
        assert_eq!(template.name(Timestamp(0), 0), Ok(FileName::new(b"a")));
    }

    #[test]
    fn a_percent_is_a_time_with_seconds_alone() {
        let time = Timestamp(1_764_169_200_999_999_999);
        let name =
            |dating| NameTemplate::new(b"a-%s%%".to_vec(), dating, true, Some(20)).name(time, 3);
        assert_eq!(name(Dating::Verbatim), Ok(FileName::new(b"a-%s%%03")));
        assert_eq!(
            name(Dating::Strftime),
            Ok(FileName::new(b"a-1764169200%03"))
        );
    }

    #[test]
    fn a_name_that_no_file_can_have_is_an_error() {
        let template = |text: &[u8]| NameTemplate::new(text.to_vec(), Dating::Strftime, true, None);
        assert_eq!(template(b"").name(Timestamp(0), 0), Err(NameError::Length));
        assert_eq!(template(b"a\0b").name(Timestamp(0), 0), Err(NameError::Nul));
        for text in [&b"%5000Y"[..], b"%99999999999999999d", &[b'a'; 5000]] {
            assert_eq!(template(text).name(Timestamp(0), 1), Err(NameError::Length));
        }
    }
}
