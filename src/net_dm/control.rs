//! Requests to the drop monitor, and the meaning of each refusal. The conversation is a trait, so that
//! tests can script answers that no available kernel gives.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::netlink::{Attributes, Generic};
use super::{attr, cmd};
use crate::errno::strerror;
use crate::record::Origin;
use crate::untrusted::Untrusted;

/// A way to ask the kernel: [`KernelConversation`](super::socket::KernelConversation), or a script.
pub trait Conversation {
    /// Sends one request and waits for its end: the answer's attributes where it has an answer,
    /// nothing for a bare acknowledgement.
    fn request(&mut self, request: &Request) -> Result<Answer, Refusal>;
}

/// One request, as it is laid out on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `NET_DM_CMD_`.
    pub command: u8,
    /// `NET_DM_ATTR_` and value, in this machine's byte order.
    pub attributes: Vec<(u16, Vec<u8>)>,
}

/// The attributes of the answer, in this machine's byte order; empty for an acknowledgement.
pub type Answer = Vec<u8>;

/// A request that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The errno.
    pub errno: i32,
    /// The kernel's own words, from the extended acknowledgement.
    pub words: Option<Untrusted>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&strerror(self.errno))?;
        match &self.words {
            Some(words) => write!(f, ": {words}"),
            None => Ok(()),
        }
    }
}

/// What was asked of the kernel when it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Finding the family.
    Resolve,
    /// CONFIG_GET.
    ReadSettings,
    /// STATS_GET.
    ReadStatistics,
    /// CONFIG without settings.
    Probe,
    /// CONFIG.
    Configure,
    /// CONFIG with what CONFIG_GET said at the start.
    Restore,
    /// Joining the multicast group.
    Join,
    /// START.
    Start(Origins),
    /// STOP.
    Stop,
}

impl ControlError {
    /// Whether the family is there no more: its module was unloaded.
    pub fn is_unloaded(&self) -> bool {
        self.refusal.errno == libc::ENOENT
    }
}

/// Which drops are monitored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origins {
    /// The kernel's.
    Software,
    /// The devices'.
    Hardware,
    /// Both.
    Both,
}

impl Origins {
    /// Each by itself.
    pub fn each(self) -> &'static [Self] {
        match self {
            Self::Software => &[Self::Software],
            Self::Hardware => &[Self::Hardware],
            Self::Both => &[Self::Software, Self::Hardware],
        }
    }

    /// Whether drops of `origin` are among them.
    pub fn contains(self, origin: Origin) -> bool {
        match self {
            Self::Software => origin == Origin::Software,
            Self::Hardware => origin == Origin::Hardware,
            Self::Both => true,
        }
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
            Self::Both => "software and hardware",
        })
    }
}

/// A refused request: what, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {refusal}", .operation.failure())]
pub struct ControlError {
    /// What was asked.
    pub operation: Operation,
    /// What the kernel said.
    pub refusal: Refusal,
}

impl Operation {
    fn failure(self) -> String {
        match self {
            Self::Resolve => "cannot find the NET_DM netlink family".into(),
            Self::ReadSettings => "cannot read the drop monitor's settings".into(),
            Self::ReadStatistics => "cannot read the drop monitor's statistics".into(),
            Self::Probe => "cannot find out whether monitoring is on".into(),
            Self::Configure => "cannot configure the drop monitor".into(),
            Self::Restore => "cannot restore the drop monitor's settings".into(),
            Self::Join => "cannot listen to the drop monitor".into(),
            Self::Start(origins) => format!("cannot start monitoring {origins} drops"),
            Self::Stop => "cannot stop monitoring".into(),
        }
    }
}

