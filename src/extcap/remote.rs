//! Captures the drops of another host through the user's own `ssh`. The dwdump there is started by the
//! extcap protocol too. It writes to its standard output, which ssh passes on to the FIFO, and ends in
//! order when its standard input ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::CapabilitySet;

use super::config;
use super::interface::ExtcapInterface;
use super::options::{self, OptionTarget};
use super::request::ExtcapCall;
use super::{capture::check, trouble};
use crate::cli::UsageError;
use crate::record::Escaped;
use crate::rights;
use crate::run::{self, Exit, Failure, OutputFile, Requests, Severity};
use crate::sandbox::files::OpenPaths;
use crate::sandbox::{Confinement, SandboxRules};

/// The longest time for the other host to send its last packets. Then the connection is closed, and the
/// other host restores its settings as well.
const PATIENCE: Duration = Duration::from_millis(2500);
/// The time without another line after which the lines before are a complete message.
const PAUSE: Duration = Duration::from_millis(200);
/// The most lines of a message that are kept, which are the last ones.
const MAX_LINES: usize = 20;
/// The most bytes of a line that are kept.
const MAX_LINE: usize = 1000;

/// Captures until Wireshark or the other host ends the capture.
pub fn capture(request: &ExtcapCall) -> Result<Exit, Failure> {
    check(request)?;
    // Nothing on this host needs them, and ssh is the caller's.
    rights::give_up().context("cannot give up capabilities")?;
    let connection = Connection::new(request)?;
    let ssh = Ssh::default();
    let at_end = ssh.clone();
    let mut requests = Requests::listen(move || at_end.kill())?;
    let Some(fifo) = OutputFile::open(&request.fifo, &requests)? else {
        return Ok(Exit::Success);
    };
    let fifo = fifo.begin().context("cannot write to the FIFO")?;
    let pipe = fifo.try_clone().context("cannot write to the FIFO")?;
    let words = Connection::capture_words(request);
    let mut command = connection.ssh(&words)?;
    command
        .stdin(Stdio::piped())
        .stdout(fifo)
        .stderr(Stdio::piped());
    let child = command.spawn().context("cannot start ssh")?;
    let program = Pid::from_child(&child);
    let ended = pidfd_open(program, PidfdFlags::empty()).context("cannot wait for ssh")?;
    // From here on, messages are read that the other host may have made up.
    run::confine_following(program, &mut requests)?;
    let followed = ssh.follow(child, &ended, &requests, &pipe, connection.host);
    run::tell_refusals();
    let (status, lines, is_asked) = followed.context("cannot wait for ssh")?;
    if status.success() || is_asked {
        return Ok(Exit::Success);
    }
    Err(trouble::failure(connection.host, status, &lines))
}

/// Returns the sentences that list the values of a selector on the other host, for a reload. If the
/// other host does not answer, these are the values known here.
pub fn values(request: &ExtcapCall) -> String {
    let own = || config::values(request.reload.filter(|row| row.name == options::REASON));
    let Some(row) = request.reload else {
        return String::new();
    };
    let option = format!("--extcap-reload-option={}", row.name);
    let words = ["--extcap-config", "--extcap-interface=drops", &option].map(Into::into);
    let command = Connection::new(request).and_then(|connection| connection.ssh(&words));
    let output = command.map(|mut command| command.stdin(Stdio::null()).output());
    let Ok(Ok(output)) = output else {
        return own();
    };
    // Before anything of the answer is read, which the other host may have made up. Nothing is left to open but what
    // is known here.
    let known = own();
    confine_parsing();
    let answer = String::from_utf8_lossy(&output.stdout);
    let mut rows = options::rows(ExtcapInterface::DropsSsh);
    let number = rows.position(|other| other.name == row.name).unwrap_or(0);
    let values: String = answer
        .lines()
        .filter_map(|line| renumbered(line, number))
        .collect();
    if values.is_empty() { known } else { values }
}

/// Gives up everything but memory and the descriptors that are open, as far as this kernel can confine a process.
fn confine_parsing() {
    let confinement = Confinement {
        identity: None,
        capabilities: CapabilitySet::empty(),
        sandbox: Some(SandboxRules {
            paths: Some(OpenPaths::default()),
            work: &[],
            child: None,
        }),
    };
    let _ = confinement.enforce();
}

/// Returns a sentence of the other host with the number that the option has here; `None` for sentences
/// that do not describe a value.
fn renumbered(line: &str, number: usize) -> Option<String> {
    let rest = line.strip_prefix("value {arg=")?;
    let (_, value) = rest.split_once('}')?;
    let is_plain = !value.chars().any(char::is_control);
    is_plain.then(|| format!("value {{arg={number}}}{value}\n"))
}

