//! The process that looks at the host while this one captures. It is a copy of this process, started before
//! anything else, and takes drops and returns findings, each a line of JSON.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::counters::CounterSnapshot;
use crate::host::HostState;
use crate::source::namespaces::NamespaceTable;
use crate::sys::child::{ForkedProcess, fork_and};
use crate::sys::ignore_signals_of_the_group;
use crate::why::counter::CounterRise;
use crate::why::{CauseFinding, DropCase, Grade, diagnose};

/// The longest that one look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// LookThreads that did not end in time and still run. With more, nothing is looked at any more.
const MAX_STUCK: usize = 4;
/// The most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;
/// The cause of a drop that was not looked at.
const NOT_LOOKED: &str = "not_looked";

/// A request to the process: one look at a drop, or without any, at the counters.
#[derive(Debug, Serialize, Deserialize)]
struct LookRequest {
    number: u64,
    case: Option<DropCase>,
}

/// The answer to it.
#[derive(Debug, Serialize, Deserialize)]
pub struct LookAnswer {
    /// The number that [`Looker::ask`] returned.
    pub number: u64,
    /// What was found.
    pub found: LookResult,
}

/// What a look found.
#[derive(Debug, Serialize, Deserialize)]
pub enum LookResult {
    /// The cause of the drop.
    Cause(CauseFinding),
    /// The counters of losses that have risen since the process was started.
    Counters(Vec<CounterRise>),
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
    _copy: ForkedProcess,
}

impl Looker {
    /// Starts the process. Must be called while this process has a single thread.
    pub fn start() -> Result<Self> {
        let (outside, inside) = UnixStream::pair()?;
        let mut outside = Some(outside);
        let copy = fork_and(|| {
            // Its end would keep the stream open.
            outside = None;
            // Who reads the answers may be gone.
            let _ = serve(&inside);
        });
        drop(inside);
        let copy = copy.context("cannot start the process that looks at this host")?;
        let stream = outside.context("the copy of this process returned")?;
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
        self.request(Some(case))
    }

    /// Asks for the counters that have risen since the process was started.
    pub fn ask_counters(&mut self) -> io::Result<u64> {
        self.request(None)
    }

    fn request(&mut self, case: Option<DropCase>) -> io::Result<u64> {
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
fn serve(stream: &UnixStream) -> io::Result<()> {
    // Ctrl-C is for the other process, which closes the stream when it has all answers.
    ignore_signals_of_the_group();
    let mut output = stream;
    let mut looks = LookThreads::default();
    let start = looks.run(CounterSnapshot::take).ok();
    for line in BufReader::new(stream).lines() {
        let LookRequest { number, case } = read_line(&line?)?;
        let found = match case {
            Some(case) => LookResult::Cause(looks.look(case)),
            None => LookResult::Counters(looks.counters(start.clone())),
        };
        let mut answer = serde_json::to_vec(&LookAnswer { number, found })?;
        answer.push(b'\n');
        output.write_all(&answer)?;
    }
    Ok(())
}

fn read_line<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    serde_json::from_str(line).map_err(io::Error::from)
}

/// LookThreads at the host, each time in a thread of its own, which enters the namespace of the drop and ends.
#[derive(Default)]
struct LookThreads {
    stuck: usize,
}

impl LookThreads {
    fn look(&mut self, case: DropCase) -> CauseFinding {
        self.run(move || look_in_namespace(&case))
            .unwrap_or_else(|cause| not_looked(&cause))
    }

    /// Returns the counters that have risen since; none where they cannot be read.
    fn counters(&mut self, since: Option<CounterSnapshot>) -> Vec<CounterRise> {
        let Some(since) = since else {
            return Vec::new();
        };
        self.run(move || CounterSnapshot::take().since(&since))
            .unwrap_or_default()
    }

    /// Runs a function in a thread of its own; the words for what failed, otherwise.
    fn run<T: Send + 'static>(
        &mut self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if self.stuck >= MAX_STUCK {
            return Err("earlier looks have not ended yet".into());
        }
        let (sender, receiver) = sync_channel(1);
        let look = move || {
            // The other side may have lost its patience.
            let _ = sender.send(look());
        };
        if let Err(error) = thread::Builder::new().spawn(look) {
            return Err(error.to_string());
        }
        receiver
            .recv_timeout(PATIENCE)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => {
                    self.stuck += 1;
                    "the look took longer than 5 seconds".into()
                }
                RecvTimeoutError::Disconnected => "the look failed".into(),
            })
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
