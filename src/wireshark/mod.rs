//! Installs dwdump's parts into Wireshark and removes them: a plug-in in Lua that turns a packet's
//! comments into fields, a profile that shows them, and dwdump itself as a capture interface.

pub(crate) mod folders;
pub(crate) mod install;
mod plugin;
mod profile;
