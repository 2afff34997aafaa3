//! A scripted conversation with the kernel, for answers that no available kernel gives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::control::{self, AnswerBytes, Conversation, Refusal, Request};
use super::netlink::{ByteOrder, MessageBuilder, Messages};
use super::{attr, cmd};

/// Expected commands and their answers, in order. Clones share them, so that a test can look at the
/// requests.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Arc<Mutex<Vec<ScriptStep>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A command (`NET_DM_CMD_`) and its answer.
pub type ScriptStep = (u8, Result<AnswerBytes, Refusal>);

impl Script {
    /// Returns a conversation that expects exactly these steps.
    pub fn new(steps: Vec<ScriptStep>) -> Self {
        Self {
            steps: Arc::new(Mutex::new(steps)),
            seen: Arc::default(),
        }
    }

    /// Returns whether every step was requested.
    pub fn is_over(&self) -> bool {
        self.steps.lock().unwrap().is_empty()
    }

    /// Returns all requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the commands of all requests so far.
    pub fn commands(&self) -> Vec<u8> {
        self.seen().iter().map(|request| request.command).collect()
    }
}

impl Conversation for Script {
    fn request(&mut self, request: &Request) -> Result<AnswerBytes, Refusal> {
        self.seen.lock().unwrap().push(request.clone());
        let mut steps = self.steps.lock().unwrap();
        assert!(!steps.is_empty(), "unexpected request {request:?}");
        let (command, answer) = steps.remove(0);
        assert_eq!(command, request.command, "another request was expected");
        answer
    }

    fn wait(&mut self, _: Duration) {}
}

/// Returns an acknowledgement.
#[allow(clippy::unnecessary_wraps)] // The type of every step's answer.
pub fn ok() -> Result<AnswerBytes, Refusal> {
    Ok(Vec::new())
}

/// Returns a refusal without a message of the kernel.
pub fn errno(errno: i32) -> Result<AnswerBytes, Refusal> {
    Err(Refusal { errno, words: None })
}

/// Returns a CONFIG_NEW answer.
#[allow(clippy::unnecessary_wraps)]
pub fn settings(mode: u8, trunc_len: u32, queue_len: u32) -> Result<AnswerBytes, Refusal> {
    Ok(answer(cmd::CONFIG_NEW, |message| {
        message
            .attribute(attr::ALERT_MODE, &[mode])
            .attribute(attr::TRUNC_LEN, &trunc_len.to_ne_bytes())
            .attribute(attr::QUEUE_LEN, &queue_len.to_ne_bytes());
    }))
}

/// Returns a STATS_NEW answer.
#[allow(clippy::unnecessary_wraps)]
pub fn statistics(software: u64, hardware: u64) -> Result<AnswerBytes, Refusal> {
    Ok(answer(cmd::STATS_NEW, |message| {
        for (kind, count) in [(attr::STATS, software), (attr::HW_STATS, hardware)] {
            message.nest(kind, |nest| {
                nest.attribute(attr::stats::DROPPED, &count.to_ne_bytes());
            });
        }
    }))
}

fn answer(command: u8, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> AnswerBytes {
    let mut buffer = Vec::new();
    let mut message = MessageBuilder::new(&mut buffer, 0x24, command, 2);
    fill(&mut message);
    message.finish();
    let message = Messages::new(&buffer, ByteOrder::NATIVE).next().unwrap();
    control::answer(&message.generic(ByteOrder::NATIVE).unwrap())
}
