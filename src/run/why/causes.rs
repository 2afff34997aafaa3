//! Counts drops by kind, and kinds by cause.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::commented_file::KindNumber;
use super::looker::LookAnswer;
use crate::dissect::DissectedPacket;
use crate::packet;
use crate::packet::ip::number;
use crate::packet::offset::{icmp, tcp};
use crate::record::{Cause, DropRecord};
use crate::sink::why::{CauseBlock, CauseRow};
use crate::why::counter::{CounterRise, text};
use crate::why::{CauseFinding, DropCase};

/// The most kinds of drops that are told apart. Each costs a look at the host.
pub const MAX_KINDS: usize = 1000;
/// The most kinds that are looked at of drops that differ only in what hardly ever decides: each connection has a
/// source port of its own. If all have the same cause, further ones are taken to have it, too.
const MAX_ALIKE: usize = 16;

/// All drops so far.
#[derive(Default)]
pub struct DropKinds {
    /// The number of a kind, by what its drops have in common.
    kinds: HashMap<Vec<u8>, usize, RandomState>,
    counts: Vec<DropKind>,
    /// Kinds that differ only in what hardly ever decides, by what they have in common.
    groups: HashMap<Vec<u8>, KindGroup, RandomState>,
    /// The blocks of kinds that are being looked at, by number.
    waiting: BTreeMap<u64, CauseBlock>,
    findings: Vec<CauseFinding>,
    /// Drops of kinds that there was no room for.
    beyond: u64,
    /// The key that is looked for: kept, so that a drop allocates nothing.
    key: Vec<u8>,
    /// The kind of the latest drop, unless it belongs to none.
    latest: Option<usize>,
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

/// Kinds of drops that probably have the same cause.
#[derive(Default)]
struct KindGroup {
    kinds: Vec<usize>,
    /// Drops of further kinds.
    further: u64,
}

impl DropKinds {
    /// Counts a drop. Returns it if it is the first of its kind, to be looked at.
    pub fn count(&mut self, record: &DropRecord<'_>) -> Option<DropCase> {
        write_key(record, &mut self.key);
        let common = self.key.len();
        write_details(record, &mut self.key);
        self.latest = self.kinds.get(&self.key).copied();
        if let Some(kind) = self.latest {
            self.counts[kind].count += 1;
            return None;
        }
        let agrees = |group: &KindGroup| self.agree(group);
        let group = self.groups.get(&self.key[..common]);
        let is_alike = group.is_some_and(|group| group.kinds.len() >= MAX_ALIKE && agrees(group));
        if is_alike && let Some(group) = self.groups.get_mut(&self.key[..common]) {
            group.further += 1;
            return None;
        }
        if self.counts.len() >= MAX_KINDS {
            self.beyond += 1;
            return None;
        }
        self.latest = Some(self.counts.len());
        self.kinds.insert(self.key.clone(), self.counts.len());
        self.key.truncate(common);
        let group = self.groups.entry(self.key.clone()).or_default();
        group.kinds.push(self.counts.len());
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

    /// Returns the kind of the drop that was counted last, unless it belongs to none.
    pub fn latest(&self) -> Option<KindNumber> {
        self.latest.map(|kind| kind as KindNumber)
    }

    /// Returns whether all kinds of a group that were looked at have the same cause.
    fn agree(&self, group: &KindGroup) -> bool {
        let findings = group.kinds.iter();
        let mut findings =
            findings.filter_map(|&kind| Some(&self.findings[self.counts[kind].finding?]));
        let first = findings.next();
        findings.all(|other| first.is_some_and(|first| is_same(first, other)))
    }

    /// Keeps the block of the kind that was counted last, until its finding comes.
    pub fn keep_block(&mut self, block: CauseBlock) {
        self.waiting.insert(self.counts.len() as u64 - 1, block);
    }

    /// Takes a finding. Returns it with the block to print, unless an equal one was printed.
    pub fn found(&mut self, answer: LookAnswer) -> Option<(CauseBlock, &CauseFinding)> {
        let block = self.waiting.remove(&answer.number)?;
        let kind = self.counts.get_mut(usize::try_from(answer.number).ok()?)?;
        // What is not explained is so at each place.
        let mut findings = self.findings.iter();
        let known = findings.position(|finding| is_same(finding, &answer.finding));
        let known = known.filter(|_| answer.finding.object.is_some());
        if known.is_some() {
            kind.finding = known;
            return None;
        }
        kind.finding = Some(self.findings.len());
        self.findings.push(answer.finding);
        Some((block, self.findings.last()?))
    }

    /// Returns the causes with their counts, most drops first. What is not explained at one place is one row.
    pub fn rows(&self) -> Vec<CauseRow<'_>> {
        let mut rows: IndexMap<_, CauseRow<'_>, RandomState> = IndexMap::default();
        let mut further = HashMap::<usize, u64, RandomState>::default();
        for group in self.groups.values().filter(|group| self.agree(group)) {
            further.extend(group.kinds.first().map(|&first| (first, group.further)));
        }
        for (number, kind) in self.counts.iter().enumerate() {
            let Some(position) = kind.finding else {
                continue;
            };
            let finding = &self.findings[position];
            let (reason, place) = (kind.reason.as_deref(), kind.place.as_deref());
            let key = match finding.object {
                Some(_) => (Some(position), None),
                None => (None, Some((&finding.claim, reason, place))),
            };
            let row = rows.entry(key).or_insert(CauseRow {
                count: 0,
                finding,
                reason,
                place,
            });
            row.count += kind.count + further.get(&number).copied().unwrap_or(0);
        }
        let mut rows: Vec<_> = rows.into_values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    /// Returns what the counters count beyond the drops that were seen.
    pub fn beyond_drops(&self, rises: &[CounterRise]) -> Vec<CounterRise> {
        // Those without a kind could be of any.
        if self.beyond > 0 {
            return Vec::new();
        }
        let left = |rise: &CounterRise| {
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
            let count = rise.count.checked_sub(seen).filter(|&count| count > 0)?;
            Some(CounterRise {
                count,
                ..rise.clone()
            })
        };
        rises.iter().filter_map(left).collect()
    }

    /// Returns the number of drops whose kinds have no finding yet.
    pub fn undecided(&self) -> u64 {
        let undecided = self.counts.iter().filter(|kind| kind.finding.is_none());
        undecided.map(|kind| kind.count).sum()
    }

    /// Returns the number of drops that belong to no kind, because there were too many.
    pub fn beyond(&self) -> u64 {
        let groups = self.groups.values().filter(|group| !self.agree(group));
        self.beyond + groups.map(|group| group.further).sum::<u64>()
    }
}

/// Returns whether this is no packet, but what the kernel makes to answer which route it would take: the looks ask that.
pub fn is_route_query(record: &DropRecord<'_>) -> bool {
    let Cause::Software { location, .. } = record.cause else {
        return false;
    };
    let function = location.symbol.map(|symbol| plain_part(symbol.function()));
    [&b"inet_rtm_getroute"[..], b"inet6_rtm_getroute"]
        .iter()
        .any(|&query| function == Some(query))
}

/// Returns a function's name without what the compiler appends.
fn plain_part(function: &[u8]) -> &[u8] {
    function
        .split(|&byte| byte == b'.')
        .next()
        .unwrap_or_default()
}

fn is_same(one: &CauseFinding, other: &CauseFinding) -> bool {
    one.cause == other.cause && one.object == other.object && one.claim == other.claim
}

/// Returns whether the drop reason leaves open which field of the packet is wrong.
fn is_of_several_fields(reason: &[u8]) -> bool {
    [&b"IP_INHDR"[..], b"PKT_TOO_SMALL", b"HDR_TRUNC"].contains(&reason)
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
    part(&context.vlan.unwrap_or(0).to_ne_bytes());
    let Some(ip) = packet::ip(record.link.kind, record.data) else {
        // A bridge decides by the address that the frame is for.
        part(record.data.get(..6).unwrap_or_default());
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
    // ESP's SPI stands first, that of AH is behind other fields; GRE has its version there.
    let start = match ip.protocol {
        Some(number::ESP) => 4,
        Some(number::AUTHENTICATION) => 8,
        Some(number::GRE) => 2,
        _ => 0,
    };
    part(ip.payload.get(..start).unwrap_or_default());
    if let Cause::Software { reason, .. } = record.cause
        && reason.is_some_and(|reason| is_of_several_fields(reason.as_bytes()))
    {
        let fault = DissectedPacket::new(record).fault();
        part(&fault.map_or([0; 2], |fault| [fault.layer as u8, fault.field as u8]));
    }
    let local = context.socket.map(|socket| socket.port);
    let destination = local.or(ip.ports().1);
    part(&destination.unwrap_or(0).to_ne_bytes());
}

/// Appends what can decide as well, but seldom does: of a firewall's rules, a few look at the source port, the
/// length, the type of service or the flags.
fn write_details(record: &DropRecord<'_>, key: &mut Vec<u8>) {
    key.extend_from_slice(&record.original_len.to_ne_bytes());
    let Some(ip) = packet::ip(record.link.kind, record.data) else {
        return;
    };
    // The type of service is in the first two bytes, for IPv6 as well.
    key.extend_from_slice(ip.bytes.get(..2).unwrap_or_default());
    key.extend_from_slice(&ip.ports().0.unwrap_or(0).to_ne_bytes());
    let details = match ip.protocol {
        Some(number::TCP) => ip.payload.get(tcp::FLAGS..=tcp::FLAGS),
        Some(number::ICMP | number::ICMPV6) => ip.payload.get(..icmp::CHECKSUM),
        _ => None,
    };
    key.extend_from_slice(details.unwrap_or_default());
}

#[cfg(test)]
mod tests;
