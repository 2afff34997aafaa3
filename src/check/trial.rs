//! The trial: which source saw which of the drops.

use std::time::Duration;

use serde::Serialize;

use super::capabilities::cure;
use super::drops::{Sighting, TrialDrop};
use super::host::HostFacts;
use super::{Finding, Refused};

/// The drops that a source saw, each at its place in [`TrialDrop::ALL`].
pub type Seen = [Option<Sighting>; TrialDrop::ALL.len()];

/// The trial of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTrial {
    /// It was not tried, because that would disturb others.
    NotTried,
    /// It could not begin.
    Refused(Refused),
    /// It captured.
    Captured {
        /// The time from its start until it captured.
        start: Duration,
        /// The drops that it saw.
        seen: Seen,
    },
}

impl SourceTrial {
    /// Returns what it saw, if it captured.
    pub fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Captured { seen, .. } => Some(seen),
            Self::NotTried | Self::Refused(_) => None,
        }
    }

    /// Returns the refusal, if there was one.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::NotTried | Self::Captured { .. } => None,
        }
    }
}

/// The trials of all sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// The kernel's drop monitor.
    pub net_dm: SourceTrial,
    /// The eBPF programs.
    pub ebpf: SourceTrial,
    /// A capture without `--source`.
    pub auto: SourceTrial,
    /// The failure to make the drops.
    pub no_drops: Option<String>,
}

/// A drop, and who saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DropResult {
    drop: &'static str,
    /// `None`: it was not tried, or could not begin.
    netdm: Option<bool>,
    ebpf: Option<bool>,
    /// A capture without `--source` sees it.
    auto: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
}

impl DropResult {
    /// Returns whether a capture without `--source` sees it.
    pub fn is_seen(&self) -> bool {
        self.auto
    }
}

/// Returns the line about the eBPF programs.
pub fn ebpf(host: &HostFacts, trial: &SourceTrial) -> Finding {
    const SUBJECT: &str = "eBPF";
    match trial {
        SourceTrial::Captured { start, .. } => Finding::yes(
            SUBJECT,
            format!("loaded and attached in {:.2} s", start.as_secs_f64()),
        ),
        SourceTrial::Refused(refused) => Finding::no(
            SUBJECT,
            refused.error.as_str(),
            refused
                .hint
                .as_deref()
                .unwrap_or("`dwdump --source netdm` works without"),
        ),
        SourceTrial::NotTried => Finding::no(SUBJECT, "not tried", cure(host)),
    }
}

impl Trials {
    /// Returns who saw which drop. Empty where no drops could be made.
    pub fn results(&self) -> Vec<DropResult> {
        if self.no_drops.is_some() {
            return Vec::new();
        }
        let places = TrialDrop::ALL.into_iter().enumerate();
        let results = places.map(|(place, drop)| {
            let sighting = |trial: &SourceTrial| trial.seen().map(|seen| seen[place].clone());
            let (netdm, ebpf) = (sighting(&self.net_dm), sighting(&self.ebpf));
            let seen = |sighting: &Option<Option<Sighting>>| sighting.as_ref().map(Option::is_some);
            let shown = ebpf.clone().flatten().or(netdm.clone().flatten());
            let shown = shown.unwrap_or_default();
            DropResult {
                drop: drop.name(),
                netdm: seen(&netdm),
                ebpf: seen(&ebpf),
                auto: seen(&sighting(&self.auto)) == Some(true),
                reason: shown.reason,
                function: shown.function,
            }
        });
        results.collect()
    }

    /// Returns a line for each drop.
    pub fn findings(&self, host: &HostFacts) -> Vec<Finding> {
        if let Some(error) = &self.no_drops {
            return vec![Finding::no("drops", error.as_str(), cure(host))];
        }
        let results = self.results();
        let findings = TrialDrop::ALL.iter().zip(&results);
        let findings = findings.map(|(drop, result)| finding(*drop, result));
        findings.collect()
    }
}

