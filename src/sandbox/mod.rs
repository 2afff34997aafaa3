//! Confines this process once it has opened what needs privileges: gives up the user ([`identity`]), the
//! [`capabilities`], the [`files`] and the system calls ([`calls`]) that it does not need any more.
//!
//! Each is in force for this thread, and for those that it starts later, except for the system calls, which are
//! those of all threads. So a thread that was started before needs [`Confinement::enforce`] of its own, or has to be
//! gone.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod calls;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "no_calls.rs"]
pub mod calls;
pub mod capabilities;
pub mod files;
pub mod identity;

use std::io;

use rustix::process::Pid;
use rustix::thread::{CapabilitySet, set_no_new_privs};

use files::{FileConfinement, OpenPaths};
use identity::Identity;

/// The kinds of work that a process does, each with the system calls that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Opens and reads files, of those that Landlock allows.
    Files,
    /// Lists folders: those with debug information, and that of the modules' BTF.
    Folders,
    /// Asks for the devices of this network namespace.
    Devices,
    /// Receives alerts of NET_DM, and sends its requests.
    Netlink,
    /// Takes the reports of attached eBPF programs.
    Programs,
    /// Loads and attaches eBPF programs during the run.
    Loading,
    /// Writes packets to a file that is open.
    Writing,
    /// Takes descriptors from another process, which opens files.
    Receiving,
    /// Puts files on the disk.
    Syncing,
    /// Creates files, gives them to their owner, and removes them.
    Creating,
    /// Creates files that do not exist yet, and gives them to their owner.
    CreatingNew,
    /// Opens files with the caller's rights, where this program's file gives it more.
    ForCaller,
    /// Hands descriptors over to another process.
    HandingOver,
    /// Removes a file that was created and not written to.
    Removing,
    /// Shows the table.
    Table,
    /// Waits for the end of a process that it started.
    Waiting,
    /// Enters network namespaces, and lists what is in them.
    Namespaces,
}

/// The system calls that a process may still make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallConfinement {
    /// The number of different ones.
    pub calls: usize,
}

/// The rights that remain to a process.
#[derive(Clone, Debug)]
pub struct Confinement<'p> {
    /// The user to go on as; `None` keeps the present one.
    pub identity: Option<&'p Identity>,
    /// The capabilities that are kept, where the process has them.
    pub capabilities: CapabilitySet,
    /// Confines files and system calls as well; `None` leaves both as they are.
    pub sandbox: Option<SandboxRules<'p>>,
}

/// The files and system calls that remain.
#[derive(Clone, Debug)]
pub struct SandboxRules<'p> {
    /// The paths that can be opened; `None` leaves that as it is.
    pub paths: Option<OpenPaths<'p>>,
    /// The work that the system calls are for.
    pub work: &'p [Work],
    /// A process that was started before, and may be killed.
    pub child: Option<Pid>,
}

/// The confinement that is in force. Of a part that the kernel does not have, the cause is told.
#[derive(Debug)]
pub struct Enforced {
    /// The capabilities that are left.
    pub capabilities: CapabilitySet,
    /// The files; `None` where they were not to be confined.
    pub files: Option<Result<FileConfinement, String>>,
    /// The system calls; `None` where they were not to be confined.
    pub calls: Option<Result<CallConfinement, String>>,
}

/// The step that failed, for messages.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub struct ConfinementError {
    step: &'static str,
    #[source]
    error: io::Error,
}

impl Confinement<'_> {
    /// Gives up everything else. The identity and the capabilities are given up or it is an error; what the kernel
    /// does not have of the sandbox is returned.
    pub fn enforce(&self) -> Result<Enforced, ConfinementError> {
        let failed = |step| move |error| ConfinementError { step, error };
        let no_new_privs = set_no_new_privs(true).map_err(io::Error::from);
        no_new_privs.map_err(failed("set no_new_privs"))?;
        let limited = capabilities::limit_bounding_set(self.capabilities);
        limited.map_err(failed("limit the bounding set of capabilities"))?;
        let sandbox = self.sandbox.as_ref();
        // Before the user changes, who may not see all of the paths.
        let files = sandbox
            .and_then(|sandbox| Some((sandbox.paths.as_ref()?, sandbox.child)))
            .map(|(paths, child)| {
                let confined = files::confine(paths, child.is_some());
                confined.map_err(|error| error.to_string())
            });
        if let Some(identity) = self.identity {
            identity.assume().map_err(failed("change the user"))?;
        }
        let kept = capabilities::keep(self.capabilities);
        let capabilities = kept.map_err(failed("give up capabilities"))?;
        let calls = sandbox.map(|sandbox| {
            calls::confine(sandbox.work, sandbox.child).map_err(|error| error.to_string())
        });
        let enforced = Enforced {
            capabilities,
            files,
            calls,
        };
        Ok(enforced)
    }
}

/// Confines a process that looks at this host, and runs programs for that: it keeps the capabilities of looking, and
/// can write to no file. What the kernel does not have of the sandbox is left out.
pub fn confine_looking(has_sandbox: bool) -> io::Result<()> {
    let kept = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::NET_ADMIN
        // iptables-legacy-save asks by a raw socket.
        | CapabilitySet::NET_RAW
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::BPF
        | CapabilitySet::PERFMON
        | CapabilitySet::SYSLOG;
    set_no_new_privs(true)?;
    capabilities::limit_bounding_set(kept)?;
    capabilities::keep(kept)?;
    if has_sandbox {
        // Landlock would hide the files of all processes that it does not confine, too.
        let _ = calls::forbid_changes();
    }
    Ok(())
}

impl Enforced {
    /// Returns whether a part of the sandbox that was asked for is not in force at all.
    pub fn is_missing(&self) -> bool {
        let lacks_files = matches!(self.files, Some(Ok(FileConfinement::None) | Err(_)));
        lacks_files || matches!(self.calls, Some(Err(_)))
    }

    /// Returns what is not fully in force of the sandbox that was asked for, in words.
    pub fn shortcomings(&self) -> Vec<String> {
        let files = match &self.files {
            None | Some(Ok(FileConfinement::Full)) => None,
            Some(Ok(FileConfinement::Partial)) => Some(
                "this kernel's Landlock is old, and knows a part of the rules for files".into(),
            ),
            Some(Ok(FileConfinement::None)) => {
                Some("this kernel has no Landlock, or it is off: files are not confined".into())
            }
            Some(Err(error)) => Some(format!("files are not confined: {error}")),
        };
        let calls = match &self.calls {
            None | Some(Ok(_)) => None,
            Some(Err(error)) => Some(format!("system calls are not confined: {error}")),
        };
        files.into_iter().chain(calls).collect()
    }
}
