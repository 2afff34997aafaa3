//! Captures drops with eBPF: programs at the tracepoint `skb:kfree_skb`, from which the drop monitor
//! learns of drops, too. They also report packets that the drop monitor skips: those without a
//! link-layer header.
//!
//! [`btf`] parses the kernel's description of its own types, and `layout` looks up the offsets of
//! structure members in it. With these, [`program`] writes the programs for exactly this kernel, by
//! means of `assembler`: neither a compiler nor an object file is needed. [`tracer`] loads them and takes
//! a [`report`] of each drop from the perf buffer of its CPU, whose records `ring` parses; `batch` puts those of all
//! CPUs in order. [`counter`] loads programs that count in the kernel, without reports. [`reasons`] has the names
//! of drop reasons, and [`names`] asks the kernel for those of its addresses.

mod assembler;
mod batch;
pub mod btf;
pub mod counter;
pub(crate) mod layout;
pub mod names;
mod pair;
pub mod program;
pub mod reasons;
pub mod report;
mod ring;
pub mod tracer;

/// The file of the kernel's BTF. Those of its modules are in the same folder.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

#[cfg(test)]
pub(crate) mod tests;
