//! Installs dwdump's parts into Wireshark and removes them: a plug-in in Lua that makes fields of a
//! packet's comments, a profile that shows them, and dwdump itself as a capture interface.

pub(crate) mod folders;
pub(crate) mod install;
mod plugin;
mod profile;
