//! tcpdump as the oracle: `tcpdump -r FILE EXPR` and our filter select the same packets.
//!
//! `cargo test --test filter_oracle` needs tcpdump, and fails without it.
//! `DWDUMP_ORACLE_CASES=5000` compares more random expressions.

mod expressions;
mod frames;
#[path = "../../src/filter/tests/grammar.rs"]
mod grammar;
mod packets;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use dwdump::filter::{Filter, SystemNames};
use dwdump::record::{DropRecord, Link, LinkType, Timestamp};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use expressions::Difference;
use packets::{Capture, Packet};

/// Whether libpcap's optimizer works on the program. It leaves out tests that it finds pointless,
/// and with them the reading of bytes that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Optimizer {
    On,
    Off,
}

/// Numbers of the packets that tcpdump keeps; its complaint where it refuses the expression.
fn tcpdump(file: &Path, expression: &str, optimizer: Optimizer) -> Result<BTreeSet<usize>, String> {
    let output = Command::new("tcpdump")
        .args((optimizer == Optimizer::Off).then_some("-O"))
        .arg("-r")
        .arg(file)
        .args(["-w", "-", "--", expression])
        .output()
        .expect("tcpdump has to be installed");
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().last().unwrap_or_default();
        return Err(last.trim_start_matches("tcpdump: ").to_owned());
    }
    let mut reader = pcap_file::pcap::PcapReader::new(&output.stdout[..]).unwrap();
    let mut kept = BTreeSet::new();
    while let Some(packet) = reader.next_packet() {
        let number = packet.unwrap().timestamp().as_micros();
        kept.insert(usize::try_from(number).unwrap());
    }
    Ok(kept)
}

fn record(link: LinkType, packet: &Packet) -> DropRecord<'_> {
    let mut record = DropRecord::new(Link::known(link), &packet.data);
    record.time = Some(Timestamp(0));
    record.original_len = packet.original_len;
    record
}

/// Numbers of the packets that our filter keeps.
fn dwdump(capture: &Capture, expression: &str) -> BTreeSet<usize> {
    let filter = Filter::parse(expression, &SystemNames)
        .unwrap_or_else(|error| panic!("tcpdump understands it: {error}"));
    capture
        .packets
        .iter()
        .enumerate()
        .filter(|(_, packet)| filter.matches(&record(capture.link, packet)))
        .map(|(number, _)| number)
        .collect()
}

/// A capture and the file that holds it.
struct Subject {
    capture: Capture,
    file: tempfile::NamedTempFile,
}

impl Subject {
    fn new(capture: Capture) -> Self {
        let file = tempfile::NamedTempFile::with_suffix(".pcap").unwrap();
        capture.write(file.path());
        Self { capture, file }
    }

    fn both() -> [Self; 2] {
        [Capture::ethernet(), Capture::raw()].map(Self::new)
    }
}

/// What one comparison found.
#[derive(Default)]
struct Outcome {
    /// Packets that only we keep, and only tcpdump.
    ours: Vec<usize>,
    theirs: Vec<usize>,
    /// Whether some were kept and some not.
    selective: bool,
}

fn compare(subject: &Subject, expression: &str, optimizer: Optimizer) -> Result<Outcome, String> {
    let theirs = tcpdump(subject.file.path(), expression, optimizer)?;
    let ours = dwdump(&subject.capture, expression);
    Ok(Outcome {
        ours: ours.difference(&theirs).copied().collect(),
        theirs: theirs.difference(&ours).copied().collect(),
        selective: !theirs.is_empty() && theirs.len() < subject.capture.packets.len(),
    })
}

impl Outcome {
    fn complaint(&self, subject: &Subject, expression: &str) -> String {
        let names = |numbers: &[usize]| {
            let packets = &subject.capture.packets;
            let shown: Vec<&str> = numbers
                .iter()
                .take(5)
                .map(|&number| &*packets[number].name)
                .collect();
            format!("{} {shown:?}", numbers.len())
        };
        format!(
            "{}: {expression}\n  only dwdump: {}\n  only tcpdump: {}",
            subject.capture.link,
            names(&self.ours),
            names(&self.theirs),
        )
    }
}

