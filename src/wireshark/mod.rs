//! What dwdump brings to Wireshark: a plug-in in Lua that makes fields of a packet's comments.

mod plugin;

#[cfg_attr(not(test), expect(unused_imports, reason = "the installer comes next"))]
pub(crate) use plugin::plugin;
