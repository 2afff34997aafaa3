//! Decides which sinks a command line asks for, and creates them.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::confinement::Confiner;
use super::diagnostics::{hint, note};
use super::failure::Failure;
use super::folder::FileIdentity;
use super::output_file::OutputFile;
use super::packet_sink::{Choice, Layout, SinkMaker, is_pcap, layout, names_other_compression};
use super::ring::{self, Ring, RingNames};
use super::signals::Requests;
use super::standard_streams::{pipe, shown, standard_output};
use crate::cli::{
    ColorChoice, Delivery, Lines, LinkChoice, Rotation, Target, TextChoice, UsageError,
};
use crate::record::{CaptureHost, LinkType};
use crate::sandbox::Work;
use crate::sink::{
    BUFFER_LEN, Color, Compression, Detail, JsonSink, Linking, SharedFinder, Sink, TextSink,
    TextStyle,
};

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
        /// The division into files.
        rotation: Rotation,
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
            rotation: delivery.rotation.clone(),
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
    pub fn destination(&self) -> String {
        let (layout, rotation) = match self {
            Self::Lines(LineKind::Json) => return "as JSON".into(),
            Self::Lines(_) => return "as text".into(),
            Self::Packets {
                layout, rotation, ..
            } => (layout, rotation),
        };
        let place = self.place();
        let format = match layout {
            Layout::Pcapng(Linking::Auto, _) => "pcapng".into(),
            Layout::Pcapng(Linking::One(link), _) => format!("pcapng, link type {link}"),
            Layout::Pcap(link) => format!("pcap, link type {link}"),
            Layout::Netlink(Choice::Option) => "netlink, the C tool's format".into(),
            Layout::Netlink(Choice::Name) => {
                "netlink, the C tool's format, because of its name".into()
            }
        };
        format!("to {place} ({format}){}", ring::words(rotation))
    }

    /// Starts the processes that open files during the run, where it has several. Must be called while this process
    /// has a single thread.
    pub fn work_apart(&self, confiner: &Confiner) -> Result<(), Failure> {
        match (self.path(), self.rotation()) {
            (Some(path), Some(rotation)) => ring::work_apart(path, rotation, confiner),
            _ => Ok(()),
        }
    }

    /// Returns the work of writing to the outputs, once they are open.
    pub fn work(&self) -> Vec<Work> {
        let rotation = self.rotation();
        let has_command = rotation.is_some_and(|rotation| rotation.command.is_some());
        let is_synced = rotation.is_some_and(|rotation| rotation.sync.is_some());
        let parts = [
            (Work::Writing, matches!(self, Self::Packets { .. })),
            (Work::Receiving, rotation.is_some()),
            (Work::Syncing, is_synced),
            (Work::Waiting, has_command),
        ];
        let needed = parts.into_iter().filter(|(_, is_needed)| *is_needed);
        needed.map(|(work, _)| work).collect()
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
        let file = match (path, self.rotation()) {
            (None, _) => None,
            (Some(path), None) => match OutputFile::open(path, requests)? {
                None => return Ok(None),
                Some(file) => Some((file, None)),
            },
            (Some(path), Some(rotation)) => {
                let (names, file_name) = RingNames::new(path, rotation)?;
                match OutputFile::open_in(names.folder(), file_name, requests)? {
                    None => return Ok(None),
                    Some(file) => {
                        file.require_regular()?;
                        Some((file, Some(names)))
                    }
                }
            }
        };
        if let Some((file, _)) = file.as_ref().filter(|_| has_lines) {
            file.refuse_standard_output()?;
        }
        Ok(Some(Prepared {
            plan: self,
            stdout,
            file,
            input: None,
        }))
    }

    /// Returns how the packets are divided into files; `None` where they are not and nothing is done with the file.
    fn rotation(&self) -> Option<&Rotation> {
        match self {
            Self::Packets { rotation, .. } if *rotation != Rotation::default() => Some(rotation),
            _ => None,
        }
    }

    /// Returns the compression that the packet file's name asks for.
    fn compression(&self) -> Option<Compression> {
        let (compression, _) = Compression::of(self.path()?)?;
        Some(compression)
    }

    /// Returns where packets go, in words.
    fn place(&self) -> String {
        self.path().map_or_else(|| "standard output".into(), shown)
    }

    /// Returns the packet file's name.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Packets { path, .. } => path.as_deref(),
            Self::Lines(_) => None,
        }
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
        let Some((path, (_, plain))) = self.path().and_then(|it| Some((it, Compression::of(it)?)))
        else {
            return Ok(());
        };
        let (path, plain) = (shown(path), shown(&plain));
        let hint = if self.rotation().is_some() {
            format!(
                "capture into {plain} with `-z gzip`, which compresses each file once it is finished"
            )
        } else {
            format!("capture into {plain}, then compress it with `dwdump -r {plain} -w {path}`")
        };
        Err(UsageError::new(
            format!("{path}: a live capture cannot be compressed"),
            hint,
        ))
    }

    /// Refuses a format without comments, which this option writes.
    pub fn refuse_all_but_pcapng(&self, option: &str) -> Result<(), UsageError> {
        match self {
            Self::Packets {
                layout: Layout::Pcapng(..),
                ..
            }
            | Self::Lines(_) => Ok(()),
            Self::Packets { .. } => Err(UsageError::new(
                format!("{} cannot hold what {option} finds", self.place()),
                "a pcapng file has it in comments of the packets: choose a name ending in .pcapng",
            )),
        }
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
    /// The packet file, unless packets go to standard output, and the names of those that follow it.
    file: Option<(OutputFile, Option<RingNames>)>,
    /// The file that is read, to which nothing may be written.
    input: Option<FileIdentity>,
}

