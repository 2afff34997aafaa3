//! Tests of the whole language.

mod accept;
mod grammar;
mod kernel;
mod messages;
mod properties;
mod records;
mod reject;
mod select;

use super::Filter;
use super::names::FixedNames;

fn parse(text: &str) -> Filter {
    Filter::parse(text, &FixedNames).unwrap_or_else(|error| panic!("{error}"))
}
