//! Counts drops by kind, and kinds by cause.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::packet;
use crate::record::{Cause, DropRecord};
use crate::sink::why::{CauseBlock, CauseRow};
use crate::why::counter::{CounterRise, text};
use crate::why::{CauseFinding, DropCase};

/// The most kinds of drops that are told apart. Each costs a look at the host.
pub const MAX_KINDS: usize = 1000;

/// All drops so far.
#[derive(Default)]
pub struct DropKinds {
    /// The number of a kind, by what its drops have in common.
    kinds: HashMap<Vec<u8>, usize, RandomState>,
    counts: Vec<DropKind>,
    /// The kinds that are being looked at and their blocks, by the number of the look.
    waiting: BTreeMap<u64, (usize, CauseBlock)>,
    findings: Vec<CauseFinding>,
    /// Drops of kinds that there was no room for.
    beyond: u64,
    /// The key that is looked for: kept, so that a drop allocates nothing.
    key: Vec<u8>,
}

/// Drops that have in common what can decide.
struct DropKind {
    count: u64,
    reason: Option<String>,
    place: Option<String>,
    function: Option<String>,
    netns: Option<u32>,
    device: Option<String>,
    /// The position of their finding.
    finding: Option<usize>,
}

impl DropKinds {
    /// Counts a drop. Returns it if it is the first of its kind, to be looked at.
    pub fn count(&mut self, record: &DropRecord<'_>) -> Option<DropCase> {
        write_key(record, &mut self.key);
        if let Some(&kind) = self.kinds.get(&self.key) {
            self.counts[kind].count += 1;
            return None;
        }
        if self.counts.len() >= MAX_KINDS {
            self.beyond += 1;
            return None;
        }
        self.kinds.insert(self.key.clone(), self.counts.len());
        let case = DropCase::of(record);
        self.counts.push(DropKind {
            count: 1,
            reason: case.reason.clone(),
            place: case.place.clone(),
            function: case.function.clone(),
            netns: case.netns,
            device: case.device.clone(),
            finding: None,
        });
        Some(case)
    }

    /// Keeps the block of the kind that was counted last, until the finding of this number comes.
    pub fn keep_block(&mut self, number: u64, block: CauseBlock) {
        let kind = self.counts.len().saturating_sub(1);
        self.waiting.insert(number, (kind, block));
    }

    /// Takes a finding. Returns it with the block to print, unless an equal one was printed.
    pub fn found(
        &mut self,
        number: u64,
        found: CauseFinding,
    ) -> Option<(CauseBlock, &CauseFinding)> {
        let (position, block) = self.waiting.remove(&number)?;
        let kind = self.counts.get_mut(position)?;
        let same = |finding: &CauseFinding| {
            (&finding.cause, &finding.object, &finding.claim)
                == (&found.cause, &found.object, &found.claim)
        };
        // What is not explained is so at each place.
        let known = self.findings.iter().position(same);
        let known = known.filter(|_| found.object.is_some());
        if known.is_some() {
            kind.finding = known;
            return None;
        }
        kind.finding = Some(self.findings.len());
        self.findings.push(found);
        Some((block, self.findings.last()?))
    }

    /// Returns the causes with their counts, most drops first.
    pub fn rows(&self) -> Vec<CauseRow<'_>> {
        let mut rows: Vec<_> = self
            .findings
            .iter()
            .enumerate()
            .map(|(position, finding)| {
                let kinds = || {
                    self.counts
                        .iter()
                        .filter(move |kind| kind.finding == Some(position))
                };
                let first = kinds().next();
                CauseRow {
                    count: kinds().map(|kind| kind.count).sum(),
                    finding,
                    reason: first.and_then(|kind| kind.reason.as_deref()),
                    place: first.and_then(|kind| kind.place.as_deref()),
                }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    /// Returns what the counters count beyond the drops that were seen.
    pub fn beyond_drops(&self, rises: Vec<CounterRise>) -> Vec<CounterRise> {
        let left = |mut rise: CounterRise| {
            let explained = text(&rise.name)?.explained;
            let kinds = self.counts.iter().filter(|kind| {
                let is_there = rise.netns.is_none()
                    || kind.netns.is_none_or(|netns| Some(netns) == rise.netns);
                let fits = explained.fits(
                    &rise.name,
                    kind.function.as_deref(),
                    kind.reason.as_deref(),
                    kind.device.as_deref(),
                );
                is_there && fits
            });
            let seen: u64 = kinds.map(|kind| kind.count).sum();
            rise.count = rise.count.checked_sub(seen).filter(|&count| count > 0)?;
            Some(rise)
        };
        rises.into_iter().filter_map(left).collect()
    }

    /// Returns the number of drops that belong to no kind, because there were too many.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

/// Writes what can decide: reason, place, namespace, interfaces, and of the packet the addresses, the protocol and
/// the port that it went to.
fn write_key(record: &DropRecord<'_>, key: &mut Vec<u8>) {
    key.clear();
    let mut part = |bytes: &[u8]| {
        key.extend_from_slice(bytes);
        // Ends the part, so that two of them never look like others.
        key.extend_from_slice(&(bytes.len() as u64).to_ne_bytes());
    };
    if let Cause::Software { location, reason } = record.cause {
        part(reason.map_or(&[], |reason| reason.as_bytes()));
        part(location.symbol.map_or(&[], |symbol| symbol.0.as_bytes()));
        part(&location.pc.unwrap_or(0).to_ne_bytes());
    }
    let context = &record.context;
    part(&context.netns.map_or(0, |netns| netns.inode).to_ne_bytes());
    part(
        &record
            .input
            .map_or(0, |input| input.key.index)
            .to_ne_bytes(),
    );
    part(context.device.map_or(&[], |device| device.as_bytes()));
    part(&context.mark.unwrap_or(0).to_ne_bytes());
    let Some(ip) = packet::ip(record.link.kind, record.data) else {
        part(
            &record
                .protocol
                .map_or(0, |protocol| protocol.0)
                .to_ne_bytes(),
        );
        return;
    };
    for address in [ip.source, ip.destination] {
        match address {
            Some(std::net::IpAddr::V4(address)) => part(&address.octets()),
            Some(std::net::IpAddr::V6(address)) => part(&address.octets()),
            None => part(&[]),
        }
    }
    part(&[ip.protocol.unwrap_or(0)]);
    let port = context
        .socket
        .map_or(ip.ports().1, |socket| Some(socket.port));
    part(&port.unwrap_or(0).to_ne_bytes());
}