/// Returns the line about a drop.
fn finding(drop: TrialDrop, result: &DropResult) -> Finding {
    let subject = match drop {
        TrialDrop::Output => "a packet on its way out, without a link-layer header",
        TrialDrop::NoListener => "a datagram to a port where nobody listens",
        TrialDrop::BadChecksum => "a datagram with a bad checksum",
    };
    let saw = match (result.netdm, result.ebpf) {
        (Some(true), Some(true)) => "NET_DM and eBPF saw it",
        (Some(true), _) => "NET_DM saw it",
        (_, Some(true)) => "eBPF saw it",
        (None, None) => "not captured",
        _ => "not seen",
    };
    let is_seen_alone = result.netdm == Some(true) || result.ebpf == Some(true);
    if result.auto {
        let sighting = Sighting {
            reason: result.reason.clone(),
            function: result.function.clone(),
        };
        return Finding::yes(subject, format!("{saw}, {sighting}"));
    }
    let report = "please report this, with all lines of this answer and what `uname -a` prints";
    match result.ebpf {
        _ if is_seen_alone => Finding::no(
            subject,
            format!("{saw}, but a capture with both did not"),
            report,
        ),
        None if result.netdm.is_none() => {
            Finding::no(subject, saw, "its source has to work first: see above")
        }
        None => Finding::no(
            subject,
            saw,
            "NET_DM does not report such packets: eBPF has to work, see above",
        ),
        Some(_) => Finding::no(subject, saw, report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(seen: [bool; 3]) -> SourceTrial {
        let sighting = Sighting {
            reason: Some("NO_SOCKET".into()),
            function: Some("udp_rcv".into()),
        };
        SourceTrial::Captured {
            start: Duration::from_millis(142),
            seen: seen.map(|is_seen| is_seen.then(|| sighting.clone())),
        }
    }

    fn refused(hint: Option<&str>) -> SourceTrial {
        SourceTrial::Refused(Refused {
            error: "cannot make an eBPF map: Operation not permitted".into(),
            hint: hint.map(str::to_owned),
        })
    }

    #[track_caller]
    fn check(sources: [SourceTrial; 3], wanted: [(bool, &str); 3]) {
        let [net_dm, ebpf, auto] = sources;
        let trials = Trials {
            net_dm,
            ebpf,
            auto,
            no_drops: None,
        };
        let findings = trials.findings(&HostFacts::default());
        assert_eq!(findings.len(), 3);
        let seen: Vec<_> = trials.results().iter().map(DropResult::is_seen).collect();
        for ((finding, seen), (is_ok, words)) in findings.iter().zip(seen).zip(wanted) {
            assert_eq!((finding.is_ok(), seen), (is_ok, is_ok), "{finding}");
            assert!(finding.to_string().contains(words), "{finding}");
        }
    }

    #[test]
    fn each_drop_is_seen_by_both_or_by_one() {
        const ALL: [bool; 3] = [true; 3];
        // NET_DM skips the first one.
        const SOME: [bool; 3] = [false, true, true];
        let not_tried = SourceTrial::NotTried;
        let (all, some) = (captured(ALL), captured(SOME));
        let both = (true, "NET_DM and eBPF saw it, NO_SOCKET in udp_rcv");
        let (net_dm, ebpf) = ((true, ": NET_DM saw it"), (true, ": eBPF saw it"));
        check([some.clone(), all.clone(), all.clone()], [ebpf, both, both]);
        check([not_tried.clone(), all.clone(), all.clone()], [ebpf; 3]);
        let missing = (false, "not seen\n      NET_DM does not report such packets");
        check(
            [some.clone(), refused(None), some.clone()],
            [missing, net_dm, net_dm],
        );
        let none = (false, "not captured\n      its source has to work first");
        check([refused(None), refused(None), refused(None)], [none; 3]);
        let nowhere = (false, "not seen\n      please report this");
        check(
            [not_tried, captured([false; 3]), captured([false; 3])],
            [nowhere; 3],
        );
        let lost = (
            false,
            "eBPF saw it, but a capture with both did not\n      please report this",
        );
        check([some.clone(), all, some], [lost, both, both]);
    }

    #[test]
    fn without_drops_nothing_is_seen() {
        let trials = Trials {
            net_dm: SourceTrial::NotTried,
            ebpf: captured([false; 3]),
            auto: captured([false; 3]),
            no_drops: Some("cannot make a network namespace: Operation not permitted".into()),
        };
        assert!(trials.results().is_empty());
        let lines = trials.findings(&HostFacts::default());
        assert_eq!(lines.len(), 1);
        assert_eq!(
            lines[0].to_string(),
            "no    drops: cannot make a network namespace: Operation not permitted\n      run `sudo dwdump …`"
        );
    }

    #[test]
    fn a_program_that_is_not_loaded_has_a_cure() {
        let host = HostFacts::default();
        let line = ebpf(&host, &captured([true; 3])).to_string();
        assert_eq!(line, "ok    eBPF: loaded and attached in 0.14 s");
        for (hint, words) in [
            (Some("run as root"), "run as root"),
            (None, "--source netdm"),
        ] {
            let line = ebpf(&host, &refused(hint));
            assert!(!line.is_ok() && line.to_string().contains(words), "{line}");
        }
        assert!(!ebpf(&host, &SourceTrial::NotTried).is_ok());
    }
}
