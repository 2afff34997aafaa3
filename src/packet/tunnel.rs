//! Tunnels that [`dissect`](crate::dissect) and [`filter`](crate::filter) look into: their UDP
//! ports, and the flags of GRE.

use super::offset::gre;

/// The type of a bridged Ethernet frame (`ETH_P_TEB` of linux/if_ether.h).
pub const TRANSPARENT_ETHERNET: u16 = 0x6558;
/// The UDP port of VXLAN (IANA).
pub const VXLAN_PORT: u16 = 4789;
/// The UDP port that Linux used for VXLAN before IANA assigned one.
pub const VXLAN_PORT_OLD: u16 = 8472;
/// The UDP port of Geneve (IANA).
pub const GENEVE_PORT: u16 = 6081;
/// The UDP ports of L2TP, GTP, LISP, ESP, VXLAN-GPE, GUE and MPLS (IANA).
const OTHER_PORTS: [u16; 7] = [1701, 2152, 4341, 4500, 4790, 6080, 6635];

/// Returns whether datagrams to this UDP port carry packets.
pub fn is_tunnel_port(port: u16) -> bool {
    matches!(port, VXLAN_PORT | VXLAN_PORT_OLD | GENEVE_PORT) || OTHER_PORTS.contains(&port)
}

/// The first two bytes of a GRE header (RFC 2784, 2.1; RFC 2890, 2; version 1: RFC 2637, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreFlags(pub u16);

impl GreFlags {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const VERSION: u16 = 0x0007;
    /// Source routes, and the bits that a receiver has to refuse (RFC 2784, 2.3).
    const REFUSED: u16 = 0x4c00;

    /// Returns the version: 0, or 1 for PPTP.
    pub fn version(self) -> u16 {
        self.0 & Self::VERSION
    }

    /// Returns whether the layout after the flags is known: version 0 without source routes,
    /// which are obsolete.
    pub fn is_plain(self) -> bool {
        self.0 & (Self::VERSION | Self::ROUTING) == 0
    }

    /// Returns whether a receiver of version 0 has to refuse the packet.
    pub fn is_refused(self) -> bool {
        self.0 & Self::REFUSED != 0
    }

    /// Returns the offset of the key in a plain header, if it has one.
    pub fn key_offset(self) -> Option<usize> {
        (self.0 & Self::KEY != 0).then(|| gre::LEN + self.len_of(Self::CHECKSUM))
    }

    /// Returns the offset of the sequence number in a plain header, if it has one.
    pub fn sequence_offset(self) -> Option<usize> {
        (self.0 & Self::SEQUENCE != 0).then(|| gre::LEN + self.len_of(Self::CHECKSUM | Self::KEY))
    }

    /// Returns the length of a plain header in bytes.
    pub fn header_len(self) -> usize {
        gre::LEN + self.len_of(Self::CHECKSUM | Self::KEY | Self::SEQUENCE)
    }

    /// Each optional field has four bytes.
    fn len_of(self, fields: u16) -> usize {
        4 * (self.0 & fields).count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_of_gre_follow_each_other() {
        #[track_caller]
        fn check(flags: u16, key: Option<usize>, sequence: Option<usize>, len: usize) {
            let flags = GreFlags(flags);
            assert_eq!(flags.key_offset(), key);
            assert_eq!(flags.sequence_offset(), sequence);
            assert_eq!(flags.header_len(), len);
            assert!(flags.is_plain() && !flags.is_refused());
        }
        check(0x0000, None, None, 4);
        check(0x2000, Some(4), None, 8);
        check(0x3000, Some(4), Some(8), 12);
        check(0x9000, None, Some(8), 12);
        check(0xb000, Some(8), Some(12), 16);
    }
}
