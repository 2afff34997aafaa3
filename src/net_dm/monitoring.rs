//! The life cycle of monitoring: one global switch without an owner, and settings that outlive
//! their setter. What was changed is put back, whichever way the run ends.

use super::control::{
    AlertMode, Control, ControlError, Conversation, Origins, Settings, Statistics,
};

/// What a capture asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which drops; `None` where the user did not say: both, or software alone on kernels that
    /// know no hardware drops.
    pub origins: Option<Origins>,
    /// What the kernel is to send.
    pub reporting: Reporting,
    /// What to do when monitoring is on already.
    pub when_busy: WhenBusy,
}

/// What the kernel sends of drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// Each packet.
    Packets {
        /// Bytes of each packet; 0 means all of it.
        trunc_len: u32,
        /// Packets that each CPU's queue holds.
        queue_len: u32,
    },
    /// Counts for each place, once a second: the cheapest.
    Counts,
}

impl Reporting {
    /// The settings; those that do not matter stay as they were.
    fn settings(self, remembered: Settings) -> Settings {
        match self {
            Self::Packets {
                trunc_len,
                queue_len,
            } => Settings {
                mode: AlertMode::Packet,
                trunc_len,
                queue_len,
            },
            Self::Counts => Settings {
                mode: AlertMode::Summary,
                ..remembered
            },
        }
    }
}

/// What to do when monitoring is on already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// Leave it alone.
    Refuse,
    /// Stop it, and start anew.
    TakeOver,
}

/// Monitoring as this process wants it, or listening along with somebody else's.
#[derive(Debug)]
pub struct Monitoring<C: Conversation> {
    control: Control<C>,
    state: State,
    remembered: Settings,
    baseline: Statistics,
    ended: Ended,
}

/// What there is to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: somebody else's monitoring.
    Passive,
    /// The settings.
    Configured,
    /// The settings, behind a STOP.
    Started(Origins),
    /// Nothing any more.
    Ended,
}

/// What happened at the start that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// What is monitored.
    pub origins: Origins,
    /// Hardware drops were not asked for, and the kernel knows none.
    pub without_hardware: bool,
    /// Somebody else's monitoring was stopped.
    pub took_over: bool,
}

/// Why a capture could not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// Monitoring is on, and sends this.
    #[error(
        "drops are being monitored already, by another program or left on by one that was killed"
    )]
    Busy(AlertMode),
    /// The kernel refused a request.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl BeginError {
    /// One line that says what to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Busy(_) => Some(
                "`dwdump -p` listens along, `--force` takes over (and stops the other), `dwdump -e` stops it",
            ),
            Self::Control(error) => error.hint(),
        }
    }
}

/// What went wrong at the end. The file is not affected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// STOP was refused: monitoring may still be on.
    pub stop: Option<ControlError>,
    /// The settings of before could not be put back.
    pub restore: Option<ControlError>,
}

impl<C: Conversation> Monitoring<C> {
    /// CONFIG_GET, probe, join, CONFIG, START. `join` makes the listener, before anything can be
    /// missed; when a later step fails, the earlier ones are undone.
    pub fn begin<L>(
        mut control: Control<C>,
        wanted: Wanted,
        join: impl FnOnce() -> Result<L, ControlError>,
    ) -> Result<(Self, L, Started), BeginError> {
        let remembered = control.settings()?;
        let is_busy = control.is_monitoring()?;
        if is_busy && wanted.when_busy == WhenBusy::Refuse {
            return Err(BeginError::Busy(remembered.mode));
        }
        let listener = join()?;
        if is_busy {
            control.stop(Origins::Both)?;
        }
        control.configure(wanted.reporting.settings(remembered))?;
        let mut monitoring = Self {
            control,
            state: State::Configured,
            remembered,
            baseline: Statistics::default(),
            ended: Ended::default(),
        };
        monitoring.baseline = monitoring.control.statistics()?;
        let (origins, without_hardware) = monitoring.start(wanted.origins)?;
        Ok((
            monitoring,
            listener,
            Started {
                origins,
                without_hardware,
                took_over: is_busy,
            },
        ))
    }

