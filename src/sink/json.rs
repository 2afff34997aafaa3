//! JSON, one object a line: for jq and for log shippers. A field is absent when it is unknown, and
//! never changes its type; `fixtures/drop.schema.json` says which there are.

use std::fmt::Display;
use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{Ending, SharedFinder, Sink, Written, source_line};
use crate::dissect::{self, Fault, ProtocolName};
use crate::packet;
use crate::reason;
use crate::record::{Cause, DropRecord, Escaped, Hex, Interface, Symbol, Timestamp};

/// Lines of JSON.
pub struct JsonSink<W: Write> {
    writer: W,
    finder: Option<SharedFinder>,
}

impl<W: Write> JsonSink<W> {
    /// Objects, one a line.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            finder: None,
        }
    }

    /// Names source lines too.
    #[must_use]
    pub fn finding(self, finder: Option<SharedFinder>) -> Self {
        Self { finder, ..self }
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let source =
            source_line(self.finder.as_ref(), record).map(|source| source.line.to_string());
        let object = Object {
            source,
            ..Object::new(record)
        };
        serde_json::to_writer(&mut self.writer, &object)?;
        self.writer.write_all(b"\n")?;
        Ok(Written::Yes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        self.flush()
    }
}

/// A drop, in the words of the packet comments and of the filters.
#[derive(Debug, Default, Serialize)]
struct Object {
    /// RFC 3339, UTC, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap_group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<String>,
    link: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    length: u32,
    captured: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
}

impl Object {
    fn new(record: &DropRecord<'_>) -> Self {
        let ip = packet::ip(record.link.kind, record.data);
        let (source_port, destination_port) = ip.map_or((None, None), |ip| ip.ports());
        let transport = ip.and_then(|ip| ip.protocol);
        let object = Self {
            time: record.time.map(rfc3339),
            origin: text(record.cause.origin()),
            ifindex: record
                .input
                .map(|input| input.index)
                .filter(|index| *index != 0),
            ifname: text(record.input.and_then(Interface::name)),
            link: record.link.kind.to_string(),
            proto: text(record.protocol),
            length: record.original_len,
            captured: record.data.len(),
            src: text(ip.and_then(|ip| ip.source)),
            dst: text(ip.and_then(|ip| ip.destination)),
            transport: transport.map(|number| ProtocolName(number).to_string().to_lowercase()),
            sport: source_port,
            dport: destination_port,
            fault: dissect::Packet::new(record).fault(),
            meaning: reason::of_record(record),
            ..Self::default()
        };
        match record.cause {
            Cause::Software { location, reason } => Self {
                reason: text(reason),
                location: text(location.symbol),
                module: location
                    .symbol
                    .and_then(Symbol::module)
                    .map(|name| Escaped(name).to_string()),
                pc: location.pc.map(|pc| format!("{pc:#018x}")),
                ..object
            },
            Cause::Hardware {
                group,
                trap,
                cookie,
            } => Self {
                trap: text(trap),
                trap_group: text(group),
                cookie: text(cookie.map(Hex)),
                ..object
            },
            Cause::Unknown => object,
        }
    }
}

/// RFC 3339, UTC, nanoseconds.
pub(super) fn rfc3339(time: Timestamp) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

pub(super) fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}
