//! The rights of whoever started this program, where its file gives it more: capabilities
//! (setcap(8)), or another user (set-user-ID).
//!
//! Such a program does for everybody what its file allows, so it does what was meant and no more:
//! files that the caller names are opened with the caller's rights, and variables of the environment
//! that would name a file are ignored. The capabilities that capturing needs (CAP_NET_ADMIN,
//! CAP_SYS_ADMIN, CAP_SYSLOG) override no file's permissions, but files such as `/proc/kallsyms` and
//! `/dev/kmsg` show more to those who have CAP_SYSLOG when they open them.

use std::io;

use nix::unistd::{getgid, getuid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::sys;

/// The variables that this program, its libraries and the Rust runtime read and whose values name
/// something or show more than the program does. All others that are read choose colours, glyphs and
/// the width of help texts. `PATH` is for `ssh`, which runs with the caller's rights. The C library
/// removes its own (`LD_*`, `TMPDIR`, `TZDIR`, `RES_OPTIONS`, …).
const DISTRUSTED: [&str; 6] = [
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "SUDO_GID",
    "SUDO_UID",
    "TMPDIR",
];

/// Returns whether the program's file gives this process more rights than its caller has. Root has
/// them all.
pub fn are_elevated() -> bool {
    sys::is_secure() && !getuid().is_root()
}

/// Forgets the variables that are not to be trusted. Called before any thread starts.
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

/// Returns whether a value of TZ is the name of a time zone or a rule, and no path to a file of the
/// caller's.
fn is_zone(value: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_+-/,.<>".contains(byte);
    value.first() != Some(&b'/')
        && value.iter().all(is_plain)
        && !value.windows(2).any(|pair| pair == b"..")
}

/// Opens what the caller names, with the caller's rights: those of its file are put aside meanwhile,
/// in this thread.
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

/// Gives the capabilities up for good.
pub fn give_up() -> io::Result<()> {
    if are_elevated() {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        set_capabilities(None, sets)?;
    }
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
