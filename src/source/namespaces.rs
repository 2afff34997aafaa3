//! The network namespaces of this host: their names, and the devices in them.
//!
//! A report of the eBPF program names a namespace by its inode and a device by index and name. Only where this
//! host has all three together is it certain that they are what they seem: the bytes of a packet that lead to
//! its device hold something else at times.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use foldhash::fast::RandomState;

use super::cgroups::container_of;
use super::pause::SearchPause;
use crate::cache::Memo;
use crate::ebpf::program::{FIRST_NAMESPACE, NAMESPACES};
use crate::host::namespace::{NAMED, enter};
use crate::record::{Name, Netns};

/// The most namespaces and processes that are looked at.
const MAX_NAMESPACES: usize = 4096;
const MAX_PROCESSES: usize = 100_000;

/// The namespaces, as far as they were looked for.
pub struct NamespaceTable {
    own: Option<u32>,
    initial: Option<u32>,
    known: Memo<u32, Namespace>,
    pause: SearchPause,
}

/// A namespace and how to enter it.
pub struct NamespaceEntrance {
    /// Its inode.
    pub inode: u32,
    /// Its name, as far as it has one.
    pub name: Option<String>,
    /// A file by which it can be entered.
    pub entrance: PathBuf,
}

/// A namespace.
struct Namespace {
    /// Its name in `/run/netns`, else that of the container in it.
    name: Option<Vec<u8>>,
    /// A file by which it can be entered.
    entrance: PathBuf,
    /// The names of its devices, by index.
    devices: Memo<u32, Vec<u8>>,
    pause: SearchPause,
}

impl NamespaceTable {
    /// Knows this process's own namespace and the initial one.
    pub fn new() -> Self {
        let own = inode(Path::new("/proc/self/ns/net"));
        Self {
            own,
            // That of the first process: in a container with processes of its own, the container's. Not
            // everybody may see it.
            initial: inode(Path::new("/proc/1/ns/net")).or(own),
            known: Memo::default(),
            pause: SearchPause::default(),
        }
    }

    /// Returns the inode of this process's own namespace.
    #[cfg(test)]
    pub fn own(&self) -> Option<u32> {
        self.own
    }

    /// Returns whether the namespace is this process's own.
    pub fn is_own(&self, inode: u32) -> bool {
        self.own == Some(inode)
    }

    /// Returns the namespace with this inode, with what is known about it.
    pub fn netns(&self, inode: u32) -> Netns {
        Netns::new(inode, self.initial == Some(inode))
    }

    /// Returns whether this host has a namespace with this inode.
    pub fn has(&mut self, inode: u32) -> bool {
        self.find(inode).is_some()
    }

    /// Returns whether it is certain that this host has no namespace with this inode: no namespace can have it,
    /// or it was searched for just now. Between two searches, one may have been made.
    pub fn lacks(&mut self, inode: u32) -> bool {
        let is_possible = inode.wrapping_sub(FIRST_NAMESPACE) <= NAMESPACES;
        if !is_possible {
            return true;
        }
        if self.known.peek(&inode).is_some() || !self.pause.is_over() {
            return false;
        }
        self.search();
        self.known.peek(&inode).is_none()
    }

    /// Returns a file by which the namespace with this inode can be entered; `None` where there is none.
    pub fn entrance(&mut self, inode: u32) -> Option<PathBuf> {
        let path = self.find(inode)?.entrance.clone();
        // Its process has ended, perhaps, and the number is another one's.
        (self::inode(&path) == Some(inode)).then_some(path)
    }

    /// Returns all namespaces, after a search.
    pub fn all(&mut self) -> Vec<NamespaceEntrance> {
        self.search();
        let known = self.known.iter();
        let entrances = known.map(|(&inode, namespace)| NamespaceEntrance {
            inode,
            name: namespace
                .name
                .as_deref()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            entrance: namespace.entrance.clone(),
        });
        entrances.collect()
    }

