//! Parses ports: numbers, services, ranges, and the two ends of a flow.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::advice;
use super::ast::{PortRange, PortScope, Primitive, TwoWayFlow};
use super::lex::{
    self, NameToken, Parsed, ParserInput, expected, fail, keyword, name, peek_word, sign,
};
use super::names::Service;
use super::words;
use crate::dissect::ProtocolName;
use crate::packet;

/// Parses a port number or service name. Returns the port, and the protocol that the service
/// implies.
pub fn single(
    input: &ParserInput<'_>,
    scope: PortScope,
    name: &NameToken<'_>,
) -> Parsed<(PortScope, PortRange)> {
    let (scope, port) = port_number(input, scope, name.text, &name.span)?;
    Ok((
        scope,
        PortRange {
            first: port,
            last: port,
        },
    ))
}

fn port_number(
    input: &ParserInput<'_>,
    scope: PortScope,
    text: &str,
    span: &Range<usize>,
) -> Parsed<(PortScope, u16)> {
    if let Some(number) = lex::number(text) {
        return match u16::try_from(number) {
            Ok(port) => Ok((scope, port)),
            Err(_) => fail(span.clone(), "expected a port number from 0 to 65535"),
        };
    }
    let service = input.state.names.service(text);
    let found = match scope {
        PortScope::Tcp => service.tcp,
        PortScope::Udp => service.udp,
        PortScope::Sctp => service.sctp,
        PortScope::Any => {
            return match (service.tcp, service.udp, service.sctp) {
                // As in tcpdump, a service of a single protocol implies that protocol.
                (Some(port), None, _) => Ok((PortScope::Tcp, port)),
                (None, Some(port), _) => Ok((PortScope::Udp, port)),
                (None, None, Some(port)) => Ok((PortScope::Sctp, port)),
                (Some(port), Some(_), _) => Ok((PortScope::Any, port)),
                (None, None, None) => unknown_service(input, text, span),
            };
        }
    };
    match found {
        Some(port) => Ok((scope, port)),
        None if service == Service::default() => unknown_service(input, text, span),
        None => fail(
            span.clone(),
            format!("`{text}` is not a service over {scope}"),
        ),
    }
}

fn unknown_service<T>(input: &ParserInput<'_>, text: &str, span: &Range<usize>) -> Parsed<T> {
    let is_range = text
        .split_once('-')
        .is_some_and(|(first, last)| lex::number(first).is_some() && lex::number(last).is_some());
    fail(
        span.clone(),
        if is_range {
            format!("expected a single port: a range is written `portrange {text}`")
        } else if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            "expected a port number from 0 to 65535".to_owned()
        } else {
            format!(
                "expected a port number or a service: `{text}` is not in /etc/services{}",
                advice::for_service(input, text)
            )
        },
    )
}

/// Parses a range such as `6000-6008`, or a single port. Service names may contain a `-`
/// themselves.
pub fn range(
    input: &ParserInput<'_>,
    scope: PortScope,
    name: &NameToken<'_>,
) -> Parsed<(PortScope, PortRange)> {
    let Some((at, _)) = name.text.char_indices().find(|&(at, character)| {
        let known = |text: &str| {
            lex::number(text).is_some() || input.state.names.service(text) != Service::default()
        };
        character == '-' && known(&name.text[..at]) && known(&name.text[at + 1..])
    }) else {
        return if name.text.contains('-') {
            fail(
                name.span.clone(),
                "expected a range of ports, for instance 6000-6008",
            )
        } else {
            single(input, scope, name)
        };
    };
    let side = |range: Range<usize>| {
        let span = name.span.end - name.text.len() + range.start
            ..name.span.end - name.text.len() + range.end;
        port_number(input, scope, &name.text[range], &span)
    };
    let (first_scope, first) = side(0..at)?;
    let (last_scope, last) = side(at + 1..name.text.len())?;
    let scope = match (first_scope, last_scope) {
        (one, other) if one == other => one,
        _ => scope,
    };
    Ok((
        scope,
        PortRange {
            first: first.min(last),
            last: first.max(last),
        },
    ))
}

