//! Sends the diagnostics of a capture to Wireshark's window, as control packets through a pipe (see
//! "Extcap Arguments" in Wireshark's developer's guide). tshark gives no such pipe and takes every line
//! on standard error for an error. There, only warnings and errors are written, so that standard error
//! stays empty in a run without trouble.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::request::ExtcapCall;
use crate::rights;
use crate::run::{self, Destination, Severity};

/// The number of the toolbar's log button.
pub const LOGGER: u8 = 0;

/// The command of a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlCommand {
    /// Adds a text to a control, here to the log.
    Add = 2,
    /// Shows a text in the status bar.
    StatusBar = 6,
    /// Shows a text as a warning, in a box.
    Warning = 8,
    /// Shows a text as an error, in a box.
    Error = 9,
}

/// The length of a packet's header: `T`, three bytes of length, the control's number, the command.
const HEADER_LEN: usize = 6;
/// The most bytes that a pipe takes whole or not at all (PIPE_BUF on Linux).
const MAX_PACKET: usize = 4096;
/// The most bytes that are kept until Wireshark opens the pipe: as many as the pipe holds.
const MAX_PENDING: usize = 64 * 1024;
/// The longest time to wait at the end for Wireshark to open the pipes. It does so right after the
/// start, and its window hangs while nobody has the other end of the toolbar's pipe open.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time between two attempts to open the pipe.
const INTERVAL: Duration = Duration::from_millis(10);

/// The pipes to and from Wireshark's window, which receive the diagnostics of a run.
pub struct ControlPipes(Arc<Mutex<Window>>);

impl ControlPipes {
    /// Opens the pipes, if the call names any, and redirects all diagnostics to them.
    pub fn open(request: &ExtcapCall) -> Self {
        let pipes = request
            .control_in
            .as_deref()
            .zip(request.control_out.as_deref());
        let window = Arc::new(Mutex::new(Window::new(pipes)));
        run::redirect(Box::new(SharedWindow(Arc::clone(&window))));
        Self(window)
    }

    /// Waits until Wireshark has opened its ends, and sends the packets that waited for that.
    pub fn close(self) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.close(&mut run::standard_error());
    }
}

struct SharedWindow(Arc<Mutex<Window>>);

impl Destination for SharedWindow {
    fn take(&mut self, severity: Severity, text: &str) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.show(severity, text, &mut run::standard_error());
    }
}

/// Wireshark's window, or standard error if there is none.
struct Window {
    /// The pipe from its toolbar. dwdump ignores what arrives, but Wireshark waits until this end is
    /// open.
    toolbar: Option<File>,
    output: WindowPipe,
}

/// The pipe to the window.
enum WindowPipe {
    /// Wireshark has not opened it yet.
    Waiting {
        path: PathBuf,
        pending: Vec<u8>,
        for_stderr: Vec<u8>,
    },
    /// Wireshark reads it.
    Open(File),
    /// There is no pipe, or Wireshark has closed it.
    None,
}

impl Window {
    fn new(pipes: Option<(&Path, &Path)>) -> Self {
        let is_fifo = |path: &Path| path.metadata().is_ok_and(|data| data.file_type().is_fifo());
        let Some((input, output)) =
            pipes.filter(|(input, output)| is_fifo(input) && is_fifo(output))
        else {
            return Self {
                toolbar: None,
                output: WindowPipe::None,
            };
        };
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let toolbar = rights::of_caller(|| options.open(input));
        Self {
            toolbar: toolbar.ok(),
            output: WindowPipe::Waiting {
                path: output.to_owned(),
                pending: Vec::new(),
                for_stderr: Vec::new(),
            },
        }
    }

    fn show(&mut self, severity: Severity, text: &str, stderr: &mut impl Write) {
        self.look_for_reader();
        let mut packets = packet(ControlCommand::Add, LOGGER, &format!("{text}\n"));
        let action = match severity {
            Severity::Note => ControlCommand::StatusBar,
            Severity::Warning => ControlCommand::Warning,
            Severity::Error => ControlCommand::Error,
        };
        let text_shown = match action {
            ControlCommand::StatusBar => text.replace('\n', ", "),
            _ => text.to_owned(),
        };
        packets.extend(packet(action, 0, &text_shown));
        match &mut self.output {
            WindowPipe::Waiting {
                pending,
                for_stderr,
                ..
            } => {
                if pending.len() + packets.len() <= MAX_PENDING {
                    pending.extend(packets);
                }
                if severity != Severity::Note && for_stderr.len() + text.len() <= MAX_PENDING {
                    let _ = writeln!(for_stderr, "{text}");
                }
                return;
            }
            WindowPipe::Open(file) => match send(file, &packets) {
                Ok(()) => return,
                Err(_) => self.output = WindowPipe::None,
            },
            WindowPipe::None => {}
        }
        if severity != Severity::Note {
            let _ = writeln!(stderr, "{text}");
        }
    }

