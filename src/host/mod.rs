//! The state of this host: what is asked of it to find out why a packet was dropped.
//!
//! Each thing that can be asked is a [`Question`] in a file of its own, which says how the answer is read: from
//! `/proc`, by netlink, from a program. A [`HostState`] asks each question once and keeps the answer. It
//! can also hold answers that were recorded before: so whoever asks can be tested without the host.
//!
//! All is asked in the network namespace of the calling thread. Nothing is changed, and no module is loaded. No
//! answer has room for a key or a password.

pub mod backlog;
pub mod bpf;
pub mod bridge;
pub mod counter;
pub mod elsewhere;
pub mod filters;
pub mod holder;
pub mod inet_socket;
pub mod ipsec;
pub mod link;
pub mod membership;
pub mod module;
pub mod namespace;
pub mod neighbour;
pub mod program;
pub mod qdisc;
pub mod raw_socket;
pub mod route;
mod rtnetlink;
pub mod rule;
pub mod sysctl;
pub mod tracking;
pub mod traffic_filter;
pub mod tun;
pub mod vxlan;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The reason for which something was not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unseen {
    /// The part of the kernel that would answer is not there, and asking would load it.
    #[error("not looked: {0}")]
    Absent(String),
    /// This process may not see it, or reading failed.
    #[error("cannot look: {0}")]
    Failed(String),
    /// A recorded host was not asked this when it was recorded.
    #[error("not recorded")]
    NotRecorded,
}

impl From<std::io::Error> for Unseen {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A question about the host.
pub trait Question: Serialize {
    /// The name of the question in a recorded host.
    const NAME: &'static str;
    /// Its answer.
    type Answer: Serialize + DeserializeOwned;

    /// Looks for the answer, in the network namespace of this thread.
    fn look(&self) -> Result<Self::Answer, Unseen>;
}

/// Answers questions, each once.
#[derive(Debug, Default)]
pub struct HostState {
    is_recorded: bool,
    answers: RefCell<BTreeMap<String, Result<Value, Unseen>>>,
}

impl HostState {
    /// Returns the host that this process runs on.
    pub fn live() -> Self {
        Self::default()
    }

    /// Returns a host with the answers that [`recorded`](Self::recorded) returned.
    #[cfg(test)]
    pub fn replay(text: &str) -> serde_json::Result<Self> {
        Ok(Self {
            is_recorded: true,
            answers: RefCell::new(serde_json::from_str(text)?),
        })
    }

    /// Returns all answers so far.
    #[cfg(any(test, feature = "recording"))]
    pub fn recorded(&self) -> serde_json::Result<Value> {
        serde_json::to_value(&*self.answers.borrow())
    }

    /// Returns the answer to a question.
    pub fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Unseen> {
        let unreadable = |error: serde_json::Error| Unseen::Failed(error.to_string());
        let key = key(question).map_err(unreadable)?;
        if let Some(answer) = self.answers.borrow().get(&key) {
            return serde_json::from_value(answer.clone()?).map_err(unreadable);
        }
        if self.is_recorded {
            return Err(Unseen::NotRecorded);
        }
        let answer = question.look();
        let kept = match &answer {
            Ok(answer) => Ok(serde_json::to_value(answer).map_err(unreadable)?),
            Err(unseen) => Err(unseen.clone()),
        };
        self.answers.borrow_mut().insert(key, kept);
        answer
    }
}

/// Decodes a datagram of the kernel's answer to a question about routes and devices, for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode_routes(bytes: &[u8]) -> usize {
    rtnetlink::decode::<netlink_packet_route::RouteNetlinkMessage>(bytes)
}

/// Returns the key of a question's answer in a recorded host.
pub(crate) fn key<Q: Question>(question: &Q) -> serde_json::Result<String> {
    let details = serde_json::to_string(question)?;
    Ok(match details.as_str() {
        "null" => Q::NAME.to_owned(),
        details => format!("{} {details}", Q::NAME),
    })
}

/// Returns the path at which a thread that entered a network namespace reads a file of `/proc/net`: by that
/// name, it is the one of the namespace that the process is in.
fn of_thread(path: &str) -> String {
    path.replacen("/proc", "/proc/thread-self", 1)
}

/// Returns the content of a file below `/proc`, without the newline at its end.
fn read_file(path: &str) -> Result<String, Unseen> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Unseen::Absent(format!("there is no {path}")))
        }
        Err(error) => Err(Unseen::Failed(format!("{path}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::sysctl::Sysctl;
    use super::*;

    #[test]
    fn a_replayed_host_answers_as_the_recorded_one_did() {
        let live = HostState::live();
        let known = Sysctl::new(["kernel", "ostype"]);
        let unknown = Sysctl::new(["kernel", "no such"]);
        let answers = (live.ask(&known), live.ask(&unknown));
        assert_eq!(answers.0.as_deref(), Ok("Linux"));
        assert!(matches!(answers.1, Err(Unseen::Absent(_))));
        let replayed = HostState::replay(&live.recorded().unwrap().to_string()).unwrap();
        assert_eq!((replayed.ask(&known), replayed.ask(&unknown)), answers);
        let never_asked = Sysctl::new(["kernel", "osrelease"]);
        assert_eq!(replayed.ask(&never_asked), Err(Unseen::NotRecorded));
    }
}
