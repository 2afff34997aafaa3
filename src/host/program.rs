//! Programs that answer what the kernel says in no file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Unseen;

/// The longest that a program may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most bytes that are taken of an answer; one that is longer is none.
const MAX_OUTPUT: usize = 16 << 20;
/// The most bytes that are taken of a complaint.
const MAX_COMPLAINT: u64 = 1000;
/// The folders in which programs of the administrator are, which a user's PATH often lacks.
const MORE_FOLDERS: &str = "/usr/sbin:/sbin";

/// Runs a program, in the network namespace of this thread, and returns what it writes to its standard output. It
/// has no standard input and no environment but PATH. A program that fails, takes longer than 3 seconds, or writes more
/// than 16 MiB has no answer.
pub fn output(program: &str, arguments: &[&str]) -> Result<Vec<u8>, Unseen> {
    let path = match std::env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{MORE_FOLDERS}"),
        _ => format!("/usr/bin:/bin:{MORE_FOLDERS}"),
    };
    let file = find(program, &path)
        .ok_or_else(|| Unseen::Absent(format!("there is no program {program}")))?;
    let mut child = Command::new(file)
        .args(arguments)
        .env_clear()
        .env("PATH", &path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Unseen::Failed(format!("{program}: {error}")))?;
    let answer = read_until_end(&mut child, Instant::now() + PATIENCE);
    if answer.is_err() {
        // It may have ended by itself meanwhile.
        let _ = child.kill();
    }
    // Without this, it would remain as a zombie.
    let _ = child.wait();
    answer.map_err(|error| Unseen::Failed(format!("{program}: {error}")))
}

/// Returns the file of a program: the first that there is in a list of folders. A relative folder is none: what lies
/// in the working directory is not to be run.
fn find(program: &str, path: &str) -> Option<PathBuf> {
    let folders = path.split(':').map(Path::new);
    let mut files = folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}

/// Returns what a program writes until it ends with success.
fn read_until_end(child: &mut Child, end: Instant) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let mut stdout = File::from(std::os::fd::OwnedFd::from(stdout));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, timeout) {
            Ok(0) => return Err("takes longer than 3 seconds".into()),
            Ok(_) => {}
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.to_string()),
        }
        match stdout.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => output.extend(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
        if output.len() > MAX_OUTPUT {
            return Err("the answer is longer than 16 MiB".into());
        }
    }
    // It has closed its output, and ends now; but it does not have to.
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() >= end => return Err("takes longer than 3 seconds".into()),
            None => thread::sleep(Duration::from_micros(200)),
        }
    };
    if status.success() {
        return Ok(output);
    }
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What it wrote before it ended is in the pipe; a process that it left behind may have that open still.
        let mut watched = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
        if poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            complaint = vec![0; usize::try_from(MAX_COMPLAINT).unwrap_or(0)];
            let mut stderr = stderr;
            let len = stderr.read(&mut complaint).unwrap_or(0);
            complaint.truncate(len);
        }
    }
    let complaint = String::from_utf8_lossy(&complaint);
    match complaint.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => Err(line.trim().to_owned()),
        None => Err(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_neither_input_nor_environment() {
        let script = "cat; env | grep -v -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_=; echo \"$1\"";
        let answer = output("sh", &["-c", script, "sh", "a word"]);
        assert_eq!(answer.as_deref(), Ok(&b"a word\n"[..]));
    }

    #[test]
    fn a_program_that_fails_has_no_answer() {
        let answer = output("sh", &["-c", "echo no >&2; exit 1"]);
        assert_eq!(answer, Err(Unseen::Failed("sh: no".into())));
        let answer = output("sh", &["-c", "exit 3"]);
        assert_eq!(answer, Err(Unseen::Failed("sh: exit status: 3".into())));
        let answer = output("no such program", &[]);
        assert!(matches!(answer, Err(Unseen::Absent(_))), "{answer:?}");
    }

    #[test]
    fn a_program_is_stopped_in_time() {
        let begin = Instant::now();
        for script in ["exec sleep 60", "exec >&-; exec sleep 60"] {
            let answer = output("sh", &["-c", script]);
            let expected = "sh: takes longer than 3 seconds";
            assert_eq!(answer, Err(Unseen::Failed(expected.into())));
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
        let answer = output("sh", &["-c", "exec yes"]);
        let expected = "sh: the answer is longer than 16 MiB";
        assert_eq!(answer, Err(Unseen::Failed(expected.into())));
    }

    #[test]
    fn only_absolute_folders_have_programs() {
        assert_eq!(find("sh", "bin:.:"), None);
        assert!(find("sh", ".:/usr/bin:/bin").is_some());
    }
}
