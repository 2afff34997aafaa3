//! Explains drops to administrators: what each drop reason means, and what a drop in each function of
//! the kernel means. The functions matter because the most frequent reason of all is `NOT_SPECIFIED`.
//!
//! The data is in `reasons.txt` and `functions.txt`, which `catalogue` parses. This file finds an
//! entry, shows it, and decides what is usually harmless. A name without an entry is unknown; nothing
//! is guessed.
//!
//! Reasons are named as the kernel sends them. net/core/drop_monitor.c takes the names from
//! `drop_reasons_by_subsys`: those of the core have no prefix (`NO_SOCKET`), those of mac80211 and Open
//! vSwitch have one (`RX_DROP_U_DUP`, `OVS_DROP_METER`). The qdiscs' own reasons
//! (`QDISC_DROP_OVERLIMIT`) are not registered there and arrive as `QDISC_DROP`.
//!
//! # Example
//!
//! ```
//! use dwdump::reason;
//!
//! let entry = reason::explain(b"SKB_DROP_REASON_NO_SOCKET").unwrap();
//! assert_eq!(entry.name, "NO_SOCKET");
//! println!("{}\n{}", entry.meaning, entry.noise);
//! for command in &entry.checks {
//!     println!("  {command}");
//! }
//! ```

use std::cmp::Ordering;
use std::fmt;

use strsim::osa_distance;

use crate::record::{Cause, DropRecord, Escaped, MAX_NAME, Name, Symbol};

mod catalogue;

/// The reason that the kernel sends when the code gives none (`SKB_DROP_REASON_NOT_SPECIFIED`).
pub(crate) const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

/// The prefix of the enumerators in include/net/dropreason-core.h, which the kernel does not send.
const PREFIX: &[u8] = b"SKB_DROP_REASON_";

/// The catalogue's entry of a drop reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReasonEntry {
    /// The name as the kernel sends it: `NETFILTER_DROP`.
    pub name: &'static str,
    /// The first mainline kernel that has the reason, `5.18`; `6.13..6.19` where only the range is
    /// known. Distributions and stable series backport some reasons.
    pub since: &'static str,
    /// The last mainline kernel that has the reason; `None` where the newest one known has it.
    pub until: Option<&'static str>,
    /// The reason that later kernels send instead.
    pub renamed: Option<&'static str>,
    /// The meaning, in one or two sentences.
    pub meaning: &'static str,
    /// The usual causes, the likeliest first.
    pub causes: Vec<&'static str>,
    /// Commands that tell more, to be pasted.
    pub checks: Vec<&'static str>,
    /// The verdict on whether such drops are usually harmless.
    pub noise: Noise,
}

/// The catalogue's entry of a function of the kernel that drops packets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FunctionEntry {
    /// The name, without a compiler's suffix: `ip_rcv_finish_core`.
    pub function: &'static str,
    /// The meaning, in one or two sentences.
    pub meaning: &'static str,
    /// The usual causes, the likeliest first.
    pub causes: Vec<&'static str>,
    /// Commands that tell more, to be pasted.
    pub checks: Vec<&'static str>,
    /// The verdict on whether such drops are usually harmless, for drops whose reason says nothing.
    pub noise: Noise,
}

/// A verdict on whether a drop is usually harmless, with an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Noise {
    /// Nothing is wrong: healthy hosts drop such packets all day.
    Usually(&'static str),
    /// It depends on the traffic.
    Depends(&'static str),
    /// Something is wrong, or another host misbehaves.
    Rarely(&'static str),
}

impl Noise {
    /// Returns the explanation of the verdict.
    pub fn why(self) -> &'static str {
        match self {
            Self::Usually(why) | Self::Depends(why) | Self::Rarely(why) => why,
        }
    }

    /// Returns the verdict in words, as `--explain` shows it and the catalogue writes it.
    fn verdict(self) -> &'static str {
        match self {
            Self::Usually(_) => "usually harmless",
            Self::Depends(_) => "it depends",
            Self::Rarely(_) => "usually not harmless",
        }
    }

    /// Returns the verdict in one word, for a column.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Usually(_) => "noise",
            Self::Depends(_) => "depends",
            Self::Rarely(_) => "trouble",
        }
    }
}

/// Shows verdict and explanation: `usually harmless: the frame was not for this host`.
impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict(), self.why())
    }
}

/// Returns the entries of all reasons, sorted by name.
pub fn all() -> &'static [ReasonEntry] {
    &catalogue::REASONS
}

/// Returns what a drop means; `None` where the catalogue has no entry for it.
pub fn of_record(record: &DropRecord<'_>) -> Option<&'static str> {
    let Cause::Software { location, reason } = record.cause else {
        return None;
    };
    meaning(
        reason.map(Name::as_bytes),
        location.symbol.map(Symbol::function),
    )
}

/// Returns the entries of all functions, sorted by name.
pub fn functions() -> &'static [FunctionEntry] {
    &catalogue::FUNCTIONS
}