/// Parses the operands of `flow`: `tcp 10.0.0.1:1234 10.0.0.2:80` for both directions, `icmp
/// 10.0.0.1 > 10.0.0.2` for one direction of any protocol, or `none`.
pub fn flow(input: &mut ParserInput<'_>) -> Parsed<Primitive> {
    if keyword(input, "none")? {
        return Ok(Primitive::OneWay(None));
    }
    let word = peek_word(input)?;
    let Some(protocol) = protocol_number(input, word) else {
        return expected(input, "`tcp`, `udp` or `sctp`, another protocol, or `none`");
    };
    keyword(input, word)?;
    let scope = match protocol {
        6 => PortScope::Tcp,
        17 => PortScope::Udp,
        132 => PortScope::Sctp,
        _ => PortScope::Any,
    };
    let (one, start) = endpoint(input, scope)?;
    let is_one_way = sign(input, ">")?;
    let (other, end) = endpoint(input, scope)?;
    if one.address().is_ipv4() != other.address().is_ipv4() {
        return fail(end, "expected two addresses of the same family");
    }
    match (one, other) {
        (Endpoint::Port(one), Endpoint::Port(other)) if is_one_way => {
            Ok(Primitive::OneWay(Some(packet::Flow {
                source: one.ip(),
                destination: other.ip(),
                transport: protocol,
                ports: Some((one.port(), other.port())),
            })))
        }
        (Endpoint::Port(one), Endpoint::Port(other)) => Ok(Primitive::Flow(TwoWayFlow {
            protocol: scope,
            one,
            other,
        })),
        (Endpoint::Address(one), Endpoint::Address(other)) if is_one_way => {
            Ok(Primitive::OneWay(Some(packet::Flow {
                source: one,
                destination: other,
                transport: protocol,
                ports: None,
            })))
        }
        (Endpoint::Address(_), Endpoint::Address(_)) if scope == PortScope::Any => {
            fail(end, "expected `>` between the addresses")
        }
        (Endpoint::Address(_), _) => fail(start, format!("expected {WITH_PORT}")),
        (_, Endpoint::Address(_)) => fail(end, format!("expected {WITH_PORT}")),
    }
}

fn protocol_number(input: &ParserInput<'_>, word: &str) -> Option<u8> {
    match lex::number(word) {
        Some(number) => u8::try_from(number).ok(),
        None if word.is_empty() => None,
        None => words::ip_protocol(word).or_else(|| input.state.names.protocol(word)),
    }
}

/// One end of a flow.
enum Endpoint {
    Port(SocketAddr),
    Address(IpAddr),
}

impl Endpoint {
    fn address(&self) -> IpAddr {
        match self {
            Self::Port(address) => address.ip(),
            Self::Address(address) => *address,
        }
    }
}

const WITH_PORT: &str = "an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80";

/// Parses an address with its port, or without one for a protocol that has no ports.
fn endpoint(input: &mut ParserInput<'_>, scope: PortScope) -> Parsed<(Endpoint, Range<usize>)> {
    let has_ports = scope != PortScope::Any;
    let wanted = if has_ports {
        WITH_PORT
    } else {
        "an IP address"
    };
    let Some(name) = name(input, "[]")? else {
        return expected(input, wanted);
    };
    let with_port = name.text.parse().ok().filter(|_| has_ports);
    let found = match (with_port, name.text.parse()) {
        (Some(address), _) => Endpoint::Port(address),
        (None, Ok(address)) => Endpoint::Address(address),
        (None, Err(_)) => return fail(name.span, format!("expected {wanted}")),
    };
    Ok((found, name.span))
}

/// One direction of a flow, displayed as the operands of `flow`: `udp 10.0.0.1:53 > 10.0.0.2:1234`.
pub struct OneWay(pub packet::Flow);

impl fmt::Display for OneWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet::Flow {
            source,
            destination,
            transport,
            ports,
        } = self.0;
        let name = ProtocolName(transport).to_string().to_lowercase();
        match words::ip_protocol(&name) {
            Some(number) if number == transport => f.write_str(&name)?,
            _ => transport.fmt(f)?,
        }
        match ports {
            Some((from, to)) => {
                let source = SocketAddr::new(source, from);
                write!(f, " {source} > {}", SocketAddr::new(destination, to))
            }
            None => write!(f, " {source} > {destination}"),
        }
    }
}