impl ControlError {
    /// One line that says what to do, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        const ADMIN: &str = "this needs CAP_NET_ADMIN in the initial user namespace: run as root";
        const TOO_OLD: &str =
            "packets need Linux 5.4 or later: this kernel's drop monitor only counts";
        const BUSY: &str = "another program turned monitoring on in the meantime: \
                            `dwdump -p` listens along, `--force` takes over, `dwdump -e` stops it";
        Some(match (self.operation, self.refusal.errno) {
            (Operation::Resolve, libc::ENOENT) => {
                "load it with `modprobe drop_monitor`, or check that the kernel has CONFIG_NET_DROP_MONITOR"
            }
            (Operation::Join, libc::EPERM) => {
                "since Linux 6.7 listening needs CAP_SYS_ADMIN in the initial user namespace: run as root"
            }
            (Operation::Restore, libc::EBUSY) => {
                "another program turned monitoring on in the meantime: the settings are left as they are"
            }
            (_, libc::EPERM) => ADMIN,
            (
                Operation::ReadSettings | Operation::ReadStatistics | Operation::Configure,
                libc::EOPNOTSUPP,
            ) => TOO_OLD,
            (Operation::Configure, libc::EBUSY) | (Operation::Start(_), libc::EAGAIN) => BUSY,
            (Operation::Start(_), libc::EINPROGRESS) => {
                "the kernel could not hook its kfree_skb tracepoint: its log (`dmesg`) may say why"
            }
            (Operation::Start(_), libc::EOPNOTSUPP) => {
                "this kernel has no devlink, so no hardware drops: use `-o sw`"
            }
            _ => return None,
        })
    }
}

/// How the kernel reports drops (`enum net_dm_alert_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u8", into = "u8")]
pub enum AlertMode {
    /// Counts for each place.
    Summary,
    /// Every packet.
    Packet,
    /// A mode of a kernel newer than this program.
    Other(u8),
}

impl From<u8> for AlertMode {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Summary,
            1 => Self::Packet,
            other => Self::Other(other),
        }
    }
}

impl From<AlertMode> for u8 {
    fn from(mode: AlertMode) -> Self {
        match mode {
            AlertMode::Summary => 0,
            AlertMode::Packet => 1,
            AlertMode::Other(other) => other,
        }
    }
}

impl fmt::Display for AlertMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Summary => f.write_str("summary"),
            Self::Packet => f.write_str("packet"),
            Self::Other(other) => write!(f, "unknown ({other})"),
        }
    }
}

/// The drop monitor's settings: global, and kept when their setter exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What is sent.
    pub mode: AlertMode,
    /// Bytes of each packet; 0 means all of it.
    pub trunc_len: u32,
    /// Packets that each CPU's queue holds before it drops more.
    pub queue_len: u32,
}

/// Alerts that never left the kernel's queues, since the module was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Of software drops.
    pub software: u64,
    /// Of hardware drops.
    pub hardware: u64,
}

impl Statistics {
    /// Both together.
    pub fn total(self) -> u64 {
        self.software.saturating_add(self.hardware)
    }
}

/// The drop monitor, as one can ask it.
#[derive(Debug)]
pub struct Control<C> {
    conversation: C,
}

impl<C: Conversation> Control<C> {
    /// Speaks through `conversation`.
    pub fn new(conversation: C) -> Self {
        Self { conversation }
    }

    fn ask(
        &mut self,
        operation: Operation,
        command: u8,
        attributes: Vec<(u16, Vec<u8>)>,
    ) -> Result<Answer, ControlError> {
        self.conversation
            .request(&Request {
                command,
                attributes,
            })
            .map_err(|refusal| ControlError { operation, refusal })
    }

    /// CONFIG_GET. Needs no privilege.
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

    /// STATS_GET. Needs no privilege.
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

