//! Where drops come from. A source knows records and the bytes they are made of, neither what
//! becomes of them nor what the user typed.

pub mod kernel;
pub mod savefile;
