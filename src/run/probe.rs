//! Checks periodically what other processes did to the monitoring: the kernel does not report it.

use std::time::{Duration, Instant};

use super::diagnostics::{hint, say};
use crate::net_dm::control::{AlertMode, Conversation};
use crate::net_dm::interference::Interference;
use crate::net_dm::monitoring::Monitoring;

/// How often to look, whether drops arrive or not.
const INTERVAL: Duration = Duration::from_secs(2);

/// The next time to look, and what was told last.
pub struct Probe {
    is_passive: bool,
    next: Instant,
    was_on: bool,
    mode: Option<AlertMode>,
}

impl Probe {
    /// Looks for the first time after an interval. `is_on` is what was told already.
    pub fn new(is_passive: bool, is_on: bool) -> Self {
        Self {
            is_passive,
            next: Instant::now() + INTERVAL,
            was_on: is_on,
            mode: None,
        }
    }

    /// Alerts came, so monitoring was on since the last look.
    pub fn saw_alerts(&mut self) {
        self.was_on = true;
    }

    /// How long to wait at most.
    pub fn timeout(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Looks. What is returned ends the run; a passive listener outlives all but the module.
    pub fn look(&mut self, monitoring: &mut Monitoring<impl Conversation>) -> Option<Interference> {
        self.next = Instant::now() + INTERVAL;
        let look = monitoring.look();
        if look.interference.is_some() || !self.is_passive {
            return look.interference;
        }
        let is_on = look.is_on.unwrap_or(self.was_on);
        if self.was_on && !is_on {
            say("monitoring is off: no drops arrive until a program starts it");
        }
        self.was_on = is_on;
        let before = self.mode.replace(look.mode);
        if before == Some(AlertMode::Packet) && look.mode == AlertMode::Summary {
            say("the kernel was switched to summary mode: it sends counts, no packets");
            hint("`dwdump --summary -p` shows them");
        }
        None
    }
}
