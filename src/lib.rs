//! dwdump: tcpdump for the packets that the kernel dropped.
//!
//! The kernel's drop monitor (generic netlink family NET_DM) reports the packets that the kernel
//! drops, with location and reason; eBPF programs at the same tracepoint capture what it skips. This crate reads
//! those reports, live or from a file, and
//! writes them as pcapng, plain pcap, the C tool's format, JSON or text. The program in `main.rs` only
//! calls [`cli::parse`] and [`run::run`], or [`extcap::answer`] where Wireshark started it.
//!
//! # The picture
//!
//! ```text
//!                 main ── cli::parse ──▶ Command
//!                  │
//!                  ▼
//!                 run ── output::Plan: which sinks; pipeline: select, write, count
//!                  │
//!     sources      │ DropRecord        sinks
//!   ┌──────────────┴───────────┐   ┌───────────────────────────────┐
//!   │ source::sources: by time │   │ sink::PcapngSink   comments   │
//!   │   source::net_dm         │──▶│ sink::PcapSink     one link   │
//!   │   source::ebpf           │   │ sink::NetlinkSink  C tool     │
//!   │ source::savefile         │   │ sink::TextSink     lines      │
//!   └──────────────────────────┘   └───────────────────────────────┘
//! ```
//!
//! # Where to find what
//!
//! | question | file |
//! |---|---|
//! | What does a word of the filter, such as `saddr`, become? | `filter/primitive.rs` recognises it, `filter/address.rs` makes a `Primitive` of an address, `filter/program.rs` compiles it, `filter/predicate.rs` evaluates it |
//! | Where does the part of the filter that the kernel runs come from? | `filter/kernel/mod.rs` and its folder; `run/kernel_filter.rs` attaches it |
//! | Where is a fact of a drop described, and where would a new one go? | `record/fact.rs`; the source sets it, `net_dm/alert.rs` or `source/ebpf/completer.rs` |
//! | Where does an alert become an event? | `source/alerts.rs`, for live alerts and for those in files |
//! | Where are the events of two sources put in order? | `source/merge.rs` |
//! | Where are capture files parsed? | `source/savefile/reader.rs`, by `source/savefile/pcapng.rs` or `source/savefile/pcap.rs` |
//! | Where are comments written and read back? | `comment.rs` |
//! | Where are the line of a drop and its JSON written? | `sink/text.rs`, with the packet from `dissect/mod.rs`; `sink/json.rs` |
//! | Where is a reason explained? | `reason/reasons.txt`, and `reason/functions.txt` for drops without a reason |
//! | Where is a packet's link type inferred? | `packet/inference.rs` |
//! | Where are the kernel's settings restored? | `net_dm/monitoring.rs` |
//! | Where is loss counted and reported? | `run/live.rs` adds that of NET_DM's queue (`net_dm/monitoring.rs`) to that of the sources (`source/sources.rs`), `run/pipeline.rs` prints it, `sink/pcapng.rs` writes it into the file |
//! | Where are packet files created? | `run/folder.rs`, and nowhere else; `run/ring/` decides which follows which, `run/finished.rs` runs `-z` |
//! | What does `--trigger` hold in memory? | `run/trigger/` |
//! | Who names an address in the kernel? | The kernel itself where eBPF is there, `ebpf/names.rs`; else `symbol/kallsyms.rs` |
//! | Where is the module of a symbol found? | `symbol/mod.rs` completes it, `symbol/sent.rs` parses it |
//! | Where does `--by flow` count? | `summary/group_key.rs` has the key, `summary/counts.rs` the counts, `run/summary.rs` the intervals |
//! | Where is the live table drawn? | `table/draw.rs`; `run/table/` runs it |
//! | Where is a hint worded? | In the `hint()` of its error, such as in `net_dm/control/refusal.rs`, which `run/failure.rs` prints; `cli/usage_error.rs` for the command line, `filter/advice.rs` for a filter; beside its message in `run` |
//! | Where would a new option go? | `cli/options.rs` has them all, `cli/options/command.rs` says which of them fit together, `extcap/options.rs` puts it into Wireshark's dialog |
//! | What decides the exit status? | `run/live.rs` and `run/offline.rs`; `run/failure.rs` defines it, `main.rs` returns it |
//! | Which sources does a live run have? | `run/live/choice.rs` chooses them, `run/beginning.rs` has the words for it |
//! | Where would a new live source go? | `source/mod.rs` says what it is, `run/live/opening.rs` starts it |
//! | What does `--check` look at? | `check/mod.rs` and its folder; `run/check.rs` tries the sources |
//! | What does `--why` look for, and where would a new cause go? | `why/mod.rs` lists the families, a file each; what they ask of the host is in `host/` |
//! | Which process looks at the host? | `run/why/looker.rs` starts it; `sink/why.rs` prints what it finds, `run/why/commented_file.rs` writes it into a capture, with the comments of `why/comments.rs` |
//! | What does a run give up once everything is open? | `run/live/confining.rs` says what it still needs, `run/confinement.rs` tells it, `sandbox/` gives up the rest; `sandbox/calls/list.rs` has the system calls |
//! | Which process enters other network namespaces? | `source/surroundings.rs` |
//! | Which process opens the files of a ring, once the run may not? | `run/folder/apart.rs`; `run/finished.rs` has the one that runs the command of `-z` |
//! | Where are the sizes of queues and buffers chosen? | `run/capacity.rs`, and `ebpf/tracer.rs` for eBPF |
//! | Where is the eBPF program written? | `ebpf/program.rs` and its folder, with the instructions of `ebpf/assembler.rs`; `ebpf/tracer.rs` loads it |
//! | Where is the kernel's part of a filter made? | `filter/kernel/mod.rs`, as classic BPF (`bpf.rs`); `ebpf/program/filter.rs` makes eBPF of it |
//! | What is in the options dialog of Wireshark? | `extcap/options.rs`, a row each |
//! | What promises are kept for any bytes, and where would a new kind of input go? | `fuzzing/mod.rs` lists the fuzz targets, a function each; `filter/plain.rs` is the second opinion on filters |
//! | Where are Wireshark's fields made? | `wireshark/plugin.rs`, of the rows of `record/fact.rs` |
//! | Where do the completions of shells come from? | `cli/completions.rs`, which a test writes into `packaging` |
//!
//! # Reading order
//!
//! 1. [`record`]: a dropped packet and its facts. A [`record::DropRecord`] borrows the bytes that it
//!    was decoded from. One row describes each [`record::Fact`]: its comment, its JSON, its line of
//!    `-v`, its word in the filter.
//! 2. [`comment`] and `interface` write a record's facts into a capture file and read them back. Other
//!    programs rely on this format.
//! 3. [`packet`] parses headers: link type inference, conversion, [`packet::ip::Ip`]. `dissect`
//!    describes a packet and its faults in a line. [`reason`] explains a drop, from the catalogue in
//!    `reasons.txt` and `functions.txt`.
//! 4. [`net_dm`] speaks the kernel's protocol. [`net_dm::alert`] decodes messages into records,
//!    `net_dm::content` recognises messages that are not about packets, `net_dm::monitoring` starts and
//!    ends monitoring, `net_dm::ownership` keeps the file that all dwdumps of a host share,
//!    `net_dm::control` sends requests and explains refusals, `net_dm::socket` has the two sockets.
//!    `ebpf` captures drops without NET_DM: `ebpf::btf` parses the layout of the kernel's structures,
//!    `ebpf::program` writes the program that the kernel runs at each drop, `ebpf::tracer` loads it and
//!    takes its reports.
//! 5. [`filter`] compiles the filter language into a program that runs on a record, and into one of
//!    `bpf` that the kernel runs on a message, or as a part of the eBPF program.
//! 6. [`source`] and [`sink`]: where records come from and go to. A source passes on [`source::Event`]s:
//!    drops, or counts that the kernel made itself. `source::Source` is the interface between an event
//!    loop and a live source, and `source::net_dm` and `source::ebpf` implement it;
//!    `source::sources` is the list of a run's sources, and `source::merge` orders their events by
//!    time. [`source::savefile::Reader`] parses a capture file without I/O: its caller puts bytes in
//!    and takes events out. `source::alerts` translates the drop monitor's alerts, live or in a file.
//!    Packets with equal comments share one parsed or written copy (`cache`); where a source knows that records say the
//!    same ([`record::Likeness`]), the pcapng sink does not compare them.
//! 7. [`summary`]: counts drops by groups, in bounded memory.
//! 8. [`symbol`]: completes the symbols of the running kernel, and finds their source lines.
//! 9. [`table`]: the state, the keys and the drawing of the live table; `run::table` gives it events, a
//!    clock and a terminal.
//! 10. [`cli`] parses the command line, and [`run`] carries it out. `run::live` and `run::offline` are
//!     the two event loops, which both wait in `run::wait`. They feed a `run::receiver::Receiver`: the
//!     pipeline of a capture, the counter of a summary, or the live table.
//! 11. `check` finds out what a host can do, for `--check`, and makes the drops by which `run::check` tries
//!     the sources.
//! 12. `host` asks this host about its state: each question is a file. `why` finds the cause of a drop by its
//!     answers, and `run::why` has a process that asks while the capture goes on.
//! 13. [`extcap`] is the other front end: it answers Wireshark, and makes a command line of its options.
//!     `wireshark` generates the plug-in and the profile, and installs them.
//!
//! # Invariants
//!
//! - Imports point one way: `main` → `extcap` → `run` → `cli` → `source`, `sink` → `filter` → `net_dm` →
//!   `record`. `tests/imports.rs` has the layers and fails on an import that points up. Sources and
//!   sinks know records, never each other. [`filter`] knows records; the program that it compiles
//!   for the kernel uses the numbers of [`net_dm`]'s messages and of `ebpf`'s reports, too.
//! - `record`, `comment`, `interface`, `packet`, `dissect`, `reason`, `summary` and `filter` do no I/O
//!   on a record, and handle any packet without an error: any bytes, cut anywhere.
//! - Only [`net_dm`] and `ebpf` talk to the kernel; [`symbol`], `check::host` and the tables of `source`
//!   (devices, namespaces, cgroups) read files of `/proc` and `/sys`. `check::namespace` sets up network
//!   namespaces of its own, and `source::surroundings` enters others, in a process of its own. Only [`run`] and `main` print
//!   to standard error. Standard output is data, or the live table on a terminal, which is restored on every
//!   way out: see `run::screen`.
//! - Nothing is allocated for a packet between socket and file: the receive buffer and the buffer of
//!   options are reused. From file to file, only a packet
//!   whose cause is not among the recent ones allocates.
//!   Of several live sources in one run, a record is copied once where an earlier one of another
//!   source may still come.
//! - A record that is read back from a file of dwdump equals the written one in every field.
//! - However a run ends, the kernel's settings are restored. If the main thread is stuck in a write, the
//!   thread that handles signals does it: see `net_dm::monitoring` and `run::signals`. Monitoring that
//!   another process took over is left alone.
//! - Once a run has opened everything, it holds no right that it does not need: `sandbox` gives up the user, the
//!   capabilities, the files and the system calls. What needs more (namespaces, `nft`, files that are created later,
//!   the command of `-z`) is in processes that are started before, take fixed requests and never see a packet. A thread that is started before inherits
//!   nothing of this, so the one that handles signals is started anew.
//! - Text from outside is an [`untrusted::Untrusted`], a [`record::Name`] or a [`record::Escaped`],
//!   which all print themselves escaped. Standard error and the screen of the live table check every
//!   character once more.
//! - Unknown attributes, reasons, link types and comments are kept or counted, and never an error.
//! - Only what another crate may depend on is public, and what the tests and benches use: records,
//!   the readers and writers, the filter, the reasons. Everything else is `pub(crate)`, so that the
//!   compiler finds unused code.
//! - `unsafe` code is only in `sys`.

pub(crate) mod bpf;
mod cache;
pub(crate) mod check;
pub mod cli;
pub mod comment;
pub(crate) mod dissect;
pub(crate) mod ebpf;
mod errno;
pub mod extcap;
pub mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub(crate) mod host;
pub(crate) mod interface;
pub mod net_dm;
pub mod packet;
pub mod reason;

pub mod record;
mod rights;
pub mod run;
mod sandbox;
pub mod sink;
pub mod source;
pub mod summary;
pub mod symbol;
mod sys;
pub mod table;
pub mod untrusted;
pub(crate) mod why;
pub(crate) mod wireshark;
