//! The way in which a run began, and the words for it in the opening line.

use std::fmt;

use crate::net_dm::control::{Origins, Settings};

/// The way in which a run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Drops are captured by what was started for it.
    Started(Started),
    /// The run listens to another process's monitoring, which has these settings.
    Listening(Settings),
}

/// The sources that were started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The origins of the drops that arrive.
    pub origins: Origins,
    /// The source of software drops.
    pub software: SoftwareSource,
    /// The user named no origins, and the kernel does not support hardware drops.
    pub without_hardware: bool,
}

/// The source of software drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoftwareSource {
    /// The drop monitor alone, as the user chose, or because it counts drops itself.
    NetDm,
    /// The drop monitor, and eBPF for the drops that it skips.
    Both,
    /// The drop monitor alone, because eBPF is refused: the cause.
    WithoutEbpf(String),
    /// eBPF, for this reason.
    Ebpf(WhyEbpf),
}

/// The reason for which all software drops come from eBPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyEbpf {
    /// The user chose it.
    Chosen,
    /// A word of the filter or an option needs it.
    Needed(&'static str),
    /// The drop monitor cannot be used: the cause.
    Instead(String),
}

impl Beginning {
    /// Returns whether eBPF programs capture all software drops.
    pub fn is_by_ebpf(&self) -> bool {
        matches!(self, Self::Started(started) if started.is_by_ebpf())
    }
}

impl Started {
    /// Returns the words for the drops: `software and hardware drops`.
    pub fn drops(&self) -> &'static str {
        match (&self.software, self.origins) {
            (SoftwareSource::Ebpf(_), Origins::Both) => {
                "software drops with eBPF and hardware drops"
            }
            (SoftwareSource::Ebpf(_), _) => "software drops with eBPF",
            (_, Origins::Both) => "software and hardware drops",
            (_, Origins::Software) => "software drops",
            (_, Origins::Hardware) => "hardware drops",
        }
    }

    /// Returns whether eBPF programs capture all software drops.
    pub fn is_by_ebpf(&self) -> bool {
        matches!(self.software, SoftwareSource::Ebpf(_))
    }

    /// Returns the end of the opening line, which says what is unusual about the sources; empty if nothing is.
    pub fn remark(&self) -> Remark<'_> {
        Remark(&self.software)
    }
}

/// The end of an opening line.
#[derive(Clone, Copy, Debug)]
pub struct Remark<'s>(&'s SoftwareSource);

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SoftwareSource::NetDm
            | SoftwareSource::Both
            | SoftwareSource::Ebpf(WhyEbpf::Chosen) => Ok(()),
            SoftwareSource::WithoutEbpf(cause) => write!(
                f,
                "; those without a link-layer header, such as the OUTPUT hook's, are not seen: {cause}"
            ),
            SoftwareSource::Ebpf(WhyEbpf::Needed(word)) => write!(f, ": {word} needs eBPF"),
            SoftwareSource::Ebpf(WhyEbpf::Instead(cause)) => write!(f, ": {cause}"),
        }
    }
}
