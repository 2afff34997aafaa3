//! The pause between two searches for what was not found.

use std::time::{Duration, Instant};

/// The length of the pause: drops that keep asking cost at most one search in it.
const PAUSE: Duration = Duration::from_secs(1);

/// The time of the next search.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchPause {
    /// `None` before the first search.
    end: Option<Instant>,
}

impl SearchPause {
    /// Returns whether a search may begin, and begins the next pause if it may.
    pub fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let is_over = self.end.is_none_or(|end| now >= end);
        if is_over {
            self.end = Some(now + PAUSE);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_search_has_to_wait() {
        let mut pause = SearchPause::default();
        assert!(pause.is_over());
        assert!(!pause.is_over());
        pause.end = Some(Instant::now());
        assert!(pause.is_over());
        assert!(!pause.is_over());
    }
}
