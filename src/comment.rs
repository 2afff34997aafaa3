//! Writes a record's facts as packet comments, one fact a comment, and reads them back. The keys,
//! their order and the spelling of the values are part of dwdump's file format; the rows of
//! [`Fact`] define them.

use std::borrow::Cow;
use std::fmt;

use crate::packet;
use crate::record::{Commented, DropRecord, EtherType, Fact, LinkType, Origin, Value};
use crate::untrusted::Untrusted;

/// One comment of a packet; its [`Display`](fmt::Display) is the comment's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comment<'a> {
    /// `reason: NO_SOCKET`
    Fact(Fact, Value<'a>),
    /// `time: unknown`, only where the block has a time and the record has none
    NoTime,
    /// `meaning: …`, on request
    Meaning(&'a str),
}

impl fmt::Display for Comment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact(fact, value) => write!(f, "{}: {value}", fact.about().key),
            Self::NoTime => f.write_str("time: unknown"),
            Self::Meaning(meaning) => write!(f, "meaning: {meaning}"),
        }
    }
}

/// Returns the record's protocol if the bytes in the file do not show it. `link` and `data` are
/// those of the packet in the file, which differ from the record's with `--link-type`.
pub fn unsaid_protocol(record: &DropRecord<'_>, link: LinkType, data: &[u8]) -> Option<EtherType> {
    record
        .protocol
        .filter(|&protocol| packet::protocol(link, data) != Some(protocol))
}

/// Returns the comments of a record, in the order in which they are written. Its protocol has to be the
/// [`unsaid_protocol`].
pub fn comments<'a>(record: &DropRecord<'a>) -> impl Iterator<Item = Comment<'a>> {
    facts(record, Commented::Always)
}

/// Returns the facts of a packet's interface as comments, for files in which all packets share one
/// interface.
pub fn interface_comments<'a>(record: &DropRecord<'a>) -> impl Iterator<Item = Comment<'a>> {
    facts(record, Commented::OnSharedInterface)
}

fn facts<'a>(record: &DropRecord<'a>, commented: Commented) -> impl Iterator<Item = Comment<'a>> {
    let facts = Fact::ALL.iter();
    let facts = facts.filter(move |fact| fact.about().commented == commented);
    facts.filter_map(|&fact| Some(Comment::Fact(fact, fact.get(record)?)))
}

