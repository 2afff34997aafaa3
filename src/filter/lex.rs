//! The lexer: reads words, numbers and names from the parser's input, and reports what was expected
//! instead.

use std::fmt;
use std::ops::Range;

use winnow::Parser;
use winnow::combinator::{alt, opt, peek, preceded};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{LocatingSlice, Location, Stateful, Stream};
use winnow::token::{any, take_while};

use super::names::NameLookup;

/// The rest of the expression, with the parser's state.
pub type ParserInput<'i> = Stateful<LocatingSlice<&'i str>, ParserState<'i>>;

/// The deepest nesting of parentheses, brackets and `inner`.
pub const MAX_NESTING: usize = 100;

pub struct ParserState<'i> {
    pub names: &'i dyn NameLookup,
    nesting: usize,
    /// The span of each primitive in the text, in order.
    pub primitives: Vec<Range<usize>>,
}

impl<'i> ParserState<'i> {
    pub fn new(names: &'i dyn NameLookup) -> Self {
        Self {
            names,
            nesting: 0,
            primitives: Vec::new(),
        }
    }
}

impl fmt::Debug for ParserState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("nesting", &self.nesting)
            .finish_non_exhaustive()
    }
}

/// The reason why parsing stopped.
#[derive(Debug)]
pub struct ParseFailure {
    pub message: String,
    pub span: Range<usize>,
}

impl ParserError<ParserInput<'_>> for ParseFailure {
    type Inner = Self;

    /// The message is empty because another alternative may fit; if none does, the caller says what
    /// was expected.
    fn from_input(input: &ParserInput<'_>) -> Self {
        let at = input.current_token_start();
        Self {
            message: String::new(),
            span: at..at,
        }
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

pub type Parsed<T> = Result<T, ErrMode<ParseFailure>>;

/// Fails at `span` for good: no alternative is tried.
pub fn fail<T>(span: Range<usize>, message: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(ParseFailure {
        message: message.into(),
        span,
    }))
}

/// Fails with `expected {what}`, and marks the next word or sign.
pub fn expected<T>(input: &mut ParserInput<'_>, what: &str) -> Parsed<T> {
    blank(input)?;
    let start = input.current_token_start();
    let len = peek(alt((
        take_while(1.., is_name_character),
        any.take(),
        "".take(),
    )))
    .parse_next(input)?
    .len();
    fail(start..start + len, format!("expected {what}"))
}

/// Runs `parser` one nesting level deeper; `at` is marked if that is too deep.
pub fn nested<'i, T>(
    input: &mut ParserInput<'i>,
    at: Range<usize>,
    parser: impl FnOnce(&mut ParserInput<'i>) -> Parsed<T>,
) -> Parsed<T> {
    if input.state.nesting >= MAX_NESTING {
        return fail(at, too_deep());
    }
    input.state.nesting += 1;
    let parsed = parser(input);
    input.state.nesting -= 1;
    parsed
}

pub fn too_deep() -> String {
    format!("nested too deeply: at most {MAX_NESTING} levels")
}

/// Returns whether the character can be part of a host, service or protocol name, an address or a
/// range.
fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.:-".contains(character)
}

/// Skips white space.
pub fn blank(input: &mut ParserInput<'_>) -> Parsed<()> {
    take_while(0.., |character: char| character.is_ascii_whitespace())
        .void()
        .parse_next(input)
}

/// Skips white space and returns the offset of the next word.
pub fn position(input: &mut ParserInput<'_>) -> Parsed<usize> {
    blank(input)?;
    Ok(input.current_token_start())
}

/// Returns the next word of the language without taking it; empty if there is none.
pub fn peek_word<'i>(input: &mut ParserInput<'i>) -> Parsed<&'i str> {
    blank(input)?;
    peek(take_while(0.., is_word_character)).parse_next(input)
}

/// Returns whether the character can be part of a word of the language.
pub fn is_word_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.-".contains(character)
}

/// Takes the next word if it is `wanted`.
pub fn keyword(input: &mut ParserInput<'_>, wanted: &str) -> Parsed<bool> {
    if peek_word(input)? == wanted {
        input.next_slice(wanted.len());
        return Ok(true);
    }
    Ok(false)
}

