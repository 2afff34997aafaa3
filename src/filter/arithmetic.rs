//! Parses arithmetic: `ip[0] & 0xf`, `len - 14`, `tcp[tcpflags]`.
//!
//! The precedences are those of libpcap's grammar, in which `%` and `^` have none: everything that
//! follows them is their right operand.

use std::ops::Range;

use winnow::Parser;
use winnow::combinator::{opt, peek};
use winnow::stream::{Location, Stream};
use winnow::token::take_while;

use super::ast::{Arith, Operator, Width};
use super::lex::{
    Parsed, ParserInput, expected, fail, keyword, name, nested, number, peek_character, peek_sign,
    peek_word, position, sign,
};
use super::words::{self, Protocol};

/// The part of an arithmetic expression that has been parsed so far.
pub struct PartialArith<'i> {
    pub arith: Arith,
    /// The text, if the part is a single number.
    pub number: Option<&'i str>,
    pub span: Range<usize>,
}

/// Parses a whole arithmetic expression.
pub fn arithmetic(input: &mut ParserInput<'_>) -> Parsed<Arith> {
    let started = operand(input)?;
    Ok(rest(input, started)?.arith)
}

/// Parses the rest of the expression after its first operand.
pub fn rest<'i>(
    input: &mut ParserInput<'i>,
    started: PartialArith<'i>,
) -> Parsed<PartialArith<'i>> {
    if peek_operator(input)?.is_none() {
        return Ok(started);
    }
    Ok(PartialArith {
        arith: climb(input, started.arith, 0)?,
        number: None,
        span: started.span.start..input.current_token_start(),
    })
}

/// Takes operators that bind tighter than `floor`.
fn climb(input: &mut ParserInput<'_>, first: Arith, floor: u8) -> Parsed<Arith> {
    let mut left = first;
    while let Some((operator, text)) = peek_operator(input)? {
        let precedence = operator.precedence();
        if precedence <= floor {
            break;
        }
        let start = position(input)?;
        sign(input, text)?;
        let at = start..start + text.len();
        let started = if operator.is_greedy() {
            nested(input, at, |input| {
                let first = operand(input)?;
                rest(input, first)
            })?
        } else {
            operand(input)?
        };
        let span = started.span;
        let right = if operator.is_greedy() {
            started.arith
        } else {
            climb(input, started.arith, precedence)?
        };
        check_constant(operator, &right, span)?;
        left = joined(left, operator, right);
    }
    Ok(left)
}

/// Builds `left operator right`, as one list if the operators of both have the same precedence.
fn joined(left: Arith, operator: Operator, right: Arith) -> Arith {
    match left {
        Arith::Operation { first, mut rest }
            if !operator.is_greedy()
                && rest
                    .last()
                    .is_some_and(|(last, _)| last.precedence() == operator.precedence()) =>
        {
            rest.push((operator, right));
            Arith::Operation { first, rest }
        }
        left => Arith::Operation {
            first: Box::new(left),
            rest: vec![(operator, right)],
        },
    }
}

/// Refuses the constant operands that libpcap refuses.
fn check_constant(operator: Operator, right: &Arith, span: Range<usize>) -> Parsed<()> {
    match (operator, right) {
        (Operator::Divide | Operator::Remainder, Arith::Number(0)) => {
            fail(span, "division by zero")
        }
        (Operator::ShiftLeft | Operator::ShiftRight, Arith::Number(32..)) => {
            fail(span, "expected a shift by at most 31 bits")
        }
        _ => Ok(()),
    }
}

fn peek_operator(input: &mut ParserInput<'_>) -> Parsed<Option<(Operator, &'static str)>> {
    const SIGNS: [(&str, Operator); 10] = [
        ("<<", Operator::ShiftLeft),
        (">>", Operator::ShiftRight),
        ("|", Operator::Or),
        ("&", Operator::And),
        ("^", Operator::Xor),
        ("+", Operator::Add),
        ("-", Operator::Subtract),
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("%", Operator::Remainder),
    ];
    if peek_sign(input, "&&")? || peek_sign(input, "||")? {
        return Ok(None);
    }
    for (text, operator) in SIGNS {
        if peek_sign(input, text)? {
            return Ok(Some((operator, text)));
        }
    }
    Ok(None)
}

/// Parses an operand: a number, a named constant, `len`, a load, or one of them after `-` or in
/// parentheses.
pub fn operand<'i>(input: &mut ParserInput<'i>) -> Parsed<PartialArith<'i>> {
    let start = position(input)?;
    let mut negated = false;
    while sign(input, "-")? {
        negated = !negated;
    }
    let signed = position(input)? != start;
    let started = unsigned(input)?;
    let arith = match started.arith {
        arith if !negated => arith,
        Arith::Number(number) => Arith::Number(number.wrapping_neg()),
        Arith::Negated(arith) => *arith,
        arith => Arith::Negated(Box::new(arith)),
    };
    Ok(PartialArith {
        arith,
        number: started.number.filter(|_| !signed),
        span: start..input.current_token_start(),
    })
}

