//! Carries out `--check`: reads the host, tries every source on drops that it makes, and prints the
//! findings.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use nix::poll::PollFd;
use serde::Serialize;

use super::answer::print;
use super::begin::Purpose;
use super::failure::{Exit, Failure};
use super::live::{LoopEnd, Needs, Opening};
use super::receiver::{Attention, DropMonitor, Receiver, Stop};
use crate::check::drops::{Mark, Sighting, TrialDrop};
use crate::check::host::HostFacts;
use crate::check::namespace::DropMaker;
use crate::check::net_dm::MonitorState;
use crate::check::trial::{DropResult, Seen, SourceTrial, Trials, ebpf};
use crate::check::wireshark::WiresharkQuestion;
use crate::check::{
    Finding, Refused, capabilities, kernel, net_dm, sandbox, source_lines, wireshark,
};
use crate::cli::{Lines, Live, Role, SourceChoice};
use crate::net_dm::control::Origins;
use crate::net_dm::monitoring::WhenBusy;
use crate::record::Loss;
use crate::sink::Detail;
use crate::source::{Event, NotPackets};

/// The longest time that a drop may take from its making to this process.
const PATIENCE: Duration = Duration::from_millis(600);
/// The time in which the others come, once one has come: the first one may have to wait for the kernel's
/// symbols.
const GRACE: Duration = Duration::from_millis(100);

/// All that is printed.
#[derive(Serialize)]
struct Answer<'a> {
    dwdump: &'static str,
    kernel: &'a str,
    ok: bool,
    findings: &'a [Finding],
    drops: &'a [DropResult],
}

/// Checks what this host can do. Must be called while this process has a single thread.
pub fn check(lines: Lines) -> Result<Exit, Failure> {
    let maker = DropMaker::start();
    let question = WiresharkQuestion::ask();
    let host = HostFacts::read();
    let monitor = MonitorState::ask(&host);
    let Some(trials) = try_all(maker, &monitor) else {
        return Err(anyhow::anyhow!("interrupted").into());
    };

    let mut findings = vec![
        net_dm::finding(&host, &monitor, trials.net_dm.refused()),
        kernel::btf(&host),
        ebpf(&host, &trials.ebpf),
    ];
    findings.extend(capabilities::findings(&host));
    findings.extend([
        kernel::lockdown(&host),
        kernel::symbols(&host),
        sandbox::finding(&host),
        source_lines::finding(),
        wireshark::finding(&question.answer(), host.is_root),
    ]);
    findings.extend(trials.findings(&host));
    let drops = trials.results();
    let ok = !drops.is_empty() && drops.iter().all(DropResult::is_seen);
    print(&match lines {
        Lines::Json => {
            let answer = Answer {
                dwdump: env!("CARGO_PKG_VERSION"),
                kernel: &host.release,
                ok,
                findings: &findings,
                drops: &drops,
            };
            let mut text = serde_json::to_string(&answer).map_err(anyhow::Error::new)?;
            text.push('\n');
            text
        }
        Lines::Auto | Lines::Text => text(&findings, ok),
    })?;
    Ok(if ok { Exit::Success } else { Exit::Failure })
}

/// Returns a line for each finding, and the sum.
fn text(findings: &[Finding], ok: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{finding}");
    }
    text.push_str(if ok {
        "dwdump sees every drop that it made here\n"
    } else {
        "dwdump does not see every drop that it made here\n"
    });
    text
}

/// Tries every source that may be used. Returns `None` where a signal asked for the end.
fn try_all(maker: anyhow::Result<DropMaker>, monitor: &MonitorState) -> Option<Trials> {
    let mut no_drops = None;
    let mut maker = match maker {
        Ok(maker) => Some(maker),
        Err(error) => {
            no_drops = Some(format!("{error:#}"));
            None
        }
    };
    let mut try_one = |source| {
        let mut make = |mark: &Mark| {
            if let Some(Err(error)) = maker.as_mut().map(|maker| maker.make_drops(mark)) {
                no_drops.get_or_insert(format!("{error:#}"));
            }
        };
        let refused = |failure: Failure| Some(SourceTrial::Refused(refused(&failure)));
        try_source(source, &mut make).unwrap_or_else(refused)
    };
    let net_dm = if monitor.is_idle() {
        try_one(SourceChoice::NetDm)?
    } else {
        SourceTrial::NotTried
    };
    let ebpf = try_one(SourceChoice::Ebpf)?;
    let auto = try_one(SourceChoice::Auto)?;
    Some(Trials {
        net_dm,
        ebpf,
        auto,
        no_drops,
    })
}

/// Returns the error and the hint of a failure, in a line each.
fn refused(failure: &Failure) -> Refused {
    let text = failure.to_string();
    let (error, hint) = match text.split_once("\nhint: ") {
        Some((error, hint)) => (error, Some(hint.to_owned())),
        None => (text.as_str(), None),
    };
    Refused {
        error: error.to_owned(),
        hint,
    }
}

