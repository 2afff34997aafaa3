//! The drops that `--check` makes: packets that nobody misses, each with a mark by which it is recognised.

use std::fmt;

use crate::record::{Cause, DropRecord};

/// A way to make the kernel drop a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialDrop {
    /// It finds no link-layer header on it yet, as where a rule of the OUTPUT hook drops.
    Output,
    /// It finds nobody who listens.
    NoListener,
    /// It finds a bad checksum.
    BadChecksum,
}

impl TrialDrop {
    /// All, in the order in which they are made.
    pub const ALL: [Self; 3] = [Self::Output, Self::NoListener, Self::BadChecksum];

    /// Returns its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::NoListener => "no_listener",
            Self::BadChecksum => "bad_checksum",
        }
    }

    /// Returns how many bytes of payload the packet has.
    fn len(self) -> usize {
        match self {
            Self::Output => 1400,
            Self::NoListener | Self::BadChecksum => 64,
        }
    }

    /// Returns the payload of the packet: padding, and the mark at its end.
    pub fn payload(self, mark: &Mark) -> Vec<u8> {
        let mark = format!(" {mark}/{}", self.name());
        let mut payload = vec![b'.'; self.len().saturating_sub(mark.len())];
        payload.extend(mark.into_bytes());
        payload
    }

    /// Returns an IPv4 packet from the loopback address to itself with this payload. Its UDP checksum is
    /// wrong.
    pub fn with_bad_checksum(payload: &[u8]) -> Vec<u8> {
        const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
        let udp_len = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
        let total_len = udp_len.saturating_add(20);
        let mut packet = vec![0x45, 0];
        packet.extend(total_len.to_be_bytes());
        // The kernel fills in the checksum of this header.
        packet.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
        packet.extend(LOOPBACK);
        packet.extend(LOOPBACK);
        packet.extend(DISCARD.to_be_bytes());
        packet.extend(DISCARD.to_be_bytes());
        packet.extend(udp_len.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        let right = checksum(&packet);
        // Neither the right one nor 0, which means none.
        let wrong = if right == 0xdead { 0xbeef } else { 0xdead_u16 };
        packet[26..28].copy_from_slice(&wrong.to_be_bytes());
        packet
    }
}

/// UDP's number in IP.
const UDP: u8 = 17;
/// The port at which hardly anybody listens, and nobody in a new namespace.
pub const DISCARD: u16 = 9;

/// Returns the UDP checksum of an IPv4 packet without options.
fn checksum(packet: &[u8]) -> u16 {
    let udp = &packet[20..];
    let pseudo = [&packet[12..20], &[0, UDP], &packet[24..26]].concat();
    let words = [pseudo.as_slice(), udp].concat();
    let words = words.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while let (carry @ 1.., rest) = (sum >> 16, sum & 0xffff) {
        sum = carry + rest;
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A text that no other packet has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// Makes a mark of this process's and of now.
    pub fn new() -> Self {
        let now = crate::record::Timestamp::now();
        Self(format!("{}-{}", std::process::id(), now.0))
    }

    /// Takes a mark that was shown.
    pub fn of(shown: &str) -> Self {
        Self(shown.to_owned())
    }

    /// Returns which of the drops a record is of. An ICMP error that quotes a packet is none.
    pub fn find(&self, record: &DropRecord<'_>) -> Option<TrialDrop> {
        TrialDrop::ALL.into_iter().find(|drop| {
            let payload = drop.payload(self);
            let headers = record.data.strip_suffix(payload.as_slice());
            // IPv4 and UDP, behind Ethernet or nothing.
            headers.is_some_and(|headers| [28, 42].contains(&headers.len()))
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reason and the function of a drop that was seen: `NO_SOCKET in __udp4_lib_rcv`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The reason, escaped.
    pub reason: Option<String>,
    /// The function, escaped.
    pub function: Option<String>,
}

impl Sighting {
    /// Takes them from a record.
    pub fn of(record: &DropRecord<'_>) -> Self {
        let Cause::Software { location, reason } = record.cause else {
            return Self::default();
        };
        let function = location.symbol.map(|symbol| {
            let name = symbol.function();
            crate::record::Escaped(name).to_string()
        });
        Self {
            reason: reason.map(|reason| reason.to_string()),
            function,
        }
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, &self.function) {
            (Some(reason), Some(function)) => write!(f, "{reason} in {function}"),
            (Some(only), None) | (None, Some(only)) => f.write_str(only),
            (None, None) => f.write_str("without a reason"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Link, LinkType, Location, Name, Symbol};

    #[test]
    fn a_drop_is_recognised_by_its_mark_with_and_without_a_link_layer_header() {
        let (mark, other) = (Mark::of("7-8"), Mark::of("7-80"));
        for drop in TrialDrop::ALL {
            let payload = drop.payload(&mark);
            for headers in [28, 42] {
                let data = [vec![0; headers], payload.clone()].concat();
                let record = DropRecord::new(Link::known(LinkType::RAW), &data);
                assert_eq!(mark.find(&record), Some(drop));
                assert_eq!(other.find(&record), None);
            }
            // Quoted by an ICMP error.
            let data = [vec![0; 28 + 28], payload].concat();
            let record = DropRecord::new(Link::known(LinkType::RAW), &data);
            assert_eq!(mark.find(&record), None);
        }
    }

    #[test]
    fn the_bad_checksum_is_the_only_fault() {
        let mark = Mark::new();
        let packet = TrialDrop::with_bad_checksum(&TrialDrop::BadChecksum.payload(&mark));
        let found = etherparse::PacketHeaders::from_ip_slice(&packet).unwrap();
        let Some(etherparse::NetHeaders::Ipv4(ip, _)) = found.net else {
            panic!("no IPv4")
        };
        let Some(etherparse::TransportHeader::Udp(udp)) = found.transport else {
            panic!("no UDP")
        };
        assert_eq!(usize::from(ip.total_len), packet.len());
        let right = udp.calc_checksum_ipv4(&ip, found.payload.slice()).unwrap();
        assert_eq!(checksum(&with_checksum(&packet, [0, 0])), right);
        assert!(udp.checksum != right && udp.checksum != 0);
    }

    fn with_checksum(packet: &[u8], checksum: [u8; 2]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        packet[26..28].copy_from_slice(&checksum);
        packet
    }

    #[test]
    fn a_sighting_says_what_is_known() {
        let mut record = DropRecord::new(Link::known(LinkType::RAW), &[]);
        assert_eq!(Sighting::of(&record).to_string(), "without a reason");
        let symbol = Name::new(b"ip_rcv+0x1/0x2").map(Symbol);
        for (reason, wanted) in [(&b"NO_SOCKET"[..], "NO_SOCKET in ip_rcv"), (b"", "ip_rcv")] {
            record.cause = Cause::Software {
                location: Location::new(None, symbol),
                reason: Name::new(reason),
            };
            assert_eq!(Sighting::of(&record).to_string(), wanted);
        }
    }
}
