//! Decides which sinks a command line asks for, and creates them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::diagnostics::{hint, note};
use super::failure::Failure;
use super::output_file::OutputFile;
use super::signals::Requests;
use super::standard_streams::{pipe, shown, standard_output};
use crate::cli::{
    ColorChoice, CommentDetail, Delivery, Lines, LinkChoice, OutputFormat, Target, TextChoice,
    UsageError,
};
use crate::net_dm::family;
use crate::record::{CaptureHost, LinkType};
use crate::sink::{
    BUFFER_LEN, Color, Commenting, CompressedSink, Compression, Detail, JsonSink, Linking,
    NetlinkSink, PcapSink, PcapngSink, SharedFinder, Sink, TextSink, TextStyle, WithLines,
};

/// The program's name and version, as written into files.
pub const APPLICATION: &str = concat!("dwdump ", env!("CARGO_PKG_VERSION"));
/// The name of standard output in messages.
const STANDARD_OUTPUT: &str = "standard output";

/// The outputs of a run, with their formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Lines on standard output.
    Lines(LineKind),
    /// Packets into a file or a pipe.
    Packets {
        /// The file; `None` means standard output.
        path: Option<PathBuf>,
        /// The file's format.
        layout: Layout,
        /// Lines on standard output in addition.
        lines: Option<LineKind>,
        /// The most frequent reasons and locations are shown at the end, or only the counts.
        detail: Detail,
    },
}

/// The format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Text.
    Text(TextStyle),
    /// JSON objects.
    Json,
}

/// The format of packet files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// pcapng.
    Pcapng(Linking, Commenting),
    /// Plain pcap of this link type.
    Pcap(LinkType),
    /// The C tool's format.
    Netlink(Choice),
}

/// The way in which the user chose the netlink format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// With `--format`.
    Option,
    /// With a name that ends in `.pcap`.
    Name,
}

impl Plan {
    /// Returns the outputs that the options ask for. Some depend on whether standard output is a
    /// terminal.
    pub fn new(delivery: &Delivery, stdout_is_terminal: bool) -> Result<Self, UsageError> {
        let lines = line_kind(delivery, stdout_is_terminal);
        let path = match &delivery.output {
            Some(Target::File(path)) => Some(path.clone()),
            Some(Target::Standard) if stdout_is_terminal => {
                return Err(UsageError::new(
                    "packets are not written to a terminal",
                    "`-w -` is for pipes: `dwdump -w - | tshark -r -`; without -w, drops are shown as text",
                ));
            }
            Some(Target::Standard) if lines.is_some() => {
                return Err(UsageError::new(
                    "--print and --json cannot be used with -w -",
                    "both would write to standard output: choose a file for -w",
                ));
            }
            Some(Target::Standard) => None,
            None => match lines {
                Some(kind) => return Self::lines(delivery, kind),
                None if stdout_is_terminal => {
                    return Self::lines(delivery, LineKind::Text(text_style(delivery.text, true)));
                }
                None => None,
            },
        };
        if let Some(name) = path.as_deref().filter(|path| names_other_compression(path)) {
            return Err(UsageError::new(
                format!("{} would not be compressed", shown(name)),
                "dwdump compresses to .gz and .zst only: choose one of these, or a name in .pcapng and compress the file afterwards",
            ));
        }
        let layout = layout(delivery, path.as_deref());
        let has_comments = matches!(layout, Layout::Pcapng(..));
        if !has_comments && lines.is_none() && delivery.source_lines.is_some() {
            return Err(UsageError::new(
                "--source-lines needs text, JSON or pcapng output",
                "this format cannot hold source lines: add --print or --json, or choose a name in .pcapng",
            ));
        }
        if delivery.link_type == Some(LinkChoice::Auto)
            && delivery.format.is_none()
            && is_pcap(path.as_deref())
        {
            return Err(UsageError::new(
                "--link-type auto cannot be used with a name in .pcap",
                "a pcap file has one link type: choose it, or a name ending in .pcapng",
            ));
        }
        Ok(Self::Packets {
            path,
            layout,
            lines,
            detail: delivery.text.detail,
        })
    }

