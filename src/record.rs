//! The record of one dropped packet, independent of its source and of its destination.
//!
//! A record borrows the bytes that it was decoded from and allocates nothing.
//! Names (reasons, symbols, traps, interfaces) are bytes, not strings: they come from outside, and
//! their [`Display`](fmt::Display) escapes whatever a terminal or a comment must not see.
//!
//! # Example
//!
//! ```
//! use dwdump::record::{
//!     Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name, Symbol, Timestamp,
//! };
//!
//! let data = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
//! let mut record = DropRecord::new(Link::known(LinkType::RAW), &data);
//! record.time = Some(Timestamp(1_700_000_000_000_000_000));
//! let symbol = Name::new(b"udp_queue_rcv_one_skb+0x1f/0x2d0").map(Symbol);
//! record.cause = Cause::Software {
//!     location: Location::new(None, symbol),
//!     reason: Name::new(b"SOCKET_RCVBUFF"),
//! };
//! record.input = Some(Interface::new(2, Name::new(b"eth0")));
//! record.protocol = Some(EtherType::IPV4);
//!
//! let Cause::Software { location, reason } = record.cause else {
//!     panic!("the kernel dropped it");
//! };
//! assert_eq!(reason.unwrap().to_string(), "SOCKET_RCVBUFF");
//! assert_eq!(location.symbol.unwrap().function(), b"udp_queue_rcv_one_skb");
//! ```

use std::fmt;

mod context;
#[macro_use]
mod fact_table;
mod fact;
mod likeness;
mod link;
mod loss;
mod owned;
mod packed;
mod stack;
mod value;

use chrono::{DateTime, Utc};

use crate::untrusted::Untrusted;

pub use crate::untrusted::Escaped;
pub use context::{DropContext, DropSocket, Heading, Netns, SocketRole};
pub use fact::{About, Cause, Commented, DropRecord, Fact, Location, Tellers};
pub use likeness::Likeness;
pub use link::{Basis, EtherType, Link, LinkType};
pub use loss::Loss;
pub(crate) use owned::OwnedRecord;
pub(crate) use packed::{OwnedFacts, Packed};
pub(crate) use stack::unfolded;
pub use stack::{MAX_STACK, Stack};
pub use value::{Kind, Value, unescape};

/// The flags word of a packet in pcapng (`epb_flags`, section 4.3.1 of the draft); 0 where nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketFlags(pub u32);

impl PacketFlags {
    /// The bits that hold the direction.
    const DIRECTION: u32 = 3;

    /// Returns the direction, where the flags have one.
    pub fn direction(self) -> Option<Direction> {
        match self.0 & Self::DIRECTION {
            1 => Some(Direction::Inbound),
            2 => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// Returns the flags with this direction.
    pub fn with_direction(self, direction: Option<Direction>) -> Self {
        let bits = match direction {
            None => 0,
            Some(Direction::Inbound) => 1,
            Some(Direction::Outbound) => 2,
        };
        Self(self.0 & !Self::DIRECTION | bits)
    }
}

/// The direction in which a packet passes through an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    Inbound,
    /// It was sent.
    Outbound,
}

/// Nanoseconds since the Unix epoch (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the time of this machine's clock.
    pub fn now() -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self::from_duration(since_epoch.unwrap_or_default())
    }

    /// Converts the time since the epoch. Times after the year 2554 become the latest timestamp.
    pub fn from_duration(since_epoch: std::time::Duration) -> Self {
        Self(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Returns the time since the epoch.
    pub fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

/// Converts to a date: every timestamp has one, until the year 2554.
impl From<Timestamp> for DateTime<Utc> {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + time.as_duration()
    }
}

/// The component that dropped a packet (`NET_DM_ATTR_ORIGIN`, `enum net_dm_origin` of
/// linux/net_dropmon.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The kernel.
    Software,
    /// A device.
    Hardware,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Software => "software",
            Self::Hardware => "hardware",
        })
    }
}

