//! Creates the finder of source lines, and reports what it could not find.

use std::cell::RefCell;
use std::rc::Rc;

use super::diagnostics::{hint, say};
use super::failure::Failure;
use super::plural::Plural;
use crate::cli::DebugFiles;
use crate::record::{CaptureHost, Location};
use crate::sink::{LineFinder, SharedFinder, SourceLine};
use crate::symbol::debug_search::{Search, WantedKernel};
use crate::symbol::source_line::SourceLines;
use crate::symbol::source_location::Frame;

/// The finder of a run. It is shared: the sinks look up source lines, and at the end the run
/// reports the problems.
#[derive(Clone)]
pub struct Finder(Rc<RefCell<SourceLines>>);

impl Finder {
    /// Creates a finder for drops of the running kernel.
    #[allow(clippy::unnecessary_wraps)] // A build without source lines refuses here.
    pub fn of_running_kernel(files: &DebugFiles) -> Result<Self, Failure> {
        Ok(Self::new(WantedKernel::Running, files))
    }

    /// Creates a finder for drops of a capture file.
    #[allow(clippy::unnecessary_wraps)]
    pub fn of_capture(host: &CaptureHost, files: &DebugFiles) -> Result<Self, Failure> {
        Ok(Self::new(WantedKernel::of_host(host), files))
    }

    fn new(wanted: WantedKernel, files: &DebugFiles) -> Self {
        let search = Search::new(wanted, files.vmlinux.clone(), files.modules.clone());
        Self(Rc::new(RefCell::new(SourceLines::new(search))))
    }

    /// Learns from a location: a complete one shows where the kernel was loaded, which is needed to
    /// find truncated ones.
    pub fn learn(&self, location: Location<'_>) {
        self.0.borrow_mut().learn(location);
    }

    /// Returns the finder for the sinks.
    pub fn shared(&self) -> SharedFinder {
        Rc::new(RefCell::new(self.clone()))
    }

    /// Reports missing debug information with a hint. Of many problems, only the first is reported,
    /// because a file can name any number of modules.
    pub fn tell(&self) {
        const MAX_TOLD: usize = 5;
        let problems = self.0.borrow_mut().problems();
        for problem in problems.iter().take(MAX_TOLD) {
            say(&problem.message);
            hint(&problem.hint);
        }
        if problems.len() > MAX_TOLD {
            say(format_args!(
                "{} more with debug information",
                Plural((problems.len() - MAX_TOLD) as u64, "problem")
            ));
        }
    }
}

impl LineFinder for Finder {
    fn find(&mut self, location: Location<'_>) -> Option<SourceLine> {
        let mut lines = self.0.borrow_mut();
        let source = lines.find(location)?;
        let frame =
            |frame: &Frame| format!("{} {}", frame.function.raw(), frame.place().raw()).into();
        Some(SourceLine {
            line: source.frame().place(),
            chain: source.chain().iter().map(frame).collect(),
        })
    }
}
