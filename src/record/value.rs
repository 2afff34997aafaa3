//! The kinds of values that facts have. Each is written, parsed, split into parts and described here.

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use super::context::{DropSocket, Heading, Netns, SOCKET_SCHEMA};
use super::{Escaped, EtherType, Hex, Link, MAX_NAME, Name, Origin, Stack, Symbol};

/// The value of a fact. Its [`Display`](fmt::Display) is its spelling in comments, in JSON strings
/// and in `-v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `NO_SOCKET`
    Name(Name<'a>),
    /// `gre_rcv+0x1a2/0x2d0 [gre]`
    Symbol(Symbol<'a>),
    /// Part of a name, perhaps empty, such as the `gre` of `[gre]`.
    Part(&'a [u8]),
    /// `main.c:17`
    SourceLine(Name<'a>),
    /// `tcp_v4_rcv+0x1/0x2;ip_rcv+0x1/0x2`; in JSON a list.
    Stack(Stack<'a>),
    /// `deadbeef00112233`
    Bytes(&'a [u8]),
    /// `0xffffffffb3d420b5`
    Address(u64),
    /// `0x0800`
    EtherType(EtherType),
    /// `software`
    Origin(Origin),
    /// An unsigned number.
    Number(u32),
    /// An ifindex. 0 means none, and only comments show it.
    Index(u32),
    /// `ethernet (assumed)`
    Link(Link),
    /// A number of 64 bits.
    Id(u64),
    /// `0x17`
    Mark(u32),
    /// `4026532345`
    Netns(Netns),
    /// `owner inet udp 40000 > 53 established`
    Socket(DropSocket),
    /// `inbound`
    Heading(Heading),
}

/// The parts of a value: a number and bytes. A value that has bytes has their length as its number.
pub type Parts<'a> = (u64, &'a [u8]);

impl<'a> Value<'a> {
    /// Splits the value into its parts. Returns `None` if values of its kind are never stored.
    #[inline]
    pub(crate) fn parts(self) -> Option<Parts<'a>> {
        let bytes = |bytes: &'a [u8]| (bytes.len() as u64, bytes);
        Some(match self {
            Self::Name(name) | Self::Symbol(Symbol(name)) | Self::SourceLine(name) => {
                bytes(name.as_sent())
            }
            Self::Stack(stack) => bytes(stack.as_bytes()),
            Self::Bytes(value) => bytes(value),
            Self::Address(address) => (address, &[]),
            Self::EtherType(EtherType(number)) => (number.into(), &[]),
            Self::Origin(Origin::Software) => (0, &[]),
            Self::Origin(Origin::Hardware) => (1, &[]),
            Self::Number(number) | Self::Index(number) | Self::Mark(number) => (number.into(), &[]),
            Self::Id(number) => (number, &[]),
            Self::Netns(netns) => (netns.number(), &[]),
            Self::Socket(socket) => (socket.number(), &[]),
            Self::Heading(heading) => (heading.number(), &[]),
            Self::Part(_) | Self::Link(_) => return None,
        })
    }

    /// Returns whether JSON and `-v` show the value.
    pub fn is_shown(&self) -> bool {
        !matches!(self, Self::Index(0) | Self::Heading(Heading::Unknown))
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) | Self::SourceLine(name) => name.fmt(f),
            Self::Symbol(symbol) => symbol.fmt(f),
            Self::Part(part) => Escaped(part).fmt(f),
            Self::Stack(stack) => stack.fmt(f),
            Self::Bytes(bytes) => Hex(bytes).fmt(f),
            Self::Address(address) => write!(f, "{address:#018x}"),
            Self::EtherType(protocol) => protocol.fmt(f),
            Self::Origin(origin) => origin.fmt(f),
            Self::Number(number) | Self::Index(number) => number.fmt(f),
            Self::Link(link) => link.fmt(f),
            Self::Id(number) => number.fmt(f),
            Self::Mark(mark) => write!(f, "{mark:#x}"),
            Self::Netns(netns) => netns.fmt(f),
            Self::Socket(socket) => socket.fmt(f),
            Self::Heading(heading) => heading.fmt(f),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) | Self::Index(number) => serializer.serialize_u32(*number),
            Self::Link(link) => serializer.collect_str(&link.kind),
            Self::Stack(stack) => {
                serializer.collect_seq(stack.frames().map(|frame| frame.to_string()))
            }
            Self::Id(number) => serializer.serialize_u64(*number),
            Self::Netns(netns) => serializer.serialize_u32(netns.inode),
            Self::Socket(socket) => socket.serialize(serializer),
            value => serializer.collect_str(value),
        }
    }
}

/// The kind of [`Value`] that a fact has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the values say it")]
#[non_exhaustive]
pub enum Kind {
    Name,
    Symbol,
    Part,
    SourceLine,
    Stack,
    Bytes,
    Address,
    EtherType,
    Origin,
    Number,
    Index,
    Link,
    Id,
    Mark,
    Netns,
    Socket,
    Heading,
}

