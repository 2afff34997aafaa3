//! Talk on standard error; while a table has the screen, kept until it gives the screen back.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::untrusted::Message;

/// Lines that are kept at most: the first ones tell the cause.
const MAX_HELD: usize = 100;

/// What is said while a table has the screen; `None` while none has.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// A line of talk. Whether anybody listens does not matter.
pub fn say(line: impl fmt::Display) {
    tell(format!("dwdump: {line}"));
}

/// What to do about the line before.
pub fn hint(line: impl fmt::Display) {
    tell(format!("hint: {line}"));
}

fn tell(line: String) {
    let line = Message(line).to_string();
    match held().as_mut() {
        Some(lines) if lines.len() < MAX_HELD => lines.push(line),
        Some(_) => {}
        None => {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

fn held() -> std::sync::MutexGuard<'static, Option<Vec<String>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on talk would tear the screen.
pub fn hold() {
    held().get_or_insert_default();
}

/// What was said since `from` lines were.
pub fn held_since(from: usize) -> Vec<String> {
    let held = held();
    let lines = held.iter().flatten().skip(from);
    lines.cloned().collect()
}

/// Whether standard error takes a line, now or soon: a terminal may be stopped, or its line down.
pub fn is_heard() -> bool {
    /// In milliseconds.
    const PATIENCE: u16 = 200;

    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    matches!(
        nix::poll::poll(&mut ready, PollTimeout::from(PATIENCE)),
        Ok(1..)
    )
}

/// The screen is as it was: says what was kept, if anybody hears it.
pub fn release() {
    let lines = held().take().filter(|lines| !lines.is_empty());
    let lines = lines.filter(|_| is_heard());
    for line in lines.into_iter().flatten() {
        let _ = writeln!(io::stderr(), "{line}");
    }
}
