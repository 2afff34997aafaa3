//! A process that creates, opens and removes the files of a run in its place, and hands over their descriptors. It is
//! started before the run gives up its user, takes nothing but the requests below, and can open nothing beyond its
//! [`Reach`].

use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Component, Path};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use super::{FileIdentity, FileName, Folder, LookedAt};
use crate::rights;
use crate::sandbox::files::OpenPaths;
use crate::sandbox::{Confinement, SandboxRules, Work};
use crate::sys::child::{fork_connected, json_line};
use crate::sys::ignore_signals_of_the_group;

/// The capabilities by which root creates files in the folders of others, and gives them to their owner.
const OF_NEW_FILES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::CHOWN);

/// The process, once it was started.
static PROCESS: Mutex<Option<UnixStream>> = Mutex::new(None);

/// A request, about the file of this name.
#[derive(Debug, Serialize, Deserialize)]
pub struct FolderRequest {
    name: Vec<u8>,
    task: FolderTask,
}

/// The task of a request.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum FolderTask {
    /// Create a file that does not exist.
    Create,
    /// Open an existing file for writing.
    OpenExisting,
    /// Open the folder that the file is in.
    OpenHolding,
    /// Say what the file is, or what it is a link to.
    Look {
        /// Follow a link.
        follows: bool,
    },
    /// Remove the file, if it still is this one.
    Remove(FileIdentity),
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FolderAnswer {
    /// The descriptor comes with it.
    Opened,
    Found(LookedAt),
    Removed(bool),
    /// The errno.
    Failed(i32),
}

/// An answer that was received.
pub enum FolderResult {
    /// A descriptor.
    Opened(OwnedFd),
    /// The file's kind and identity.
    Found(LookedAt),
    /// The file was removed, or its name is another one's by now.
    Removed(bool),
}

/// The files that the process may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those below the folder.
    Folder,
    /// New ones anywhere, whose names end in `.pcapng`; that is what keys of the table name.
    NewCaptures,
}

/// Starts the process, for the files of this folder, or for names that are relative to it. Must be called while this
/// process has a single thread.
pub fn open_apart(folder: &Folder, reach: Reach, has_sandbox: bool) -> anyhow::Result<()> {
    let (stream, copy) = fork_connected(|inside| {
        // Ctrl-C is for the other process, at whose end the stream ends.
        ignore_signals_of_the_group();
        if confine(folder, reach, has_sandbox).is_ok() {
            // Who reads the answers may be gone.
            let _ = serve(inside, folder, reach);
        }
    })
    .context("cannot start the process that opens files")?;
    // It ends when the stream does, which is open as long as this process lives.
    std::mem::forget(copy);
    *process() = Some(stream);
    Ok(())
}

fn process() -> std::sync::MutexGuard<'static, Option<UnixStream>> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up what opening these files does not need.
fn confine(folder: &Folder, reach: Reach, has_sandbox: bool) -> anyhow::Result<()> {
    let path = if folder.path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &folder.path
    };
    let (creating, paths) = match reach {
        Reach::Folder => (
            Work::Creating,
            OpenPaths {
                writable: vec![path],
                ..OpenPaths::default()
            },
        ),
        Reach::NewCaptures => (
            Work::CreatingNew,
            OpenPaths {
                grown: vec![Path::new("/")],
                ..OpenPaths::default()
            },
        ),
    };
    let mut work = vec![creating, Work::HandingOver];
    if rights::are_elevated() {
        work.push(Work::ForCaller);
    }
    Confinement {
        identity: None,
        capabilities: OF_NEW_FILES,
        sandbox: has_sandbox.then(|| SandboxRules {
            paths: Some(paths),
            work: &work,
            child: None,
        }),
    }
    .enforce()?;
    Ok(())
}

impl Reach {
    /// Returns whether a task is within it. The sandbox denies the others as well, where the kernel has one.
    fn has(self, name: &FileName, task: FolderTask) -> bool {
        let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        match self {
            Self::Folder => name.0.components().all(is_below),
            Self::NewCaptures => matches!(task, FolderTask::Create) && name.is_of_capture(),
        }
    }
}