impl Prepared<'_> {
    /// The packets come from this file.
    #[must_use]
    pub fn reading(self, input: &File) -> Self {
        Self {
            input: FileIdentity::of(input).ok(),
            ..self
        }
    }

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
        let Some(layout) = layout else {
            return Ok(output);
        };
        let maker = SinkMaker {
            layout,
            compression: self.plan.compression(),
            host: host.clone(),
            family,
            finder,
        };
        let (file, name) = match self.file {
            Some((file, names)) => {
                let name = file.name.clone();
                let file = file.begin();
                let file = file.with_context(|| format!("cannot empty {name}"))?;
                if let (Some(names), Some(rotation)) = (names, self.plan.rotation()) {
                    let ring = Ring::begin(names, rotation, maker, file, self.input)?;
                    output.file = Some(PacketFile::Ring(Box::new(ring)));
                    return Ok(output);
                }
                (file, name)
            }
            None => match stdout {
                Some(stdout) => (stdout, STANDARD_OUTPUT.into()),
                None => return Ok(output),
            },
        };
        output.pipe = output.pipe.take().or_else(|| pipe(&file));
        let sink = maker.open(file, None);
        let sink = sink.with_context(|| format!("cannot write to {name}"))?;
        output.file = Some(PacketFile::One(NamedSink { name, sink }));
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

/// The open sinks.
pub struct Output {
    /// The packet file.
    pub file: Option<PacketFile>,
    /// Lines on standard output.
    pub text: Option<NamedSink>,
    /// A user reads the text, and expects a summary at the end.
    pub text_is_read: bool,
    /// A pipe that is written to: polling it shows when its reader is gone.
    pub pipe: Option<OwnedFd>,
}

/// The file that packets go to.
pub enum PacketFile {
    /// The same from the beginning to the end.
    One(NamedSink),
    /// One after the other.
    Ring(Box<Ring>),
}

impl PacketFile {
    /// Returns the only file; `None` for a ring, which the options of some runs exclude.
    pub fn single(self) -> Option<NamedSink> {
        match self {
            Self::One(file) => Some(file),
            Self::Ring(_) => None,
        }
    }
}

/// A sink with its name in errors.
pub struct NamedSink {
    /// `drops.pcapng`, or `standard output`.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
}
