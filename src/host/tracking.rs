//! The table of connections.

use std::os::unix::fs::PermissionsExt;

use serde::{Deserialize, Serialize};

use super::{Question, Unseen, read_file};

/// The file with the number of connections that this namespace has.
pub const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// The file with the most that there can be.
pub const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// The table of connections of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTable;

/// The facts that are known of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedConnections {
    /// The connections that there are.
    pub count: u64,
    /// The most that there can be.
    pub max: u64,
    /// The packets that were dropped because their connection could not be tracked; `None` where this kernel does not
    /// show it.
    pub dropped: Option<u64>,
    /// The connections that could not be entered.
    pub failed: Option<u64>,
    /// The limit can be changed in this namespace; otherwise it is that of the initial one.
    pub is_own_limit: bool,
}

impl Question for ConnectionTable {
    const NAME: &'static str = "table of connections";
    /// `None` without connection tracking.
    type Answer = Option<TrackedConnections>;

    fn look(&self) -> Result<Self::Answer, Unseen> {
        let number = |path: &str| -> Result<u64, Unseen> {
            let text = read_file(path)?;
            text.parse()
                .map_err(|error| Unseen::Failed(format!("{path}: {error}")))
        };
        let count = match number(COUNT) {
            Ok(count) => count,
            Err(Unseen::Absent(_)) => return Ok(None),
            Err(unseen) => return Err(unseen),
        };
        let counters = read_file("/proc/thread-self/net/stat/nf_conntrack").unwrap_or_default();
        Ok(Some(TrackedConnections {
            count,
            max: number(MAX)?,
            dropped: counter(&counters, "drop"),
            failed: counter(&counters, "insert_failed"),
            is_own_limit: std::fs::metadata(MAX)?.permissions().mode() & 0o200 != 0,
        }))
    }
}

impl TrackedConnections {
    /// Returns whether the table is full, or nearly: some may have gone since.
    pub fn is_full(&self) -> bool {
        self.max > 0 && self.count.saturating_mul(10) >= self.max.saturating_mul(9)
    }
}

/// Returns the sum of a counter in `/proc/net/stat/nf_conntrack`: a line of names, and a line of hexadecimal numbers
/// for each CPU.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines
        .next()?
        .split_whitespace()
        .position(|word| word == name)?;
    let mut sum = 0u64;
    for line in lines {
        let word = line.split_whitespace().nth(column)?;
        sum = sum.saturating_add(u64::from_str_radix(word, 16).ok()?);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_the_cpus() {
        let text = "entries  drop insert_failed\n00000002  0000000a 00000000\n00000002  00000010 00000001\n";
        assert_eq!(counter(text, "drop"), Some(26));
        assert_eq!(counter(text, "insert_failed"), Some(1));
        assert_eq!(counter(text, "early_drop"), None);
        assert_eq!(counter("a drop\n1\n", "drop"), None);
        assert_eq!(counter("", "drop"), None);
    }
}
