//! What dwdump brings to Wireshark: a plug-in in Lua that makes fields of a packet's comments, a
//! profile that shows them, and itself as a capture interface; and where these belong.

pub(crate) mod folders;
pub(crate) mod install;
mod plugin;
mod profile;
