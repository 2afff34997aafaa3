//! Looks at the network namespaces and cgroups of this host, in a process of its own where one was started: it keeps
//! the capabilities that entering a namespace needs (CAP_SYS_ADMIN, and CAP_SYS_PTRACE for those of other
//! users), takes nothing but three requests, and never sees a packet.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::fs::MetadataExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use crate::host::namespace::{NAMED, enter};
use crate::sandbox::{Confinement, SandboxRules, Work};
use crate::sys::child::{close_all_but, fork_connected, json_line};
use crate::sys::ignore_signals_of_the_group;

/// The most namespaces, processes and cgroups that are looked at.
const MAX_NAMESPACES: usize = 4096;
const MAX_PROCESSES: usize = 100_000;
const MAX_CGROUPS: usize = 50_000;
/// The longest wait for an answer, and its most bytes.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 64 << 20;

/// The process, once it was started; `None` inside after it failed.
static PROCESS: OnceLock<Mutex<Option<UnixStream>>> = OnceLock::new();

/// A namespace that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoundNamespace {
    /// Its inode.
    pub inode: u32,
    /// Its name in `/run/netns`.
    pub name: Option<Vec<u8>>,
    /// `/proc/PID/cgroup` of a process in it, where it has no name.
    pub cgroup: Option<String>,
    /// The path of a file by which it can be entered.
    entrance: Vec<u8>,
}

impl FoundNamespace {
    /// Returns a file by which it can be entered.
    pub fn entrance(&self) -> PathBuf {
        OsString::from_vec(self.entrance.clone()).into()
    }
}

/// The devices of a namespace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum FoundDevices {
    /// Their indices and names.
    Devices(Vec<(u32, Vec<u8>)>),
    /// This process may not enter the namespace.
    #[default]
    Refused,
    /// The namespace is no longer there.
    Gone,
}

/// A cgroup: the inode of its folder, and its path below the root of the hierarchy.
pub type FoundCgroup = (u64, Vec<u8>);

/// A request to the process.
#[derive(Debug, Serialize, Deserialize)]
enum SurroundingsRequest {
    Namespaces,
    Devices(u32),
    Cgroups,
}

