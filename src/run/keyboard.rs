//! Reads keys and the terminal's new sizes in a thread of its own: from standard input, or from the
//! terminal itself where standard input is a capture.

use super::failure::Failure;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use signal_hook::consts::SIGWINCH;

/// What comes from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// A key.
    Key(KeyEvent),
    /// It has another size.
    Resized,
    /// It is gone.
    Gone,
}

/// The terminal's keys.
pub struct Keyboard {
    events: Receiver<Pressed>,
    /// Readable when something came.
    wake: UnixStream,
}

impl Keyboard {
    /// Takes keys from now on.
    pub fn listen() -> Result<Self, Failure> {
        let listen = || {
            let terminal = terminal()?;
            let (wake, waker) = UnixStream::pair()?;
            wake.set_nonblocking(true)?;
            // A full pipe wakes just as well.
            waker.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(SIGWINCH, waker.try_clone()?)?;
            let (sender, events) = channel();
            std::thread::Builder::new()
                .name("keys".into())
                .spawn(move || read(&terminal, &sender, waker))?;
            Ok(Self { events, wake })
        };
        let listening: io::Result<Self> = listen();
        Ok(listening.context("cannot read keys from the terminal")?)
    }

    /// What came since the last call; the size may always have changed.
    pub fn take(&self) -> Vec<Pressed> {
        let mut bytes = [0; 64];
        let mut events = Vec::new();
        while matches!((&self.wake).read(&mut bytes), Ok(1..)) {
            if events.is_empty() {
                events.push(Pressed::Resized);
            }
        }
        events.extend(self.events.try_iter());
        events
    }

    /// What to poll.
    pub fn watched(&self) -> PollFd<'_> {
        PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)
    }
}

/// Where crossterm takes keys from, too.
fn terminal() -> io::Result<OwnedFd> {
    if io::stdin().is_terminal() {
        io::stdin().as_fd().try_clone_to_owned()
    } else {
        File::open("/dev/tty").map(OwnedFd::from)
    }
}

/// Hands on keys until the terminal is gone: crossterm itself would read its end again and again.
fn read(terminal: &OwnedFd, sender: &Sender<Pressed>, mut waker: UnixStream) {
    loop {
        let mut watched = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        let is_there = match nix::poll::poll(&mut watched, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            Err(_) => false,
            Ok(_) => watched[0].revents() == Some(PollFlags::POLLIN),
        };
        let handed_on = is_there && hand_on(sender, &mut waker).is_ok();
        if !handed_on {
            let _ = sender.send(Pressed::Gone);
            let _ = waker.write(&[0]);
            return;
        }
    }
}

/// Hands on all that crossterm makes of the bytes that are there: it reads more than one key at
/// once, and what it has read is not there any more for a poll.
fn hand_on(sender: &Sender<Pressed>, waker: &mut UnixStream) -> io::Result<()> {
    /// What it has read is not looked at when the time is over: long enough for a busy machine.
    const PATIENCE: Duration = Duration::from_millis(50);

    while event::poll(PATIENCE)? {
        let pressed = match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Pressed::Key(key),
            _ => Pressed::Resized,
        };
        sender.send(pressed).map_err(io::Error::other)?;
        let _ = waker.write(&[0]);
    }
    Ok(())
}
