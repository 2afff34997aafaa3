//! Starts, changes and stops the monitoring. It is one global switch without an owner, and its
//! settings outlive the process that set them. The former settings are restored whichever way the
//! run ends, unless another process has taken the drop monitor over by then.

use std::fmt;

use super::control::{
    AlertMode, Control, ControlError, Conversation, Operation, Origins, Refusal, Settings,
    Statistics,
};
use super::interference::Interference;
use super::ownership::{Claim, Contended, Locked, OwnershipFile};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod together;

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

/// Monitoring that this process started, or somebody else's that it listens to.
#[derive(Debug)]
pub struct Monitoring<C: Conversation> {
    control: Control<C>,
    ownership: OwnershipFile,
    /// Of this process's claim; `None` where none could be recorded.
    generation: Option<u64>,
    state: State,
    /// The settings to go back to.
    original: Settings,
    /// The settings that this process made; those that were found by a passive listener.
    current: Settings,
    baseline: Statistics,
    ended: Ended,
}

/// What has to be undone at the end.
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

/// What the user should know about the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartReport {
    /// The origins that are monitored.
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
    #[error("drops are already being monitored, {1}")]
    Busy(AlertMode, Holder),
    /// The kernel refused a request.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl BeginError {
    /// Returns a line that says what to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Busy(..) => Some(
                "`dwdump -p` listens along, `--force` takes over (and stops the other), `dwdump -e` stops it",
            ),
            Self::Control(error) => error.hint(),
        }
    }
}

/// Who turned monitoring on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A dwdump that runs, with this process number.
    Dwdump(u32),
    /// A dwdump that was killed.
    KilledDwdump,
    /// Nobody knows.
    Unknown,
}

impl Holder {
    fn of(claim: Option<&Claim>) -> Self {
        match claim {
            Some(claim) if claim.owner.is_alive() => Self::Dwdump(claim.owner.pid),
            Some(_) => Self::KilledDwdump,
            None => Self::Unknown,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dwdump(pid) => write!(f, "by another dwdump (process {pid})"),
            Self::KilledDwdump => f.write_str("left on by a dwdump that was killed"),
            Self::Unknown => f.write_str("by another program or left on by one that was killed"),
        }
    }
}

/// The state of the drop monitor, as an inspection found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Whether monitoring is on; `None` where this process may not ask (CAP_NET_ADMIN).
    pub is_on: Option<bool>,
    /// What the kernel sends.
    pub mode: AlertMode,
    /// What another process did, now or before.
    pub interference: Option<Interference>,
}

/// How the run ended for the drop monitor. The file is not affected by what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// STOP was refused: monitoring may still be on.
    pub stop: Option<ControlError>,
    /// The settings of before could not be put back.
    pub restore: Option<ControlError>,
    /// What another process did before the end.
    pub interference: Option<Interference>,
}

