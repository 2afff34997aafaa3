//! Starts, changes and stops the monitoring. It is one global switch without an owner, and its
//! settings outlive the process that set them. The former settings are restored whichever way the
//! run ends, unless another process has taken the drop monitor over by then.

use std::time::Duration;

use super::control::{
    AlertMode, Control, ControlError, Conversation, Operation, Origins, Refusal, Settings,
    Statistics,
};
use super::interference::{Disturbance, Interference};
use super::ownership::{Claim, Contended, Locked, OwnershipFile};
use crate::record::Timestamp;

mod begin_error;
#[cfg(test)]
mod several_processes;
#[cfg(test)]
mod tests;

pub use begin_error::{BeginError, Holder};

/// The time that another process has between its STOP and its CONFIG before the settings are put back.
const TIME_TO_CONFIGURE: Duration = Duration::from_millis(500);

/// The monitoring that a capture asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The origins to monitor. With `None`, where the user named none: both, or software alone on
    /// kernels that do not support hardware drops.
    pub origins: Option<Origins>,
    /// The reports that the kernel is to send.
    pub reporting: Reporting,
    /// The action if monitoring is already on.
    pub when_busy: WhenBusy,
}

/// The kind of reports that the kernel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporting {
    /// Every packet.
    Packets {
        /// Bytes of each packet; 0 means all of it.
        trunc_len: u32,
        /// Packets that each CPU's queue holds.
        queue_len: u32,
    },
    /// Counts for each location, once a second: the cheapest kind.
    Counts,
}

impl Reporting {
    /// Returns the settings for these reports. Those that have no effect on them keep their values
    /// of `remembered`.
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

/// The action if monitoring is already on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// Refuse to start, and leave it as it is.
    Refuse,
    /// Stop it and start it again with other settings.
    TakeOver,
}

/// Monitoring that this process started, or another process's that it listens to.
#[derive(Debug)]
pub struct Monitoring<C: Conversation> {
    control: Control<C>,
    ownership: OwnershipFile,
    /// The generation of this process's claim; `None` where no claim could be recorded.
    generation: Option<u64>,
    state: MonitoringState,
    /// The settings to restore.
    original: Settings,
    /// The settings that this process made. A passive listener has those that it found.
    current: Settings,
    baseline: Statistics,
    ended: Ended,
    /// The last time at which nothing had disturbed the monitoring.
    seen_on: Timestamp,
}

/// The part of the monitoring that has to be undone at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MonitoringState {
    /// Nothing, because another process started the monitoring.
    Passive,
    /// The settings were changed; monitoring is off.
    Configured,
    /// The settings were changed and monitoring was started: STOP comes before the settings are
    /// restored.
    Started(Origins),
    /// Nothing, because everything was undone or another process has taken over.
    Ended,
}

/// The outcome of the start, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartReport {
    /// The origins that are monitored.
    pub origins: Origins,
    /// The user named no origins, and the kernel does not support hardware drops.
    pub without_hardware: bool,
    /// Another process's monitoring was stopped.
    pub took_over: bool,
}

/// The state of the drop monitor, as an inspection found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Monitoring is on; `None` where this process may not ask (that needs CAP_NET_ADMIN).
    pub is_on: Option<bool>,
    /// The kind of reports that the kernel sends.
    pub mode: AlertMode,
    /// Another process's interference, found by this inspection or an earlier one.
    pub interference: Option<Interference>,
}

/// The outcome of ending the monitoring. A failure here does not affect the capture file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The refusal of STOP: monitoring may still be on.
    pub stop: Option<ControlError>,
    /// The failure to restore the original settings.
    pub restore: Option<ControlError>,
    /// Another process's interference before the end.
    pub interference: Option<Interference>,
}