    /// Whether monitoring is on: an empty CONFIG changes nothing, and is refused with EBUSY then.
    pub fn is_monitoring(&mut self) -> Result<bool, ControlError> {
        match self.ask(Operation::Probe, cmd::CONFIG, Vec::new()) {
            Ok(_) => Ok(false),
            Err(error) if error.refusal.errno == libc::EBUSY => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether drops of `origin` are monitored, where an empty CONFIG only says that some are. START is
    /// refused with EAGAIN then; what it started otherwise is stopped at once.
    pub fn is_monitoring_origin(&mut self, origin: Origins) -> Result<bool, ControlError> {
        match self.start(origin) {
            Ok(()) => self.stop(origin).map(|()| false),
            Err(error) if error.refusal.errno == libc::EAGAIN => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// CONFIG, all three settings.
    pub fn configure(&mut self, settings: Settings) -> Result<(), ControlError> {
        self.set(Operation::Configure, settings)
    }

    /// CONFIG with the settings of before.
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

    /// START.
    pub fn start(&mut self, origins: Origins) -> Result<(), ControlError> {
        self.ask(Operation::Start(origins), cmd::START, flags(origins))
            .map(drop)
    }

    /// STOP, acknowledged: no alert is queued afterwards.
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

/// The attributes behind a generic netlink header, as an [`Answer`] holds them.
pub fn answer(message: &Generic<'_>) -> Answer {
    message.attributes.rest().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::script::{Script, errno, ok, settings, statistics};

    fn control(command: u8, answer: Result<Answer, Refusal>) -> Control<Script> {
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

    /// Each row of the kernel's table of errors has words of its own.
    #[test]
    fn every_refusal_says_what_to_do() {
        #[track_caller]
        fn check(operation: Operation, errno: i32, message: &str, hint: &str) {
            let error = ControlError {
                operation,
                refusal: Refusal { errno, words: None },
            };
            assert_eq!(error.to_string(), message);
            let found = error.hint().unwrap_or_default();
            assert!(found.contains(hint), "{found}");
        }
        use Operation::{
            Configure, Join, Probe, ReadSettings, ReadStatistics, Resolve, Restore, Start,
        };
        let start = Start(Origins::Software);
        check(
            Resolve,
            libc::ENOENT,
            "cannot find the NET_DM netlink family: No such file or directory",
            "modprobe drop_monitor",
        );
        check(
            Configure,
            libc::EPERM,
            "cannot configure the drop monitor: Operation not permitted",
            "CAP_NET_ADMIN",
        );
        check(
            start,
            libc::EPERM,
            "cannot start monitoring software drops: Operation not permitted",
            "CAP_NET_ADMIN",
        );
        check(
            Probe,
            libc::EPERM,
            "cannot find out whether monitoring is on: Operation not permitted",
            "CAP_NET_ADMIN",
        );
        check(
            Join,
            libc::EPERM,
            "cannot listen to the drop monitor: Operation not permitted",
            "CAP_SYS_ADMIN",
        );
        check(
            Configure,
            libc::EBUSY,
            "cannot configure the drop monitor: Device or resource busy",
            "in the meantime",
        );
        check(
            Restore,
            libc::EBUSY,
            "cannot restore the drop monitor's settings: Device or resource busy",
            "left as they are",
        );
        check(
            ReadSettings,
            libc::EOPNOTSUPP,
            "cannot read the drop monitor's settings: Operation not supported",
            "Linux 5.4",
        );
        check(
            ReadStatistics,
            libc::EOPNOTSUPP,
            "cannot read the drop monitor's statistics: Operation not supported",
            "Linux 5.4",
        );
        check(
            Configure,
            libc::EOPNOTSUPP,
            "cannot configure the drop monitor: Operation not supported",
            "Linux 5.4",
        );
        check(
            start,
            libc::EAGAIN,
            "cannot start monitoring software drops: Resource temporarily unavailable",
            "--force",
        );
        check(
            start,
            libc::EINPROGRESS,
            "cannot start monitoring software drops: Operation now in progress",
            "tracepoint",
        );
        let start = Start(Origins::Hardware);
        check(
            start,
            libc::EAGAIN,
            "cannot start monitoring hardware drops: Resource temporarily unavailable",
            "--force",
        );
        check(
            start,
            libc::EOPNOTSUPP,
            "cannot start monitoring hardware drops: Operation not supported",
            "-o sw",
        );
    }

    #[test]
    fn the_kernels_own_words_are_shown() {
        let refusal = Refusal {
            errno: libc::EINVAL,
            words: Some("Invalid alert mode".into()),
        };
        let error = ControlError {
            operation: Operation::Configure,
            refusal,
        };
        assert_eq!(
            error.to_string(),
            "cannot configure the drop monitor: Invalid argument: Invalid alert mode"
        );
    }
}
