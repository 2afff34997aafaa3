//! The queues in which each CPU keeps packets until it takes them.

use std::fs::File;
use std::thread;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, read_file};

/// The queues of all CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuBacklogs;

/// The facts that are known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogState {
    /// The packets that a queue may hold; `None` where it is not seen.
    pub limit: Option<u64>,
    /// The CPUs that have dropped packets, and how many.
    pub drops: Vec<(u32, u64)>,
    /// Packets that a limit for each flow dropped.
    pub flow_drops: u64,
}

/// The file with the CPUs' counters.
pub const COUNTERS: &str = "/proc/net/softnet_stat";

impl Question for CpuBacklogs {
    const NAME: &'static str = "backlogs";
    type Answer = BacklogState;

    fn look(&self) -> Result<BacklogState, Unseen> {
        let text = read_file(&COUNTERS.replacen("/proc", "/proc/thread-self", 1))?;
        let mut state = counters(&text);
        state.limit = limit();
        Ok(state)
    }
}

/// Returns the limit, which is one for all namespaces and stands only in the initial one.
fn limit() -> Option<u64> {
    let read = || -> Option<u64> {
        let initial = File::open("/proc/1/ns/net").ok()?;
        setns(initial, CloneFlags::CLONE_NEWNET).ok()?;
        let text = read_file("/proc/sys/net/core/netdev_max_backlog").ok()?;
        text.parse().ok()
    };
    // This thread stays in its namespace.
    thread::scope(|scope| scope.spawn(read).join().ok()?)
}

/// Parses the file (`softnet_seq_show`, net/core/net-procfs.c): a line for each CPU, of numbers in hexadecimal digits.
/// The second counts drops, the eleventh those by flow; the thirteenth is the CPU, where the kernel writes it.
fn counters(text: &str) -> BacklogState {
    let mut state = BacklogState::default();
    for (line, position) in text.lines().zip(0..) {
        let number = |at: usize| {
            let word = line.split_whitespace().nth(at)?;
            u64::from_str_radix(word, 16).ok()
        };
        let cpu = number(12).and_then(|cpu| u32::try_from(cpu).ok());
        let drops = number(1).unwrap_or(0);
        if drops > 0 {
            state.drops.push((cpu.unwrap_or(position), drops));
        }
        state.flow_drops += number(10).unwrap_or(0);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_that_dropped_are_found() {
        let text = "0000a1 00000000 0 0 0 0 0 0 0 0 00000000 0 00000000\n\
                    0000a1 0000001f 0 0 0 0 0 0 0 0 00000002 0 00000003\nx";
        let expected = BacklogState {
            limit: None,
            drops: vec![(3, 31)],
            flow_drops: 2,
        };
        assert_eq!(counters(text), expected);
        assert_eq!(
            counters("1 2"),
            BacklogState {
                drops: vec![(0, 2)],
                ..BacklogState::default()
            }
        );
        assert_eq!(counters(""), BacklogState::default());
    }
}