impl<C: Conversation> Monitoring<C> {
    /// CONFIG_GET, probe, join, CONFIG, START. `join` makes the listener, before anything can be
    /// missed; when a later step fails, the earlier ones are undone.
    pub fn begin<L>(
        mut control: Control<C>,
        ownership: &OwnershipFile,
        wanted: Wanted,
        join: impl FnOnce() -> Result<L, ControlError>,
    ) -> Result<(Self, L, StartReport), BeginError> {
        // Until monitoring is on: two that start at once would each take the other's settings for
        // the original ones.
        let mut locked = ownership.lock();
        let found = control.settings()?;
        let claim = locked.as_mut().and_then(Locked::claim);
        let claim = claim.filter(|claim| claim.made(found));
        let is_busy = control.is_monitoring()?;
        if is_busy && wanted.when_busy == WhenBusy::Refuse {
            return Err(BeginError::Busy(found.mode, Holder::of(claim.as_ref())));
        }
        let listener = join()?;
        if is_busy {
            control.stop(Origins::Both)?;
        }
        let original = claim.as_ref().map_or(found, |claim| claim.original);
        let current = wanted.reporting.settings(original);
        // Recorded before it is true, with what is true until then: killed in between, this
        // process leaves nothing that the next one would take for the original settings.
        let inherited = claim.is_some();
        let made = inherited.then_some(found).into_iter().chain([current]);
        let made = made.collect();
        let generation = locked
            .as_mut()
            .and_then(|locked| locked.take(original, made));
        if let Err(error) = control.configure(current) {
            if let Some(locked) = locked.as_mut().filter(|_| !inherited) {
                locked.give_up();
            }
            return Err(error.into());
        }
        let mut monitoring = Self {
            control,
            ownership: ownership.clone(),
            generation,
            state: State::Configured,
            original,
            current,
            baseline: Statistics::default(),
            ended: Ended::default(),
        };
        let started = monitoring.start_counting(wanted.origins);
        // Before an error ends the monitoring again, which takes the lock itself.
        drop(locked);
        let (origins, without_hardware) = started?;
        Ok((
            monitoring,
            listener,
            StartReport {
                origins,
                without_hardware,
                took_over: is_busy,
            },
        ))
    }

    fn start_counting(
        &mut self,
        origins: Option<Origins>,
    ) -> Result<(Origins, bool), ControlError> {
        self.baseline = self.control.statistics()?;
        self.start(origins)
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
        let found = control.settings()?;
        let listener = join()?;
        let baseline = control.statistics()?;
        Ok((
            Self {
                control,
                ownership: OwnershipFile::none(),
                generation: None,
                state: State::Passive,
                original: found,
                current: found,
                baseline,
                ended: Ended::default(),
            },
            listener,
            found,
        ))
    }

    /// Whether monitoring is on; `None` where this process may not ask (CAP_NET_ADMIN).
    pub fn is_on(&mut self) -> Option<bool> {
        self.control.is_monitoring().ok()
    }

    /// Looks whether the drop monitor is as this process left it. A STOP and a START since the last
    /// look, with the same settings, cannot be seen.
    pub fn look(&mut self) -> Inspection {
        let ownership = self.ownership.clone();
        match ownership.try_lock() {
            Ok(mut locked) => self.look_locked(locked.as_mut()),
            // What is seen in the midst of that says nothing; the next look will.
            Err(Contended) => self.known(),
        }
    }

    /// What is known without another look.
    fn known(&self) -> Inspection {
        Inspection {
            is_on: None,
            mode: self.current.mode,
            interference: self.ended.interference,
        }
    }

    fn look_locked(&mut self, locked: Option<&mut Locked<'_>>) -> Inspection {
        let mut look = self.known();
        if self.state == State::Ended {
            return look;
        }
        let is_passed_on = match (self.generation, locked) {
            (Some(generation), Some(locked)) => locked.is_passed_on(generation),
            _ => false,
        };
        if is_passed_on {
            self.lose(Interference::TakenOver);
            return self.known();
        }
        match self.control.settings() {
            Ok(found) => {
                look.mode = found.mode;
                if self.state != State::Passive && found != self.current {
                    self.lose(Interference::Reconfigured(found));
                    return self.known();
                }
            }
            Err(error) if error.is_unloaded() => {
                self.lose(Interference::Unloaded);
                return self.known();
            }
            // Nothing is known, which is no news.
            Err(_) => {}
        }
        look.is_on = self.is_on();
        if let State::Started(origins) = self.state
            && self.is_stopped(origins, look.is_on)
        {
            if look.is_on == Some(true) {
                // Software drops were stopped and hardware drops not, or the other way round.
                self.ended.stop = self.control.stop(origins).err();
            }
            // The settings are still to be put back.
            self.state = State::Configured;
            self.ended.interference.get_or_insert(Interference::Stopped);
            look.interference = self.ended.interference;
        }
        look
    }

