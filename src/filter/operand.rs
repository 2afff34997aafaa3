//! Parses the operands of qualifiers: addresses, ports, protocols, and facts of the drop.

use std::ops::Range;

use super::advice::refuse_sign;
use super::ast::{DirQualifier, Expr, Family, PortScope, Primitive, Side};
use super::drop_word::{self, TextWord};
use super::lex::{
    self, NameToken, Parsed, ParserInput, Quoted, expected, fail, name, peek_word, position,
};
use super::words::{self, Protocol};
use super::{address, port};

/// The qualifiers of a name: written before it, or carried over from the name before.
#[derive(Clone, Copy, Debug)]
pub enum Qualifiers {
    /// Qualifiers of pcap-filter(7): `tcp src port`
    Headed {
        protocol: Option<Protocol>,
        direction: DirQualifier,
        kind: TypeQualifier,
    },
    /// `saddr`, `daddr`, `addr`
    TransportAddress(DirQualifier),
    /// `sport`, `dport`
    TransportPort(Side),
    /// A word for a name that belongs to the drop: `reason`, `location`, `trap`
    Text(TextWord),
}

impl Qualifiers {
    /// Returns whether a name can begin with `*`.
    pub fn takes_globs(self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Returns whether a name can be a network such as `10/8`.
    pub fn takes_nets(self) -> bool {
        matches!(
            self,
            Self::TransportAddress(_)
                | Self::Headed {
                    kind: TypeQualifier::Net,
                    ..
                }
        )
    }
}

/// The type qualifier of pcap-filter(7): what kind of thing the name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeQualifier {
    /// `src 10.0.0.1`: a host
    Default,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    ProtoChain,
}

/// Parses one name.
pub fn single(input: &mut ParserInput<'_>, carried: Qualifiers) -> Parsed<Expr> {
    match carried {
        Qualifiers::Text(word) => drop_word::single(input, word),
        Qualifiers::TransportPort(side) => {
            let range = match name_or(input, "a port number from 0 to 65535 or a range")? {
                name if name.text.contains('-') => port::range(input, PortScope::Any, &name)?.1,
                name => port::single(input, PortScope::Any, &name)?.1,
            };
            Ok(Primitive::TransportPort(side, range).into())
        }
        Qualifiers::TransportAddress(direction) => {
            let name = name_or(input, "an IP address, a network or a host name")?;
            address::transport(input, direction, &name)
        }
        Qualifiers::Headed {
            protocol,
            direction,
            kind,
        } => {
            let name = name_or(input, wanted(protocol, kind))?;
            headed(input, protocol, direction, kind, &name)
        }
    }
}

/// Interprets a plain number as a name: the `443` of `port 80 or 443`.
pub fn number(
    input: &mut ParserInput<'_>,
    carried: Qualifiers,
    text: &str,
    span: Range<usize>,
) -> Parsed<Expr> {
    let name = NameToken {
        text,
        span: span.clone(),
    };
    match carried {
        Qualifiers::Text(word) => {
            drop_word::value(word, text.as_bytes().to_vec(), Quoted::No, span)
        }
        Qualifiers::TransportPort(side) => {
            let (_, range) = port::single(input, PortScope::Any, &name)?;
            Ok(Primitive::TransportPort(side, range).into())
        }
        Qualifiers::TransportAddress(direction) => address::transport(input, direction, &name),
        Qualifiers::Headed {
            protocol,
            direction,
            kind,
        } => headed(input, protocol, direction, kind, &name),
    }
}

fn wanted(protocol: Option<Protocol>, kind: TypeQualifier) -> &'static str {
    match (kind, protocol) {
        (TypeQualifier::Default | TypeQualifier::Host, Some(Protocol::Link)) => {
            "a MAC address, for instance 02:00:00:00:00:01"
        }
        (TypeQualifier::Default | TypeQualifier::Host, _) => "an IP address or a host name",
        (TypeQualifier::Net, _) => "a network, for instance 10.0.0.0/8",
        (TypeQualifier::Port, _) => "a port number from 0 to 65535 or a service name",
        (TypeQualifier::PortRange, _) => "a range of ports, for instance 6000-6008",
        (TypeQualifier::Proto, Some(Protocol::Link)) => {
            "an Ethernet type from 0 to 65535 or its name"
        }
        (TypeQualifier::Proto | TypeQualifier::ProtoChain, _) => {
            "an IP protocol from 0 to 255 or its name"
        }
    }
}

