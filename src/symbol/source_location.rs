//! A location in the kernel's source: a line, and the functions that were inlined there.

use std::fmt;

use crate::untrusted::Untrusted;

/// A line of source code, and the function that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function, inlined or not, without a compiler's suffix. Empty where it is unknown.
    pub function: Untrusted,
    /// The file, relative to the kernel's source where possible: `net/ipv4/gre_demux.c`.
    pub file: Untrusted,
    /// The line; `None` where the debug information has none.
    pub line: Option<u32>,
}

/// A location in the source, with all functions that were inlined into one another there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    chain: Box<[Frame]>,
    shown: usize,
}

/// The kernel's functions that only free a packet on behalf of their caller, such as kfree_skb
/// (linux/skbuff.h, skb_array.h, netfilter.h and netdevice.h, net/core/skbuff.c and dev.c,
/// net/ipv4/tcp_input.c).
const WRAPPERS: [&str; 27] = [
    "NF_DROP_REASON",
    "__dev_kfree_skb_any",
    "__dev_kfree_skb_irq",
    "__kfree_skb",
    "__kfree_skb_reason",
    "__sk_skb_reason_drop",
    "__skb_array_destroy_skb",
    "__skb_queue_purge",
    "__skb_queue_purge_reason",
    "dev_kfree_skb_any",
    "dev_kfree_skb_any_reason",
    "dev_kfree_skb_irq",
    "dev_kfree_skb_irq_reason",
    "kfree_skb",
    "kfree_skb_list",
    "kfree_skb_list_reason",
    "kfree_skb_partial",
    "kfree_skb_reason",
    "napi_consume_skb",
    "napi_skb_free_stolen_head",
    "rtnl_kfree_skbs",
    "sk_skb_reason_drop",
    "skb_queue_purge",
    "skb_queue_purge_reason",
    "tcp_drop",
    "tcp_drop_reason",
    "trace_kfree_skb",
];

impl SourceLocation {
    /// Joins the frames of an address, the innermost first; `None` where there is no frame.
    pub(super) fn new(chain: Vec<Frame>) -> Option<Self> {
        let is_wrapper = |frame: &Frame| WRAPPERS.contains(&frame.function.raw());
        let outside = chain.iter().position(|frame| !is_wrapper(frame));
        let shown = outside.or(chain.len().checked_sub(1))?;
        Some(Self {
            chain: chain.into(),
            shown,
        })
    }

    /// Returns the line that dropped the packet: the innermost one outside kfree_skb and the like.
    pub fn frame(&self) -> &Frame {
        &self.chain[self.shown]
    }

    /// Returns all functions that were inlined into one another there, the innermost first.
    pub fn chain(&self) -> &[Frame] {
        &self.chain
    }
}

/// Shows file and line: `net/ipv4/gre_demux.c:170`.
impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame().fmt(f)
    }
}

impl Frame {
    /// Returns file and line, unescaped: `net/ipv4/gre_demux.c:170`.
    pub fn place(&self) -> Untrusted {
        let file = self.file.raw();
        match self.line {
            Some(line) => format!("{file}:{line}").into(),
            None => file.to_owned().into(),
        }
    }
}

/// Shows file and line: `net/ipv4/gre_demux.c:170`.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(functions: &[&str]) -> Option<String> {
        let frames = functions.iter().map(|function| Frame {
            function: (*function).to_owned().into(),
            file: format!("{function}.c").into(),
            line: Some(7),
        });
        Some(SourceLocation::new(frames.collect())?.to_string())
    }

    #[test]
    fn wrappers_are_skipped_unless_there_is_nothing_else() {
        #[track_caller]
        fn check(functions: &[&str], wanted: Option<&str>) {
            assert_eq!(shown(functions).as_deref(), wanted);
        }
        check(&["gre_rcv"], Some("gre_rcv.c:7"));
        check(&["kfree_skb", "gre_rcv"], Some("gre_rcv.c:7"));
        check(&["kfree_skb", "", "gre_rcv"], Some(".c:7"));
        check(
            &["kfree_skb", "kfree_skb_list_reason"],
            Some("kfree_skb_list_reason.c:7"),
        );
        check(&[], None);
    }
}
