//! The life cycle of the monitoring, against scripted kernels.

use super::*;
use crate::net_dm::attr;
use crate::net_dm::cmd::{CONFIG, CONFIG_GET, START, STATS_GET, STOP};
use crate::net_dm::control::Request;
use crate::net_dm::script::{Script, ScriptStep, errno, ok, settings, statistics};

const WANTED: Wanted = Wanted {
    origins: None,
    reporting: Reporting::Packets {
        trunc_len: 0,
        queue_len: 5000,
    },
    when_busy: WhenBusy::Refuse,
};

/// The steps of an undisturbed start.
fn start() -> Vec<ScriptStep> {
    vec![
        (CONFIG_GET, settings(0, 111, 222)),
        (CONFIG, ok()),
        (CONFIG, ok()),
        (STATS_GET, statistics(10, 1)),
        (START, ok()),
    ]
}

/// The step in which the kernel returns the settings of [`start`].
fn configured() -> ScriptStep {
    (CONFIG_GET, settings(1, 0, 5000))
}

/// The steps of a check that finds everything unchanged; `origins` are monitored.
fn undisturbed(origins: Origins) -> Vec<ScriptStep> {
    let asked = origins.each().iter();
    let asked = asked.map(|_| (START, errno(libc::EAGAIN)));
    [configured(), (CONFIG, errno(libc::EBUSY))]
        .into_iter()
        .chain(asked)
        .collect()
}

/// The steps of an undisturbed end.
fn end() -> Vec<ScriptStep> {
    [
        undisturbed(Origins::Both),
        vec![(STOP, ok()), (CONFIG, ok())],
    ]
    .concat()
}

fn begin(script: &Script, wanted: Wanted) -> Result<(Monitoring<Script>, StartReport), BeginError> {
    let none = OwnershipFile::none();
    Monitoring::begin(Control::new(script.clone()), &none, wanted, || Ok(()))
        .map(|(monitoring, (), started)| (monitoring, started))
}

fn assert_restored(script: &Script) {
    let last = script.seen().pop().unwrap();
    assert_eq!(last.command, CONFIG);
    assert_eq!(
        last.attributes,
        [
            (attr::ALERT_MODE, vec![0]),
            (attr::TRUNC_LEN, 111u32.to_ne_bytes().to_vec()),
            (attr::QUEUE_LEN, 222u32.to_ne_bytes().to_vec()),
        ]
    );
}

#[test]
fn the_original_settings_are_restored() {
    let script = Script::new([start(), end()].concat());
    let (mut monitoring, started) = begin(&script, WANTED).unwrap();
    assert_eq!(
        started,
        StartReport {
            origins: Origins::Both,
            without_hardware: false,
            took_over: false
        }
    );
    assert_eq!(*monitoring.end(), Ended::default());
    assert_restored(&script);
    // A second request would not be in the script.
    assert_eq!(*monitoring.end(), Ended::default());
}

#[test]
fn a_panic_restores_the_settings() {
    let script = Script::new([start(), end()].concat());
    let shared = script.clone();
    let result = std::thread::spawn(move || {
        let _monitoring = begin(&shared, WANTED).unwrap();
        panic!("on purpose, while monitoring");
    })
    .join();
    assert!(result.is_err());
    assert_restored(&script);
    assert!(script.is_over());
}

#[test]
fn busy_is_refused_and_nothing_is_touched() {
    let script = Script::new(vec![
        (CONFIG_GET, settings(1, 0, 1000)),
        (CONFIG, errno(libc::EBUSY)),
    ]);
    assert_eq!(
        begin(&script, WANTED).unwrap_err(),
        BeginError::Busy(AlertMode::Packet, Holder::Unknown)
    );
    assert_eq!(script.commands(), [CONFIG_GET, CONFIG]);
}

#[test]
fn force_stops_the_other_and_leaves_monitoring_off() {
    let mut steps = vec![
        (CONFIG_GET, settings(0, 111, 222)),
        (CONFIG, errno(libc::EBUSY)),
        (STOP, ok()),
    ];
    steps.extend([(CONFIG, ok()), (STATS_GET, statistics(0, 0)), (START, ok())]);
    steps.extend(end());
    let script = Script::new(steps);
    let (monitoring, started) = begin(
        &script,
        Wanted {
            when_busy: WhenBusy::TakeOver,
            ..WANTED
        },
    )
    .unwrap();
    assert!(started.took_over);
    drop(monitoring);
    assert_restored(&script);
}

