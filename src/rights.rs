//! Keeps to the caller's rights where the program's file gives this process more: capabilities
//! (setcap(8)) or another user (set-user-ID).
//!
//! Everybody who may run such a program gets the rights of its file. So files that the caller names are
//! opened with the caller's rights, and variables of the environment that name files are ignored. The
//! capabilities that capturing needs (CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYSLOG) do not override the
//! permissions of files. But `/proc/kallsyms`, `/dev/kmsg` and such files show more to a process that has
//! CAP_SYSLOG when it opens them.

use std::io;

use nix::unistd::{getgid, getuid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::sys;

/// The variables that are ignored, of those that this program, its libraries and the Rust runtime read.
/// The others that they read (`NO_COLOR`, `TERM`, `LANG`, `COLUMNS` and their like) select colours, glyphs
/// and the width of help texts. `PATH` only finds `ssh` and `tshark`, which run with the caller's rights. The C
/// library removes its own (`LD_*`, `TZDIR`, `RES_OPTIONS`, …).
const DISTRUSTED: [&str; 7] = [
    "RUNTIME_DIRECTORY",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "SUDO_GID",
    "SUDO_UID",
    "TMPDIR",
];

/// Returns whether the program's file gives this process more rights than its caller has. Root has all
/// rights anyway.
pub fn are_elevated() -> bool {
    sys::is_secure() && !getuid().is_root()
}

/// Removes the variables that are ignored. Must be called before any thread starts.
pub fn distrust_environment() {
    if !are_elevated() {
        return;
    }
    let zone = std::env::var_os("TZ").filter(|zone| !is_zone(zone.as_encoded_bytes()));
    let names = DISTRUSTED.into_iter().chain(zone.map(|_| "TZ"));
    for name in names {
        sys::forget_variable(name);
    }
}

/// Returns whether a value of TZ is the name or the rule of a time zone, and not the path of a file.
fn is_zone(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_+-/,.<>".contains(byte);
    value.first() != Some(&b'/')
        && value.iter().all(is_plain)
        && !value.windows(2).any(|pair| pair == b"..")
}

/// Opens a file that the caller names, with the caller's rights: this thread has no others meanwhile.
pub fn of_caller<T>(open: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !are_elevated() {
        return open();
    }
    let sets = capabilities(None)?;
    let (user, group) = (setfsuid(getuid()), setfsgid(getgid()));
    let without = CapabilitySets {
        effective: CapabilitySet::empty(),
        ..sets
    };
    set_capabilities(None, without)?;
    let opened = open();
    set_capabilities(None, sets)?;
    setfsgid(group);
    setfsuid(user);
    opened
}

/// Gives up all capabilities for good, where the program's file gave them.
pub fn give_up() -> io::Result<()> {
    if are_elevated() {
        give_up_in_thread()?;
    }
    Ok(())
}

/// Gives up all capabilities of this thread for good. A thread that is started before the others give theirs up
/// would keep them.
pub fn give_up_in_thread() -> io::Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_no_path() {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "<+03>-3",
            "",
        ] {
            assert!(is_zone(zone.as_bytes()), "{zone}");
        }
        for path in [
            "/tmp/zone",
            ":/tmp/zone",
            "../../tmp/zone",
            "Europe/../../x",
            "a\nb",
        ] {
            assert!(!is_zone(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn without_more_rights_files_are_just_opened() {
        assert!(!are_elevated());
        assert_eq!(of_caller(|| Ok(7)).unwrap(), 7);
        assert_eq!(
            of_caller::<()>(|| Err(io::ErrorKind::NotFound.into()))
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
