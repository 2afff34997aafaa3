//! Wireshark: there or not, with dwdump's parts or without.

use std::sync::mpsc;
use std::time::Duration;

use super::Finding;
use crate::wireshark::folders::{Folders, FoldersError};
use crate::wireshark::install;

const SUBJECT: &str = "Wireshark";
/// The longest time that tshark may take for its answer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The state of Wireshark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WiresharkState {
    /// There is no tshark in the search path.
    NoTshark,
    /// tshark did not say where Wireshark keeps its files.
    Unknown(String),
    /// It is there, and so are dwdump's parts, or not.
    There {
        /// The plug-in.
        plug_in: bool,
        /// The capture interface.
        interface: bool,
    },
}

/// The question to tshark, on its way.
pub struct WiresharkQuestion(mpsc::Receiver<WiresharkState>);

impl WiresharkQuestion {
    /// Asks in a thread of its own, for tshark takes a while.
    pub fn ask() -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // Nobody may wait any more.
            let _ = sender.send(ask());
        });
        Self(receiver)
    }

    /// Waits for the answer, but not long.
    pub fn answer(self) -> WiresharkState {
        let answer = self.0.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| WiresharkState::Unknown("tshark does not answer".into()))
    }
}

fn ask() -> WiresharkState {
    match Folders::ask_for_both() {
        Ok(folders) => {
            let [(mine, my_interface), (all, interface)] =
                folders.map(|folders| install::is_installed(&folders));
            WiresharkState::There {
                plug_in: mine || all,
                interface: my_interface || interface,
            }
        }
        Err(FoldersError::NoTshark) => WiresharkState::NoTshark,
        Err(error) => WiresharkState::Unknown(error.to_string()),
    }
}

/// Returns the line about Wireshark.
pub fn finding(state: &WiresharkState, is_root: bool) -> Finding {
    const INSTALL: &str = "`dwdump --install-wireshark` installs it";
    // Root's Wireshark is seldom the one that is used.
    const OF_ALL: &str = "`dwdump --install-wireshark` as the user who runs Wireshark, \
                          or `dwdump --install-wireshark --system` for everybody";
    let cure = if is_root { OF_ALL } else { INSTALL };
    match state {
        WiresharkState::NoTshark => Finding::no(
            SUBJECT,
            "tshark is not installed",
            "install the package tshark, or open on another host what `dwdump -w drops.pcapng` writes",
        ),
        WiresharkState::Unknown(error) => Finding::no(
            SUBJECT,
            error.as_str(),
            "`tshark -G folders` shows what is wrong with it",
        ),
        WiresharkState::There {
            plug_in: true,
            interface: true,
        } => Finding::yes(SUBJECT, "plug-in and capture interface are installed"),
        WiresharkState::There { plug_in: true, .. } => Finding::no(
            SUBJECT,
            "the plug-in is installed, the capture interface is not",
            "`sudo dwdump --install-wireshark --system --group wireshark` installs one for everybody",
        ),
        WiresharkState::There {
            interface: true, ..
        } => Finding::no(
            SUBJECT,
            "the capture interface is installed, the plug-in is not",
            cure,
        ),
        WiresharkState::There { .. } => Finding::no(
            SUBJECT,
            "neither plug-in nor capture interface is installed",
            cure,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_that_is_missing_is_named() {
        #[track_caller]
        fn check(state: &WiresharkState, is_root: bool, found: &str, cure: &str) {
            let line = finding(state, is_root).to_string();
            let (first, second) = line.split_once("\n      ").unwrap_or((&line, ""));
            assert!(first.ends_with(found), "{line}");
            assert!(second.contains(cure), "{line}");
            assert_eq!(second.is_empty(), cure.is_empty(), "{line}");
        }
        let there = |plug_in, interface| WiresharkState::There { plug_in, interface };
        check(
            &there(true, true),
            false,
            "plug-in and capture interface are installed",
            "",
        );
        check(
            &there(false, false),
            false,
            "neither plug-in nor capture interface is installed",
            "`dwdump --install-wireshark` installs it",
        );
        check(&there(false, true), true, "the plug-in is not", "--system");
        check(
            &there(true, false),
            false,
            "the capture interface is not",
            "--group wireshark",
        );
        check(
            &WiresharkState::NoTshark,
            false,
            "tshark is not installed",
            "install the package tshark",
        );
        check(
            &WiresharkState::Unknown("tshark does not answer".into()),
            false,
            "does not answer",
            "tshark -G folders",
        );
    }
}
