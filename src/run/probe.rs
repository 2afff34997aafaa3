//! Checks periodically for interference of other processes with the monitoring, which the kernel
//! does not report.

use std::time::{Duration, Instant};

use super::diagnostics::{hint, say};
use crate::net_dm::control::{AlertMode, Conversation};
use crate::net_dm::interference::Interference;
use crate::net_dm::monitoring::Monitoring;

/// The time between two probes. A file that states from when on drops may be missing is off by this much and what
/// a busy machine adds, which together has to be less than two seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time of the next probe, and what was reported last.
pub struct Probe {
    is_passive: bool,
    next: Instant,
    was_on: bool,
    mode: Option<AlertMode>,
}

impl Probe {
    /// Schedules the first probe at once, for monitoring was started a while ago. `is_on` is what was reported
    /// already.
    pub fn new(is_passive: bool, is_on: bool) -> Self {
        Self {
            is_passive,
            next: Instant::now(),
            was_on: is_on,
            mode: None,
        }
    }

    /// Notes that alerts came, so that monitoring was on since the last probe.
    pub fn saw_alerts(&mut self) {
        self.was_on = true;
    }

    /// Returns the time until the next probe.
    pub fn timeout(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Returns whether it is time for a probe.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Skips a probe, because there is no monitoring that others could disturb.
    pub fn skip(&mut self) {
        self.next = Instant::now() + INTERVAL;
    }

    /// Probes the drop monitor. Returns the interference that ends the run; for a passive listener only
    /// the unloading of the module does.
    pub fn check(
        &mut self,
        monitoring: &mut Monitoring<impl Conversation>,
    ) -> Option<Interference> {
        self.next = Instant::now() + INTERVAL;
        let inspection = monitoring.inspect();
        if inspection.interference.is_some() || !self.is_passive {
            return inspection.interference;
        }
        let is_on = inspection.is_on.unwrap_or(self.was_on);
        if self.was_on && !is_on {
            say("monitoring is off: no drops arrive until a program starts it");
        }
        self.was_on = is_on;
        let before = self.mode.replace(inspection.mode);
        if before == Some(AlertMode::Packet) && inspection.mode == AlertMode::Summary {
            say("the kernel was switched to summary mode: it sends counts, no packets");
            hint("`dwdump --summary -p` shows them");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of the two seconds, for a busy machine takes some of them.
    #[test]
    fn a_probe_follows_within_a_second() {
        let mut probe = Probe::new(false, true);
        assert!(probe.is_due(Instant::now()), "the first is due at once");
        probe.skip();
        assert!(probe.timeout() <= Duration::from_secs(1));
    }
}
