//! dwdump
pub mod cli;
pub mod comment;
pub mod interface;
pub mod net_dm;
pub mod packet;
pub mod record;
pub mod run;
pub mod sink;
pub mod source;
mod sys;
