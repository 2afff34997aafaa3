//! Names and numbers behind their qualifiers: addresses, ports, protocols, and what a drop has.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use winnow::stream::Location;

use crate::record::Origin;

use super::ast::{
    Connective, Direction, DropWord, Expr, Family, Flow, Net, PortRange, PortScope, Primitive,
    Scope, Side,
};
use super::glob::Glob;
use super::lex::{
    self, Input, Name, Parsed, Quoted, expected, fail, keyword, name, peek_word, position, text,
};
use super::names::Service;
use super::words::{self, Protocol};

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

/// The words that only a drop has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextWord {
    Reason,
    Location,
    Module,
    Pc,
    Origin,
    Trap,
    TrapGroup,
    Iface,
    IfName,
}

impl TextWord {
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "reason" => Self::Reason,
            "location" => Self::Location,
            "module" => Self::Module,
            "pc" => Self::Pc,
            "origin" => Self::Origin,
            "trap" => Self::Trap,
            "trap_group" => Self::TrapGroup,
            "iface" | "ifindex" => Self::Iface,
            "ifname" | "on" => Self::IfName,
            _ => return None,
        })
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Reason => "a drop reason, for instance NO_SOCKET",
            Self::Location => "a function of the kernel, for instance ip_rcv*",
            Self::Module => "a kernel module",
            Self::Pc => "an address, for instance 0xffffffffb3d420b5",
            Self::Origin => "`sw` or `hw`",
            Self::Trap => "a trap, for instance blackhole_route",
            Self::TrapGroup => "a trap group, for instance l3_drops",
            Self::Iface => "an interface name or index",
            Self::IfName => "an interface name",
        }
    }
}

/// One name.
pub fn single(input: &mut Input<'_>, carried: Carried) -> Parsed<Expr> {
    match carried {
        Carried::Text(word) => drop_word(input, word),
        Carried::FarPort(side) => {
            let range = match name_or(input, "a port number from 0 to 65535 or a range")? {
                name if name.text.contains('-') => port_range(input, PortScope::Any, &name)?.1,
                name => port(input, PortScope::Any, &name)?.1,
            };
            Ok(Primitive::FarPort(side, range).into())
        }
        Carried::FarAddress(direction) => {
            let name = name_or(input, "an IP address, a network or a host name")?;
            far_address(input, direction, &name)
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
        Carried::Text(word) => drop_value(word, text.as_bytes().to_vec(), Quoted::No, span),
        Carried::FarPort(side) => {
            let (_, range) = port(input, PortScope::Any, &name)?;
            Ok(Primitive::FarPort(side, range).into())
        }
        Carried::FarAddress(direction) => far_address(input, direction, &name),
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
        Kind::Default | Kind::Host if protocol == Some(Protocol::Link) => match mac(name.text) {
            Some(address) => Ok(Primitive::Mac(direction, address).into()),
            None => fail(
                name.span.clone(),
                format!("expected {}", wanted(protocol, kind)),
            ),
        },
        Kind::Default | Kind::Host => host(input, protocol, direction, name),
        Kind::Net => {
            let (net, span) = net(input, name)?;
            address(protocol, direction, net, span)
        }
        Kind::Port => {
            let (scope, range) = port(input, port_scope(protocol), name)?;
            Ok(Primitive::Port(scope, direction, range).into())
        }
        Kind::PortRange => {
            let (scope, range) = port_range(input, port_scope(protocol), name)?;
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

/// `net` under a protocol, which has to have such addresses.
fn address(
    protocol: Option<Protocol>,
    direction: Direction,
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

fn host(
    input: &mut Input<'_>,
    protocol: Option<Protocol>,
    direction: Direction,
    name: &Name<'_>,
) -> Parsed<Expr> {
    if lex::peek_sign(input, "/")? {
        return fail(
            name.span.clone(),
            "expected a single host: a network is written `net 10.0.0.0/8`",
        );
    }
    // As in tcpdump: a bare number is the whole address, `10.1` the two bytes it begins with.
    if let Some(number) = lex::number(name.text) {
        let Ok(value) = u32::try_from(number) else {
            return fail(name.span.clone(), "expected an IPv4 address");
        };
        let net = Net::V4 {
            address: value,
            mask: u32::MAX,
        };
        return address(protocol, direction, net, name.span.clone());
    }
    if let Some(net) = literal(name)? {
        return address(protocol, direction, net, name.span.clone());
    }
    let usable = |net: &Net| match protocol {
        Some(Protocol::Ip6) => matches!(net, Net::V6 { .. }),
        Some(_) => matches!(net, Net::V4 { .. }),
        None => true,
    };
    let nets: Vec<Net> = resolve(input, name)?.into_iter().filter(usable).collect();
    any_of(name, nets, |net| {
        address(protocol, direction, net, name.span.clone())
    })
}

fn resolve(input: &Input<'_>, name: &Name<'_>) -> Parsed<Vec<Net>> {
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
            format!("cannot resolve host `{}`: {error}", name.text),
        ),
    }
}

/// One primitive for each address of a name.
fn any_of(
    name: &Name<'_>,
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

/// An address in digits: IPv6, or two to four bytes of IPv4. `None` for anything that may be a
/// name.
fn literal(name: &Name<'_>) -> Parsed<Option<Net>> {
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

/// The first `bits`, at most 32.
fn v4_mask(bits: u32) -> u32 {
    u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0)
}

/// The first `bits`, at most 128.
fn v6_mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0)
}

/// `10`, `10.1`, `10.0.0.0/8`, `10.0.0.0 mask 255.0.0.0`, `2001:db8::/32`: the net, and all that
/// was taken for it.
fn net(input: &mut Input<'_>, name: &Name<'_>) -> Parsed<(Net, Range<usize>)> {
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
        let mask = self::name(input, "")?;
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

/// A number alone, as tcpdump reads it: `net 10` is 10.0.0.0/8.
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

/// `/8` directly behind an address.
fn prefix_length(input: &mut Input<'_>, net: Net) -> Parsed<Option<u32>> {
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

/// An address, a net or a name.
fn far_address(input: &mut Input<'_>, direction: Direction, name: &Name<'_>) -> Parsed<Expr> {
    let primitive = |net| Ok(Primitive::FarAddress(direction, net).into());
    if lex::number(name.text).is_some() || literal(name)?.is_some() {
        let (net, _) = net(input, name)?;
        return primitive(net);
    }
    any_of(name, resolve(input, name)?, primitive)
}

/// A port by number or service name, and the protocol that a name stands for.
fn port(input: &Input<'_>, scope: PortScope, name: &Name<'_>) -> Parsed<(PortScope, PortRange)> {
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
                (None, None, None) => unknown_service(text, span),
            };
        }
    };
    match found {
        Some(port) => Ok((scope, port)),
        None if service == Service::default() => unknown_service(text, span),
        None => fail(
            span.clone(),
            format!("`{text}` is not a service over {scope}"),
        ),
    }
}

fn unknown_service<T>(text: &str, span: &Range<usize>) -> Parsed<T> {
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
            format!("expected a port number or a service: `{text}` is not in /etc/services")
        },
    )
}

