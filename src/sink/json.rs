//! Writes JSON, one object a line, for jq and for log shippers. A field is absent when it is unknown, and
//! never changes its type; `fixtures/drop.schema.json` lists the fields.

use std::fmt::Display;
use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Ending, SharedFinder, Sink, Written, frame_line, source_line};
use crate::dissect::{self, ProtocolName};
use crate::packet;
use crate::reason;
use crate::record::{Cause, DropRecord, Fact, Name, Timestamp, Value};
use crate::why::CauseFinding;

/// A sink that writes one JSON object a line.
pub struct JsonSink<W: Write> {
    writer: W,
    finder: Option<SharedFinder>,
}

impl<W: Write> JsonSink<W> {
    /// Writes to `writer`.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            finder: None,
        }
    }

    /// Adds source lines.
    #[must_use]
    pub fn finding(self, finder: Option<SharedFinder>) -> Self {
        Self { finder, ..self }
    }
}

impl<W: Write> Sink for JsonSink<W> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        let source = source_line(self.finder.as_ref(), record);
        let source = source.as_ref().map(|source| source.line.raw().as_bytes());
        let object = Object {
            record,
            source: source.and_then(Name::new),
            finder: self.finder.as_ref(),
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

/// The object of a drop: its time, its facts, and what follows from its bytes.
struct Object<'r, 'a> {
    record: &'r DropRecord<'a>,
    source: Option<Name<'r>>,
    finder: Option<&'r SharedFinder>,
}

impl Serialize for Object<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.add("time", record.time.map(rfc3339))?;
        for &fact in Fact::ALL {
            let value = match fact {
                Fact::Source => self.source.map(Value::SourceLine),
                fact => fact.get(record),
            };
            fields.add(fact.about().name, value.filter(Value::is_shown))?;
        }
        fields.add("length", Some(record.original_len))?;
        fields.add("captured", Some(record.data.len()))?;
        fields.add("stack_source", self.stack_source())?;
        let ip = packet::ip(record.link.kind, record.data);
        let (source_port, destination_port) = ip.map_or((None, None), |ip| ip.ports());
        let transport = ip.and_then(|ip| ip.protocol);
        let transport = transport.map(|number| ProtocolName(number).to_string().to_lowercase());
        fields.add("src", text(ip.and_then(|ip| ip.source)))?;
        fields.add("dst", text(ip.and_then(|ip| ip.destination)))?;
        fields.add("transport", transport)?;
        fields.add("sport", source_port)?;
        fields.add("dport", destination_port)?;
        fields.add("fault", dissect::DissectedPacket::new(record).fault())?;
        fields.add("meaning", reason::of_record(record))?;
        // Of a capture with --why.
        fields.add("why", CauseFinding::of_comments(record.notes))?;
        fields.0.end()
    }
}

impl Object<'_, '_> {
    /// Returns the source line of each frame, with source lines; null for one that has none.
    fn stack_source(&self) -> Option<Vec<Option<String>>> {
        let Cause::Software { location, .. } = self.record.cause else {
            return None;
        };
        let (finder, stack) = (self.finder?, location.stack?);
        let lines = stack.frames().map(|frame| frame_line(Some(finder), frame));
        Some(lines.map(text).collect())
    }
}

/// The fields of an object. Unknown ones are left out.
struct Fields<M>(M);

impl<M: SerializeMap> Fields<M> {
    fn add(&mut self, name: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        match value {
            Some(value) => self.0.serialize_entry(name, &value),
            None => Ok(()),
        }
    }
}

/// Formats a time as RFC 3339, in UTC with nanoseconds.
pub(super) fn rfc3339(time: Timestamp) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

pub(super) fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::record::{Link, LinkType, Location, Stack};
    use crate::sink::{Detail, LineFinder, SourceLine, TextSink, TextStyle, Zone};

    /// Knows the line of one function.
    struct OfIpRcv;

    impl LineFinder for OfIpRcv {
        fn find(&mut self, location: Location<'_>) -> Option<SourceLine> {
            let is_known = location.symbol?.function() == b"ip_rcv";
            is_known.then(|| SourceLine {
                line: "net/ipv4/ip_input.c:569".into(),
                chain: Vec::new(),
            })
        }
    }

    #[test]
    fn each_frame_of_a_stack_has_its_source_line() {
        let mut record = DropRecord::new(Link::known(LinkType::RAW), &[]);
        record.cause = Cause::Software {
            location: Location {
                stack: Stack::new(b"gre_rcv+0x1/0x2 [gre];ip_rcv+0x3/0x4"),
                ..Location::default()
            },
            reason: None,
        };
        let finder: SharedFinder = Rc::new(RefCell::new(OfIpRcv));
        let mut json = Vec::new();
        let mut sink = JsonSink::new(&mut json).finding(Some(finder.clone()));
        sink.write(&record).unwrap();
        let object: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let stack = ["gre_rcv+0x1/0x2 [gre]", "ip_rcv+0x3/0x4"];
        assert_eq!(object["stack"], serde_json::json!(stack));
        let lines = serde_json::json!([null, "net/ipv4/ip_input.c:569"]);
        assert_eq!(object["stack_source"], lines);

        let style = TextStyle {
            zone: Zone::Utc,
            detail: Detail::Full,
            ..TextStyle::default()
        };
        let mut text = Vec::new();
        let mut sink = TextSink::new(&mut text, style).finding(Some(finder));
        sink.write(&record).unwrap();
        let text = String::from_utf8(text).unwrap();
        let expected = "\tstack:\n\t\tgre_rcv+0x1/0x2 [gre]\n\
                        \t\tip_rcv+0x3/0x4 (net/ipv4/ip_input.c:569)\n";
        assert!(text.contains(expected), "{text}");
    }
}