/// Takes `wanted` if it is next.
pub fn sign(input: &mut ParserInput<'_>, wanted: &'static str) -> Parsed<bool> {
    blank(input)?;
    Ok(opt(wanted).parse_next(input)?.is_some())
}

/// Returns whether `wanted` is next, without taking it.
pub fn peek_sign(input: &mut ParserInput<'_>, wanted: &'static str) -> Parsed<bool> {
    blank(input)?;
    Ok(opt(peek(wanted)).parse_next(input)?.is_some())
}

/// Returns the next character without taking it.
pub fn peek_character(input: &mut ParserInput<'_>) -> Parsed<Option<char>> {
    blank(input)?;
    opt(peek(any)).parse_next(input)
}

/// A name, an address or a number, and its span. The backslash that pcap-filter(7) requires before
/// a name that is also a keyword is left out of the text.
pub struct NameToken<'i> {
    pub text: &'i str,
    pub span: Range<usize>,
}

/// Takes a name, in which the characters of `more` are allowed too; returns `None` if none is next.
pub fn name<'i>(input: &mut ParserInput<'i>, more: &'static str) -> Parsed<Option<NameToken<'i>>> {
    let start = position(input)?;
    let letters = move |character: char| is_name_character(character) || more.contains(character);
    let taken = opt((opt('\\'), take_while(1.., letters))).parse_next(input)?;
    Ok(taken.map(|(_, text)| NameToken {
        text,
        span: start..input.current_token_start(),
    }))
}

/// Takes the bytes of a name that belongs to the drop: a word, or anything in double or single
/// quotes. `\xNN` stands for a byte.
pub fn text(input: &mut ParserInput<'_>) -> Parsed<Option<(Vec<u8>, Quoted)>> {
    blank(input)?;
    let start = input.current_token_start();
    if let Some(quote) = opt(alt(('"', '\''))).parse_next(input)? {
        let Some(inside) = opt(winnow::combinator::terminated(
            take_while(0.., move |c| c != quote),
            quote,
        ))
        .parse_next(input)?
        else {
            return fail(start..start + 1, "this quotation mark is never closed");
        };
        return Ok(Some((
            crate::record::unescape(inside).into_owned(),
            Quoted::Yes,
        )));
    }
    let letters = |c: char| !c.is_whitespace() && !"()\"&|".contains(c);
    let Some(word) = opt(take_while(1.., letters)).parse_next(input)? else {
        return Ok(None);
    };
    let (word, quoted) = match word.strip_prefix('\\') {
        Some(rest) if !rest.is_empty() && !rest.starts_with('x') => (rest, Quoted::Yes),
        _ => (word, Quoted::No),
    };
    Ok(Some((crate::record::unescape(word).into_owned(), quoted)))
}

/// States whether a name was marked as one, by quotes or a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoted {
    Yes,
    No,
}

/// Parses a number as C writes it: decimal, `0x` hexadecimal, `0` octal. Returns `None` if `text`
/// is not a number.
pub fn number(text: &str) -> Option<u64> {
    let all = |radix| text.chars().all(|digit| digit.is_digit(radix));
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        return valid.then(|| u64::from_str_radix(digits, 16).unwrap_or(u64::MAX));
    }
    if text.is_empty() || !all(10) {
        return None;
    }
    let radix = if text.len() > 1 && text.starts_with('0') {
        8
    } else {
        10
    };
    // A number that does not fit is outside every range that callers check.
    all(radix).then(|| u64::from_str_radix(text, radix).unwrap_or(u64::MAX))
}

/// Takes a number if one is next: `vlan`, `vlan 5`.
pub fn opt_number(input: &mut ParserInput<'_>) -> Parsed<Option<(u64, Range<usize>)>> {
    let start = position(input)?;
    let digits = preceded(
        peek(take_while(1, '0'..='9')),
        take_while(1.., |c: char| c.is_ascii_alphanumeric()),
    );
    let Some(text) = opt(digits).parse_next(input)? else {
        return Ok(None);
    };
    let span = start..input.current_token_start();
    match number(text) {
        Some(value) => Ok(Some((value, span))),
        None => fail(span, "expected a number: decimal, 0x… or octal 0…"),
    }
}