#[test]
fn without_devlink_software_drops_are_captured_alone() {
    let mut steps = start();
    steps[4] = (START, errno(libc::EOPNOTSUPP));
    steps.push((START, ok()));
    steps.extend(undisturbed(Origins::Software));
    steps.extend([(STOP, ok()), (CONFIG, ok())]);
    let script = Script::new(steps);
    let (monitoring, started) = begin(&script, WANTED).unwrap();
    assert_eq!(
        started,
        StartReport {
            origins: Origins::Software,
            without_hardware: true,
            took_over: false
        }
    );
    drop(monitoring);
    let stop = script
        .seen()
        .into_iter()
        .find(|request| request.command == STOP)
        .unwrap();
    assert_eq!(stop.attributes, [(attr::SW_DROPS, vec![])]);
}

/// Races, and kernels that no available machine has: the message, and the steps that are undone.
#[test]
fn a_failed_start_is_undone() {
    #[track_caller]
    fn check(origins: Option<Origins>, errno_of_start: i32, message: &str) {
        let mut steps = start();
        steps[4] = (START, errno(errno_of_start));
        steps.extend([configured(), (CONFIG, ok()), (CONFIG, ok())]);
        let script = Script::new(steps);
        let error = begin(&script, Wanted { origins, ..WANTED }).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.hint().is_some());
        assert_restored(&script);
    }
    check(
        None,
        libc::EAGAIN,
        "cannot start monitoring software and hardware drops: Resource temporarily unavailable",
    );
    check(
        Some(Origins::Software),
        libc::EINPROGRESS,
        "cannot start monitoring software drops: Operation now in progress",
    );
    check(
        Some(Origins::Hardware),
        libc::EOPNOTSUPP,
        "cannot start monitoring hardware drops: Operation not supported",
    );
    check(
        Some(Origins::Both),
        libc::EOPNOTSUPP,
        "cannot start monitoring software and hardware drops: Operation not supported",
    );
}

#[test]
fn a_race_before_the_settings_were_changed_changes_nothing() {
    let mut steps = start();
    steps.truncate(2);
    steps.push((CONFIG, errno(libc::EBUSY)));
    let script = Script::new(steps);
    let error = begin(&script, WANTED).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot configure the drop monitor: Device or resource busy"
    );
    assert_eq!(script.commands(), [CONFIG_GET, CONFIG, CONFIG]);
}

#[test]
fn a_kernel_before_5_4_has_a_message_of_its_own() {
    let script = Script::new(vec![(CONFIG_GET, errno(libc::EOPNOTSUPP))]);
    let error = begin(&script, WANTED).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the drop monitor's settings: Operation not supported"
    );
    assert!(error.hint().unwrap().contains("Linux 5.4"));
}

#[test]
fn a_refused_listener_leaves_everything_as_it_was() {
    let script = Script::new(vec![(CONFIG_GET, settings(0, 0, 0)), (CONFIG, ok())]);
    let refusal = Refusal {
        errno: libc::EPERM,
        words: None,
    };
    let refused = ControlError {
        operation: Operation::Join,
        refusal,
    };
    let none = OwnershipFile::none();
    let result = Monitoring::begin(Control::new(script.clone()), &none, WANTED, || {
        Err::<(), _>(refused.clone())
    });
    assert_eq!(result.unwrap_err(), BeginError::Control(refused));
    assert_eq!(script.commands(), [CONFIG_GET, CONFIG]);
}

#[test]
fn a_race_at_the_end_is_reported_not_fatal() {
    let mut steps = [start(), undisturbed(Origins::Both)].concat();
    steps.extend([(STOP, ok()), (CONFIG, errno(libc::EBUSY))]);
    let (mut monitoring, _) = begin(&Script::new(steps), WANTED).unwrap();
    let ended = monitoring.end();
    assert_eq!(ended.stop, None);
    let restore = ended.restore.as_ref().unwrap();
    assert!(restore.hint().unwrap().contains("left as they are"));
}

#[test]
fn a_passive_listener_changes_nothing() {
    let script = Script::new(vec![
        (CONFIG_GET, settings(0, 0, 0)),
        (STATS_GET, statistics(5, 0)),
        (STATS_GET, statistics(7, 1)),
        (CONFIG_GET, settings(0, 0, 0)),
        (CONFIG, errno(libc::EPERM)),
    ]);
    let (mut monitoring, (), settings) =
        Monitoring::listen(Control::new(script.clone()), || Ok(())).unwrap();
    assert_eq!(settings.mode, AlertMode::Summary);
    assert_eq!(monitoring.lost(), Ok(3));
    drop(monitoring);
    assert!(script.is_over());
    let asked = script.seen();
    let is_probe = |request: &Request| request.command != CONFIG || request.attributes.is_empty();
    assert!(asked.iter().all(is_probe));
}