/// Takes the next name. A keyword needs a backslash before it to be a name, except for protocols
/// after `proto`, where nothing else can stand.
fn name_or<'i>(input: &mut ParserInput<'i>, wanted: &str) -> Parsed<NameToken<'i>> {
    let start = position(input)?;
    let word = peek_word(input)?;
    let is_protocol = wanted.ends_with("or its name")
        && (Protocol::from_word(word).is_some() || words::ether_protocol(word).is_some());
    if words::is_keyword(word) && !is_protocol {
        return fail(start..start + word.len(), format!("expected {wanted}"));
    }
    refuse_sign(input)?;
    match name(input, "")? {
        Some(name) => Ok(name),
        None => expected(input, wanted),
    }
}

fn headed(
    input: &mut ParserInput<'_>,
    protocol: Option<Protocol>,
    direction: DirQualifier,
    kind: TypeQualifier,
    name: &NameToken<'_>,
) -> Parsed<Expr> {
    match kind {
        TypeQualifier::Default | TypeQualifier::Host if protocol == Some(Protocol::Link) => {
            match address::mac(name.text) {
                Some(address) => Ok(Primitive::Mac(direction, address).into()),
                None => fail(
                    name.span.clone(),
                    format!("expected {}", wanted(protocol, kind)),
                ),
            }
        }
        TypeQualifier::Default | TypeQualifier::Host => {
            address::host(input, protocol, direction, name)
        }
        TypeQualifier::Net => {
            let (net, span) = address::net(input, name)?;
            address::scoped(protocol, direction, net, span)
        }
        TypeQualifier::Port => {
            let (scope, range) = port::single(input, port_scope(protocol), name)?;
            Ok(Primitive::Port(scope, direction, range).into())
        }
        TypeQualifier::PortRange => {
            let (scope, range) = port::range(input, port_scope(protocol), name)?;
            Ok(Primitive::Port(scope, direction, range).into())
        }
        TypeQualifier::Proto if protocol == Some(Protocol::Link) => {
            let kind = match lex::number(name.text) {
                Some(number) => u16::try_from(number).ok(),
                None => words::ether_protocol(name.text),
            };
            match kind {
                Some(kind) => Ok(Primitive::EtherProto(kind).into()),
                None => fail(
                    name.span.clone(),
                    "expected an Ethernet type from 0 to 65535 or its name",
                ),
            }
        }
        TypeQualifier::Proto => {
            Ok(Primitive::IpProto(family(protocol), ip_protocol(input, name)?).into())
        }
        TypeQualifier::ProtoChain => {
            Ok(Primitive::ProtoChain(family(protocol), ip_protocol(input, name)?).into())
        }
    }
}

fn family(protocol: Option<Protocol>) -> Family {
    match protocol {
        Some(Protocol::Ip) => Family::Ip,
        Some(Protocol::Ip6) => Family::Ip6,
        _ => Family::Either,
    }
}

fn port_scope(protocol: Option<Protocol>) -> PortScope {
    match protocol {
        Some(Protocol::Over(_, 6)) => PortScope::Tcp,
        Some(Protocol::Over(_, 17)) => PortScope::Udp,
        Some(Protocol::Over(_, 132)) => PortScope::Sctp,
        _ => PortScope::Any,
    }
}

fn ip_protocol(input: &ParserInput<'_>, name: &NameToken<'_>) -> Parsed<u8> {
    let number = match lex::number(name.text) {
        Some(number) => u8::try_from(number).ok(),
        None => words::ip_protocol(name.text).or_else(|| input.state.names.protocol(name.text)),
    };
    match number {
        Some(number) => Ok(number),
        None => fail(
            name.span.clone(),
            "expected an IP protocol from 0 to 255 or its name",
        ),
    }
}
