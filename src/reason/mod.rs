//! Why a packet was dropped, in words for the administrator: what each drop reason means, and what
//! dropping in a function means, since `NOT_SPECIFIED` is the most frequent reason of all.
//!
//! The data is in `reasons.txt` and `functions.txt`, which `catalogue` parses. This file finds an
//! entry, shows it, and decides what is usually harmless. What the catalogue does not have is
//! unknown, never guessed.
//!
//! Names are those that arrive: net/core/drop_monitor.c takes them from `drop_reasons_by_subsys`,
//! so the core's are bare (`NO_SOCKET`), mac80211's and Open vSwitch's carry their prefix
//! (`RX_DROP_U_DUP`, `OVS_DROP_METER`). The qdiscs' own (`QDISC_DROP_OVERLIMIT`) are not registered
//! there and arrive as `QDISC_DROP`.
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

/// What the kernel says when it gives no reason (`SKB_DROP_REASON_NOT_SPECIFIED`).
pub(crate) const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

/// The enumerators' prefix in include/net/dropreason-core.h; the kernel's messages leave it out.
const PREFIX: &[u8] = b"SKB_DROP_REASON_";

/// What is known of one drop reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// As it arrives: `NETFILTER_DROP`.
    pub name: &'static str,
    /// The first mainline kernel that has it, `5.18`; `6.13..6.19` where only the range is known.
    /// Distributions and stable series bring some to older kernels.
    pub since: &'static str,
    /// The last mainline kernel that has it; `None` where the newest one known has it.
    pub until: Option<&'static str>,
    /// What later kernels say instead.
    pub renamed: Option<&'static str>,
    /// What it means, in one sentence or two.
    pub meaning: &'static str,
    /// Why it usually happens, the likeliest first.
    pub causes: Vec<&'static str>,
    /// Commands that tell more, to be pasted.
    pub checks: Vec<&'static str>,
    /// Whether it is usually harmless.
    pub noise: Noise,
}

/// What it means when a function of the kernel drops a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// Without a compiler's suffix: `ip_rcv_finish_core`.
    pub function: &'static str,
    /// What it means, in one sentence or two.
    pub meaning: &'static str,
    /// Why it usually happens, the likeliest first.
    pub causes: Vec<&'static str>,
    /// Commands that tell more, to be pasted.
    pub checks: Vec<&'static str>,
    /// Whether it is usually harmless, where the reason says nothing.
    pub noise: Noise,
}

/// Whether a drop is usually harmless, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Nothing is wrong: this happens on healthy hosts all day.
    Usually(&'static str),
    /// It is a matter of what the traffic was.
    Depends(&'static str),
    /// Something is wrong, or somebody misbehaves.
    Rarely(&'static str),
}

impl Noise {
    /// Why, in the catalogue's words.
    pub fn why(self) -> &'static str {
        match self {
            Self::Usually(why) | Self::Depends(why) | Self::Rarely(why) => why,
        }
    }

    /// The verdict in words, as `--explain` shows it and the catalogue writes it.
    fn verdict(self) -> &'static str {
        match self {
            Self::Usually(_) => "usually harmless",
            Self::Depends(_) => "it depends",
            Self::Rarely(_) => "usually not harmless",
        }
    }

    /// One word for a column.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Usually(_) => "noise",
            Self::Depends(_) => "depends",
            Self::Rarely(_) => "trouble",
        }
    }
}

/// `usually harmless: the frame was not for this host`.
impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.verdict(), self.why())
    }
}

/// Every reason there is an entry for, sorted by name.
pub fn all() -> &'static [Entry] {
    &catalogue::REASONS
}

/// What a drop means, where the catalogue knows.
pub fn of_record(record: &DropRecord<'_>) -> Option<&'static str> {
    let Cause::Software { location, reason } = record.cause else {
        return None;
    };
    meaning(
        reason.map(Name::as_bytes),
        location.symbol.map(Symbol::function),
    )
}

/// Every function there is an entry for, sorted by name.
pub fn places() -> &'static [Place] {
    &catalogue::PLACES
}

/// The entry of a reason, in any case, with or without `SKB_DROP_REASON_`.
pub fn explain(name: &[u8]) -> Option<&'static Entry> {
    let name = without_prefix(name);
    let found = all().binary_search_by(|entry| ignoring_case(entry.name, name));
    found.ok().map(|index| &all()[index])
}