/// The longest name that is kept, in bytes. The kernel's names have at most 50 bytes; a longer one is
/// hostile. Every name has to fit a pcapng option (65535 bytes) with each byte escaped.
pub const MAX_NAME: usize = 1024;

/// A name from outside: the bytes before the first NUL, neither empty nor longer than [`MAX_NAME`].
/// The bytes after the NUL are kept, too: [`as_sent`](Self::as_sent) returns them, and everything
/// else, `==` included, ignores them.
#[derive(Clone, Copy)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Takes at most [`MAX_NAME`] bytes. Returns `None` if the name is empty.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_something = bytes.first().is_some_and(|&byte| byte != 0);
        is_something.then(|| Self(&bytes[..bytes.len().min(MAX_NAME)]))
    }

    /// Returns the bytes before the first NUL. The NUL is searched for here and not in
    /// [`new`](Self::new), because most names of a flood belong to drops that a filter rejects, or are
    /// recognised by [`as_sent`](Self::as_sent). There it would cost 199 instructions a packet more than
    /// 1077, where few packets match.
    pub fn as_bytes(self) -> &'a [u8] {
        let end = memchr::memchr(0, self.0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Returns whether the name is exactly `bytes`, without a search for the NUL.
    #[inline]
    pub fn is(self, bytes: &[u8]) -> bool {
        let rest = self.0.strip_prefix(bytes);
        rest.is_some_and(|rest| matches!(rest, [] | [0, ..]))
    }

    /// Returns the bytes as they came, including the NUL and what follows it. This recognises a
    /// name that was seen before without searching for its end.
    #[inline]
    pub fn as_sent(self) -> &'a [u8] {
        self.0
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name<'_> {}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A drop reason without its prefix: `NETFILTER_DROP`. An unknown name is no error: it may be a later
/// kernel's.
pub type Reason<'a> = Name<'a>;

/// A location in the kernel as `%pS` formats it: `gre_rcv+0x1a2/0x2d0 [gre]`. The drop monitor cuts
/// it at 39 characters, so offset, size and module can each be missing; in a live capture,
/// `symbol::Symbols` completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a>(pub Name<'a>);

impl<'a> Symbol<'a> {
    /// Returns the function's name, with the compiler's suffix (`.constprop.0`) if it has one.
    pub fn function(self) -> &'a [u8] {
        let text = self.0.as_bytes();
        let end = text.iter().position(|&byte| byte == b'+' || byte == b' ');
        &text[..end.unwrap_or(text.len())]
    }

    /// Returns the module's name, unless it is missing or was cut.
    pub fn module(self) -> Option<&'a [u8]> {
        let text = self.0.as_bytes().strip_suffix(b"]")?;
        let start = text.iter().rposition(|&byte| byte == b'[')?;
        Some(&text[start + 1..])
    }
}

impl fmt::Display for Symbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The numbers that identify an interface in capture files, in rows of tables and in filters. An
/// ifindex is unique only in its network namespace, which the drop monitor does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InterfaceKey {
    /// The ifindex in the packet's network namespace; 0 where the kernel sent only a name.
    pub index: u32,
    /// The namespace's inode; `None` for the initial namespace, and where it is not known.
    pub netns: Option<u32>,
}

impl InterfaceKey {
    /// Returns the key of the interface with this index in a namespace.
    pub fn new(index: u32, netns: Option<Netns>) -> Self {
        Self {
            index,
            netns: netns.and_then(Netns::other),
        }
    }
}

impl From<u32> for InterfaceKey {
    fn from(index: u32) -> Self {
        Self { index, netns: None }
    }
}

/// Shows the ifindex.
impl fmt::Display for InterfaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// The interface that a packet was received on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// The number that identifies it.
    pub key: InterfaceKey,
    /// The kernel sends it with hardware drops. For software drops it is a guess: the name of the
    /// interface with this index in the capturing namespace.
    name: Option<Name<'a>>,
}

