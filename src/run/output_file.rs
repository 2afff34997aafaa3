//! The packet file. It is opened before monitoring starts, and emptied only once monitoring runs:
//! if the start is refused, an existing file is left as it was, and no new file is left behind.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};

use super::diagnostics::{note, say};
use super::failure::Failure;
use super::signals::Requests;
use super::standard_streams::{shown, standard_output};
use crate::cli::UsageError;
use crate::rights;

/// New files are readable by their owner alone, because they hold other people's packets.
const MODE: u32 = 0o600;
/// The interval at which a FIFO is checked for a reader, in milliseconds: poll(2) cannot wait for
/// one.
const READER_INTERVAL: u16 = 50;

/// An open file to which nothing has been written yet.
pub struct OutputFile {
    /// The file's name in messages.
    pub name: String,
    file: File,
    /// The path, if this process created the file and has not begun to write.
    unused: Option<PathBuf>,
}

impl OutputFile {
    /// Opens or creates the file. Waits for the reader of a FIFO; returns `None` if a signal ended
    /// the wait.
    pub fn open(path: &Path, requests: &Requests) -> Result<Option<Self>, Failure> {
        let name = shown(path);
        match create_new(path) {
            Ok(file) => {
                return Ok(Some(Self {
                    name,
                    file,
                    unused: Some(path.to_owned()),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_create(&name, error)),
        }
        let Some(file) = open_existing(path, &name, requests)? else {
            return Ok(None);
        };
        if file.is_terminal() {
            return Err(UsageError::new(
                format!("{name} is a terminal, to which no packets are written"),
                "write to a file, or to a pipe: `dwdump -w - | tshark -r -`",
            )
            .into());
        }
        Ok(Some(Self {
            name,
            file,
            unused: None,
        }))
    }

    /// Refuses a file that standard output goes to as well, whatever its name.
    pub fn refuse_standard_output(&self) -> Result<(), Failure> {
        let stdout = standard_output()?.metadata();
        let (Ok(stdout), Ok(file)) = (stdout, self.file.metadata()) else {
            return Ok(());
        };
        // Two outputs to /dev/null do no harm.
        let keeps_bytes = !file.file_type().is_char_device();
        if keeps_bytes && (stdout.dev(), stdout.ino()) == (file.dev(), file.ino()) {
            return Err(UsageError::new(
                format!("--print and --json cannot be used with -w {}", self.name),
                "both would write to standard output: choose another file for -w",
            )
            .into());
        }
        Ok(())
    }

    /// Empties the file, to write it from the start.
    pub fn begin(mut self) -> io::Result<File> {
        self.unused = None;
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.try_clone()
    }
}

/// Removes a new file to which nothing was written, unless its name now belongs to another file.
impl Drop for OutputFile {
    fn drop(&mut self) {
        let Some(path) = self.unused.take() else {
            return;
        };
        let is_ours = match (path.symlink_metadata(), self.file.metadata()) {
            (Ok(named), Ok(own)) => (named.dev(), named.ino()) == (own.dev(), own.ino()),
            _ => false,
        };
        if is_ours {
            // The file is empty, so it does no harm if it stays.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Creates a file that must not exist yet, readable by its owner alone. Under sudo, the owner is
/// the user who called sudo.
pub fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(MODE);
    let file = rights::of_caller(|| options.open(path))?;
    let id = |name| numeric_id(std::env::var_os(name).as_deref());
    if nix::unistd::geteuid().is_root()
        && let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID"))
        && let Err(error) = fchown(&file, Some(user), Some(group))
    {
        let error = Failure::from(anyhow::Error::new(error));
        say(format_args!(
            "cannot give {} to the user who called sudo: {error}",
            shown(path)
        ));
    }
    Ok(file)
}

/// Parses the number of a user or group. The largest means "unchanged" to chown(2).
fn numeric_id(text: Option<&OsStr>) -> Option<u32> {
    let id = text?.to_str()?.parse().ok()?;
    (id != u32::MAX).then_some(id)
}

/// Opens an existing file. O_CREAT is set nevertheless, so that the kernel's protection against
/// other users' files in /tmp applies (fs.protected_regular, fs.protected_fifos).
fn open_existing(path: &Path, name: &str, requests: &Requests) -> Result<Option<File>, Failure> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let mut has_waited = false;
    loop {
        let error = match rights::of_caller(|| options.open(path)) {
            Ok(file) => {
                let blocking = make_blocking(&file).map_err(|error| cannot_create(name, error));
                return blocking.map(|()| Some(file));
            }
            Err(error) => error,
        };
        let is_fifo = path.metadata().is_ok_and(|data| data.file_type().is_fifo());
        if error.raw_os_error() != Some(libc::ENXIO) || !is_fifo {
            return Err(cannot_create(name, error));
        }
        if !has_waited {
            note(format_args!("waiting for a reader of {name}"));
            has_waited = true;
        }
        let mut watched = [PollFd::new(requests.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut watched, READER_INTERVAL) {
            Ok(_) | Err(nix::Error::EINTR) => requests.clear(),
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(error.context("cannot wait for a reader").into());
            }
        }
        if requests.end() {
            return Ok(None);
        }
    }
}

fn make_blocking(file: &File) -> io::Result<()> {
    let flags = fcntl(file.as_fd(), FcntlArg::F_GETFL)?;
    let flags = OFlag::from_bits_retain(flags) - OFlag::O_NONBLOCK;
    fcntl(file.as_fd(), FcntlArg::F_SETFL(flags))?;
    Ok(())
}

fn cannot_create(name: &str, error: io::Error) -> Failure {
    anyhow::Error::new(error)
        .context(format!("cannot create {name}"))
        .into()
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
}
