//! Checks the options that `--why` can be used with.

use super::Arguments;
use crate::cli::{Delivery, Diagnosis, Lines, UsageError};

/// The options that `--why` can be used with.
const WITH_WHY: [&str; 19] = [
    "--why",
    "-r",
    "-w",
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
    "-Z",
    "--sandbox",
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
                 it takes a filter, -i, -F, -c, -w, --duration and --json",
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
            output: self.commented_file()?,
            relinquishment: self.relinquishment(),
        })
    }

    /// Returns the capture file that the findings are written into, with the packets.
    fn commented_file(&self) -> Result<Option<Delivery>, UsageError> {
        let Some(path) = &self.write else {
            return Ok(None);
        };
        if self.read.is_some() {
            return Err(UsageError::new(
                "--why and -w cannot be used together with -r",
                "what is found is written while packets are captured: \
                 `dwdump --why -w FILE`, which `dwdump -r FILE` then prints",
            ));
        }
        if path.as_os_str() == "-" {
            return Err(UsageError::new(
                "--why cannot be used with -w -",
                "what is found goes to standard output: choose a file for -w",
            ));
        }
        Ok(Some(Delivery {
            lines: Lines::Auto,
            ..self.delivery()?
        }))
    }
}
