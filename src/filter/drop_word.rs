//! Parses the names after the words for facts of the drop.

use std::ops::Range;

use winnow::stream::Location;

use crate::packet::offset::vlan;
use crate::record::{self, EtherType, Kind, Origin};

use super::ast::{DropWord, Expr, NetnsWord, Primitive};
use super::fact::NamedFact;
use super::glob::Glob;
use super::lex::{
    self, Parsed, ParserInput, Quoted, expected, fail, peek_word, position, sign, text,
};
use super::words;

/// A word that is followed by a name or number of the drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextWord {
    Reason,
    Location,
    Module,
    Origin,
    Protocol,
    Iface,
    IfName,
    Netns,
    /// `trap`, `pc` and others: a fact that is matched unchanged.
    NamedFact(record::Fact),
}

impl TextWord {
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "reason" => Self::Reason,
            "location" => Self::Location,
            "module" => Self::Module,
            "origin" => Self::Origin,
            "protocol" => Self::Protocol,
            "iface" | "ifindex" => Self::Iface,
            "ifname" | "on" => Self::IfName,
            "netns" => Self::Netns,
            _ => Self::NamedFact(record::Fact::from_word(word)?),
        })
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Reason => "a drop reason, for instance NO_SOCKET",
            Self::Location => "a function of the kernel, for instance ip_rcv*",
            Self::Module => "a kernel module",
            Self::Origin => "`sw` or `hw`",
            Self::Protocol => "an Ethernet type from 0 to 65535 or its name",
            Self::Iface => "an interface name or index",
            Self::IfName => "an interface name",
            Self::Netns => "a network namespace: its name or inode, `initial` or `other`",
            Self::NamedFact(record::Fact::Vlan) => "a VLAN from 0 to 4095",
            Self::NamedFact(fact) => fact.about().wanted.unwrap_or("a value"),
        }
    }
}

/// Parses one name to match, or `=` and the exact name.
pub fn single(input: &mut ParserInput<'_>, word: TextWord) -> Parsed<Expr> {
    let start = position(input)?;
    if matches!(peek_word(input)?, "and" | "or" | "not") {
        return expected(input, word.wanted());
    }
    let is_exact = sign(input, "==")? || sign(input, "=")?;
    let start = if is_exact { position(input)? } else { start };
    let Some((bytes, quoted)) = text(input)? else {
        return expected(input, word.wanted());
    };
    let span = start..input.current_token_start();
    if is_exact {
        exact(word, bytes, quoted, span)
    } else {
        value(word, bytes, quoted, span)
    }
}

/// Builds the test for `word = name`; an empty name asks for drops without the fact.
fn exact(word: TextWord, bytes: Vec<u8>, quoted: Quoted, span: Range<usize>) -> Parsed<Expr> {
    let exactly = |fact| DropWord::Exactly(fact, bytes.clone());
    let asked = match word {
        TextWord::Reason => exactly(NamedFact::Reason),
        TextWord::Location => exactly(NamedFact::Location),
        TextWord::Module => exactly(NamedFact::Module),
        TextWord::IfName => exactly(NamedFact::IfName),
        TextWord::NamedFact(fact) if is_text(fact) => exactly(NamedFact::Plain(fact)),
        TextWord::NamedFact(fact) if bytes.is_empty() => DropWord::Number(fact, None),
        TextWord::Iface if bytes.is_empty() => DropWord::NoInterface,
        TextWord::Protocol if bytes.is_empty() => DropWord::Protocol(None),
        TextWord::Netns if bytes.is_empty() => DropWord::Netns(NetnsWord::Unknown),
        TextWord::Netns => match netns(bytes.clone(), quoted) {
            NetnsWord::Name(_) => exactly(NamedFact::Plain(record::Fact::NetnsName)),
            other => DropWord::Netns(other),
        },
        TextWord::Iface | TextWord::Protocol | TextWord::Origin | TextWord::NamedFact(_) => {
            return value(word, bytes, quoted, span);
        }
    };
    Ok(Primitive::Drop(asked).into())
}