impl<C: Conversation> Monitoring<C> {
    /// Starts the monitoring: CONFIG_GET, probe, join, CONFIG, START. `join` creates the listener
    /// before START, so that no alert is missed. If a later step fails, the earlier ones are
    /// undone.
    pub fn begin<L>(
        mut control: Control<C>,
        ownership: &OwnershipFile,
        wanted: Wanted,
        join: impl FnOnce() -> Result<L, ControlError>,
    ) -> Result<(Self, L, StartReport), BeginError> {
        // Held until monitoring is on: if two processes started at once, each would take the
        // other's settings for the original ones.
        let mut locked = ownership.lock();
        let found = control.settings()?;
        let claim = locked.as_mut().and_then(Locked::claim);
        let claim = claim.filter(|claim| claim.made(found));
        let is_busy = control.is_monitoring()?;
        // What a killed dwdump left on is nobody's.
        let is_used = is_busy && claim.as_ref().is_none_or(|claim| claim.owner.is_alive());
        if is_used && wanted.when_busy == WhenBusy::Refuse {
            return Err(BeginError::Busy(found.mode, Holder::of(claim.as_ref())));
        }
        let listener = join()?;
        if is_busy {
            control.stop(Origins::Both)?;
        }
        let original = claim.as_ref().map_or(found, |claim| claim.original);
        let current = wanted.reporting.settings(original);
        // The claim is recorded before CONFIG, together with the settings that apply until then: if
        // this process is killed in between, the next one still finds the original settings.
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
            state: MonitoringState::Configured,
            original,
            current,
            baseline: Statistics::default(),
            ended: Ended::default(),
            seen_on: Timestamp::now(),
        };
        let started = monitoring.start_counting(wanted.origins);
        // `monitoring` is dropped if there is an error, and takes the lock itself.
        drop(locked);
        let (origins, without_hardware) = started?;
        Ok((
            monitoring,
            listener,
            StartReport {
                origins,
                without_hardware,
                took_over: is_used,
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
            // The kernel has undone the start of software monitoring as well.
            Err(error) if origins.is_none() && error.refusal.errno == libc::EOPNOTSUPP => {
                self.control.start(Origins::Software)?;
                (Origins::Software, true)
            }
            Err(error) => return Err(error),
        };
        self.state = MonitoringState::Started(started.0);
        self.seen_on = Timestamp::now();
        Ok(started)
    }

    /// Listens to another process's monitoring: CONFIG_GET and join. Changes nothing, now or at the
    /// end. Also returns the settings.
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
                state: MonitoringState::Passive,
                original: found,
                current: found,
                baseline,
                ended: Ended::default(),
                seen_on: Timestamp::now(),
            },
            listener,
            found,
        ))
    }

    /// Returns whether monitoring is on; `None` where this process may not ask (that needs
    /// CAP_NET_ADMIN).
    pub fn is_on(&mut self) -> Option<bool> {
        self.control.is_monitoring().ok()
    }

    /// Checks that the drop monitor is as this process left it. A STOP and a START with the same
    /// settings between two checks cannot be detected.
    pub fn inspect(&mut self) -> Inspection {
        let ownership = self.ownership.clone();
        match ownership.try_lock() {
            Ok(mut locked) => self.inspect_locked(locked.as_mut()),
            // Another dwdump is starting or ending monitoring. The next check sees the result.
            Err(Contended) => self.last_inspection(),
        }
    }

    /// Returns the state of the last check.
    fn last_inspection(&self) -> Inspection {
        Inspection {
            is_on: None,
            mode: self.current.mode,
            interference: self.ended.interference,
        }
    }

    fn inspect_locked(&mut self, locked: Option<&mut Locked<'_>>) -> Inspection {
        let mut inspection = self.last_inspection();
        if self.state == MonitoringState::Ended {
            return inspection;
        }
        // What happens while this looks is found by the next look.
        let now = Timestamp::now();
        let has_other_owner = match (self.generation, locked) {
            (Some(generation), Some(locked)) => locked.has_other_owner(generation),
            _ => false,
        };
        if has_other_owner {
            self.hand_over(Interference::TakenOver);
            return self.last_inspection();
        }
        match self.control.settings() {
            Ok(found) => {
                inspection.mode = found.mode;
                if self.is_reconfigured(found) {
                    return self.last_inspection();
                }
            }
            Err(error) if error.is_unloaded() => {
                self.hand_over(Interference::Unloaded);
                return self.last_inspection();
            }
            // The failure says nothing about the monitoring.
            Err(_) => {}
        }
        inspection.is_on = self.is_on();
        if let MonitoringState::Started(origins) = self.state
            && self.is_stopped(origins, inspection.is_on)
        {
            // Whoever stopped it may be about to start it with settings of its own, which are not to be replaced.
            self.control.wait(TIME_TO_CONFIGURE);
            if let Ok(found) = self.control.settings()
                && self.is_reconfigured(found)
            {
                return self.last_inspection();
            }
            if inspection.is_on == Some(true) {
                // Only one of the two origins was stopped.
                self.ended.stop = self.control.stop(origins).err();
            }
            // The settings still have to be restored.
            self.state = MonitoringState::Configured;
            self.ended.interference.get_or_insert(Interference::Stopped);
            inspection.interference = self.ended.interference;
        }
        if self.ended.interference.is_none() {
            self.seen_on = now;
        }
        inspection
    }

    /// Returns whether another process changed the settings, to which the drop monitor then belongs.
    fn is_reconfigured(&mut self, found: Settings) -> bool {
        let is_of_another = self.state != MonitoringState::Passive && found != self.current;
        if is_of_another {
            self.hand_over(Interference::Reconfigured(found));
        }
        is_of_another
    }

    /// Returns whether another process stopped some or all of the origins that this one started.
    fn is_stopped(&mut self, origins: Origins, is_on: Option<bool>) -> bool {
        match is_on {
            // Without the privilege, this process can neither ask nor stop.
            None => false,
            Some(false) => true,
            Some(true) => origins
                .each()
                .iter()
                .any(|origin| self.control.is_monitoring_origin(*origin) == Ok(false)),
        }
    }

    /// Notes that the drop monitor now belongs to another process, so that nothing is left to undo.
    fn hand_over(&mut self, interference: Interference) {
        self.state = MonitoringState::Ended;
        self.ended.interference.get_or_insert(interference);
    }

    /// Makes the kernel send another kind of reports: STOP, CONFIG, START. Counts that the kernel
    /// has not sent yet are lost, those of up to one second. Another process's monitoring stays as
    /// it is.
    pub fn switch(&mut self, reporting: Reporting) -> Result<(), ControlError> {
        let ownership = self.ownership.clone();
        let mut locked = ownership.lock();
        let inspection = self.inspect_locked(locked.as_mut());
        let MonitoringState::Started(origins) = self.state else {
            return match inspection.interference {
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
        self.state = MonitoringState::Configured;
        self.control.configure(wanted)?;
        self.current = wanted;
        self.start(Some(origins)).map(|_| ())
    }

    /// Returns the interference of another process, and from when on it was possible.
    pub fn disturbance(&self) -> Option<Disturbance> {
        let interference = self.ended.interference?;
        Some(Disturbance {
            interference,
            since: self.seen_on,
        })
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
    /// Afterwards the listener's socket receives no more alerts, unless another process continues
    /// to monitor.
    pub fn end(&mut self) -> &Ended {
        if self.state == MonitoringState::Ended {
            return &self.ended;
        }
        let ownership = self.ownership.clone();
        // Until the lock is released, no other dwdump starts or takes over.
        let mut locked = ownership.lock();
        self.inspect_locked(locked.as_mut());
        if let MonitoringState::Started(origins) = self.state {
            self.ended.stop = self.control.stop(origins).err();
        }
        if matches!(
            self.state,
            MonitoringState::Started(_) | MonitoringState::Configured
        ) {
            self.ended.restore = self.control.restore(self.original).err();
            if let (Some(locked), Some(_), None) =
                (&mut locked, self.generation, &self.ended.restore)
            {
                locked.give_up();
            }
        }
        self.state = MonitoringState::Ended;
        &self.ended
    }
}

/// Ends the monitoring when an error or a panic left it on.
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

/// Stops all monitoring, whichever process started it, and restores the settings that a killed
/// dwdump had changed. A running dwdump restores its own.
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
