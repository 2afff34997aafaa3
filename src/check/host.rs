//! Reads what the findings are made of. What cannot be read is missing.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use crate::net_dm::listeners::{self, GroupMember};
use crate::record::Escaped;
use crate::sandbox;

/// The bytes of `/proc/kallsyms` that are looked at: more than the symbols whose address is truly 0.
const KALLSYMS_BYTES: u64 = 256 * 1024;

/// The facts that were read of this host. Texts are whole files, unless something else is said.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The kernel's release, as `uname -r` prints it.
    pub release: String,
    /// This process runs as root.
    pub is_root: bool,
    /// `/proc/self/status`.
    pub status: String,
    /// `/proc/self/uid_map`.
    pub uid_map: String,
    /// The target of `/proc/self/ns/net`.
    pub own_namespace: Option<PathBuf>,
    /// The target of `/proc/1/ns/net`, which only root may read.
    pub first_namespace: Option<PathBuf>,
    /// `/proc/modules`, before this process asked for NET_DM.
    pub modules: String,
    /// `modules.dep` of this kernel, which lists the modules that can be loaded; `None` where there is none.
    pub loadable: Option<String>,
    /// The sockets that listen to NET_DM, with their processes.
    pub listeners: Vec<Listener>,
    /// The bytes of the kernel's BTF.
    pub btf: Option<u64>,
    /// `/sys/kernel/security/lockdown`.
    pub lockdown: Option<String>,
    /// `/proc/sys/kernel/kptr_restrict`.
    pub kptr_restrict: Option<String>,
    /// The beginning of `/proc/kallsyms`.
    pub kallsyms: Option<String>,
    /// The version of the kernel's Landlock.
    pub landlock: Option<u32>,
    /// System calls can be confined.
    pub has_seccomp: bool,
}

/// A socket that listens to NET_DM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The process's name, escaped, and its number; `None` where it is not to be seen.
    pub process: Option<(String, u32)>,
}

impl HostFacts {
    /// Reads it, before NET_DM is asked for.
    pub fn read() -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let release = uname.and_then(|uname| uname.release().to_str().map(str::to_owned));
        let release = release.unwrap_or_default();
        let text = |path: &str| fs::read_to_string(path).ok();
        let loadable = text(&format!("/lib/modules/{release}/modules.dep"));
        Self {
            is_root: nix::unistd::geteuid().is_root(),
            status: text("/proc/self/status").unwrap_or_default(),
            uid_map: text("/proc/self/uid_map").unwrap_or_default(),
            own_namespace: fs::read_link("/proc/self/ns/net").ok(),
            first_namespace: fs::read_link("/proc/1/ns/net").ok(),
            modules: text("/proc/modules").unwrap_or_default(),
            loadable,
            listeners: read_listeners(),
            btf: fs::metadata("/sys/kernel/btf/vmlinux")
                .ok()
                .map(|file| file.len()),
            lockdown: text("/sys/kernel/security/lockdown"),
            kptr_restrict: text("/proc/sys/kernel/kptr_restrict"),
            kallsyms: beginning("/proc/kallsyms", KALLSYMS_BYTES),
            landlock: sandbox::files::version(),
            has_seccomp: sandbox::calls::is_supported(),
            release,
        }
    }
}

fn beginning(path: &str, bytes: u64) -> Option<String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(bytes).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Finds the members of the group and, if there are any, their processes: `/proc/net/netlink` tells each
/// socket's inode, and processes have their sockets' inodes among their open files.
fn read_listeners() -> Vec<Listener> {
    let members = listeners::members().unwrap_or_default();
    let processes = if members.is_empty() {
        Vec::new()
    } else {
        processes()
    };
    let owner = |member: &GroupMember| {
        let socket = PathBuf::from(format!("socket:[{}]", member.inode));
        let mut holding = processes.iter().filter(|&pid| {
            let files = fs::read_dir(format!("/proc/{pid}/fd"));
            let mut files = files.into_iter().flatten().flatten();
            files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to == socket))
        });
        let pid = *holding.next()?;
        let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some((Escaped(name.trim_ascii_end()).to_string(), pid))
    };
    let listeners = members.iter().map(|member| Listener {
        process: owner(member),
    });
    listeners.collect()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.collect()
}
