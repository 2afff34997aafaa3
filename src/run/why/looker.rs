//! The process that looks at the host while this one captures. It is a copy of this process, started before
//! anything else, and takes drops and returns findings, each a line of JSON.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::HostState;
use crate::rights;
use crate::source::namespaces::NamespaceTable;
use crate::sys::child::{ForkedProcess, fork_and};
use crate::sys::ignore_signals_of_the_group;
use crate::why::{CauseFinding, DropCase, Grade, diagnose};

/// The longest that one look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looks that did not end in time and still run. With so many, nothing is looked at any more.
const MAX_STUCK: usize = 4;
/// The most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;
/// The cause of a drop that was not looked at.
const NOT_LOOKED: &str = "not_looked";

/// A request to the process: one look.
#[derive(Debug, Serialize, Deserialize)]
struct LookRequest {
    number: u64,
    case: DropCase,
}

/// The answer to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LookAnswer {
    /// The number that [`Looker::ask`] returned.
    pub number: u64,
    /// The cause of the drop.
    pub finding: CauseFinding,
}

/// The process.
pub struct Looker {
    /// Closed before the copy is waited for, which makes it end.
    stream: UnixStream,
    /// Bytes of an answer that has not come whole.
    partial: Vec<u8>,
    /// Requests, or the rest of one, that the process did not take yet.
    waiting: VecDeque<u8>,
    asked: u64,
    answered: u64,
    /// `None` in tests alone.
    _copy: Option<ForkedProcess>,
}

impl Looker {
    /// Starts the process. Must be called while this process has a single thread.
    pub fn start() -> Result<Self> {
        let (outside, inside) = UnixStream::pair()?;
        let mut outside = Some(outside);
        let copy = fork_and(|| {
            // Its end would keep the stream open.
            outside = None;
            // Who may capture by this program's file may not look at everything by it.
            if rights::are_elevated() && rights::give_up().is_err() {
                return;
            }
            // Ctrl-C is for the other process, which closes the stream when it has all answers.
            ignore_signals_of_the_group();
            // Who reads the answers may be gone.
            let _ = serve(&inside, LookThreads::new(PATIENCE, look_in_namespace));
        });
        drop(inside);
        let copy = copy.context("cannot start the process that looks at this host")?;
        let stream = outside.context("the copy of this process returned")?;
        Ok(Self::over(stream, Some(copy))?)
    }

    fn over(stream: UnixStream, copy: Option<ForkedProcess>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            partial: Vec::new(),
            waiting: VecDeque::new(),
            asked: 0,
            answered: 0,
            _copy: copy,
        })
    }

    /// Asks for the cause of a drop. Returns the number that its answer will have.
    pub fn ask(&mut self, case: DropCase) -> io::Result<u64> {
        let number = self.asked;
        self.asked += 1;
        let question = serde_json::to_vec(&LookRequest { number, case })?;
        self.waiting.extend(question);
        self.waiting.push_back(b'\n');
        self.send()?;
        Ok(number)
    }

    /// Sends what the process takes now, without waiting for it.
    fn send(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let (bytes, _) = self.waiting.as_slices();
            match (&self.stream).write(bytes) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the number of answers that have not come yet.
    pub fn pending(&self) -> u64 {
        self.asked - self.answered
    }

    /// Returns the answers that have come, without waiting for any.
    pub fn answers(&mut self) -> io::Result<Vec<LookAnswer>> {
        self.send()?;
        let mut answers = Vec::new();
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.partial.extend(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.partial.len() > MAX_ANSWER {
                return Err(ErrorKind::InvalidData.into());
            }
            while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
                answers.push(serde_json::from_slice(&self.partial[..end])?);
                self.partial.drain(..=end);
                self.answered += 1;
            }
        }
        Ok(answers)
    }
}

impl AsFd for Looker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Answers each line, until the stream ends.
fn serve(stream: &UnixStream, mut looks: LookThreads) -> io::Result<()> {
    let mut output = stream;
    for line in BufReader::new(stream).lines() {
        let LookRequest { number, case } = read_line(&line?)?;
        let finding = looks.look(case);
        let mut answer = serde_json::to_vec(&LookAnswer { number, finding })?;
        answer.push(b'\n');
        output.write_all(&answer)?;
    }
    Ok(())
}

fn read_line<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    serde_json::from_str(line).map_err(io::Error::from)
}

/// Looks at the host, each time in a thread of its own, which enters the namespace of the drop and ends.
struct LookThreads {
    patience: Duration,
    look: fn(&DropCase) -> CauseFinding,
    /// Those that did not end in time.
    stuck: Vec<JoinHandle<()>>,
}

impl LookThreads {
    fn new(patience: Duration, look: fn(&DropCase) -> CauseFinding) -> Self {
        Self {
            patience,
            look,
            stuck: Vec::new(),
        }
    }

    fn look(&mut self, case: DropCase) -> CauseFinding {
        self.stuck.retain(|thread| !thread.is_finished());
        if self.stuck.len() >= MAX_STUCK {
            return not_looked("earlier looks have not ended yet");
        }
        let (sender, receiver) = sync_channel(1);
        let look = self.look;
        let look = move || {
            let finding = look(&case);
            // The other side may have lost its patience.
            let _ = sender.send(finding);
        };
        let thread = match thread::Builder::new().spawn(look) {
            Ok(thread) => thread,
            Err(error) => return not_looked(&error.to_string()),
        };
        match receiver.recv_timeout(self.patience) {
            Ok(finding) => finding,
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.push(thread);
                let seconds = self.patience.as_secs_f32();
                not_looked(&format!("the look took longer than {seconds} seconds"))
            }
            Err(RecvTimeoutError::Disconnected) => not_looked("the look failed"),
        }
    }
}

fn look_in_namespace(case: &DropCase) -> CauseFinding {
    let mut namespaces = NamespaceTable::new();
    let mut entrance = None;
    if let Some(inode) = case.netns
        && !namespaces.is_own(inode)
    {
        let Some(path) = namespaces.entrance(inode) else {
            return not_looked(
                "the network namespace of the drop is gone, or this user may not see it",
            );
        };
        let entered = std::fs::File::open(&path)
            .map_err(nix::Error::try_from)
            .map(|file| setns(file, CloneFlags::CLONE_NEWNET));
        if !matches!(entered, Ok(Ok(()))) {
            return not_looked("this user may not enter the network namespace of the drop");
        }
        entrance = Some(path);
    }
    let mut finding = diagnose(case, &HostState::live());
    if let Some(path) = entrance {
        for remedy in &mut finding.remedy {
            remedy.run_in(case.netns_name.as_deref(), &path);
        }
    }
    finding
}

fn not_looked(cause: &str) -> CauseFinding {
    CauseFinding::new(NOT_LOOKED, Grade::Unknown, "not looked at").seen("dwdump", cause)
}

#[cfg(test)]
mod tests;
