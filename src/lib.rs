//! dwdump: tcpdump for the packets that the kernel dropped.
//!
//! The kernel's drop monitor (generic netlink family NET_DM) reports every packet that the kernel
//! drops, with the place and the reason. This crate reads those reports, live or from a file, and
//! writes them as pcapng, plain pcap, the C tool's format, JSON or text. The program in `main.rs` only
//! calls [`cli::parse`] and [`run::run`].
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
//!   │ source::kernel           │   │ sink::PcapngSink   comments   │
//!   │   net_dm: socket, alert, │──▶│ sink::PcapSink     one link   │
//!   │   control, monitoring    │   │ sink::NetlinkSink  C tool     │
//!   │ source::savefile         │   │ sink::TextSink     lines      │
//!   └──────────────────────────┘   └───────────────────────────────┘
//! ```
//!
//! # Reading order
//!
//! 1. [`record`]: a dropped packet and its facts. A [`record::DropRecord`] borrows the bytes that it
//!    was decoded from. Each [`record::Fact`] of it is described by one row: its comment, its JSON, its
//!    line of `-v`, its word in the filter.
//! 2. [`comment`] and `interface`: how a record's facts are written into a capture file and read
//!    back. This, not the Rust code, is the format that others rely on.
//! 3. [`packet`]: headers: link type inference, conversion, [`packet::ip::Ip`]; `dissect`: a packet
//!    described in a line, with its faults; [`reason`]: what a drop means, from the catalogue in
//!    `reasons.txt` and `functions.txt`.
//! 4. [`net_dm`]: the kernel's protocol. [`net_dm::alert`] makes records of messages,
//!    `net_dm::content` tells packets from what never was one, `net_dm::monitoring` is the life
//!    cycle, `net_dm::ownership` the record that the dwdumps of a host share, `net_dm::control`
//!    the requests and what each refusal means, `net_dm::socket` the two sockets.
//! 5. [`filter`]: the language, from text to a program that runs on a record, and to one of `bpf`
//!    that the kernel runs on a message.
//! 6. [`source`] and [`sink`]: where records come from and go to. A source tells [`source::Event`]s:
//!    drops, or counts that the kernel made itself. [`source::savefile::Reader`] reads a capture file without I/O:
//!    whoever has the file puts bytes in and takes events out. What a packet's comments say is worked out once
//!    for all packets that say the same (`recent`), on the way in and out.
//! 7. [`summary`]: drops counted in tables of bounded size.
//! 8. [`symbol`]: names for places in the running kernel, and their source lines.
//! 9. [`table`]: the live table as state, keys and drawing; `run::table` gives it events, a clock and a
//!    terminal.
//! 10. [`cli`], then [`run`]: what the user typed, and what is done about it. `run::live` and
//!     `run::offline` are the two event loops; what they feed is a `run::receiver::Receiver`: the
//!     pipeline of a capture, the counter of a summary, or the table.
//!
//! # Invariants
//!
//! - Imports point one way: `main` → `cli`, `run` → `source`, `sink` → `filter` → `net_dm` →
//!   `record`. `tests/imports.rs` has the layers and fails on an import that points up. Sources and
//!   sinks know records, never each other. [`filter`] knows records; the program that it compiles
//!   for the kernel uses the numbers of [`net_dm`]'s messages, too, and nothing else of it.
//! - `record`, `comment`, `interface`, `packet`, `dissect`, `reason`, `summary` and `filter` do no I/O on a record, and cannot fail on a packet: any
//!   bytes, cut anywhere, have an answer.
//! - Only [`net_dm`] talks to the kernel; [`symbol`] and `source::kernel` read what it shows in
//!   `/proc` and `/sys`. Only [`run`] and `main` print to standard error.
//!   Standard output is data, or a table on a terminal, which is given back on every way out: see
//!   `run::screen`.
//! - Nothing is allocated for a packet between socket and file: one receive buffer, one of
//!   options, both reused. Nor between file and file, but for a cause not seen lately.
//! - What is read back from a file of ours is the record that was written, in every field.
//! - The kernel's settings are put back on every way out, by the thread that takes the signals if
//!   the other one is stuck in a write: see `net_dm::monitoring` and `run::signals`. Monitoring that
//!   another process took over is left alone.
//! - Text from outside is an [`untrusted::Untrusted`], a [`record::Name`] or a [`record::Escaped`],
//!   which all show themselves escaped. Standard error and the table's screen look once more at
//!   every character.
//! - Unknown things are kept or counted, never an error: attributes, reasons, link types,
//!   comments.
//! - Public is what another crate may depend on, and what the tests and benches use: records, the
//!   readers and writers, the filter, the reasons. All else is `pub(crate)`, so that the compiler
//!   finds what nobody uses.
//! - `unsafe` lives in `sys` alone.

pub(crate) mod bpf;
pub mod cli;
pub mod comment;
pub(crate) mod dissect;
mod errno;
pub mod filter;
pub(crate) mod interface;
pub mod net_dm;
pub mod packet;
pub mod reason;
mod recent;
pub mod record;
pub mod run;
pub mod sink;
pub mod source;
pub mod summary;
pub mod symbol;
mod sys;
pub mod table;
pub mod untrusted;
pub(crate) mod wireshark;
