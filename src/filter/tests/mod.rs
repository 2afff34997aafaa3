//! Tests of the whole language.

mod accept;
mod advice;
mod contradiction;
mod extensions;
mod grammar;
pub mod kernel;
pub mod kernel_socket;
pub mod messages;
mod packets;
mod properties;
mod records;
mod reject;
mod reject_operands;
mod select;
mod without_packet;

use super::Filter;
use super::names::FixedNames;

pub fn parse(text: &str) -> Filter {
    Filter::parse(text, &FixedNames).unwrap_or_else(|error| panic!("{error}"))
}
