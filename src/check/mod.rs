//! `--check`: what this host can do. [`host`] reads it; functions without I/O turn it into findings, each
//! with what to do where the answer is no. [`namespace`] makes the [`drops`] by which `run::check` tries
//! every source.

pub mod capabilities;
pub mod drops;
pub mod host;
pub mod kernel;
pub mod namespace;
pub mod net_dm;
pub mod sandbox;
pub mod source_lines;
pub mod trial;
pub mod wireshark;

use std::fmt;

use serde::Serialize;

/// A line of the answer: a subject, and what was found of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    subject: String,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Finding {
    /// Everything is as it should be.
    pub fn yes(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            ok: true,
            found: found.into(),
            cure: None,
        }
    }

    /// Something is not, and `cure` says what to do.
    pub fn no(
        subject: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            ok: false,
            found: found.into(),
            cure: Some(cure.into()),
        }
    }

    /// Returns whether the answer is yes.
    #[cfg(test)]
    pub fn is_ok(&self) -> bool {
        self.ok
    }
}

/// A line, and one with the cure below it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = if self.ok { "ok" } else { "no" };
        write!(f, "{answer:5} {}: {}", self.subject, self.found)?;
        match &self.cure {
            Some(cure) => write!(f, "\n      {cure}"),
            None => Ok(()),
        }
    }
}

/// The refusal of a source to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The error, in a line.
    pub error: String,
    /// The error's own hint.
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cure_stands_below_its_line() {
        let yes = Finding::yes("BTF", "there");
        assert_eq!(yes.to_string(), "ok    BTF: there");
        let no = Finding::no("BTF", "missing", "buy one");
        assert_eq!(no.to_string(), "no    BTF: missing\n      buy one");
        assert!(yes.is_ok() && !no.is_ok());
        let json = serde_json::to_string(&[yes, no]).unwrap();
        assert_eq!(
            json,
            r#"[{"subject":"BTF","ok":true,"found":"there"},{"subject":"BTF","ok":false,"found":"missing","cure":"buy one"}]"#
        );
    }
}
