//! Offsets, masks and lengths of header fields.

/// Offsets and numbers of the IPv4 header (RFC 791, 3.1).
pub mod ipv4 {
    pub const FRAGMENT: usize = 6;
    pub const PROTOCOL: usize = 9;
    pub const SOURCE: usize = 12;
    pub const DESTINATION: usize = 16;
    /// The fragment offset in the word at `FRAGMENT`: its lower 13 bits.
    pub const FRAGMENT_OFFSET: u16 = 0x1fff;
}

/// Offsets and numbers of the IPv6 header (RFC 8200, 3) and of its fragment header (4.5).
pub mod ipv6 {
    pub const NEXT_HEADER: usize = 6;
    pub const SOURCE: usize = 8;
    pub const DESTINATION: usize = 24;
    pub const LEN: usize = 40;
    pub const FRAGMENT: u8 = 44;
    /// The offset in a fragment header of the word with the fragment offset, in its upper 13 bits
    /// (4.5).
    pub const FRAGMENT_WORD: usize = 2;
    pub const FRAGMENT_OFFSET: u16 = 0xfff8;
}

/// Offsets of ARP for IPv4 over Ethernet (RFC 826).
pub mod arp {
    pub const SENDER: usize = 14;
    pub const TARGET: usize = 24;
}

/// Offsets of a VLAN tag behind the type field that announces it (IEEE 802.1Q, 9.6).
pub mod vlan {
    pub const INNER_TYPE: usize = 2;
    pub const LEN: usize = 4;
}

/// Offsets of UDP (RFC 768); TCP and SCTP have their ports at the same offsets.
pub mod udp {
    pub const DESTINATION: usize = 2;
    pub const LEN: usize = 8;
}

/// The protocol type in a GRE header (RFC 2784, 2.1).
pub const GRE_PROTOCOL: usize = 2;
