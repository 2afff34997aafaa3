//! The folder of the packet files. Every packet file is created, opened and removed here, and nowhere else: relative to
//! a descriptor of its folder that is held from the start on, so that a folder that is renamed during the run keeps its
//! files, and that another process can do the opening in place of this one.

pub mod apart;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::diagnostics::say;
use super::failure::Failure;
use super::standard_streams::shown;
use crate::rights;
use crate::sandbox::identity::Identity;
use apart::{FolderResult, FolderTask};
use serde::{Deserialize, Serialize};

/// New files are readable by their owner alone, because they hold other people's packets.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The user to whom new files are given.
static OWNER: OnceLock<Identity> = OnceLock::new();

/// Gives new files to this user, from now on. They belong to the user of this process otherwise.
pub fn give_new_files_to(owner: &Identity) {
    let _ = OWNER.set(owner.clone());
}

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    directory: OwnedFd,
    path: PathBuf,
}

/// The name of a file relative to its folder, possibly with further folders in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileName(PathBuf);

impl FileName {
    /// Takes a name that is relative to the folder.
    pub fn new(name: &[u8]) -> Self {
        Self(OsStr::from_bytes(name).into())
    }

    /// Returns the bytes of the name.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_os_string().into_vec()
    }

    /// Returns whether the name is that of a pcapng file.
    pub fn is_of_capture(&self) -> bool {
        let extension = self.0.extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("pcapng"))
    }

    /// Returns the name with this at its end.
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let mut name = self.0.clone().into_os_string();
        name.push(suffix);
        Self(name.into())
    }
}

/// The first part of a path is a folder of this name, the second a file below it.
type Split<'p> = (&'p [u8], &'p [u8]);

impl Folder {
    /// Opens the folder of a file, and returns what the file is called there.
    pub fn of(path: &Path) -> io::Result<(Self, FileName)> {
        let (folder, name) = split(path, None);
        Ok((Self::open_at(folder)?, FileName::new(name)))
    }

    /// The same for a name with conversions of strftime(3): the folder is what is before the first of them.
    pub fn of_template(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let (folder, name) = split(path, Some(b'%'));
        Ok((Self::open_at(folder)?, name.to_vec()))
    }

    /// Opens the folder that relative names start from.
    pub fn current() -> io::Result<Self> {
        Self::open_at(b"")
    }

