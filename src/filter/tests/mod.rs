//! Tests of the whole language.

mod grammar;
