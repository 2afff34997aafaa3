//! Tells a sink which records say the same of their drops.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that records share whose facts are the same, notes and flags included: they differ in nothing but the time,
/// the packet with its lengths, and its link type. Most records have none, and say nothing of others then; whoever
/// changes a fact of a record has to take it off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Likeness(Option<NonZeroU64>);

impl Likeness {
    /// Returns one that no record of this process has yet.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns whether this and the other say that their records are alike.
    #[inline]
    pub fn is_shared(self, other: Self) -> bool {
        self.0.is_some() && self.0 == other.0
    }
}

/// It is no part of what a record says.
impl PartialEq for Likeness {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Likeness {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_number_is_shared() {
        let [one, other] = [Likeness::new(), Likeness::new()];
        assert!(one.is_shared(one) && !one.is_shared(other));
        let none = Likeness::default();
        assert!(!none.is_shared(none) && !none.is_shared(one));
    }
}
