//! The counters of all network namespaces at the start of a run, and those that rose since.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use crate::host::counter::{CounterValues, read, read_shared};
use crate::host::namespace::enter;
use crate::source::namespaces::NamespaceTable;
use crate::why::counter::{CounterRise, text};

/// The most namespaces whose counters are read, and the longest that this may take.
const MAX_NAMESPACES: usize = 256;
const PATIENCE: Duration = Duration::from_secs(2);
/// The most counters that are told.
const MAX_RISES: usize = 1000;

/// The counters of all namespaces at one time.
#[derive(Clone, Debug, Default)]
pub struct CounterSnapshot {
    namespaces: BTreeMap<u32, NamespaceCounters>,
    /// Those that all namespaces have in common.
    shared: CounterValues,
    /// Each namespace of this host is among them.
    is_complete: bool,
}

#[derive(Clone, Debug)]
struct NamespaceCounters {
    name: Option<String>,
    values: CounterValues,
}

impl CounterSnapshot {
    /// Reads all counters. The thread is in another namespace afterwards.
    pub fn take() -> Self {
        let end = Instant::now() + PATIENCE;
        let mut snapshot = Self {
            shared: read_shared(),
            is_complete: true,
            ..Self::default()
        };
        for namespace in NamespaceTable::new().all() {
            let is_full = snapshot.namespaces.len() >= MAX_NAMESPACES;
            if is_full
                || Instant::now() > end
                || File::open(&namespace.entrance).and_then(enter).is_err()
            {
                snapshot.is_complete = false;
                continue;
            }
            let counters = NamespaceCounters {
                name: namespace.name,
                values: read(),
            };
            snapshot.namespaces.insert(namespace.inode, counters);
        }
        snapshot
    }

    /// Returns the counters of losses that have risen since an earlier time.
    pub fn since(&self, earlier: &Self) -> Vec<CounterRise> {
        let mut rises = Vec::new();
        add_rises(&mut rises, None, None, &self.shared, &earlier.shared);
        let none = CounterValues::new();
        for (&inode, now) in &self.namespaces {
            let before = match earlier.namespaces.get(&inode) {
                Some(before) => &before.values,
                // It is a new one.
                None if earlier.is_complete => &none,
                None => continue,
            };
            let name = now.name.as_deref();
            add_rises(&mut rises, Some(inode), name, &now.values, before);
        }
        rises.truncate(MAX_RISES);
        rises
    }
}

fn add_rises(
    rises: &mut Vec<CounterRise>,
    netns: Option<u32>,
    netns_name: Option<&str>,
    now: &CounterValues,
    before: &CounterValues,
) {
    for (name, &value) in now {
        let before = before.get(name).copied().unwrap_or(0);
        let count = value.saturating_sub(before);
        if let Some(text) = text(name).filter(|_| count > 0) {
            rises.push(CounterRise {
                name: name.clone(),
                netns,
                netns_name: netns_name.map(str::to_owned),
                count,
                meaning: text.meaning.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(values: &[(&str, u64)], is_complete: bool) -> CounterSnapshot {
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value));
        let counters = NamespaceCounters {
            name: None,
            values: values.collect(),
        };
        CounterSnapshot {
            namespaces: BTreeMap::from([(7, counters)]),
            shared: CounterValues::new(),
            is_complete,
        }
    }

    #[test]
    fn losses_that_rose_are_told() {
        let before = snapshot(
            &[("UdpNoPorts", 3), ("TcpInErrs", 5), ("UdpInDatagrams", 1)],
            true,
        );
        let after = snapshot(
            &[("UdpNoPorts", 9), ("TcpInErrs", 5), ("UdpInDatagrams", 8)],
            true,
        );
        let [rise] = after.since(&before).try_into().unwrap();
        assert_eq!(
            (rise.name.as_str(), rise.count, rise.netns),
            ("UdpNoPorts", 6, Some(7))
        );
        // A new namespace began at 0; one that was not seen at the start did not.
        let nothing = |is_complete| CounterSnapshot {
            is_complete,
            ..CounterSnapshot::default()
        };
        assert_eq!(after.since(&nothing(true)).len(), 2);
        assert_eq!(after.since(&nothing(false)), []);
    }
}
