//! Parses and checks the command line, without touching the machine.

mod options;
mod usage_error;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, ValueEnum};

use options::Options;
pub use usage_error::UsageError;

use crate::net_dm::control::Origins;
use crate::net_dm::monitoring::WhenBusy;
use crate::record::LinkType;
use crate::sink::{Detail, Precision, Zone};
use crate::source::NotPackets;
use crate::summary::Grouping;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Capture from the kernel.
    Capture(Capture),
    /// Read a capture file.
    Read(Read),
    /// Count drops.
    Summary(Summary),
    /// Show the drop monitor's settings.
    Query,
    /// Show the drop monitor's statistics.
    Statistics,
    /// Stop all monitoring on this host.
    Stop,
    /// Explain a reason or a function, or list what there is (`None`).
    Explain(Option<String>),
    /// Show what was understood of a filter.
    ShowFilter(Selection, Filtering),
    /// Install what belongs to Wireshark, or remove it.
    Wireshark(Installation),
    /// Print this text and succeed: help, version.
    Print(String),
}

/// What becomes of dwdump's parts in Wireshark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// What is done.
    pub task: InstallationTask,
    /// For everybody on this host, not only for the user.
    pub system: bool,
    /// The folder for the capture interface; `None`: where tshark says.
    pub extcap_dir: Option<PathBuf>,
}

/// Whether parts come or go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallationTask {
    /// Install; with a group, whose members may capture.
    Install(Option<String>),
    /// Remove.
    Uninstall,
}

/// Monitoring of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Start monitoring, or listen along.
    pub role: Role,
    /// Drops to monitor; `None`: both, or what the kernel has.
    pub origins: Option<Origins>,
    /// The socket's receive buffer, in bytes.
    pub buffer: Option<u32>,
    /// End after this time.
    pub duration: Option<Duration>,
    /// Whether what never was a packet is wanted, too.
    pub not_packets: NotPackets,
}

/// A live capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Of what.
    pub live: Live,
    /// Where the filter runs.
    pub filtering: Filtering,
    /// What becomes of the drops.
    pub delivery: Delivery,
}

/// Where a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// In this process alone.
    UserSpace,
    /// In the kernel as well, as far as it can.
    KernelToo,
}

/// Whether a capture owns the monitoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Start it with these settings, stop it at the end.
    Owner {
        /// Bytes of each packet; 0 means all of it; `None`: as many as serve the purpose.
        trunc_len: Option<u32>,
        /// Packets that each CPU's queue holds.
        queue_len: Option<u32>,
        /// When monitoring is on already.
        when_busy: WhenBusy,
    },
    /// Change nothing.
    Passive,
}

/// A capture file, and which of its drops are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFile {
    /// Where it is.
    pub target: Target,
    /// By the kernel or by devices; `None`: both, and packets of which nobody knows.
    pub origins: Option<Origins>,
    /// Whether what never was a packet is wanted, too.
    pub not_packets: NotPackets,
}

/// A capture file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub file: CaptureFile,
    /// Bytes of each packet to keep; 0 means all of it.
    pub trunc_len: u32,
    /// What becomes of the drops.
    pub delivery: Delivery,
}

/// Drops to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub subject: Subject,
    /// Who counts.
    pub counting: Counting,
    /// What is counted apart.
    pub grouping: Grouping,
    /// How often to say; `None`: each second, and of a file once.
    pub interval: Option<Duration>,
    /// Which of them, where packets are counted.
    pub selection: Selection,
    /// End after this many alerts; of packets, those that are kept.
    pub count: Option<u64>,
    /// What goes to standard output; `Auto` is a table, where that is a terminal.
    pub lines: Lines,
    /// How text looks.
    pub text: TextChoice,
}

/// Where the drops are that are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// In the running kernel.
    Live(Live),
    /// In a capture file.
    File(CaptureFile),
}

/// Who counts drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// The kernel, without sending packets.
    Kernel,
    /// We do, of the packets that the kernel sends.
    Packets,
}

/// Which drops are delivered, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which of them.
    pub selection: Selection,
    /// End after this many drops.
    pub count: Option<u64>,
    /// The file to write.
    pub output: Option<Target>,
    /// Its format; `None`: by its name.
    pub format: Option<Format>,
    /// Its link type.
    pub link_type: Option<LinkChoice>,
    /// How much the comments of a packet say.
    pub comments: Comments,
    /// What goes to standard output, line by line.
    pub lines: Lines,
    /// How text looks.
    pub text: TextChoice,
    /// Where to look for source lines, where they are wanted.
    pub source_lines: Option<DebugFiles>,
    /// When to hand on what was written.
    pub flushing: Flushing,
}

/// Where debug information is; the usual places where no path is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugFiles {
    /// The kernel's own.
    pub vmlinux: Option<PathBuf>,
    /// The folder with that of modules.
    pub modules: Option<PathBuf>,
}

/// How much the comments of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Comments {
    /// What the kernel said
    Facts,
    /// And what it means
    Full,
}

/// Lines for people or machines on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Text, on a terminal, where no file is written.
    Auto,
    /// Text, in any case.
    Text,
    /// JSON, in any case.
    Json,
}

/// How text looks, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextChoice {
    /// When to use colours.
    pub color: ColorChoice,
    /// Whose time of day.
    pub zone: Zone,
    /// Digits of it.
    pub precision: Precision,
    /// How much there is to a drop.
    pub detail: Detail,
}

/// When text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Wherever it goes
    Always,
    /// Not at all
    Never,
}

/// Which drops are kept, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Only drops of packets that came in by this interface.
    pub interface: Option<String>,
    /// The filter.
    pub filter: FilterText,
}

/// Where a filter stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterText {
    /// On the command line: its words, joined. Empty keeps all.
    Words(String),
    /// In a file (`-F`).
    File(Target),
}

/// A file, or a standard stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `-`.
    Standard,
    /// Anything else.
    File(PathBuf),
}

impl Target {
    fn new(path: PathBuf) -> Self {
        if path == Path::new("-") {
            Self::Standard
        } else {
            Self::File(path)
        }
    }
}

/// When output is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushing {
    /// When no drop is waiting.
    WhenIdle,
    /// After every drop.
    EveryPacket,
}

/// The format of the written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Packets with comments; what Wireshark likes best
    Pcapng,
    /// Packets without comments, of one link type
    Pcap,
    /// Netlink messages in pcap: the format of the C dwdump
    Netlink,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcapng => "pcapng",
            Self::Pcap => "pcap",
            Self::Netlink => "netlink",
        })
    }
}

/// The link type of the written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkChoice {
    /// Each packet its own; tcpdump stops at the first that differs
    Auto,
    /// Ethernet frames only
    Ethernet,
    /// IP packets only, without their link-layer header
    Raw,
    /// Ethernet and raw IP behind a cooked header, without the destination MAC address
    Sll2,
}

impl LinkChoice {
    /// The one link type, unless each packet keeps its own.
    pub fn link_type(self) -> Option<LinkType> {
        match self {
            Self::Auto => None,
            Self::Ethernet => Some(LinkType::ETHERNET),
            Self::Raw => Some(LinkType::RAW),
            Self::Sll2 => Some(LinkType::LINUX_SLL2),
        }
    }
}

/// The command line as clap knows it: for the manual's test and for completions.
pub fn command() -> clap::Command {
    Options::command()
}

/// Checks `arguments`, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage_error::explain(&error),
    };
    let options = Options::from_arg_matches(&matches).map_err(|error| UsageError {
        message: error.to_string(),
        hint: None,
    })?;
    options.check()
}

#[cfg(test)]
mod tests;