#[test]
fn expressions_select_what_tcpdump_selects() {
    let subjects = Subject::both();
    let all = expressions::all();
    assert!(all.len() >= 200, "only {} expressions", all.len());
    let mut report = Report::default();
    let mut selective = 0;
    for expression in &all {
        let mut selects = false;
        for subject in &subjects {
            selects |= report.compare(subject, expression);
        }
        selective += usize::from(selects);
    }
    let packets = subjects.iter().map(|subject| subject.capture.packets.len());
    println!(
        "{} expressions, {} packets; {selective} select something and not everything; tcpdump \
         refuses {} of {}; {} differ as documented",
        all.len(),
        packets.sum::<usize>(),
        report.refused.len(),
        2 * all.len(),
        report.differing.len(),
    );
    assert!(
        report.complaints.is_empty(),
        "{}",
        report.complaints.join("\n")
    );
    assert!(4 * selective >= 3 * all.len());
    assert_eq!(report.refused, expressions::refused());
    for listed in expressions::listed() {
        assert!(
            report.differing.contains(listed),
            "`{listed}` does not differ"
        );
    }
}

#[test]
fn expressions_select_the_same_behind_other_headers() {
    let subjects: Vec<Subject> = Capture::others().into_iter().map(Subject::new).collect();
    let mut report = Report::default();
    let mut selective = 0;
    for expression in expressions::all() {
        for subject in &subjects {
            selective += usize::from(report.compare(subject, expression));
        }
    }
    // Only the cooked header says the direction: on the others tcpdump finds none.
    for expression in ["inbound", "outbound", "not inbound"] {
        assert!(report.compare(&subjects[0], expression), "{expression}");
    }
    assert!(
        report.complaints.is_empty(),
        "{}",
        report.complaints.join("\n")
    );
    assert!(selective > 200, "{selective}");
}

#[derive(Default)]
struct Report {
    /// What is wrong.
    complaints: Vec<String>,
    /// What tcpdump refuses, with its complaint.
    refused: Vec<String>,
    /// Expressions with a documented difference.
    differing: BTreeSet<String>,
}

impl Report {
    /// Whether the expression selects something and not everything.
    fn compare(&mut self, subject: &Subject, expression: &str) -> bool {
        let link = subject.capture.link;
        let difference = expressions::difference(expression);
        let outcome = match compare(subject, expression, Optimizer::On) {
            Ok(outcome) => outcome,
            Err(complaint) => {
                self.refused
                    .push(format!("{link}: {expression}: {complaint}"));
                let ours = dwdump(&subject.capture, expression).len();
                if ours > 0 && !difference.is_some_and(Difference::is_refusal) {
                    let complaint = format!("{link}: {expression}: refused, ours select {ours}");
                    self.complaints.push(complaint);
                } else if ours > 0 {
                    self.differing.insert(expression.to_owned());
                }
                return false;
            }
        };
        let packet = |number: &usize| &subject.capture.packets[*number];
        let all = outcome.ours.iter().chain(&outcome.theirs);
        let allowed = difference.is_some_and(|difference| {
            (outcome.ours.is_empty() || difference.allows_ours())
                && (outcome.theirs.is_empty() || difference.allows_theirs())
                && !(difference.is_of_the_cut() && all.clone().any(|at| packet(at).padded))
        });
        if all.clone().next().is_some() {
            self.differing.insert(expression.to_owned());
            if !allowed {
                self.complaints.push(outcome.complaint(subject, expression));
            }
        }
        outcome.selective
    }
}

/// On packets whose bytes suffice, exactly the same; on the others, at least what tcpdump keeps.
#[test]
fn random_expressions_select_what_tcpdump_selects() {
    let cases = std::env::var("DWDUMP_ORACLE_CASES").map_or(1000, |cases| cases.parse().unwrap());
    let others = Capture::others().into_iter().map(Subject::new);
    let subjects: Vec<Subject> = Subject::both().into_iter().chain(others).collect();
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let strategy = grammar::packet_expression();
    let (mut compared, mut refused, mut more, mut selective) = (0, 0, 0, 0);
    let mut complaints = Vec::new();
    for _ in 0..cases {
        let expression = strategy.new_tree(&mut runner).unwrap().current();
        for subject in &subjects {
            let Ok(mut outcome) = compare(subject, &expression, Optimizer::Off) else {
                refused += 1;
                continue;
            };
            compared += 1;
            selective += usize::from(outcome.selective);
            more += usize::from(!outcome.ours.is_empty());
            let packets = &subject.capture.packets;
            outcome.ours.retain(|&number| packets[number].padded);
            if !outcome.ours.is_empty() || !outcome.theirs.is_empty() {
                complaints.push(outcome.complaint(subject, &expression));
            }
        }
    }
    println!(
        "{compared} comparisons, {selective} select something and not everything; tcpdump refuses \
         {refused} more; in {more} we keep more of what was cut"
    );
    assert!(
        complaints.is_empty(),
        "{}\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}
