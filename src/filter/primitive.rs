//! Parses one primitive: its keyword and its operands.

use std::ops::Range;

use winnow::stream::{Location, Stream};

use crate::record;

use super::arithmetic;
use super::ast::{
    Arith, Comparison, Connective, DirQualifier, DropWord, Expr, Family, Llc, Primitive, Relation,
    Side,
};
use super::drop_word::TextWord;
use super::lex::{
    Parsed, ParserInput, expected, fail, keyword, nested, opt_number, peek_sign, peek_word,
    position, sign,
};
use super::operand::{self, Qualifiers, TypeQualifier};
use super::parse::{ParsedUnit, close, compared, connective, negation, term};
use super::port;
use super::words::{self, Protocol};

/// Parses the primitive that begins with the keyword `word`.
pub fn parse<'i>(
    input: &mut ParserInput<'i>,
    word: &str,
    span: Range<usize>,
) -> Parsed<ParsedUnit<'i>> {
    let alone = |primitive: Primitive| Ok(ParsedUnit::Term((primitive.into(), None)));
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
        return with_names(input, Qualifiers::Text(text_word));
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
        "saddr" => with_names(input, Qualifiers::TransportAddress(DirQualifier::Source)),
        "daddr" => with_names(
            input,
            Qualifiers::TransportAddress(DirQualifier::Destination),
        ),
        "addr" => with_names(input, Qualifiers::TransportAddress(DirQualifier::Either)),
        "sport" => with_names(input, Qualifiers::TransportPort(Side::Source)),
        "dport" => with_names(input, Qualifiers::TransportPort(Side::Destination)),
        "flow" => alone(port::flow(input)?),
        "less" => alone(length(input, Comparison::LessOrEqual)?),
        "greater" => alone(length(input, Comparison::GreaterOrEqual)?),
        "inbound" => alone(Primitive::Direction(record::Direction::Inbound)),
        "outbound" => alone(Primitive::Direction(record::Direction::Outbound)),
        "noise" => alone(Primitive::Drop(DropWord::Noise)),
        // What a device took off, and not what stands in the frame.
        "vlan" if peek_sign(input, "=")? => with_names(
            input,
            Qualifiers::Text(TextWord::NamedFact(record::Fact::Vlan)),
        ),
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

/// Parses `inner a`. Qualifiers inside it do not carry over to what follows.
fn inner<'i>(input: &mut ParserInput<'i>, span: Range<usize>) -> Parsed<ParsedUnit<'i>> {
    let (expr, _) = nested(input, span, |input| term(input, None))?;
    Ok(ParsedUnit::Term((Expr::Inner(Box::new(expr)), None)))
}

fn length(input: &mut ParserInput<'_>, comparison: Comparison) -> Parsed<Primitive> {
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

fn limited(input: &mut ParserInput<'_>, what: &str, most: u32) -> Parsed<Option<u32>> {
    let Some((value, span)) = opt_number(input)? else {
        return Ok(None);
    };
    match u32::try_from(value) {
        Ok(value) if value <= most => Ok(Some(value)),
        _ => fail(span, format!("expected {what} from 0 to {most}")),
    }
}

fn llc(input: &mut ParserInput<'_>) -> Parsed<Llc> {
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

/// Parses a primitive that can begin with a protocol: `tcp`, `tcp port 80`, `ip broadcast`,
/// `tcp[13] = 2`.
fn headed<'i>(
    input: &mut ParserInput<'i>,
    before: Option<(Protocol, Range<usize>)>,
) -> Parsed<ParsedUnit<'i>> {
    let alone = |primitive: Primitive| Ok(ParsedUnit::Term((primitive.into(), None)));
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
        "host" => TypeQualifier::Host,
        "net" => TypeQualifier::Net,
        "port" => TypeQualifier::Port,
        "portrange" => TypeQualifier::PortRange,
        "proto" if direction.is_none() => TypeQualifier::Proto,
        "protochain" if direction.is_none() => TypeQualifier::ProtoChain,
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
        _ if direction.is_some() => TypeQualifier::Default,
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
    if kind != TypeQualifier::Default {
        keyword(input, word)?;
    }
    if !kind.goes_with(protocol) {
        let word = if kind == TypeQualifier::Default {
            "src` or `dst"
        } else {
            word
        };
        return misfit(input, before, word);
    }
    with_names(
        input,
        Qualifiers::Headed {
            protocol,
            direction: direction.unwrap_or(DirQualifier::Either),
            kind,
        },
    )
}

fn misfit<T>(
    input: &ParserInput<'_>,
    before: Option<(Protocol, Range<usize>)>,
    word: &str,
) -> Parsed<T> {
    let at = input.current_token_start();
    let span = before.map_or(at..at, |(_, span)| span);
    fail(span, format!("this cannot be used with `{word}`"))
}

/// Takes `src`, `dst`, or both in either order.
fn direction(input: &mut ParserInput<'_>) -> Parsed<Option<DirQualifier>> {
    let (one, second) = if keyword(input, "src")? {
        (DirQualifier::Source, "dst")
    } else if keyword(input, "dst")? {
        (DirQualifier::Destination, "src")
    } else {
        return Ok(None);
    };
    let before = input.checkpoint();
    if let Some(connective) = connective(input)?
        && keyword(input, second)?
    {
        return Ok(Some(match connective {
            Connective::And => DirQualifier::Both,
            Connective::Or => DirQualifier::Either,
        }));
    }
    input.reset(&before);
    Ok(Some(one))
}

/// Parses the names after their qualifiers: one, `not` one, or several in parentheses.
fn with_names<'i>(input: &mut ParserInput<'i>, carried: Qualifiers) -> Parsed<ParsedUnit<'i>> {
    let expr = operands(input, carried)?;
    Ok(ParsedUnit::Term((expr, Some(carried))))
}

fn operands(input: &mut ParserInput<'_>, carried: Qualifiers) -> Parsed<Expr> {
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

impl TypeQualifier {
    /// Returns whether `protocol` has names of this type.
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
