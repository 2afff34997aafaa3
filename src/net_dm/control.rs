//! Sends requests to the drop monitor. The conversation is a trait, so that tests can script answers
//! that no available kernel gives.

use std::time::Duration;

mod refusal;
mod settings;

pub use refusal::{ControlError, Operation, Refusal};
pub use settings::{AlertMode, Origins, Settings, Statistics};

use super::netlink::{Attributes, Generic};
use super::{attr, cmd};
use crate::record::Origin;

/// Sends requests to the kernel ([`KernelConversation`](super::socket::KernelConversation)) or to a
/// script.
pub trait Conversation {
    /// Sends a request and waits for the answer.
    fn request(&mut self, request: &Request) -> Result<AnswerBytes, Refusal>;

    /// Lets other processes make their requests for this time.
    fn wait(&mut self, time: Duration);
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number of the command (`NET_DM_CMD_`).
    pub command: u8,
    /// The type (`NET_DM_ATTR_`) and value of each attribute, in this machine's byte order.
    pub attributes: Vec<(u16, Vec<u8>)>,
}

/// The attributes of an answer as they are on the wire, in this machine's byte order; empty for a
/// bare acknowledgement.
pub type AnswerBytes = Vec<u8>;

/// The drop monitor's requests, sent through a conversation.
#[derive(Debug)]
pub struct Control<C> {
    conversation: C,
}

impl<C: Conversation> Control<C> {
    /// Sends the requests through `conversation`.
    pub fn new(conversation: C) -> Self {
        Self { conversation }
    }

    fn ask(
        &mut self,
        operation: Operation,
        command: u8,
        attributes: Vec<(u16, Vec<u8>)>,
    ) -> Result<AnswerBytes, ControlError> {
        self.conversation
            .request(&Request {
                command,
                attributes,
            })
            .map_err(|refusal| ControlError { operation, refusal })
    }

    /// Lets other processes make their requests for this time.
    pub fn wait(&mut self, time: Duration) {
        self.conversation.wait(time);
    }

