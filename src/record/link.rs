//! The type of a packet's first header, and the protocol in it.

use std::fmt;

/// The type of a record's first header, with its certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The type of the first header.
    pub kind: LinkType,
    /// The certainty of the type.
    pub basis: Basis,
}

impl Link {
    /// Returns a link type that is certain.
    pub fn known(kind: LinkType) -> Self {
        Self {
            kind,
            basis: Basis::Known,
        }
    }
}

/// Shows the link type, with ` (assumed)` where it is a guess.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.basis {
            Basis::Known => self.kind.fmt(f),
            Basis::Assumed => write!(f, "{} (assumed)", self.kind),
        }
    }
}

/// The certainty of a link type. The kernel's alerts do not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The device, the bytes or the file determines it.
    Known,
    /// Nothing determines it; this is the likeliest type.
    Assumed,
}

/// A link type: a LINKTYPE_ value of tcpdump.org's registry, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Ethernet; Linux's loopback device has it, too.
    pub const ETHERNET: Self = Self(1);
    /// A loopback device of BSD: an address family in the byte order of the capturing host, then the packet.
    pub const NULL: Self = Self(0);
    /// IPv4 or IPv6; the first nibble is the version.
    pub const RAW: Self = Self(101);
    /// A loopback device of OpenBSD: like [`NULL`](Self::NULL), in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// IPv4 without a link-layer header.
    pub const IPV4: Self = Self(228);
    /// IPv6 without a link-layer header.
    pub const IPV6: Self = Self(229);
    /// IEEE 802.11 without a radio header.
    pub const IEEE802_11: Self = Self(105);
    /// IEEE 802.11 after a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// Netlink messages; in files after a cooked header, as nlmon and the C tool write them.
    pub const NETLINK: Self = Self(253);
    /// Data that was neither a packet nor netlink: the first link type for private use
    /// (LINKTYPE_USER0).
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
    /// The kernel's value for socket buffers that are not packets.
    pub const NONE: Self = Self(0);
    /// `ETH_P_802_3`, raw Novell frames.
    pub const ETH_802_3: Self = Self(0x0001);
    /// `ETH_P_802_2`, LLC frames, for instance spanning tree.
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
    /// The types that announce a VLAN tag.
    pub const VLAN_TAGS: [Self; 3] = [Self::VLAN, Self::QINQ, Self::QINQ_OLD];

    /// Returns whether the type announces a VLAN tag, which has 4 bytes.
    pub fn is_vlan_tag(self) -> bool {
        Self::VLAN_TAGS.contains(&self)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}
