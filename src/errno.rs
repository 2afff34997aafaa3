//! Describes errors of the system without the number that the standard library appends:
//! `No such file or directory` for `No such file or directory (os error 2)`.

use std::io;

/// Returns the description of an errno.
pub fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Returns the description of an I/O error, whether or not it has an errno.
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