    /// Whether somebody stopped what this process started, or a part of it.
    fn is_stopped(&mut self, origins: Origins, is_on: Option<bool>) -> bool {
        match is_on {
            // This process may neither ask nor stop.
            None => false,
            Some(false) => true,
            Some(true) => origins
                .each()
                .iter()
                .any(|origin| self.control.is_monitoring_origin(*origin) == Ok(false)),
        }
    }

    /// The drop monitor is somebody else's now: there is nothing to undo.
    fn lose(&mut self, interference: Interference) {
        self.state = State::Ended;
        self.ended.interference.get_or_insert(interference);
    }

    /// Has the kernel send something else from now on: STOP, CONFIG, START. What it counted but did
    /// not send yet is lost, up to one second. Somebody else's monitoring stays as it is.
    pub fn switch(&mut self, reporting: Reporting) -> Result<(), ControlError> {
        let ownership = self.ownership.clone();
        let mut locked = ownership.lock();
        let look = self.look_locked(locked.as_mut());
        let State::Started(origins) = self.state else {
            return match look.interference {
                None => Ok(()),
                Some(interference) => Err(ControlError {
                    operation: Operation::Configure,
                    refusal: Refusal {
                        errno: libc::EBUSY,
                        words: Some(interference.to_string().into()),
                    },
                }),
            };
        };
        let wanted = reporting.settings(self.original);
        if let (Some(locked), Some(_)) = (&mut locked, self.generation) {
            locked.add(wanted);
        }
        self.control.stop(origins)?;
        self.state = State::Configured;
        self.control.configure(wanted)?;
        self.current = wanted;
        self.start(Some(origins)).map(|_| ())
    }

    /// Returns the current settings (CONFIG_GET).
    pub fn settings(&mut self) -> Result<Settings, ControlError> {
        self.control.settings()
    }

    /// Returns the number of alerts lost in the kernel's queues since the start.
    pub fn lost(&mut self) -> Result<u64, ControlError> {
        let now = self.control.statistics()?;
        Ok(now.total().saturating_sub(self.baseline.total()))
    }

    /// Stops the monitoring and restores the settings, once; further calls return the same result.
    /// Afterwards no more alerts are sent to the listener's socket, unless somebody else goes on
    /// monitoring.
    pub fn end(&mut self) -> &Ended {
        if self.state == State::Ended {
            return &self.ended;
        }
        let ownership = self.ownership.clone();
        // Nobody starts or takes over before this process is done.
        let mut locked = ownership.lock();
        self.look_locked(locked.as_mut());
        if let State::Started(origins) = self.state {
            self.ended.stop = self.control.stop(origins).err();
        }
        if matches!(self.state, State::Started(_) | State::Configured) {
            self.ended.restore = self.control.restore(self.original).err();
            if let (Some(locked), Some(_), None) =
                (&mut locked, self.generation, &self.ended.restore)
            {
                locked.give_up();
            }
        }
        self.state = State::Ended;
        &self.ended
    }
}

/// Ends the monitoring where an error or a panic left it on.
impl<C: Conversation> Drop for Monitoring<C> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The result of stopping all monitoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoppedAll {
    /// Monitoring was on.
    pub was_on: bool,
    /// The settings that a killed dwdump had changed were put back.
    pub restored: bool,
}

/// Stops all monitoring, whoever started it, and puts back the settings that a killed dwdump
/// changed; one that runs does that itself.
pub fn stop_all(
    control: &mut Control<impl Conversation>,
    ownership: &OwnershipFile,
) -> Result<StoppedAll, ControlError> {
    let mut locked = ownership.lock();
    let was_on = control.is_monitoring()?;
    control.stop(Origins::Both)?;
    let mut restored = false;
    if let Some(locked) = &mut locked
        && let Some(claim) = locked.claim()
        && !claim.owner.is_alive()
    {
        if claim.made(control.settings()?) {
            control.restore(claim.original)?;
            restored = true;
        }
        locked.give_up();
    }
    Ok(StoppedAll { was_on, restored })
}
