//! Runs the command of `-z` with each finished file, in a process of its own, which was started before the run was
//! confined, and has given up what the command does not need: one command after the other, because a host in trouble has
//! no power to spare, and the capture waits for none of them.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::unistd::{AccessFlags, access, setpgid};
use rustix::process::{Pid, setpriority_process};
use rustix::thread::CapabilitySet;

use super::diagnostics::{hint, say};
use super::failure::Failure;
use super::standard_streams::shown;
use crate::sandbox::Confinement;
use crate::sandbox::identity::Identity;
use crate::sys::child::{ForkedProcess, close_all_but, fork_connected, json_line};

/// The lowest priority that a process can have.
const LOWEST_PRIORITY: i32 = 19;

/// The process that runs the command, once it was started.
static PROCESS: Mutex<Option<(UnixStream, ForkedProcess)>> = Mutex::new(None);

/// Starts a process that runs the command in place of this one, with files below this folder alone. It goes on as the
/// `owner` of the files where that is another user, and without capabilities. Must be called while this process has a
/// single thread.
pub fn run_apart(command: &Path, folder: &Path, owner: Option<&Identity>) -> io::Result<()> {
    let started = fork_connected(|inside| {
        close_all_but(inside);
        // The terminal's Ctrl-C is for the capture, whose last file is then finished.
        let is_alone = setpgid(nix::unistd::Pid::this(), nix::unistd::Pid::this());
        let is_alone = is_alone.map_err(anyhow::Error::new);
        if let Err(error) = is_alone.and_then(|()| give_up(owner)) {
            let error = Failure::from(error);
            return say(format_args!("the command of -z cannot be run: {error}"));
        }
        if let Some(owner) = owner {
            tell_unwritable(folder, &owner.name);
        }
        // The other process may be gone.
        let _ = serve(inside, command, folder);
    })?;
    *PROCESS.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
    Ok(())
}

/// Gives up what a command has no need of. No filter of system calls: it would be inherited by a command that may do
/// anything that its user may.
fn give_up(owner: Option<&Identity>) -> anyhow::Result<()> {
    Confinement {
        identity: owner,
        capabilities: CapabilitySet::empty(),
        sandbox: None,
    }
    .enforce()?;
    Ok(())
}

/// Tells that this user, who this process is by now, cannot create files beside the finished ones.
fn tell_unwritable(folder: &Path, user: &str) {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    if access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let folder = shown(folder);
        say(format_args!(
            "the command of -z runs as {user}, who may create no file in {folder}"
        ));
        hint("gzip and its like do: `-Z USER` chooses another user, who owns the files as well");
    }
}

/// Runs the command with each file that is named, until the stream ends.
fn serve(stream: &UnixStream, command: &Path, folder: &Path) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let path = serde_json::from_str::<Vec<u8>>(&line?)?;
        let path = PathBuf::from(OsString::from_vec(path));
        let leaves = |part| part == Component::ParentDir;
        if path.starts_with(folder) && !path.components().any(leaves) {
            run(command, &path);
        }
    }
    Ok(())
}

/// The process that runs the command with each finished file. When this is dropped, the commands that are still to run
/// are waited for.
#[derive(Debug)]
pub struct FinishedFiles {
    /// Closed first, which makes the process end.
    stream: UnixStream,
    /// Waited for. `None` in tests alone.
    _process: Option<ForkedProcess>,
}

impl FinishedFiles {
    /// Takes over the process that was started.
    pub fn new() -> io::Result<Self> {
        let started = PROCESS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (stream, process) = started.ok_or_else(|| io::Error::other("it was not started"))?;
        Ok(Self {
            stream,
            _process: Some(process),
        })
    }

    /// Has the command run with this file, once those before are done.
    pub fn hand_over(&self, path: &Path) {
        let sent = json_line(path.as_os_str().as_encoded_bytes())
            .and_then(|line| (&self.stream).write_all(&line));
        if let Err(error) = sent {
            let error = crate::errno::describe(&error);
            say(format_args!(
                "the command of -z is not run with {}: {error}",
                shown(path)
            ));
        }
    }
}

/// Runs the command with the file's name as its argument, and waits for it.
fn run(command: &Path, file: &Path) {
    let ended = start(command, file).and_then(|mut child| child.wait());
    let (command, file) = (shown(command), shown(file));
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => say(format_args!("`{command} {file}` failed: {status}")),
        Err(error) => {
            let error = crate::errno::describe(&error);
            say(format_args!("cannot run `{command} {file}`: {error}"));
        }
    }
}

fn start(command: &Path, file: &Path) -> io::Result<Child> {
    // Standard output is for drops alone.
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let child = Command::new(command)
        .arg(file)
        .stdin(Stdio::null())
        .stdout(stderr)
        // The terminal's Ctrl-C is for the capture, whose last file is then finished.
        .process_group(0)
        .spawn()?;
    // It may have ended already.
    let _ = setpriority_process(Some(Pid::from_child(&child)), LOWEST_PRIORITY);
    Ok(child)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Hands files to the command, as a process that was started does, and waits for it.
    fn run_each(command: &Path, folder: &str, files: &[&str]) {
        let (stream, inside) = UnixStream::pair().unwrap();
        let finished = FinishedFiles {
            stream,
            _process: None,
        };
        for file in files {
            finished.hand_over(Path::new(file));
        }
        drop(finished);
        serve(&inside, command, Path::new(folder)).unwrap();
    }

    #[test]
    fn each_file_is_an_argument_and_no_text_for_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let (script, log) = (folder.path().join("note"), folder.path().join("log"));
        let text = format!(
            "#!/bin/sh\nnice=$(cut -d' ' -f19 /proc/$$/stat)\necho \"$# $nice $1\" >>{}\n",
            log.display()
        );
        std::fs::write(&script, text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let names = ["a b", "; touch x", "$(id)", "c"];
        run_each(&script, "", &names);
        let log = std::fs::read_to_string(log).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), names.len());
        for (line, name) in lines.iter().zip(names) {
            let (start, shown) = (line.starts_with("1 "), line.ends_with(name));
            assert!(start && shown, "{line}");
        }
        // The first may have looked before its priority was set.
        assert!(lines.iter().any(|line| line.starts_with("1 19 ")), "{log}");
    }

    #[test]
    fn a_command_that_is_not_there_stops_nothing() {
        run_each(Path::new("/nonexistent/command"), "", &["a", "b"]);
    }

    #[test]
    fn no_file_of_another_folder_is_handed_to_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let (here, elsewhere) = (format!("{place}/a"), format!("{place}/../a"));
        for path in [&here, "/etc/a", &elsewhere] {
            run_each(Path::new("touch"), place, &[path]);
        }
        assert!(Path::new(&here).exists() && !Path::new(&elsewhere).exists());
        assert!(!Path::new("/etc/a").exists());
    }
}
