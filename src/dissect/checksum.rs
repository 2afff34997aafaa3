//! Computes the Internet checksum (RFC 1071).

use std::net::IpAddr;

/// A one's complement sum over headers and payloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes that begin at an even offset.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (pairs, last) = bytes.as_chunks::<2>();
        let pairs: u64 = pairs
            .iter()
            .map(|pair| u64::from(u16::from_be_bytes(*pair)))
            .sum();
        let last = last.first().map_or(0, |&byte| u64::from(byte) << 8);
        Self(self.0 + pairs + last)
    }

    /// Adds a number of 16 bits, or of 32 bits as two numbers.
    #[must_use]
    pub fn number(self, number: u32) -> Self {
        Self(self.0 + u64::from(number >> 16) + u64::from(number & 0xffff))
    }

    /// Adds the pseudo-header of TCP, UDP and ICMPv6: addresses, length, protocol (RFC 9293, 3.1; RFC
    /// 8200, 8.1).
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Self {
        let mut sum = Self::default();
        for address in [source, destination] {
            sum = match address {
                IpAddr::V4(address) => sum.bytes(&address.octets()),
                IpAddr::V6(address) => sum.bytes(&address.octets()),
            };
        }
        sum.number(protocol.into())
            .number(u32::try_from(len).unwrap_or(u32::MAX))
    }

    /// Folds the sum to 16 bits.
    pub fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        u16::try_from(sum).unwrap_or(u16::MAX)
    }

    /// Returns the correct value of a checksum field that was added with the value `found`; `None`
    /// where `found` is correct.
    pub fn expected(self, found: u16) -> Option<u16> {
        if self.folded() == 0xffff {
            return None;
        }
        Some(!Self(self.0.saturating_sub(found.into())).folded())
    }
}
