//! Answers of the kernel to requests: the drop monitor's, and those to questions about the host.

use std::time::Duration;

use crate::host;
use crate::net_dm::control::{AnswerBytes, Control, Conversation, Origins, Refusal, Request};
use crate::net_dm::monitoring::{Monitoring, Reporting, Wanted, WhenBusy};
use crate::net_dm::ownership::OwnershipFile;
use crate::net_dm::socket::{Reply, replies};
use crate::net_dm::{cmd, family, netlink};

/// Decodes the answer. The first byte says whose it is.
pub fn answers(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => {
            for reply in replies(bytes) {
                if let Reply::Answer(answer) = reply {
                    family::id(netlink::Attributes::native(&answer));
                }
            }
        }
        1 => {
            host::decode_routes(bytes);
        }
        _ => monitor(bytes),
    }
}

/// Monitors with a kernel that answers as the bytes say, and ends. Whatever it answers, what was changed is put back.
fn monitor(bytes: &[u8]) {
    let kernel = Answering::new(bytes);
    let seen = std::rc::Rc::clone(&kernel.seen);
    let wanted = Wanted {
        origins: Some(Origins::Software),
        reporting: Reporting::Packets {
            trunc_len: 96,
            queue_len: 1000,
        },
        when_busy: WhenBusy::TakeOver,
    };
    let begun = Monitoring::begin(Control::new(kernel), &OwnershipFile::none(), wanted, || {
        Ok(())
    });
    let mut is_disturbed = false;
    if let Ok((mut monitoring, (), _)) = begun {
        for _ in 0..4 {
            is_disturbed |= monitoring.inspect().interference.is_some();
        }
        let _ = monitoring.lost();
        let ended = monitoring.end().clone();
        is_disturbed |= ended.interference.is_some();
        let count = seen.borrow().len();
        assert_eq!(*monitoring.end(), ended, "it ends once");
        assert_eq!(seen.borrow().len(), count);
    }
    let seen = seen.borrow();
    let last = |command| seen.iter().rposition(|(seen, _)| *seen == command);
    // Settings are changed by a CONFIG with attributes that the kernel took.
    let changed = seen
        .iter()
        .rposition(|(command, done)| *command == cmd::START && *done);
    if let Some(started) = changed
        && !is_disturbed
    {
        assert!(last(cmd::STOP).is_some_and(|stopped| stopped > started));
        assert!(last(cmd::CONFIG).is_some_and(|restored| restored > started));
    }
}

/// A kernel that answers whatever the bytes say.
struct Answering {
    bytes: Vec<u8>,
    at: usize,
    /// The commands, and whether they were obeyed.
    seen: std::rc::Rc<std::cell::RefCell<Vec<(u8, bool)>>>,
}

impl Answering {
    fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            at: 0,
            seen: std::rc::Rc::default(),
        }
    }

    fn next(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }
}

impl Conversation for Answering {
    fn request(&mut self, request: &Request) -> Result<AnswerBytes, Refusal> {
        let errno = match self.next() {
            0..200 => 0,
            200..215 => libc::EBUSY,
            215..230 => libc::EAGAIN,
            230..240 => libc::EOPNOTSUPP,
            240..250 => libc::ENOENT,
            _ => libc::EPERM,
        };
        self.seen.borrow_mut().push((request.command, errno == 0));
        if errno != 0 {
            return Err(Refusal { errno, words: None });
        }
        let is_question = matches!(request.command, cmd::CONFIG_GET | cmd::STATS_GET);
        let len = if is_question {
            usize::from(self.next())
        } else {
            0
        };
        Ok((0..len).map(|_| self.next()).collect())
    }

    fn wait(&mut self, _: Duration) {}
}