    fn lines(delivery: &Delivery, kind: LineKind) -> Result<Self, UsageError> {
        let useless = [
            ("--format", delivery.format.is_some()),
            ("--link-type", delivery.link_type.is_some()),
        ];
        match useless.into_iter().find(|(_, given)| *given) {
            None => Ok(Self::Lines(kind)),
            Some((option, _)) => Err(UsageError::new(
                format!("{option} needs a file to write"),
                "drops would be shown as text: add -w FILE",
            )),
        }
    }

    /// Prints the opening line, with the destination and the format, and a remark behind them.
    pub fn announce(&self, what: &str, remark: &str) {
        note(format_args!("{what}, {}{remark}", self.destination()));
        if let Self::Packets {
            layout: Layout::Netlink(Choice::Name),
            ..
        } = self
        {
            hint("for packets with comments choose a name ending in .pcapng, or --format pcapng");
        }
    }

    /// Returns the words for where drops go: `to drops.pcapng (pcapng)`.
    fn destination(&self) -> String {
        let (path, layout) = match self {
            Self::Lines(LineKind::Json) => return "as JSON".into(),
            Self::Lines(_) => return "as text".into(),
            Self::Packets { path, layout, .. } => (path, layout),
        };
        let place = path
            .as_deref()
            .map_or_else(|| "standard output".into(), shown);
        let format = match layout {
            Layout::Pcapng(Linking::Auto, _) => "pcapng".into(),
            Layout::Pcapng(Linking::One(link), _) => format!("pcapng, link type {link}"),
            Layout::Pcap(link) => format!("pcap, link type {link}"),
            Layout::Netlink(Choice::Option) => "netlink, the C tool's format".into(),
            Layout::Netlink(Choice::Name) => {
                "netlink, the C tool's format, because of its name".into()
            }
        };
        format!("to {place} ({format})")
    }

    /// Opens the outputs. Nothing is written yet, and no file is emptied. Returns `None` if a
    /// signal ended the wait for a FIFO's reader.
    pub fn prepare(&self, requests: &Requests) -> Result<Option<Prepared<'_>>, Failure> {
        let (path, has_lines) = match self {
            Self::Lines(_) => (None, true),
            Self::Packets { path, lines, .. } => (path.as_deref(), lines.is_some()),
        };
        let stdout = if has_lines || path.is_none() {
            Some(standard_output()?)
        } else {
            None
        };
        let file = match path {
            None => None,
            Some(path) => match OutputFile::open(path, requests)? {
                None => return Ok(None),
                Some(file) => Some(file),
            },
        };
        if let Some(file) = file.as_ref().filter(|_| has_lines) {
            file.refuse_standard_output()?;
        }
        Ok(Some(Prepared {
            plan: self,
            stdout,
            file,
        }))
    }

    /// Returns the compression that the packet file's name asks for.
    fn compression(&self) -> Option<Compression> {
        let Self::Packets { path, .. } = self else {
            return None;
        };
        let (compression, _) = Compression::of(path.as_deref()?)?;
        Some(compression)
    }

    /// Returns whether a user reads the text, or `-v` asks for more lines beside a file.
    fn is_read(&self) -> bool {
        match self {
            Self::Lines(kind) => matches!(kind, LineKind::Text(_)),
            Self::Packets { lines, detail, .. } => {
                matches!(lines, Some(LineKind::Text(_))) || *detail == Detail::Full
            }
        }
    }

    /// Refuses a name that asks for compression in a live run: packets are written as they come,
    /// and if a compressed file is not ended, as by a crash, it loses more than its last packet.
    pub fn refuse_compression(&self) -> Result<(), UsageError> {
        let Self::Packets {
            path: Some(path), ..
        } = self
        else {
            return Ok(());
        };
        let Some((_, plain)) = Compression::of(path) else {
            return Ok(());
        };
        let (path, plain) = (shown(path), shown(&plain));
        Err(UsageError::new(
            format!("{path}: a live capture cannot be compressed"),
            format!("capture into {plain}, then compress it with `dwdump -r {plain} -w {path}`"),
        ))
    }

    /// Returns the one link type that all packets have to have.
    pub fn link_type(&self) -> Option<LinkType> {
        match self {
            Self::Packets { layout, .. } => layout.link_type(),
            Self::Lines(_) => None,
        }
    }

    /// Refuses to write to the file that is being read: it would be emptied before its first
    /// packet.
    pub fn refuse_input(&self, input: &File) -> Result<(), UsageError> {
        let (name, output) = match self {
            Self::Packets {
                path: Some(path), ..
            } => (shown(path), path.metadata()),
            _ => (
                "standard output".into(),
                standard_output()
                    .map_or_else(|_| Err(io::ErrorKind::Other.into()), |file| file.metadata()),
            ),
        };
        let (Ok(input), Ok(output)) = (input.metadata(), output) else {
            return Ok(());
        };
        // Reading from and writing to the same terminal or /dev/null does no harm.
        if output.is_file() && (input.dev(), input.ino()) == (output.dev(), output.ino()) {
            return Err(UsageError::new(
                format!("{name} is both input and output"),
                "choose another file for -w: this one would be emptied before it is read",
            ));
        }
        Ok(())
    }
}

