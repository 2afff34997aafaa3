//! The vocabulary: what one dropped packet is, and nothing about where it came from or goes to.
//!
//! Everything here borrows the bytes it was decoded from, so that a record costs no allocation.
//! Names (reasons, symbols, traps, interfaces) are bytes, not strings: they come from outside, and
//! their [`Display`](fmt::Display) escapes whatever a terminal or a comment must not see.

use std::fmt;

mod fact;
mod packed;
mod value;

pub use fact::{About, Cause, Commented, DropRecord, Fact, Location};
pub use packed::{Packed, Pieces};
pub use value::{Kind, Value, unescape};

use crate::untrusted::Untrusted;

/// The flags word of a packet in pcapng (`epb_flags`, section 4.3.1 of the draft); 0 says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketFlags(pub u32);

impl PacketFlags {
    /// The bits that hold the direction.
    const DIRECTION: u32 = 3;

    /// The direction, where it is said.
    pub fn direction(self) -> Option<Direction> {
        match self.0 & Self::DIRECTION {
            1 => Some(Direction::Inbound),
            2 => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// The same flags with this direction.
    pub fn with_direction(self, direction: Option<Direction>) -> Self {
        let bits = match direction {
            None => 0,
            Some(Direction::Inbound) => 1,
            Some(Direction::Outbound) => 2,
        };
        Self(self.0 & !Self::DIRECTION | bits)
    }
}

/// Which way a packet passes through an interface.
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
    /// The time that this machine's clock shows.
    pub fn now() -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self::from_duration(since_epoch.unwrap_or_default())
    }

    /// From the time since the epoch; what does not fit (after the year 2554) becomes the latest.
    pub fn from_duration(since_epoch: std::time::Duration) -> Self {
        Self(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time since the epoch.
    pub fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

/// Who dropped a packet (`NET_DM_ATTR_ORIGIN`, `enum net_dm_origin` of linux/net_dropmon.h).
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

/// The longest name kept, in bytes. The kernel's own are at most 50; what is longer is hostile,
/// and every name has to fit a pcapng option (65535 bytes) with each byte escaped.
pub const MAX_NAME: usize = 1024;

/// A name from outside: any bytes, without NUL, neither empty nor longer than [`MAX_NAME`].
#[derive(Clone, Copy)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Up to the first NUL and [`MAX_NAME`]; `None` when nothing is left.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let is_something = bytes.first().is_some_and(|&byte| byte != 0);
        is_something.then(|| Self(&bytes[..bytes.len().min(MAX_NAME)]))
    }

    /// The bytes as they came, up to the first NUL: looked for only here, for most names of a flood
    /// are of drops that a filter rejects, or are known by [`as_sent`](Self::as_sent).
    pub fn as_bytes(self) -> &'a [u8] {
        let end = memchr::memchr(0, self.0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Whether it is another name's bytes.
    #[inline]
    pub fn is(self, bytes: &[u8]) -> bool {
        let rest = self.0.strip_prefix(bytes);
        rest.is_some_and(|rest| matches!(rest, [] | [0, ..]))
    }

    /// As it came, with the NUL at its end: tells a name from others without a look for its end.
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

/// A drop reason, bare: `NETFILTER_DROP`. Names the kernel does not have yet are data, not errors.
pub type Reason<'a> = Name<'a>;

/// What the kernel's `%pS` says of a place: `gre_rcv+0x1a2/0x2d0 [gre]`. The drop monitor cuts it
/// at 39 characters, so that offset, size and module can each be missing; live,
/// [`crate::symbol::Symbols`] completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a>(pub Name<'a>);

impl<'a> Symbol<'a> {
    /// The function's name, with a compiler's suffix (`.constprop.0`) where it has one.
    pub fn function(self) -> &'a [u8] {
        let text = self.0.as_bytes();
        let end = text.iter().position(|&byte| byte == b'+' || byte == b' ');
        &text[..end.unwrap_or(text.len())]
    }

    /// The module's name, where the kernel's cut left it whole.
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

/// The interface a packet came in by. The index is the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// ifindex in the packet's own network namespace; 0 where only a name was sent.
    pub index: u32,
    /// Sent with hardware drops. For software drops a guess: whatever has this index in the
    /// capturing namespace.
    name: Option<Name<'a>>,
}

impl<'a> Interface<'a> {
    /// A name that says no more than the index (`if5`) counts as none.
    #[inline]
    pub fn new(index: u32, name: Option<Name<'a>>) -> Self {
        let name = name.filter(|name| !is_placeholder(index, *name));
        Self { index, name }
    }

    /// The name, where one is known.
    pub fn name(self) -> Option<Name<'a>> {
        self.name
    }
}

/// Whether `name` is what [`Interface`] shows for a nameless interface.
fn is_placeholder(index: u32, name: Name<'_>) -> bool {
    // Nearly all names are told by their first letters: their end is not looked for.
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

/// The name, else `if5`.
impl fmt::Display for Interface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => name.fmt(f),
            None => write!(f, "if{}", self.index),
        }
    }
}

/// What a record's bytes begin with, and how we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The kind of the first header.
    pub kind: LinkType,
    /// Whether anything decided it.
    pub basis: Basis,
}

