//! The process that owns the monitoring, and whether it is still running.

use serde::{Deserialize, Serialize};

/// A process, distinguished from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process number.
    pub pid: u32,
    /// The start time, in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub started: u64,
}

impl Process {
    pub(super) fn current() -> Option<Self> {
        Self::find(std::process::id())
    }

    fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let started = start_time(&stat)?;
        Some(Self { pid, started })
    }

    /// Returns whether the process is still running.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }
}

/// Parses the start time out of proc_pid_stat(5), unless the process is a zombie. The second field
/// is a name in parentheses, which may itself contain blanks and parentheses.
fn start_time(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..])
        .ok()?
        .split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    // The state is field 3.
    let started = fields.nth(22 - 3 - 1)?.parse().ok()?;
    (!is_dead).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_process_with_the_same_number_is_another() {
        let own = Process::current().unwrap();
        assert!(own.is_alive());
        let later = Process {
            started: own.started + 1,
            ..own
        };
        assert!(!later.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = Process::find(child.id());
        child.wait().unwrap();
        assert!(zombie.is_none_or(|child| !child.is_alive()));

        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        let stat = |name: &str| format!("12 ({name}) {fields}").into_bytes();
        assert_eq!(start_time(&stat("dwdump")), Some(777));
        assert_eq!(start_time(&stat(") Z (1 2")), Some(777));
        assert_eq!(start_time(&stat("dwdump").to_ascii_lowercase()[..20]), None);
        assert_eq!(start_time(b""), None);
        assert_eq!(start_time(&[0xff; 40]), None);
        let dead = stat("dwdump");
        let dead = String::from_utf8(dead).unwrap().replace(") S", ") Z");
        assert_eq!(start_time(dead.as_bytes()), None);
    }
}
