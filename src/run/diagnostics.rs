//! Diagnostics on standard error, or wherever a front end directs them. While the table has the screen
//! they are held, and printed when it gives the screen back.

use std::fmt;
use std::io::{self, LineWriter, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::untrusted::EscapedMessage;

/// The most lines that are held. The first ones are kept: they name the cause.
const MAX_HELD: usize = 100;

/// The held lines; `None` while no table has the screen.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A line of a run without trouble.
    Note,
    /// Something that the user should know.
    Warning,
    /// The reason why the run failed.
    Error,
}

/// A place for diagnostics other than standard error.
pub trait Destination: Send {
    /// Takes a text of one or more lines.
    fn take(&mut self, severity: Severity, text: &str);
}

/// The place for diagnostics instead of standard error, and the severity of the last one.
static REDIRECTED: Mutex<Option<(Box<dyn Destination>, Severity)>> = Mutex::new(None);

/// Redirects all later diagnostics to another place.
pub fn redirect(destination: Box<dyn Destination>) {
    *redirected() = Some((destination, Severity::Note));
}

/// Returns whether diagnostics are redirected.
pub fn is_redirected() -> bool {
    redirected().is_some()
}

fn redirected() -> std::sync::MutexGuard<'static, Option<(Box<dyn Destination>, Severity)>> {
    REDIRECTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a warning, or holds it. A failure to print is ignored.
pub fn say(line: impl fmt::Display) {
    tell(Severity::Warning, &format!("dwdump: {line}"));
}

/// Prints a line that belongs to a run without trouble.
pub fn note(line: impl fmt::Display) {
    tell(Severity::Note, &format!("dwdump: {line}"));
}

/// Prints a hint for the line before.
pub fn hint(line: impl fmt::Display) {
    let severity = redirected().as_ref().map(|(_, severity)| *severity);
    tell(
        severity.unwrap_or(Severity::Warning),
        &format!("hint: {line}"),
    );
}

/// Prints a text as it is, without the program's name, or holds it.
pub fn tell(severity: Severity, text: &str) {
    let line = EscapedMessage(text).to_string();
    if let Some((destination, last)) = redirected().as_mut() {
        *last = severity;
        destination.take(severity, &line);
        return;
    }
    match held().as_mut() {
        Some(lines) if lines.len() < MAX_HELD => lines.push(line),
        Some(_) => {}
        None => {
            let _ = writeln!(standard_error(), "{line}");
        }
    }
}

/// Returns standard error, to which each line goes whole: the processes of one run, and their commands, share it.
pub fn standard_error() -> impl Write {
    LineWriter::new(io::stderr())
}

fn held() -> std::sync::MutexGuard<'static, Option<Vec<String>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds lines from now on, because the table has the screen.
pub fn hold() {
    held().get_or_insert_default();
}

/// Returns the held lines from position `from` on.
pub fn held_since(from: usize) -> Vec<String> {
    let held = held();
    let lines = held.iter().flatten().skip(from);
    lines.cloned().collect()
}

/// Returns whether standard error accepts a line within a fifth of a second: a stopped terminal
/// does not.
pub fn is_heard() -> bool {
    /// The timeout, in milliseconds.
    const PATIENCE: u16 = 200;

    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    matches!(
        nix::poll::poll(&mut ready, PollTimeout::from(PATIENCE)),
        Ok(1..)
    )
}

/// Ends [`hold`] and prints the held lines, unless standard error is stuck.
pub fn release() {
    let lines = held().take().filter(|lines| !lines.is_empty());
    let lines = lines.filter(|_| is_heard());
    for line in lines.into_iter().flatten() {
        let _ = writeln!(standard_error(), "{line}");
    }
}
