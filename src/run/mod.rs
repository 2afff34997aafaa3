//! Runs a command: hands it to the module that carries it out. Only `run` and `main` print to
//! standard error.

mod answer;
mod begin;
mod capacity;
mod capture;
mod closing;
mod diagnostics;
mod event_filter;
mod failure;
mod kernel_filter;
mod keyboard;
mod left_out;
mod live;
mod offline;
mod output;
mod output_file;
mod pipeline;
mod plural;
mod probe;
mod read;
mod receiver;
mod screen;
mod selection;
mod signals;
#[cfg_attr(not(feature = "source-lines"), path = "no_source_lines.rs")]
mod source_lines;
mod standard_streams;
mod summary;
mod table;
mod tally;
mod wireshark;

pub use failure::{Exit, Failure};

use crate::cli::Command;
use crate::sys;

/// Does what the command says.
pub fn run(command: &Command) -> Result<Exit, Failure> {
    sys::ignore_file_size_signal();
    match command {
        Command::Capture(command) => capture::capture(command),
        Command::Read(command) => read::read(command),
        Command::Summary(command) => summary::summary(command),
        Command::Query => answer::query(),
        Command::Statistics => answer::statistics(),
        Command::Stop => answer::stop(),
        Command::Explain(name) => answer::explain(name.as_deref()),
        Command::ShowFilter(selection, filtering) => {
            let filter = selection::filter(selection)?;
            answer::print(&kernel_filter::shown(&filter, *filtering))
        }
        Command::Wireshark(installation) => wireshark::run(installation),
        Command::Print(text) => answer::print(text),
    }
}
