//! Times in words, by strftime(3): names of files equal those that other programs make of the same words.

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Returns `format` with each conversion replaced by the local time, in seconds since the epoch; `None` if the result
/// is empty or has more than `longest` bytes, or the time has no date.
pub fn strftime(format: &CStr, seconds: i64, longest: usize) -> Option<Vec<u8>> {
    let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: the call reads `seconds` and writes a tm to memory of its type.
    let converted = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
    if converted.is_null() {
        return None;
    }
    let mut text = vec![0_u8; longest + 1];
    // SAFETY: at most `text.len()` bytes are written, with a NUL behind them; the format ends with a NUL, and
    // localtime_r has filled the tm, whose zone is a name that the C library keeps.
    let len = unsafe {
        libc::strftime(
            text.as_mut_ptr().cast(),
            text.len(),
            format.as_ptr(),
            broken_down.as_ptr(),
        )
    };
    text.truncate(len);
    (len > 0).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_formats_give_a_text_or_nothing() {
        for format in [
            c"",
            c"%",
            c"%%",
            c"%E",
            c"%O",
            c"%10",
            c"%999999999999999999999Y",
            c"%-_0^#+5Ey",
            c"%\xff",
            c"%:::z",
            c"\x01%Q%L%f%N%i%!",
        ] {
            for seconds in [i64::MIN, -1, 0, 1_764_169_200, i64::MAX] {
                for longest in [0, 1, 10, 4096] {
                    let text = strftime(format, seconds, longest);
                    assert!(text.is_none_or(|text| !text.is_empty() && text.len() <= longest));
                }
            }
        }
        assert_eq!(strftime(c"%s", 1_764_169_200, 4096).unwrap(), b"1764169200");
        assert_eq!(strftime(c"%Y", 1_764_169_200, 3), None);
        assert_eq!(strftime(c"%Y", 1_764_169_200, 4).unwrap(), b"2025");
    }
}
