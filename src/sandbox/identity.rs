//! The user that a run goes on as, once everything that needs root is open.

use std::ffi::{CString, OsStr};
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use rustix::thread::{
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// The system user that dwdump goes on as where it exists and nothing else was asked for.
pub const SYSTEM_USER: &str = "dwdump";

/// A user, with all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, or the number of a user without one.
    pub name: String,
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The name of the group, or the number of one without.
    pub group_name: String,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// The reason why a user cannot be changed to.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no such user.
    #[error("there is no user \"{0}\"")]
    Unknown(String),
    /// Only root may change to another user.
    #[error("only root can go on as another user")]
    NotRoot,
    /// The user database cannot be read.
    #[error("cannot look up the user \"{0}\"")]
    Unreadable(String, #[source] io::Error),
}

impl Identity {
    /// Chooses the user: the one that was asked for; else, for root, the caller of sudo; else the system user
    /// where it exists. Returns `None` where the user stays the same. `caller` is the caller of sudo.
    pub fn choose(
        asked: Option<&str>,
        caller: Option<(u32, u32)>,
    ) -> Result<Option<Self>, IdentityError> {
        if let Some(name) = asked {
            let user = find(name)?.ok_or_else(|| IdentityError::Unknown(name.into()))?;
            let is_same = user.uid == geteuid();
            if !is_same && !geteuid().is_root() {
                return Err(IdentityError::NotRoot);
            }
            return Ok((!is_same).then(|| Self::of(&user)));
        }
        if !geteuid().is_root() {
            return Ok(None);
        }
        if let Some(caller) = Self::of_caller(caller) {
            return Ok(Some(caller));
        }
        let [users, groups] = ["/etc/passwd", "/etc/group"]
            .map(|path| std::fs::read_to_string(path).unwrap_or_default());
        Ok(system_user(&users, &groups))
    }

    /// Returns the user who called sudo; `None` where that is root. Only root asks: anybody can set the variables.
    pub fn of_caller(caller: Option<(u32, u32)>) -> Option<Self> {
        let (user, group) = caller.filter(|(user, _)| *user != 0 && geteuid().is_root())?;
        let known = User::from_uid(Uid::from_raw(user)).ok().flatten();
        Some(known.map_or_else(
            || Self {
                name: user.to_string(),
                user,
                group,
                group_name: group_name(group),
                groups: vec![group],
            },
            |user| Self::of(&user),
        ))
    }

    fn of(user: &User) -> Self {
        let groups = CString::new(user.name.as_bytes())
            .ok()
            .and_then(|name| getgrouplist(&name, user.gid).ok())
            .unwrap_or_else(|| vec![user.gid]);
        Self {
            name: user.name.clone(),
            user: user.uid.as_raw(),
            group: user.gid.as_raw(),
            group_name: group_name(user.gid.as_raw()),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        }
    }

    /// Makes this thread go on as this user. It keeps its permitted capabilities, none of which is effective.
    pub fn assume(&self) -> io::Result<()> {
        use rustix::process::{Gid, Uid};
        set_keep_capabilities(true)?;
        let groups: Vec<_> = self.groups.iter().map(|&id| Gid::from_raw(id)).collect();
        set_thread_groups(&groups)?;
        let group = Gid::from_raw(self.group);
        set_thread_res_gid(group, group, group)?;
        let user = Uid::from_raw(self.user);
        set_thread_res_uid(user, user, user)?;
        set_keep_capabilities(false)?;
        Ok(())
    }
}

/// Returns the name of a group, or its number.
fn group_name(group: u32) -> String {
    let found = Group::from_gid(Gid::from_raw(group)).ok().flatten();
    found.map_or_else(|| group.to_string(), |found| found.name)
}

/// Returns the user and the group of the caller of sudo, by its variables in the environment.
pub fn sudo_caller() -> Option<(u32, u32)> {
    let id = |name| numeric_id(std::env::var_os(name).as_deref());
    Some((id("SUDO_UID")?, id("SUDO_GID")?))
}

/// Parses the number of a user or group. The largest means "unchanged" to chown(2).
fn numeric_id(text: Option<&OsStr>) -> Option<u32> {
    let id = text?.to_str()?.parse().ok()?;
    (id != u32::MAX).then_some(id)
}

/// Returns the system user that stands in the text of passwd(5), with its own group alone, which group(5) names. The C
/// library would ask nscd first: without it, the kernel drops the request for a connection, in each run.
fn system_user(users: &str, groups: &str) -> Option<Identity> {
    let fields = entry(users, 0, SYSTEM_USER)?;
    let id = |at: usize| numeric_id(fields.get(at).map(OsStr::new));
    let (user, group) = (id(2)?, id(3)?);
    let number = group.to_string();
    let group_name = entry(groups, 2, &number).map_or(number.as_str(), |fields| fields[0]);
    (user != 0).then(|| Identity {
        name: SYSTEM_USER.into(),
        user,
        group,
        group_name: group_name.into(),
        groups: vec![group],
    })
}

/// Returns the fields of the line of passwd(5) or group(5) in which one of them is this.
fn entry<'t>(text: &'t str, at: usize, wanted: &str) -> Option<Vec<&'t str>> {
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.get(at) == Some(&wanted))
}