    fn open_at(folder: &[u8]) -> io::Result<Self> {
        let path = OsStr::from_bytes(if folder.is_empty() { b"." } else { folder });
        // Only a folder that may be searched is needed, not one that may be listed.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            directory: rights::of_caller(|| Ok(open(path, flags, Mode::empty())?))?,
            path: OsStr::from_bytes(folder).into(),
        })
    }

    /// Returns the path of a file as the user would type it.
    pub fn path(&self, name: &FileName) -> PathBuf {
        self.path.join(&name.0)
    }

    /// Returns the path of a file for messages.
    pub fn shown(&self, name: &FileName) -> String {
        shown(&self.path(name))
    }

    /// Creates a file that must not exist yet, readable by its owner alone: the [owner](give_new_files_to) of new files.
    pub fn create_new(&self, name: &FileName) -> io::Result<File> {
        if let Some(created) = opened_apart(name, FolderTask::Create) {
            return created;
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = self.open(name, flags)?;
        if let Some(owner) = OWNER.get()
            && let Err(error) = fchown(&file, Some(owner.user), Some(owner.group))
        {
            let error = Failure::from(anyhow::Error::new(error));
            say(format_args!(
                "cannot give {} to {}: {error}",
                self.shown(name),
                owner.name
            ));
        }
        Ok(file)
    }

    /// Opens an existing file, without waiting. O_CREAT is set nevertheless, so that the kernel's protection against
    /// other users' files in /tmp applies (fs.protected_regular, fs.protected_fifos).
    pub fn open_existing(&self, name: &FileName) -> io::Result<File> {
        if let Some(opened) = opened_apart(name, FolderTask::OpenExisting) {
            return opened;
        }
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        self.open(name, flags)
    }

    fn open(&self, name: &FileName, flags: OFlag) -> io::Result<File> {
        let opened = rights::of_caller(|| Ok(openat(&self.directory, &name.0, flags, MODE)?))?;
        Ok(opened.into())
    }

    /// Returns whether a name belongs to a FIFO.
    pub fn is_fifo(&self, name: &FileName) -> bool {
        let found = self.look_at(name, true);
        found.is_ok_and(|found| {
            SFlag::from_bits_truncate(found.mode) & SFlag::S_IFMT == SFlag::S_IFIFO
        })
    }

    /// Removes a file, unless its name now belongs to another one. Returns whether it was removed.
    pub fn remove(&self, name: &FileName, identity: FileIdentity) -> io::Result<bool> {
        if let Some(result) = apart::ask(name, FolderTask::Remove(identity)) {
            return match result? {
                FolderResult::Removed(removed) => Ok(removed),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        let is_same = identity == self.look_at(name, false)?.identity;
        if is_same {
            let flag = UnlinkatFlags::NoRemoveDir;
            rights::of_caller(|| Ok(unlinkat(&self.directory, &name.0, flag)?))?;
        }
        Ok(is_same)
    }

    /// Returns what a file is, or what it is a link to.
    fn look_at(&self, name: &FileName, follows: bool) -> io::Result<LookedAt> {
        if let Some(result) = apart::ask(name, FolderTask::Look { follows }) {
            return match result? {
                FolderResult::Found(found) => Ok(found),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        let flags = if follows {
            AtFlags::empty()
        } else {
            AtFlags::AT_SYMLINK_NOFOLLOW
        };
        let data = rights::of_caller(|| Ok(fstatat(&self.directory, &name.0, flags)?))?;
        Ok(LookedAt {
            mode: data.st_mode,
            identity: FileIdentity(data.st_dev, data.st_ino),
        })
    }

    /// Creates a file, or opens the regular file that has the name; it keeps its content for now.
    pub fn create(&self, name: &FileName) -> io::Result<File> {
        match self.create_new(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created,
        }
        let file = self.open_existing(name)?;
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("not a regular file"))
        }
    }

    /// Returns what the file of this name is.
    pub fn identity(&self, name: &FileName) -> io::Result<FileIdentity> {
        Ok(self.look_at(name, false)?.identity)
    }

    /// Opens the folder that a file is in, so that the file's name can be made durable.
    pub fn holding(&self, name: &FileName) -> io::Result<File> {
        if let Some(opened) = opened_apart(name, FolderTask::OpenHolding) {
            return opened;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = name
            .0
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let opened =
            rights::of_caller(|| Ok(openat(&self.directory, parent, flags, Mode::empty())?))?;
        Ok(opened.into())
    }
}

/// Has the other process open a file; `None` where there is none.
fn opened_apart(name: &FileName, task: FolderTask) -> Option<io::Result<File>> {
    let opened = match apart::ask(name, task)? {
        Ok(FolderResult::Opened(file)) => Ok(file.into()),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) => Err(error),
    };
    Some(opened)
}

/// The knowledge of a file by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedAt {
    mode: u32,
    identity: FileIdentity,
}

/// The device and inode of a file, which no other file has that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity(u64, u64);

impl FileIdentity {
    /// Returns that of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self(data.dev(), data.ino()))
    }
}

/// Splits behind the last slash that is before any byte `end`. A folder's own name is "." in it.
fn split(path: &Path, end: Option<u8>) -> Split<'_> {
    let bytes = path.as_os_str().as_bytes();
    let fixed = end.and_then(|end| memchr::memchr(end, bytes));
    let fixed = &bytes[..fixed.unwrap_or(bytes.len())];
    let at = memchr::memrchr(b'/', fixed).map_or(0, |slash| slash + 1);
    match bytes.split_at(at) {
        (folder, b"") if !folder.is_empty() => (folder, b"."),
        parts => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        let cases: [(&str, &str, &str); 6] = [
            ("a", "", "a"),
            ("/a", "/", "a"),
            ("b/c/a%d", "b/c/", "a%d"),
            ("b/", "b/", "."),
            ("/var/%Y/x", "/var/%Y/", "x"),
            ("", "", ""),
        ];
        for (path, folder, name) in cases {
            let parts = (folder.as_bytes(), name.as_bytes());
            assert_eq!(split(Path::new(path), None), parts, "{path}");
        }
        let path = Path::new("/var/log/%Y/%m/x");
        assert_eq!(
            split(path, Some(b'%')),
            (&b"/var/log/"[..], &b"%Y/%m/x"[..])
        );
    }

    #[test]
    fn only_the_file_itself_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (held, name) = Folder::of(&folder.path().join("file")).unwrap();
        let file = held.create_new(&name).unwrap();
        let identity = FileIdentity::of(&file).unwrap();
        assert!(held.create_new(&name).is_err());
        std::fs::rename(folder.path().join("file"), folder.path().join("other")).unwrap();
        assert!(held.remove(&name, identity).is_err());
        held.create_new(&name).unwrap();
        assert!(!held.remove(&name, identity).unwrap());
        assert!(held.remove(&FileName::new(b"other"), identity).unwrap());
        assert!(folder.path().join("file").exists());
    }
}
