//! dwdump
pub mod comment;
pub mod packet;
pub mod record;
