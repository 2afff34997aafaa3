//! Parses IPv4 and IPv6 addresses and networks, MAC addresses, and host names.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use winnow::stream::Location;

use super::advice;
use super::ast::{Connective, DirQualifier, Expr, Net, Primitive, Scope};
use super::lex::{self, NameToken, Parsed, ParserInput, expected, fail, keyword};
use super::words::Protocol;

/// Builds the test for a network under a protocol, which must have addresses of that family.
pub fn scoped(
    protocol: Option<Protocol>,
    direction: DirQualifier,
    net: Net,
    span: Range<usize>,
) -> Parsed<Expr> {
    let scope = match (protocol, net) {
        (Some(Protocol::Ip6), Net::V4 { .. }) => {
            return fail(span, "expected an IPv6 address after `ip6`");
        }
        (Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp), Net::V6 { .. }) => {
            return fail(span, "expected an IPv4 address here");
        }
        (Some(Protocol::Ip), _) => Scope::Ip,
        (Some(Protocol::Arp), _) => Scope::Arp,
        (Some(Protocol::Rarp), _) => Scope::Rarp,
        _ => Scope::Any,
    };
    Ok(Primitive::Address(scope, direction, net).into())
}

pub fn host(
    input: &mut ParserInput<'_>,
    protocol: Option<Protocol>,
    direction: DirQualifier,
    name: &NameToken<'_>,
) -> Parsed<Expr> {
    if lex::peek_sign(input, "/")? {
        return fail(
            name.span.clone(),
            "expected a single host: a network is written `net 10.0.0.0/8`",
        );
    }
    // As in tcpdump, a bare number is a whole address, and `10.1` the first two bytes of one.
    if let Some(number) = lex::number(name.text) {
        let Ok(value) = u32::try_from(number) else {
            return fail(name.span.clone(), "expected an IPv4 address");
        };
        let net = Net::V4 {
            address: value,
            mask: u32::MAX,
        };
        return scoped(protocol, direction, net, name.span.clone());
    }
    if let Some(net) = literal(name)? {
        return scoped(protocol, direction, net, name.span.clone());
    }
    let usable = |net: &Net| match protocol {
        Some(Protocol::Ip6) => matches!(net, Net::V6 { .. }),
        Some(_) => matches!(net, Net::V4 { .. }),
        None => true,
    };
    let nets: Vec<Net> = resolve(input, name)?.into_iter().filter(usable).collect();
    any_of(name, nets, |net| {
        scoped(protocol, direction, net, name.span.clone())
    })
}

fn resolve(input: &ParserInput<'_>, name: &NameToken<'_>) -> Parsed<Vec<Net>> {
    if mac(name.text).is_some() && name.text.contains(':') {
        return fail(
            name.span.clone(),
            "a MAC address needs `ether` before `host`",
        );
    }
    match input.state.names.host(name.text) {
        Ok(addresses) => Ok(addresses.into_iter().map(Net::from).collect()),
        Err(error) => fail(
            name.span.clone(),
            format!(
                "cannot resolve host `{}`: {error}{}",
                name.text,
                advice::for_case(name.text)
            ),
        ),
    }
}

/// Builds one primitive for each address of a name.
fn any_of(
    name: &NameToken<'_>,
    nets: Vec<Net>,
    mut primitive: impl FnMut(Net) -> Parsed<Expr>,
) -> Parsed<Expr> {
    let mut nets = nets.into_iter();
    let Some(first) = nets.next() else {
        return fail(
            name.span.clone(),
            format!("host `{}` has no address of this kind", name.text),
        );
    };
    let first = primitive(first)?;
    let rest = nets
        .map(|net| Ok((Connective::Or, primitive(net)?)))
        .collect::<Parsed<_>>()?;
    Ok(first.chained(rest))
}

impl From<IpAddr> for Net {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4 {
                address: address.to_bits(),
                mask: u32::MAX,
            },
            IpAddr::V6(address) => Self::V6 {
                address: address.to_bits(),
                mask: u128::MAX,
            },
        }
    }
}

/// Parses a numeric address: IPv6, or two to four bytes of IPv4. Returns `None` for anything that
/// may be a name.
fn literal(name: &NameToken<'_>) -> Parsed<Option<Net>> {
    if let Ok(address) = name.text.parse::<Ipv6Addr>() {
        return Ok(Some(IpAddr::V6(address).into()));
    }
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if !name.text.split('.').all(digits) {
        return Ok(None);
    }
    let bytes: Option<Vec<u8>> = name.text.split('.').map(|part| part.parse().ok()).collect();
    match bytes.as_deref() {
        Some(&[a, b]) => Ok(Some(v4([a, b, 0, 0], 16))),
        Some(&[a, b, c]) => Ok(Some(v4([a, b, c, 0], 24))),
        Some(&[a, b, c, d]) => Ok(Some(v4([a, b, c, d], 32))),
        _ => fail(
            name.span.clone(),
            "expected an IPv4 address: four numbers from 0 to 255",
        ),
    }
}

