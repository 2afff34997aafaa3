//! Parses and checks the command line, without touching the machine.

mod options;
mod recording;
mod usage_error;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, ValueEnum};

use options::Arguments;
pub use recording::{Rotation, TriggerChoice};
pub use usage_error::UsageError;

use crate::net_dm::control::Origins;
use crate::net_dm::monitoring::WhenBusy;
use crate::record::LinkType;
use crate::sink::{Detail, Precision, Zone};
use crate::source::NotPackets;
use crate::summary::Grouping;

/// A checked command line: what the program has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Capture from the kernel.
    Capture(Capture),
    /// Read a capture file.
    Read(Read),
    /// Count drops.
    Summary(Summary),
    /// Find out why packets are dropped.
    Why(Diagnosis),
    /// Check what this host can do, and print it as text or as JSON.
    Check(Lines),
    /// Show the drop monitor's settings.
    Query,
    /// Show the drop monitor's statistics.
    Statistics,
    /// Stop all monitoring on this host.
    Stop,
    /// Explain a reason or a function; `None` lists all of them.
    Explain(Option<String>),
    /// Show a filter as it was understood.
    ShowFilter(Selection, Filtering, SourceChoice),
    /// Install the parts for Wireshark, or remove them.
    Wireshark(Installation),
    /// Print this text and exit successfully: help, version.
    Print(String),
}

/// An installation of dwdump's parts into Wireshark, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Installs or removes.
    pub task: InstallationTask,
    /// For everybody on this host, not only for the user.
    pub system: bool,
    /// The folder for the capture interface; `None`: where tshark says.
    pub extcap_dir: Option<PathBuf>,
}

/// The task of an [`Installation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallationTask {
    /// Install; with a group, whose members may capture.
    Install(Option<String>),
    /// Remove.
    Uninstall,
}

/// The source of live drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SourceChoice {
    /// The drop monitor, and eBPF for what it skips
    #[default]
    Auto,
    /// The drop monitor alone
    #[value(name = "netdm")]
    NetDm,
    /// eBPF for all software drops
    Ebpf,
}

/// The sandbox of a run: Landlock for its files, seccomp for its system calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SandboxChoice {
    /// Both, as far as the kernel has them
    #[default]
    Auto,
    /// Both, or no run
    Strict,
    /// Neither
    Off,
}

/// The rights that a run gives up once everything is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relinquishment {
    /// The user to go on as, if one was asked for.
    pub user: Option<String>,
    /// The sandbox.
    pub sandbox: SandboxChoice,
}

/// Monitoring of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The source of the drops.
    pub source: SourceChoice,
    /// An option that only the drop monitor can carry out.
    pub net_dm_option: Option<&'static str>,
    /// The role: start monitoring, or listen to another process's.
    pub role: Role,
    /// The origins to monitor; `None` means both, or those that the kernel has.
    pub origins: Option<Origins>,
    /// The socket's receive buffer, in bytes.
    pub buffer: Option<u32>,
    /// The time after which monitoring ends.
    pub duration: Option<Duration>,
    /// The treatment of socket buffers that never were packets.
    pub not_packets: NotPackets,
    /// Frames of each drop's call stack; `None`: no call stacks. Only eBPF captures them.
    pub stack: Option<u8>,
    /// The detail of what is said about the sources.
    pub detail: Detail,
}

/// A live capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The monitoring.
    pub live: Live,
    /// The place where the filter runs.
    pub filtering: Filtering,
    /// The outputs for the drops.
    pub delivery: Delivery,
    /// The rights that are given up.
    pub relinquishment: Relinquishment,
    /// The time between two lines of counts, if they are wanted.
    pub stats_interval: Option<Duration>,
}

/// The place where a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// In this process only.
    UserSpace,
    /// In the kernel too, as far as it can.
    KernelToo,
}

/// The role of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Start monitoring with these settings, and stop it at the end.
    Owner {
        /// The bytes to keep of each packet; 0 means all; `None` means as many as the purpose
        /// needs.
        trunc_len: Option<u32>,
        /// The number of packets that each CPU's queue holds.
        queue_len: Option<u32>,
        /// The behaviour if monitoring is on already.
        when_busy: WhenBusy,
    },
    /// Listen to another process's monitoring and change nothing.
    Passive,
}

/// A capture file, and the selection of its drops by origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFile {
    /// The file or standard input.
    pub target: Target,
    /// The origin of the drops to read; `None` means all, including packets of unknown origin.
    pub origins: Option<Origins>,
    /// The treatment of socket buffers that never were packets.
    pub not_packets: NotPackets,
}

/// A capture file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The file.
    pub file: CaptureFile,
    /// The bytes to keep of each packet; 0 means all.
    pub trunc_len: u32,
    /// The outputs for the drops.
    pub delivery: Delivery,
    /// The rights that are given up.
    pub relinquishment: Relinquishment,
}

