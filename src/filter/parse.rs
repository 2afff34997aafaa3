//! The grammar: that of pcap-filter(7), with words for the facts of a drop.
//!
//! A parenthesis can open an expression, a list of names (`port (80 or 443)`) or arithmetic, and a
//! number can be a name with carried-over qualifiers (`port 80 or 443`) or arithmetic (`port 80 or
//! 443 = len`). The parser therefore reads a [`ParsedUnit`] at a time, and decides from what
//! follows which of them it was. Nothing is read twice.

use std::iter::repeat_n;
use std::ops::Range;

use winnow::stream::{Location, Stream};

use super::advice::{self, expected_connective};
use super::arithmetic::{self, PartialArith};
use super::ast::{Arith, Comparison, Connective, Expr, Primitive, Relation};
use super::contradiction::count_primitives;
use super::error::FilterError;
use super::lex::{
    MAX_NESTING, ParseFailure, Parsed, ParserInput, ParserState, expected, fail, keyword, name,
    nested, peek_character, peek_sign, peek_word, position, sign, too_deep,
};
use super::names::NameLookup;
use super::operand::{self, Qualifiers};
use super::primitive;
use super::source_text::SourceText;
use super::words;

/// Parses a whole expression and records the span of each primitive. Returns no expression if there
/// is nothing but white space.
pub fn parse(
    text: &str,
    names: &dyn NameLookup,
) -> Result<(Option<Expr>, SourceText), FilterError> {
    let mut input = ParserInput {
        input: winnow::stream::LocatingSlice::new(text),
        state: ParserState::new(names),
    };
    let expr = whole(&mut input).map_err(|error| {
        let ParseFailure { message, span } = error.into_inner().unwrap_or_else(|_| ParseFailure {
            message: "expected an expression".to_owned(),
            span: 0..text.len(),
        });
        FilterError::new(message, span, text)
    })?;
    Ok((expr, SourceText::new(text, input.state.primitives)))
}

fn whole(input: &mut ParserInput<'_>) -> Parsed<Option<Expr>> {
    let start = position(input)?;
    if peek_character(input)?.is_none() {
        return Ok(None);
    }
    let (first, carried) = term(input, None)?;
    let expr = chain(input, first, carried)?;
    if peek_character(input)?.is_some() {
        return expected_connective(input, "`and` or `or`");
    }
    // The canonical form can nest more deeply than the text: it shows implied parentheses.
    if expr.nesting() > MAX_NESTING {
        return fail(start..input.current_token_start(), too_deep());
    }
    Ok(Some(expr))
}

/// An operand of `and` and `or`, and the qualifiers that it passes on to the next name.
pub type Term = (Expr, Option<Qualifiers>);

/// Parses the rest of an expression. `and` and `or` have equal precedence and group from left to
/// right.
fn chain(
    input: &mut ParserInput<'_>,
    first: Expr,
    mut carried: Option<Qualifiers>,
) -> Parsed<Expr> {
    let mut rest = Vec::new();
    while let Some(connective) = connective(input)? {
        let (expr, next) = term(input, carried)?;
        rest.push((connective, expr));
        carried = next;
    }
    Ok(first.chained(rest))
}

pub fn connective(input: &mut ParserInput<'_>) -> Parsed<Option<Connective>> {
    if keyword(input, "and")? || sign(input, "&&")? {
        return Ok(Some(Connective::And));
    }
    if keyword(input, "or")? || sign(input, "||")? {
        return Ok(Some(Connective::Or));
    }
    Ok(None)
}

/// Takes all `not`s that come next and returns whether their number is odd.
pub fn negation(input: &mut ParserInput<'_>) -> Parsed<bool> {
    let mut negated = false;
    while keyword(input, "not")? || (!peek_sign(input, "!=")? && sign(input, "!")?) {
        negated = !negated;
    }
    Ok(negated)
}

