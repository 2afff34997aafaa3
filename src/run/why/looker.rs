//! The process that looks at the host while this one captures. It is a copy of this process, started before
//! anything else, and takes drops and returns findings, each a line of JSON.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::counters::CounterSnapshot;
use crate::cli::SandboxChoice;
use crate::host::HostState;
use crate::host::namespace::enter;
use crate::record::Timestamp;
use crate::rights;
use crate::sandbox::confine_looking;
use crate::source::namespaces::NamespaceTable;
use crate::sys::child::{ForkedProcess, fork_connected, json_line};
use crate::sys::ignore_signals_of_the_group;
use crate::why::counter::CounterRise;
use crate::why::{CauseFinding, DropCase, Grade, diagnose};

/// The longest that one look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looks that did not end in time and still run. With so many, nothing is looked at any more.
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

/// A line of the process.
#[derive(Debug, Serialize, Deserialize)]
enum LookLine {
    /// The cause of a drop.
    Cause(LookAnswer),
    /// The counters of losses that have risen since the process was started.
    Counters(Vec<CounterRise>),
}

/// The answer to a look at a drop.
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
    /// Drops that were asked about.
    asked: u64,
    /// Answers that have not come yet.
    pending: u64,
    /// The counters that have risen, by the last answer about them.
    counters: Vec<CounterRise>,
    /// `None` in tests alone.
    _copy: Option<ForkedProcess>,
}

/// The use of the host's counters over the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCounters {
    /// They are read at the start.
    Read,
    /// Nobody asks for them.
    Unread,
}

impl Looker {
    /// Starts the process. Must be called while this process has a single thread.
    pub fn start(counters: RunCounters, sandbox: SandboxChoice) -> Result<Self> {
        let has_sandbox = sandbox != SandboxChoice::Off;
        let copy = fork_connected(|inside| {
            // Who may capture by this program's file may not look at everything by it.
            if rights::are_elevated() && rights::give_up().is_err() {
                return;
            }
            if confine_looking(has_sandbox).is_err() {
                return;
            }
            // Ctrl-C is for the other process, which closes the stream when it has all answers.
            ignore_signals_of_the_group();
            let kept = KeptReading::default();
            let look = move |case: &_| look_in_namespace(case, &kept);
            let mut looks = LookThreads::new(PATIENCE, look);
            if counters == RunCounters::Read {
                looks.since = looks.run(CounterSnapshot::take).unwrap_or_default();
            }
            // Who reads the answers may be gone.
            let _ = serve(inside, looks);
        });
        let (stream, copy) = copy.context("cannot start the process that looks at this host")?;
        Ok(Self::over(stream, Some(copy))?)
    }

    fn over(stream: UnixStream, copy: Option<ForkedProcess>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            partial: Vec::new(),
            waiting: VecDeque::new(),
            asked: 0,
            pending: 0,
            counters: Vec::new(),
            _copy: copy,
        })
    }

    /// Asks for the cause of a drop. Returns the number that its answer will have.
    pub fn ask(&mut self, case: DropCase) -> io::Result<u64> {
        let number = self.asked;
        self.asked += 1;
        self.request(&LookRequest {
            number,
            case: Some(case),
        })?;
        Ok(number)
    }

    /// Asks for the counters that have risen since the process was started.
    pub fn ask_counters(&mut self) -> io::Result<()> {
        self.request(&LookRequest {
            number: self.asked,
            case: None,
        })
    }

    /// Returns the counters that have risen, by the last answer about them.
    pub fn counters(&self) -> &[CounterRise] {
        &self.counters
    }

    fn request(&mut self, request: &LookRequest) -> io::Result<()> {
        self.waiting.extend(json_line(request)?);
        self.pending += 1;
        self.send()
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
        self.pending
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
                match serde_json::from_slice(&self.partial[..end])? {
                    LookLine::Cause(answer) => answers.push(answer),
                    LookLine::Counters(counters) => self.counters = counters,
                }
                self.partial.drain(..=end);
                self.pending = self.pending.saturating_sub(1);
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
        let found = match case {
            Some(case) => LookLine::Cause(LookAnswer {
                number,
                finding: looks.look(case),
            }),
            None => LookLine::Counters(looks.counters()),
        };
        output.write_all(&json_line(&found)?)?;
    }
    Ok(())
}

fn read_line<T: DeserializeOwned>(line: &str) -> io::Result<T> {
    serde_json::from_str(line).map_err(io::Error::from)
}