fn v4(bytes: [u8; 4], bits: u32) -> Net {
    Net::V4 {
        address: u32::from_be_bytes(bytes),
        mask: v4_mask(bits),
    }
}

/// Returns a mask of the first `bits` bits, at most 32.
fn v4_mask(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0)
}

/// Returns a mask of the first `bits` bits, at most 128.
fn v6_mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0)
}

/// Parses a network: `10`, `10.1`, `10.0.0.0/8`, `10.0.0.0 mask 255.0.0.0`, `2001:db8::/32`.
/// Returns it with the span of its text.
pub fn net(input: &mut ParserInput<'_>, name: &NameToken<'_>) -> Parsed<(Net, Range<usize>)> {
    let short = lex::number(name.text)
        .map(u32::try_from)
        .and_then(Result::ok)
        .map(short_net);
    let plain = match short {
        Some(net) => net,
        None => match literal(name)? {
            Some(net) => net,
            None => {
                return fail(
                    name.span.clone(),
                    "expected a network, for instance 10.0.0.0/8",
                );
            }
        },
    };
    let net = if let Some(bits) = prefix_length(input, plain)? {
        match plain {
            Net::V4 { address, .. } => Net::V4 {
                address,
                mask: v4_mask(bits),
            },
            Net::V6 { address, .. } => Net::V6 {
                address,
                mask: v6_mask(bits),
            },
        }
    } else if keyword(input, "mask")? {
        let mask = lex::name(input, "")?;
        let value = match &mask {
            Some(mask) => literal(mask)?,
            None => return expected(input, "a netmask, for instance 255.0.0.0"),
        };
        match (plain, value) {
            (Net::V4 { address, .. }, Some(Net::V4 { address: mask, .. })) => {
                Net::V4 { address, mask }
            }
            _ => {
                return fail(
                    name.span.start..input.current_token_start(),
                    "expected an IPv4 network with a netmask, for instance 10.0.0.0 mask 255.0.0.0",
                );
            }
        }
    } else {
        plain
    };
    let span = name.span.start..input.current_token_start().max(name.span.end);
    let network = match net {
        Net::V4 { address, mask } => Net::V4 {
            address: address & mask,
            mask,
        },
        Net::V6 { address, mask } => Net::V6 {
            address: address & mask,
            mask,
        },
    };
    if network != net {
        return fail(span, format!("host bits are set: the network is {network}"));
    }
    Ok((net, span))
}

/// Converts a single number to a network as tcpdump does: `net 10` is 10.0.0.0/8.
fn short_net(mut value: u32) -> Net {
    let mut mask = u32::MAX;
    while value != 0 && value & 0xff00_0000 == 0 {
        value <<= 8;
        mask <<= 8;
    }
    Net::V4 {
        address: value,
        mask,
    }
}

/// Takes the prefix length directly after an address, such as `/8`.
fn prefix_length(input: &mut ParserInput<'_>, net: Net) -> Parsed<Option<u32>> {
    let most = match net {
        Net::V4 { .. } => 32,
        Net::V6 { .. } => 128,
    };
    if !lex::sign(input, "/")? {
        return Ok(None);
    }
    match lex::opt_number(input)? {
        Some((bits, _)) if bits <= most => Ok(u32::try_from(bits).ok()),
        Some((_, span)) => fail(span, format!("expected a prefix length from 0 to {most}")),
        None => expected(input, &format!("a prefix length from 0 to {most}")),
    }
}

/// Builds the test of `saddr`, `daddr` or `addr` for an address, a network or a host name.
pub fn transport(
    input: &mut ParserInput<'_>,
    direction: DirQualifier,
    name: &NameToken<'_>,
) -> Parsed<Expr> {
    let primitive = |net| Ok(Primitive::TransportAddress(direction, net).into());
    if lex::number(name.text).is_some() || literal(name)?.is_some() {
        let (net, _) = net(input, name)?;
        return primitive(net);
    }
    any_of(name, resolve(input, name)?, primitive)
}

/// Parses a MAC address: `xx:xx:xx:xx:xx:xx` with `:`, `.` or `-`, `xxxx.xxxx.xxxx`, or twelve
/// digits.
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let parts: Vec<&str> = text.split([':', '.', '-']).collect();
    let widths = match parts.len() {
        6 => 1..=2,
        3 => 4..=4,
        1 => 12..=12,
        _ => return None,
    };
    let mut digits = String::with_capacity(12);
    for part in &parts {
        if !widths.contains(&part.len()) || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        if part.len() == 1 {
            digits.push('0');
        }
        digits.push_str(part);
    }
    let value = u64::from_str_radix(&digits, 16).ok()?;
    let [_, _, mac @ ..] = value.to_be_bytes();
    Some(mac)
}
