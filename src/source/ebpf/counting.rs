//! The counts of eBPF programs as a source: drops with equal facts, and their number, without packets.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::completer::Tables;
use super::{Ebpf, monotonic_time};
use crate::ebpf::counter::DropCounter;
use crate::ebpf::report::Report;
use crate::ebpf::tracer::{TracerError, TracerSettings};
use crate::net_dm::content::Content;
use crate::record::{Basis, DropContext, DropRecord, Link, LinkType, Loss, Timestamp};
use crate::source::{Event, LeftOut, NotPackets, Receive, Source, Taken};
use crate::symbol::Symbols;

/// Drops that are counted in the kernel, until somebody needs packets.
pub struct EbpfCounts {
    counter: DropCounter,
    tables: Tables,
    left_out: LeftOut,
    /// The counts are to be read.
    is_due: bool,
    /// Drops without a name, up to the last reading.
    unnamed: u64,
    /// Captures packets since they are needed.
    capture: Option<(TracerSettings, Ebpf)>,
    /// Captured until other settings were needed; its last packets still wait.
    last: Option<Ebpf>,
    /// Lost and left out by earlier ones.
    past: (Loss, LeftOut),
    family: Option<u16>,
}

impl EbpfCounts {
    /// Attaches the programs that count. `family` is NET_DM's number.
    pub fn new(family: Option<u16>) -> Result<Self, TracerError> {
        let (counter, reasons) = DropCounter::new()?;
        let symbols = Symbols::named_by_kernel();
        Ok(Self {
            counter,
            tables: Tables::new(reasons, symbols, None),
            left_out: LeftOut::default(),
            is_due: false,
            unnamed: 0,
            capture: None,
            last: None,
            past: (Loss::default(), LeftOut::default()),
            family,
        })
    }

    /// Returns what captures, or has done and is not read to its end.
    fn captures(&self) -> impl Iterator<Item = &Ebpf> {
        let capture = self.capture.as_ref().map(|(_, capture)| capture);
        self.last.iter().chain(capture)
    }

    /// Keeps of the programs that captured last only what they counted.
    fn put_away(&mut self) {
        if let Some(last) = self.last.take() {
            let (loss, left_out) = &mut self.past;
            *loss += last.loss().unwrap_or_default();
            *left_out += last.left_out();
        }
    }

    /// Passes on what was counted since the last reading.
    fn read(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        let time = Timestamp::now();
        let tables = &mut self.tables;
        let (mut flow, mut has_grown) = (ControlFlow::Continue(()), false);
        self.counter.read(|key, count| {
            has_grown = true;
            let header = key.header();
            if let (ControlFlow::Continue(()), Some(report)) = (flow, Report::decode(&header)) {
                let report = Report {
                    socket: key.reported_socket(),
                    ..report
                };
                let completed = tables.complete(report, Content::Packet, time, None);
                let record = &without_packet(&completed.record);
                flow = receive(Event::Drops { record, count });
            }
        })?;
        let aside = self.counter.aside()?;
        self.left_out.not_packets = aside.not_packets;
        let unnamed = aside.unnamed.saturating_sub(self.unnamed);
        self.unnamed = aside.unnamed;
        if flow.is_continue() && unnamed > 0 {
            has_grown = true;
            flow = receive(Event::Unnamed {
                count: unnamed,
                time,
            });
        }
        if flow.is_continue() && has_grown {
            flow = receive(Event::EndOfCounts { is_full: false });
        }
        Ok(match flow {
            ControlFlow::Break(()) => Taken::Break(()),
            ControlFlow::Continue(()) if has_grown => Taken::Some,
            ControlFlow::Continue(()) => Taken::Nothing,
        })
    }
}

impl Source for EbpfCounts {
    fn watch<'s>(&'s self, descriptors: &mut Vec<BorrowedFd<'s>>) {
        for capture in self.captures() {
            capture.watch(descriptors);
        }
    }

    fn longest_wait(&self) -> Option<Duration> {
        self.captures().filter_map(Ebpf::longest_wait).min()
    }

    fn take(&mut self, receive: &mut Receive<'_>) -> io::Result<Taken<()>> {
        if std::mem::take(&mut self.is_due) {
            let taken = self.read(receive)?;
            if taken != Taken::Nothing {
                return Ok(taken);
            }
        }
        if let Some(last) = &mut self.last {
            let taken = last.take(receive)?;
            if taken != Taken::Nothing {
                return Ok(taken);
            }
            self.put_away();
        }
        match &mut self.capture {
            Some((_, capture)) => capture.take(receive),
            None => Ok(Taken::Nothing),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.counter.detach();
        self.is_due = true;
        let capture = self.capture.as_mut();
        capture.map_or(Ok(()), |(_, capture)| capture.end())
    }

    fn loss(&self) -> io::Result<Loss> {
        let (mut loss, _) = self.past;
        loss.interrupts += self.counter.lost()?;
        for capture in self.captures() {
            loss += capture.loss()?;
        }
        Ok(loss)
    }

    fn left_out(&self) -> LeftOut {
        let (_, mut left_out) = self.past;
        left_out += self.left_out;
        for capture in self.captures() {
            left_out += capture.left_out();
        }
        left_out
    }

    fn symbols_are_newly_hidden(&mut self) -> bool {
        self.tables.symbols.are_newly_hidden()
    }

    fn count_now(&mut self) -> bool {
        self.is_due = self.capture.is_none();
        self.is_due
    }

    /// Captures from here on. The new programs are at work before the others end; what they capture until
    /// then is left out, so that nothing comes twice, and of drops within some microseconds nothing at all.
    fn capture(&mut self, wanted: TracerSettings) -> Result<(), TracerError> {
        if matches!(self.capture, Some((present, _)) if present == wanted) {
            return Ok(());
        }
        let mut next = Ebpf::new(wanted, self.family, NotPackets::LeaveOut, |_| None)?;
        match &mut self.capture {
            Some((_, present)) => present.tracer.unlink(),
            None => self.counter.unlink(),
        }
        next.beginning = monotonic_time().unwrap_or_default();
        self.counter.detach();
        self.is_due = true;
        if let Some((_, mut present)) = self.capture.replace((wanted, next)) {
            self.put_away();
            present.stop();
            self.last = Some(present);
        }
        Ok(())
    }
}

/// Takes away what the record would say of a packet, a task and a socket.
fn without_packet<'a>(record: &DropRecord<'a>) -> DropRecord<'a> {
    let DropContext {
        device,
        netns,
        netns_name,
        ..
    } = record.context;
    DropRecord {
        protocol: None,
        link: Link {
            kind: LinkType::ETHERNET,
            basis: Basis::Assumed,
        },
        context: DropContext {
            device,
            netns,
            netns_name,
            ..DropContext::default()
        },
        ..*record
    }
}
