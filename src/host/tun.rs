//! The programs that have a tun or tap device open.

use std::fs::{metadata, read_to_string};
use std::os::linux::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::holder::{HostProcess, each_descriptor};
use super::{Question, Unseen};

/// The programs that have the device of this name open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunPrograms(pub String);

/// The processes that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunHolders {
    /// Processes of this network namespace that have it open.
    pub here: Vec<HostProcess>,
    /// Processes of others that have a device of this name open: the same, or one there.
    pub elsewhere: Vec<HostProcess>,
    /// All processes were looked at.
    pub is_complete: bool,
}

impl Question for TunPrograms {
    const NAME: &'static str = "tun programs";
    type Answer = TunHolders;

    fn look(&self) -> Result<TunHolders, Unseen> {
        let namespace = |path: &Path| metadata(path).map(|file| file.st_ino()).ok();
        let own = namespace(Path::new("/proc/thread-self/ns/net"));
        let mut found = TunHolders::default();
        found.is_complete = each_descriptor(|process, descriptor, target| {
            if target != Path::new("/dev/net/tun") {
                return;
            }
            // `tun_chr_show_fdinfo` (drivers/net/tun.c)
            let facts = read_to_string(process.join("fdinfo").join(descriptor));
            let facts = facts.unwrap_or_default();
            let mut names = facts.lines().filter_map(|line| line.strip_prefix("iff:"));
            if names.next().map(str::trim) != Some(&self.0) {
                return;
            }
            if let Some(holder) = HostProcess::read(process) {
                let is_here = own.is_some() && namespace(&process.join("ns/net")) == own;
                let list = if is_here {
                    &mut found.here
                } else {
                    &mut found.elsewhere
                };
                // A device with several queues is open several times.
                if list.last().map(|last| last.pid) != Some(holder.pid) {
                    list.push(holder);
                }
            }
        })?;
        Ok(found)
    }
}
