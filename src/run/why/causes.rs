//! Counts drops by kind, and kinds by cause.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::looker::LookAnswer;
use crate::dissect::DissectedPacket;
use crate::packet;
use crate::packet::ip::number;
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
    /// The blocks of kinds that are being looked at, by number.
    waiting: BTreeMap<u64, CauseBlock>,
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

    /// Keeps the block of the kind that was counted last, until its finding comes.
    pub fn keep_block(&mut self, block: CauseBlock) {
        self.waiting.insert(self.counts.len() as u64 - 1, block);
    }

    /// Takes a finding. Returns it with the block to print, unless an equal one was printed.
    pub fn found(&mut self, answer: LookAnswer) -> Option<(CauseBlock, &CauseFinding)> {
        let block = self.waiting.remove(&answer.number)?;
        let kind = self.counts.get_mut(usize::try_from(answer.number).ok()?)?;
        let same = |finding: &CauseFinding| {
            (&finding.cause, &finding.object, &finding.claim)
                == (
                    &answer.finding.cause,
                    &answer.finding.object,
                    &answer.finding.claim,
                )
        };
        // What is not explained is so at each place.
        let known = self.findings.iter().position(same);
        let known = known.filter(|_| answer.finding.object.is_some());
        if known.is_some() {
            kind.finding = known;
            return None;
        }
        kind.finding = Some(self.findings.len());
        self.findings.push(answer.finding);
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
        self.beyond
    }
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
    let port = context
        .socket
        .map_or(ip.ports().1, |socket| Some(socket.port));
    part(&port.unwrap_or(0).to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Link, LinkType, Location, Name, Netns, Symbol};
    use crate::sink::why::BlockForm;
    use crate::sink::{Color, Detail, Precision, TextStyle, Zone};
    use crate::why::Grade;

    const FORM: BlockForm = BlockForm::Text {
        style: TextStyle {
            zone: Zone::Utc,
            precision: Precision::Microseconds,
            detail: Detail::Line,
            color: Color::Never,
        },
        width: None,
    };

    /// A UDP packet from 10.0.0.1 to 10.0.0.2.
    fn packet(source_port: u16, port: u16) -> Vec<u8> {
        let ip = [
            69, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let ports = [source_port.to_be_bytes(), port.to_be_bytes()].concat();
        [&ip[..], &ports, &[0, 8, 0, 0]].concat()
    }

    fn drop_at<'a>(symbol: &'a str, reason: &'a str, data: &'a [u8]) -> DropRecord<'a> {
        let mut record = DropRecord::new(Link::known(LinkType::RAW), data);
        let symbol = Name::new(symbol.as_bytes()).map(Symbol);
        record.cause = Cause::Software {
            location: Location::new(None, symbol),
            reason: Name::new(reason.as_bytes()),
        };
        record
    }

    fn finding(cause: &str, object: Option<&str>) -> CauseFinding {
        let finding = CauseFinding::new(cause, Grade::Certain, format!("the claim of {cause}"));
        CauseFinding {
            object: object.map(str::to_owned),
            ..finding
        }
    }

    /// Counts a drop, which is the first of its kind.
    fn count_first(kinds: &mut DropKinds, record: &DropRecord<'_>) {
        assert!(kinds.count(record).is_some(), "{record:?}");
        kinds.keep_block(CauseBlock::new(record, FORM).unwrap());
    }

    /// Takes a finding. Returns whether it is printed.
    fn is_printed(kinds: &mut DropKinds, number: u64, finding: CauseFinding) -> bool {
        kinds.found(LookAnswer { number, finding }).is_some()
    }

    #[test]
    fn drops_that_differ_in_what_can_decide_are_of_different_kinds() {
        let (data, other) = (packet(1, 53), packet(1, 54));
        let drop = drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &data);
        let mut in_namespace = drop;
        in_namespace.context.netns = Some(Netns::new(4_026_532_345, false));
        let mut marked = drop;
        marked.context.mark = Some(7);
        let mut at_device = drop;
        at_device.context.device = Name::new(b"eth0");
        let different = [
            drop,
            drop_at("ip_rcv+0x3/0x4", "NOT_SPECIFIED", &data),
            drop_at("ip_rcv+0x1/0x2", "NETFILTER_DROP", &data),
            // Where one part ends and the next begins is a part of the key.
            drop_at("ip_rcv+0x1/0x2N", "OT_SPECIFIED", &data),
            drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &other),
            drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &data[..10]),
            in_namespace,
            marked,
            at_device,
        ];
        let mut kinds = DropKinds::default();
        for record in &different {
            count_first(&mut kinds, record);
        }
        // A port of the sender decides nothing.
        let again = packet(2, 53);
        let again = drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &again);
        for record in different.iter().chain([&again]) {
            assert_eq!(kinds.count(record), None, "{record:?}");
        }
        assert_eq!(kinds.beyond(), 0);
    }

    #[test]
    fn kinds_beyond_a_thousand_are_counted_and_not_looked_at() {
        let mut kinds = DropKinds::default();
        for port in 0..1100 {
            let data = packet(1, port);
            let record = drop_at("a+0x1/0x2", "NO_SOCKET", &data);
            assert_eq!(
                kinds.count(&record).is_some(),
                usize::from(port) < MAX_KINDS
            );
            // A known kind has its place.
            let known = packet(1, 0);
            let known = drop_at("a+0x1/0x2", "NO_SOCKET", &known);
            assert_eq!(kinds.count(&known), None);
        }
        assert_eq!(kinds.beyond(), 100);
        assert_eq!(kinds.kinds.len(), MAX_KINDS);
    }

    #[test]
    fn equal_findings_are_printed_once_and_their_drops_counted_together() {
        let mut kinds = DropKinds::default();
        let data = [packet(1, 1), packet(1, 2), packet(1, 3), packet(1, 4)];
        let records = data
            .each_ref()
            .map(|data| drop_at("a", "NETFILTER_DROP", data));
        for record in &records {
            count_first(&mut kinds, record);
        }
        for _ in 0..4 {
            kinds.count(&records[1]);
        }
        assert_eq!(kinds.undecided(), 8);
        assert!(is_printed(&mut kinds, 3, finding("other", Some("rule 2"))));
        assert!(is_printed(&mut kinds, 0, finding("rule", Some("rule 1"))));
        assert!(!is_printed(&mut kinds, 1, finding("rule", Some("rule 1"))));
        assert!(is_printed(&mut kinds, 2, finding("rule", Some("rule 3"))));
        let rows = kinds.rows();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.count, row.finding.object.as_deref()))
            .collect();
        let expected = [
            (6, Some("rule 1")),
            (1, Some("rule 2")),
            (1, Some("rule 3")),
        ];
        assert_eq!(rows, expected);
        assert_eq!(kinds.undecided(), 0);
    }

    #[test]
    fn what_is_not_explained_is_printed_for_each_kind() {
        let mut kinds = DropKinds::default();
        let data = packet(1, 1);
        count_first(&mut kinds, &drop_at("a", "X", &data));
        count_first(&mut kinds, &drop_at("b", "X", &data));
        assert!(is_printed(&mut kinds, 0, finding("unexplained", None)));
        assert!(is_printed(&mut kinds, 1, finding("unexplained", None)));
        let rows = kinds.rows();
        let places: Vec<_> = rows.iter().map(|row| row.place).collect();
        assert_eq!(places, [Some("a"), Some("b")]);
    }

    #[test]
    fn an_answer_to_no_question_or_a_second_one_is_passed_over() {
        let mut kinds = DropKinds::default();
        count_first(&mut kinds, &drop_at("a", "X", &packet(1, 1)));
        for number in [1, u64::MAX] {
            assert!(!is_printed(&mut kinds, number, finding("x", None)));
        }
        assert!(is_printed(&mut kinds, 0, finding("x", None)));
        assert!(!is_printed(&mut kinds, 0, finding("y", None)));
        assert_eq!(kinds.rows().len(), 1);
    }
}