pub fn term(input: &mut ParserInput<'_>, carried: Option<Qualifiers>) -> Parsed<Term> {
    let negated = negation(input)?;
    let start = position(input)?;
    let known = input.state.primitives.len();
    let unit = unit(input, carried)?;
    let (expr, carried) = finished(input, unit, carried)?;
    remember(input, start, known, &expr);
    Ok((if negated { expr.negated() } else { expr }, carried))
}

/// Records the span of the primitives in `expr`, unless that was done while they were parsed.
fn remember(input: &mut ParserInput<'_>, start: usize, known: usize, expr: &Expr) {
    if input.state.primitives.len() == known {
        let span = start..input.previous_token_end();
        let count = count_primitives(expr);
        input.state.primitives.extend(repeat_n(span, count));
    }
}

/// A term, or arithmetic that has not been compared with anything yet.
pub enum ParsedUnit<'i> {
    Term(Term),
    Arith {
        arith: Arith,
        /// The text, if the arithmetic is a single number, which may turn out to be a name.
        number: Option<&'i str>,
        span: Range<usize>,
    },
}

/// Turns a unit into a term, once it is clear that no more arithmetic follows.
fn finished(
    input: &mut ParserInput<'_>,
    unit: ParsedUnit<'_>,
    carried: Option<Qualifiers>,
) -> Parsed<Term> {
    match (unit, carried) {
        (ParsedUnit::Term(term), _) => Ok(term),
        (
            ParsedUnit::Arith {
                number: Some(text),
                span,
                ..
            },
            Some(qualifiers),
        ) => {
            let expr = operand::number(input, qualifiers, text, span)?;
            Ok((expr, carried))
        }
        (
            ParsedUnit::Arith {
                number: Some(_),
                span,
                ..
            },
            None,
        ) => fail(span, "expected a word such as `host` or `port` before this"),
        (ParsedUnit::Arith { .. }, _) => expected(input, "a comparison: =, !=, <, <=, > or >="),
    }
}

fn unit<'i>(input: &mut ParserInput<'i>, carried: Option<Qualifiers>) -> Parsed<ParsedUnit<'i>> {
    let start = position(input)?;
    match peek_character(input)? {
        Some('(') => match group(input, carried)? {
            ParsedUnit::Arith {
                arith,
                number,
                span,
            } => compared(
                input,
                PartialArith {
                    arith,
                    number,
                    span,
                },
            ),
            term @ ParsedUnit::Term(_) => Ok(term),
        },
        Some('-') => {
            let started = arithmetic::operand(input)?;
            compared(input, started)
        }
        Some('0'..='9') => {
            let before = input.checkpoint();
            match arithmetic::opt_bare_number(input)? {
                Some(started) if !names_a_net(input, carried)? => compared(input, started),
                _ => {
                    input.reset(&before);
                    carried_name(input, carried)
                }
            }
        }
        Some('\\' | ':' | '"') => carried_name(input, carried),
        Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => {
            let word = peek_word(input)?;
            let span = start..start + word.len();
            if let Some(message) = words::unsupported(word) {
                return fail(span, message);
            }
            if words::is_keyword(word) {
                primitive::parse(input, word, span)
            } else if arithmetic::operand_before_minus(word).is_some() {
                let started = arithmetic::operand(input)?;
                compared(input, started)
            } else {
                carried_name(input, carried)
            }
        }
        Some(_) if carried.is_some_and(Qualifiers::takes_globs) => carried_name(input, carried),
        _ => expected(input, "an expression, for instance `host 10.0.0.1`"),
    }
}

/// Returns whether the number just taken begins a network such as `10/8`, where networks are
/// expected.
fn names_a_net(input: &mut ParserInput<'_>, carried: Option<Qualifiers>) -> Parsed<bool> {
    Ok(carried.is_some_and(Qualifiers::takes_nets) && peek_sign(input, "/")?)
}