/// Builds the test for `word name`.
pub fn value(word: TextWord, bytes: Vec<u8>, quoted: Quoted, span: Range<usize>) -> Parsed<Expr> {
    let plain = std::str::from_utf8(&bytes).unwrap_or_default();
    if quoted == Quoted::No && plain.starts_with("!=") {
        return fail(
            span,
            "expected a name, or `=` and a name: `not` goes before the word",
        );
    }
    if bytes.is_empty() {
        return fail(span, format!("expected {}", word.wanted()));
    }
    let asked = match word {
        TextWord::Reason => DropWord::Reason(reason(&bytes)),
        TextWord::Location => DropWord::Location(Glob::new(bytes)),
        TextWord::Module => DropWord::Module(Glob::new(module(bytes))),
        TextWord::NamedFact(fact) if is_text(fact) => DropWord::Named(fact, Glob::new(bytes)),
        TextWord::Netns => DropWord::Netns(netns(bytes, quoted)),
        TextWord::IfName => DropWord::InterfaceName(bytes),
        TextWord::Iface => match lex::number(plain).filter(|_| quoted == Quoted::No) {
            None => DropWord::InterfaceName(bytes),
            Some(index) => match u32::try_from(index) {
                Ok(index) => DropWord::InterfaceIndex(index),
                Err(_) => return fail(span, "expected an interface index below 4294967296"),
            },
        },
        TextWord::Origin => match plain {
            "sw" | "software" => DropWord::Origin(Origin::Software),
            "hw" | "hardware" => DropWord::Origin(Origin::Hardware),
            _ => return fail(span, format!("expected {}", word.wanted())),
        },
        TextWord::Protocol => {
            let protocol = match lex::number(plain) {
                Some(number) => u16::try_from(number).ok(),
                None => words::ether_protocol(plain),
            };
            match protocol {
                Some(protocol) => DropWord::Protocol(Some(EtherType(protocol))),
                None => return fail(span, format!("expected {}", word.wanted())),
            }
        }
        TextWord::NamedFact(fact) if fact.kind() == Kind::Heading => {
            match record::Heading::read(plain).filter(|heading| heading.is_known()) {
                Some(heading) => DropWord::Number(fact, Some(heading.number())),
                None => return fail(span, format!("expected {}", word.wanted())),
            }
        }
        TextWord::NamedFact(fact) => {
            let digits = plain.trim_start_matches("0x").len();
            // A number that is too large becomes the largest.
            let is_whole = |number: &u64| digits <= 16 || plain.parse() == Ok(*number);
            let number = lex::number(plain).filter(is_whole);
            let fits = |&number: &u64| match fact {
                record::Fact::Vlan => number <= vlan::ID.into(),
                _ => fact.kind().join((number, &[])).is_some(),
            };
            match number.filter(fits) {
                Some(number) => DropWord::Number(fact, Some(number)),
                None => return fail(span, format!("expected {}", word.wanted())),
            }
        }
    };
    Ok(Primitive::Drop(asked).into())
}

/// Returns whether a pattern is compared with the fact.
fn is_text(fact: record::Fact) -> bool {
    fact.kind().has_bytes() || fact.kind() == Kind::Socket
}

/// Tells inodes and names apart. In quotes, everything is a name.
fn netns(bytes: Vec<u8>, quoted: Quoted) -> NetnsWord {
    let plain = std::str::from_utf8(&bytes).unwrap_or_default();
    let plain = if quoted == Quoted::No { plain } else { "" };
    match (plain, lex::number(plain)) {
        ("initial", _) => NetnsWord::Initial,
        ("other", _) => NetnsWord::Other,
        (_, Some(inode)) => match u32::try_from(inode) {
            Ok(inode) => NetnsWord::Inode(inode),
            Err(_) => NetnsWord::Name(Glob::new(bytes)),
        },
        _ => NetnsWord::Name(Glob::new(bytes)),
    }
}

/// Removes the brackets in which a text line shows the module: `[gre]`.
fn module(name: Vec<u8>) -> Vec<u8> {
    match &name[..] {
        [b'[', bare @ .., b']'] if !bare.is_empty() => bare.to_vec(),
        _ => name,
    }
}

/// Converts a reason to the form in which the kernel sends it: upper case, without the prefix of
/// its enumeration.
fn reason(pattern: &[u8]) -> Glob {
    let upper = pattern.to_ascii_uppercase();
    let bare = upper
        .strip_prefix(b"SKB_DROP_REASON_")
        .filter(|bare| !bare.is_empty());
    Glob::new(bare.unwrap_or(&upper).to_vec())
}
