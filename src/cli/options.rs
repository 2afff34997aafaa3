//! The options as clap parses them. `command` checks them and turns them into a
//! [`Command`](super::Command).

mod command;
mod installation;
mod recording;
mod stack;
mod why;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::values::{
    parse_count, parse_duration, parse_file_count, parse_file_size, parse_frames, parse_origin,
    parse_queue_len, parse_rotate_seconds, parse_size, parse_total, parse_trunc_len,
};
use super::{ColorChoice, CommentDetail, LinkChoice, OutputFormat, SandboxChoice, SourceChoice};
use crate::net_dm::control::Origins;
use crate::summary::Grouping;

/// The options as they were typed.
#[derive(Debug, Parser)]
#[command(
    name = "dwdump",
    bin_name = "dwdump",
    version,
    disable_version_flag = true,
    about = "tcpdump for the packets that the kernel dropped",
    override_usage = "dwdump [OPTIONS] [FILTER]…",
    after_help = "Examples:
  dwdump --check                    check what this host can do
  dwdump                            show drops as they happen
  dwdump -w drops.pcapng            capture them for Wireshark
  dwdump -w one.pcapng saddr 10.10.2.4 and reason NETFILTER_DROP
  dwdump -r drops.pcapng            show what was captured
  dwdump -w - | tshark -r -         watch drops in tshark, live
  dwdump --summary                  count drops by location
  dwdump --why                      which setting is guilty, and what cures it
  dwdump --explain NETFILTER_DROP   what a reason means, and what to check

See dwdump(1), dwdump-filter(7) for FILTER, dwdump-reasons(7), and dwdump-why(7) for --why."
)]
#[allow(clippy::struct_excessive_bools)] // The flags of a command line; Command has none.
pub(super) struct Arguments {
    /// Keep only matching drops; tcpdump's language and more, see dwdump-filter(7)
    #[arg(value_name = "FILTER", allow_negative_numbers = true)]
    filter: Vec<String>,

    /// Write drops to FILE; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Begin another file when one has more than SIZE: millions of bytes, or with k, M, G 1024ⁿ
    #[arg(short = 'C', value_name = "SIZE", value_parser = parse_file_size)]
    file_size: Option<u64>,

    /// Begin another file every SECONDS; the name of -w may have conversions of strftime(3)
    #[arg(short = 'G', value_name = "SECONDS", value_parser = parse_rotate_seconds)]
    rotate_seconds: Option<Duration>,

    /// With -C write COUNT files over and over; with -G alone stop after COUNT files
    #[arg(short = 'W', value_name = "COUNT", value_parser = parse_file_count)]
    file_count: Option<u32>,

    /// Remove this run's oldest files when all have more than SIZE together
    #[arg(long, value_name = "SIZE", value_parser = parse_total)]
    max_total: Option<u64>,

    /// Run COMMAND with each finished file as its argument
    #[arg(short = 'z', value_name = "COMMAND")]
    postrotate: Option<PathBuf>,

    /// Have everything on the disk after SECONDS, even if the machine crashes
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    sync: Option<Duration>,

    /// Keep only drops around those that EXPR matches, a filter
    #[arg(long, value_name = "EXPR")]
    trigger: Option<String>,

    /// With --trigger: keep the drops of SECONDS before a match
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    before: Option<Duration>,

    /// With --trigger: keep the drops of SECONDS after a match
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    after: Option<Duration>,

    /// With --before: the memory for these drops, in bytes or with k, M, G [default: 64M]
    #[arg(long, value_name = "SIZE", value_parser = parse_total)]
    before_size: Option<u64>,

    /// Read drops from FILE instead of the kernel; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    read: Option<PathBuf>,

    /// Stop after N drops
    #[arg(short, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,

    /// Stop after SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    duration: Option<Duration>,