/// Starts the process, once. Must be called while this process has a single thread. `is_confined` gives it a sandbox.
pub fn look_apart(is_confined: bool) -> io::Result<()> {
    if PROCESS.get().is_some() {
        return Ok(());
    }
    let (stream, copy) = fork_connected(|inside| {
        // Ctrl-C is for the other process, at whose end the stream ends.
        ignore_signals_of_the_group();
        close_all_but(inside);
        if confine(is_confined).is_ok() {
            // Who reads the answers may be gone.
            let _ = serve(inside);
        }
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // It ends when the stream does, which is open as long as this process lives.
    std::mem::forget(copy);
    let _ = PROCESS.set(Mutex::new(Some(stream)));
    Ok(())
}

/// Returns whether the process was started and failed since, so that names are missing.
pub fn has_failed() -> bool {
    let process = PROCESS.get();
    process.is_some_and(|process| locked(process).is_none())
}

fn locked(process: &Mutex<Option<UnixStream>>) -> std::sync::MutexGuard<'_, Option<UnixStream>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up what looking does not need.
fn confine(is_confined: bool) -> anyhow::Result<()> {
    // What the other process writes to ends when that does.
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Confinement {
        identity: None,
        capabilities: CapabilitySet::SYS_ADMIN
            | CapabilitySet::SYS_PTRACE
            | CapabilitySet::DAC_READ_SEARCH,
        // Landlock would hide the namespaces of all processes that it does not confine, too.
        sandbox: is_confined.then_some(SandboxRules {
            paths: None,
            work: &[Work::Files, Work::Folders, Work::Namespaces],
            child: None,
        }),
    }
    .enforce()?;
    Ok(())
}

/// Answers each line, until the stream ends.
fn serve(stream: &UnixStream) -> io::Result<()> {
    let mut output = stream;
    let mut entrances = HashMap::new();
    for line in BufReader::new(stream).lines() {
        let answer = match serde_json::from_str(&line?)? {
            SurroundingsRequest::Namespaces => {
                let found = find_namespaces();
                let known = found.iter().map(|found| (found.inode, found.entrance()));
                entrances = known.collect();
                json_line(&found)
            }
            SurroundingsRequest::Devices(inode) => {
                let entrance = entrances.get(&inode);
                let gone = FoundDevices::Gone;
                json_line(&entrance.map_or(gone, |path| devices_in(path, inode)))
            }
            SurroundingsRequest::Cgroups => json_line(&find_cgroups()),
        }?;
        output.write_all(&answer)?;
    }
    Ok(())
}

/// Asks the process; `None` where there is none.
fn ask<T: serde::de::DeserializeOwned + Default>(request: &SurroundingsRequest) -> Option<T> {
    let mut process = locked(PROCESS.get()?);
    let answered = process
        .as_ref()
        .and_then(|stream| exchange(stream, request).ok());
    if answered.is_none() {
        // Half an answer would be taken for the next one.
        *process = None;
    }
    Some(answered.unwrap_or_default())
}

fn exchange<T: serde::de::DeserializeOwned>(
    mut stream: &UnixStream,
    request: &SurroundingsRequest,
) -> io::Result<T> {
    stream.write_all(&json_line(request)?)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// Returns the namespaces with names, that of this process, and those of all processes.
pub fn namespaces() -> Vec<FoundNamespace> {
    ask(&SurroundingsRequest::Namespaces).unwrap_or_else(find_namespaces)
}

/// Returns the devices of a namespace that was found.
pub fn devices(entrance: &Path, inode: u32) -> FoundDevices {
    let asked = ask(&SurroundingsRequest::Devices(inode));
    asked.unwrap_or_else(|| devices_in(entrance, inode))
}

/// Returns all cgroups of the hierarchy of version 2.
pub fn cgroups() -> Vec<FoundCgroup> {
    ask(&SurroundingsRequest::Cgroups).unwrap_or_else(find_cgroups)
}

fn find_namespaces() -> Vec<FoundNamespace> {
    let mut found = HashMap::<u32, FoundNamespace>::new();
    let mut add = |entrance: PathBuf, name: Option<Vec<u8>>| {
        if let Some(inode) = inode(&entrance)
            && found.len() < MAX_NAMESPACES
        {
            found.entry(inode).or_insert_with(|| FoundNamespace {
                inode,
                name,
                cgroup: None,
                entrance: entrance.into_os_string().into_vec(),
            });
        }
    };
    // Those with a name first: they have no other place for it, and they stay.
    for file in fs::read_dir(NAMED).into_iter().flatten().flatten() {
        add(file.path(), Some(file.file_name().into_encoded_bytes()));
    }
    add("/proc/self/ns/net".into(), None);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.take(MAX_PROCESSES) {
        if process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            add(process.path().join("ns/net"), None);
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    for namespace in found.iter_mut().filter(|found| found.name.is_none()) {
        // /proc/PID/ns/net
        let entrance = namespace.entrance();
        let process = entrance.parent().and_then(Path::parent);
        let cgroup = process.and_then(|process| fs::read_to_string(process.join("cgroup")).ok());
        namespace.cgroup = cgroup;
    }
    found
}

/// Returns the inode of a file of a namespace.
pub fn inode(file: &Path) -> Option<u32> {
    u32::try_from(fs::metadata(file).ok()?.st_ino()).ok()
}

/// Returns the devices of a namespace. A thread enters it and ends: the namespace of this one, and of all
/// others, stays the same. Without CAP_SYS_ADMIN the kernel refuses.
fn devices_in(entrance: &Path, wanted: u32) -> FoundDevices {
    // The number of the process may be another one's by now.
    let is_there = || inode(entrance) == Some(wanted);
    let look = || {
        let entrance = File::open(entrance).ok()?;
        if entrance.metadata().ok()?.st_ino() != u64::from(wanted) {
            return None;
        }
        let is_own = inode(Path::new("/proc/self/ns/net")) == Some(wanted);
        let look = move || {
            if !is_own {
                enter(entrance).ok()?;
            }
            own_devices()
        };
        thread::Builder::new().spawn(look).ok()?.join().ok()?
    };
    match look() {
        Some(devices) => FoundDevices::Devices(devices),
        None if is_there() => FoundDevices::Refused,
        None => FoundDevices::Gone,
    }
}

/// Returns the devices of the namespace that this thread is in.
fn own_devices() -> Option<Vec<(u32, Vec<u8>)>> {
    let devices = nix::net::if_::if_nameindex().ok()?;
    let devices = devices.iter();
    let devices = devices.map(|device| (device.index(), device.name().to_bytes().to_vec()));
    Some(devices.collect())
}

/// Returns the folder at which the hierarchy is mounted.
fn cgroup_root() -> Option<PathBuf> {
    mount(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Returns the folder at which the hierarchy of version 2 is mounted, by the lines of `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5)).
fn mount(mounts: &str) -> Option<PathBuf> {
    let mut lines = mounts.lines();
    lines.find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let is_cgroup = kind.split(' ').next() == Some("cgroup2");
        let path = mount.split(' ').nth(4).filter(|_| is_cgroup)?;
        Some(Path::new(path).to_owned())
    })
}

/// Goes through the hierarchy.
fn find_cgroups() -> Vec<FoundCgroup> {
    let Some(root) = cgroup_root() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    let mut count = 0;
    while let Some(folder) = open.pop() {
        count += 1;
        if count > MAX_CGROUPS {
            break;
        }
        if let Ok(data) = fs::metadata(&folder) {
            let below = folder.strip_prefix(&root).unwrap_or(&folder);
            let path = [b"/", below.as_os_str().as_encoded_bytes()].concat();
            found.push((data.st_ino(), path));
        }
        for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if file.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(file.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_among_the_mounts() {
        let mounts = "25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw\n\
                      33 24 0:28 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n";
        let found = mount(mounts).unwrap();
        assert_eq!(found, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(mount("cgroup2\n1 - cgroup2"), None);
    }

    #[test]
    fn a_file_of_another_namespace_is_not_entered() {
        let own = Path::new("/proc/self/ns/net");
        assert!(matches!(devices_in(own, 7), FoundDevices::Gone));
        let own_devices = devices_in(own, inode(own).unwrap());
        assert!(
            matches!(own_devices, FoundDevices::Devices(devices) if devices.contains(&(1, b"lo".to_vec())))
        );
    }

    #[test]
    fn requests_are_answered_as_this_process_would_answer() {
        let (outside, inside) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || serve(&inside));
        // The devices of a namespace that was not found before are nobody's.
        let request = SurroundingsRequest::Devices(inode(Path::new("/proc/self/ns/net")).unwrap());
        let devices = exchange(&outside, &request).unwrap();
        assert!(matches!(devices, FoundDevices::Gone));
        let found: Vec<FoundNamespace> =
            exchange(&outside, &SurroundingsRequest::Namespaces).unwrap();
        assert!(
            found
                .iter()
                .any(|found| found.entrance() == Path::new("/proc/self/ns/net"))
        );
        let devices = exchange(&outside, &request).unwrap();
        assert!(
            matches!(devices, FoundDevices::Devices(devices) if devices.contains(&(1, b"lo".to_vec())))
        );
        let cgroups: Vec<FoundCgroup> = exchange(&outside, &SurroundingsRequest::Cgroups).unwrap();
        assert_eq!(cgroups, find_cgroups());
        drop(outside);
        server.join().unwrap().unwrap();
    }
}