/// The facts in a packet's comments; the reverse of [`comments`].
///
/// # Example
///
/// ```
/// use dwdump::comment::ParsedComments;
/// use dwdump::record::{Cause, DropRecord, Link, LinkType};
///
/// let mut comments = ParsedComments::default();
/// comments.read("reason: NO_SOCKET");
/// comments.read("seen on the second try");
///
/// let mut record = DropRecord::new(Link::known(LinkType::ETHERNET), &[]);
/// comments.store(&mut record);
/// let Cause::Software { reason: Some(reason), .. } = record.cause else {
///     panic!("a reason makes a software drop");
/// };
/// assert_eq!(reason.to_string(), "NO_SOCKET");
/// assert_eq!(comments.notes().len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct ParsedComments<'a> {
    /// The parts of the values, in the order of [`Fact::ALL`].
    values: [Option<(u64, Cow<'a, [u8]>)>; Fact::ALL.len()],
    /// The origin according to the packet's interface or a comment.
    origin: Option<Origin>,
    has_no_time: bool,
    /// Comments that dwdump did not write: unknown keys, other spellings of values, repetitions.
    notes: Vec<Untrusted<&'a str>>,
}

impl<'a> ParsedComments<'a> {
    /// Returns the facts of a packet whose interface has this `origin`.
    pub fn of_origin(origin: Option<Origin>) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }

    /// Reads one comment.
    pub fn read(&mut self, comment: &'a str) {
        if self.read_known(comment).is_none() {
            self.notes.push(comment.into());
        }
    }

    /// Reads a comment that dwdump writes. Returns `None` for any other, and if its fact is already
    /// known.
    fn read_known(&mut self, comment: &'a str) -> Option<()> {
        let (key, text) = comment.split_once(": ")?;
        match key {
            "time" => {
                let is_new = text == "unknown" && !self.has_no_time;
                is_new.then(|| self.has_no_time = true)
            }
            // The meaning comes from the catalogue, which is consulted again when it is shown.
            "meaning" => Some(()),
            key => {
                let mut facts = Fact::ALL.iter();
                self.read_fact(*facts.find(|fact| fact.about().key == key)?, text)
            }
        }
    }

    fn read_fact(&mut self, fact: Fact, text: &'a str) -> Option<()> {
        let about = fact.about();
        let is_known = match fact {
            Fact::Origin => self.origin.is_some(),
            fact => self.values[fact as usize].is_some(),
        };
        let is_of_another_drop = about
            .origin
            .is_some_and(|origin| self.origin.is_some_and(|said| said != origin));
        if is_known || is_of_another_drop || about.commented == Commented::Never {
            return None;
        }
        let value = fact.kind().read(text)?;
        if let Some(Value::Origin(origin)) = fact.kind().join((value.0, &value.1)) {
            self.origin = Some(origin);
        } else {
            self.values[fact as usize] = Some(value);
        }
        Some(())
    }

    /// Returns the origin of the drop. If neither the interface nor a comment tells it, the other
    /// facts decide; a packet without any is not a drop.
    fn decided_origin(&self) -> Option<Origin> {
        let has_facts_of = |origin: Origin| {
            let mut facts = Fact::ALL.iter();
            facts.any(|&fact| {
                fact.about().origin == Some(origin) && self.values[fact as usize].is_some()
            })
        };
        self.origin.or_else(|| {
            let mut origins = [Origin::Software, Origin::Hardware].into_iter();
            origins.find(|&origin| has_facts_of(origin))
        })
    }

    /// Stores the facts in the packet's record.
    pub fn store<'r>(&'r self, record: &mut DropRecord<'r>) {
        let origin = self.decided_origin();
        Fact::store_each(record, |fact| match fact {
            Fact::Origin => Value::Origin(origin?).parts(),
            fact => {
                let (number, bytes) = self.values[fact as usize].as_ref()?;
                Some((*number, bytes))
            }
        });
    }

    /// Returns whether the time in the packet's block is not valid.
    pub fn has_no_time(&self) -> bool {
        self.has_no_time
    }

    /// Returns the comments that dwdump did not write.
    pub fn notes(&self) -> &[Untrusted<&'a str>] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cause, Escaped, Link, Name, OwnedFacts, Symbol, unescape};
    use proptest::prelude::*;

    fn cause<'a>(facts: &'a ParsedComments<'_>) -> Cause<'a> {
        let mut record = DropRecord::new(Link::known(LinkType::ETHERNET), &[]);
        facts.store(&mut record);
        record.cause
    }

    #[test]
    fn comments_say_what_the_manual_says() {
        #[track_caller]
        fn check(fact: Fact, value: Value<'_>, text: &str) {
            assert_eq!(Comment::Fact(fact, value).to_string(), text);
        }
        let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
        check(
            Fact::Reason,
            Value::Name(name("NO_SOCKET")),
            "reason: NO_SOCKET",
        );
        check(
            Fact::Location,
            Value::Symbol(Symbol(name("gre_rcv+0x1a/0x2d [gre]"))),
            "location: gre_rcv+0x1a/0x2d [gre]",
        );
        let pc = Value::Address(0xffff_ffff_b3d4_20b5);
        check(Fact::Pc, pc, "pc: 0xffffffffb3d420b5");
        check(Fact::Pc, Value::Address(0x1000), "pc: 0x0000000000001000");
        check(
            Fact::Trap,
            Value::Name(name("blackhole_route")),
            "trap: blackhole_route",
        );
        check(
            Fact::TrapGroup,
            Value::Name(name("l3_drops")),
            "trap_group: l3_drops",
        );
        let cookie = Value::Bytes(&[0xde, 0xad, 0x00]);
        check(Fact::Cookie, cookie, "cookie: dead00");
        let protocol = Value::EtherType(EtherType(4));
        check(Fact::Protocol, protocol, "protocol: 0x0004");
        let origin = Value::Origin(Origin::Hardware);
        check(Fact::Origin, origin, "origin: hardware");
        check(Fact::IfIndex, Value::Index(5), "ifindex: 5");
        check(Fact::IfName, Value::Name(name("eth0")), "ifname: eth0");
        assert_eq!(Comment::NoTime.to_string(), "time: unknown");
    }

    #[test]
    fn a_comment_that_dwdump_would_not_write_is_kept_as_a_note() {
        let mut facts = ParsedComments::default();
        for comment in [
            "look here",
            "reason: A",
            "reason: B",
            "pc: 12",
            "pc: 0x+1",
            "cookie: abc",
            "trap: ",
        ] {
            facts.read(comment);
        }
        assert_eq!(
            facts.notes(),
            [
                "look here",
                "reason: B",
                "pc: 12",
                "pc: 0x+1",
                "cookie: abc",
                "trap: "
            ]
            .map(Untrusted::new)
        );
        let Cause::Software { reason, .. } = cause(&facts) else {
            panic!("a reason makes a software drop")
        };
        assert_eq!(reason, Name::new(b"A"));
    }

    #[test]
    fn a_packet_without_facts_has_no_cause() {
        let mut facts = ParsedComments::default();
        facts.read("somebody's comment");
        assert_eq!(cause(&facts), Cause::Unknown);
    }

    #[test]
    fn every_stored_fact_comes_back_from_a_copy_and_from_its_comment() {
        let link = Link::known(LinkType::NO_PACKET);
        let mut count = 0;
        for &fact in Fact::ALL {
            let parts = match fact {
                Fact::Origin => continue,
                fact if fact.kind().has_bytes() => (6, &b"name:1"[..]),
                _ => (1, &[][..]),
            };
            let origin = fact.about().origin.unwrap_or(Origin::Software);
            let mut record = DropRecord::new(link, &[]);
            Fact::store_each(&mut record, |stored| match stored {
                Fact::Origin => Value::Origin(origin).parts(),
                stored if stored == fact => Some(parts),
                // The interface needs an index to have a name.
                Fact::IfIndex => Some((7, &[])),
                _ => None,
            });
            if fact.kind().join(parts).is_none() {
                continue;
            }
            count += 1;
            assert_eq!(fact.get(&record).and_then(Value::parts), Some(parts));

            let mut copy = OwnedFacts::default();
            copy.set(&record);
            assert_eq!(copy.record(), record, "{fact:?}");

            let texts = comments(&record).chain(interface_comments(&record));
            let texts: Vec<String> = texts.map(|comment| comment.to_string()).collect();
            let mut facts = ParsedComments::default();
            for text in &texts {
                facts.read(text);
            }
            assert_eq!(facts.notes(), []);
            let mut read = DropRecord::new(link, &[]);
            facts.store(&mut read);
            assert_eq!(read, record, "{fact:?}");
        }
        assert!(count >= 9, "{count}");
    }

    proptest! {
        #[test]
        fn escaping_survives_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = Escaped(&bytes).to_string();
            prop_assert_eq!(&*unescape(&text), &bytes[..]);
        }

        #[test]
        fn no_comment_panics_the_reader(text in ".*") {
            let mut facts = ParsedComments::default();
            facts.read(&text);
            let _ = cause(&facts);
        }
    }
}
