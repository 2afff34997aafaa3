//! A place in the kernel's source: a line, and the functions that were inlined there.

use std::fmt;

use crate::untrusted::Untrusted;

/// A line of source code, and the function that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function, inlined or not, without a compiler's suffix. Empty where it is not known.
    pub function: Untrusted,
    /// Relative to the kernel's source where it can be told: `net/ipv4/gre_demux.c`.
    pub file: Untrusted,
    /// The line; `None` where the compiler did not say.
    pub line: Option<u32>,
}

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    chain: Box<[Frame]>,
    shown: usize,
}

/// Functions of the kernel that only free a packet, for somebody else: kfree_skb and its like
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
    /// `None` where there is no frame.
    pub(super) fn new(chain: Vec<Frame>) -> Option<Self> {
        let is_wrapper = |frame: &Frame| WRAPPERS.contains(&frame.function.raw());
        let outside = chain.iter().position(|frame| !is_wrapper(frame));
        let shown = outside.or(chain.len().checked_sub(1))?;
        Some(Self {
            chain: chain.into(),
            shown,
        })
    }

    /// The line that dropped the packet: outside of kfree_skb and its like.
    pub fn frame(&self) -> &Frame {
        &self.chain[self.shown]
    }

    /// All functions that were inlined into one another there, the innermost first.
    pub fn chain(&self) -> &[Frame] {
        &self.chain
    }
}

/// `net/ipv4/gre_demux.c:170`.
impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame().fmt(f)
    }
}

impl Frame {
    /// `net/ipv4/gre_demux.c:170`, to be shown by whoever shows it.
    pub fn place(&self) -> Untrusted {
        let file = self.file.raw();
        match self.line {
            Some(line) => format!("{file}:{line}").into(),
            None => file.to_owned().into(),
        }
    }
}

/// `net/ipv4/gre_demux.c:170`.
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
