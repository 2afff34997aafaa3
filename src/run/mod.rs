//! Runs a command: hands it to the module that carries it out. Only `run` and `main` print to
//! standard error.

mod answer;
mod begin;
mod beginning;
mod capacity;
mod capture;
mod check;
mod closing;
mod confinement;
mod diagnostics;
mod elevated;
mod event_filter;
mod failure;
mod finished;
mod folder;
mod kernel_filter;
mod keyboard;
mod left_out;
mod live;
mod loss_watch;
mod offline;
mod output;
mod output_file;
mod packet_sink;
mod pipeline;
mod plural;
mod probe;
mod read;
mod receiver;
mod ring;
mod screen;
mod selection;
mod signals;
#[cfg_attr(not(feature = "source-lines"), path = "no_source_lines.rs")]
mod source_lines;
mod standard_streams;
mod summary;
mod table;
mod tally;
mod trigger;
mod wait;
mod wake;
mod why;
mod wireshark;
mod worker;

pub(crate) use confinement::{confine_following, tell_refusals};
pub use diagnostics::standard_error;
pub(crate) use diagnostics::{Destination, Severity, redirect, tell};
pub use failure::{Exit, Failure};
pub(crate) use output_file::OutputFile;
pub(crate) use selection::drop_reasons;
pub(crate) use signals::Requests;
pub(crate) use standard_streams::standard_input;

use crate::cli::Command;
use crate::source::surroundings;
use crate::{rights, sys};

/// Removes untrusted environment variables if this program's file gives it more rights than its caller
/// has, and keeps the C library of a static program from loading the host's libraries. Must be called before any
/// thread starts.
pub fn distrust_environment() {
    rights::distrust_environment();
    sys::name_service::keep_to_built_in();
}

/// Has a process of its own look at network namespaces and cgroups, for a live run that follows. Must be called while
/// this process has a single thread; without, the run does it.
pub(crate) fn look_apart() {
    let _ = surroundings::look_apart(true);
}

/// Carries out the command.
pub fn run(command: &Command) -> Result<Exit, Failure> {
    sys::ignore_file_size_signal();
    elevated::check(command)?;
    match command {
        Command::Capture(command) => capture::capture(command),
        Command::Read(command) => read::read(command),
        Command::Summary(command) => summary::summary(command),
        Command::Why(command) => why::why(command),
        Command::Check(lines) => check::check(*lines),
        Command::Query => answer::query(),
        Command::Statistics => answer::statistics(),
        Command::Stop => answer::stop(),
        Command::Explain(name) => answer::explain(name.as_deref()),
        Command::ShowFilter(selection, filtering, source) => {
            let filter = selection::filter(selection)?;
            answer::print(&kernel_filter::shown(&filter, *filtering, *source))
        }
        Command::Wireshark(installation) => wireshark::run(installation),
        Command::Print(text) => answer::print(text),
    }
}