/// Looks at the host, each time in a thread of its own, which enters the namespace of the drop and ends.
struct LookThreads {
    patience: Duration,
    look: Arc<LookFunction>,
    /// Those that did not end in time.
    stuck: Vec<JoinHandle<()>>,
    /// The counters at the start.
    since: CounterSnapshot,
}

impl LookThreads {
    fn new(
        patience: Duration,
        look: impl Fn(&DropCase) -> CauseFinding + Send + Sync + 'static,
    ) -> Self {
        Self {
            patience,
            look: Arc::new(look),
            stuck: Vec::new(),
            since: CounterSnapshot::default(),
        }
    }

    fn look(&mut self, case: DropCase) -> CauseFinding {
        let look = Arc::clone(&self.look);
        self.run(move || look(&case))
            .unwrap_or_else(|cause| not_looked(&cause))
    }

    /// Returns the counters that have risen since the start; none where they cannot be read.
    fn counters(&mut self) -> Vec<CounterRise> {
        let since = self.since.clone();
        self.run(move || CounterSnapshot::take().since(&since))
            .unwrap_or_default()
    }

    /// Runs a function in a thread of its own. Fails with the words for what is wrong.
    fn run<T: Send + 'static>(
        &mut self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        self.stuck.retain(|thread| !thread.is_finished());
        if self.stuck.len() >= MAX_STUCK {
            return Err("earlier looks have not ended yet".into());
        }
        let (sender, receiver) = sync_channel(1);
        let look = move || {
            // The other side may have lost its patience.
            let _ = sender.send(look());
        };
        let thread = match thread::Builder::new().spawn(look) {
            Ok(thread) => thread,
            Err(error) => return Err(error.to_string()),
        };
        match receiver.recv_timeout(self.patience) {
            Ok(found) => Ok(found),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.push(thread);
                let seconds = self.patience.as_secs_f32();
                Err(format!("the look took longer than {seconds} seconds"))
            }
            Err(RecvTimeoutError::Disconnected) => Err("the look failed".into()),
        }
    }
}

/// Finds the cause of a drop.
type LookFunction = dyn Fn(&DropCase) -> CauseFinding + Send + Sync;

/// The answers of the host that the last look read. The next one begins with it where its drop is in the same
/// namespace and is older: of a burst of drops, the first has all read that the others need, too.
#[derive(Default)]
struct KeptReading(Mutex<Option<HostReading>>);

struct HostReading {
    netns: Option<u32>,
    began: Timestamp,
    host: HostState,
}

impl KeptReading {
    /// Takes the reading, if it serves this drop, or begins a new one.
    fn take_for(&self, case: &DropCase) -> HostReading {
        let kept = self.0.lock().ok().and_then(|mut kept| kept.take());
        let serves = |kept: &HostReading| kept.netns == case.netns && case.time <= kept.began.0;
        kept.filter(serves).unwrap_or_else(|| HostReading {
            netns: case.netns,
            began: Timestamp::now(),
            host: HostState::live(),
        })
    }

    fn keep(&self, reading: HostReading) {
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(reading);
        }
    }
}

fn look_in_namespace(case: &DropCase, kept: &KeptReading) -> CauseFinding {
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
        if File::open(&path).and_then(enter).is_err() {
            return not_looked("this user may not enter the network namespace of the drop");
        }
        entrance = Some(path);
    }
    let reading = kept.take_for(case);
    let mut finding = diagnose(case, &reading.host);
    #[cfg(feature = "recording")]
    record(case, &reading.host, &finding);
    kept.keep(reading);
    if let Some(path) = entrance {
        for remedy in &mut finding.remedy {
            remedy.run_in(case.netns_name.as_deref(), &path);
        }
    }
    finding
}

/// Leaves a look in the folder that DWDUMP_RECORD_LOOKS names: the drop, the host's answers, what was found. In the
/// sandbox no file can be written.
#[cfg(feature = "recording")]
fn record(case: &DropCase, host: &HostState, finding: &CauseFinding) {
    let Some(folder) = std::env::var_os("DWDUMP_RECORD_LOOKS") else {
        return;
    };
    let name = format!("look-{}.json", Timestamp::now().0);
    let look = serde_json::json!({
        "case": case, "answers": host.recorded().unwrap_or_default(), "finding": finding,
    });
    std::fs::write(std::path::Path::new(&folder).join(name), look.to_string())
        .unwrap_or_else(|error| panic!("cannot record a look, which needs --sandbox off: {error}"));
}

fn not_looked(cause: &str) -> CauseFinding {
    CauseFinding::new(NOT_LOOKED, Grade::Unknown, "not looked at").seen("dwdump", cause)
}

#[cfg(test)]
mod tests;
