//! Has files and their names on the disk soon (`--sync`), in a thread of its own: fsync(2) may take seconds, in which the
//! capture goes on.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::diagnostics::say;
use super::super::worker::Worker;

/// The thread that waits for the disk. When this is dropped, the disk is waited for.
#[derive(Debug)]
pub struct Durable {
    interval: Duration,
    due: Instant,
    /// The jobs that are not done.
    waiting: Arc<AtomicUsize>,
    worker: Worker<Unsynced>,
}

/// A file or folder whose content is to be on the disk.
#[derive(Debug)]
struct Unsynced {
    file: File,
    name: String,
}

impl Durable {
    /// Starts the thread.
    pub fn new(interval: Duration) -> io::Result<Self> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let worker = Worker::start("disk", move |Unsynced { file, name }| {
            if let Err(error) = file.sync_all() {
                tell(&name, &error);
            }
            left.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(Self {
            interval,
            due: Instant::now() + interval,
            waiting,
            worker,
        })
    }

    /// Returns when what was written is to be on the disk.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Returns whether it is time, and sets the next. While the disk has not done what it was asked to, it is not asked
    /// again.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + self.interval;
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Has the content of a file, or the names in a folder, written to the disk.
    pub fn sync(&self, file: io::Result<File>, name: &str) {
        let file = match file {
            Ok(file) => file,
            Err(error) => return tell(name, &error),
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let name = name.to_owned();
        self.worker.hand_over(Unsynced { file, name });
    }
}

fn tell(name: &str, error: &io::Error) {
    let error = crate::errno::describe(error);
    say(format_args!("{name} may not be on the disk: {error}"));
}
