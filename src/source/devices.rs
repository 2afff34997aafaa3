//! The network devices of this process's namespace: their names and hardware types, each looked up once.

use std::os::linux::fs::MetadataExt;

use crate::cache::Memo;
use crate::packet::ArpHardware;
use crate::record::{Interface, InterfaceKey, Name};

/// The devices of this network namespace.
#[derive(Default)]
pub struct DeviceTable {
    known: Memo<InterfaceKey, Option<Device>>,
}

/// A device of this namespace.
struct Device {
    name: Vec<u8>,
    hardware: Option<ArpHardware>,
}

/// The facts that are known of the input device of a drop.
#[derive(Default)]
pub struct DeviceFacts<'d> {
    /// The hardware type, where the device is certainly that of the drop.
    pub certain: Option<ArpHardware>,
    /// The hardware type of the device with its index in this network namespace.
    pub guess: Option<ArpHardware>,
    /// The name of the device with its index in this network namespace.
    pub name: Option<Name<'d>>,
}

/// The loopback device's index, in every network namespace (`LOOPBACK_IFINDEX`, net/flow.h).
pub const LOOPBACK: u32 = 1;

impl DeviceTable {
    /// Returns what is known of the input device of a drop. The index of a software drop belongs to the
    /// packet's network namespace, which the drop monitor does not send, so that only loopback is
    /// certain. For a hardware drop the device is certain where the names match.
    pub fn find(&mut self, input: Option<Interface<'_>>) -> DeviceFacts<'_> {
        let Some(input) = input else {
            return DeviceFacts::default();
        };
        let Some(device) = self.get(input.key) else {
            return DeviceFacts::default();
        };
        let name = Name::new(&device.name);
        let is_certain =
            input.key.index == LOOPBACK || (input.name().is_some() && input.name() == name);
        DeviceFacts {
            certain: device.hardware.filter(|_| is_certain),
            guess: device.hardware,
            name,
        }
    }

    /// Returns whether this network namespace has a device of this index and name.
    pub fn has(&mut self, key: InterfaceKey, name: &[u8]) -> bool {
        self.get(key).is_some_and(|device| device.name == name)
    }

    fn get(&mut self, key: InterfaceKey) -> Option<&Device> {
        let look_up = || Device::look_up(key.index);
        self.known.get(key, look_up).as_ref()
    }
}

impl Device {
    fn look_up(index: u32) -> Option<Self> {
        let name = nix::net::if_::if_indextoname(index).ok()?;
        // Interface names hold no slash (dev_valid_name, net/core/dev.c).
        let path = name
            .to_str()
            .ok()
            .map(|name| format!("/sys/class/net/{name}/type"));
        let hardware =
            path.and_then(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
        Some(Self {
            name: name.into_bytes(),
            hardware: hardware.map(ArpHardware),
        })
    }
}

/// Returns the inode of this process's network namespace, which identifies it on this host.
pub fn own_namespace() -> Option<u32> {
    let file = std::fs::metadata("/proc/self/ns/net").ok()?;
    u32::try_from(file.st_ino()).ok()
}