#[test]
fn counts_leave_the_other_settings_alone_and_can_be_switched_to_packets() {
    let inspection = |mode, trunc_len, queue_len| {
        let mut steps = undisturbed(Origins::Both);
        steps[0] = (CONFIG_GET, settings(mode, trunc_len, queue_len));
        steps
    };
    let switch = vec![(STOP, ok()), (CONFIG, ok()), (START, ok())];
    let end = vec![(STOP, ok()), (CONFIG, ok())];
    let steps = [
        start(),
        inspection(0, 111, 222),
        switch,
        inspection(1, 256, 5000),
        end,
    ];
    let script = Script::new(steps.concat());
    let counts = Wanted {
        reporting: Reporting::Counts,
        ..WANTED
    };
    let (mut monitoring, _) = begin(&script, counts).unwrap();
    let configured = |script: &Script| {
        let mut configs = script.seen().into_iter();
        let last = configs.rfind(|request| request.command == CONFIG).unwrap();
        last.attributes
    };
    let config = |mode: u8, trunc_len: u32, queue_len: u32| {
        vec![
            (attr::ALERT_MODE, vec![mode]),
            (attr::TRUNC_LEN, trunc_len.to_ne_bytes().to_vec()),
            (attr::QUEUE_LEN, queue_len.to_ne_bytes().to_vec()),
        ]
    };
    assert_eq!(configured(&script), config(0, 111, 222));
    let packets = Reporting::Packets {
        trunc_len: 256,
        queue_len: 5000,
    };
    assert_eq!(monitoring.switch(packets), Ok(()));
    assert_eq!(configured(&script), config(1, 256, 5000));
    drop(monitoring);
    assert_restored(&script);
}

#[test]
fn monitoring_that_could_not_be_switched_is_over_and_restored() {
    let mut steps = [start(), undisturbed(Origins::Both)].concat();
    steps.extend([(STOP, ok()), (CONFIG, ok()), (START, errno(libc::EAGAIN))]);
    steps.extend([(CONFIG_GET, settings(0, 111, 222)), (CONFIG, ok())]);
    steps.push((CONFIG, ok()));
    let script = Script::new(steps);
    let (mut monitoring, _) = begin(&script, WANTED).unwrap();
    assert!(monitoring.switch(Reporting::Counts).is_err());
    drop(monitoring);
    assert_restored(&script);
}

/// Checks once and ends. Returns the interference that the check found, and the outcome of the end.
fn disturbed(inspection: Vec<ScriptStep>, end: Vec<ScriptStep>) -> (Interference, Ended, Script) {
    let script = Script::new([start(), inspection, end].concat());
    let (mut monitoring, _) = begin(&script, WANTED).unwrap();
    let seen = monitoring.inspect().interference.unwrap();
    let ended = monitoring.end().clone();
    drop(monitoring);
    assert!(script.is_over());
    assert_eq!(ended.interference, Some(seen));
    (seen, ended, script)
}

#[test]
fn an_unchanged_monitor_is_no_interference() {
    let steps = [start(), undisturbed(Origins::Both), end()].concat();
    let (mut monitoring, _) = begin(&Script::new(steps), WANTED).unwrap();
    let inspection = Inspection {
        is_on: Some(true),
        mode: AlertMode::Packet,
        interference: None,
    };
    assert_eq!(monitoring.inspect(), inspection);
}

#[test]
fn without_privileges_no_interference_is_detected() {
    let refused = || errno(libc::EPERM);
    let inspection = vec![configured(), (CONFIG, refused())];
    let end = vec![(STOP, refused()), (CONFIG, refused())];
    let steps = [start(), inspection.clone(), inspection, end].concat();
    let (mut monitoring, _) = begin(&Script::new(steps), WANTED).unwrap();
    assert_eq!(monitoring.inspect().interference, None);
    let ended = monitoring.end();
    assert!(ended.stop.is_some() && ended.restore.is_some());
}

