//! The options for call stacks.

use super::Arguments;
use crate::cli::{SourceChoice, UsageError};
use crate::ebpf::program::USUAL_STACK_FRAMES;
use crate::summary::Grouping;

impl Arguments {
    /// Checks that nothing else decides what `--folded` writes.
    pub(super) fn check_folded(&self) -> Result<(), UsageError> {
        let others = [
            ("--print", self.print),
            ("--json", self.json),
            (
                "--by",
                self.by.is_some_and(|grouping| grouping != Grouping::Stack),
            ),
            ("--summary=SECONDS", matches!(self.summary, Some(Some(_)))),
        ];
        let other = others.into_iter().find(|(_, given)| *given);
        match other.filter(|_| self.folded) {
            None => Ok(()),
            Some((other, _)) => Err(UsageError::new(
                format!("{other} cannot be used with --folded"),
                "folded stacks are written once, at the end, for flame graphs: \
                 dwdump --folded --duration 10 > drops.folded",
            )),
        }
    }

    /// Returns the option that needs the call stacks of live drops.
    pub(super) fn stack_option(&self) -> Option<&'static str> {
        let options = [
            ("--stack", self.stack.is_some()),
            ("--by stack", self.by == Some(Grouping::Stack)),
            ("--folded", self.folded),
        ];
        let option = options.into_iter().find(|(_, given)| *given);
        option.map(|(option, _)| option)
    }

    /// Returns the frames of each call stack, where one is needed.
    pub(super) fn stack_frames(&self) -> Option<u8> {
        let frames = self.stack.flatten().unwrap_or(USUAL_STACK_FRAMES);
        self.stack_option().map(|_| frames)
    }

    /// Checks that the source of the drops can be eBPF; `of_net_dm` is an option for the drop monitor alone.
    pub(super) fn check_stack(
        &self,
        option: &str,
        of_net_dm: Option<&str>,
    ) -> Result<(), UsageError> {
        let is_net_dm = self.source == Some(SourceChoice::NetDm);
        match is_net_dm.then_some("--source netdm").or(of_net_dm) {
            None => Ok(()),
            Some(other) => Err(UsageError::new(
                format!("{option} cannot be used with {other}"),
                "the kernel's drop monitor sends no call stacks: they come with --source ebpf",
            )),
        }
    }

    /// Checks that no call stacks are to be captured where a file is read.
    pub(super) fn refuse_stack_of_file(&self) -> Result<(), UsageError> {
        match self.stack {
            None => Ok(()),
            Some(_) => Err(UsageError::new(
                "--stack cannot be used with -r",
                "a file has the call stacks that it was captured with: -v, --json and --by stack show them",
            )),
        }
    }
}
