//! The network namespaces of this host.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::linux::fs::MetadataExt;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen};

/// The folder in which `ip netns` keeps named namespaces.
pub const NAMED: &str = "/run/netns";
/// The most processes that are looked at.
const MAX_PROCESSES: usize = 100_000;

/// The question whether this host has more than one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeveralNamespaces;

impl Question for SeveralNamespaces {
    const NAME: &'static str = "several namespaces";
    type Answer = bool;

    fn look(&self) -> Result<bool, Unseen> {
        let mut found = BTreeSet::new();
        let named = std::fs::read_dir(NAMED).into_iter().flatten();
        let named = named.flatten().map(|file| file.path());
        let processes = std::fs::read_dir("/proc")?.flatten().take(MAX_PROCESSES);
        let of_processes = processes.map(|process| process.path().join("ns/net"));
        for path in named.chain(of_processes) {
            found.extend(std::fs::metadata(path).map(|file| file.st_ino()));
            if found.len() > 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Moves this thread into a network namespace, of which this is a file. Without CAP_SYS_ADMIN the kernel refuses.
pub fn enter(namespace: File) -> io::Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}
