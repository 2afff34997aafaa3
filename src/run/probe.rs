//! Whether monitoring is still on, asked now and then: another process's STOP is silent.

use std::time::{Duration, Instant};

use super::say;
use crate::net_dm::control::Conversation;
use crate::net_dm::monitoring::Monitoring;

/// While nothing arrives, how often to ask whether monitoring is still on.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// The next time to ask, and what was heard last.
pub struct Probe {
    is_passive: bool,
    /// `None` once this process turned out not to be allowed to ask.
    next: Option<Instant>,
    was_on: bool,
}

impl Probe {
    /// Asks for the first time after an interval.
    pub fn new(is_passive: bool) -> Self {
        Self {
            is_passive,
            next: Some(Instant::now() + PROBE_INTERVAL),
            was_on: true,
        }
    }

    /// How long to wait at most.
    pub fn timeout(&self) -> Option<Duration> {
        self.next
            .map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// Whether it is time to ask.
    pub fn is_due(&self) -> bool {
        self.next.is_some_and(|next| Instant::now() >= next)
    }

    /// An alert came: monitoring is on.
    pub fn postpone(&mut self) {
        self.next = self.next.map(|_| Instant::now() + PROBE_INTERVAL);
    }

    /// Whether the capture has to end. A passive listener goes on listening.
    pub fn ask(&mut self, monitoring: &mut Monitoring<impl Conversation>) -> bool {
        self.postpone();
        match monitoring.is_on() {
            None => self.next = None,
            Some(true) => self.was_on = true,
            Some(false) if !self.is_passive => return true,
            Some(false) => {
                if self.was_on {
                    say("monitoring is off: nothing arrives until somebody starts it");
                }
                self.was_on = false;
            }
        }
        false
    }
}