impl<'a> Interface<'a> {
    /// Creates an interface from a key, or from an ifindex alone, and a name. A name that only
    /// repeats the ifindex (`if5`) is ignored.
    #[inline]
    pub fn new(key: impl Into<InterfaceKey>, name: Option<Name<'a>>) -> Self {
        let key = key.into();
        let name = name.filter(|name| !is_placeholder(key.index, *name));
        Self { key, name }
    }

    /// Returns the name, if one is known.
    pub fn name(self) -> Option<Name<'a>> {
        self.name
    }
}

/// Returns whether `name` is the text that [`Interface`] shows for an interface without a name.
fn is_placeholder(index: u32, name: Name<'_>) -> bool {
    // The first letters rule out nearly all names, without a search for their end.
    if !name.as_sent().starts_with(b"if") {
        return false;
    }
    name.as_bytes()
        .strip_prefix(b"if")
        .filter(|digits| digits[..1.min(digits.len())] != *b"0" || *digits == b"0")
        .filter(|digits| digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        == Some(index)
}

/// Shows the name, or `if5` where there is none.
impl fmt::Display for Interface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => name.fmt(f),
            None => write!(f, "if{}", self.key),
        }
    }
}

/// The host that packets were captured on. Unknown fields are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureHost {
    /// For instance `x86_64`.
    pub hardware: Option<Untrusted>,
    /// For instance `Linux 6.12.107+deb13-amd64`.
    pub os: Option<Untrusted>,
    /// The boot during which they were captured: what `/proc/sys/kernel/random/boot_id` said.
    pub boot: Option<Untrusted>,
}

/// Shows bytes as hexadecimal digits: `deadbeef`.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol<'_> {
        Symbol(Name::new(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_symbol_gives_its_function_and_module() {
        #[track_caller]
        fn check(text: &str, function: &str, module: Option<&str>) {
            assert_eq!(symbol(text).function(), function.as_bytes());
            assert_eq!(symbol(text).module(), module.map(str::as_bytes));
        }
        check("gre_rcv+0x1a2/0x2d0 [gre]", "gre_rcv", Some("gre"));
        check("ip_rcv+0x1/0x2", "ip_rcv", None);
        check(
            "__netif_receive_skb_core.constprop.0+0x",
            "__netif_receive_skb_core.constprop.0",
            None,
        );
        check("nf_hook_slow", "nf_hook_slow", None);
        check("f [m]", "f", Some("m"));
        check("xfrm_input+0x4f0/0x1230 [xfrm", "xfrm_input", None);
    }

    #[test]
    fn a_name_is_cut_at_nul_and_never_empty() {
        let name = Name::new(b"a\0b").unwrap();
        assert_eq!((name.as_bytes(), name.as_sent()), (&b"a"[..], &b"a\0b"[..]));
        assert_eq!(name, Name::new(b"a").unwrap());
        assert!(name.is(b"a") && !name.is(b"ab") && !name.is(b""));
        assert_eq!(Name::new(b"\0"), None);
        assert_eq!(Name::new(b""), None);
        assert_eq!(Name::new(&[b'x'; 5000]).unwrap().as_bytes().len(), MAX_NAME);
    }

    #[test]
    fn a_placeholder_is_not_a_name() {
        let name = |text: &'static str| Name::new(text.as_bytes());
        assert_eq!(Interface::new(5, name("if5")).name(), None);
        assert_eq!(Interface::new(5, name("if6")).name(), name("if6"));
        assert_eq!(Interface::new(5, name("if05")).name(), name("if05"));
        assert_eq!(Interface::new(5, name("if+5")).name(), name("if+5"));
        assert_eq!(Interface::new(0, name("if0")).name(), None);
        assert_eq!(Interface::new(5, name("if")).name(), name("if"));
        assert_eq!(Interface::new(7, None).to_string(), "if7");
    }
}
