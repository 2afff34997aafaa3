//! The system's words for an error, without the number that the standard library adds to them:
//! `No such file or directory` for `No such file or directory (os error 2)`.

use std::io;

/// Returns the words for an errno.
pub fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Returns the words for an error that may come from the system.
pub fn describe(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => strerror(errno),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_described_without_its_number() {
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(describe(&missing), "No such file or directory");
        assert_eq!(describe(&io::Error::other("damaged")), "damaged");
    }
}
