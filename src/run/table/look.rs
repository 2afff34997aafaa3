//! Has the process that looks at the host find the cause of the last packet of a row.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::LiveTable;
use crate::run::why::Looker;
use crate::table::RowCause;
use crate::why::DropCase;

/// The process, and what it was asked.
pub struct RowLooker {
    looker: Looker,
    /// The number of the look whose answer is shown.
    asked: Option<u64>,
}

impl RowLooker {
    /// Asks this process.
    pub fn new(looker: Looker) -> Self {
        Self {
            looker,
            asked: None,
        }
    }

    /// Begins a look. Its answer replaces that of an earlier one.
    fn begin(&mut self, case: DropCase) -> io::Result<()> {
        self.asked = Some(self.looker.ask(case)?);
        Ok(())
    }

    /// Returns the answer, once it has come.
    fn answer(&mut self) -> io::Result<Option<RowCause>> {
        let asked = self.asked;
        let mut answers = self.looker.answers()?.into_iter();
        let answer = answers.find(|answer| Some(answer.number) == asked);
        Ok(answer.map(|answer| RowCause::Found(Box::new(answer.finding))))
    }
}

impl AsFd for RowLooker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.looker.as_fd()
    }
}

impl LiveTable {
    /// Begins a look if a row was opened, and takes the answer to the last one.
    pub(super) fn look(&mut self) {
        let Some(looker) = &mut self.looker else {
            return;
        };
        let packet = self.view.unexplained_packet();
        let case = packet.map(|record| DropCase::of(&record));
        let begun = match case {
            Some(case) => looker.begin(case).map(|()| Some(RowCause::Awaited)),
            None => Ok(None),
        };
        let answer = begun.and_then(|begun| Ok(looker.answer()?.or(begun)));
        let found = answer.unwrap_or_else(|error| {
            self.looker = None;
            Some(RowCause::Failed(format!(
                "The process that looks at this host failed: {error}"
            )))
        });
        if let Some(found) = found {
            self.view.cause = found;
            self.is_stale = true;
        }
    }
}
