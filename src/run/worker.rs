//! A thread that does jobs one after the other, while the capture goes on.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// The thread, and the way to it.
#[derive(Debug)]
pub struct Worker<J> {
    /// `None` when it is dropped.
    jobs: Option<Sender<J>>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Worker<J> {
    /// Starts the thread, which calls `act` with each job.
    pub fn start(name: &str, act: impl Fn(J) + Send + 'static) -> io::Result<Self> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || waiting.into_iter().for_each(act))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has a job done once those before are.
    pub fn hand_over(&self, job: J) {
        // The thread takes jobs as long as this exists, unless it panicked, which says so itself.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

/// Waits until all jobs are done.
impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