impl Link {
    /// A link type that is certain.
    pub fn known(kind: LinkType) -> Self {
        Self {
            kind,
            basis: Basis::Known,
        }
    }
}

/// The link type, with ` (assumed)` where it is a guess.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.basis {
            Basis::Known => self.kind.fmt(f),
            Basis::Assumed => write!(f, "{} (assumed)", self.kind),
        }
    }
}

/// How a link type is known: the kernel's message names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The device, the bytes or the file decided.
    Known,
    /// Nothing decided; it is the likeliest.
    Assumed,
}

/// An open enumeration over the LINKTYPE_ values of tcpdump.org's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Ethernet, loopback too.
    pub const ETHERNET: Self = Self(1);
    /// A loopback device of BSD: an address family in the byte order of the capturing host, then the packet.
    pub const NULL: Self = Self(0);
    /// IPv4 or IPv6, told by the first nibble.
    pub const RAW: Self = Self(101);
    /// A loopback device of OpenBSD: as [`NULL`](Self::NULL), in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// IPv4 alone.
    pub const IPV4: Self = Self(228);
    /// IPv6 alone.
    pub const IPV6: Self = Self(229);
    /// IEEE 802.11 without a radio header.
    pub const IEEE802_11: Self = Self(105);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// Netlink messages; in files behind a cooked header, as nlmon and the C tool write them.
    pub const NETLINK: Self = Self(253);
    /// What never was a packet, nor netlink: the first link type for private use (LINKTYPE_USER0).
    pub const NO_PACKET: Self = Self(147);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ETHERNET => f.write_str("ethernet"),
            Self::RAW => f.write_str("raw"),
            Self::IEEE802_11 => f.write_str("ieee802_11"),
            Self::IEEE802_11_RADIOTAP => f.write_str("ieee802_11_radiotap"),
            Self::NETLINK => f.write_str("netlink"),
            Self::NO_PACKET => f.write_str("no_packet"),
            Self::LINUX_SLL2 => f.write_str("sll2"),
            Self::LINUX_SLL => f.write_str("sll"),
            Self::NULL => f.write_str("null"),
            Self::LOOP => f.write_str("loop"),
            Self::IPV4 => f.write_str("ipv4"),
            Self::IPV6 => f.write_str("ipv6"),
            Self(other) => write!(f, "linktype {other}"),
        }
    }
}

/// `skb->protocol` in host order: an ethertype, or one of the small `ETH_P_` numbers of
/// linux/if_ether.h (4 is 802.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// What the kernel says of socket buffers that are no packets.
    pub const NONE: Self = Self(0);
    /// `ETH_P_802_3`, raw Novell frames.
    pub const ETH_802_3: Self = Self(0x0001);
    /// `ETH_P_802_2`, LLC frames: spanning tree for one.
    pub const ETH_802_2: Self = Self(0x0004);
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// An 802.1ad tag.
    pub const QINQ: Self = Self(0x88a8);
    /// The tag of QinQ before 802.1ad.
    pub const QINQ_OLD: Self = Self(0x9100);

    /// Whether a VLAN tag (4 bytes with this type) follows.
    pub fn is_vlan_tag(self) -> bool {
        matches!(self, Self::VLAN | Self::QINQ | Self::QINQ_OLD)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// What never reached us, and is counted nowhere else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Lost in the kernel's per-CPU queue (`NET_DM_ATTR_STATS_DROPPED`, software and hardware).
    pub queue: u64,
    /// Lost in the socket's receive buffer.
    pub socket: u64,
}

/// The machine that packets were captured on, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureHost {
    /// For instance `x86_64`.
    pub hardware: Option<Untrusted>,
    /// For instance `Linux 6.12.107+deb13-amd64`.
    pub os: Option<Untrusted>,
}

/// Bytes as hexadecimal digits: `deadbeef`.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes as printable text: what is not printable UTF-8, and `\`, is written `\xNN`.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nearly every name there is.
        if self
            .0
            .iter()
            .all(|&byte| matches!(byte, b' '..=b'~') && byte != b'\\')
        {
            return f.write_str(std::str::from_utf8(self.0).unwrap_or_default());
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_printable(character) {
                    write!(f, "{character}")?;
                } else {
                    write_hex(f, character.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
            }
            write_hex(f, chunk.invalid())?;
        }
        Ok(())
    }
}

/// Rust's own table of what is safe to show decides: controls, bidirectional overrides, combining
/// marks and unassigned code points are not.
pub(crate) fn is_printable(character: char) -> bool {
    match character {
        '\'' | '"' => true,
        '\\' => false,
        _ => character.escape_debug().len() == 1,
    }
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
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
    fn escaping_leaves_no_byte_that_a_terminal_would_obey() {
        #[track_caller]
        fn check(bytes: &[u8], shown: &str) {
            assert_eq!(Escaped(bytes).to_string(), shown);
        }
        check(b"eth0", "eth0");
        check("žluťoučký".as_bytes(), "žluťoučký");
        check(b"\x1b[31m", "\\x1b[31m");
        check(b"a\\b", "a\\x5cb");
        check(b"\xff\xfe", "\\xff\\xfe");
        check("\u{202e}x".as_bytes(), "\\xe2\\x80\\xaex");
        check(b"tab\tquote'\"", "tab\\x09quote'\"");
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
