//! Formats counts as lines, in dropwatch's wording where it has one, and as JSON.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::json::{rfc3339, text};
use super::text::Detail;
use crate::dissect::ProtocolName;
use crate::reason;
use crate::record::{Escaped, Fact, Name, Symbol, Timestamp, unfolded};
use crate::summary::{GroupCounts, GroupKey, GroupOrder, GroupedCounts, Grouping};
use crate::symbol::sent::{Module, Sent};

/// Writes a line for each group with drops in the current interval, the most frequent first.
pub fn write_lines(
    writer: &mut impl Write,
    counts: &GroupedCounts,
    detail: Detail,
) -> io::Result<()> {
    for (key, row) in counts.groups(GroupOrder::Current) {
        if row.current > 0 {
            let place = RowLocation { key, detail };
            let more = AtMostMore(row.current_error);
            writeln!(writer, "{} drops {place}{more}", row.current)?;
        }
    }
    let others = counts.others().current;
    if others > 0 {
        writeln!(
            writer,
            "{others} drops {}",
            OtherLocations(counts.grouping())
        )?;
    }
    Ok(())
}

/// The place of a row's drops as dropwatch writes it: `at ip_rcv+1a (0xffffffff9406e5b6) [software]`.
pub struct RowLocation<'a> {
    /// The row's key.
    pub key: &'a GroupKey,
    /// The module is shown only with full detail.
    pub detail: Detail,
}

impl fmt::Display for RowLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            GroupKey::Location { pc: Some(0), .. } => write!(f, "at {} (0x0) [software]", self.key),
            GroupKey::Location {
                pc: Some(pc),
                symbol,
            } => {
                match Name::new(symbol) {
                    Some(symbol) => write_symbol(f, Symbol(symbol), self.detail)?,
                    None => return write!(f, "at location {pc:#x} [software]"),
                }
                write!(f, " ({pc:#x}) [software]")
            }
            key @ GroupKey::Location { pc: None, .. } => write!(f, "at {key} [software]"),
            key @ GroupKey::Trap(_) => write!(f, "at {key} [hardware]"),
            key @ GroupKey::Reason(_) => write!(f, "for {key} [software]"),
            key @ (GroupKey::Interface { .. } | GroupKey::Local) => write!(f, "on {key}"),
            key @ (GroupKey::Flow(_) | GroupKey::OtherProtocol(_)) => write!(f, "of {key}"),
            key @ (GroupKey::Kernel
            | GroupKey::Module(_)
            | GroupKey::UnknownModule
            | GroupKey::Device) => {
                write!(f, "in {key}")
            }
            key @ GroupKey::Stack(_) => write!(f, "through {key}"),
            key @ GroupKey::AtDevice { .. } => write!(f, "at {key}"),
            key @ GroupKey::Netns { .. } => write!(f, "in {key}"),
            key @ GroupKey::Named(fact, _) => match fact {
                Fact::Running => write!(f, "under {key}"),
                Fact::Socket => write!(f, "of {key}"),
                _ => write!(f, "in {key}"),
            },
            key @ GroupKey::Numbered(fact, _) => match fact {
                Fact::Mark => write!(f, "with mark {key}"),
                Fact::Heading => key.fmt(f),
                _ => write!(f, "in {key}"),
            },
            key @ GroupKey::Without(_) => write!(f, "with {key}"),
            GroupKey::NotDropped => f.write_str("without drop facts"),
            key @ GroupKey::Unseen => key.fmt(f),
        }
    }
}

fn write_symbol(f: &mut fmt::Formatter<'_>, symbol: Symbol<'_>, detail: Detail) -> fmt::Result {
    let sent = Sent::new(symbol);
    write!(f, "at {}", Escaped(sent.function))?;
    if let Some(offset) = sent.offset {
        write!(f, "+{offset:x}")?;
    }
    match sent.module {
        Module::Named(module) if detail == Detail::Full => write!(f, " [{}]", Escaped(module)),
        _ => Ok(()),
    }
}

/// Returns ` (at most 12 more)` for a row some of whose drops may be counted among the others.
pub struct AtMostMore(pub u64);

impl fmt::Display for AtMostMore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (at most {more} more)"),
        }
    }
}

/// The place of the drops that have no row of their own.
pub struct OtherLocations(pub Grouping);