    /// Returns the namespace's name, without a search.
    pub fn known_name(&self, inode: u32) -> Option<Name<'_>> {
        Name::new(self.known.peek(&inode)?.name.as_deref()?)
    }

    /// Looks a device of a namespace up, if this process may look into it.
    pub fn look_up(&mut self, inode: u32, index: u32) {
        self.device_that(inode, index, |_| true);
    }

    /// Returns the name of a device of a namespace, as it was looked up.
    pub fn known_device(&self, inode: u32, index: u32) -> Option<Name<'_>> {
        Name::new(self.known.peek(&inode)?.devices.peek(&index)?)
    }

    /// Returns whether a namespace has a device of this index and name.
    pub fn has_device(&mut self, inode: u32, index: u32, name: &[u8]) -> bool {
        let device = self.device_that(inode, index, |found| found == name);
        device.is_some_and(|found| found.as_bytes() == name)
    }

    /// Returns the name of the device with this index, after another look if `is_right` denies it.
    fn device_that(
        &mut self,
        inode: u32,
        index: u32,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Option<Name<'_>> {
        let is_own = self.is_own(inode);
        let namespace = self.find(inode)?;
        let found = namespace.devices.find(&index);
        if !found.is_some_and(|name| is_right(name)) && namespace.pause.is_over() {
            let devices = if is_own {
                devices()
            } else {
                devices_in(&namespace.entrance, inode)
            };
            if let Some(devices) = devices {
                namespace.devices = devices;
            } else {
                // Its process has ended, perhaps, and the number is another one's.
                if self::inode(&namespace.entrance) != Some(inode) {
                    self.known.remove(&inode);
                }
                return None;
            }
        }
        self.known_device(inode, index)
    }

    /// Returns a namespace, after a search if it is a new one.
    fn find(&mut self, inode: u32) -> Option<&mut Namespace> {
        if self.known.find(&inode).is_none() && self.pause.is_over() {
            self.search();
        }
        self.known.find(&inode)
    }

    /// Looks for the namespaces of this process, with names, and of all processes.
    fn search(&mut self) {
        let mut found = HashMap::<u32, Namespace, RandomState>::default();
        let mut add = |entrance: PathBuf, name: Option<Vec<u8>>| {
            if let Some(inode) = inode(&entrance)
                && found.len() < MAX_NAMESPACES
            {
                found.entry(inode).or_insert_with(|| Namespace {
                    name,
                    entrance,
                    devices: Memo::default(),
                    pause: SearchPause::default(),
                });
            }
        };
        // Those with a name first: they have no other place for it, and they stay.
        for file in fs::read_dir(NAMED).into_iter().flatten().flatten() {
            add(file.path(), Some(file.file_name().into_encoded_bytes()));
        }
        add("/proc/self/ns/net".into(), None);
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes.take(MAX_PROCESSES) {
            if process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
                add(process.path().join("ns/net"), None);
            }
        }
        for (&inode, namespace) in &mut found {
            // A namespace of a container is called by its name.
            if namespace.name.is_none() && Some(inode) != self.initial {
                // /proc/PID/ns/net
                let process = namespace.entrance.parent().and_then(Path::parent);
                let cgroups = process.map(|process| fs::read_to_string(process.join("cgroup")));
                namespace.name = cgroups.and_then(|text| container_of(&text.ok()?));
            }
        }
        for (inode, namespace) in &mut found {
            if let Some(old) = self.known.remove(inode) {
                namespace.devices = old.devices;
                namespace.pause = old.pause;
            }
        }
        self.known = found.into_iter().collect();
    }
}

fn inode(file: &Path) -> Option<u32> {
    u32::try_from(fs::metadata(file).ok()?.st_ino()).ok()
}

/// Returns the devices of the namespace that this thread is in.
fn devices() -> Option<Memo<u32, Vec<u8>>> {
    let devices = nix::net::if_::if_nameindex().ok()?;
    let devices = devices.iter();
    let devices = devices.map(|device| (device.index(), device.name().to_bytes().to_vec()));
    Some(devices.collect())
}

/// Returns the devices of another namespace. A thread enters it and ends: the namespace of this one, and
/// of all others, stays the same. Without CAP_SYS_ADMIN the kernel refuses.
fn devices_in(entrance: &Path, inode: u32) -> Option<Memo<u32, Vec<u8>>> {
    let entrance = File::open(entrance).ok()?;
    // The number of the process may be another one's by now.
    if entrance.metadata().ok()?.st_ino() != u64::from(inode) {
        return None;
    }
    let look = move || {
        enter(entrance).ok()?;
        devices()
    };
    let thread = thread::Builder::new().spawn(look).ok()?;
    thread.join().ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_namespace_and_its_loopback_are_known() {
        let mut table = NamespaceTable::new();
        let own = table.own.unwrap();
        assert!(table.is_own(own) && table.has(own));
        assert!(table.has_device(own, 1, b"lo"));
        assert_eq!(table.known_device(own, 1), Name::new(b"lo"));
        // Each of the three has to be right.
        assert!(!table.has_device(own, 1, b"l"));
        assert!(!table.has_device(own, u32::MAX, b"lo"));
        assert!(!table.has_device(7, 1, b"lo"));
        assert!(!table.has(7));
        assert_eq!(table.known_name(7), None);
    }

    #[test]
    fn a_file_of_another_namespace_is_not_entered() {
        let own = Path::new("/proc/self/ns/net");
        assert!(devices_in(own, 7).is_none());
    }
}
