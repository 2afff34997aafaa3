//! The result of a diagnosis: a claim, its certainty, its evidence and its remedy.

use std::borrow::Borrow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::is_plain;
use crate::host::namespace::NAMED;

/// The certainty of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Nothing is claimed; the evidence is what was looked at.
    Unknown,
    /// The evidence fits, but something else could be the cause as well.
    Likely,
    /// The evidence proves it: with another setting of the object, this packet would not have been dropped here.
    Certain,
}

impl Grade {
    /// Returns the word for the grade.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// A cause of drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseFinding {
    /// The cause's short name, as in [`CauseText::id`](super::CauseText::id).
    pub cause: String,
    /// The matter, in a sentence without a full stop.
    pub claim: String,
    /// Its certainty.
    pub grade: Grade,
    /// The guilty object, named exactly: `sysctl net.ipv4.conf.eth0.rp_filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The things that were seen.
    pub evidence: Vec<Evidence>,
    /// The look that would make a likely claim certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The remedies.
    pub remedy: Vec<Remedy>,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The place where it was read: a file, a command that shows the same.
    pub source: String,
    /// The text that stands there.
    pub value: String,
}

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The remedy in words where no command is one, or an alternative to the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// A command for a shell, which runs as it is printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The time at which it takes effect.
    pub effect: Effect,
    /// The command is for the initial namespace, where the setting is, and not for the drop's.
    #[serde(skip)]
    pub is_global: bool,
}

/// The time at which a remedy takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// At once.
    #[serde(rename = "now")]
    Now,
    /// For sockets that are opened afterwards.
    #[serde(rename = "new sockets")]
    NewSockets,
    /// After a program has been started again.
    #[serde(rename = "after restart")]
    AfterRestart,
    /// It only shows more.
    #[serde(rename = "none")]
    None,
}

impl Effect {
    /// Returns the words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::NewSockets => "new sockets",
            Self::AfterRestart => "after restart",
            Self::None => "",
        }
    }
}

impl CauseFinding {
    /// Makes a claim without evidence and remedy yet.
    pub fn new(cause: &str, grade: Grade, claim: impl Into<String>) -> Self {
        Self {
            cause: cause.to_owned(),
            claim: claim.into(),
            grade,
            object: None,
            evidence: Vec::new(),
            proof: None,
            remedy: Vec::new(),
        }
    }

    /// Makes a certain claim a likely one, for this reason.
    pub fn weaken(&mut self, because: impl Into<String>) {
        if self.grade == Grade::Certain {
            self.grade = Grade::Likely;
            self.proof = Some(because.into());
        }
    }

    /// Names the guilty object.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Adds what was seen.
    #[must_use]
    pub fn seen(mut self, source: impl Into<String>, value: impl Into<String>) -> Self {
        self.evidence.push(Evidence {
            source: source.into(),
            value: value.into(),
        });
        self
    }

    /// Says what would make the claim certain.
    #[must_use]
    pub fn proof(mut self, proof: impl Into<String>) -> Self {
        self.proof = Some(proof.into());
        self
    }

    /// Adds a command that takes effect at once, in the drop's namespace.
    #[must_use]
    pub fn cure(self, command: impl Into<String>) -> Self {
        self.remedy(Remedy {
            advice: None,
            command: Some(command.into()),
            effect: Effect::Now,
            is_global: false,
        })
    }

    /// Adds advice without a command.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        self.remedy(Remedy {
            advice: Some(advice.into()),
            command: None,
            effect: Effect::None,
            is_global: false,
        })
    }

    /// Adds a remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy.push(remedy);
        self
    }
}

impl Remedy {
    /// Makes the command one for a shell in the initial namespace, where it was meant for another: that of this
    /// name in `/run/netns`, or of this file.
    pub fn run_in(&mut self, name: Option<&str>, file: &Path) {
        let Some(command) = self.command.as_mut().filter(|_| !self.is_global) else {
            return;
        };
        let is_named = file.starts_with(NAMED);
        let prefix = match name.filter(|name| is_named && is_plain(name)) {
            Some(name) => format!("ip netns exec {name}"),
            None => format!("nsenter --net={}", file.display()),
        };
        *command = format!("{prefix} {command}");
    }
}

/// Joins the first `most` names with commas, and tells how many more there are.
pub fn listed<S: Borrow<str>>(names: &[S], most: usize) -> String {
    let (shown, others) = names.split_at(names.len().min(most));
    let shown = shown.join(", ");
    match others.len() {
        0 => shown,
        count => format!("{shown} and {count} more"),
    }
}
