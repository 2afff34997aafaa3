//! Parses the operands of qualifiers: addresses, ports, protocols, and facts of the drop.

use std::ops::Range;

use super::advice::refuse_sign;
use super::ast::{Direction, Expr, Family, PortScope, Primitive, Side};
use super::drop_word::{self, TextWord};
use super::lex::{self, Input, Name, Parsed, Quoted, expected, fail, name, peek_word, position};
use super::words::{self, Protocol};
use super::{address, port};

/// The qualifiers of a name: those written before it, or carried over from the name before.
#[derive(Clone, Copy, Debug)]
pub enum Carried {
    /// pcap-filter's: `tcp src port`
    Headed {
        protocol: Option<Protocol>,
        direction: Direction,
        kind: Kind,
    },
    /// `saddr`, `daddr`, `addr`
    FarAddress(Direction),
    /// `sport`, `dport`
    FarPort(Side),
    /// `reason` and its like
    Text(TextWord),
}

impl Carried {
    /// Whether `*` can begin a name.
    pub fn takes_globs(self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether `10/8` is a name.
    pub fn takes_nets(self) -> bool {
        matches!(
            self,
            Self::FarAddress(_)
                | Self::Headed {
                    kind: Kind::Net,
                    ..
                }
        )
    }
}

/// What a name behind pcap-filter's qualifiers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `src 10.0.0.1`: a host
    Default,
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    ProtoChain,
}

/// One name.
pub fn single(input: &mut Input<'_>, carried: Carried) -> Parsed<Expr> {
    match carried {
        Carried::Text(word) => drop_word::single(input, word),
        Carried::FarPort(side) => {
            let range = match name_or(input, "a port number from 0 to 65535 or a range")? {
                name if name.text.contains('-') => port::range(input, PortScope::Any, &name)?.1,
                name => port::single(input, PortScope::Any, &name)?.1,
            };
            Ok(Primitive::FarPort(side, range).into())
        }
        Carried::FarAddress(direction) => {
            let name = name_or(input, "an IP address, a network or a host name")?;
            address::far(input, direction, &name)
        }
        Carried::Headed {
            protocol,
            direction,
            kind,
        } => {
            let name = name_or(input, wanted(protocol, kind))?;
            headed(input, protocol, direction, kind, &name)
        }
    }
}

/// A name that turned out to be a plain number: the `443` of `port 80 or 443`.
pub fn number(
    input: &mut Input<'_>,
    carried: Carried,
    text: &str,
    span: Range<usize>,
) -> Parsed<Expr> {
    let name = Name {
        text,
        span: span.clone(),
    };
    match carried {
        Carried::Text(word) => drop_word::value(word, text.as_bytes().to_vec(), Quoted::No, span),
        Carried::FarPort(side) => {
            let (_, range) = port::single(input, PortScope::Any, &name)?;
            Ok(Primitive::FarPort(side, range).into())
        }
        Carried::FarAddress(direction) => address::far(input, direction, &name),
        Carried::Headed {
            protocol,
            direction,
            kind,
        } => headed(input, protocol, direction, kind, &name),
    }
}

fn wanted(protocol: Option<Protocol>, kind: Kind) -> &'static str {
    match (kind, protocol) {
        (Kind::Default | Kind::Host, Some(Protocol::Link)) => {
            "a MAC address, for instance 02:00:00:00:00:01"
        }
        (Kind::Default | Kind::Host, _) => "an IP address or a host name",
        (Kind::Net, _) => "a network, for instance 10.0.0.0/8",
        (Kind::Port, _) => "a port number from 0 to 65535 or a service name",
        (Kind::PortRange, _) => "a range of ports, for instance 6000-6008",
        (Kind::Proto, Some(Protocol::Link)) => "an Ethernet type from 0 to 65535 or its name",
        (Kind::Proto | Kind::ProtoChain, _) => "an IP protocol from 0 to 255 or its name",
    }
}

/// The next name. A word of the language is one only behind a backslash, except for protocols
/// behind `proto`, where nothing else can stand.
fn name_or<'i>(input: &mut Input<'i>, wanted: &str) -> Parsed<Name<'i>> {
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
    input: &mut Input<'_>,
    protocol: Option<Protocol>,
    direction: Direction,
    kind: Kind,
    name: &Name<'_>,
) -> Parsed<Expr> {
    match kind {
        Kind::Default | Kind::Host if protocol == Some(Protocol::Link) => {
            match address::mac(name.text) {
                Some(address) => Ok(Primitive::Mac(direction, address).into()),
                None => fail(
                    name.span.clone(),
                    format!("expected {}", wanted(protocol, kind)),
                ),
            }
        }
        Kind::Default | Kind::Host => address::host(input, protocol, direction, name),
        Kind::Net => {
            let (net, span) = address::net(input, name)?;
            address::scoped(protocol, direction, net, span)
        }
        Kind::Port => {
            let (scope, range) = port::single(input, port_scope(protocol), name)?;
            Ok(Primitive::Port(scope, direction, range).into())
        }
        Kind::PortRange => {
            let (scope, range) = port::range(input, port_scope(protocol), name)?;
            Ok(Primitive::Port(scope, direction, range).into())
        }
        Kind::Proto if protocol == Some(Protocol::Link) => {
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
        Kind::Proto => Ok(Primitive::IpProto(family(protocol), ip_protocol(input, name)?).into()),
        Kind::ProtoChain => {
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

fn ip_protocol(input: &Input<'_>, name: &Name<'_>) -> Parsed<u8> {
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