    fn start(&mut self, origins: Option<Origins>) -> Result<(Origins, bool), ControlError> {
        let first = origins.unwrap_or(Origins::Both);
        let started = match self.control.start(first) {
            Ok(()) => (first, false),
            // Software monitoring was rolled back with it.
            Err(error) if origins.is_none() && error.refusal.errno == libc::EOPNOTSUPP => {
                self.control.start(Origins::Software)?;
                (Origins::Software, true)
            }
            Err(error) => return Err(error),
        };
        self.state = State::Started(started.0);
        Ok(started)
    }

    /// CONFIG_GET and join: nothing is changed, and nothing will be. Also gives the settings.
    pub fn listen<L>(
        mut control: Control<C>,
        join: impl FnOnce() -> Result<L, ControlError>,
    ) -> Result<(Self, L, Settings), ControlError> {
        let remembered = control.settings()?;
        let listener = join()?;
        let baseline = control.statistics()?;
        Ok((
            Self {
                control,
                state: State::Passive,
                remembered,
                baseline,
                ended: Ended::default(),
            },
            listener,
            remembered,
        ))
    }

    /// Whether monitoring is on; `None` where this process may not ask (CAP_NET_ADMIN).
    pub fn is_on(&mut self) -> Option<bool> {
        self.control.is_monitoring().ok()
    }

    /// Has the kernel send something else from now on: STOP, CONFIG, START. What it counted but did
    /// not send yet is lost, up to one second. Somebody else's monitoring stays as it is.
    pub fn switch(&mut self, reporting: Reporting) -> Result<(), ControlError> {
        let State::Started(origins) = self.state else {
            return Ok(());
        };
        self.control.stop(origins)?;
        self.state = State::Configured;
        self.control
            .configure(reporting.settings(self.remembered))?;
        self.start(Some(origins)).map(|_| ())
    }

    /// CONFIG_GET: the settings as they are now.
    pub fn settings(&mut self) -> Result<Settings, ControlError> {
        self.control.settings()
    }

    /// Alerts lost in the kernel's queues since the start.
    pub fn lost(&mut self) -> Result<u64, ControlError> {
        let now = self.control.statistics()?;
        Ok(now.total().saturating_sub(self.baseline.total()))
    }

    /// STOP and CONFIG with the settings of before, once: further calls only give the result
    /// again. When it returns, every alert that will ever come waits in the listener's socket.
    pub fn end(&mut self) -> &Ended {
        if let State::Started(origins) = self.state {
            self.ended.stop = self.control.stop(origins).err();
        }
        if matches!(self.state, State::Started(_) | State::Configured) {
            self.ended.restore = self.control.restore(self.remembered).err();
        }
        self.state = State::Ended;
        &self.ended
    }
}

