//! The queues in which each CPU keeps packets until it takes them.

use serde::{Deserialize, Serialize};

use super::elsewhere::InitialSysctl;
use super::sysctl::Sysctl;
use super::{Question, Unseen, of_thread, read_file};

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
        let mut state = counters()?;
        // It is one for all namespaces, and stands only in the initial one.
        let limit = InitialSysctl(Sysctl::new(["net", "core", "netdev_max_backlog"])).look();
        state.limit = limit.ok().and_then(|text| text.parse().ok());
        Ok(state)
    }
}

/// Reads the counters of all CPUs, without the limit.
pub(super) fn counters() -> Result<BacklogState, Unseen> {
    Ok(parse(&read_file(&of_thread(COUNTERS))?))
}

/// Parses the file (`softnet_seq_show`, net/core/net-procfs.c): a line for each CPU, of numbers in hexadecimal digits.
/// The second counts drops, the eleventh those by flow; the thirteenth is the CPU, where the kernel writes it.
fn parse(text: &str) -> BacklogState {
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
        assert_eq!(parse(text), expected);
        assert_eq!(
            parse("1 2"),
            BacklogState {
                drops: vec![(0, 2)],
                ..BacklogState::default()
            }
        );
        assert_eq!(parse(""), BacklogState::default());
    }
}