/// The entry of a function. What a compiler appends (`.constprop.0`, `.isra.0`, `.cold`) and an
/// offset (`+0x14/0xdf0`) are left out of account.
pub fn explain_function(function: &[u8]) -> Option<&'static Place> {
    let function = without_suffix(function);
    let found = places().binary_search_by(|place| place.function.as_bytes().cmp(function));
    found.ok().map(|index| &places()[index])
}

/// What a drop means: the reason's words, or the function's where the reason says nothing. `None`
/// where the catalogue knows neither.
pub fn meaning(reason: Option<&[u8]>, function: Option<&[u8]>) -> Option<&'static str> {
    let entry = reason.and_then(explain);
    let place = || function.and_then(explain_function);
    match entry {
        Some(entry) if entry.name != NOT_SPECIFIED => Some(entry.meaning),
        Some(entry) => Some(place().map_or(entry.meaning, |place| place.meaning)),
        None => place().map(|place| place.meaning),
    }
}

/// Whether a drop is usually harmless. The reason decides; where it says nothing, the function
/// does. What the catalogue does not know is never noise.
pub fn is_noise(reason: Option<&[u8]>, function: Option<&[u8]>) -> bool {
    let noise = match reason.map(explain) {
        Some(Some(entry)) if entry.name != NOT_SPECIFIED => Some(entry.noise),
        Some(None) => None,
        Some(Some(_)) | None => function.and_then(explain_function).map(|place| place.noise),
    };
    matches!(noise, Some(Noise::Usually(_)))
}

/// What `dwdump --explain NAME` has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// The name is a reason.
    Reason(&'static Entry),
    /// The name is a function of the kernel.
    Function(&'static Place),
    /// The name is `noise`: all that is usually harmless.
    Noise,
}

/// A name that the catalogue does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    name: Vec<u8>,
    nearest: Option<&'static str>,
}

impl UnknownName {
    /// The nearest name that the catalogue has, for a hint.
    pub fn nearest(&self) -> Option<&'static str> {
        self.nearest
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Escaped(&self.name);
        write!(f, "no drop reason or function is known as '{name}'")
    }
}

impl std::error::Error for UnknownName {}

/// Looks a name up as a reason, then as a function; `noise` is all that is usually harmless.
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

/// The name that a mistyped one was probably meant to be: a few letters off, or one that begins or
/// ends with what was typed.
pub fn nearest(name: &[u8]) -> Option<&'static str> {
    /// No name is longer, and what is much longer was no slip of the finger.
    const LONGEST: usize = 64;

    let name = without_suffix(without_prefix(name));
    if name.len() < 2 || name.len() > LONGEST {
        return None;
    }
    let reasons = all().iter().map(|entry| entry.name);
    let functions = places().iter().map(|place| place.function);
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

/// No function of C has these bytes in its name; `%pS` puts ` [module]` behind a blank.
fn without_suffix(function: &[u8]) -> &[u8] {
    let end = function
        .iter()
        .position(|byte| matches!(byte, b'.' | b'+' | b' '));
    &function[..end.unwrap_or(function.len())]
}

/// How `known`, which is in upper case, compares with `asked` in any case.
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

/// The whole entry, wrapped for a terminal, with a line feed at its end.
impl fmt::Display for Entry {
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

/// The whole entry, wrapped for a terminal, with a line feed at its end.
impl fmt::Display for Place {
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

/// `text` in lines of at most 80 columns, the first behind `lead`, the others indented like it.
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

/// `dwdump --explain`: every reason and function, one line each, to be searched with grep.
#[derive(Clone, Copy, Debug)]
pub struct List;

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("# drop reasons: name, verdict, meaning\n")?;
        for entry in all() {
            write_line(f, entry.name, entry.noise.word(), entry.meaning)?;
        }
        f.write_str("# functions, for drops without a reason: name, verdict, meaning\n")?;
        for place in places() {
            write_line(f, place.function, place.noise.word(), place.meaning)?;
        }
        Ok(())
    }
}

/// `dwdump --explain noise`: what is usually harmless, and why.
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
        for place in places() {
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
mod tests;