fn carried_name<'i>(
    input: &mut ParserInput<'i>,
    carried: Option<Qualifiers>,
) -> Parsed<ParsedUnit<'i>> {
    let Some(qualifiers) = carried else {
        let start = position(input)?;
        return match name(input, "/")? {
            Some(name)
                if name
                    .text
                    .starts_with(|c: char| c.is_ascii_digit() || c == ':') =>
            {
                fail(
                    name.span,
                    "expected a word such as `host` or `port` before this",
                )
            }
            Some(name) => {
                let advice = advice::for_unknown(input, name.text);
                fail(name.span, format!("unknown word `{}`: {advice}", name.text))
            }
            None => fail(
                start..start + 1,
                "expected an expression, for instance `host 10.0.0.1`",
            ),
        };
    };
    let expr = operand::single(input, qualifiers)?;
    Ok(ParsedUnit::Term((expr, carried)))
}

/// Parses a group in parentheses.
fn group<'i>(input: &mut ParserInput<'i>, carried: Option<Qualifiers>) -> Parsed<ParsedUnit<'i>> {
    let start = position(input)?;
    let opening = start..start + 1;
    sign(input, "(")?;
    nested(input, opening.clone(), |input| {
        let negated = negation(input)?;
        let first_at = position(input)?;
        let known = input.state.primitives.len();
        let inside = unit(input, carried)?;
        if let ParsedUnit::Arith { arith, number, .. } = inside {
            if !negated && sign(input, ")")? {
                return Ok(ParsedUnit::Arith {
                    arith,
                    number,
                    span: start..input.current_token_start(),
                });
            }
            let unit = ParsedUnit::Arith {
                arith,
                number,
                span: opening.end..input.current_token_start(),
            };
            let first = finished(input, unit, carried)?;
            remember(input, first_at, known, &first.0);
            return grouped(input, first, negated, carried, opening);
        }
        let first = finished(input, inside, carried)?;
        remember(input, first_at, known, &first.0);
        grouped(input, first, negated, carried, opening)
    })
}

/// Parses the rest of a group. Qualifiers inside it do not carry over to what follows.
fn grouped<'i>(
    input: &mut ParserInput<'i>,
    (first, inner): Term,
    negated: bool,
    carried: Option<Qualifiers>,
    opening: Range<usize>,
) -> Parsed<ParsedUnit<'i>> {
    let first = if negated { first.negated() } else { first };
    let expr = chain(input, first, inner)?;
    close(input, opening)?;
    Ok(ParsedUnit::Term((expr, carried)))
}

/// Takes the closing parenthesis.
pub fn close(input: &mut ParserInput<'_>, opening: Range<usize>) -> Parsed<()> {
    if sign(input, ")")? {
        Ok(())
    } else if peek_character(input)?.is_none() {
        fail(opening, "this parenthesis is never closed")
    } else {
        expected_connective(input, "`and`, `or` or `)`")
    }
}

/// Parses the rest of arithmetic that has begun, the comparison sign and the other side.
pub fn compared<'i>(
    input: &mut ParserInput<'i>,
    started: PartialArith<'i>,
) -> Parsed<ParsedUnit<'i>> {
    let PartialArith {
        arith,
        number,
        span,
    } = arithmetic::rest(input, started)?;
    let Some(comparison) = comparison(input)? else {
        return Ok(ParsedUnit::Arith {
            arith,
            number,
            span,
        });
    };
    let right = arithmetic::arithmetic(input)?;
    let relation = Relation {
        left: arith,
        comparison,
        right,
    };
    Ok(ParsedUnit::Term((
        Primitive::Relation(relation).into(),
        None,
    )))
}

fn comparison(input: &mut ParserInput<'_>) -> Parsed<Option<Comparison>> {
    const SIGNS: [(&str, Comparison); 7] = [
        ("==", Comparison::Equal),
        ("=", Comparison::Equal),
        ("!=", Comparison::NotEqual),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    for (text, comparison) in SIGNS {
        if sign(input, text)? {
            return Ok(Some(comparison));
        }
    }
    Ok(None)
}
