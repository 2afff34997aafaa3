//! Several dwdump processes on one host, one after the other and at once, and other programs beside
//! them.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::net_dm::control::Control;
use crate::net_dm::ownership::tests::{file, folder, kill, settings};
use crate::net_dm::simulated::SimulatedMonitor;

type Running = Monitoring<SimulatedMonitor>;

const BEFORE: Settings = settings(AlertMode::Summary, 1000);
const OFF: (bool, bool) = (false, false);

/// A host with a drop monitor and a record of ownership.
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

    /// Leaves the state that `kill -9` leaves.
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
fn a_dwdump_that_was_taken_over_stops_nothing() {
    // Taking over with the same settings is detected, too.
    for queue_len in [5000, 7000] {
        let host = Host::new();
        let mut first = host.force(5000);
        let mut second = host.force(queue_len);
        let ended = first.end().clone();
        assert_eq!(ended.interference, Some(Interference::TakenOver));
        assert_eq!((ended.stop, ended.restore), (None, None));
        assert_eq!(host.kernel.is_on(), (true, true));
        assert_eq!(second.inspect().interference, None);
        assert_eq!(*second.end(), Ended::default());
        host.assert_as_before();
    }
}

#[test]
fn the_dwdump_that_took_over_may_end_first() {
    let host = Host::new();
    let mut first = host.force(5000);
    assert_eq!(*host.force(5000).end(), Ended::default());
    host.assert_as_before();
    // A third process has begun since; its monitoring is not the first one's.
    let third = host.start(5000, WhenBusy::Refuse).unwrap();
    let inspection = first.inspect();
    assert_eq!(inspection.interference, Some(Interference::TakenOver));
    drop(first);
    assert_eq!(host.kernel.is_on(), (true, true));
    drop(third);
    host.assert_as_before();
}

#[test]
fn a_dwdump_that_was_taken_over_cannot_switch() {
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
    assert_eq!(second.inspect().interference, None);
    drop(second);
    host.assert_as_before();
}

#[test]
fn settings_of_a_killed_dwdump_are_not_the_original_ones() {
    let host = Host::new();
    for when_busy in [WhenBusy::Refuse, WhenBusy::TakeOver] {
        host.kill(host.force(5000));
        assert_eq!(host.kernel.is_on(), (true, true));
        drop(host.start(7000, when_busy).unwrap());
        host.assert_as_before();
    }

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

    // Another program's STOP, then the next dwdump.
    host.kill(host.force(5000));
    host.control().stop(Origins::Both).unwrap();
    drop(host.start(7000, WhenBusy::Refuse).unwrap());
    host.assert_as_before();
}

#[test]
fn settings_of_a_switch_before_the_kill_are_recognized() {
    let host = Host::new();
    let mut first = host.force(5000);
    first.switch(Reporting::Counts).unwrap();
    host.kill(first);
    drop(host.force(7000));
    host.assert_as_before();
}

#[test]
fn a_running_dwdump_restores_the_settings_after_a_stop() {
    let host = Host::new();
    let mut first = host.force(5000);
    let error = host.start(7000, WhenBusy::Refuse).unwrap_err();
    let own = std::process::id();
    assert_eq!(
        error.to_string(),
        format!("drops are already being monitored, by another dwdump (process {own})")
    );
    assert!(!host.stop_all().restored);
    assert_eq!(first.inspect().interference, Some(Interference::Stopped));
    drop(first);
    host.assert_as_before();
}

/// Settings that another program made after the dwdump was killed are the ones to restore.
#[test]
fn a_killed_owners_claim_is_void_once_others_have_configured() {
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
    assert_eq!(first.inspect().interference, wanted);
    drop(first);
    assert_eq!(host.kernel.is_on(), (true, false));
}

#[test]
fn without_a_record_the_settings_are_restored_too() {
    let host = Host::new();
    let state = host.folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    drop(host.force(5000));
    host.assert_as_before();
    std::fs::remove_dir(&state).unwrap();
    // Without the record, the kernel's settings decide.
    let first = host.force(5000);
    std::fs::remove_file(&state).unwrap();
    drop(first);
    host.assert_as_before();
}

/// An event on a host; the number selects the dwdump that it concerns.
#[derive(Clone, Debug)]
enum HostEvent {
    Start,
    Force,
    End(prop::sample::Index),
    Look(prop::sample::Index),
    Switch(prop::sample::Index),
    Kill(prop::sample::Index),
    StopAll,
}

fn host_event() -> impl Strategy<Value = HostEvent> {
    prop_oneof![
        2 => Just(HostEvent::Start),
        3 => Just(HostEvent::Force),
        3 => any::<prop::sample::Index>().prop_map(HostEvent::End),
        2 => any::<prop::sample::Index>().prop_map(HostEvent::Look),
        1 => any::<prop::sample::Index>().prop_map(HostEvent::Switch),
        1 => any::<prop::sample::Index>().prop_map(HostEvent::Kill),
        1 => Just(HostEvent::StopAll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In whatever order dwdump processes start, take over, are killed and end: the last one leaves
    /// the host as it was, and none stops another's monitoring.
    #[test]
    fn any_order_of_ends_restores_the_original_settings(
        host_events in prop::collection::vec(host_event(), 1..20)
    ) {
        let host = Host::new();
        let mut running: Vec<Running> = Vec::new();
        let mut queue_len = 5000;
        for host_event in host_events {
            queue_len += 1;
            match host_event {
                HostEvent::Start => running.extend(host.start(queue_len, WhenBusy::Refuse)),
                HostEvent::Force => running.push(host.force(queue_len)),
                HostEvent::End(index) if !running.is_empty() => {
                    let is_last = index.index(running.len()) + 1 == running.len();
                    let before = host.kernel.is_on();
                    drop(running.remove(index.index(running.len())));
                    if !is_last {
                        prop_assert_eq!(host.kernel.is_on(), before);
                    }
                }
                HostEvent::Look(index) if !running.is_empty() => {
                    let index = index.index(running.len());
                    let is_last = index + 1 == running.len();
                    let inspection = running[index].inspect();
                    if !is_last {
                        prop_assert!(inspection.interference.is_some());
                    }
                }
                HostEvent::Switch(index) if !running.is_empty() => {
                    let index = index.index(running.len());
                    let is_last = index + 1 == running.len();
                    let switched = running[index].switch(Reporting::Counts);
                    prop_assert!(is_last || switched.is_err());
                }
                HostEvent::Kill(index) if !running.is_empty() => {
                    host.kill(running.remove(index.index(running.len())));
                }
                HostEvent::StopAll => {
                    host.stop_all();
                }
                HostEvent::End(_)
                | HostEvent::Look(_)
                | HostEvent::Switch(_)
                | HostEvent::Kill(_) => {}
            }
        }
        drop(running);
        host.stop_all();
        prop_assert_eq!((host.kernel.settings(), host.kernel.is_on()), (BEFORE, OFF));
    }
}
