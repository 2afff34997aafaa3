//! Offsets, masks and lengths of header fields, each counted from the beginning of its header.

/// Ethernet (IEEE 802.3, 3.1.1).
pub mod ethernet {
    pub const DESTINATION: usize = 0;
    pub const SOURCE: usize = 6;
    pub const TYPE: usize = 12;
    pub const LEN: usize = 14;
}

/// The control field of an LLC frame after its two access points (IEEE 802.2, 3.2).
pub const LLC_CONTROL: usize = 2;

/// Linux's cooked header, version 1 (LINKTYPE_LINUX_SLL in tcpdump.org's registry).
pub mod sll {
    use std::ops::Range;

    pub const PACKET_TYPE: usize = 0;
    pub const HARDWARE: usize = 2;
    /// A field of two bytes, of which the first is zero.
    pub const ADDRESS_LEN: usize = 4;
    pub const ADDRESS: Range<usize> = 6..14;
    pub const PROTOCOL: usize = 14;
    pub const LEN: usize = 16;
}

/// Linux's cooked header, version 2 (LINKTYPE_LINUX_SLL2 in tcpdump.org's registry).
pub mod sll2 {
    use std::ops::Range;

    pub const PROTOCOL: Range<usize> = 0..2;
    pub const IFINDEX: Range<usize> = 4..8;
    pub const HARDWARE: Range<usize> = 8..10;
    pub const PACKET_TYPE: usize = 10;
    pub const ADDRESS_LEN: usize = 11;
    pub const ADDRESS: Range<usize> = 12..20;
    pub const LEN: usize = 20;
}

/// A VLAN tag after the type field that announces it (IEEE 802.1Q, 9.6).
pub mod vlan {
    pub const CONTROL: usize = 0;
    /// The VLAN identifier in the control field.
    pub const ID: u16 = 0x0fff;
    pub const INNER_TYPE: usize = 2;
    pub const LEN: usize = 4;
}

/// An entry of MPLS's label stack (RFC 3032, 2.1).
pub mod mpls {
    /// Bits below the label in the entry's word.
    pub const LABEL_SHIFT: u32 = 12;
    /// The byte with the bit that marks the bottom of the stack.
    pub const BOTTOM: usize = 2;
    pub const BOTTOM_BIT: u8 = 0x01;
    pub const LEN: usize = 4;
}

/// PPPoE (RFC 2516, 4), and PPP's protocol field after it (RFC 1661, 2).
pub mod pppoe {
    pub const SESSION: usize = 2;
    /// The offset of PPP's protocol field.
    pub const PROTOCOL: usize = 6;
    /// The length with PPP's protocol field.
    pub const LEN: usize = 8;
}

/// ARP (RFC 826); the addresses are those of IPv4 over Ethernet.
pub mod arp {
    pub const HARDWARE_TYPE: usize = 0;
    pub const PROTOCOL_TYPE: usize = 2;
    pub const HARDWARE_LEN: usize = 4;
    pub const PROTOCOL_LEN: usize = 5;
    pub const OPERATION: usize = 6;
    /// The length without the addresses.
    pub const LEN: usize = 8;
    pub const SENDER: usize = 14;
    pub const TARGET: usize = 24;
}

/// IPv4 (RFC 791, 3.1).
pub mod ipv4 {
    pub const TOTAL_LENGTH: usize = 2;
    pub const FRAGMENT: usize = 6;
    /// The fragment offset in the word at `FRAGMENT`: its lower 13 bits.
    pub const FRAGMENT_OFFSET: u16 = 0x1fff;
    /// The flag in the word at `FRAGMENT` that says that more fragments follow.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    pub const TTL: usize = 8;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: usize = 10;
    pub const SOURCE: usize = 12;
    pub const DESTINATION: usize = 16;
    /// The length without options.
    pub const LEN: usize = 20;
}

/// IPv6 (RFC 8200, 3) and its fragment header (4.5).
pub mod ipv6 {
    pub const PAYLOAD_LENGTH: usize = 4;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SOURCE: usize = 8;
    pub const DESTINATION: usize = 24;
    pub const LEN: usize = 40;
    /// The protocol number of a fragment header.
    pub const FRAGMENT: u8 = 44;
    /// The offset in a fragment header of the word with the fragment offset, in its upper 13 bits.
    pub const FRAGMENT_WORD: usize = 2;
    pub const FRAGMENT_OFFSET: u16 = 0xfff8;
    /// The flag in the same word that says that more fragments follow.
    pub const MORE_FRAGMENTS: u16 = 0x0001;
}

/// UDP (RFC 768). TCP and SCTP have their ports at the same offsets (RFC 9293, 3.1; RFC 9260, 3.1).
pub mod udp {
    pub const SOURCE: usize = 0;
    pub const DESTINATION: usize = 2;
    pub const LENGTH: usize = 4;
    pub const CHECKSUM: usize = 6;
    pub const LEN: usize = 8;
}

/// TCP (RFC 9293, 3.1).
pub mod tcp {
    pub const SEQUENCE: usize = 4;
    pub const ACKNOWLEDGMENT: usize = 8;
    /// The byte whose upper half is the header's length in words of 4 bytes.
    pub const DATA_OFFSET: usize = 12;
    pub const FLAGS: usize = 13;
    pub const WINDOW: usize = 14;
    pub const CHECKSUM: usize = 16;
    /// The length without options.
    pub const LEN: usize = 20;
}

/// ICMP (RFC 792), ICMPv6 (RFC 4443) and IGMP (RFC 2236).
pub mod icmp {
    pub const CHECKSUM: usize = 2;
    /// Of an echo request or reply.
    pub const ID: usize = 4;
    pub const SEQUENCE: usize = 6;
    /// Of ICMP's "fragmentation needed" (RFC 1191, 4).
    pub const MTU_V4: usize = 6;
    /// Of ICMPv6's "packet too big" (RFC 4443, 3.2).
    pub const MTU_V6: usize = 4;
    /// The length of the header; an error quotes a packet after it.
    pub const LEN: usize = 8;
}

/// GRE (RFC 2784, 2.1).
pub mod gre {
    pub const FLAGS: usize = 0;
    pub const PROTOCOL: usize = 2;
    /// The length without optional fields.
    pub const LEN: usize = 4;
}

/// VXLAN (RFC 7348, 5).
pub mod vxlan {
    pub const FLAGS: usize = 0;
    /// The flag that says that the network identifier is valid.
    pub const HAS_VNI: u8 = 0x08;
    /// The word with the network identifier in its upper 24 bits.
    pub const VNI: usize = 4;
    pub const VNI_SHIFT: u32 = 8;
    pub const LEN: usize = 8;
}

/// Geneve (RFC 8926, 3.4).
pub mod geneve {
    /// The byte with the version in its upper 2 bits, and the length of the options in words of 4
    /// bytes in the others.
    pub const VERSION_AND_LENGTH: usize = 0;
    pub const VERSION_SHIFT: u32 = 6;
    pub const OPTIONS_WORDS: u8 = 0x3f;
    pub const PROTOCOL: usize = 2;
    /// The word with the network identifier in its upper 24 bits.
    pub const VNI: usize = 4;
    pub const VNI_SHIFT: u32 = 8;
    /// The length without options.
    pub const LEN: usize = 8;
}