/// Drops to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The drops to count.
    pub subject: Subject,
    /// The place where drops are counted.
    pub counting: Counting,
    /// The property by which drops are grouped.
    pub grouping: Grouping,
    /// The length of an interval; `None` means a second live, and the whole of a file.
    pub interval: Option<Duration>,
    /// The selection of drops, if packets are counted.
    pub selection: Selection,
    /// The number of alerts, or of selected packets, after which the summary ends.
    pub count: Option<u64>,
    /// The lines on standard output; `Auto` means a table on a terminal.
    pub lines: Lines,
    /// The style of text.
    pub text: TextChoice,
    /// Lines for flame graphs instead, once, at the end.
    pub is_folded: bool,
    /// The rights that are given up.
    pub relinquishment: Relinquishment,
}

/// Drops whose causes are sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The drops.
    pub subject: Subject,
    /// The selection of drops.
    pub selection: Selection,
    /// The number of drops after which the run ends.
    pub count: Option<u64>,
    /// The lines on standard output.
    pub lines: Lines,
    /// The style of text.
    pub text: TextChoice,
    /// The capture file, if one is to be written as well.
    pub output: Option<Delivery>,
    /// The rights that are given up.
    pub relinquishment: Relinquishment,
}

/// The source of the drops to count or to explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// In the running kernel.
    Live(Live),
    /// In a capture file.
    File(CaptureFile),
}

/// The place where drops are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// In the kernel, which sends no packets.
    Kernel,
    /// In this process, from the packets that the kernel sends.
    Packets,
}

/// The drops to deliver, and their outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The selection of drops.
    pub selection: Selection,
    /// The number of drops after which the run ends.
    pub count: Option<u64>,
    /// The file to write.
    pub output: Option<Target>,
    /// The division into files.
    pub rotation: Rotation,
    /// The drops around which others are kept; `None` keeps all.
    pub trigger: Option<TriggerChoice>,
    /// The file's format; `None` means by its name.
    pub format: Option<OutputFormat>,
    /// The file's link type.
    pub link_type: Option<LinkChoice>,
    /// The detail of a packet's comments.
    pub comments: CommentDetail,
    /// The lines on standard output.
    pub lines: Lines,
    /// The style of text.
    pub text: TextChoice,
    /// The debug information for source lines, if they are wanted.
    pub source_lines: Option<DebugFiles>,
    /// The time at which output is flushed.
    pub flushing: Flushing,
}

/// The paths of debug information; `None` means the usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugFiles {
    /// The kernel's debug information.
    pub vmlinux: Option<PathBuf>,
    /// The directory with the modules' debug information.
    pub modules: Option<PathBuf>,
}

/// The detail of a packet's comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CommentDetail {
    /// The facts that the kernel reported
    Facts,
    /// The facts and what they mean
    Full,
}

/// Lines for people or machines on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Text on a terminal, if no file is written.
    Auto,
    /// Text, wherever standard output goes.
    Text,
    /// JSON, wherever standard output goes.
    Json,
}

/// The style of text, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextChoice {
    /// The use of colours.
    pub color: ColorChoice,
    /// The time zone.
    pub zone: Zone,
    /// The precision of times.
    pub precision: Precision,
    /// The detail of a drop's text.
    pub detail: Detail,
}

/// The use of colours in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// The selection of drops, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The interface, by name or index, on which the packets came in.
    pub interface: Option<String>,
    /// The filter.
    pub filter: FilterText,
}

/// The text of a filter, or its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterText {
    /// The words on the command line, joined. Empty keeps every drop.
    Words(String),
    /// The file with the filter (`-F`).
    File(Target),
}

/// A file, or a standard stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard input or output: `-`.
    Standard,
    /// A file.
    File(PathBuf),
}

impl Target {
    /// Returns the path of a file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Standard => None,
            Self::File(path) => Some(path),
        }
    }

    fn new(path: PathBuf) -> Self {
        if path == Path::new("-") {
            Self::Standard
        } else {
            Self::File(path)
        }
    }
}

/// The time at which output is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushing {
    /// Whenever no drop is waiting.
    WhenIdle,
    /// After every drop.
    EveryPacket,
}

/// The format of the written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Packets with comments; best for Wireshark
    Pcapng,
    /// Packets without comments, of one link type
    Pcap,
    /// Netlink messages in pcap, as the C dwdump writes them
    Netlink,
}

impl fmt::Display for OutputFormat {
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
    /// Each packet keeps its own; tcpdump stops at the first that differs
    Auto,
    /// Ethernet frames only
    Ethernet,
    /// IP packets only, without their link-layer header
    Raw,
    /// Ethernet and raw IP after a cooked header, without the destination MAC address
    Sll2,
}

impl LinkChoice {
    /// Returns the single link type of the file; `None` if each packet keeps its own.
    pub fn link_type(self) -> Option<LinkType> {
        match self {
            Self::Auto => None,
            Self::Ethernet => Some(LinkType::ETHERNET),
            Self::Raw => Some(LinkType::RAW),
            Self::Sll2 => Some(LinkType::LINUX_SLL2),
        }
    }
}

/// Returns clap's description of the command line, for the manual's test and for completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Parses and checks `arguments`, of which the first is the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage_error::explain(&error),
    };
    let options = Arguments::from_arg_matches(&matches).map_err(|error| UsageError {
        message: error.to_string(),
        hint: None,
    })?;
    options.check()
}

#[cfg(test)]
mod completions;
#[cfg(test)]
mod tests;
