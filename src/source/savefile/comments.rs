//! Parses the options of a pcapng packet (section 3.5 of the draft) and the facts in its comments.
//! Packets with equal options are parsed once.

use std::fmt::Write;

use super::options::Options;
use crate::cache::Cache;
use crate::comment::ParsedComments;
use crate::net_dm::netlink::ByteOrder;
use crate::record::{DropRecord, Link, LinkType, Origin, OwnedFacts, PacketFlags};
use crate::untrusted::Untrusted;

/// Options of an Enhanced Packet Block, and of the obsolete Packet Block.
const OPT_COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;

/// Parses the options of packets, and caches the results.
pub struct Comments {
    cache: Cache<(ByteOrder, Option<Origin>), PacketOptions>,
    /// The result that is not cached.
    fresh: PacketOptions,
    texts: Texts,
}

/// The facts in a packet's options, without the comments that dwdump did not write.
#[derive(Default)]
pub struct PacketOptions {
    pub facts: OwnedFacts,
    /// The time of the packet's block is not valid.
    pub has_no_time: bool,
    pub flags: PacketFlags,
    /// Options that were skipped: of the wrong length, or cut.
    pub skipped: u64,
}

impl Comments {
    pub fn new() -> Self {
        Self {
            cache: Cache::new(),
            fresh: PacketOptions::default(),
            texts: Texts::default(),
        }
    }

    /// Calls `take` with the facts in a packet's options and the comments that dwdump did not
    /// write; `origin` is that of its interface.
    pub fn understand<T>(
        &mut self,
        options: &[u8],
        order: ByteOrder,
        origin: Option<Origin>,
        take: impl FnOnce(&PacketOptions, &[Untrusted<&str>]) -> T,
    ) -> T {
        let key = (order, origin);
        if let Some(known) = self.cache.find(&key, &[options]) {
            return take(known, &[]);
        }
        let (flags, skipped) = self.texts.read(options, order);
        let mut comments = ParsedComments::of_origin(origin);
        self.texts.each().for_each(|text| comments.read(text));
        if comments.notes().is_empty() {
            let set = |_: &[u8], new: &mut PacketOptions| new.set(&comments, flags, skipped);
            if let Some(known) = self.cache.get(&key, &[options], set) {
                return take(known, &[]);
            }
        }
        self.fresh.set(&comments, flags, skipped);
        take(&self.fresh, comments.notes())
    }
}

impl PacketOptions {
    fn set(&mut self, comments: &ParsedComments<'_>, flags: PacketFlags, skipped: u64) {
        let mut record = DropRecord::new(Link::known(LinkType::NO_PACKET), &[]);
        comments.store(&mut record);
        self.facts.set(&record);
        self.has_no_time = comments.has_no_time();
        self.flags = flags;
        self.skipped = skipped;
    }
}

/// The texts of several comments in one buffer, with the end of each.
#[derive(Default)]
struct Texts {
    text: String,
    ends: Vec<usize>,
}

/// Appends a comment. Bytes that are not UTF-8 become `\xNN`, as in dwdump's own comments.
fn push_text(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

impl Texts {
    /// Reads the comments. Returns the flags, and the number of skipped options.
    fn read(&mut self, options: &[u8], order: ByteOrder) -> (PacketFlags, u64) {
        self.text.clear();
        self.ends.clear();
        let (mut flags, mut skipped) = (PacketFlags::default(), 0);
        let mut options = Options::new(options, order);
        for (code, value) in options.by_ref() {
            match code {
                OPT_COMMENT => {
                    push_text(&mut self.text, value);
                    self.ends.push(self.text.len());
                }
                EPB_FLAGS => match order.u32(value) {
                    Some(value) => flags = PacketFlags(value),
                    None => skipped += 1,
                },
                _ => {}
            }
        }
        (flags, skipped + u64::from(options.are_cut()))
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

    #[test]
    fn a_comment_that_is_not_utf_8_does_not_cost_the_packet() {
        #[rustfmt::skip]
        let options = [
            1, 0, 3, 0,  b'a', 0xff, b'b', 0, // opt_comment
            2, 0, 4, 0,  1, 0, 0, 0,          // epb_flags
            1, 0, 1, 0,  b'c', 0, 0, 0,       // opt_comment
            0, 0, 0, 0,                       // opt_endofopt
            1, 0, 1, 0,  b'd', 0, 0, 0,       // after the end
        ];
        let mut texts = Texts::default();
        let said = texts.read(&options, ByteOrder::Little);
        assert_eq!(said, (PacketFlags(1), 0));
        assert_eq!(texts.each().collect::<Vec<_>>(), ["a\\xffb", "c"]);
    }

    #[test]
    fn an_option_that_is_cut_or_too_long_does_not_cost_the_others() {
        #[rustfmt::skip]
        let options = [
            2, 0, 3, 0,  1, 0, 0, 0, // epb_flags of three bytes
            1, 0, 1, 0,  b'a', 0, 0, 0,
            1, 0, 9, 0,  b'b',
        ];
        let mut texts = Texts::default();
        let said = texts.read(&options, ByteOrder::Little);
        assert_eq!(said, (PacketFlags::default(), 2));
        assert_eq!(texts.each().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn equal_options_are_different_facts_by_origin_and_byte_order() {
        let options = b"\x01\x00\x09\x00reason: A\0\0\0";
        let mut comments = Comments::new();
        // The second time, the result comes from the cache.
        for _ in 0..2 {
            let mut reasons = |order, origin| {
                comments.understand(options, order, origin, |said, _| {
                    let mut record = DropRecord::new(Link::known(LinkType::ETHERNET), &[]);
                    said.facts.store(&mut record);
                    match record.cause {
                        Cause::Software { reason, .. } => {
                            reason.map(|name| name.as_bytes().to_vec())
                        }
                        _ => None,
                    }
                })
            };
            let software = reasons(ByteOrder::Little, Some(Origin::Software));
            assert_eq!(
                software,
                Name::new(b"A").map(|name| name.as_bytes().to_vec())
            );
            assert_eq!(reasons(ByteOrder::Little, Some(Origin::Hardware)), None);
            assert_eq!(reasons(ByteOrder::Little, None), software);
            assert_eq!(reasons(ByteOrder::Big, None), None);
        }
    }

    #[test]
    fn comments_of_other_programs_are_passed_on_each_time() {
        let options = b"\x01\x00\x04\x00look\x01\x00\x09\x00reason: A\0\0\0";
        let mut comments = Comments::new();
        for _ in 0..2 {
            comments.understand(options, ByteOrder::Little, None, |_, notes| {
                assert_eq!(notes, [Untrusted::new("look")]);
            });
        }
    }
}