/// The open outputs, to which nothing has been written yet.
pub struct Prepared<'a> {
    plan: &'a Plan,
    /// Standard output, if it is written to.
    stdout: Option<File>,
    /// The packet file, unless packets go to standard output.
    file: Option<OutputFile>,
}

impl Prepared<'_> {
    /// Empties the file and creates the sinks. `family` is the number of NET_DM, where it is known;
    /// `finder` finds source lines.
    pub fn open(
        self,
        host: &CaptureHost,
        family: Option<u16>,
        finder: Option<SharedFinder>,
    ) -> Result<Output, Failure> {
        let mut output = Output {
            file: None,
            text: None,
            text_is_read: self.plan.is_read(),
            pipe: None,
        };
        let (lines, layout) = match self.plan {
            Plan::Lines(kind) => (Some(*kind), None),
            Plan::Packets { lines, layout, .. } => (*lines, Some(*layout)),
        };
        let mut stdout = self.stdout;
        if let Some(kind) = lines
            && let Some(stdout) = stdout.take()
        {
            output.pipe = pipe(&stdout);
            let writer = BufWriter::with_capacity(BUFFER_LEN, stdout);
            output.text = Some(NamedSink {
                name: STANDARD_OUTPUT.into(),
                sink: match kind {
                    LineKind::Text(style) => {
                        Box::new(TextSink::new(writer, style).finding(finder.clone()))
                    }
                    LineKind::Json => Box::new(JsonSink::new(writer).finding(finder.clone())),
                },
            });
        }
        let file = match self.file {
            Some(file) => {
                let name = file.name.clone();
                let file = file.begin();
                Some((file.with_context(|| format!("cannot empty {name}"))?, name))
            }
            None => stdout.map(|stdout| (stdout, STANDARD_OUTPUT.into())),
        };
        if let (Some((file, name)), Some(layout)) = (file, layout) {
            output.pipe = output.pipe.take().or_else(|| pipe(&file));
            let writer = BufWriter::with_capacity(BUFFER_LEN, file);
            let sink = match self.plan.compression() {
                None => layout.sink(writer, host, family, finder),
                Some(compression) => CompressedSink::new(compression, writer, |writer| {
                    layout.sink(writer, host, family, finder)
                })
                .map(|sink| Box::new(sink) as Box<dyn Sink>),
            };
            let sink = sink.with_context(|| format!("cannot write to {name}"))?;
            output.file = Some(NamedSink { name, sink });
        }
        Ok(output)
    }
}

fn line_kind(delivery: &Delivery, stdout_is_terminal: bool) -> Option<LineKind> {
    match delivery.lines {
        Lines::Auto => None,
        Lines::Text => Some(LineKind::Text(text_style(
            delivery.text,
            stdout_is_terminal,
        ))),
        Lines::Json => Some(LineKind::Json),
    }
}

