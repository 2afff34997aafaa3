//! dwdump-reasons(7) is the catalogue as a manual page.

use std::fmt::Write;
use std::path::Path;

use super::{FunctionEntry, Noise, ReasonEntry, all, functions};

const PAGE: &str = "man/dwdump-reasons.7";
const BEGIN: &str = ".\\\" generated: begin\n";
const END: &str = ".\\\" generated: end\n";

/// Formats a text for man(7), a line for each sentence.
pub(crate) fn roff(text: &str) -> String {
    let lines = escaped(text).replace(". ", ".\n");
    let lines = lines.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// Writes what is special to man(7) so that it stands for itself.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Formats the parts that reasons and functions have in common.
fn body(name: &str, meaning: &str, causes: &[&str], checks: &[&str], noise: Noise) -> String {
    let mut text = format!(".TP\n.B {}\n{}", escaped(name), roff(meaning));
    text.push_str(".IP\n.I Usual causes:\n");
    let causes: Vec<_> = causes.iter().map(|cause| roff(cause)).collect();
    text.push_str(&causes.join(".br\n"));
    text.push_str(".IP\n.I What to check:\n");
    for check in checks {
        let _ = writeln!(text, ".br\n.B {}", escaped(check));
    }
    let _ = write!(text, ".IP\n.I Noise?\n{}", roff(&noise.to_string()));
    text
}

/// Returns `Linux 5.18`, or the range in which a kernel is.
fn linux(version: &str) -> String {
    match version.split_once("..") {
        None => format!("Linux {version}"),
        Some((first, last)) => format!("a Linux between {first} and {last}"),
    }
}

fn reason(entry: &ReasonEntry) -> String {
    let mut text = body(
        entry.name,
        entry.meaning,
        &entry.causes,
        &entry.checks,
        entry.noise,
    );
    let _ = write!(text, ".IP\n.I Since:\n{}", roff(&linux(entry.since)));
    if let Some(until) = entry.until {
        let _ = write!(text, ".br\n.I Until:\n{}", roff(&linux(until)));
    }
    if let Some(renamed) = entry.renamed {
        let _ = writeln!(text, ".br\n.I Now:\n.B {}", escaped(renamed));
    }
    text
}

fn function(entry: &FunctionEntry) -> String {
    body(
        entry.function,
        entry.meaning,
        &entry.causes,
        &entry.checks,
        entry.noise,
    )
}

/// The sections of the page that list the catalogue.
fn catalogue() -> String {
    let reasons: String = all().iter().map(reason).collect();
    let functions: String = functions().iter().map(function).collect();
    format!(".SH REASONS\n{reasons}.SH FUNCTIONS\nFor drops without a reason.\n{functions}")
}

#[test]
fn the_page_has_the_catalogue_of_the_program() {
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let wanted = format!("{head}{BEGIN}{}{END}{tail}", catalogue());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PAGE, wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "{PAGE} is stale: UPDATE_GOLDEN=1 cargo test --lib reason::manual"
    );
}

#[test]
fn each_entry_of_the_catalogue_is_on_the_page_once() {
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let names = all().iter().map(|entry| entry.name);
    let names = names.chain(functions().iter().map(|entry| entry.function));
    for name in names {
        let heading = format!(".TP\n.B {name}\n");
        assert_eq!(page.matches(&heading).count(), 1, "{name}");
    }
}
