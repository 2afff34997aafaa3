//! A fault of a packet: the field, the value it has, and the value it should have.

use std::fmt;

use serde::Serialize;

/// The outermost header field whose value no valid packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The header.
    pub layer: Layer,
    /// The field of the header.
    pub field: Field,
    /// The field's value.
    pub value: u32,
    /// The value that it should have, where that is known.
    #[serde(flatten)]
    pub bound: Option<Bound>,
    /// The number of packets around the damaged one: 1 inside a tunnel.
    #[serde(skip_serializing_if = "is_outermost")]
    pub depth: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_outermost(depth: &u8) -> bool {
    *depth == 0
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    Arp,
    Ip,
    Ip6,
    Icmp,
    Icmp6,
    Igmp,
    Tcp,
    Udp,
    Sctp,
    Gre,
    Esp,
    Ospf,
}

/// A field of a header, or a property that can be wrong like a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The number of bytes on the wire, which is less than the header's length.
    Size,
    /// IP, IPv6, GRE.
    Version,
    /// IP and TCP (data offset), in bytes.
    HeaderLength,
    /// IP: header and payload.
    TotalLength,
    /// IPv6.
    PayloadLength,
    /// UDP.
    Length,
    /// IP, TCP, UDP, ICMP, ICMPv6, IGMP.
    Checksum,
    /// IP, IPv6 and TCP options; the value is the option's type.
    Option,
    /// IPv6; the value is its protocol number.
    ExtensionHeader,
    /// IP, IPv6: in bytes.
    FragmentOffset,
    /// IP.
    Ttl,
    /// IPv6.
    HopLimit,
    /// GRE: flags that must be zero.
    Flags,
    /// ARP: of a hardware address.
    HardwareLength,
    /// ARP: of a protocol address.
    ProtocolLength,
}

/// The values that the field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Exactly this value.
    Expected(u32),
    /// This value or a larger one.
    AtLeast(u32),
    /// This value or a smaller one.
    AtMost(u32),
}

impl Layer {
    /// Returns tcpdump's name of the header in messages about a checksum.
    fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Igmp => "igmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Esp => "esp",
            Self::Ospf => "ospf",
        }
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Version => "version",
            Self::HeaderLength => "header length",
            Self::TotalLength => "total length",
            Self::PayloadLength => "payload length",
            Self::Length => "length",
            Self::Checksum => "checksum",
            Self::Option => "option",
            Self::ExtensionHeader => "extension header",
            Self::FragmentOffset => "fragment offset",
            Self::Ttl => "ttl",
            Self::HopLimit => "hop limit",
            Self::Flags => "flags",
            Self::HardwareLength => "hardware length",
            Self::ProtocolLength => "protocol length",
        }
    }

    fn is_hexadecimal(self) -> bool {
        matches!(self, Self::Checksum | Self::Flags)
    }
}

/// Shows the fault in a few words, without the header's name; in tcpdump's words, if it has any.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match (self.layer, self.field, self.bound) {
            (_, Field::Size, Some(Bound::AtLeast(least))) => {
                write!(f, "too short: {value} bytes, < {least}")
            }
            (_, Field::Version, Some(Bound::Expected(version))) => {
                write!(f, "version error: {value} != {version}")
            }
            (_, Field::Version, _) => write!(f, "bad version {value}"),
            (Layer::Ip, Field::HeaderLength, Some(Bound::AtMost(most))) => {
                write!(f, "bad-hlen {value}, > {most}")
            }
            (Layer::Ip, Field::HeaderLength, _) => write!(f, "bad-hlen {value}"),
            (Layer::Ip, Field::Checksum, Some(Bound::Expected(right))) => {
                write!(f, "bad cksum {value:x} (->{right:x})!")
            }
            (layer, Field::Checksum, Some(Bound::Expected(right))) => {
                let name = layer.name();
                write!(f, "bad {name} cksum {value:#06x} -> {right:#06x}!")
            }
            (Layer::Ip, Field::TotalLength, Some(Bound::AtMost(most))) => {
                write!(f, "truncated-ip - {} bytes missing!", value - most)
            }
            (Layer::Ip, Field::TotalLength, _) => write!(f, "bad-len {value}"),
            (Layer::Ip6, Field::PayloadLength, Some(Bound::AtMost(most))) => {
                write!(f, "truncated-ip6 - {} bytes missing!", value - most)
            }
            (Layer::Tcp, Field::HeaderLength, bound) => {
                write!(f, "bad hdr length {value}")?;
                write_bound(f, bound)
            }
            (_, Field::Ttl, _) => write!(f, "ttl {value}"),
            (_, Field::HopLimit, _) => write!(f, "hlim {value}"),
            (_, field, bound) if field.is_hexadecimal() => {
                write!(f, "bad {} {value:#06x}", field.name())?;
                write_bound(f, bound)
            }
            (_, field, bound) => {
                write!(f, "bad {} {value}", field.name())?;
                write_bound(f, bound)
            }
        }
    }
}

fn write_bound(f: &mut fmt::Formatter<'_>, bound: Option<Bound>) -> fmt::Result {
    match bound {
        Some(Bound::AtLeast(least)) => write!(f, " - too short, < {least}"),
        Some(Bound::AtMost(most)) => write!(f, " - too long, > {most}"),
        Some(Bound::Expected(right)) => write!(f, " != {right}"),
        None => Ok(()),
    }
}

/// A fault with the names of the JSON output: `udp checksum 0xbeef, expected 0xf7e6`.
#[derive(Clone, Copy, Debug)]
pub struct InFull(pub Fault);

impl fmt::Display for InFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            layer,
            field,
            value,
            bound,
            depth,
        } = self.0;
        let number = |f: &mut fmt::Formatter<'_>, number: u32| {
            if field.is_hexadecimal() {
                write!(f, " {number:#06x}")
            } else {
                write!(f, " {number}")
            }
        };
        let inner = if depth == 0 { "" } else { "inner " };
        write!(f, "{inner}{} {}", layer.name(), field.name())?;
        number(f, value)?;
        match bound {
            Some(Bound::Expected(right)) => {
                f.write_str(", expected")?;
                number(f, right)
            }
            Some(Bound::AtLeast(least)) => write!(f, ", at least {least}"),
            Some(Bound::AtMost(most)) => write!(f, ", at most {most}"),
            None => Ok(()),
        }
    }
}
