//! Gives up what a run does not need any more once everything is open: its user, its capabilities, files and system
//! calls. At the end it reports the calls that were refused.

use std::path::{Path, PathBuf};

use rustix::process::Pid;
use rustix::thread::CapabilitySet;

use super::diagnostics::{hint, note, say};
use super::failure::Failure;
use super::folder::give_new_files_to;
use super::plural::Plural;
use super::signals::Requests;
use crate::cli::{DebugFiles, Relinquishment, SandboxChoice};
use crate::rights;
use crate::sandbox::files::{FileConfinement, OpenPaths};
use crate::sandbox::identity::{Identity, IdentityError, sudo_caller};
use crate::sandbox::{Confinement, ConfinementError, Enforced, SandboxRules, Work};
use crate::sink::Detail;
use crate::source::surroundings;

/// The files that any run may read while it goes on: the time zone, the devices of this network namespace with
/// their types, and the BTF of modules that are loaded meanwhile.
const READABLE: [&str; 5] = [
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/sys/class/net",
    "/sys/devices",
    "/sys/kernel/btf",
];
/// The files with names that a filter may have.
const NAMES: [&str; 3] = ["/etc/hosts", "/etc/services", "/etc/protocols"];
/// The work of the live table: its own files, the keys, and the processes that create files and look at the host.
pub const OF_TABLE: [Work; 4] = [Work::Files, Work::Table, Work::Receiving, Work::Waiting];
/// The folders with debug information, which is opened when a drop needs it.
const DEBUG_FOLDERS: [&str; 6] = [
    "/usr/lib/debug",
    "/lib/modules",
    "/usr/lib/modules",
    "/boot",
    // The build ids by which it is found.
    "/sys/kernel/notes",
    "/sys/module",
];

/// The rights that a run gives up.
pub struct Confiner {
    sandbox: SandboxChoice,
    identity: Option<Identity>,
    /// The user to whom new files are given; `None` where they stay this process's.
    owner: Option<Identity>,
    detail: Detail,
    readable: Vec<PathBuf>,
    /// Files of debug information may be root's alone; Landlock says which of these can be opened.
    reads_debug_files: bool,
}

/// The rights that the rest of a run needs.
#[derive(Clone, Debug)]
pub struct Remaining {
    /// The capabilities, of those that the process has.
    pub capabilities: CapabilitySet,
    /// The work that its system calls are for.
    pub work: Vec<Work>,
    /// The files that can be opened.
    pub files: RemainingFiles,
    /// A process that was started before, and may be killed.
    pub child: Option<Pid>,
}

/// The files that can still be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemainingFiles {
    /// Those that a run reads while it goes on.
    Readable,
    /// The same. The new file may be removed from this folder as long as nothing was written to it.
    Cleared(PathBuf),
    /// The same, and those with the names that a filter of the table may have.
    Named,
}

/// The subject of a run, which decides about the user that it goes on as where none was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// A live run that nobody has to sit in front of: it goes on as another user than root.
    Unattended,
    /// A file: who started it reads it.
    Attended,
}

impl Remaining {
    /// Returns the rights that reading a file needs, once it is open. `work` is that of the outputs, `created` a file
    /// that was created and is removed again where nothing is written to it.
    pub fn of_reading(work: Vec<Work>, created: Option<&Path>) -> Self {
        let mut work = [vec![Work::Files], work].concat();
        let files = match created {
            Some(path) => {
                work.push(Work::Removing);
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                RemainingFiles::Cleared(folder.unwrap_or(Path::new(".")).to_owned())
            }
            None => RemainingFiles::Readable,
        };
        Self {
            capabilities: CapabilitySet::empty(),
            work,
            files,
            child: None,
        }
    }

    /// Returns the rights that it takes to wait for a program that hands on what another host sends, to pass on that
    /// host's messages, and to end the program.
    pub fn of_following(program: Pid) -> Self {
        Self {
            capabilities: CapabilitySet::empty(),
            work: vec![Work::Waiting],
            files: RemainingFiles::Readable,
            child: Some(program),
        }
    }

    /// Returns the rights that the table of a file needs, once that is open.
    pub fn of_table() -> Self {
        Self {
            capabilities: CapabilitySet::empty(),
            work: OF_TABLE.to_vec(),
            files: RemainingFiles::Named,
            child: None,
        }
    }
}

