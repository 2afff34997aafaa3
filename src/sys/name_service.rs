//! The C library's lookups of hosts, users and groups, where that library is a part of the program.

/// Keeps lookups to what is in the program: files of `/etc`, and DNS. The host's `/etc/nsswitch.conf` can name more
/// (mDNS, systemd, LDAP), which the C library would load from the host: libraries that were built for the host's own C
/// library, not for the one in this program. Must be called before any thread starts.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub fn keep_to_built_in() {
    use std::ffi::{CStr, c_char, c_int};

    // glibc's nss.h; not in the crate libc.
    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    let databases: [(&CStr, &CStr); 3] = [
        (c"hosts", c"files dns"),
        (c"passwd", c"files"),
        (c"group", c"files"),
    ];
    for (database, services) in databases {
        // SAFETY: both are strings that end with a zero, and live as long as the program. No thread looks
        // anything up meanwhile. A failure leaves the database as it was.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// Does nothing: the C library is the host's, as are the libraries that it loads.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub fn keep_to_built_in() {}