/// Returns the entry of a reason. Upper and lower case are the same, and the prefix
/// `SKB_DROP_REASON_` is optional.
pub fn explain(name: &[u8]) -> Option<&'static ReasonEntry> {
    let name = without_prefix(name);
    let found = all().binary_search_by(|entry| ignoring_case(entry.name, name));
    found.ok().map(|index| &all()[index])
}

/// Returns the entry of a function. A compiler's suffix (`.constprop.0`, `.isra.0`, `.cold`) and an
/// offset (`+0x14/0xdf0`) are ignored.
pub fn explain_function(function: &[u8]) -> Option<&'static FunctionEntry> {
    let function = without_suffix(function);
    let found = functions().binary_search_by(|place| place.function.as_bytes().cmp(function));
    found.ok().map(|index| &functions()[index])
}

/// Returns what a drop means: the meaning of its reason, or of its function where the reason says
/// nothing. `None` where the catalogue has neither.
pub fn meaning(reason: Option<&[u8]>, function: Option<&[u8]>) -> Option<&'static str> {
    let entry = reason.and_then(explain);
    let place = || function.and_then(explain_function);
    match entry {
        Some(entry) if entry.name != NOT_SPECIFIED => Some(entry.meaning),
        Some(entry) => Some(place().map_or(entry.meaning, |place| place.meaning)),
        None => place().map(|place| place.meaning),
    }
}

/// Returns whether a drop is usually harmless. The reason decides, or the function where the reason
/// says nothing. A drop without an entry is not noise.
pub fn is_noise(reason: Option<&[u8]>, function: Option<&[u8]>) -> bool {
    let noise = match reason.map(explain) {
        Some(Some(entry)) if entry.name != NOT_SPECIFIED => Some(entry.noise),
        Some(None) => None,
        Some(Some(_)) | None => function.and_then(explain_function).map(|place| place.noise),
    };
    matches!(noise, Some(Noise::Usually(_)))
}

/// The answer to `dwdump --explain NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Explanation {
    /// The name is a reason.
    Reason(&'static ReasonEntry),
    /// The name is a function of the kernel.
    Function(&'static FunctionEntry),
    /// The name is `noise`, which lists all that is usually harmless.
    Noise,
}

/// A name that the catalogue does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    name: Vec<u8>,
    nearest: Option<&'static str>,
}

impl UnknownName {
    /// Returns the most similar name of the catalogue, for a hint.
    pub fn nearest(&self) -> Option<&'static str> {
        self.nearest
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Escaped(&self.name);
        write!(f, "unknown drop reason or function '{name}'")
    }
}

impl std::error::Error for UnknownName {}

/// Looks a name up as a reason, then as a function; `noise` stands for all that is usually harmless.
pub fn look_up(name: &[u8]) -> Result<Explanation, UnknownName> {
    if name.eq_ignore_ascii_case(b"noise") {
        return Ok(Explanation::Noise);
    }
    let reason = explain(name).map(Explanation::Reason);
    let found = reason.or_else(|| explain_function(name).map(Explanation::Function));
    found.ok_or_else(|| UnknownName {
        name: name[..name.len().min(MAX_NAME)].to_vec(),
        nearest: nearest(name),
    })
}

/// Returns the name that a mistyped one probably stands for: one that differs in a few letters, or
/// that begins or ends with what was typed.
pub fn nearest(name: &[u8]) -> Option<&'static str> {
    /// No name of the catalogue is longer.
    const LONGEST: usize = 64;

    let name = without_suffix(without_prefix(name));
    if name.len() < 2 || name.len() > LONGEST {
        return None;
    }
    let reasons = all().iter().map(|entry| entry.name);
    let functions = functions().iter().map(|place| place.function);
    let names = || reasons.clone().chain(functions.clone());
    let typed = String::from_utf8_lossy(name).to_ascii_lowercase();
    let closest = names()
        .map(|candidate| {
            (
                osa_distance(&candidate.to_ascii_lowercase(), &typed),
                candidate,
            )
        })
        .min_by_key(|&(edits, _)| edits)
        .filter(|&(edits, _)| edits <= (name.len() / 4).max(1));
    let part = || {
        let is_part = |candidate: &&str| {
            let candidate = candidate.as_bytes();
            let (head, tail) = (candidate.get(..name.len()), candidate.len());
            let tail = tail
                .checked_sub(name.len())
                .and_then(|at| candidate.get(at..));
            [head, tail]
                .into_iter()
                .flatten()
                .any(|part| part.eq_ignore_ascii_case(name))
        };
        names().find(is_part).filter(|_| name.len() >= 4)
    };
    closest.map(|(_, candidate)| candidate).or_else(part)
}

