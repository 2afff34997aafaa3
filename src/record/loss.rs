//! The drops that were lost on the way from the kernel, by place.

use std::ops::AddAssign;

/// The beginning of a comment on what was lost in a place.
const COMMENT: &str = "lost in ";
/// The names of the places.
const QUEUE: &str = "the kernel's queue";
const SOCKET: &str = "the socket buffer";
const PERF: &str = "the perf buffers";
const INTERRUPTS: &str = "interrupts";

/// Drops that were lost before dwdump received them. No other counter includes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// Lost in the kernel's per-CPU queue (`NET_DM_ATTR_STATS_DROPPED`, software and hardware).
    pub queue: u64,
    /// Lost in the socket's receive buffer.
    pub socket: u64,
    /// Lost with eBPF: the perf buffers were full, or the programs could not be started.
    pub perf: u64,
    /// Lost while eBPF programs counted: in an interrupt, at which no program could be started.
    pub interrupts: u64,
}

impl Loss {
    /// Returns all that was lost.
    pub fn sum(self) -> u64 {
        let Self {
            queue,
            socket,
            perf,
            interrupts,
        } = self;
        let lost = [queue, socket, perf, interrupts];
        lost.into_iter().fold(0, u64::saturating_add)
    }

    /// Returns the places with what was lost in each; of those that only eBPF has, where something was.
    pub(crate) fn places(self) -> impl Iterator<Item = (&'static str, u64)> {
        let of_ebpf = [(PERF, self.perf), (INTERRUPTS, self.interrupts)];
        let of_ebpf = of_ebpf.into_iter().filter(|(_, lost)| *lost > 0);
        [(QUEUE, self.queue), (SOCKET, self.socket)]
            .into_iter()
            .chain(of_ebpf)
    }

    /// Returns the comments of a file that say what was lost in each place.
    pub(crate) fn comments(self) -> impl Iterator<Item = String> {
        let places = self.places();
        places.map(|(place, lost)| format!("{COMMENT}{place}: {lost}"))
    }

    /// Returns what one of those comments says; `None` where it is another comment.
    pub(crate) fn of_comment(comment: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(comment).ok()?.strip_prefix(COMMENT)?;
        let (place, number) = text.rsplit_once(": ")?;
        let mut loss = Self::default();
        let count = match place {
            QUEUE => &mut loss.queue,
            SOCKET => &mut loss.socket,
            PERF => &mut loss.perf,
            INTERRUPTS => &mut loss.interrupts,
            _ => return None,
        };
        *count = number.parse().ok()?;
        Some(loss)
    }

    /// Returns a loss of which the whole and the queue's part are known, and of the rest what comments say.
    pub(crate) fn of_numbers(all: u64, queue: u64, said: Self) -> Self {
        let rest = all.saturating_sub(queue);
        let perf = said.perf.min(rest);
        let interrupts = said.interrupts.min(rest - perf);
        Self {
            queue,
            socket: rest - perf - interrupts,
            perf,
            interrupts,
        }
    }

    /// Returns what was lost after `before`, an earlier state of the same counters.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            queue: self.queue.saturating_sub(before.queue),
            socket: self.socket.saturating_sub(before.socket),
            perf: self.perf.saturating_sub(before.perf),
            interrupts: self.interrupts.saturating_sub(before.interrupts),
        }
    }
}

impl AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        let Self {
            queue,
            socket,
            perf,
            interrupts,
        } = other;
        self.queue = self.queue.saturating_add(queue);
        self.socket = self.socket.saturating_add(socket);
        self.perf = self.perf.saturating_add(perf);
        self.interrupts = self.interrupts.saturating_add(interrupts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_say_what_was_lost_in_each_place() {
        let loss = Loss {
            queue: 1,
            socket: 2,
            perf: 3,
            interrupts: 4,
        };
        let mut read = Loss::default();
        for comment in loss.comments() {
            read += Loss::of_comment(comment.as_bytes()).unwrap();
        }
        assert_eq!(read, loss);
        assert_eq!(Loss::of_numbers(10, 1, read), loss);
        for other in ["lost in thought: 3", "lost in interrupts: x", "lost: 3"] {
            assert_eq!(Loss::of_comment(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn comments_cannot_say_more_than_was_lost() {
        let said = Loss {
            perf: u64::MAX,
            interrupts: 7,
            ..Loss::default()
        };
        let found = Loss::of_numbers(5, 9, said);
        assert_eq!((found.queue, found.sum()), (9, 9));
        let found = Loss::of_numbers(5, 2, said);
        assert_eq!((found.perf, found.sum()), (3, 5));
    }
}
