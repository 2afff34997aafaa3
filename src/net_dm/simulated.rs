//! Simulates the kernel's drop monitor for tests with several processes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::control::{AnswerBytes, Conversation, Refusal, Request, Settings};
use super::script::{errno, ok, settings, statistics};
use super::{attr, cmd};

/// A simulated drop monitor. Clones talk to the same one.
#[derive(Clone, Debug)]
pub struct SimulatedMonitor(Arc<Mutex<SimulatedState>>);

#[derive(Debug)]
struct SimulatedState {
    settings: Settings,
    software: bool,
    hardware: bool,
}

impl SimulatedMonitor {
    /// Returns a drop monitor that is off.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Mutex::new(SimulatedState {
            settings,
            software: false,
            hardware: false,
        })))
    }

    /// Returns the settings.
    pub fn settings(&self) -> Settings {
        self.0.lock().unwrap().settings
    }

    /// Returns whether software drops and hardware drops are monitored.
    pub fn is_on(&self) -> (bool, bool) {
        let state = self.0.lock().unwrap();
        (state.software, state.hardware)
    }
}

impl Conversation for SimulatedMonitor {
    fn request(&mut self, request: &Request) -> Result<AnswerBytes, Refusal> {
        let mut state = self.0.lock().unwrap();
        let value = |kind| {
            let mut attributes = request.attributes.iter();
            attributes.find(|(other, _)| *other == kind)
        };
        let number = |kind| value(kind).map(|(_, value)| value.as_slice().try_into().unwrap());
        let hardware = value(attr::HW_DROPS).is_some();
        // Without a flag, the command is for software drops alone.
        let software = value(attr::SW_DROPS).is_some() || !hardware;
        match request.command {
            cmd::CONFIG_GET => {
                let Settings {
                    mode,
                    trunc_len,
                    queue_len,
                } = state.settings;
                settings(mode.into(), trunc_len, queue_len)
            }
            cmd::STATS_GET => statistics(0, 0),
            cmd::CONFIG if state.software || state.hardware => errno(libc::EBUSY),
            cmd::CONFIG => {
                if let Some((_, mode)) = value(attr::ALERT_MODE) {
                    state.settings.mode = mode[0].into();
                }
                if let Some(bytes) = number(attr::TRUNC_LEN) {
                    state.settings.trunc_len = u32::from_ne_bytes(bytes);
                }
                if let Some(bytes) = number(attr::QUEUE_LEN) {
                    state.settings.queue_len = u32::from_ne_bytes(bytes);
                }
                ok()
            }
            cmd::START if software && state.software || hardware && state.hardware => {
                errno(libc::EAGAIN)
            }
            cmd::START | cmd::STOP => {
                let is_on = request.command == cmd::START;
                state.software = if software { is_on } else { state.software };
                state.hardware = if hardware { is_on } else { state.hardware };
                ok()
            }
            other => panic!("unknown command {other}"),
        }
    }

    fn wait(&mut self, _: Duration) {}
}