/// Answers each line, until the stream ends.
fn serve(stream: &UnixStream, folder: &Folder, reach: Reach) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let request: FolderRequest = serde_json::from_str(&line?)?;
        let (answer, file) = match carry_out(folder, reach, &request) {
            Ok(FolderResult::Opened(file)) => (FolderAnswer::Opened, Some(file)),
            Ok(FolderResult::Found(found)) => (FolderAnswer::Found(found), None),
            Ok(FolderResult::Removed(removed)) => (FolderAnswer::Removed(removed), None),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                (FolderAnswer::Failed(errno), None)
            }
        };
        let line = json_line(&answer)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&files));
        }
        sendmsg(
            stream,
            &[IoSlice::new(&line)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
    }
    Ok(())
}

fn carry_out(folder: &Folder, reach: Reach, request: &FolderRequest) -> io::Result<FolderResult> {
    let name = FileName::new(&request.name);
    if !reach.has(&name, request.task) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(match request.task {
        FolderTask::Create => FolderResult::Opened(folder.create_new(&name)?.into()),
        FolderTask::OpenExisting => FolderResult::Opened(folder.open_existing(&name)?.into()),
        FolderTask::OpenHolding => FolderResult::Opened(folder.holding(&name)?.into()),
        FolderTask::Look { follows } => FolderResult::Found(folder.look_at(&name, follows)?),
        FolderTask::Remove(identity) => FolderResult::Removed(folder.remove(&name, identity)?),
    })
}

/// Asks the process; `None` where there is none.
pub fn ask(name: &FileName, task: FolderTask) -> Option<io::Result<FolderResult>> {
    let process = process();
    let stream = process.as_ref()?;
    let request = FolderRequest {
        name: name.clone().into_bytes(),
        task,
    };
    Some(exchange(stream, &request))
}

fn exchange(mut stream: &UnixStream, request: &FolderRequest) -> io::Result<FolderResult> {
    stream.write_all(&json_line(request)?)?;
    let (mut answer, mut file) = (Vec::new(), None);
    while answer.last() != Some(&b'\n') {
        let mut bytes = [0; 256];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                file = files.last().or(file);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend(&bytes[..received.bytes]);
    }
    match (serde_json::from_slice(&answer)?, file) {
        (FolderAnswer::Opened, Some(file)) => Ok(FolderResult::Opened(file)),
        (FolderAnswer::Found(found), _) => Ok(FolderResult::Found(found)),
        (FolderAnswer::Removed(removed), _) => Ok(FolderResult::Removed(removed)),
        (FolderAnswer::Failed(errno), _) => Err(io::Error::from_raw_os_error(errno)),
        (FolderAnswer::Opened, None) => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn files_come_as_descriptors_and_names_outside_are_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a");
        let (folder, name) = Folder::of(&path).unwrap();
        let (outside, inside) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || serve(&inside, &folder, Reach::Folder));
        let ask = |name: &[u8], task| {
            let name = name.to_vec();
            exchange(&outside, &FolderRequest { name, task })
        };
        let name = name.into_bytes();
        let name = name.as_slice();
        let Ok(FolderResult::Opened(file)) = ask(name, FolderTask::Create) else {
            panic!("not created");
        };
        std::fs::File::from(file).write_all(b"written").unwrap();
        let mut content = String::new();
        let mut file = std::fs::File::open(&path).unwrap();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "written");
        let again = ask(name, FolderTask::Create).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        for name in [&b"/etc/passwd"[..], b"../a", b"b/../../a"] {
            let error = ask(name, FolderTask::OpenExisting).err().unwrap();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        }
        let identity = FileIdentity::of(&file).unwrap();
        let removed = ask(name, FolderTask::Remove(identity));
        assert!(matches!(removed, Ok(FolderResult::Removed(true))));
        assert!(!path.exists());
        drop(outside);
        server.join().unwrap().unwrap();
    }

    #[test]
    fn keys_create_captures_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::current().unwrap();
        let act = |name: &str, task| {
            let name = temporary.path().join(name).as_os_str().as_bytes().to_vec();
            carry_out(&folder, Reach::NewCaptures, &FolderRequest { name, task })
        };
        assert!(act("a.pcapng", FolderTask::Create).is_ok());
        let refused = |name, task| {
            let refused = act(name, task).err().unwrap();
            assert_eq!(refused.raw_os_error(), Some(libc::EPERM), "{name}");
        };
        refused("a", FolderTask::Create);
        refused("a.pcapng/b", FolderTask::Create);
        refused("a.pcapng", FolderTask::OpenExisting);
        refused("a.pcapng", FolderTask::Look { follows: true });
        assert!(act("a.pcapng", FolderTask::Create).is_err());
    }
}