/// Returns the appearance of text, which depends on whether standard output is a terminal.
pub fn text_style(choice: TextChoice, stdout_is_terminal: bool) -> TextStyle {
    // https://no-color.org: any value but an empty one.
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    TextStyle {
        zone: choice.zone,
        precision: choice.precision,
        detail: choice.detail,
        color: match choice.color {
            ColorChoice::Always => Color::Always,
            ColorChoice::Auto if stdout_is_terminal && !is_unwanted => Color::Always,
            ColorChoice::Auto | ColorChoice::Never => Color::Never,
        },
    }
}

/// Returns whether the name asks for a compression that dwdump does not write.
fn names_other_compression(path: &Path) -> bool {
    const OTHERS: [&str; 5] = ["xz", "bz2", "lz4", "lzma", "zip"];
    let extension = path.extension();
    extension.is_some_and(|extension| {
        OTHERS
            .iter()
            .any(|other| extension.eq_ignore_ascii_case(other))
    })
}

/// Returns whether the name ends in `.pcap`, in upper or lower case, possibly followed by the
/// extension of a compression.
fn is_pcap(path: Option<&Path>) -> bool {
    let Some(path) = path else { return false };
    let stem = Compression::of(path).map(|(_, stem)| stem);
    let extension = stem.as_deref().unwrap_or(path).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("pcap"))
}

fn layout(delivery: &Delivery, path: Option<&Path>) -> Layout {
    let is_pcap = is_pcap(path);
    let link = delivery.link_type.and_then(LinkChoice::link_type);
    match delivery.format {
        Some(OutputFormat::Netlink) => Layout::Netlink(Choice::Option),
        None if is_pcap && delivery.link_type.is_none() => Layout::Netlink(Choice::Name),
        Some(OutputFormat::Pcap) => Layout::Pcap(link.unwrap_or(LinkType::LINUX_SLL2)),
        None if is_pcap && link.is_some() => Layout::Pcap(link.unwrap_or(LinkType::LINUX_SLL2)),
        Some(OutputFormat::Pcapng) | None => {
            let commenting = match delivery.comments {
                CommentDetail::Facts => Commenting::Facts,
                CommentDetail::Full => Commenting::Meanings,
            };
            Layout::Pcapng(link.map_or(Linking::Auto, Linking::One), commenting)
        }
    }
}

impl Layout {
    fn sink(
        self,
        writer: impl Write + 'static,
        host: &CaptureHost,
        family: Option<u16>,
        finder: Option<SharedFinder>,
    ) -> io::Result<Box<dyn Sink>> {
        Ok(match self {
            Self::Pcapng(linking, commenting) => {
                let sink = PcapngSink::new(writer, linking, APPLICATION, host)?;
                let sink = sink.commenting(commenting);
                match finder {
                    Some(finder) => Box::new(WithLines::new(sink, finder)),
                    None => Box::new(sink),
                }
            }
            Self::Pcap(link) => Box::new(PcapSink::new(writer, link)?),
            Self::Netlink(_) => Box::new(NetlinkSink::new(
                writer,
                family.unwrap_or(family::FALLBACK_ID),
            )?),
        })
    }

    fn link_type(self) -> Option<LinkType> {
        match self {
            Self::Pcapng(Linking::One(link), _) | Self::Pcap(link) => Some(link),
            Self::Pcapng(Linking::Auto, _) | Self::Netlink(_) => None,
        }
    }
}

/// The open sinks.
pub struct Output {
    /// The packet file.
    pub file: Option<NamedSink>,
    /// Lines on standard output.
    pub text: Option<NamedSink>,
    /// A user reads the text, and expects a summary at the end.
    pub text_is_read: bool,
    /// A pipe that is written to: polling it shows when its reader is gone.
    pub pipe: Option<OwnedFd>,
}

/// A sink with its name in errors.
pub struct NamedSink {
    /// `drops.pcapng`, or `standard output`.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
}