impl Confiner {
    /// Chooses the user to go on as. `files` are those of debug information.
    pub fn new(
        wanted: &Relinquishment,
        setting: Attendance,
        detail: Detail,
        files: Option<&DebugFiles>,
    ) -> Result<Self, Failure> {
        let asked = wanted.user.as_deref();
        let is_elevated = rights::are_elevated();
        if is_elevated && asked.is_some() {
            return Err(refused_user(IdentityError::NotRoot, asked));
        }
        let is_asked = asked.is_some() || setting == Attendance::Unattended;
        let identity = if is_asked && !is_elevated {
            Identity::choose(asked, sudo_caller()).map_err(|error| refused_user(error, asked))?
        } else {
            None
        };
        let caller = (!is_elevated).then(|| Identity::of_caller(sudo_caller()));
        let owner = identity.clone().or_else(|| caller.flatten());
        if let Some(owner) = &owner {
            give_new_files_to(owner);
        }
        let mut readable: Vec<_> = READABLE.iter().map(PathBuf::from).collect();
        // TZ=:/path names a file.
        let zone = std::env::var_os("TZ").and_then(|zone| zone.into_string().ok());
        readable.extend(zone.map(|zone| PathBuf::from(zone.trim_start_matches(':'))));
        if let Some(files) = files {
            readable.extend(DEBUG_FOLDERS.iter().map(PathBuf::from));
            readable.extend(files.vmlinux.clone());
            readable.extend(files.modules.clone());
        }
        Ok(Self {
            sandbox: wanted.sandbox,
            identity,
            owner,
            detail,
            readable,
            reads_debug_files: files.is_some(),
        })
    }

    /// Returns whether files and system calls are confined.
    pub fn has_sandbox(&self) -> bool {
        self.sandbox != SandboxChoice::Off
    }

    /// Returns the user to whom new files are given, and as whom a command works on them; `None` where that is the
    /// user of this process.
    pub fn owner(&self) -> Option<&Identity> {
        self.owner.as_ref()
    }

    /// Reports as whom the command of `-z` runs.
    pub fn tell_command(&self) {
        if self.detail == Detail::Full {
            let user = self.owner.as_ref();
            let user = user.map_or_else(String::new, |user| format!("as {}, ", user.name));
            note(format_args!(
                "the command of -z runs {user}with no capability"
            ));
        }
    }

    /// Gives up all rights but the remaining ones.
    pub fn confine(&self, requests: &mut Requests, remaining: &Remaining) -> Result<(), Failure> {
        let mut work = remaining.work.clone();
        if self.reads_debug_files {
            work.push(Work::Folders);
        }
        let mut paths = OpenPaths {
            readable: self.readable.iter().map(PathBuf::as_path).collect(),
            ..OpenPaths::default()
        };
        match &remaining.files {
            RemainingFiles::Readable => {}
            RemainingFiles::Named => paths.readable.extend(NAMES.map(Path::new)),
            RemainingFiles::Cleared(folder) => paths.cleared.push(folder),
        }
        let of_files = if self.reads_debug_files && self.has_sandbox() {
            CapabilitySet::DAC_READ_SEARCH
        } else {
            CapabilitySet::empty()
        };
        let confinement = Confinement {
            identity: self.identity.as_ref(),
            capabilities: remaining.capabilities | of_files,
            sandbox: self.has_sandbox().then(|| SandboxRules {
                paths: Some(paths),
                work: &work,
                child: remaining.child,
            }),
        };
        let enforced = requests.handle_anew_after(|| confinement.enforce())?;
        self.tell(&enforced.map_err(cannot_confine)?)
    }

    /// Returns the words for another user, with a comma.
    fn user_in_words(&self) -> String {
        self.identity.as_ref().map_or_else(String::new, |identity| {
            format!(
                "going on as {}, group {}, ",
                identity.name, identity.group_name
            )
        })
    }

