//! Names protocols, ethertypes and LLC frames, and formats hardware addresses.

use std::fmt;

use crate::record::EtherType;

/// An IP protocol number, displayed as tcpdump's name for it.
pub struct ProtocolName(pub u8);

impl fmt::Display for ProtocolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "ICMP",
            2 => "IGMP",
            4 => "IPIP",
            6 => "TCP",
            17 => "UDP",
            41 => "IP6",
            47 => "GRE",
            50 => "ESP",
            51 => "AH",
            58 => "ICMP6",
            88 => "EIGRP",
            89 => "OSPF",
            103 => "PIM",
            112 => "VRRP",
            115 => "L2TP",
            132 => "SCTP",
            other => return write!(f, "ip-proto-{other}"),
        })
    }
}

/// An ethertype, displayed as its name, or as its number if it has none.
pub struct EtherTypeName(pub EtherType);

impl fmt::Display for EtherTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            EtherType::ETH_802_3 => "802.3",
            EtherType::ETH_802_2 => "LLC",
            EtherType::IPV4 => "IP",
            EtherType::IPV6 => "IP6",
            EtherType::ARP => "ARP",
            EtherType(0x8035) => "RARP",
            EtherType(0x8847 | 0x8848) => "MPLS",
            EtherType(0x8863) => "PPPoE D",
            EtherType(0x8864) => "PPPoE",
            EtherType(0x888e) => "EAPOL",
            EtherType(0x88cc) => "LLDP",
            EtherType(0x8809) => "LACP",
            EtherType(0x88f7) => "PTP",
            EtherType(0x88e5) => "MACsec",
            other => return write!(f, "ethertype {other}"),
        })
    }
}

/// Writes the kind of an LLC frame (IEEE 802.2), by its destination service access point.
pub fn write_llc(out: &mut dyn fmt::Write, llc: &[u8]) -> fmt::Result {
    match llc {
        [0x42, 0x42, ..] => out.write_str("STP"),
        [0xaa, 0xaa, ..] => out.write_str("SNAP"),
        [0xff, 0xff, ..] => out.write_str("IPX"),
        [0xfe, ..] => out.write_str("OSI"),
        [dsap, ssap, ..] => write!(out, "LLC dsap {dsap:#04x} ssap {ssap:#04x}"),
        _ => out.write_str("LLC"),
    }
}

/// A hardware address, `02:00:00:00:00:04`.
pub struct Mac<'a>(pub &'a [u8]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if position == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}
