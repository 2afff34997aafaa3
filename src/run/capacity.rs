//! The default sizes of the kernel's queues: large enough for a flood, and a bounded part of this
//! machine's memory. The memory is used only while drops wait.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// The most packets that each CPU's queue holds. One CPU sends alerts at half the pace of a flood
/// (`benches/README.md`), so this absorbs a flood of at least 100,000 packets.
const MAX_QUEUE_LEN: u64 = 100_000;
/// The shortest queue: the kernel's default.
const MIN_QUEUE_LEN: u64 = 1000;
/// Memory for a queued packet of 1500 bytes: its clone (`struct sk_buff`) and its data, which
/// nothing else holds. A packet of 60 bytes takes 1 KB, one of a segmenting network card 64 KB.
const QUEUED_BYTES: u64 = 2560;
/// All queues, when full, take this part of the memory; twice as much while each CPU is still
/// sending the former content of its queue (`net_dm_packet_work`, net/core/drop_monitor.c).
const QUEUES_PART: u64 = 4;

/// The largest receive buffer of the socket. The kernel allows twice as much: 58,000 alerts of
/// 1500-byte packets, or 139,000 of short ones, which outlast a disk that stalls for two seconds.
const MAX_BUFFER_BYTES: u64 = 64 * 1024 * 1024;
/// The smallest receive buffer: the kernel's default (net.core.rmem_default).
const MIN_BUFFER_BYTES: u64 = 208 * 1024;
/// The receive buffer is at most this part of the memory; a full one uses twice as much.
const BUFFER_PART: u64 = 32;

/// The longest time for which alerts may gather before they are received. A wake-up costs as much
/// as receiving dozens of alerts, and users do not notice this delay.
const MAX_REST: Duration = Duration::from_millis(20);
/// The most bytes of alerts in a second: a million alerts of short packets.
const BYTES_PER_SECOND: u64 = 1_000_000_000;

/// Returns how long alerts may gather in a receive buffer before a flood fills half of it, in whole
/// milliseconds.
pub fn rest(buffer_bytes: u32) -> Duration {
    let millis = u64::from(buffer_bytes) * 1000 / BYTES_PER_SECOND;
    Duration::from_millis(millis).min(MAX_REST)
}

/// Returns the number of packets that each CPU's queue holds.
pub fn queue_len() -> u32 {
    let cpus = known(SysconfVar::_NPROCESSORS_ONLN).unwrap_or(1);
    queue_len_on(memory(), cpus)
}

/// Returns the size of the socket's receive buffer in bytes.
pub fn buffer_bytes() -> u32 {
    buffer_bytes_on(memory())
}

fn queue_len_on(memory: u64, cpus: u64) -> u32 {
    let len = memory / QUEUES_PART / QUEUED_BYTES / cpus.max(1);
    within(len, MIN_QUEUE_LEN, MAX_QUEUE_LEN)
}

fn buffer_bytes_on(memory: u64) -> u32 {
    within(memory / BUFFER_PART, MIN_BUFFER_BYTES, MAX_BUFFER_BYTES)
}

fn within(wanted: u64, min: u64, max: u64) -> u32 {
    u32::try_from(wanted.clamp(min, max)).unwrap_or(u32::MAX)
}

/// Returns the size of this machine's memory in bytes.
fn memory() -> u64 {
    let pages = known(SysconfVar::_PHYS_PAGES).unwrap_or(0);
    pages.saturating_mul(known(SysconfVar::PAGE_SIZE).unwrap_or(0))
}

fn known(variable: SysconfVar) -> Option<u64> {
    sysconf(variable).ok()??.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    #[test]
    fn the_defaults_are_a_bounded_part_of_the_memory() {
        for (memory, cpus, queue, buffer) in [
            (0, 0, 1000, 208 * 1024),
            (GB / 8, 1, 13_107, 4 << 20),
            (2 * GB, 2, 100_000, 64 << 20),
            (8 * GB, 4, 100_000, 64 << 20),
            (512 * GB, 128, 100_000, 64 << 20),
            (64 * GB, 256, 26_214, 64 << 20),
            (u64::MAX, 1, 100_000, 64 << 20),
        ] {
            assert_eq!(queue_len_on(memory, cpus), queue, "{memory} {cpus}");
            assert_eq!(buffer_bytes_on(memory), buffer, "{memory}");
        }
    }

    #[test]
    fn alerts_gather_only_where_there_is_room() {
        for (bytes, millis) in [
            (4 << 10, 0),
            (208 << 10, 0),
            (1_000_000, 1),
            (4 << 20, 4),
            (64 << 20, 20),
            (u32::MAX, 20),
        ] {
            assert_eq!(rest(bytes), Duration::from_millis(millis), "{bytes}");
        }
    }

    #[test]
    fn this_machines_memory_is_known() {
        assert!(memory() > 16 << 20);
    }
}
