//! The packet file. It is opened before monitoring starts, and emptied only once monitoring runs:
//! if the start is refused, an existing file is left as it was, and no new file is left behind.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};

use super::diagnostics::note;
use super::failure::Failure;
use super::folder::{FileIdentity, FileName, Folder};
use super::signals::Requests;
use super::standard_streams::{shown, standard_output};
use crate::cli::UsageError;

/// The interval at which a FIFO is checked for a reader, in milliseconds: poll(2) cannot wait for
/// one.
const READER_INTERVAL: u16 = 50;

/// An open file to which nothing has been written yet.
pub struct OutputFile {
    /// The file's name in messages.
    pub name: String,
    file: File,
    /// The file's place, if this process created the file and has not begun to write.
    unused: Option<(Rc<Folder>, FileName)>,
}

impl OutputFile {
    /// Opens or creates the file of this path.
    pub fn open(path: &Path, requests: &Requests) -> Result<Option<Self>, Failure> {
        let (folder, name) =
            Folder::of(path).map_err(|error| cannot_create(&shown(path), error))?;
        Self::open_in(&Rc::new(folder), name, requests)
    }

    /// Opens or creates a file. Waits for the reader of a FIFO; returns `None` if a signal ended
    /// the wait.
    pub fn open_in(
        folder: &Rc<Folder>,
        file_name: FileName,
        requests: &Requests,
    ) -> Result<Option<Self>, Failure> {
        let name = folder.shown(&file_name);
        match folder.create_new(&file_name) {
            Ok(file) => {
                return Ok(Some(Self {
                    name,
                    file,
                    unused: Some((Rc::clone(folder), file_name)),
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_create(&name, error)),
        }
        let Some(file) = open_existing(folder, &file_name, &name, requests)? else {
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

    /// Refuses what is no file on a disk, such as a pipe, which no other file can follow.
    pub fn require_regular(&self) -> Result<(), Failure> {
        if self.file.metadata().is_ok_and(|data| data.is_file()) {
            return Ok(());
        }
        Err(UsageError::new(
            format!(
                "{} is not a regular file: no other file can follow it",
                self.name
            ),
            "-C, -G and --sync are for files on a disk: choose another name for -w",
        )
        .into())
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
        let Some((folder, name)) = self.unused.take() else {
            return;
        };
        if let Ok(identity) = FileIdentity::of(&self.file) {
            // The file is empty, so it does no harm if it stays.
            let _ = folder.remove(&name, identity);
        }
    }
}

/// Opens an existing file; waits for the reader of a FIFO.
fn open_existing(
    folder: &Folder,
    file_name: &FileName,
    name: &str,
    requests: &Requests,
) -> Result<Option<File>, Failure> {
    let mut has_waited = false;
    loop {
        let error = match folder.open_existing(file_name) {
            Ok(file) => {
                let blocking = make_blocking(&file).map_err(|error| cannot_create(name, error));
                return blocking.map(|()| Some(file));
            }
            Err(error) => error,
        };
        if error.raw_os_error() != Some(libc::ENXIO) || !folder.is_fifo(file_name) {
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

/// Returns the error of a file that could not be created.
pub fn cannot_create(name: &str, error: io::Error) -> Failure {
    anyhow::Error::new(error)
        .context(format!("cannot create {name}"))
        .into()
}