fn without_prefix(name: &[u8]) -> &[u8] {
    match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => name,
    }
}

/// Removes what follows a function's name. No C function has a dot, plus or blank in its name; `%pS`
/// writes ` [module]` after a blank.
fn without_suffix(function: &[u8]) -> &[u8] {
    let end = function
        .iter()
        .position(|byte| matches!(byte, b'.' | b'+' | b' '));
    &function[..end.unwrap_or(function.len())]
}

/// Compares `known`, which is in upper case, with `asked` in any case.
fn ignoring_case(known: &str, asked: &[u8]) -> Ordering {
    let asked = asked.iter().map(u8::to_ascii_uppercase);
    known.bytes().cmp(asked)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reason(entry) => entry.fmt(f),
            Self::Function(place) => place.fmt(f),
            Self::Noise => NoiseList.fmt(f),
        }
    }
}

/// Shows the whole entry, wrapped for a terminal, with a line feed at its end.
impl fmt::Display for ReasonEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        write_body(f, self.meaning, &self.causes, &self.checks, self.noise)?;
        let since = match self.since.split_once("..") {
            None => format!("Linux {}", self.since),
            Some((first, last)) => format!("a Linux between {first} and {last}"),
        };
        write_wrapped(f, "  Since: ", &since)?;
        if let Some(until) = self.until {
            let until = match until.split_once("..") {
                None => format!("Linux {until}"),
                Some((first, last)) => format!("a Linux between {first} and {last}"),
            };
            write_wrapped(f, "  Until: ", &until)?;
        }
        self.renamed
            .map_or(Ok(()), |renamed| writeln!(f, "  Now:   {renamed}"))
    }
}

/// Shows the whole entry, wrapped for a terminal, with a line feed at its end.
impl fmt::Display for FunctionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (function)", self.function)?;
        write_body(f, self.meaning, &self.causes, &self.checks, self.noise)
    }
}

fn write_body(
    f: &mut fmt::Formatter<'_>,
    meaning: &str,
    causes: &[&str],
    checks: &[&str],
    noise: Noise,
) -> fmt::Result {
    write_wrapped(f, "  ", meaning)?;
    f.write_str("\n  Usual causes:\n")?;
    for cause in causes {
        write_wrapped(f, "  - ", cause)?;
    }
    f.write_str("\n  What to check:\n")?;
    for check in checks {
        writeln!(f, "    {check}")?;
    }
    f.write_str("\n")?;
    write_wrapped(f, "  Noise? ", &noise.to_string())
}

/// Returns `text` in lines of at most 80 columns, the first after `lead`, the others indented alike.
pub(crate) fn wrapped(lead: &str, text: &str) -> String {
    fmt::from_fn(|f| write_wrapped(f, lead, text)).to_string()
}

/// Writes `text` in lines of at most 80 columns, the first after `lead`, the others indented alike.
fn write_wrapped(f: &mut fmt::Formatter<'_>, lead: &str, text: &str) -> fmt::Result {
    const COLUMNS: usize = 80;

    f.write_str(lead)?;
    let mut column = lead.len();
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 && column + 1 + word.len() > COLUMNS {
            write!(f, "\n{:1$}", "", lead.len())?;
            column = lead.len();
        } else if index > 0 {
            f.write_str(" ")?;
            column += 1;
        }
        f.write_str(word)?;
        column += word.len();
    }
    f.write_str("\n")
}

/// The output of `dwdump --explain`: every reason and function in a line, for grep.
#[derive(Clone, Copy, Debug)]
pub struct List;

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# drop reasons: name, verdict, meaning\n")?;
        for entry in all() {
            write_line(f, entry.name, entry.noise.word(), entry.meaning)?;
        }
        f.write_str("# functions, for drops without a reason: name, verdict, meaning\n")?;
        for place in functions() {
            write_line(f, place.function, place.noise.word(), place.meaning)?;
        }
        Ok(())
    }
}

/// The output of `dwdump --explain noise`: what is usually harmless, and why.
#[derive(Clone, Copy, Debug)]
pub struct NoiseList;

impl fmt::Display for NoiseList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# usually harmless reasons: name, why\n")?;
        for entry in all() {
            if let Noise::Usually(why) = entry.noise {
                writeln!(f, "{:<35} {why}", entry.name)?;
            }
        }
        f.write_str("# usually harmless functions, for drops without a reason: name, why\n")?;
        for place in functions() {
            if let Noise::Usually(why) = place.noise {
                writeln!(f, "{:<35} {why}", place.function)?;
            }
        }
        Ok(())
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, name: &str, verdict: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:<35} {verdict:<7} {text}")
}

#[cfg(test)]
pub(crate) mod manual;
#[cfg(test)]
mod tests;