fn unsigned<'i>(input: &mut ParserInput<'i>) -> Parsed<PartialArith<'i>> {
    const WANTED: &str = "a number, `len` or bytes such as `ip[0]`";
    let start = position(input)?;
    match peek_character(input)? {
        Some('(') => {
            let opening = start..start + 1;
            sign(input, "(")?;
            let arith = nested(input, opening.clone(), |input| {
                let arith = arithmetic(input)?;
                if sign(input, ")")? {
                    Ok(arith)
                } else if peek_character(input)?.is_none() {
                    fail(opening, "this parenthesis is never closed")
                } else {
                    expected(input, "an operator or `)`")
                }
            })?;
            Ok(PartialArith {
                arith,
                number: None,
                span: start..input.current_token_start(),
            })
        }
        Some('0'..='9') => {
            let text = take_while(1.., |c: char| c.is_ascii_alphanumeric()).parse_next(input)?;
            constant_number(text, start..input.current_token_start())
        }
        Some(letter) if letter.is_ascii_alphabetic() => {
            let word = peek_word(input)?;
            let word = operand_before_minus(word).unwrap_or(word);
            let span = start..start + word.len();
            if word == "len" {
                input.next_slice(word.len());
                return Ok(PartialArith {
                    arith: Arith::Length,
                    number: None,
                    span,
                });
            }
            if let Some(value) = words::constant(word) {
                input.next_slice(word.len());
                return Ok(PartialArith {
                    arith: Arith::Number(value),
                    number: None,
                    span,
                });
            }
            if let Some(protocol) = Protocol::from_word(word) {
                let before = input.checkpoint();
                keyword(input, word)?;
                if peek_sign(input, "[")? {
                    return load(input, protocol, span);
                }
                input.reset(&before);
            }
            expected(input, WANTED)
        }
        _ => expected(input, WANTED),
    }
}

/// Returns the operand before a minus in a word such as `len-14`, where the minus could be part of
/// the word.
pub fn operand_before_minus(word: &str) -> Option<&str> {
    word.rmatch_indices('-')
        .map(|(at, _)| &word[..at])
        .find(|&operand| operand == "len" || words::constant(operand).is_some())
        .filter(|_| words::constant(word).is_none())
}

fn constant_number(text: &str, span: Range<usize>) -> Parsed<PartialArith<'_>> {
    match number(text).map(u32::try_from) {
        Some(Ok(value)) => Ok(PartialArith {
            arith: Arith::Number(value),
            number: Some(text),
            span,
        }),
        Some(Err(_)) => fail(span, "expected a number below 4294967296"),
        None => fail(span, "expected a number: decimal, 0x… or octal 0…"),
    }
}

/// Takes a number if the whole word is one: `80`, but not `80-90` or `10.0.0.1`. Leaves a number of
/// more than 32 bits to a caller that knows what it should be.
pub fn opt_bare_number<'i>(input: &mut ParserInput<'i>) -> Parsed<Option<PartialArith<'i>>> {
    position(input)?;
    let before = input.checkpoint();
    let Some(name) = name(input, "")? else {
        return Ok(None);
    };
    let Some(Ok(value)) = number(name.text).map(u32::try_from) else {
        input.reset(&before);
        return Ok(None);
    };
    Ok(Some(PartialArith {
        arith: Arith::Number(value),
        number: Some(name.text),
        span: name.span,
    }))
}

/// Parses `[offset]` or `[offset:width]` after the protocol at `span`.
pub fn load<'i>(
    input: &mut ParserInput<'i>,
    protocol: Protocol,
    span: Range<usize>,
) -> Parsed<PartialArith<'i>> {
    let start = position(input)?;
    if !sign(input, "[")? {
        return expected(input, "`[`");
    }
    let Some(header) = protocol.header() else {
        return fail(span, "the bytes of this protocol cannot be addressed");
    };
    let (offset, width) = nested(input, start..start + 1, |input| {
        let offset = arithmetic(input)?;
        let width = if sign(input, ":")? {
            width(input)?
        } else {
            Width::One
        };
        Ok((offset, width))
    })?;
    if !sign(input, "]")? {
        if peek_character(input)?.is_none() {
            return fail(start..start + 1, "this bracket is never closed");
        }
        return expected(input, "an operator, `:` or `]`");
    }
    Ok(PartialArith {
        arith: Arith::Load {
            header,
            offset: Box::new(offset),
            width,
        },
        number: None,
        span: span.start..input.current_token_start(),
    })
}

fn width(input: &mut ParserInput<'_>) -> Parsed<Width> {
    position(input)?;
    let digits =
        opt(peek(take_while(1.., |c: char| c.is_ascii_alphanumeric()))).parse_next(input)?;
    let width = match digits.and_then(number) {
        Some(1) => Width::One,
        Some(2) => Width::Two,
        Some(4) => Width::Four,
        _ => return expected(input, "a width of 1, 2 or 4 bytes"),
    };
    take_while(1.., |c: char| c.is_ascii_alphanumeric())
        .void()
        .parse_next(input)?;
    Ok(width)
}
