//! dwdump: tcpdump for the packets that the kernel dropped.
//!
//! The kernel's drop monitor (generic netlink family NET_DM) reports every packet it frees in
//! vain, with the place and the reason. This crate takes those reports, live or from a file, and
//! hands them on as pcapng, as plain pcap, in the C tool's format, or as text. The program in
//! `main.rs` is a thin shell around [`cli::parse`] and [`run::run`].
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
//! 1. [`record`]: the vocabulary. A [`record::DropRecord`] borrows the bytes it came in. Each
//!    [`record::Fact`] of it is described by one row: its comment, its JSON, its line of `-v`, its word
//!    in the filter.
//! 2. [`comment`] and [`interface`]: a record's metadata in a capture file, and back. This, not
//!    the Rust code, is the format that others rely on.
//! 3. [`packet`]: the bytes themselves: link type inference, conversion, [`packet::ip::Ip`];
//!    [`dissect`]: in words, with what is wrong with them; [`reason`]: what a drop means, the
//!    catalogue.
//! 4. [`net_dm`]: the kernel's protocol. [`net_dm::alert`] makes records of messages,
//!    [`net_dm::content`] tells packets from what never was one, [`net_dm::monitoring`] is the life
//!    cycle, [`net_dm::ownership`] the record that the dwdumps of a host share, [`net_dm::control`]
//!    the requests and what each refusal means, [`net_dm::socket`] the two sockets.
//! 5. [`filter`]: the language, from text to a program that runs on a record, and to one of [`bpf`]
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
//! - Imports point one way: `main` → `cli`, `run` → `source`, `sink` → `net_dm` → `record`. Sources
//!   and sinks know records, never each other. [`filter`] knows records; what it compiles for the
//!   kernel knows the numbers of [`net_dm`]'s messages, too, and nothing else of it.
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
//!   the other one is stuck in a write: see [`net_dm::monitoring`] and `run::signals`. Monitoring that
//!   another process took over is left alone.
//! - Text from outside is an [`untrusted::Untrusted`], a [`record::Name`] or a [`record::Escaped`],
//!   which all show themselves escaped. Standard error and the table's screen look once more at
//!   every character.
//! - Unknown things are kept or counted, never an error: attributes, reasons, link types,
//!   comments.
//! - `unsafe` lives in `sys` alone.

pub mod bpf;
pub mod cli;
pub mod comment;
pub mod dissect;
pub mod filter;
pub mod interface;
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