impl Kind {
    /// Makes a value from its parts: the inverse of [`Value::parts`].
    #[inline]
    pub(crate) fn join(self, (number, bytes): Parts<'_>) -> Option<Value<'_>> {
        Some(match self {
            Self::Name => Value::Name(Name::new(bytes)?),
            Self::Symbol => Value::Symbol(Symbol(Name::new(bytes)?)),
            Self::SourceLine => Value::SourceLine(Name::new(bytes)?),
            Self::Stack => Value::Stack(Stack::known(bytes)?),
            Self::Bytes => Value::Bytes(bytes),
            Self::Address => Value::Address(number),
            Self::EtherType => Value::EtherType(EtherType(u16::try_from(number).ok()?)),
            Self::Origin if number == 0 => Value::Origin(Origin::Software),
            Self::Origin => Value::Origin(Origin::Hardware),
            Self::Number => Value::Number(u32::try_from(number).ok()?),
            Self::Index => Value::Index(u32::try_from(number).ok()?),
            Self::Mark => Value::Mark(u32::try_from(number).ok()?),
            Self::Id => Value::Id(number),
            Self::Netns => Value::Netns(Netns::from_number(number)?),
            Self::Socket => Value::Socket(DropSocket::from_number(number)?),
            Self::Heading => Value::Heading(Heading::from_number(number)?),
            Self::Part | Self::Link => return None,
        })
    }

    /// Parses the text of a comment: the inverse of the value's `Display`. Returns `None` for a text that
    /// `Display` would not have written.
    pub(crate) fn read(self, text: &str) -> Option<(u64, Cow<'_, [u8]>)> {
        let bytes = |bytes: Cow<'static, [u8]>| bytes;
        let number = |number: u64| Some((number, bytes(Cow::Borrowed(&[]))));
        match self {
            Self::SourceLine if !is_source_line(text) => None,
            Self::Name | Self::Symbol | Self::SourceLine => {
                let name = read_name(text)?;
                Some((name.len() as u64, name))
            }
            Self::Stack => {
                let stack = unescape(text);
                Stack::new(&stack)?;
                Some((stack.len() as u64, stack))
            }
            Self::Bytes => {
                let bytes = read_bytes(text)?;
                Some((bytes.len() as u64, Cow::Owned(bytes)))
            }
            Self::Address => number(read_hex(text)?),
            Self::EtherType => number(u16::try_from(read_hex(text)?).ok()?.into()),
            Self::Origin => match text {
                "software" => number(0),
                "hardware" => number(1),
                _ => None,
            },
            Self::Number | Self::Index => number(text.parse::<u32>().ok()?.into()),
            Self::Id => number(text.parse().ok()?),
            Self::Mark => number(u32::try_from(read_hex(text)?).ok()?.into()),
            Self::Netns => number(Netns::read(text)?.number()),
            Self::Socket => number(DropSocket::read(text)?.number()),
            Self::Heading => number(Heading::read(text)?.number()),
            Self::Part | Self::Link => None,
        }
    }

    /// Returns whether records store such values. Other values follow from other facts.
    pub(super) const fn is_stored(self) -> bool {
        !matches!(self, Self::Part | Self::Link)
    }

    /// Returns whether such values have bytes, whose length is the number.
    #[inline]
    pub(crate) const fn has_bytes(self) -> bool {
        matches!(
            self,
            Self::Name | Self::Symbol | Self::SourceLine | Self::Stack | Self::Bytes
        )
    }

    /// Returns the value's part of the JSON schema, without its description.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Name | Self::Symbol | Self::Link => r#""type": "string", "minLength": 1"#,
            Self::Part => r#""type": "string""#,
            Self::SourceLine => r#""type": "string", "pattern": ":[0-9]+$""#,
            Self::Stack => {
                r#""type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 }"#
            }
            Self::Bytes => r#""type": "string", "pattern": "^([0-9a-f]{2})+$""#,
            Self::Address => r#""type": "string", "pattern": "^0x[0-9a-f]{16}$""#,
            Self::EtherType => r#""type": "string", "pattern": "^0x[0-9a-f]{4}$""#,
            Self::Origin => r#""enum": ["software", "hardware"]"#,
            Self::Number => r#""type": "integer", "minimum": 0, "maximum": 4294967295"#,
            Self::Index | Self::Netns => {
                r#""type": "integer", "minimum": 1, "maximum": 4294967295"#
            }
            Self::Id => r#""type": "integer", "minimum": 0, "maximum": 18446744073709551615"#,
            Self::Mark => r#""type": "string", "pattern": "^0x[0-9a-f]{1,8}$""#,
            Self::Socket => SOCKET_SCHEMA,
            Self::Heading => r#""enum": ["inbound", "outbound"]"#,
        }
    }
}

/// Parses the bytes of a [`Name`].
fn read_name(text: &str) -> Option<Cow<'_, [u8]>> {
    let mut bytes = unescape(text);
    if bytes.is_empty() || bytes.contains(&0) {
        return None;
    }
    match &mut bytes {
        Cow::Borrowed(bytes) => *bytes = &bytes[..bytes.len().min(MAX_NAME)],
        Cow::Owned(bytes) => bytes.truncate(MAX_NAME),
    }
    Some(bytes)
}

/// Returns whether a text names a file and the number of a line.
fn is_source_line(text: &str) -> bool {
    let number = text.rsplit_once(':').map(|(_, number)| number);
    text.len() <= MAX_NAME
        && number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
}

/// Parses a number in dwdump's spelling: `0x` and lower-case hexadecimal digits.
fn read_hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn read_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?))
        .collect()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Reverses [`Escaped`]: `\xNN` becomes the byte, anything else stays as it is.
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('\\') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match *rest {
            [b'\\', b'x', high, low, ..]
                if hex_digit(high).is_some() && hex_digit(low).is_some() =>
            {
                bytes.push(hex_digit(high).unwrap_or(0) << 4 | hex_digit(low).unwrap_or(0));
                rest = &rest[4..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(bytes)
}