    /// Returns the settings (CONFIG_GET). Needs no privilege.
    pub fn settings(&mut self) -> Result<Settings, ControlError> {
        let answer = self.ask(Operation::ReadSettings, cmd::CONFIG_GET, Vec::new())?;
        let attributes = Attributes::native(&answer);
        let order = attributes.order();
        let mut settings = Settings {
            mode: AlertMode::Summary,
            trunc_len: 0,
            queue_len: 0,
        };
        for (kind, value) in attributes {
            match kind {
                attr::ALERT_MODE => {
                    settings.mode = AlertMode::from(value.first().copied().unwrap_or(0));
                }
                attr::TRUNC_LEN => settings.trunc_len = order.u32(value).unwrap_or(0),
                attr::QUEUE_LEN => settings.queue_len = order.u32(value).unwrap_or(0),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Returns the statistics (STATS_GET). Needs no privilege.
    pub fn statistics(&mut self) -> Result<Statistics, ControlError> {
        let answer = self.ask(Operation::ReadStatistics, cmd::STATS_GET, Vec::new())?;
        let attributes = Attributes::native(&answer);
        let dropped = |nest| {
            let mut values = attributes
                .nested(nest)
                .filter(|(kind, _)| *kind == attr::stats::DROPPED);
            values
                .find_map(|(_, value)| attributes.order().u64(value))
                .unwrap_or(0)
        };
        let mut statistics = Statistics::default();
        for (kind, value) in attributes {
            match kind {
                attr::STATS => statistics.software = dropped(value),
                attr::HW_STATS => statistics.hardware = dropped(value),
                _ => {}
            }
        }
        Ok(statistics)
    }

    /// Returns whether monitoring is on. An empty CONFIG changes nothing; the kernel refuses it with
    /// EBUSY while monitoring is on.
    pub fn is_monitoring(&mut self) -> Result<bool, ControlError> {
        match self.ask(Operation::Probe, cmd::CONFIG, Vec::new()) {
            Ok(_) => Ok(false),
            Err(error) if error.refusal.errno == libc::EBUSY => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Returns whether drops of `origin` are monitored; an empty CONFIG only tells whether any are. The
    /// kernel refuses START with EAGAIN where they are. Where it starts them, STOP follows at once.
    pub fn is_monitoring_origin(&mut self, origin: Origins) -> Result<bool, ControlError> {
        match self.start(origin) {
            Ok(()) => self.stop(origin).map(|()| false),
            Err(error) if error.refusal.errno == libc::EAGAIN => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Changes all three settings (CONFIG).
    pub fn configure(&mut self, settings: Settings) -> Result<(), ControlError> {
        self.set(Operation::Configure, settings)
    }

    /// Restores former settings (CONFIG).
    pub fn restore(&mut self, settings: Settings) -> Result<(), ControlError> {
        self.set(Operation::Restore, settings)
    }

    fn set(&mut self, operation: Operation, settings: Settings) -> Result<(), ControlError> {
        let attributes = vec![
            (attr::ALERT_MODE, vec![settings.mode.into()]),
            (attr::TRUNC_LEN, settings.trunc_len.to_ne_bytes().to_vec()),
            (attr::QUEUE_LEN, settings.queue_len.to_ne_bytes().to_vec()),
        ];
        self.ask(operation, cmd::CONFIG, attributes).map(drop)
    }

    /// Turns monitoring on (START).
    pub fn start(&mut self, origins: Origins) -> Result<(), ControlError> {
        self.ask(Operation::Start(origins), cmd::START, flags(origins))
            .map(drop)
    }

    /// Turns monitoring off (STOP). Once this is acknowledged, no more alerts are queued.
    pub fn stop(&mut self, origins: Origins) -> Result<(), ControlError> {
        self.ask(Operation::Stop, cmd::STOP, flags(origins))
            .map(drop)
    }
}

fn flags(origins: Origins) -> Vec<(u16, Vec<u8>)> {
    let flag = |origin, kind| origins.contains(origin).then_some((kind, Vec::new()));
    [
        flag(Origin::Software, attr::SW_DROPS),
        flag(Origin::Hardware, attr::HW_DROPS),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the attributes of a message.
pub fn answer(message: &Generic<'_>) -> AnswerBytes {
    message.attributes.rest().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::script::{Script, errno, ok, settings, statistics};

    fn control(command: u8, answer: Result<AnswerBytes, Refusal>) -> Control<Script> {
        Control::new(Script::new(vec![(command, answer)]))
    }

    #[test]
    fn answers_are_read() {
        let wanted = Settings {
            mode: AlertMode::Packet,
            trunc_len: 96,
            queue_len: 1000,
        };
        assert_eq!(
            control(cmd::CONFIG_GET, settings(1, 96, 1000)).settings(),
            Ok(wanted)
        );
        let wanted = Statistics {
            software: 7,
            hardware: 9,
        };
        assert_eq!(
            control(cmd::STATS_GET, statistics(7, 9)).statistics(),
            Ok(wanted)
        );
        assert_eq!(control(cmd::CONFIG, ok()).is_monitoring(), Ok(false));
        assert_eq!(
            control(cmd::CONFIG, errno(libc::EBUSY)).is_monitoring(),
            Ok(true)
        );
    }

    #[test]
    fn settings_and_origins_are_sent() {
        let script = Script::new(vec![(cmd::CONFIG, ok()), (cmd::START, ok())]);
        let mut control = Control::new(script.clone());
        control
            .configure(Settings {
                mode: AlertMode::Packet,
                trunc_len: 5,
                queue_len: 6,
            })
            .unwrap();
        control.start(Origins::Hardware).unwrap();
        let seen = script.seen();
        assert_eq!(
            seen[0].attributes,
            [
                (attr::ALERT_MODE, vec![1]),
                (attr::TRUNC_LEN, 5u32.to_ne_bytes().to_vec()),
                (attr::QUEUE_LEN, 6u32.to_ne_bytes().to_vec()),
            ]
        );
        assert_eq!(seen[1].attributes, [(attr::HW_DROPS, vec![])]);
    }
}
