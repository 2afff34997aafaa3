//! Parses the options of a pcapng block (section 3.5 of the draft).

use crate::net_dm::netlink::ByteOrder;

/// `opt_endofopt`.
const END: u16 = 0;

/// Yields the code and value of each option, up to the end or the first length that exceeds the
/// block.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    rest: &'a [u8],
    order: ByteOrder,
}

impl<'a> Options<'a> {
    pub fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Self { rest: bytes, order }
    }

    /// After the last option: returns whether bytes are left that are not an option.
    pub fn are_cut(&self) -> bool {
        !self.rest.is_empty()
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let code = self.order.u16(self.rest.get(..2)?)?;
        let len = usize::from(self.order.u16(self.rest.get(2..4)?)?);
        if code == END {
            self.rest = &[];
            return None;
        }
        let value = self.rest.get(4..4 + len)?;
        let next = 4 + len.next_multiple_of(4);
        self.rest = self.rest.get(next..).unwrap_or_default();
        Some((code, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_longer_than_the_block_ends_the_options() {
        #[track_caller]
        fn check(bytes: &[u8], expected: &[(u16, &[u8])], are_cut: bool) {
            let mut options = Options::new(bytes, ByteOrder::Little);
            assert_eq!(options.by_ref().collect::<Vec<_>>(), expected);
            assert_eq!(options.are_cut(), are_cut);
        }
        let whole = [1, 0, 3, 0, b'a', b'b', b'c', 0, 0, 0, 0, 0, 9, 9];
        check(&whole, &[(1, b"abc")], false);
        check(&whole[..8], &[(1, b"abc")], false);
        check(&whole[..7], &[(1, b"abc")], false);
        check(&whole[..6], &[], true);
        check(&whole[..10], &[(1, b"abc")], true);
        check(&[], &[], false);
    }
}
