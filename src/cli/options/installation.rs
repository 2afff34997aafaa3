//! Checks the options that install the parts for Wireshark.

use super::Arguments;
use crate::cli::{Installation, InstallationTask, UsageError};

impl Arguments {
    /// Returns the installation or removal of the parts for Wireshark, if an option asks for it.
    pub(super) fn installation(&self) -> Result<Option<Installation>, UsageError> {
        let tasks = [
            ("--install-wireshark", self.install_wireshark),
            ("--uninstall-wireshark", self.uninstall_wireshark),
        ];
        let details = [
            ("--system", self.system),
            ("--group", self.group.is_some()),
            ("--extcap-dir", self.extcap_dir.is_some()),
        ];
        let Some((task, _)) = tasks.into_iter().find(|(_, given)| *given) else {
            return match details.into_iter().find(|(_, given)| *given) {
                None => Ok(None),
                Some((option, _)) => Err(UsageError::new(
                    format!("{option} needs --install-wireshark"),
                    "it says where the parts for Wireshark go, and who may use them",
                )),
            };
        };
        let both = self.install_wireshark && self.uninstall_wireshark;
        let other = both.then_some("--uninstall-wireshark");
        if let Some(other) = other.or_else(|| self.other_options().next()) {
            return Err(UsageError::new(
                format!("{task} and {other} cannot be used together"),
                format!("{task} does nothing else; --system and --extcap-dir choose the folders"),
            ));
        }
        if self.group.is_some() && !(self.install_wireshark && self.system) {
            return Err(UsageError::new(
                "--group needs --install-wireshark --system",
                "the copy that a group may run is root's: sudo dwdump --install-wireshark --system --group wireshark",
            ));
        }
        Ok(Some(Installation {
            task: if self.install_wireshark {
                InstallationTask::Install(self.group.clone())
            } else {
                InstallationTask::Uninstall
            },
            system: self.system,
            extcap_dir: self.extcap_dir.clone(),
        }))
    }
}