/// The last resort: an error on the way out, or a panic.
impl<C: Conversation> Drop for Monitoring<C> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::attr;
    use crate::net_dm::cmd::{CONFIG, CONFIG_GET, START, STATS_GET, STOP};
    use crate::net_dm::control::{Operation, Refusal};
    use crate::net_dm::script::{Script, Step, errno, ok, settings, statistics};

    const WANTED: Wanted = Wanted {
        origins: None,
        reporting: Reporting::Packets {
            trunc_len: 0,
            queue_len: 5000,
        },
        when_busy: WhenBusy::Refuse,
    };

    /// The steps of an undisturbed start.
    fn start() -> Vec<Step> {
        vec![
            (CONFIG_GET, settings(0, 111, 222)),
            (CONFIG, ok()),
            (CONFIG, ok()),
            (STATS_GET, statistics(10, 1)),
            (START, ok()),
        ]
    }

    fn end() -> Vec<Step> {
        vec![(STOP, ok()), (CONFIG, ok())]
    }

    fn begin(script: &Script, wanted: Wanted) -> Result<(Monitoring<Script>, Started), BeginError> {
        Monitoring::begin(Control::new(script.clone()), wanted, || Ok(()))
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
    fn the_settings_of_before_are_put_back() {
        let script = Script::new([start(), end()].concat());
        let (mut monitoring, started) = begin(&script, WANTED).unwrap();
        assert_eq!(
            started,
            Started {
                origins: Origins::Both,
                without_hardware: false,
                took_over: false
            }
        );
        assert_eq!(*monitoring.end(), Ended::default());
        assert_restored(&script);
        // Once is enough: another request would not be in the script.
        assert_eq!(*monitoring.end(), Ended::default());
    }

    #[test]
    fn a_panic_puts_the_settings_back() {
        let script = Script::new([start(), end()].concat());
        let shared = script.clone();
        let result = std::thread::spawn(move || {
            let _monitoring = begin(&shared, WANTED).unwrap();
            panic!("on purpose, while monitoring");
        })
        .join();
        assert!(result.is_err());
        assert_eq!(
            script.commands(),
            [CONFIG_GET, CONFIG, CONFIG, STATS_GET, START, STOP, CONFIG]
        );
        assert_restored(&script);
    }

    #[test]
    fn busy_is_refused_and_nothing_is_touched() {
        let script = Script::new(vec![
            (CONFIG_GET, settings(1, 0, 1000)),
            (CONFIG, errno(libc::EBUSY)),
        ]);
        assert_eq!(
            begin(&script, WANTED).unwrap_err(),
            BeginError::Busy(AlertMode::Packet)
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
        steps.extend(end());
        let script = Script::new(steps);
        let (monitoring, started) = begin(&script, WANTED).unwrap();
        assert_eq!(
            started,
            Started {
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

    /// Races and kernels that no machine at hand has: the message, and what is undone.
    #[test]
    fn a_failed_start_is_undone() {
        #[track_caller]
        fn check(origins: Option<Origins>, errno_of_start: i32, message: &str) {
            let mut steps = start();
            steps[4] = (START, errno(errno_of_start));
            steps.push((CONFIG, ok()));
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
    fn a_kernel_before_5_4_is_told_apart() {
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
        let result = Monitoring::begin(Control::new(script.clone()), WANTED, || {
            Err::<(), _>(refused.clone())
        });
        assert_eq!(result.unwrap_err(), BeginError::Control(refused));
        assert_eq!(script.commands(), [CONFIG_GET, CONFIG]);
    }

    #[test]
    fn a_race_at_the_end_is_reported_not_fatal() {
        let mut steps = start();
        steps.extend([(STOP, ok()), (CONFIG, errno(libc::EBUSY))]);
        let (mut monitoring, _) = begin(&Script::new(steps), WANTED).unwrap();
        let ended = monitoring.end();
        assert_eq!(ended.stop, None);
        let restore = ended.restore.as_ref().unwrap();
        assert!(restore.hint().unwrap().contains("left to them"));
    }

    #[test]
    fn a_passive_listener_changes_nothing() {
        let script = Script::new(vec![
            (CONFIG_GET, settings(0, 0, 0)),
            (STATS_GET, statistics(5, 0)),
            (STATS_GET, statistics(7, 1)),
        ]);
        let (mut monitoring, (), settings) =
            Monitoring::listen(Control::new(script.clone()), || Ok(())).unwrap();
        assert_eq!(settings.mode, AlertMode::Summary);
        assert_eq!(monitoring.lost(), Ok(3));
        drop(monitoring);
        assert_eq!(script.commands(), [CONFIG_GET, STATS_GET, STATS_GET]);
    }

    #[test]
    fn counts_leave_the_other_settings_alone_and_can_be_switched_to_packets() {
        let switch = vec![(STOP, ok()), (CONFIG, ok()), (START, ok())];
        let script = Script::new([start(), switch, end()].concat());
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
        let mut steps = start();
        steps.extend([(STOP, ok()), (CONFIG, ok())]);
        steps.extend([(START, errno(libc::EAGAIN)), (CONFIG, ok())]);
        let script = Script::new(steps);
        let (mut monitoring, _) = begin(&script, WANTED).unwrap();
        assert!(monitoring.switch(Reporting::Counts).is_err());
        drop(monitoring);
        assert_restored(&script);
    }

    #[test]
    fn monitoring_stopped_by_another_is_seen() {
        let mut steps = start();
        steps.extend([
            (CONFIG, errno(libc::EBUSY)),
            (CONFIG, ok()),
            (CONFIG, errno(libc::EPERM)),
        ]);
        steps.extend(end());
        let (mut monitoring, _) = begin(&Script::new(steps), WANTED).unwrap();
        assert_eq!(monitoring.is_on(), Some(true));
        assert_eq!(monitoring.is_on(), Some(false));
        assert_eq!(monitoring.is_on(), None);
    }
}
