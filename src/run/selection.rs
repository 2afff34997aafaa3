//! Reads and parses the filter, and warns of drop reasons that no known kernel has.

use std::io::Read;

use anyhow::Context;

use super::diagnostics::{hint, say};
use super::failure::Failure;
use super::standard_streams::{shown, standard_input};
use crate::cli::{FilterText, Selection, Target};
use crate::filter::{self, Filter, SystemNames};
use crate::net_dm::control::Origins;
use crate::reason;
use crate::record::{DropRecord, Escaped};
use crate::rights;

/// The files in which the running kernel lists the names of its drop reasons.
const REASON_LISTS: [&str; 2] = [
    "/sys/kernel/tracing/events/skb/kfree_skb/format",
    "/sys/kernel/debug/tracing/events/skb/kfree_skb/format",
];

/// The drops that are kept.
#[derive(Clone)]
pub struct Selected {
    /// The filter that they match.
    pub filter: Filter,
    /// Their origin. `None` means both, and packets whose origin is unknown.
    pub origins: Option<Origins>,
}

impl Selected {
    /// Returns whether a record is kept.
    pub fn keeps(&self, record: &DropRecord<'_>) -> bool {
        let is_wanted = match (self.origins, record.cause.origin()) {
            (None, _) => true,
            (Some(wanted), Some(origin)) => wanted.contains(origin),
            (Some(_), None) => false,
        };
        is_wanted && self.filter.matches(record)
    }
}

/// Returns the filter of the command line, combined with `-i`.
pub fn filter(selection: &Selection) -> Result<Filter, Failure> {
    let text = text(&selection.filter)?;
    let filter = Filter::parse(&text, &SystemNames)
        .map_err(|error| Failure::usage(error, None::<String>))?;
    warn_of_unknown_reasons(&filter);
    let filter = match &selection.interface {
        Some(name) => filter.on_interface(name),
        None => filter,
    };
    warn_of_contradiction(&filter);
    Ok(filter)
}

fn text(filter: &FilterText) -> Result<String, Failure> {
    let (name, bytes) = match filter {
        FilterText::Words(words) => return Ok(words.clone()),
        FilterText::File(Target::Standard) => {
            let mut bytes = Vec::new();
            let read = standard_input().and_then(|mut input| input.read_to_end(&mut bytes));
            ("standard input".into(), read.map(|_| bytes))
        }
        FilterText::File(Target::File(path)) => {
            (shown(path), rights::of_caller(|| std::fs::read(path)))
        }
    };
    let bytes = bytes.with_context(|| format!("cannot read the filter from {name}"))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(without_comments(&text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let error = anyhow::anyhow!("invalid filter: {name} is not UTF-8 at byte {at}");
            Err(Failure::usage(
                error,
                Some("write bytes of a name that are not UTF-8 as \\xNN"),
            ))
        }
    }
}

/// Returns a file's filter without byte order mark, and with blanks in place of its comments: as in
/// tcpdump, they go from `#` to the end of the line, except in quotes.
fn without_comments(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut quote, mut is_comment) = (None, false);
    let mut plain = |character| {
        match character {
            '\n' => is_comment = false,
            '#' if quote.is_none() => is_comment = true,
            '"' | '\'' if !is_comment => match quote {
                None => quote = Some(character),
                Some(opening) if opening == character => quote = None,
                Some(_) => {}
            },
            _ => {}
        }
        if is_comment { ' ' } else { character }
    };
    text.chars().map(&mut plain).collect()
}

/// Returns the first word of a filter that only eBPF programs tell anything about.
pub fn word_of_ebpf(filter: &Filter) -> Option<&'static str> {
    filter.fact_of_ebpf().map(|fact| fact.about().key)
}

/// Returns a word of a filter that matches some drops without eBPF programs, and more with them.
pub fn word_better_with_ebpf(filter: &Filter) -> Option<&'static str> {
    filter.asks_for_vlan().then_some("vlan")
}

/// Warns of reasons that the kernel does not list. Kernels have different reasons, so an unknown
/// one is not an error, but a typo is more likely.
pub fn warn_of_unknown_reasons(filter: &Filter) {
    let patterns = filter.reasons();
    if patterns.is_empty() {
        return;
    }
    let list = kernels_reasons();
    let mut known = list.as_deref().map(reason_names).unwrap_or_default();
    known.extend(reason::all().iter().map(|entry| entry.name));
    for pattern in patterns {
        if known.iter().any(|name| pattern.matches(name)) {
            continue;
        }
        say(format_args!(
            "no known kernel has the drop reason {pattern}"
        ));
        if let Some(nearest) = filter::nearest(&pattern.to_string(), known.iter().copied()) {
            hint(format_args!("did you mean {nearest}?"));
        }
    }
}

/// Returns the running kernel's list of reasons if this process may read it.
fn kernels_reasons() -> Option<String> {
    let mut lists = REASON_LISTS.iter();
    lists.find_map(|path| std::fs::read_to_string(path).ok())
}

/// Returns the names of the running kernel's drop reasons, as far as this process may read them, and
/// otherwise all that are known, in alphabetical order.
pub fn drop_reasons() -> Vec<String> {
    let list = kernels_reasons();
    let of_kernel = list.as_deref().map(reason_names);
    let mut names = of_kernel
        .filter(|names| !names.is_empty())
        .unwrap_or_else(|| {
            let known = reason::all().iter();
            known.map(|entry| entry.name).collect()
        });
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(ToOwned::to_owned).collect()
}

/// Returns the names in a trace event's format:
/// `__print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, …)`.
fn reason_names(format: &str) -> Vec<&str> {
    let Some((_, list)) = format.split_once("__print_symbolic(REC->reason") else {
        return Vec::new();
    };
    list.split('"').skip(1).step_by(2).collect()
}

/// Warns of a filter that nothing can match: the run would look as if the host dropped nothing.
pub fn warn_of_contradiction(filter: &Filter) {
    if let Some(contradiction) = filter.contradiction() {
        say(&contradiction);
        if let Some(line) = &contradiction.hint {
            hint(line);
        }
    }
}

/// Warns of an interface that does not exist. It may be created later or be in another network
/// namespace, so this is not an error.
pub fn warn_of_unknown_interface(name: &str) {
    let is_index = name.parse::<u32>().is_ok();
    if !is_index && nix::net::if_::if_nametoindex(name).is_err() {
        say(format_args!(
            "this host has no interface named {}",
            Escaped(name.as_bytes())
        ));
        hint("`ip link` lists them; for one in another network namespace, use its index: -i 5");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out_of_a_file() {
        #[track_caller]
        fn check(text: &str, plain: &str) {
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(&without_comments(text)), plain);
        }
        check(
            "# drops of the web\ntcp port 80 # and 443\n or port 443",
            "tcp port 80 or port 443",
        );
        check("\u{feff}tcp", "tcp");
        check("\u{feff}#\r\nudp", "udp");
        check("reason \"a#b\" # c", "reason \"a#b\"");
        check("reason 'a#b' # isn't it", "reason 'a#b'");
        check("tcp # \"\n or udp", "tcp or udp");
        check("#", "");
    }

    #[test]
    fn the_kernels_list_is_read() {
        let format = "print fmt: \"skbaddr=%p reason: %s\", REC->skbaddr, \
                      __print_symbolic(REC->reason, { 1, \"NOT_SPECIFIED\" }, { 2, \"NO_SOCKET\" })";
        assert_eq!(reason_names(format), ["NOT_SPECIFIED", "NO_SOCKET"]);
        assert_eq!(reason_names("something else"), Vec::<&str>::new());
    }
}
