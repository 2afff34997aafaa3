//! Captures drops with eBPF: a program at the tracepoint `skb:kfree_skb`, which is what the drop monitor
//! itself listens to. It sees what the drop monitor skips, too: packets without a link-layer header.
//!
//! [`btf`] reads the kernel's description of its own types, `layout` finds what the program needs in it,
//! `assembler` and `program` write the program for exactly this kernel: no compiler, no object file.
//! [`tracer`] loads it and reads what it writes, a [`report`] for each drop, from the [`ring`] of each
//! CPU. [`reasons`] has the names of drop reasons.

mod assembler;
pub mod btf;
pub(crate) mod layout;
pub mod program;
pub mod reasons;
pub mod report;
mod ring;
pub mod tracer;

/// The kernel's BTF. Those of its modules are beside it.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

#[cfg(test)]
pub(crate) mod tests;
