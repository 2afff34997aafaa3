//! The arguments by which Wireshark starts this program.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::extcap;

/// Parses arguments, which NUL bytes separate.
pub fn extcap(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0);
    let words = words.map(|word| OsStr::from_bytes(word).to_owned());
    let words: Vec<OsString> = std::iter::once("dwdump".into()).chain(words).collect();
    extcap::exercise(words);
}
