//! Sets the terminal up for the table and restores it: at the end, after an error, a signal or a
//! panic.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Mutex, Once, PoisonError};

use anyhow::Context;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, queue};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};
use ratatui::{Frame, Terminal};

use super::diagnostics;
use super::failure::Failure;
use super::standard_streams::standard_output;

/// The longest time for which restoring waits for a terminal that accepts no more bytes, in
/// milliseconds.
const PATIENCE: u16 = 200;

/// The terminal to restore; `None` if there is none.
static SHOWN: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Returns the reason for which a terminal cannot show a table, where that is known in advance.
pub fn obstacle() -> Option<&'static str> {
    let kind = std::env::var_os("TERM").unwrap_or_default();
    if kind.is_empty() || kind == "dumb" {
        return Some("TERM says that this terminal cannot show a table");
    }
    let has_keys = io::stdin().is_terminal() || File::open("/dev/tty").is_ok();
    (!has_keys).then_some("there is no terminal to read keys from")
}

/// A terminal that shows a table, until it is dropped.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Writer>>,
    failure: Rc<Cell<Option<io::Error>>>,
}

impl Screen {
    /// Takes the terminal. From now on diagnostics are held, because they would disturb the screen.
    pub fn enter() -> Result<Self, Failure> {
        restore_after_panics();
        let stdout = standard_output()?;
        let copy = stdout.as_fd().try_clone_to_owned();
        let copy = copy.context("cannot write to standard output")?;
        // Before the modes change, so that any later failure restores them.
        *shown() = Some(copy);
        diagnostics::hold();
        let entered = enter(stdout).context("cannot set up the terminal");
        entered.map_err(|error| {
            leave();
            error.into()
        })
    }

    /// Draws the changes.
    pub fn draw(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(paint)?;
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Makes the next call draw everything.
    pub fn repaint(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal for the position of its cursor, and swallow keys
        // while it reads the answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    /// Restores the terminal, stops the process until the shell continues it, and takes the
    /// terminal again.
    pub fn suspend(self) -> Result<Self, Failure> {
        drop(self);
        let stopped = signal_hook::low_level::raise(signal_hook::consts::SIGTSTP);
        stopped.context("cannot suspend")?;
        Self::enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter(stdout: File) -> io::Result<Screen> {
    enable_raw_mode()?;
    let failure = Rc::new(Cell::new(None));
    let mut writer = Writer {
        stdout: BufWriter::with_capacity(64 * 1024, stdout),
        failure: Rc::clone(&failure),
    };
    queue!(writer, EnterAlternateScreen, cursor::Hide)?;
    let terminal = Terminal::new(CrosstermBackend::new(writer))?;
    Ok(Screen { terminal, failure })
}

fn shown() -> std::sync::MutexGuard<'static, Option<OwnedFd>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores the terminal, once, from any thread, and prints the held diagnostics. The modes of a
/// terminal that accepts no more bytes are restored all the same.
pub fn leave() {
    let Some(terminal) = shown().take() else {
        return;
    };
    let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLOUT)];
    let is_ready = matches!(
        nix::poll::poll(&mut ready, PollTimeout::from(PATIENCE)),
        Ok(1..)
    );
    if is_ready {
        let mut terminal = File::from(terminal);
        // A terminal that is gone needs no restoring.
        let _ = queue!(terminal, LeaveAlternateScreen, cursor::Show);
    }
    let _ = disable_raw_mode();
    diagnostics::release();
}

/// Restores the terminal before the message of a panic is printed.
fn restore_after_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            usual(panic);
        }));
    });
}

/// Standard output. Its first failure is remembered and reported once; later output is discarded.
struct Writer {
    stdout: BufWriter<File>,
    failure: Rc<Cell<Option<io::Error>>>,
}

impl Writer {
    fn fail(&self, error: io::Error) {
        let first = self.failure.take().unwrap_or(error);
        self.failure.set(Some(first));
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.stdout.write_all(bytes) {
            self.fail(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = self.stdout.flush() {
            self.fail(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::num::NonZeroU16;
    use std::process::{Command, Stdio};

    use nix::sys::termios::tcgetattr;

    use super::*;

    /// Runs in the terminal of the test below.
    #[test]
    #[ignore = "needs a terminal: another test runs it in one"]
    fn panics_on_a_screen() {
        let mut screen = Screen::enter().unwrap();
        let drawn = screen.draw(|frame| {
            frame
                .buffer_mut()
                .set_string(0, 0, "drawn", ratatui::style::Style::new());
        });
        drawn.unwrap();
        crate::run::diagnostics::say("said meanwhile");
        panic!("on purpose, on a screen");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_its_message() {
        let size = nix::pty::Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = nix::pty::openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let mut child = Command::new("setsid")
            .arg("--ctty")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "run::screen::tests::panics_on_a_screen"])
            .args(["--ignored", "--nocapture", "--test-threads=1"])
            .env("TERM", "xterm")
            .env("RUST_BACKTRACE", "0")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let (rows, columns) = (NonZeroU16::new(24).unwrap(), NonZeroU16::new(80).unwrap());
        let mut emulator = vt100::Parser::new(rows, columns, 0);
        let mut master = File::from(pair.master);
        let mut was_drawn = false;
        // The test harness prints this at the end, on the restored screen.
        while !emulator.screen().contents().contains("test result: FAILED") {
            let mut bytes = [0; 4096];
            let count = master.read(&mut bytes).unwrap();
            // One byte at a time, so that every state of the screen is checked.
            for byte in &bytes[..count] {
                emulator.process(&[*byte]);
                let screen = emulator.screen();
                was_drawn |= screen.alternate_screen() && screen.contents().contains("drawn");
            }
        }
        let screen = emulator.screen();
        assert!(was_drawn);
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        let text = screen.contents();
        let said = text.find("dwdump: said meanwhile");
        let message = text.find("on purpose, on a screen");
        assert!(said.is_some() && said < message, "{text}");
        assert_eq!(tcgetattr(&pair.slave).unwrap(), before);
        assert_eq!(child.wait().unwrap().code(), Some(101));
    }
}
