//! Several dwdumps, one after the other and at once, and programs that are none.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::net_dm::control::Control;
use crate::net_dm::ownership::tests::{file, folder, kill, settings};
use crate::net_dm::simulated::SimulatedMonitor;

type Running = Monitoring<SimulatedMonitor>;

const BEFORE: Settings = settings(AlertMode::Summary, 1000);
const OFF: (bool, bool) = (false, false);

/// A host with a drop monitor and a record.
struct Host {
    kernel: SimulatedMonitor,
    folder: TempDir,
}

impl Host {
    fn new() -> Self {
        Self {
            kernel: SimulatedMonitor::new(BEFORE),
            folder: folder(),
        }
    }

    fn control(&self) -> Control<SimulatedMonitor> {
        Control::new(self.kernel.clone())
    }

    fn start(&self, queue_len: u32, when_busy: WhenBusy) -> Result<Running, BeginError> {
        let wanted = Wanted {
            origins: None,
            reporting: Reporting::Packets {
                trunc_len: 0,
                queue_len,
            },
            when_busy,
        };
        let ownership = file(&self.folder);
        Monitoring::begin(self.control(), &ownership, wanted, || Ok(()))
            .map(|(monitoring, (), _)| monitoring)
    }

    fn force(&self, queue_len: u32) -> Running {
        self.start(queue_len, WhenBusy::TakeOver).unwrap()
    }

    /// What `kill -9` leaves of it.
    fn kill(&self, monitoring: Running) {
        let generation = monitoring.generation.unwrap();
        std::mem::forget(monitoring);
        kill(&self.folder, generation);
    }

    fn stop_all(&self) -> StoppedAll {
        stop_all(&mut self.control(), &file(&self.folder)).unwrap()
    }

    #[track_caller]
    fn assert_as_before(&self) {
        assert_eq!((self.kernel.settings(), self.kernel.is_on()), (BEFORE, OFF));
    }
}

#[test]
fn the_one_taken_over_ends_first_and_stops_nothing() {
    // The settings may be the same.
    for queue_len in [5000, 7000] {
        let host = Host::new();
        let mut first = host.force(5000);
        let mut second = host.force(queue_len);
        let ended = first.end().clone();
        assert_eq!(ended.interference, Some(Interference::TakenOver));
        assert_eq!((ended.stop, ended.restore), (None, None));
        assert_eq!(host.kernel.is_on(), (true, true));
        assert_eq!(second.look().interference, None);
        assert_eq!(*second.end(), Ended::default());
        host.assert_as_before();
    }
}

#[test]
fn the_one_that_took_over_ends_first() {
    let host = Host::new();
    let mut first = host.force(5000);
    assert_eq!(*host.force(5000).end(), Ended::default());
    host.assert_as_before();
    // A third has begun meanwhile: it is not the first one's.
    let third = host.start(5000, WhenBusy::Refuse).unwrap();
    let look = first.look();
    assert_eq!(look.interference, Some(Interference::TakenOver));
    drop(first);
    assert_eq!(host.kernel.is_on(), (true, true));
    drop(third);
    host.assert_as_before();
}

#[test]
fn one_that_was_taken_over_cannot_switch() {
    let host = Host::new();
    let mut first = host.force(5000);
    let mut second = host.force(5000);
    let error = first.switch(Reporting::Counts).unwrap_err();
    assert!(
        error.to_string().ends_with("took over the drop monitor"),
        "{error}"
    );
    assert_eq!(host.kernel.is_on(), (true, true));
    assert_eq!(second.switch(Reporting::Counts), Ok(()));
    assert_eq!(second.look().interference, None);
    drop(second);
    host.assert_as_before();
}

#[test]
fn a_killed_ones_settings_are_not_the_original_ones() {
    let host = Host::new();
    host.kill(host.force(5000));
    let error = host.start(7000, WhenBusy::Refuse).unwrap_err();
    assert_eq!(
        error.to_string(),
        "drops are already being monitored, left on by a dwdump that was killed"
    );
    drop(host.force(7000));
    host.assert_as_before();

    host.kill(host.force(5000));
    let wanted = StoppedAll {
        was_on: true,
        restored: true,
    };
    assert_eq!(host.stop_all(), wanted);
    host.assert_as_before();
    let wanted = StoppedAll {
        was_on: false,
        restored: false,
    };
    assert_eq!(host.stop_all(), wanted);
    host.assert_as_before();

    // Somebody else's STOP; then the next dwdump.
    host.kill(host.force(5000));
    host.control().stop(Origins::Both).unwrap();
    drop(host.start(7000, WhenBusy::Refuse).unwrap());
    host.assert_as_before();
}

#[test]
fn one_that_switched_before_it_was_killed_is_known_too() {
    let host = Host::new();
    let mut first = host.force(5000);
    first.switch(Reporting::Counts).unwrap();
    host.kill(first);
    drop(host.force(7000));
    host.assert_as_before();
}