    /// Reports what is in force.
    fn tell(&self, enforced: &Enforced) -> Result<(), Failure> {
        let shortcomings = enforced.shortcomings();
        if self.sandbox == SandboxChoice::Strict && enforced.is_missing() {
            let error = anyhow::anyhow!("the sandbox is not complete: {}", shortcomings.join("; "));
            let hint = "--sandbox auto goes on with what this kernel has";
            return Err(Failure::new(error, Some(hint)));
        }
        if self.detail != Detail::Full {
            return Ok(());
        }
        note(format_args!(
            "{}with {}",
            self.user_in_words(),
            in_words(enforced.capabilities)
        ));
        let files = match &enforced.files {
            Some(Ok(FileConfinement::Full | FileConfinement::Partial)) => {
                "no file can be written or created"
            }
            _ => "files are not confined",
        };
        match &enforced.calls {
            Some(Ok(confined)) => note(format_args!(
                "sandbox: {files}, and {} system calls are left",
                confined.calls
            )),
            Some(Err(_)) => note(format_args!("sandbox: {files}")),
            None => note("no sandbox: --sandbox off"),
        }
        for shortcoming in shortcomings {
            note(shortcoming);
        }
        Ok(())
    }
}

/// Confines this process, which follows a program that hands on what another host sends.
pub fn confine_following(program: Pid, requests: &mut Requests) -> Result<(), Failure> {
    let wanted = Relinquishment::default();
    let confiner = Confiner::new(&wanted, Attendance::Attended, Detail::Line, None)?;
    confiner.confine(requests, &Remaining::of_following(program))
}

/// Reports the system calls that were refused, and a process that ended too early.
pub fn tell_refusals() {
    let refused = refused();
    let sum = refused.iter().map(|(_, count)| count).sum();
    if sum > 0 {
        let calls = refused.iter().map(|(name, _)| name.as_str());
        say(format_args!(
            "the sandbox refused {}: {}",
            Plural(sum, "system call"),
            calls.collect::<Vec<_>>().join(", ")
        ));
        hint(
            "--sandbox off turns it off; please report what was refused, which is a mistake in dwdump or an attack",
        );
    }
    if surroundings::has_failed() {
        say(
            "the process that looks at network namespaces and cgroups has failed: names of these are missing",
        );
    }
}

/// Returns the refused system calls, by name where it is known, with their numbers of refusals.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn refused() -> Vec<(String, u64)> {
    let refused = crate::sys::refused_calls::refused_calls();
    let named = refused.iter().map(|call| {
        let name = crate::sandbox::calls::name(call.number);
        let name = name.map_or_else(|| format!("number {}", call.number), str::to_owned);
        (name, call.count)
    });
    named.collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn refused() -> Vec<(String, u64)> {
    Vec::new()
}

fn refused_user(error: IdentityError, asked: Option<&str>) -> Failure {
    let hint = match &error {
        IdentityError::Unknown(_) => "`getent passwd` lists the users",
        IdentityError::NotRoot => "leave -Z out, or run `sudo dwdump …`",
        IdentityError::Unreadable(..) => "-Z root stays root, without what a run does not need",
    };
    let error = anyhow::Error::new(error);
    let error = match asked {
        Some(name) => error.context(format!("cannot carry out -Z {name}")),
        None => error,
    };
    Failure::new(error, Some(hint))
}

fn cannot_confine(error: ConfinementError) -> Failure {
    Failure::new(
        error,
        Some("-Z root stays root, and --sandbox off leaves files and system calls alone"),
    )
}

/// Returns capabilities in words.
fn in_words(capabilities: CapabilitySet) -> String {
    let names: Vec<_> = capabilities
        .iter_names()
        .map(|(name, _)| format!("CAP_{name}"))
        .collect();
    if names.is_empty() {
        "no capability".into()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::calls::count;

    #[test]
    fn no_reading_has_more_system_calls_than_were_measured() {
        let file = Some(Path::new("x.pcapng"));
        let reading = |work: &[Work], created| Remaining::of_reading(work.to_vec(), created);
        let ring = [Work::Writing, Work::Receiving, Work::Waiting];
        for (remaining, most) in [
            (reading(&[], None), 36),
            (reading(&[Work::Waiting], None), 37),
            (reading(&[Work::Writing], file), 39),
            (reading(&ring, file), 41),
            (Remaining::of_table(), 42),
            (Remaining::of_following(rustix::process::getpid()), 34),
        ] {
            let calls = count(&remaining.work);
            assert!(calls <= most, "{calls}: {remaining:?}");
        }
    }
}