fn find(name: &str) -> Result<Option<User>, IdentityError> {
    match User::from_name(name) {
        // Some say so by an error (getpwnam(3)), as where there is no /etc/passwd.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        found => found
            .map_err(|error| IdentityError::Unreadable(name.to_owned(), io::Error::from(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_of_a_user() {
        let id = |text: &str| numeric_id(Some(OsStr::new(text)));
        assert_eq!(id("1000"), Some(1000));
        assert_eq!(id("0"), Some(0));
        for text in ["", "-1", "root", "1000 ", "4294967295", "4294967296"] {
            assert_eq!(id(text), None, "{text:?}");
        }
        assert_eq!(numeric_id(None), None);
    }

    #[test]
    fn the_system_user_is_that_of_the_local_database() {
        let root = "root:x:0:0:root:/root:/bin/bash\n";
        let groups = "root:x:0:\nrecorders:x:986:\n";
        let found = |line: &str| system_user(&format!("{root}{line}\n"), groups);
        let user = found("dwdump:!*:987:986::/:/usr/sbin/nologin").unwrap();
        assert_eq!(
            (user.user, user.group, &user.groups[..]),
            (987, 986, &[986][..])
        );
        assert_eq!(user.group_name, "recorders");
        let without = found("dwdump:x:987:985::/:").unwrap();
        assert_eq!(without.group_name, "985");
        for line in [
            "",
            "dwdump",
            "dwdump:x:0:0::/:",
            "dwdump:x:987",
            "dwdump2:x:987:986::/:",
            "dwdump:x:-1:1::",
        ] {
            assert_eq!(found(line), None, "{line:?}");
        }
    }

    #[test]
    fn an_unknown_user_is_an_error() {
        let unknown = Identity::choose(Some("no such user"), None).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no user \"no such user\"");
    }

    #[test]
    fn the_own_user_is_no_change() {
        let own = User::from_uid(geteuid()).unwrap().unwrap();
        assert_eq!(Identity::choose(Some(&own.name), None).unwrap(), None);
    }

    #[test]
    fn under_sudo_it_is_the_caller_even_without_an_entry() {
        let caller = Identity::choose(None, Some((4_000_017, 4_000_018))).unwrap();
        if !geteuid().is_root() {
            return assert_eq!(caller, None);
        }
        let caller = caller.unwrap();
        assert_eq!(
            (
                caller.name.as_str(),
                caller.user,
                caller.group,
                &caller.groups[..]
            ),
            ("4000017", 4_000_017, 4_000_018, &[4_000_018][..])
        );
        // Root that calls sudo is not the caller of another user.
        let root = Identity::choose(None, Some((0, 0))).unwrap();
        assert!(root.is_none_or(|user| user.name == SYSTEM_USER));
    }
}
