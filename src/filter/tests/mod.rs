//! Tests of the whole language.

mod accept;
mod advice;
mod contradiction;
mod extensions;
mod grammar;
mod kernel;
mod kernel_socket;
mod messages;
mod packets;
mod properties;
mod records;
mod reject;
mod reject_operands;
mod select;
mod without_packet;

use super::Filter;
use super::names::FixedNames;

fn parse(text: &str) -> Filter {
    Filter::parse(text, &FixedNames).unwrap_or_else(|error| panic!("{error}"))
}
