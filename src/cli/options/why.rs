//! Checks the options that `--why` can be used with.

use super::Arguments;
use crate::cli::{Diagnosis, UsageError};

/// The options that `--why` can be used with.
const WITH_WHY: [&str; 16] = [
    "--why",
    "-r",
    "-i",
    "-F",
    "-c",
    "--duration",
    "--json",
    "--print",
    "--source",
    "--stack",
    "-b",
    "-o",
    "-n",
    "-v",
    "--all",
    "a filter",
];

impl Arguments {
    /// Returns the settings of `--why`.
    pub(super) fn diagnosis(&self) -> Result<Diagnosis, UsageError> {
        let mut others = self.other_options();
        if let Some(other) = others.find(|option| !WITH_WHY.contains(option)) {
            return Err(UsageError::new(
                format!("--why and {other} cannot be used together"),
                "--why looks at this host while the drops happen, or at those of -r: \
                 it takes a filter, -i, -F, -c, --duration and --json",
            ));
        }
        if self.read.is_some() {
            self.refuse_live_options()?;
        }
        Ok(Diagnosis {
            subject: self.subject()?,
            selection: self.selection()?,
            count: self.count,
            lines: self.lines()?,
            text: self.text(),
        })
    }
}