#[test]
fn monitoring_stopped_by_another_is_seen_and_not_stopped_again() {
    let inspection = vec![configured(), (CONFIG, ok()), configured()];
    let end = vec![configured(), (CONFIG, ok()), (CONFIG, ok())];
    let (seen, ended, script) = disturbed(inspection, end);
    assert_eq!(seen, Interference::Stopped);
    assert_eq!((ended.stop, ended.restore), (None, None));
    assert_restored(&script);
    assert!(!script.commands().contains(&STOP));
}

/// The C tool's STOP is for software drops alone, and an empty CONFIG tells only that some origin
/// is monitored.
#[test]
fn one_origin_stopped_by_another_is_seen() {
    // The START of the check is stopped at once, and the other origin afterwards.
    let inspection = vec![
        configured(),
        (CONFIG, errno(libc::EBUSY)),
        (START, ok()),
        (STOP, ok()),
        configured(),
        (STOP, ok()),
    ];
    let end = vec![configured(), (CONFIG, ok()), (CONFIG, ok())];
    let (seen, _, script) = disturbed(inspection, end);
    assert_eq!(seen, Interference::Stopped);
    assert_restored(&script);
}

/// A check that falls between the STOP and the CONFIG of another process waits for the CONFIG.
#[test]
fn settings_that_follow_a_stop_are_left_to_their_process() {
    let inspection = vec![
        configured(),
        (CONFIG, ok()),
        (CONFIG_GET, settings(0, 88, 555)),
    ];
    let (seen, ended, script) = disturbed(inspection, Vec::new());
    assert!(matches!(seen, Interference::Reconfigured(_)), "{seen}");
    assert_eq!((ended.stop, ended.restore), (None, None));
    assert!(!script.commands().contains(&STOP));
}

#[test]
fn other_settings_mean_that_another_process_monitors() {
    for found in [(0, 0, 5000), (1, 96, 5000), (1, 0, 1000)] {
        let (mode, trunc_len, queue_len) = found;
        let inspection = vec![(CONFIG_GET, settings(mode, trunc_len, queue_len))];
        let (seen, ended, _) = disturbed(inspection, Vec::new());
        let found = Settings {
            mode: mode.into(),
            trunc_len,
            queue_len,
        };
        assert_eq!(seen, Interference::Reconfigured(found));
        assert_eq!((ended.stop, ended.restore), (None, None));
    }
}

#[test]
fn an_unloaded_module_leaves_nothing_to_do() {
    let inspection = vec![(CONFIG_GET, errno(libc::ENOENT))];
    let (seen, ended, _) = disturbed(inspection, Vec::new());
    assert_eq!(seen, Interference::Unloaded);
    assert_eq!((ended.stop, ended.restore), (None, None));
}

#[test]
fn a_passive_listener_sees_its_module_go() {
    let script = Script::new(vec![
        (CONFIG_GET, settings(1, 0, 0)),
        (STATS_GET, statistics(0, 0)),
        (CONFIG_GET, settings(0, 0, 1)),
        (CONFIG, ok()),
        (CONFIG_GET, errno(libc::ENOENT)),
    ]);
    let listening = Monitoring::listen(Control::new(script.clone()), || Ok(()));
    let (mut monitoring, (), _) = listening.unwrap();
    let inspection = monitoring.inspect();
    assert_eq!(
        inspection.interference, None,
        "others may do what they like"
    );
    assert_eq!(
        (inspection.is_on, inspection.mode),
        (Some(false), AlertMode::Summary)
    );
    let ended = monitoring.end();
    assert_eq!(ended.interference, Some(Interference::Unloaded));
}

#[test]
fn interference_is_detected_at_the_end_too() {
    let mut steps = start();
    steps.extend([configured(), (CONFIG, ok()), configured(), (CONFIG, ok())]);
    let (mut monitoring, _) = begin(&Script::new(steps), WANTED).unwrap();
    let ended = monitoring.end();
    assert_eq!(ended.interference, Some(Interference::Stopped));
}

/// Monitoring that is on again after a STOP is another process's, even with the same settings.
#[test]
fn monitoring_that_another_started_again_is_left_on() {
    let inspection = vec![configured(), (CONFIG, ok()), configured()];
    let busy = || (CONFIG, errno(libc::EBUSY));
    let (_, ended, script) = disturbed(inspection, vec![configured(), busy(), busy()]);
    assert!(
        ended
            .restore
            .unwrap()
            .hint()
            .unwrap()
            .contains("left as they are")
    );
    assert!(!script.commands().contains(&STOP));
}