impl fmt::Display for OtherLocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Grouping::Location => f.write_str("at other locations"),
            Grouping::Reason => f.write_str("for other reasons"),
            Grouping::Interface => f.write_str("on other interfaces"),
            Grouping::Flow => f.write_str("of other flows"),
            Grouping::Module => f.write_str("in other modules"),
            Grouping::Stack => f.write_str("through other stacks"),
            Grouping::Device => f.write_str("at other devices"),
            Grouping::Netns => f.write_str("in other namespaces"),
            Grouping::Running => f.write_str("under other tasks"),
            Grouping::Cgroup => f.write_str("in other cgroups"),
            Grouping::Unit => f.write_str("in other units"),
            Grouping::Socket => f.write_str("of other sockets"),
            Grouping::Mark => f.write_str("with other marks"),
            Grouping::Vlan => f.write_str("of other VLANs"),
            Grouping::Direction => f.write_str("in other directions"),
        }
    }
}

/// Writes one object for the interval that ends at `time` and lasted `length`. A field is absent when it is
/// unknown, and never changes its type; `fixtures/summary.schema.json` lists the fields.
pub fn write_object(
    writer: &mut impl Write,
    counts: &GroupedCounts,
    time: Timestamp,
    length: Duration,
) -> io::Result<()> {
    let rows = counts.groups(GroupOrder::Current);
    let rows = rows.into_iter().filter(|(_, row)| row.current > 0);
    let object = Interval {
        time: rfc3339(time),
        seconds: length.as_secs_f64(),
        by: counts.grouping().to_string(),
        drops: counts.sum().current,
        total: counts.sum().total,
        rows: rows
            .map(|(key, row)| GroupObject::new(counts.grouping(), key, row))
            .collect(),
        other: counts.others().current,
        other_total: counts.others().total,
    };
    serde_json::to_writer(&mut *writer, &object)?;
    writer.write_all(b"\n")
}

/// The object of an interval.
#[derive(Debug, Serialize)]
struct Interval {
    /// The time as RFC 3339, in UTC with nanoseconds.
    time: String,
    seconds: f64,
    by: String,
    drops: u64,
    total: u64,
    rows: Vec<GroupObject>,
    other: u64,
    other_total: u64,
}

/// The object of a row, with the field names of the drops' own JSON.
#[derive(Debug, Default, Serialize)]
struct GroupObject {
    drops: u64,
    total: u64,
    #[serde(skip_serializing_if = "is_zero")]
    drops_error: u64,
    #[serde(skip_serializing_if = "is_zero")]
    error: u64,
    name: String,
    filter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
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
    meaning: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stack: Vec<String>,
}

impl GroupObject {
    fn new(grouping: Grouping, key: &GroupKey, row: &GroupCounts) -> Self {
        let object = Self {
            drops: row.current,
            total: row.total,
            drops_error: row.current_error,
            error: row.error,
            name: key.to_string(),
            filter: key.filter(grouping),
            meaning: meaning(key),
            ..Self::default()
        };
        let name = |name: &[u8]| text(Name::new(name));
        match key {
            GroupKey::Reason(reason) => Self {
                origin: Some("software"),
                reason: name(reason),
                ..object
            },
            GroupKey::Trap(trap) => Self {
                origin: Some("hardware"),
                trap: name(trap),
                ..object
            },
            GroupKey::Location { pc, .. } => Self {
                origin: Some("software"),
                location: text(key.symbol()),
                module: text(key.symbol().and_then(Symbol::module).map(Escaped)),
                pc: pc.map(|pc| format!("{pc:#018x}")),
                ..object
            },
            GroupKey::Interface { key, name: given } => Self {
                ifindex: Some(key.index).filter(|index| *index != 0),
                ifname: name(given),
                ..object
            },
            GroupKey::Flow(flow) => Self {
                src: text(Some(flow.source)),
                dst: text(Some(flow.destination)),
                transport: Some(ProtocolName(flow.transport).to_string().to_lowercase()),
                sport: flow.ports.map(|(source, _)| source),
                dport: flow.ports.map(|(_, destination)| destination),
                ..object
            },
            GroupKey::OtherProtocol(proto) => Self {
                proto: text(*proto),
                ..object
            },
            GroupKey::Module(module) => Self {
                module: name(module),
                ..object
            },
            GroupKey::Stack(functions) => Self {
                stack: unfolded(functions)
                    .map(|function| Escaped(function).to_string())
                    .collect(),
                ..object
            },
            GroupKey::Local
            | GroupKey::Kernel
            | GroupKey::UnknownModule
            | GroupKey::Device
            | GroupKey::AtDevice { .. }
            | GroupKey::Netns { .. }
            | GroupKey::Named(..)
            | GroupKey::Numbered(..)
            | GroupKey::Without(_)
            | GroupKey::NotDropped
            | GroupKey::Unseen => object,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Returns the meaning of a group's drops, if its key alone decides it.
fn meaning(key: &GroupKey) -> Option<&'static str> {
    match key {
        GroupKey::Reason(reason) => reason::meaning(Some(reason), None),
        GroupKey::Location { .. } => reason::meaning(None, Some(key.symbol()?.function())),
        _ => None,
    }
}
