//! The network namespaces of this host: their names, and the devices in them.
//!
//! A report of the eBPF program names a namespace by its inode and a device by index and name. Only where this
//! host has all three together is it certain that they are what they seem: the bytes of a packet that lead to
//! its device hold something else at times.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use foldhash::fast::RandomState;

use super::cgroups::container_of;
use super::pause::SearchPause;
use super::surroundings::{self, FoundDevices, inode};
use crate::cache::Memo;
use crate::ebpf::program::{FIRST_NAMESPACE, NAMESPACES};
use crate::record::{Name, Netns};

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
        (surroundings::inode(&path) == Some(inode)).then_some(path)
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
        let namespace = self.find(inode)?;
        let found = namespace.devices.find(&index);
        if !found.is_some_and(|name| is_right(name)) && namespace.pause.is_over() {
            match surroundings::devices(&namespace.entrance, inode) {
                FoundDevices::Devices(devices) => {
                    namespace.devices = devices.into_iter().collect();
                }
                FoundDevices::Refused => return None,
                // Its process has ended, perhaps, and the number is another one's.
                FoundDevices::Gone => {
                    self.known.remove(&inode);
                    return None;
                }
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
        let found = surroundings::namespaces().into_iter().map(|found| {
            let cgroup = found.cgroup.as_deref();
            // A namespace of a container is called by its name.
            let cgroup = cgroup.filter(|_| Some(found.inode) != self.initial);
            let namespace = Namespace {
                entrance: found.entrance(),
                name: found.name.or_else(|| container_of(cgroup?)),
                devices: Memo::default(),
                pause: SearchPause::default(),
            };
            (found.inode, namespace)
        });
        let mut found: HashMap<u32, Namespace, RandomState> = found.collect();
        for (inode, namespace) in &mut found {
            if let Some(old) = self.known.remove(inode) {
                namespace.devices = old.devices;
                namespace.pause = old.pause;
            }
        }
        self.known = found.into_iter().collect();
    }
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
}
