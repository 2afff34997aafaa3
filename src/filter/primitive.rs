//! Parses one primitive: its keyword and its operands.

use std::ops::Range;

use winnow::stream::{Location, Stream};

use crate::record;

use super::arithmetic;
use super::ast::{
    Arith, Comparison, Connective, Direction, DropWord, Expr, Family, Llc, Primitive, Relation,
    Side,
};
use super::drop_word::TextWord;
use super::lex::{
    Input, Parsed, expected, fail, keyword, nested, opt_number, peek_sign, peek_word, position,
    sign,
};
use super::operand::{self, Carried, Kind};
use super::parse::{Unit, close, compared, connective, negation, term};
use super::port;
use super::words::{self, Protocol};

/// The primitive that begins with the keyword `word`.
pub fn parse<'i>(input: &mut Input<'i>, word: &str, span: Range<usize>) -> Parsed<Unit<'i>> {
    let alone = |primitive: Primitive| Ok(Unit::Term((primitive.into(), None)));
    if word == "len" || words::constant(word).is_some() {
        let started = arithmetic::operand(input)?;
        return compared(input, started);
    }
    if let Some(protocol) = Protocol::from_word(word) {
        keyword(input, word)?;
        return headed(input, Some((protocol, span)));
    }
    if let Some(text_word) = TextWord::from_word(word) {
        keyword(input, word)?;
        return with_names(input, Carried::Text(text_word));
    }
    match word {
        "src" | "dst" | "host" | "net" | "port" | "portrange" | "proto" | "protochain"
        | "broadcast" | "multicast" => return headed(input, None),
        "and" | "or" | "mask" => {
            return expected(input, "an expression, for instance `host 10.0.0.1`");
        }
        _ => keyword(input, word)?,
    };
    match word {
        "saddr" => with_names(input, Carried::FarAddress(Direction::Source)),
        "daddr" => with_names(input, Carried::FarAddress(Direction::Destination)),
        "addr" => with_names(input, Carried::FarAddress(Direction::Either)),
        "sport" => with_names(input, Carried::FarPort(Side::Source)),
        "dport" => with_names(input, Carried::FarPort(Side::Destination)),
        "flow" => alone(port::flow(input)?),
        "less" => alone(length(input, Comparison::LessOrEqual)?),
        "greater" => alone(length(input, Comparison::GreaterOrEqual)?),
        "inbound" => alone(Primitive::Direction(record::Direction::Inbound)),
        "outbound" => alone(Primitive::Direction(record::Direction::Outbound)),
        "noise" => alone(Primitive::Drop(DropWord::Noise)),
        "vlan" => alone(Primitive::Vlan(
            limited(input, "a VLAN", 4095)?.and_then(|id| u16::try_from(id).ok()),
        )),
        "mpls" => alone(Primitive::Mpls(limited(input, "an MPLS label", 0xf_ffff)?)),
        "pppoes" => alone(Primitive::Pppoes(
            limited(input, "a PPPoE session", 0xffff)?.and_then(|id| u16::try_from(id).ok()),
        )),
        "pppoed" => alone(Primitive::EtherProto(0x8863)),
        "llc" => alone(Primitive::Llc(llc(input)?)),
        _ => inner(input, span),
    }
}

/// `inner a`: what it says of the packet within carries nothing over to what is said of the one
/// around it.
fn inner<'i>(input: &mut Input<'i>, span: Range<usize>) -> Parsed<Unit<'i>> {
    let (expr, _) = nested(input, span, |input| term(input, None))?;
    Ok(Unit::Term((Expr::Inner(Box::new(expr)), None)))
}

fn length(input: &mut Input<'_>, comparison: Comparison) -> Parsed<Primitive> {
    let Some((value, span)) = opt_number(input)? else {
        return expected(input, "a length in bytes");
    };
    let Ok(value) = u32::try_from(value) else {
        return fail(span, "expected a length in bytes below 4294967296");
    };
    Ok(Primitive::Relation(Relation {
        left: Arith::Length,
        comparison,
        right: Arith::Number(value),
    }))
}

fn limited(input: &mut Input<'_>, what: &str, most: u32) -> Parsed<Option<u32>> {
    let Some((value, span)) = opt_number(input)? else {
        return Ok(None);
    };
    match u32::try_from(value) {
        Ok(value) if value <= most => Ok(Some(value)),
        _ => fail(span, format!("expected {what} from 0 to {most}")),
    }
}

fn llc(input: &mut Input<'_>) -> Parsed<Llc> {
    let word = peek_word(input)?;
    match words::llc(word) {
        Some(kind) => {
            keyword(input, word)?;
            Ok(kind)
        }
        None if word.is_empty() || matches!(word, "and" | "or") => Ok(words::LLC),
        None => expected(
            input,
            "an LLC type: i, s, u, rr, rnr, rej, ui, ua, disc, sabme, test, xid or frmr",
        ),
    }
}

