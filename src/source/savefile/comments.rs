//! The comments of a pcapng packet, out of the options of its block (section 3.5 of the draft), and
//! the facts in them: worked out once for all packets that say the same.

use crate::comment::Facts;
use crate::net_dm::netlink::ByteOrder;
use crate::recent::Recent;
use crate::record::Origin;

/// Option codes that every block has.
const OPT_END: u16 = 0;
const OPT_COMMENT: u16 = 1;

/// Understands options, and remembers.
pub struct Comments {
    known: Recent<(ByteOrder, Option<Origin>), Facts<'static>>,
    texts: Texts,
}

impl Comments {
    pub fn new() -> Self {
        Self {
            known: Recent::new(),
            texts: Texts::default(),
        }
    }

    /// Hands on the facts in a packet's options; `origin` is what its interface says. `None` where
    /// an option reaches beyond the block.
    pub fn understand<T>(
        &mut self,
        options: &[u8],
        order: ByteOrder,
        origin: Option<Origin>,
        take: impl FnOnce(&Facts<'_>) -> T,
    ) -> Option<T> {
        let key = (order, origin);
        if let Some(facts) = self.known.find(key, [options]) {
            return Some(take(facts));
        }
        self.texts.read(options, order)?;
        let mut facts = Facts::of_origin(origin);
        self.texts.each().for_each(|text| facts.read(text));
        let taken = take(&facts);
        if let Some(facts) = facts.to_be_kept() {
            self.known.keep(key, [options], facts);
        }
        Some(taken)
    }
}

/// Comments, one behind the other, and where each ends.
#[derive(Default)]
struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    /// `None` where an option reaches beyond the block.
    fn read(&mut self, mut options: &[u8], order: ByteOrder) -> Option<()> {
        self.text.clear();
        self.ends.clear();
        while !options.is_empty() {
            let code = order.u16(options.get(..2)?)?;
            let len = usize::from(order.u16(options.get(2..4)?)?);
            if code == OPT_END {
                break;
            }
            let value = options.get(4..4 + len)?;
            if code == OPT_COMMENT {
                self.text.push_str(&String::from_utf8_lossy(value));
                self.ends.push(self.text.len());
            }
            options = options
                .get(4 + len.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        Some(())
    }

    fn each(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.text[start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Cause, Name};
    use crate::untrusted::Untrusted;

    #[test]
    fn a_comment_that_is_not_utf_8_does_not_cost_the_packet() {
        #[rustfmt::skip]
        let options = [
            1, 0, 3, 0,  b'a', 0xff, b'b', 0, // opt_comment
            2, 0, 4, 0,  1, 0, 0, 0,          // epb_flags
            1, 0, 1, 0,  b'c', 0, 0, 0,       // opt_comment
            0, 0, 0, 0,                       // opt_endofopt
            1, 0, 1, 0,  b'd', 0, 0, 0,       // behind the end
        ];
        let mut texts = Texts::default();
        texts.read(&options, ByteOrder::Little).unwrap();
        assert_eq!(texts.each().collect::<Vec<_>>(), ["a\u{fffd}b", "c"]);
        let cut = &options[..6];
        assert_eq!(texts.read(cut, ByteOrder::Little), None);
    }

    #[test]
    fn the_same_options_are_other_facts_by_origin_and_byte_order() {
        let options = b"\x01\x00\x09\x00reason: A\0\0\0";
        let mut comments = Comments::new();
        // The second round is remembered.
        for _ in 0..2 {
            let mut reasons = |order, origin| {
                comments.understand(options, order, origin, |facts| match facts.cause() {
                    Cause::Software { reason, .. } => reason.map(|name| name.as_bytes().to_vec()),
                    _ => None,
                })
            };
            let software = reasons(ByteOrder::Little, Some(Origin::Software));
            assert_eq!(
                software,
                Some(Name::new(b"A").map(|name| name.as_bytes().to_vec()))
            );
            assert_eq!(
                reasons(ByteOrder::Little, Some(Origin::Hardware)),
                Some(None)
            );
            assert_eq!(reasons(ByteOrder::Little, None), software);
            assert_eq!(reasons(ByteOrder::Big, None), None);
        }
    }

    #[test]
    fn notes_of_others_are_there_each_time() {
        let options = b"\x01\x00\x04\x00look\x01\x00\x09\x00reason: A\0\0\0";
        let mut comments = Comments::new();
        for _ in 0..2 {
            comments
                .understand(options, ByteOrder::Little, None, |facts| {
                    assert_eq!(facts.notes(), [Untrusted::new("look")]);
                })
                .unwrap();
        }
    }
}