/// Makes the command for the other host, for fuzzing. In the shell there, each argument is one word.
#[cfg(any(test, feature = "fuzzing"))]
pub fn exercise(request: &ExtcapCall) {
    let Ok(connection) = Connection::new(request) else {
        return;
    };
    let words = Connection::capture_words(request);
    let Ok(command) = connection.ssh(&words) else {
        return;
    };
    let remote = command.get_args().last().and_then(std::ffi::OsStr::to_str);
    let found = shlex::split(remote.expect("a command")).expect("whole words");
    assert!(found.ends_with(&words), "{found:?}");
}

/// The way to reach the other host.
struct Connection<'r> {
    host: &'r str,
    user: Option<&'r str>,
    port: Option<&'r str>,
    key: Option<&'r str>,
    privilege: Option<&'r str>,
    program: &'r str,
}

impl<'r> Connection<'r> {
    fn new(request: &'r ExtcapCall) -> Result<Self, Failure> {
        let text = |name: &str| match request.setting(name).map(|value| value.to_str()) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(UsageError::new(
                format!("the value of --{name} is not UTF-8"),
                "ssh gets it as text",
            )),
        };
        let Some(host) = text(options::HOST)? else {
            return Err(UsageError::new(
                "no host to capture on",
                "give it in the tab Host of the interface's options, or with tshark \
                 `-o extcap.drops_ssh.remotehost:NAME`",
            )
            .into());
        };
        let connection = Self {
            host,
            user: text(options::USER)?,
            port: text(options::PORT)?,
            key: text(options::KEY)?,
            privilege: text(options::PRIVILEGE)?,
            program: text(options::PROGRAM)?.unwrap_or("dwdump"),
        };
        connection.check()?;
        Ok(connection)
    }

    /// Refuses names that ssh would take for options, and values that make no sense.
    fn check(&self) -> Result<(), Failure> {
        let names = [
            ("host", Some(self.host)),
            ("user", self.user),
            ("program", Some(self.program)),
        ];
        for (what, name) in names {
            let is_name = |name: &str| !name.starts_with('-') && !name.contains(char::is_control);
            if let Some(name) = name.filter(|name| !is_name(name)) {
                let message = format!("{} is no {what}", Escaped(name.as_bytes()));
                return Err(UsageError::new(message, "a name does not begin with a dash").into());
            }
        }
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        if let Some(port) = self.port.filter(|port| !is_port(port)) {
            let message = format!("{} is no port", Escaped(port.as_bytes()));
            return Err(UsageError::new(message, "a port is a number from 1 to 65535").into());
        }
        match self.privilege {
            None | Some("sudo" | "doas") => Ok(()),
            Some(other) => {
                let message = format!("there is no privilege {}", Escaped(other.as_bytes()));
                Err(UsageError::new(message, "expected none, sudo or doas").into())
            }
        }
    }

    /// Returns the arguments of dwdump on the other host.
    fn capture_words(request: &ExtcapCall) -> Vec<String> {
        let mut words = ["--capture", "--extcap-interface=drops", "--fifo=-"]
            .map(String::from)
            .to_vec();
        let settings = request.settings.iter();
        let own =
            settings.filter(|setting| !matches!(setting.row.target, OptionTarget::Connection(_)));
        words.extend(own.map(|setting| setting.word().to_string_lossy().into_owned()));
        if !request.filter.is_empty() {
            words.push(format!("--extcap-capture-filter={}", request.filter));
        }
        words
    }

    /// Returns the command that runs dwdump with these arguments on the other host. Each argument is
    /// quoted, so that it stays one word in the shell there.
    fn ssh(&self, words: &[String]) -> Result<Command, Failure> {
        let privilege: &[&str] = match self.privilege {
            Some("sudo") => &["sudo", "-n"],
            Some("doas") => &["doas", "-n"],
            _ => &[],
        };
        let program = privilege.iter().copied().chain([self.program]);
        let words = program.chain(words.iter().map(String::as_str));
        let remote = shlex::try_join(words).context("cannot pass the filter to the other host")?;
        let mut ssh = Command::new("ssh");
        // No terminal on the other host, and no banner on standard error, where it would be an error.
        ssh.args(["-T", "-o", "LogLevel=ERROR"]);
        if std::env::var_os("SSH_ASKPASS").is_none() {
            // Nobody can be asked. ssh gets a process group of its own, so that ^C in tshark's terminal
            // does not end it before the other host's last packets arrive.
            ssh.args(["-o", "BatchMode=yes"]).process_group(0);
        }
        let options = [("-l", self.user), ("-p", self.port), ("-i", self.key)];
        for (option, value) in options {
            if let Some(value) = value {
                ssh.args([option, value]);
            }
        }
        ssh.args(["--", self.host, &remote]);
        Ok(ssh)
    }
}

