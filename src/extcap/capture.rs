//! Captures this host's drops: translates the request into a command line and runs that.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::expression;
use super::request::ExtcapCall;
use super::watch;
use crate::cli;
use crate::rights;
use crate::run::{self, Exit, Failure};

/// Captures until Wireshark or the connection ends the capture.
pub fn capture(request: &ExtcapCall) -> Result<Exit, Failure> {
    check(request)?;
    if request.fifo.as_os_str() == "-" {
        watch::end_with_input();
    }
    let command = cli::parse(command_line(request))?;
    run::run(&command).map_err(|failure| {
        if failure.lacks_privileges() {
            failure.with_hint(
                "`sudo dwdump --install-wireshark --system --group wireshark` puts a copy of dwdump, which may \
                 capture, where Wireshark finds it",
            )
        } else {
            failure
        }
    })
}

/// Checks the filter and the FIFO of a capture.
pub fn check(request: &ExtcapCall) -> Result<(), Failure> {
    let wrong = |message: String| Failure::usage(anyhow::Error::msg(message), None::<String>);
    expression::check(&request.filter).map_err(wrong)?;
    if request.fifo.as_os_str().is_empty() {
        return Err(wrong("--capture needs --fifo".into()));
    }
    // A FIFO that is gone must not become a file.
    if request.fifo.as_os_str() != "-" && !request.fifo.exists() {
        let name = crate::record::Escaped(request.fifo.as_os_str().as_encoded_bytes());
        return Err(wrong(format!("there is no FIFO {name}")));
    }
    Ok(())
}

/// Opens the FIFO and closes it again, so that dumpcap reads its end. A dumpcap that has opened a FIFO
/// waits for its first writer without a limit, and tshark waits for dumpcap.
pub fn end_fifo(fifo: &Path) {
    const PATIENCE: Duration = Duration::from_secs(1);
    const INTERVAL: Duration = Duration::from_millis(10);
    if !fifo.metadata().is_ok_and(|data| data.file_type().is_fifo()) {
        return;
    }
    let mut options = OpenOptions::new();
    options
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match rights::of_caller(|| options.open(fifo)) {
            // dumpcap has not opened it yet.
            Err(error)
                if error.raw_os_error() == Some(libc::ENXIO) && Instant::now() < deadline =>
            {
                std::thread::sleep(INTERVAL);
            }
            _ => return,
        }
    }
}

/// Returns the arguments, the program's name first, that mean the same as the request.
pub fn command_line(request: &ExtcapCall) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["dwdump", "--format=pcapng", "--write"]
        .map(Into::into)
        .into();
    words.push(request.fifo.clone().into());
    words.extend(request.command_line_words());
    words.push("--".into());
    words.push(request.whole_filter().into());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, FilterText, OutputFormat, Role, Target};
    use crate::net_dm::control::Origins;

    #[test]
    fn a_request_is_a_command_line() {
        let words = "dwdump --capture --extcap-interface drops --fifo /tmp/f --trunc 96 --origin hw --all \
                     --interface -1 --extcap-capture-filter";
        let mut words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        words.push("tcp or udp".into());
        let request = ExtcapCall::parse(words).unwrap();
        let Command::Capture(capture) = cli::parse(command_line(&request)).unwrap() else {
            panic!("not a capture");
        };
        assert_eq!(capture.live.origins, Some(Origins::Hardware));
        assert!(matches!(
            capture.live.role,
            Role::Owner {
                trunc_len: Some(96),
                ..
            }
        ));
        assert_eq!(capture.delivery.output, Some(Target::File("/tmp/f".into())));
        assert_eq!(capture.delivery.format, Some(OutputFormat::Pcapng));
        assert_eq!(capture.delivery.selection.interface.as_deref(), Some("-1"));
        let filter = FilterText::Words("tcp or udp".into());
        assert_eq!(capture.delivery.selection.filter, filter);
    }
}