/// Captures with a source, as every capture does, while drops are made. Returns `None` where a signal asked
/// for the end.
fn try_source(
    source: SourceChoice,
    make_drops: &mut dyn FnMut(&Mark),
) -> Result<Option<SourceTrial>, Failure> {
    let live = Live {
        source,
        role: Role::Owner {
            trunc_len: None,
            queue_len: None,
            when_busy: WhenBusy::Refuse,
        },
        origins: Some(Origins::Software),
        buffer: None,
        duration: None,
        not_packets: NotPackets::LeaveOut,
        stack: None,
        net_dm_option: None,
        detail: Detail::Line,
    };
    let needs = Needs {
        purpose: Purpose::Packets(0),
        ebpf_for: None,
        better_with_ebpf: None,
    };
    let started = Instant::now();
    let opening = Opening::new(&live, None)?;
    let mut session = opening.begin(&live, needs, None, |_| {})?;
    let start = started.elapsed();
    let mark = Mark::new();
    make_drops(&mark);
    let mut watcher = TrialWatcher {
        mark,
        seen: Seen::default(),
        due: Instant::now() + PATIENCE,
    };
    let end = session.run(&mut watcher);
    let is_interrupted = matches!(end, LoopEnd::Signal);
    let ended = session.finish(end, &mut watcher, |_, _, _, _| ControlFlow::Continue(()));
    match ended.failure {
        Some(failure) => Err(failure),
        None if is_interrupted => Ok(None),
        None => Ok(Some(SourceTrial::Captured {
            start,
            seen: watcher.seen,
        })),
    }
}

/// Looks for the drops that were made, until all have come or no more come.
struct TrialWatcher {
    mark: Mark,
    seen: Seen,
    due: Instant,
}

impl Receiver for TrialWatcher {
    fn take(&mut self, event: Event<'_, '_>) -> ControlFlow<Stop> {
        let Event::Drop(record) = event else {
            return ControlFlow::Continue(());
        };
        let Some(drop) = self.mark.find(record) else {
            return ControlFlow::Continue(());
        };
        let place = TrialDrop::ALL.iter().position(|other| *other == drop);
        if let Some(seen) = place.and_then(|place| self.seen.get_mut(place)) {
            *seen = Some(Sighting::of(record));
        }
        let soon = Instant::now() + GRACE;
        self.due = if TrialDrop::ALL.last() == Some(&drop) {
            soon
        } else {
            self.due.max(soon)
        };
        if self.seen.iter().all(Option::is_some) {
            return ControlFlow::Break(Stop::Asked);
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) -> ControlFlow<Stop> {
        ControlFlow::Continue(())
    }

    fn watch<'r>(&'r self, _: &mut Vec<PollFd<'r>>) {}

    fn due(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn attend(&mut self, _: Attention, _: &mut dyn DropMonitor) -> ControlFlow<Stop> {
        ControlFlow::Break(Stop::Asked)
    }

    fn report(&mut self, _: Option<Loss>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DropRecord, Link, LinkType};

    fn take(watcher: &mut TrialWatcher, drop: TrialDrop, headers: usize) -> ControlFlow<Stop> {
        let data = [vec![0; headers], drop.payload(&watcher.mark)].concat();
        let record = DropRecord::new(Link::known(LinkType::RAW), &data);
        watcher.take(Event::Drop(&record))
    }

    fn watcher() -> TrialWatcher {
        TrialWatcher {
            mark: Mark::of("7-8"),
            seen: Seen::default(),
            due: Instant::now() + PATIENCE,
        }
    }

    #[test]
    fn it_ends_once_all_have_come_in_any_order() {
        let mut watcher = watcher();
        let [first, second, last] = TrialDrop::ALL;
        for (drop, is_end) in [
            (last, false),
            (first, false),
            (first, false),
            (second, true),
        ] {
            assert_eq!(take(&mut watcher, drop, 28).is_break(), is_end, "{drop:?}");
        }
    }

    #[test]
    fn it_waits_longer_for_the_first_than_behind_the_last() {
        let mut watcher = watcher();
        let start = watcher.due;
        // Somebody else's, and an ICMP error that quotes one.
        assert!(
            watcher
                .take(Event::EndOfCounts { is_full: false })
                .is_continue()
        );
        assert!(take(&mut watcher, TrialDrop::Output, 56).is_continue());
        assert_eq!((&watcher.seen, watcher.due), (&Seen::default(), start));
        assert!(take(&mut watcher, TrialDrop::NoListener, 42).is_continue());
        assert_eq!(watcher.due, start);
        // The kernel's symbols took a while.
        watcher.due = Instant::now();
        assert!(take(&mut watcher, TrialDrop::NoListener, 42).is_continue());
        assert!(watcher.due > Instant::now());
        watcher.due = start;
        assert!(take(&mut watcher, TrialDrop::BadChecksum, 42).is_continue());
        assert!(watcher.due < start);
    }

    #[test]
    fn a_refusal_keeps_error_and_hint_apart() {
        let failure = Failure::new(anyhow::anyhow!("no"), Some("try yes"));
        let refused = refused(&failure);
        assert_eq!(
            (refused.error.as_str(), refused.hint.as_deref()),
            ("no", Some("try yes"))
        );
        let refused = super::refused(&Failure::from(anyhow::anyhow!("no")));
        assert_eq!((refused.error.as_str(), refused.hint), ("no", None));
    }
}
