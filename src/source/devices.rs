//! The network devices of this process's namespace: their names and hardware types, each looked up once.

use crate::cache::Memo;
use crate::packet::ArpHardware;
use crate::record::{Interface, Name};

/// The devices of this network namespace.
#[derive(Default)]
pub struct DeviceTable {
    known: Memo<u32, Option<Device>>,
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
        let Some(device) = self.get(input.key.index) else {
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

    fn get(&mut self, index: u32) -> Option<&Device> {
        let look_up = || Device::look_up(index);
        self.known.get(index, look_up).as_ref()
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
