//! The program in a terminal that a test can look at: a pseudo-terminal, and what it shows.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::pty::Winsize;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

/// How long the program may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal, and the program in it.
pub struct Terminal {
    /// Dropped, the terminal is gone.
    pub master: Option<File>,
    /// Kept open, so that the terminal outlives the program.
    slave: Option<OwnedFd>,
    /// Sees what is shown, until it is over.
    reader: Option<JoinHandle<()>>,
    over: Arc<AtomicBool>,
    child: Child,
    shown: Arc<Mutex<Shown>>,
    before: Termios,
}

struct Shown {
    parser: vt100::Parser,
    /// Every byte that was ever written.
    bytes: Vec<u8>,
}

impl Terminal {
    /// Runs a line of a shell in a terminal of so many columns and rows.
    pub fn new(columns: u16, rows: u16, line: &str) -> Self {
        Self::with(columns, rows, line, &[])
    }

    /// With these variables besides, or instead.
    pub fn with(columns: u16, rows: u16, line: &str, variables: &[(&str, &str)]) -> Self {
        // What is opened here must not get into the program of another test.
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock();
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = nix::pty::openpty(Some(&size), None).unwrap();
        for end in [&pair.master, &pair.slave] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC).unwrap();
        }
        let before = tcgetattr(&pair.slave).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        // nohup, under which tests may run, has SIGHUP ignored.
        let child = Command::new("env")
            .args([
                "--default-signal",
                "setsid",
                "--ctty",
                "bash",
                "--norc",
                "-c",
                line,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("dwdump", env!("CARGO_BIN_EXE_dwdump"))
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        drop(one);
        let master = File::from(pair.master);
        let shown = Arc::new(Mutex::new(Shown {
            parser: vt100::Parser::new(nonzero(rows), nonzero(columns), 0),
            bytes: Vec::new(),
        }));
        let reader = master.try_clone().unwrap();
        let (seen, over) = (Arc::clone(&shown), Arc::default());
        let is_over = Arc::clone(&over);
        let reader = std::thread::spawn(move || read(reader, &seen, &is_over));
        Self {
            master: Some(master),
            slave: Some(pair.slave),
            reader: Some(reader),
            over,
            child,
            shown,
            before,
        }
    }

    /// The lines on the screen, without blanks at their ends.
    pub fn screen(&self) -> String {
        let shown = self.shown.lock().unwrap();
        let (_, columns) = shown.parser.screen().size();
        let lines = shown.parser.screen().rows(0, columns.get());
        let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n") + "\n"
    }

    /// Something about the emulator's screen.
    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.shown.lock().unwrap().parser.screen())
    }

    /// Whether these bytes were ever written.
    pub fn has_written(&self, bytes: &[u8]) -> bool {
        let shown = self.shown.lock().unwrap();
        shown
            .bytes
            .windows(bytes.len())
            .any(|window| window == bytes)
    }

    /// Every byte that was ever written.
    pub fn written(&self) -> Vec<u8> {
        self.shown.lock().unwrap().bytes.clone()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        let master = self.master.as_mut().unwrap();
        master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn wait(&self, what: &str, mut is_there: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} is not on:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until these words are on the screen.
    #[track_caller]
    pub fn wait_for(&self, words: &str) {
        self.wait(words, |screen| screen.contains(words));
    }

    /// Types, and waits until these words are on the screen.
    #[track_caller]
    pub fn press_for(&mut self, keys: &str, words: &str) {
        self.press(keys);
        self.wait_for(words);
    }

    /// Gives the terminal another size. It forgets what it showed, as some do.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let mut shown = self.shown.lock().unwrap();
        let screen = shown.parser.screen_mut();
        screen.set_size(nonzero(rows), nonzero(columns));
        shown.parser.process(b"\x1b[2J");
        drop(shown);
        rustix::termios::tcsetwinsize(self.master.as_ref().unwrap().as_fd(), size).unwrap();
    }

    /// Shows what another program writes to the terminal.
    pub fn show(&self, bytes: &[u8]) {
        self.shown.lock().unwrap().parser.process(bytes);
    }

    /// Sends a signal to the program (the shell gave it its own number by `exec`).
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Sends a signal again and again, until the program ends; how often it took. Signals that come
    /// at once are one.
    #[track_caller]
    pub fn signal_to_the_end(&mut self, signal: Signal) -> (ExitStatus, u32) {
        for count in 1..100 {
            self.signal(signal);
            std::thread::sleep(Duration::from_millis(200));
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, count);
            }
        }
        panic!("{signal} does not end it");
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "goes on:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nobody takes what the program writes any more, as when a line is down; returns when the
    /// program waits for that.
    pub fn stall(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let (mut waiting, mut since) = (0, Instant::now());
        while waiting == 0 || since.elapsed() < Duration::from_millis(500) {
            assert!(
                Instant::now() < deadline,
                "the terminal takes more and more"
            );
            // Every other key has the whole screen drawn again.
            self.press("g\x0c");
            std::thread::sleep(Duration::from_millis(5));
            let now = rustix::io::ioctl_fionread(self.master.as_ref().unwrap()).unwrap();
            if now != waiting {
                (waiting, since) = (now, Instant::now());
            }
        }
    }

    /// Whether the modes are those of before the program.
    pub fn has_modes_of_before(&self) -> bool {
        tcgetattr(self.slave.as_ref().unwrap()).unwrap() == self.before
    }

    /// The terminal is gone, as when a window is closed.
    pub fn hang_up(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        self.slave = None;
        self.master = None;
    }

    /// Checks that the terminal is as it was before the program, and shows `words`.
    #[track_caller]
    pub fn check_restored(&self, words: &str) {
        // The words may have been on the other screen, too.
        self.wait(words, |screen| {
            screen.contains(words) && !self.look(vt100::Screen::alternate_screen)
        });
        assert!(!self.look(vt100::Screen::hide_cursor));
        let now = tcgetattr(self.slave.as_ref().unwrap()).unwrap();
        assert_eq!(now, self.before);
    }

    /// Compares the screen with a file below tests/table.
    #[track_caller]
    pub fn check_golden(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/table")
            .join(name)
            .with_extension("screen");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            // Nothing tells what is still to come.
            std::thread::sleep(Duration::from_secs(1));
            std::fs::write(&path, self.screen()).unwrap();
            return;
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        let what = format!(
            "{name}, which is\n{expected}\n(if this is meant: UPDATE_GOLDEN=1 cargo test --test table)\nand"
        );
        self.wait(&what, |screen| screen == expected);
    }
}

fn read(mut terminal: File, shown: &Mutex<Shown>, over: &AtomicBool) {
    let mut bytes = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        if nix::poll::poll(&mut ready, 50u8).unwrap() == 0 {
            continue;
        }
        let Ok(count @ 1..) = terminal.read(&mut bytes) else {
            return;
        };
        let mut shown = shown.lock().unwrap();
        shown.parser.process(&bytes[..count]);
        shown.bytes.extend_from_slice(&bytes[..count]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}