    /// Opens the pipe if Wireshark has opened it by now, and sends the packets that wait.
    fn look_for_reader(&mut self) {
        let WindowPipe::Waiting { path, pending, .. } = &self.output else {
            return;
        };
        let mut options = OpenOptions::new();
        options
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let opened = rights::of_caller(|| options.open(path));
        if let Ok(mut file) = opened
            && send(&mut file, pending).is_ok()
        {
            self.output = WindowPipe::Open(file);
        }
    }

    fn close(&mut self, stderr: &mut impl Write) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look_for_reader();
            if !matches!(self.output, WindowPipe::Waiting { .. }) || Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(INTERVAL);
        }
        if let WindowPipe::Waiting { for_stderr, .. } = &self.output {
            let _ = stderr.write_all(for_stderr);
        } else if let Some(toolbar) = &self.toolbar {
            // The window says when it is ready.
            let left = deadline.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(toolbar.as_fd(), PollFlags::POLLIN)];
            let _ = nix::poll::poll(
                &mut ready,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
            );
        }
        self.output = WindowPipe::None;
    }
}

/// Writes packets. Packets that do not fit into a full pipe are dropped.
fn send(file: &mut File, packets: &[u8]) -> io::Result<()> {
    let mut rest = packets;
    while let Some(len) = packet_len(rest) {
        let (packet, behind) = rest.split_at(len);
        match file.write(packet) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        rest = behind;
    }
    Ok(())
}

/// Returns a packet with as much of the text as fits.
fn packet(action: ControlCommand, control: u8, text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(MAX_PACKET - HEADER_LEN)];
    let len = u32::try_from(text.len() + 2).unwrap_or(0).to_be_bytes();
    let mut packet = vec![b'T', len[1], len[2], len[3], control, action as u8];
    packet.extend(text.as_bytes());
    packet
}

/// Returns the length of the first packet.
fn packet_len(packets: &[u8]) -> Option<usize> {
    let [_, high, middle, low, ..] = packets else {
        return None;
    };
    Some(u32::from_be_bytes([0, *high, *middle, *low]) as usize + HEADER_LEN - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    use nix::sys::stat::Mode;

    /// A window without its Wireshark, and the paths of its pipes.
    fn window() -> (tempfile::TempDir, Window, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let pipes = ["in", "out"].map(|name| folder.path().join(name));
        for pipe in &pipes {
            nix::unistd::mkfifo(pipe, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        }
        let window = Window::new(Some((&pipes[0], &pipes[1])));
        let [_, output] = pipes;
        (folder, window, output)
    }

    fn reader(path: &Path) -> File {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .unwrap()
    }

    fn read(reader: &mut File) -> Vec<u8> {
        let mut bytes = vec![0; MAX_PENDING];
        let len = reader.read(&mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn a_packet_has_the_protocols_form() {
        assert_eq!(
            packet(ControlCommand::Warning, 0, "abc"),
            b"T\0\0\x05\0\x08abc"
        );
        let long = packet(ControlCommand::Add, LOGGER, &"é".repeat(MAX_PACKET));
        assert_eq!(packet_len(&long), Some(long.len()));
        assert!((MAX_PACKET - 1..=MAX_PACKET).contains(&long.len()));
    }

    #[test]
    fn messages_from_before_the_window_listens_come_first() {
        let (_folder, mut window, output) = window();
        let mut stderr = Vec::new();
        window.show(Severity::Note, "one", &mut stderr);
        let mut reader = reader(&output);
        window.show(Severity::Error, "two", &mut stderr);
        let expected =
            b"T\0\0\x06\0\x02one\nT\0\0\x05\0\x06oneT\0\0\x06\0\x02two\nT\0\0\x05\0\x09two";
        assert_eq!(read(&mut reader), expected);
        assert_eq!(stderr, b"");
    }

    #[test]
    fn a_window_that_never_listens_leaves_standard_error() {
        let (_folder, mut window, _) = window();
        let mut stderr = Vec::new();
        window.show(Severity::Note, "a note", &mut stderr);
        window.show(Severity::Warning, "a warning", &mut stderr);
        window.close(&mut stderr);
        assert_eq!(stderr, b"a warning\n");
    }

    #[test]
    fn a_window_that_is_gone_leaves_standard_error() {
        let (_folder, mut window, output) = window();
        let mut stderr = Vec::new();
        let reader = reader(&output);
        window.show(Severity::Warning, "heard", &mut stderr);
        drop(reader);
        window.show(Severity::Error, "unheard", &mut stderr);
        assert_eq!(stderr, b"unheard\n");
    }

    #[test]
    fn a_full_pipe_is_no_obstacle() {
        let (_folder, mut window, output) = window();
        let mut stderr = Vec::new();
        let _reader = reader(&output);
        for _ in 0..100 {
            window.show(Severity::Warning, &"x".repeat(3000), &mut stderr);
        }
        assert_eq!(stderr, b"");
    }

    #[test]
    fn without_pipes_a_run_without_trouble_says_nothing() {
        let mut window = Window::new(None);
        let mut stderr = Vec::new();
        window.show(Severity::Note, "a note", &mut stderr);
        window.show(Severity::Error, "an error", &mut stderr);
        window.close(&mut stderr);
        assert_eq!(stderr, b"an error\n");
    }
}
