//! Reads keys in a thread of its own, from standard input, which is the terminal. Notices when the screen has to be
//! drawn anew.

use super::failure::Failure;
use super::wake::Wake;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use signal_hook::consts::{SIGCONT, SIGWINCH};

/// Input from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// A key.
    Key(KeyEvent),
    /// The screen may show anything: its size has changed, perhaps there and back, or the program was stopped.
    ScreenLost,
    /// The terminal is gone.
    Gone,
}

/// The terminal's keys.
pub struct Keyboard {
    events: Receiver<Pressed>,
    /// Readable when there is input.
    wake: Wake,
    is_screen_lost: Arc<AtomicBool>,
}

impl Keyboard {
    /// Starts to read keys.
    pub fn listen() -> Result<Self, Failure> {
        let listen = || {
            let terminal = io::stdin().as_fd().try_clone_to_owned()?;
            let (wake, waker) = Wake::new()?;
            let is_screen_lost = Arc::default();
            for signal in [SIGWINCH, SIGCONT] {
                // Before the pipe, so that it is set once that is readable.
                signal_hook::flag::register(signal, Arc::clone(&is_screen_lost))?;
                signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
            }
            let (sender, events) = channel();
            std::thread::Builder::new()
                .name("keys".into())
                .spawn(move || read(&terminal, &sender, waker))?;
            Ok(Self {
                events,
                wake,
                is_screen_lost,
            })
        };
        let listening: io::Result<Self> = listen();
        Ok(listening.context("cannot read keys from the terminal")?)
    }

    /// Returns the input since the last call.
    pub fn take(&self) -> Vec<Pressed> {
        let mut events = Vec::new();
        self.wake.clear();
        if self.is_screen_lost.swap(false, Ordering::Relaxed) {
            events.push(Pressed::ScreenLost);
        }
        events.extend(self.events.try_iter());
        events
    }

    /// Returns the descriptor to poll.
    pub fn watched(&self) -> PollFd<'_> {
        PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)
    }
}

/// Puts the terminal in the place of standard input where that is something else: a capture, say, which is open
/// already. crossterm would open the terminal for itself, and later than a confined process may.
pub fn listen_to_terminal() -> Result<(), Failure> {
    let replace = || {
        if !io::stdin().is_terminal() {
            let terminal = File::options().read(true).write(true).open("/dev/tty")?;
            nix::unistd::dup2_stdin(&terminal)?;
        }
        Ok(())
    };
    let replaced: io::Result<()> = replace();
    Ok(replaced.context("cannot read keys from the terminal")?)
}

/// Sends keys until the terminal is gone. crossterm itself would read its end again and again.
fn read(terminal: &OwnedFd, sender: &Sender<Pressed>, mut waker: File) {
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

/// Sends all the events that crossterm makes of the available bytes: it reads more than one key at
/// once, and poll does not report the keys that it has already read.
fn hand_on(sender: &Sender<Pressed>, waker: &mut File) -> io::Result<()> {
    /// The longest wait for crossterm. Keys that it has read are ignored after this time, which is
    /// enough on a busy machine.
    const PATIENCE: Duration = Duration::from_millis(50);

    while event::poll(PATIENCE)? {
        // crossterm tells of a new size only when the next key is pressed.
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            sender.send(Pressed::Key(key)).map_err(io::Error::other)?;
            let _ = waker.write(&[0]);
        }
    }
    Ok(())
}
