//! Ports: numbers, services, ranges, and the two ends of a flow.

use std::net::SocketAddr;
use std::ops::Range;

use super::advice;
use super::ast::{Flow, PortRange, PortScope};
use super::lex::{self, Input, Name, Parsed, expected, fail, keyword, name, peek_word};
use super::names::Service;

/// A port by number or service name, and the protocol that a name stands for.
pub fn single(
    input: &Input<'_>,
    scope: PortScope,
    name: &Name<'_>,
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
    input: &Input<'_>,
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
                // As in tcpdump: the protocol counts too, where there is only one.
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

fn unknown_service<T>(input: &Input<'_>, text: &str, span: &Range<usize>) -> Parsed<T> {
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

/// `6000-6008`; one port is a range, too. Service names may hold a `-` themselves.
pub fn range(
    input: &Input<'_>,
    scope: PortScope,
    name: &Name<'_>,
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

/// `flow tcp 10.0.0.1:1234 10.0.0.2:80`
pub fn flow(input: &mut Input<'_>) -> Parsed<Flow> {
    let word = peek_word(input)?;
    let protocol = match word {
        "tcp" => PortScope::Tcp,
        "udp" => PortScope::Udp,
        "sctp" => PortScope::Sctp,
        _ => return expected(input, "`tcp`, `udp` or `sctp`"),
    };
    keyword(input, word)?;
    let (one, _) = endpoint(input)?;
    let (other, span) = endpoint(input)?;
    if one.is_ipv4() != other.is_ipv4() {
        return fail(span, "expected two addresses of the same family");
    }
    Ok(Flow {
        protocol,
        one,
        other,
    })
}

fn endpoint(input: &mut Input<'_>) -> Parsed<(SocketAddr, Range<usize>)> {
    const WANTED: &str = "an address and a port, for instance 10.0.0.1:80 or [2001:db8::1]:80";
    let Some(name) = name(input, "[]")? else {
        return expected(input, WANTED);
    };
    match name.text.parse() {
        Ok(address) => Ok((address, name.span)),
        Err(_) => fail(name.span, format!("expected {WANTED}")),
    }
}
