//! The counters of a device's driver (linux/ethtool.h), as `ethtool -S` shows them. The crate below-ethtool (0.9.0)
//! reads them, too, but writes behind the memory that it allocates.

use std::ffi::{c_char, c_ulong};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use super::pair;

/// Commands.
const GET_STRINGS: u32 = 0x1b;
const GET_STATS: u32 = 0x1d;
const GET_SET_INFO: u32 = 0x37;
/// The set of strings that names the counters (`ETH_SS_STATS`).
const STATS: u32 = 1;
/// Bytes of a string (`ETH_GSTRING_LEN`).
const STRING_LEN: usize = 32;
/// Bytes in front of the strings.
const STRINGS_AT: usize = 12;
/// The most counters that are read. Drivers have some tens for each queue.
const MAX_COUNTERS: usize = 1 << 16;
/// Room for counters that come while they are read, for the kernel writes all that there are.
const MORE_COUNTERS: usize = 1 << 12;

/// Returns the names and the values of the counters that the driver of a device has, in the network namespace of this
/// thread. That it has none is an error.
pub fn driver_counters(device: &str) -> io::Result<Vec<(String, u64)>> {
    // Any socket will do.
    let socket = UnixDatagram::unbound()?;
    // struct ethtool_sset_info: the command, nothing, a mask of sets, and the length of each of them.
    let mut info = [pair(GET_SET_INFO, 0), 1 << STATS, 0];
    exchange(&socket, device, &mut info)?;
    let [a, b, c, d, ..] = info[2].to_ne_bytes();
    let count = u32::from_ne_bytes([a, b, c, d]) as usize;
    if count > MAX_COUNTERS {
        return Err(io::Error::other("a driver with too many counters"));
    }
    let room = count + MORE_COUNTERS;
    // struct ethtool_gstrings: the command, the set, its length, and the strings.
    let mut names = vec![0; (STRINGS_AT + room * STRING_LEN).div_ceil(8)];
    names[0] = pair(GET_STRINGS, STATS);
    exchange(&socket, device, &mut names)?;
    // struct ethtool_stats: the command, the number of values, and these.
    let mut values = vec![0; 1 + room];
    values[0] = pair(GET_STATS, 0);
    exchange(&socket, device, &mut values)?;
    let names: Vec<u8> = names.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let names = names[STRINGS_AT..].chunks_exact(STRING_LEN).map(|name| {
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).trim().to_owned()
    });
    Ok(names.zip(values.into_iter().skip(1)).take(count).collect())
}

/// Has the kernel carry out the command at the beginning of a buffer, and answer there.
fn exchange(socket: &UnixDatagram, device: &str, buffer: &mut [u64]) -> io::Result<()> {
    let mut name: [c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    if device.len() >= name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in name.iter_mut().zip(device.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: buffer.as_mut_ptr().cast(),
        },
    };
    // SAFETY: the kernel reads the request, and writes to its buffer what the command says: the length of a set, or
    // as many strings or values as the driver has, for which there is room with thousands to spare.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCETHTOOL as c_ulong,
            &raw const request,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_counters_or_none_at_all_is_an_error() {
        assert!(driver_counters("none").is_err());
        assert!(driver_counters("a name that no device can have").is_err());
    }
}
