//! The wire protocol of the kernel's drop monitor, the generic netlink family NET_DM.
//!
//! Everything here follows include/uapi/linux/net_dropmon.h and net/core/drop_monitor.c; checked
//! on Linux 6.1, 6.12 and 7.2. The numbers are in the byte order of the host that sent them.

pub mod alert;
pub(crate) mod content;
pub(crate) mod control;
pub(crate) mod family;
pub mod interference;
pub(crate) mod listeners;
pub(crate) mod monitoring;
pub mod netlink;
pub(crate) mod ownership;
#[cfg(test)]
pub(crate) mod script;
#[cfg(test)]
mod simulated;
pub(crate) mod socket;
pub(crate) mod summary;

/// The family's name; its number differs from boot to boot.
pub const FAMILY_NAME: &str = "NET_DM";
/// The family's version, sent with every message.
pub const FAMILY_VERSION: u8 = 2;
/// The multicast group of all alerts.
pub const GROUP_NAME: &str = "events";
/// The group's number: `NET_DM_GRP_ALERT`, fixed by the kernel.
pub const GROUP_ID: u32 = 1;

/// Commands (`NET_DM_CMD_`).
pub(crate) mod cmd {
    /// Summary alert: counts for each place, multicast.
    pub const ALERT: u8 = 1;
    /// Request: settings, each optional. Without any, a probe: EBUSY while monitoring is on.
    pub const CONFIG: u8 = 2;
    /// Request: monitoring on.
    pub const START: u8 = 3;
    /// Request: monitoring off.
    pub const STOP: u8 = 4;
    /// Packet alert: one dropped packet, multicast.
    pub const PACKET_ALERT: u8 = 5;
    /// Request: the settings.
    pub const CONFIG_GET: u8 = 6;
    /// Answer to [`CONFIG_GET`]; the kernel's part, which the tests play.
    #[cfg(test)]
    pub const CONFIG_NEW: u8 = 7;
    /// Request: the statistics.
    pub const STATS_GET: u8 = 8;
    /// Answer to [`STATS_GET`]; the kernel's part, which the tests play.
    #[cfg(test)]
    pub const STATS_NEW: u8 = 9;
}

/// Attributes (`NET_DM_ATTR_`). Nested enumerations start at **zero**.
pub(crate) mod attr {
    /// u8: 0 summary, 1 packet.
    pub const ALERT_MODE: u16 = 1;
    /// u64: return address of the call that freed the packet.
    pub const PC: u16 = 2;
    /// String: `%pS` of [`PC`], at most 39 characters.
    pub const SYMBOL: u16 = 3;
    /// Nest of [`in_port`].
    pub const IN_PORT: u16 = 4;
    /// u64: nanoseconds, CLOCK_REALTIME.
    pub const TIMESTAMP: u16 = 5;
    /// u16: `skb->protocol`, host order.
    pub const PROTO: u16 = 6;
    /// Bytes of the packet from the MAC header on.
    pub const PAYLOAD: u16 = 7;
    /// Padding.
    pub const PAD: u16 = 8;
    /// u32: bytes of each packet to keep; 0 means all.
    pub const TRUNC_LEN: u16 = 9;
    /// u32: bytes of the whole frame.
    pub const ORIG_LEN: u16 = 10;
    /// u32: packets that each CPU's queue holds.
    pub const QUEUE_LEN: u16 = 11;
    /// Nest of [`stats`].
    pub const STATS: u16 = 12;
    /// Nest of [`stats`], for hardware drops.
    pub const HW_STATS: u16 = 13;
    /// u16: 0 software, 1 hardware.
    pub const ORIGIN: u16 = 14;
    /// String.
    pub const HW_TRAP_GROUP_NAME: u16 = 15;
    /// String.
    pub const HW_TRAP_NAME: u16 = 16;
    /// Nest of summary entries for hardware traps.
    pub const HW_ENTRIES: u16 = 17;
    /// u32: drops of a hardware trap.
    pub const HW_TRAP_COUNT: u16 = 19;
    /// Flag: software drops.
    pub const SW_DROPS: u16 = 20;
    /// Flag: hardware drops.
    pub const HW_DROPS: u16 = 21;
    /// Bytes: cookie of the tc action that dropped the packet.
    pub const FLOW_ACTION_COOKIE: u16 = 22;
    /// String: drop reason without its prefix, since Linux 5.18.
    pub const REASON: u16 = 23;

    /// Inside [`IN_PORT`].
    pub mod in_port {
        /// u32.
        pub const NETDEV_IFINDEX: u16 = 0;
        /// String; hardware drops only.
        pub const NETDEV_NAME: u16 = 1;
    }
    /// Inside [`STATS`] and [`HW_STATS`].
    pub mod stats {
        /// u64: tail-dropped alerts since the module was loaded.
        pub const DROPPED: u16 = 0;
    }
}

/// `NET_DM_ATTR_ORIGIN` of a software drop.
pub const ORIGIN_SW: u16 = 0;
/// `NET_DM_ATTR_ORIGIN` of a hardware drop.
pub const ORIGIN_HW: u16 = 1;
