//! Answers the extcap protocol, by which Wireshark and tshark run this program as one of their
//! capture interfaces: `drops`, of this host, and `drops-ssh`, of another.
//!
//! The protocol is a command line (extcap(4)). Most calls ask for a description and are answered on
//! standard output; one captures into a FIFO. `request` parses the arguments. `options` has one row
//! for each option of Wireshark's dialog; the description of the dialog (`config`), the parsing and the
//! command line of a capture follow from it. `capture` and `remote` capture, and `control` sends
//! their diagnostics to Wireshark's window.

mod capture;
mod config;
mod control;
#[cfg(any(test, feature = "fuzzing"))]
mod exercise;
mod expression;
mod interface;
mod options;
mod remote;
mod request;
mod trouble;
mod watch;

use std::ffi::OsString;
use std::io::Write;

use interface::ExtcapInterface;
use request::{Call, ExtcapCall};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use exercise::exercise;

use crate::run::{self, Exit, Severity};
use crate::untrusted::EscapedMessage;

/// Returns whether arguments, the program's name first, belong to the extcap protocol.
pub fn is_call(arguments: &[OsString]) -> bool {
    let is_of_extcap = |argument: &OsString| {
        let argument = argument.as_encoded_bytes();
        // The one option of this name that people type, with --install-wireshark.
        let is_folder = argument.starts_with(b"--extcap-dir");
        argument == b"--capture" || argument.starts_with(b"--extcap-") && !is_folder
    };
    arguments.iter().skip(1).any(is_of_extcap)
}

/// Carries out a call. All calls but a capture exit with status 0: Wireshark ignores the answer
/// otherwise.
pub fn answer(arguments: Vec<OsString>) -> Exit {
    let request = match ExtcapCall::parse(arguments) {
        Ok(request) => request,
        Err(error) => return fail(&error),
    };
    let answer = match request.call {
        Call::Capture => return run_capture(&request),
        Call::Interfaces => config::interfaces(),
        Call::LinkTypes => config::link_types(),
        Call::Config => config::options(request.interface),
        Call::Reload => match request.interface {
            ExtcapInterface::Drops => config::values(request.reload),
            ExtcapInterface::DropsSsh => remote::values(&request),
        },
        Call::CheckFilter => expression::check(&request.filter)
            .err()
            .map_or_else(String::new, |error| format!("{}\n", EscapedMessage(error))),
        Call::Nothing => String::new(),
    };
    // The caller may have closed its end: that is no error.
    let _ = std::io::stdout().write_all(answer.as_bytes());
    Exit::Success
}

fn run_capture(request: &ExtcapCall) -> Exit {
    if request.interface == ExtcapInterface::Drops {
        // Before there is another thread. The run says so if it fails.
        run::look_apart();
    }
    watch::end_with_parent();
    let told = control::ControlPipes::open(request);
    let result = match request.interface {
        ExtcapInterface::Drops => capture::capture(request),
        ExtcapInterface::DropsSsh => remote::capture(request),
    };
    match result {
        Ok(exit) => {
            told.close();
            exit
        }
        Err(failure) => {
            run::tell(Severity::Error, &format!("dwdump: {failure}"));
            // At the end of the FIFO Wireshark stops listening, so the message has to be there before.
            told.close();
            capture::end_fifo(&request.fifo);
            failure.exit
        }
    }
}

/// Reports a call that makes no sense.
fn fail(error: &impl std::fmt::Display) -> Exit {
    let _ = writeln!(run::standard_error(), "dwdump: {}", EscapedMessage(error));
    Exit::Usage
}
