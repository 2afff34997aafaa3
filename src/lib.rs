//! dwdump
pub mod comment;
pub mod filter;
pub mod packet;
pub mod record;
