//! The cgroups of this host: their paths by number, and the container or systemd unit that each belongs to.

use super::pause::SearchPause;
use super::surroundings;
use crate::cache::Memo;
use crate::record::Name;

/// The most cgroups that are known.
const MAX_CGROUPS: usize = 50_000;
/// The length of a container's number, and of what is shown of it, as the container programs do.
const CONTAINER_LEN: usize = 64;
const SHORT_LEN: usize = 12;

/// The cgroups, as far as they were looked for.
#[derive(Default)]
pub struct CgroupTable {
    known: Memo<u64, KnownCgroup>,
    pause: SearchPause,
}

/// A cgroup.
struct KnownCgroup {
    path: Vec<u8>,
    unit: Vec<u8>,
}

/// The names of a cgroup, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupNames<'t> {
    /// Its path below the root of the hierarchy.
    pub path: Option<Name<'t>>,
    /// The container or the systemd unit.
    pub unit: Option<Name<'t>>,
}

impl CgroupTable {
    /// Returns the names of the cgroup with this number, which is its directory's inode.
    pub fn names(&mut self, number: u64) -> CgroupNames<'_> {
        if self.known.find(&number).is_none() && self.pause.is_over() {
            self.search();
        }
        let Some(found) = self.known.find(&number) else {
            return CgroupNames::default();
        };
        CgroupNames {
            path: Name::new(&found.path),
            unit: Name::new(&found.unit),
        }
    }

    /// Looks at all of them. Those that are gone stay known: their drops may come yet.
    fn search(&mut self) {
        if self.known.len() >= MAX_CGROUPS {
            self.known.clear();
        }
        for (number, path) in surroundings::cgroups() {
            let unit = unit(&path);
            self.known.set(number, KnownCgroup { path, unit });
        }
    }
}

/// Returns the container that a process runs in, by the lines of its `/proc/PID/cgroup` (cgroups(7)).
pub(super) fn container_of(process: &str) -> Option<Vec<u8>> {
    let mut lines = process.lines();
    // NUMBER:CONTROLLERS:PATH
    lines.find_map(|line| container_in(line.splitn(3, ':').nth(2)?.as_bytes()))
}

fn container_in(path: &[u8]) -> Option<Vec<u8>> {
    let mut before = &b""[..];
    path.split(|&byte| byte == b'/').find_map(|part| {
        let found = container(before, part);
        before = part;
        found
    })
}

/// Returns the container of a cgroup's path (`docker-3f2a0123abcd`), else the innermost systemd unit
/// (`ssh.service`); empty where it belongs to neither.
fn unit(path: &[u8]) -> Vec<u8> {
    let is_unit = |part: &&[u8]| part.ends_with(b".service") || part.ends_with(b".scope");
    container_in(path).unwrap_or_else(|| {
        let mut parts = path.split(|&byte| byte == b'/');
        parts.rfind(is_unit).unwrap_or_default().to_vec()
    })
}

/// Returns the container that a part of a path names, with its number cut short.
fn container(before: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    // docker-NUMBER.scope, cri-containerd-NUMBER.scope; docker/NUMBER, kubepods/…/NUMBER
    let bare = part.strip_suffix(b".scope").unwrap_or(part);
    let at = bare.len().checked_sub(CONTAINER_LEN)?;
    let (runtime, number) = bare.split_at(at);
    if !number.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let runtime = match runtime.strip_suffix(b"-") {
        Some(runtime) => runtime,
        None if !runtime.is_empty() => return None,
        None if before == b"docker" => before,
        None => b"container",
    };
    Some([runtime, b"-", &number[..SHORT_LEN]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_container_or_unit() {
        #[track_caller]
        fn check(path: &str, expected: &str) {
            assert_eq!(String::from_utf8(unit(path.as_bytes())).unwrap(), expected);
        }
        let number = "3f2a0123abcd".to_owned() + &"0".repeat(52);
        check("/", "");
        check("/system.slice", "");
        check("/system.slice/ssh.service", "ssh.service");
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope",
            "a.scope",
        );
        check(
            &format!("/system.slice/docker-{number}.scope"),
            "docker-3f2a0123abcd",
        );
        check(
            &format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{number}.scope/init"),
            "cri-containerd-3f2a0123abcd",
        );
        check(&format!("/docker/{number}"), "docker-3f2a0123abcd");
        check(
            &format!("/kubepods/pod1/{number}"),
            "container-3f2a0123abcd",
        );
        // Neither the length nor the digits of a container's number.
        let other = format!("docker-{}.scope", &number[1..]);
        check(&format!("/system.slice/{other}"), &other);
        let other = format!("docker-x{}.scope", &number[1..]);
        check(&format!("/system.slice/{other}"), &other);
    }

    #[test]
    fn the_container_of_a_process_is_found_in_any_hierarchy() {
        let number = "3f2a0123abcd".to_owned() + &"0".repeat(52);
        let version_1 = format!("12:pids:/docker/{number}\n0::/system.slice/a.service\n");
        let found = container_of(&version_1).unwrap();
        assert_eq!(found, b"docker-3f2a0123abcd");
        let version_2 = format!("0::/../cri-containerd-{number}.scope\n");
        let found = container_of(&version_2).unwrap();
        assert_eq!(found, b"cri-containerd-3f2a0123abcd");
        assert_eq!(container_of("0::/system.slice/ssh.service\n"), None);
        assert_eq!(container_of("nothing"), None);
    }

    #[test]
    fn the_cgroups_of_this_machine_are_known_by_number() {
        let mut table = CgroupTable::default();
        let all = surroundings::cgroups();
        // Not every machine has the hierarchy.
        for (number, path) in all.iter().take(1) {
            assert_eq!(table.names(*number).path, Name::new(path));
        }
        assert_eq!(table.names(u64::MAX), CgroupNames::default());
    }
}