/// What can begin with a protocol: `tcp`, `tcp port 80`, `ip broadcast`, `tcp[13] = 2`.
fn headed<'i>(input: &mut Input<'i>, before: Option<(Protocol, Range<usize>)>) -> Parsed<Unit<'i>> {
    let alone = |primitive: Primitive| Ok(Unit::Term((primitive.into(), None)));
    let protocol = before.as_ref().map(|&(protocol, _)| protocol);
    if let Some((protocol, span)) = &before
        && peek_sign(input, "[")?
    {
        let started = arithmetic::load(input, *protocol, span.clone())?;
        return compared(input, started);
    }
    let direction = direction(input)?;
    let word = peek_word(input)?;
    let kind = match word {
        "host" => Kind::Host,
        "net" => Kind::Net,
        "port" => Kind::Port,
        "portrange" => Kind::PortRange,
        "proto" if direction.is_none() => Kind::Proto,
        "protochain" if direction.is_none() => Kind::ProtoChain,
        "broadcast" | "multicast" if direction.is_none() => {
            keyword(input, word)?;
            return match (word, protocol) {
                ("broadcast", None | Some(Protocol::Link)) => alone(Primitive::Broadcast),
                ("broadcast", Some(Protocol::Ip)) => alone(Primitive::IpBroadcast),
                ("multicast", None | Some(Protocol::Link)) => alone(Primitive::Multicast),
                ("multicast", Some(Protocol::Ip)) => alone(Primitive::IpMulticast),
                ("multicast", Some(Protocol::Ip6)) => alone(Primitive::Ip6Multicast),
                _ => misfit(input, before, word),
            };
        }
        // `src 10.0.0.1`
        _ if direction.is_some() => Kind::Default,
        _ => {
            return match protocol.and_then(Protocol::primitive) {
                Some(primitive) => alone(primitive),
                None => expected(
                    input,
                    "`host`, `src`, `dst`, `proto`, `broadcast`, `multicast` or `[` after `ether`",
                ),
            };
        }
    };
    if kind != Kind::Default {
        keyword(input, word)?;
    }
    if !kind.goes_with(protocol) {
        let word = if kind == Kind::Default {
            "src` or `dst"
        } else {
            word
        };
        return misfit(input, before, word);
    }
    with_names(
        input,
        Carried::Headed {
            protocol,
            direction: direction.unwrap_or(Direction::Either),
            kind,
        },
    )
}

fn misfit<T>(input: &Input<'_>, before: Option<(Protocol, Range<usize>)>, word: &str) -> Parsed<T> {
    let at = input.current_token_start();
    let span = before.map_or(at..at, |(_, span)| span);
    fail(span, format!("this cannot be used with `{word}`"))
}

/// `src`, `dst`, and both in either order.
fn direction(input: &mut Input<'_>) -> Parsed<Option<Direction>> {
    let (one, second) = if keyword(input, "src")? {
        (Direction::Source, "dst")
    } else if keyword(input, "dst")? {
        (Direction::Destination, "src")
    } else {
        return Ok(None);
    };
    let before = input.checkpoint();
    if let Some(connective) = connective(input)?
        && keyword(input, second)?
    {
        return Ok(Some(match connective {
            Connective::And => Direction::Both,
            Connective::Or => Direction::Either,
        }));
    }
    input.reset(&before);
    Ok(Some(one))
}

/// The names after their qualifiers: one, `not` one, or several in parentheses.
fn with_names<'i>(input: &mut Input<'i>, carried: Carried) -> Parsed<Unit<'i>> {
    let expr = operands(input, carried)?;
    Ok(Unit::Term((expr, Some(carried))))
}

fn operands(input: &mut Input<'_>, carried: Carried) -> Parsed<Expr> {
    let negated = negation(input)?;
    let start = position(input)?;
    let expr = if sign(input, "(")? {
        let opening = start..start + 1;
        nested(input, opening.clone(), |input| {
            let first = operands(input, carried)?;
            let mut rest = Vec::new();
            while let Some(connective) = connective(input)? {
                rest.push((connective, operands(input, carried)?));
            }
            close(input, opening)?;
            Ok(first.chained(rest))
        })?
    } else {
        operand::single(input, carried)?
    };
    Ok(if negated { expr.negated() } else { expr })
}

impl Kind {
    /// Whether the kind of name is one that `protocol` has.
    fn goes_with(self, protocol: Option<Protocol>) -> bool {
        match (self, protocol) {
            (_, None) => true,
            (Self::Default | Self::Host, Some(protocol)) => matches!(
                protocol,
                Protocol::Link | Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp
            ),
            (Self::Net, Some(protocol)) => matches!(
                protocol,
                Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp
            ),
            (Self::Port | Self::PortRange, Some(protocol)) => {
                matches!(protocol, Protocol::Over(Family::Either, 6 | 17 | 132))
            }
            (Self::Proto, Some(protocol)) => {
                matches!(protocol, Protocol::Link | Protocol::Ip | Protocol::Ip6)
            }
            (Self::ProtoChain, Some(protocol)) => {
                matches!(protocol, Protocol::Ip | Protocol::Ip6)
            }
        }
    }
}
