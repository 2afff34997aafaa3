//! The call stack of a drop: how the kernel came to the place that dropped the packet.

use std::fmt;

use super::{Escaped, Name, Symbol};

/// The longest stack that is kept, in bytes. 64 frames of the longest usual names have half of it; with each
/// byte escaped it fits a pcapng option (65535 bytes).
pub const MAX_STACK: usize = 8192;

/// Stands between two frames.
const SEPARATOR: u8 = b';';

/// The functions that were being called, the innermost first: `ip_rcv+0x1/0x2;gre_rcv+0x1a2/0x2d0 [gre]`. A
/// frame is a [`Symbol`], or an address where the kernel hides its symbols. No frame is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stack<'a>(&'a [u8]);

impl<'a> Stack<'a> {
    /// Takes frames that are joined by semicolons. Returns `None` if one has no function, if there is a NUL, or if
    /// all are longer than [`MAX_STACK`].
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut frames = bytes.split(|&byte| byte == SEPARATOR);
        let is_stack = bytes.len() <= MAX_STACK && frames.all(is_frame);
        is_stack.then_some(Self(bytes))
    }

    /// Takes the bytes of a stack, which are not checked again. Returns `None` if they are empty.
    #[inline]
    pub(crate) fn known(bytes: &'a [u8]) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// Appends a frame to the bytes of a stack, unless there is no room for it.
    pub(crate) fn push(bytes: &mut Vec<u8>, frame: &[u8]) {
        let is_one = is_frame(frame) && !frame.contains(&SEPARATOR);
        if is_one && bytes.len() + 1 + frame.len() <= MAX_STACK {
            if !bytes.is_empty() {
                bytes.push(SEPARATOR);
            }
            bytes.extend_from_slice(frame);
        }
    }

    /// Returns the frames joined by semicolons.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the frames, the innermost first: that of the function which dropped the packet.
    pub fn frames(self) -> impl DoubleEndedIterator<Item = Symbol<'a>> + Clone {
        let frames = self.0.split(|&byte| byte == SEPARATOR);
        frames.filter_map(|frame| Name::new(frame).map(Symbol))
    }

    /// Writes the functions alone, the outermost first, as tools for flame graphs take them.
    pub(crate) fn fold(self, bytes: &mut Vec<u8>) {
        bytes.clear();
        for (number, frame) in self.frames().rev().enumerate() {
            if number > 0 {
                bytes.push(SEPARATOR);
            }
            bytes.extend_from_slice(frame.function());
        }
    }

    /// Returns whether these are its functions, the outermost first.
    pub(crate) fn is_folded(self, functions: &[u8]) -> bool {
        let own = self.frames().rev().map(Symbol::function);
        own.eq(functions.split(|&byte| byte == SEPARATOR))
    }
}

fn is_frame(bytes: &[u8]) -> bool {
    let has_function = bytes.first().is_some_and(|byte| !b"+ ".contains(byte));
    has_function && !bytes.contains(&0)
}

/// Returns the functions of a folded stack, the innermost first.
pub(crate) fn unfolded(functions: &[u8]) -> impl Iterator<Item = &[u8]> {
    functions.rsplit(|&byte| byte == SEPARATOR)
}

impl fmt::Display for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0).fmt(f)
    }
}

impl fmt::Debug for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"gre_rcv+0x1a2/0x2d0 [gre];ip_rcv.isra.0+0x1/0x2;0xffffffff81000010";

    #[test]
    fn a_stack_has_the_innermost_frame_first_and_is_folded_the_other_way_round() {
        let stack = Stack::new(TEXT).unwrap();
        let frames: Vec<_> = stack.frames().map(|frame| frame.to_string()).collect();
        assert_eq!(
            frames,
            [
                "gre_rcv+0x1a2/0x2d0 [gre]",
                "ip_rcv.isra.0+0x1/0x2",
                "0xffffffff81000010"
            ]
        );
        let mut folded = b"old".to_vec();
        stack.fold(&mut folded);
        assert_eq!(folded, b"0xffffffff81000010;ip_rcv.isra.0;gre_rcv");
        assert!(stack.is_folded(&folded));
        assert!(!stack.is_folded(b"ip_rcv.isra.0;gre_rcv"));
        assert!(!stack.is_folded(b""));
        let functions: Vec<_> = unfolded(&folded).collect();
        assert_eq!(functions[0], b"gre_rcv");
        assert_eq!(stack.to_string().as_bytes(), TEXT);
    }

    #[test]
    fn what_cannot_be_a_stack_is_none() {
        let long = [b'x'; MAX_STACK + 1];
        for bytes in [
            &b""[..],
            b";",
            b"a;",
            b";a",
            b"a;;b",
            b"a\0;b",
            b"a;+0x1",
            &long,
        ] {
            assert_eq!(Stack::new(bytes), None);
        }
        assert!(Stack::new(&long[1..]).is_some());
    }

    #[test]
    fn what_is_pushed_is_a_stack_however_much_it_is() {
        let mut bytes = Vec::new();
        for frame in [&b"a"[..], b"", b"b;c", b"d\0", b"e"] {
            Stack::push(&mut bytes, frame);
        }
        assert_eq!(bytes, b"a;e");
        for _ in 0..3 {
            Stack::push(&mut bytes, &[b'x'; MAX_STACK / 2]);
        }
        assert_eq!(bytes.len(), 3 + 1 + MAX_STACK / 2);
        assert!(Stack::new(&bytes).is_some());
    }
}
