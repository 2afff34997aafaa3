//! Writes a finding as comments of a packet in a capture file, and reads it back.
//!
//! One comment has one row of the block: `why: CLAIM (GRADE)`, then `cause:`, `object:`, `seen: SOURCE: VALUE`,
//! `proof:`, and for each remedy `do:` with words, `run:` with a command, or both, where the words end with a colon.

use super::{CauseFinding, Effect, Evidence, Grade, Remedy};
use crate::record::{Escaped, unescape};
use crate::untrusted::Untrusted;

/// The most bytes of a comment. A block with an option that is longer than 65,535 bytes could not be read.
const MAX_COMMENT: usize = 8000;

impl CauseFinding {
    /// Returns the comments, in the order in which they are written.
    pub fn comments(&self) -> Vec<String> {
        let mut comments = vec![
            comment("why", &format!("{} ({})", self.claim, self.grade.word())),
            comment("cause", &self.cause),
        ];
        comments.extend(self.object.iter().map(|object| comment("object", object)));
        for Evidence { source, value } in &self.evidence {
            comments.push(comment("seen", &format!("{source}: {value}")));
        }
        comments.extend(self.proof.iter().map(|proof| comment("proof", proof)));
        for Remedy {
            advice,
            command,
            effect,
            ..
        } in &self.remedy
        {
            match (advice, command) {
                (Some(advice), Some(_)) => comments.push(comment("do", &format!("{advice}:"))),
                (Some(advice), None) => comments.push(comment("do", &with_effect(advice, *effect))),
                (None, _) => {}
            }
            let command = command.iter();
            comments.extend(command.map(|text| comment("run", &with_effect(text, *effect))));
        }
        comments
    }

    /// Returns the finding that the comments of a packet tell; `None` where there is none.
    pub fn of_comments(comments: &[Untrusted<&str>]) -> Option<Self> {
        let mut rows = comments
            .iter()
            .filter_map(|comment| comment.raw().split_once(": "));
        let (claim, grade) =
            rows.find_map(|(key, text)| claim_of((key == "why").then_some(text)?))?;
        let mut found = Self::new("", grade, claim);
        for (key, text) in rows {
            found.take_row(key, plain(text));
        }
        Some(found)
    }

    fn take_row(&mut self, key: &str, text: String) {
        match key {
            "cause" => self.cause = text,
            "object" => self.object = Some(text),
            "proof" => self.proof = Some(text),
            "seen" => {
                let (source, value) = text.split_once(": ").unwrap_or((text.as_str(), ""));
                self.evidence.push(Evidence {
                    source: source.to_owned(),
                    value: value.to_owned(),
                });
            }
            "do" => {
                let (advice, effect) = without_effect(&text);
                self.remedy.push(Remedy {
                    advice: Some(advice),
                    command: None,
                    effect,
                    is_global: false,
                });
            }
            "run" => {
                let (command, effect) = without_effect(&text);
                let words = self.remedy.last_mut().filter(|last| {
                    last.command.is_none()
                        && last
                            .advice
                            .as_ref()
                            .is_some_and(|advice| advice.ends_with(':'))
                });
                if let Some(last) = words {
                    last.advice.as_mut().and_then(String::pop);
                    (last.command, last.effect) = (Some(command), effect);
                } else {
                    self.remedy.push(Remedy {
                        advice: None,
                        command: Some(command),
                        effect,
                        is_global: false,
                    });
                }
            }
            _ => {}
        }
    }
}

fn comment(key: &str, text: &str) -> String {
    let mut comment = format!("{key}: {}", Escaped(text.as_bytes()));
    if comment.len() > MAX_COMMENT {
        comment.truncate(comment.floor_char_boundary(MAX_COMMENT));
        comment.push('…');
    }
    comment
}

fn plain(text: &str) -> String {
    String::from_utf8_lossy(&unescape(text)).into_owned()
}

/// Divides `CLAIM (GRADE)`.
fn claim_of(text: &str) -> Option<(String, Grade)> {
    let (claim, grade) = text.strip_suffix(')')?.rsplit_once(" (")?;
    let mut grades = [Grade::Unknown, Grade::Likely, Grade::Certain].into_iter();
    let grade = grades.find(|known| known.word() == grade)?;
    Some((plain(claim), grade))
}

fn with_effect(text: &str, effect: Effect) -> String {
    match effect.words() {
        "" => text.to_owned(),
        words => format!("{text} ({words})"),
    }
}

fn without_effect(text: &str) -> (String, Effect) {
    let effects = [Effect::Now, Effect::NewSockets, Effect::AfterRestart];
    for effect in effects {
        let words = format!(" ({})", effect.words());
        if let Some(text) = text.strip_suffix(&words) {
            return (text.to_owned(), effect);
        }
    }
    (text.to_owned(), Effect::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(comments: &[String]) -> Option<CauseFinding> {
        let comments: Vec<_> = comments
            .iter()
            .map(|text| Untrusted::new(text.as_str()))
            .collect();
        CauseFinding::of_comments(&comments)
    }

    fn finding() -> CauseFinding {
        let with_words = Remedy {
            advice: Some("allow it".into()),
            command: Some("nft add rule inet t c accept".into()),
            effect: Effect::NewSockets,
            is_global: false,
        };
        CauseFinding::new("multicast", Grade::Certain, "eth0 has not joined 224.0.0.5")
            .object("group 224.0.0.5 on eth0")
            .seen("/proc/net/igmp", "eth0: 224.0.0.1 alone")
            .proof("nothing\nmore\\")
            .advise("start OSPF on eth0")
            .remedy(with_words)
            .cure("ip address add 224.0.0.5/32 dev eth0 autojoin")
    }

    #[test]
    fn the_comments_are_the_rows_of_the_block() {
        let expected = [
            "why: eth0 has not joined 224.0.0.5 (certain)",
            "cause: multicast",
            "object: group 224.0.0.5 on eth0",
            "seen: /proc/net/igmp: eth0: 224.0.0.1 alone",
            r"proof: nothing\x0amore\x5c",
            "do: start OSPF on eth0",
            "do: allow it:",
            "run: nft add rule inet t c accept (new sockets)",
            "run: ip address add 224.0.0.5/32 dev eth0 autojoin (now)",
        ];
        assert_eq!(finding().comments(), expected);
        assert_eq!(read(&finding().comments()), Some(finding()));
    }

    #[test]
    fn comments_of_others_are_no_finding() {
        for text in [
            "why: because",
            "why: (certain)",
            "why: it is (sure)",
            "seen: a: b",
            "whynot",
            "",
        ] {
            assert_eq!(read(&[text.to_owned()]), None, "{text}");
        }
        let mut comments = vec!["look here".to_owned(), "why: bad (often)".to_owned()];
        comments.extend(finding().comments());
        comments.push("reason: A".into());
        assert_eq!(read(&comments), Some(finding()));
    }

    #[test]
    fn a_comment_fits_into_an_option() {
        let long = CauseFinding::new("x", Grade::Likely, "ä".repeat(100_000));
        assert!(
            long.comments()
                .iter()
                .all(|comment| comment.len() < MAX_COMMENT + 4)
        );
        // It has no end, and so no grade: nothing is better than a part of a claim.
        assert_eq!(read(&long.comments()), None);
    }

    proptest! {
        #[test]
        fn no_comment_panics_the_reader(comments in proptest::collection::vec("(why|seen|do|run): .*", 0..6)) {
            let _ = read(&comments);
        }
    }
}