    /// Count drops by location every SECONDS [default: 1]; on a terminal, in a live table
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = parse_duration,
        num_args = 0..=1,
        require_equals = true
    )]
    #[allow(clippy::option_option)] // clap's way to say: an option whose value is optional.
    summary: Option<Option<Duration>>,

    /// Count drops packet by packet, grouped by WHAT
    #[arg(long, value_enum, value_name = "WHAT")]
    by: Option<Grouping>,

    /// Write the counts of `--by stack` for flame graphs: a line for each stack, at the end
    #[arg(long)]
    folded: bool,

    /// Say why: look at this host at each new kind of drop, and name the setting that is guilty
    #[arg(long)]
    why: bool,

    /// Keep only packets that arrived on the interface NAME, a name or an index
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,

    /// Read the filter from FILE; `-` is standard input
    #[arg(short = 'F', value_name = "FILE")]
    filter_file: Option<PathBuf>,

    /// Print the filter as dwdump understands it, and exit
    #[arg(short = 'd')]
    show_filter: bool,

    /// Filter in the kernel too, as far as possible; only eBPF counts the drops it rejects
    #[arg(long)]
    kernel_filter: bool,

    /// Keep drops that are not packets, too: netlink messages, data between local sockets
    #[arg(long)]
    all: bool,

    /// Capture with the drop monitor (netdm), with eBPF (ebpf), or with both (auto) [default: auto]
    #[arg(long, value_enum, value_name = "SOURCE", hide_possible_values = true)]
    source: Option<SourceChoice>,

    /// Capture the call stack of each drop too, of up to FRAMES functions, with eBPF [default: 24]
    #[arg(
        long,
        value_name = "FRAMES",
        value_parser = parse_frames,
        num_args = 0..=1,
        require_equals = true
    )]
    #[allow(clippy::option_option)]
    stack: Option<Option<u8>>,

    /// Keep only drops by the kernel (sw) or by devices (hw) [default: both]
    #[arg(short, long, value_name = "sw|hw", value_parser = parse_origin)]
    origin: Option<Origins>,

    /// Keep LEN bytes of each packet, 1 to 65527; 0 keeps all [default: 0]
    #[arg(short, long, value_name = "LEN", value_parser = parse_trunc_len)]
    trunc: Option<u32>,

    /// Queue up to N packets on each CPU [default: up to 100000]
    #[arg(short, long, value_name = "N", value_parser = parse_queue_len)]
    limit: Option<u32>,

    /// Use a socket buffer of BYTES, with suffix k or M [default: up to 64M]
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size)]
    bufsize: Option<u32>,

    /// Listen to monitoring that is already on; start, change and stop nothing
    #[arg(short, long)]
    passive: bool,

    /// Take over if drops are monitored already
    #[arg(long)]
    force: bool,

    /// Go on as USER once everything is open [default: the caller of sudo, else dwdump where it exists]
    #[arg(short = 'Z', value_name = "USER")]
    relinquish_privileges: Option<String>,

    /// Confine the run: as far as the kernel can (auto), fully or not at all (strict), not (off) [default: auto]
    #[arg(long, value_enum, value_name = "HOW", hide_possible_values = true)]
    sandbox: Option<SandboxChoice>,

    /// Print every SECONDS how many drops were received, written, rejected and lost
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    stats_interval: Option<Duration>,

    /// Print a line for each drop, even with -w
    #[arg(long)]
    print: bool,

    /// Print a JSON object for each drop, even with -w
    #[arg(long)]
    json: bool,

    /// Print more about each drop: address, module, interface, lengths
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Show the source line of each drop, from debug information
    #[arg(long)]
    source_lines: bool,

    /// Take the kernel's debug information from FILE
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// Look for the modules' debug information below DIR
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,

    /// Accepted for compatibility with tcpdump: names are never looked up
    #[arg(short = 'n', action = clap::ArgAction::Count)]
    no_names: u8,

    /// Show times in UTC
    #[arg(long)]
    utc: bool,

    /// Show times with nanoseconds
    #[arg(long)]
    nano: bool,

    /// Use colours
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    color: ColorChoice,

    /// Flush output after every drop, not only when idle
    #[arg(short = 'U', long)]
    packet_buffered: bool,

    /// Write this format [default: pcapng; netlink if the name ends in .pcap]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<OutputFormat>,

    /// Write a file of one link type, so that tcpdump can read all of it
    #[arg(long, value_enum, value_name = "TYPE")]
    link_type: Option<LinkChoice>,

    /// Choose the comments on each packet: the facts, or also their meaning
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "facts",
        hide_default_value = true
    )]
    comments: CommentDetail,

    /// Check what this host can do, with three drops of its own, and exit
    #[arg(long)]
    check: bool,

    /// Explain a drop reason or kernel function; list all without NAME, harmless ones with `noise`
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    #[allow(clippy::option_option)] // clap's way to say: an option whose value is optional.
    explain: Option<Option<String>>,

    /// Install a plug-in, a profile and a capture interface for Wireshark and exit
    #[arg(long)]
    install_wireshark: bool,

    /// Remove what --install-wireshark installed, and exit
    #[arg(long)]
    uninstall_wireshark: bool,

    /// Install into, or remove from, the folders of all users
    #[arg(long)]
    system: bool,

    /// With --system: let the members of GROUP capture in Wireshark
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// Put the capture interface into DIR
    #[arg(long, value_name = "DIR")]
    extcap_dir: Option<PathBuf>,

    /// Show the drop monitor's settings and exit
    #[arg(short, long)]
    query: bool,

    /// Show the drop monitor's statistics and exit
    #[arg(short, long)]
    stats: bool,

    /// Stop all monitoring on this host, whoever started it, and exit
    #[arg(short, long)]
    exit: bool,

    /// Print version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}
