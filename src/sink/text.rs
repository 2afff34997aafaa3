//! One line a drop, in tcpdump's manner.

use std::fmt;
use std::io::{self, Write};

use chrono::{DateTime, Local, TimeZone};

use super::{Ending, Sink, Written};
use crate::packet::{self, Summary, Transport};
use crate::record::{Cause, DropRecord, Timestamp};

/// Lines of text.
pub struct TextSink<W: Write, Z: TimeZone = Local> {
    writer: W,
    zone: Z,
}

impl<W: Write> TextSink<W> {
    /// Shows the local time.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            zone: Local,
        }
    }
}

impl<W: Write, Z: TimeZone<Offset: fmt::Display>> Sink for TextSink<W, Z> {
    fn write(&mut self, record: &DropRecord<'_>) -> io::Result<Written> {
        writeln!(
            self.writer,
            "{} {}",
            clock(record.time, &self.zone),
            Line(record)
        )?;
        Ok(Written::Yes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn finish(&mut self, _: &Ending) -> io::Result<()> {
        self.flush()
    }
}

/// The time of day, to the microsecond.
fn clock<Z: TimeZone<Offset: fmt::Display>>(time: Timestamp, zone: &Z) -> impl fmt::Display {
    let nanoseconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanoseconds)
        .with_timezone(zone)
        .format("%H:%M:%S%.6f")
}

/// Everything of a line but the time: interface, packet, reason, location.
struct Line<'r, 'a>(&'r DropRecord<'a>);

impl fmt::Display for Line<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        match record.input {
            Some(input) => write!(f, "{input} ")?,
            None => f.write_str("local ")?,
        }
        match packet::summary(record.link.kind, record.data) {
            Summary::Ip {
                source,
                destination,
                transport,
                length,
            } => {
                f.write_str(if source.is_ipv4() { "IP " } else { "IP6 " })?;
                match transport {
                    Transport::Udp(from, to) => {
                        write!(f, "{source}.{from} > {destination}.{to}: UDP")?;
                    }
                    Transport::Tcp(from, to) => {
                        write!(f, "{source}.{from} > {destination}.{to}: TCP")?;
                    }
                    Transport::Fragment(number) => {
                        write!(f, "{source} > {destination}: {} fragment", Protocol(number))?;
                    }
                    Transport::Protocol(number) => {
                        write!(f, "{source} > {destination}: {}", Protocol(number))?;
                    }
                }
                write!(f, ", length {length}")?;
            }
            Summary::Arp => write!(f, "ARP, length {}", record.original_len)?,
            Summary::Other(protocol) => {
                match protocol.or(record.protocol) {
                    Some(protocol) => write!(f, "ethertype {protocol}")?,
                    None => f.write_str("unknown")?,
                }
                write!(f, ", length {}", record.original_len)?;
            }
        }
        match record.cause {
            Cause::Software { location, reason } => {
                if let Some(reason) = reason {
                    write!(f, " {reason}")?;
                }
                match (location.symbol, location.pc) {
                    (Some(symbol), _) => write!(f, " {symbol}"),
                    (None, Some(pc)) => write!(f, " {pc:#x}"),
                    (None, None) => Ok(()),
                }
            }
            Cause::Hardware { group, trap, .. } => [group, trap]
                .into_iter()
                .flatten()
                .try_for_each(|name| write!(f, " {name}")),
            Cause::Unknown => Ok(()),
        }
    }
}

/// The protocols one meets, by their number in IANA's registry.
struct Protocol(u8);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "ICMP",
            2 => "IGMP",
            4 => "IPIP",
            6 => "TCP",
            17 => "UDP",
            41 => "IP6",
            47 => "GRE",
            50 => "ESP",
            51 => "AH",
            58 => "ICMP6",
            89 => "OSPF",
            103 => "PIM",
            112 => "VRRP",
            132 => "SCTP",
            other => return write!(f, "ip-proto-{other}"),
        })
    }
}
