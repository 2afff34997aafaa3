//! Tells a sink which records say the same of their drops.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that records share whose facts are the same, notes and flags included: they differ in nothing but the time,
/// the packet with its lengths, and its link type with the certainty of that. Most records have none, which says nothing
/// about other records. Whoever changes a fact of a record has to reset it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Likeness(Option<NonZeroU64>);

impl Likeness {
    /// Returns one that no record of this process has yet.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns whether both are known and the same number: their records are alike.
    #[inline]
    pub fn is_same(self, other: Self) -> bool {
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
    fn only_the_same_number_is_the_same() {
        let [one, other] = [Likeness::new(), Likeness::new()];
        assert!(one.is_same(one) && !one.is_same(other));
        let none = Likeness::default();
        assert!(!none.is_same(none) && !none.is_same(one));
    }
}