/// `6000-6008`; one port is a range, too. Service names may hold a `-` themselves.
fn port_range(
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
            port(input, scope, name)
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

fn drop_word(input: &mut Input<'_>, word: TextWord) -> Parsed<Expr> {
    let start = position(input)?;
    if matches!(peek_word(input)?, "and" | "or" | "not") {
        return expected(input, word.wanted());
    }
    let Some((bytes, quoted)) = text(input)? else {
        return expected(input, word.wanted());
    };
    let span = start..input.current_token_start();
    drop_value(word, bytes, quoted, span)
}

fn drop_value(word: TextWord, bytes: Vec<u8>, quoted: Quoted, span: Range<usize>) -> Parsed<Expr> {
    let plain = std::str::from_utf8(&bytes).unwrap_or_default();
    if bytes.is_empty() {
        return fail(span, format!("expected {}", word.wanted()));
    }
    let value = match word {
        TextWord::Reason => DropWord::Reason(reason(&bytes)),
        TextWord::Location => DropWord::Location(Glob::new(bytes)),
        TextWord::Module => DropWord::Module(Glob::new(bytes)),
        TextWord::Trap => DropWord::Trap(Glob::new(bytes)),
        TextWord::TrapGroup => DropWord::TrapGroup(Glob::new(bytes)),
        TextWord::IfName => DropWord::InterfaceName(bytes),
        TextWord::Iface => match lex::number(plain).filter(|_| quoted == Quoted::No) {
            None => DropWord::InterfaceName(bytes),
            Some(index) => match u32::try_from(index) {
                Ok(index) => DropWord::InterfaceIndex(index),
                Err(_) => return fail(span, "expected an interface index below 4294967296"),
            },
        },
        TextWord::Origin => match plain {
            "sw" | "software" => DropWord::Origin(Origin::Software),
            "hw" | "hardware" => DropWord::Origin(Origin::Hardware),
            _ => return fail(span, format!("expected {}", word.wanted())),
        },
        TextWord::Pc => {
            let digits = plain.trim_start_matches("0x").len();
            match lex::number(plain).filter(|_| digits <= 16) {
                Some(address) => DropWord::Pc(address),
                None => return fail(span, format!("expected {}", word.wanted())),
            }
        }
    };
    Ok(Primitive::Drop(value).into())
}

/// Upper case, without the prefix of the kernel's enumeration: how the kernel sends reasons.
fn reason(pattern: &[u8]) -> Glob {
    let upper = pattern.to_ascii_uppercase();
    let bare = upper
        .strip_prefix(b"SKB_DROP_REASON_")
        .filter(|bare| !bare.is_empty());
    Glob::new(bare.unwrap_or(&upper).to_vec())
}

/// `xx:xx:xx:xx:xx:xx` with `:`, `.` or `-`, `xxxx.xxxx.xxxx`, or twelve digits.
fn mac(text: &str) -> Option<[u8; 6]> {
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