/// The running ssh, shared with the thread that takes the signals.
#[derive(Clone, Default)]
struct Ssh(Arc<Mutex<Option<Child>>>);

/// The end of ssh: its status, its last lines, and whether this process asked for it.
type SshEnd = (ExitStatus, Vec<String>, bool);

impl Ssh {
    fn with<T>(&self, act: impl FnOnce(&mut Child) -> T) -> Option<T> {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_mut().map(act)
    }

    fn kill(&self) {
        self.with(|child| {
            let _ = child.kill();
        });
    }

    /// Closes the standard input of the dwdump on the other host, which ends its capture.
    fn end(&self) {
        self.with(|child| drop(child.stdin.take()));
    }

    /// Waits for the end and passes on the messages of the other host.
    fn follow(
        &self,
        mut child: Child,
        ended: &OwnedFd,
        requests: &Requests,
        fifo: &File,
        host: &str,
    ) -> io::Result<SshEnd> {
        let mut talk = Talk::new(host, child.stderr.take());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let mut end: Option<Instant> = None;
        loop {
            let is_gone = wait(requests, fifo, ended, &mut talk, end)?;
            if (is_gone || requests.end()) && end.is_none() {
                end = Some(Instant::now() + PATIENCE);
                self.end();
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                self.kill();
            }
            if let Some(Some(status)) = self.with(Child::try_wait).transpose()? {
                talk.read();
                return Ok((status, talk.rest(), end.is_some()));
            }
        }
    }
}

/// Waits for an event and reads the messages of the other host. Returns whether the FIFO's reader is
/// gone.
fn wait(
    requests: &Requests,
    fifo: &File,
    ended: &OwnedFd,
    talk: &mut Talk,
    end: Option<Instant>,
) -> io::Result<bool> {
    let now = Instant::now();
    let until_end = end.map(|end| end.saturating_duration_since(now));
    let until_pause = (!talk.lines.is_empty()).then_some(PAUSE);
    let timeout = until_end.into_iter().chain(until_pause).min();
    let timeout = timeout.map_or(Ok(PollTimeout::NONE), |left| {
        PollTimeout::try_from(left + Duration::from_millis(1))
    });
    let mut watched = vec![PollFd::new(requests.as_fd(), PollFlags::POLLIN)];
    // A FIFO without a reader reports POLLERR, asked for or not. After the first time, poll(2) would
    // return at once each time.
    if end.is_none() {
        watched.push(PollFd::new(fifo.as_fd(), PollFlags::empty()));
    }
    watched.push(PollFd::new(ended.as_fd(), PollFlags::POLLIN));
    if let Some(stderr) = &talk.stderr {
        watched.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
    }
    let happened = match nix::poll::poll(&mut watched, timeout.unwrap_or(PollTimeout::MAX)) {
        Ok(happened) => happened,
        Err(nix::Error::EINTR) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let is_gone = end.is_none() && watched[1].any().unwrap_or(false);
    let is_talk = talk.stderr.is_some() && watched.last().and_then(PollFd::any).unwrap_or(false);
    requests.clear();
    if is_talk {
        talk.read();
    } else if happened == 0 {
        talk.tell();
    }
    Ok(is_gone)
}

/// The messages of the other host and of ssh on standard error. Lines that arrive together are one
/// message.
struct Talk {
    host: String,
    stderr: Option<ChildStderr>,
    partial: Vec<u8>,
    lines: VecDeque<String>,
}

impl Talk {
    fn new(host: &str, stderr: Option<ChildStderr>) -> Self {
        Self {
            host: Escaped(host.as_bytes()).to_string(),
            stderr: stderr.filter(|stderr| set_nonblocking(stderr).is_ok()),
            partial: Vec::new(),
            lines: VecDeque::new(),
        }
    }

    /// Reads the lines that have arrived.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(stderr) = &mut self.stderr {
            match stderr.read(&mut bytes) {
                Ok(0) => self.stderr = None,
                Ok(len) => self.take(&bytes[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.stderr = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' | b'\r' => self.end_line(),
                _ if self.partial.len() < MAX_LINE => self.partial.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if line.is_empty() {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Passes on a complete message.
    fn tell(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let lines: Vec<_> = self.lines.drain(..).collect();
        let text = lines.join("\n");
        run::tell(Severity::Warning, &format!("{}: {text}", self.host));
    }

    /// Returns the last message. It is an error or a warning, depending on the exit status.
    fn rest(mut self) -> Vec<String> {
        self.end_line();
        self.lines.into()
    }
}

fn set_nonblocking(stderr: &ChildStderr) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(stderr, FcntlArg::F_GETFL)?);
    fcntl(stderr, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