#[test]
fn one_that_runs_restores_itself_after_a_stop() {
    let host = Host::new();
    let mut first = host.force(5000);
    let error = host.start(7000, WhenBusy::Refuse).unwrap_err();
    let own = std::process::id();
    assert_eq!(
        error.to_string(),
        format!("drops are already being monitored, by another dwdump (process {own})")
    );
    assert!(!host.stop_all().restored);
    assert_eq!(first.look().interference, Some(Interference::Stopped));
    drop(first);
    host.assert_as_before();
}

/// Settings that somebody made after the killed one are the ones to go back to.
#[test]
fn a_dead_claim_is_void_once_others_have_configured() {
    let host = Host::new();
    host.kill(host.force(5000));
    let mut other = host.control();
    other.stop(Origins::Both).unwrap();
    let theirs = settings(AlertMode::Packet, 77);
    other.configure(theirs).unwrap();
    drop(host.start(7000, WhenBusy::Refuse).unwrap());
    assert_eq!((host.kernel.settings(), host.kernel.is_on()), (theirs, OFF));

    host.kill(host.force(5000));
    other.stop(Origins::Both).unwrap();
    other.configure(theirs).unwrap();
    assert!(!host.stop_all().restored);
    assert_eq!(host.kernel.settings(), theirs);
}

#[test]
fn another_programs_monitoring_is_left_alone() {
    let host = Host::new();
    let mut first = host.force(5000);
    let mut other = host.control();
    other.stop(Origins::Both).unwrap();
    other.configure(BEFORE).unwrap();
    other.start(Origins::Software).unwrap();
    let wanted = Some(Interference::Reconfigured(BEFORE));
    assert_eq!(first.look().interference, wanted);
    drop(first);
    assert_eq!(host.kernel.is_on(), (true, false));
}

#[test]
fn without_a_record_it_works_too() {
    let host = Host::new();
    let state = host.folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    drop(host.force(5000));
    host.assert_as_before();
    std::fs::remove_dir(&state).unwrap();
    // Removed by somebody: the kernel's answers decide.
    let first = host.force(5000);
    std::fs::remove_file(&state).unwrap();
    drop(first);
    host.assert_as_before();
}

/// What happens on a host, to the dwdump with this number where it is about one.
#[derive(Clone, Debug)]
enum Happening {
    Start,
    Force,
    End(prop::sample::Index),
    Look(prop::sample::Index),
    Switch(prop::sample::Index),
    Kill(prop::sample::Index),
    StopAll,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => Just(Happening::Start),
        3 => Just(Happening::Force),
        3 => any::<prop::sample::Index>().prop_map(Happening::End),
        2 => any::<prop::sample::Index>().prop_map(Happening::Look),
        1 => any::<prop::sample::Index>().prop_map(Happening::Switch),
        1 => any::<prop::sample::Index>().prop_map(Happening::Kill),
        1 => Just(Happening::StopAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In whatever order dwdumps come, take over, are killed and end: the last one leaves the host
    /// as it was, and none stops another's monitoring.
    #[test]
    fn any_order_of_ends_restores_the_original_settings(
        happenings in prop::collection::vec(happening(), 1..20)
    ) {
        let host = Host::new();
        let mut running: Vec<Running> = Vec::new();
        let mut queue_len = 5000;
        for happening in happenings {
            queue_len += 1;
            match happening {
                Happening::Start => running.extend(host.start(queue_len, WhenBusy::Refuse)),
                Happening::Force => running.push(host.force(queue_len)),
                Happening::End(index) if !running.is_empty() => {
                    let is_last = index.index(running.len()) + 1 == running.len();
                    let before = host.kernel.is_on();
                    drop(running.remove(index.index(running.len())));
                    if !is_last {
                        prop_assert_eq!(host.kernel.is_on(), before);
                    }
                }
                Happening::Look(index) if !running.is_empty() => {
                    let index = index.index(running.len());
                    let is_last = index + 1 == running.len();
                    let look = running[index].look();
                    if !is_last {
                        prop_assert!(look.interference.is_some());
                    }
                }
                Happening::Switch(index) if !running.is_empty() => {
                    let index = index.index(running.len());
                    let is_last = index + 1 == running.len();
                    let switched = running[index].switch(Reporting::Counts);
                    prop_assert!(is_last || switched.is_err());
                }
                Happening::Kill(index) if !running.is_empty() => {
                    host.kill(running.remove(index.index(running.len())));
                }
                Happening::StopAll => {
                    host.stop_all();
                }
                Happening::End(_)
                | Happening::Look(_)
                | Happening::Switch(_)
                | Happening::Kill(_) => {}
            }
        }
        drop(running);
        host.stop_all();
        prop_assert_eq!((host.kernel.settings(), host.kernel.is_on()), (BEFORE, OFF));
    }
}
