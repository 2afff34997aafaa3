//! The options as clap parses them. `command` checks them and turns them into a
//! [`Command`](super::Command).

mod command;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::values::{
    parse_count, parse_duration, parse_origin, parse_queue_len, parse_size, parse_trunc_len,
};
use super::{ColorChoice, CommentDetail, LinkChoice, OutputFormat};
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
  dwdump                            show drops as they happen
  dwdump -w drops.pcapng            capture them for Wireshark
  dwdump -w one.pcapng saddr 10.10.2.4 and reason NETFILTER_DROP
  dwdump -r drops.pcapng            show what was captured
  dwdump -w - | tshark -r -         look on, live
  dwdump --summary                  where drops happen, and how many
  dwdump --explain NETFILTER_DROP   what a reason means, and what to check

See dwdump(1), and dwdump-filter(7) for FILTER."
)]
#[allow(clippy::struct_excessive_bools)] // The flags of a command line; Command has none.
pub(super) struct Arguments {
    /// Only drops that match, in tcpdump's language and more: see dwdump-filter(7)
    #[arg(value_name = "FILTER", allow_negative_numbers = true)]
    filter: Vec<String>,

    /// Write drops to FILE; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Read drops from FILE instead of the kernel; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    read: Option<PathBuf>,

    /// Stop after N drops
    #[arg(short, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,

    /// Stop after SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = parse_duration)]
    duration: Option<Duration>,

    /// Count drops by place, every SECONDS [default: 1]; on a terminal, in a live table
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = parse_duration,
        num_args = 0..=1,
        require_equals = true
    )]
    #[allow(clippy::option_option)] // clap's way to say: an option whose value is optional.
    summary: Option<Option<Duration>>,

    /// Count drops by this, packet by packet
    #[arg(long, value_enum, value_name = "WHAT")]
    by: Option<Grouping>,

    /// Only drops of packets that came in by NAME (or by the interface with this index)
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,

    /// Read the filter from FILE; `-` is standard input
    #[arg(short = 'F', value_name = "FILE")]
    filter_file: Option<PathBuf>,

    /// Print what was understood of the filter and exit
    #[arg(short = 'd')]
    show_filter: bool,

    /// Filter in the kernel as well, as far as it can; what it rejects is not counted
    #[arg(long)]
    kernel_filter: bool,

    /// Take what never was a packet, too: netlink messages, data between local sockets
    #[arg(long)]
    all: bool,

    /// Only drops by the kernel (sw) or by devices (hw) [default: both]
    #[arg(short, long, value_name = "sw|hw", value_parser = parse_origin)]
    origin: Option<Origins>,

    /// Keep LEN bytes of each packet, 1 to 65527; 0 keeps all [default: 0]
    #[arg(short, long, value_name = "LEN", value_parser = parse_trunc_len)]
    trunc: Option<u32>,

    /// Queue N packets on each CPU before losing some [default: up to 100000]
    #[arg(short, long, value_name = "N", value_parser = parse_queue_len)]
    limit: Option<u32>,

    /// Use a socket buffer of BYTES, with k or M [default: up to 64M]
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size)]
    bufsize: Option<u32>,

    /// Listen along with somebody else's monitoring; change and stop nothing
    #[arg(short, long)]
    passive: bool,

    /// Take over where drops are monitored already
    #[arg(long)]
    force: bool,

    /// Print a line for each drop, even with -w
    #[arg(long)]
    print: bool,

    /// Print a JSON object for each drop, even with -w
    #[arg(long)]
    json: bool,

    /// Print more of each drop: address, module, interface, lengths
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

    /// Do not look up names: they are never looked up, but fingers type it
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

    /// Hand on every drop at once, not only when idle
    #[arg(short = 'U', long)]
    packet_buffered: bool,

    /// Write this format [default: pcapng; netlink for names in .pcap]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<OutputFormat>,

    /// Write a file of one link type, which tcpdump reads whole
    #[arg(long, value_enum, value_name = "TYPE")]
    link_type: Option<LinkChoice>,

    /// Comments on each packet: what the kernel said, or also what it means
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "facts",
        hide_default_value = true
    )]
    comments: CommentDetail,

    /// Explain a drop reason or a kernel function; without NAME, list them; `noise`: the harmless
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    #[allow(clippy::option_option)] // clap's way to say: an option whose value is optional.
    explain: Option<Option<String>>,

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
