//! Decides whether a set of constraints on one packet can hold together.

use crate::filter::glob::Glob;

/// A position in the expression and a number of tunnels around the packet, by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceId(pub usize);

/// A property of a drop that has exactly one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The Ethernet type that `ether proto` finds; 0 for all values up to
    /// [`MAX_LLC_LENGTH`](crate::filter::layout::MAX_LLC_LENGTH).
    Kind(PlaceId),
    /// 1 if the link layer has MAC addresses, else 0.
    HasMacs(PlaceId),
    /// `width` bytes at an offset from a header.
    Bytes {
        place: PlaceId,
        base: Base,
        offset: usize,
        width: u32,
    },
    /// The length in bytes of the packet inside this many tunnels.
    Length(usize),
    /// 1 if the packet inside this many tunnels is a tunnel itself, else 0.
    HasTunnel(usize),
    /// 1 for inbound, 2 for outbound.
    PacketDirection,
    /// 1 for a drop by the kernel, 2 by a device, 0 if unknown.
    Origin,
    /// The address in the kernel; [`ABSENT_PC`] for none.
    Pc,
    /// The index of the input interface; [`ABSENT_INDEX`] for none.
    InterfaceIndex,
    /// 1 if the primitive with this number is true, else 0.
    Holds(usize),
}

/// A value above every address.
pub const ABSENT_PC: u128 = 1 << 64;
/// A value above every index.
pub const ABSENT_INDEX: u128 = 1 << 32;

/// The header from which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Link,
    Network,
    /// The end of the IPv4 header.
    BehindIpv4,
    /// The control field of an 802.2 frame.
    Control,
    /// The protocol number of the header after all extension headers.
    TransportProtocol,
    /// The header after all extension headers.
    TransportHeader,
}

/// A set of numbers as sorted ranges, both ends included, none touching the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(Vec<(u128, u128)>);

impl Numbers {
    pub fn between(first: u128, last: u128) -> Self {
        Self(if first <= last {
            vec![(first, last)]
        } else {
            Vec::new()
        })
    }

    pub fn one(number: u128) -> Self {
        Self::between(number, number)
    }

    pub fn of(numbers: impl IntoIterator<Item = u128>) -> Self {
        let mut ranges: Vec<_> = numbers.into_iter().map(|number| (number, number)).collect();
        ranges.sort_unstable();
        ranges.dedup();
        Self(ranges)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, number: u128) -> bool {
        self.0
            .iter()
            .any(|&(first, last)| (first..=last).contains(&number))
    }

    /// Returns all numbers from 0 to `most` that are not in the set.
    pub fn complement(&self, most: u128) -> Self {
        let mut ranges = Vec::new();
        let mut next = Some(0);
        for &(first, last) in &self.0 {
            let Some(from) = next else { break };
            if from < first {
                ranges.push((from, first - 1));
            }
            next = last.checked_add(1);
        }
        if let Some(from) = next.filter(|&from| from <= most) {
            ranges.push((from, most));
        }
        Self(ranges)
    }

    /// Removes the numbers above `most`.
    pub fn up_to(mut self, most: u128) -> Self {
        self.0.retain(|&(first, _)| first <= most);
        if let Some((_, last)) = self.0.last_mut() {
            *last = most.min(*last);
        }
        self
    }

    pub fn meet(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut left, mut right) = (0, 0);
        while let (Some(&(a, b)), Some(&(c, d))) = (self.0.get(left), other.0.get(right)) {
            if a.max(c) <= b.min(d) {
                ranges.push((a.max(c), b.min(d)));
            }
            if b <= d {
                left += 1;
            } else {
                right += 1;
            }
        }
        Self(ranges)
    }

    fn only(&self) -> Option<u128> {
        match self.0[..] {
            [(first, last)] if first == last => Some(first),
            _ => None,
        }
    }

    /// Returns the numbers that equal one of these in all bits but those of `free`, which are the
    /// lowest.
    fn widened(&self, free: u128) -> Self {
        Self(
            self.0
                .iter()
                .map(|&(first, last)| (first, last | free))
                .collect(),
        )
    }
}

/// The constraint that a variable under a mask is one of some numbers.
#[derive(Clone, Debug)]
pub struct Constraint {
    pub field: Variable,
    pub mask: u128,
    pub numbers: Numbers,
}

impl Constraint {
    /// Returns whether no value of the variable satisfies both constraints. Called only for
    /// different masks: constraints with the same mask are intersected.
    fn excludes(&self, other: &Self) -> bool {
        let (one, two) = (self.numbers.only(), other.numbers.only());
        if let (Some(one), Some(two)) = (one, two)
            && (one ^ two) & self.mask & other.mask != 0
        {
            return true;
        }
        self.decides_against(other) || other.decides_against(self)
    }

    /// Returns whether this constraint alone decides `other`, and decides it false.
    fn decides_against(&self, other: &Self) -> bool {
        if let Some(number) = self.numbers.only()
            && other.mask & !self.mask == 0
        {
            return !other.numbers.contains(number & other.mask);
        }
        let free = other.mask & !self.mask;
        let is_prefix = self.mask & !other.mask == 0
            && other.mask & other.mask.wrapping_add(1) == 0
            && free & free.wrapping_add(1) == 0;
        is_prefix && self.numbers.widened(free).meet(&other.numbers).is_empty()
    }
}

/// A name of the drop that is matched with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextVariable {
    Reason,
    /// The function, without the compiler's suffix.
    Function,
    Module,
    Trap,
    TrapGroup,
    InterfaceName,
}

/// The constraint that a name fits a pattern, or does not.
#[derive(Clone, Debug)]
pub struct TextConstraint {
    pub subject: TextVariable,
    pub pattern: Glob,
    pub fits: bool,
}

impl TextConstraint {
    fn excludes(&self, other: &Self) -> bool {
        if self.subject != other.subject {
            return false;
        }
        match (self.fits, other.fits) {
            (true, true) => match (self.name(), other.name()) {
                (Some(name), _) => !other.takes(name),
                (_, Some(name)) => !self.takes(name),
                (None, None) => {
                    let (one, two) = (self.beginning(), other.beginning());
                    !one.starts_with(two) && !two.starts_with(one)
                }
            },
            (true, false) => self.name().is_some_and(|name| other.takes(name)),
            (false, true) => other.name().is_some_and(|name| self.takes(name)),
            (false, false) => false,
        }
    }

    fn takes(&self, name: &[u8]) -> bool {
        match self.subject {
            TextVariable::Reason => self.pattern.matches_any_case(name),
            _ => self.pattern.matches(name),
        }
    }

    /// Returns the pattern, if it fits only one name.
    fn name(&self) -> Option<&[u8]> {
        let pattern = self.pattern.as_bytes();
        (self.beginning().len() == pattern.len()).then_some(pattern)
    }

    /// Returns the prefix of every name that fits.
    fn beginning(&self) -> &[u8] {
        beginning(self.pattern.as_bytes())
    }
}

/// Returns the part of a pattern before its first wildcard.
pub fn beginning(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| b"*?".contains(byte));
    &pattern[..end.unwrap_or(pattern.len())]
}

/// Constraints that do not visibly contradict each other.
#[derive(Clone, Default)]
pub struct Constraints<'a> {
    facts: Vec<Constraint>,
    texts: Vec<&'a TextConstraint>,
}

impl<'a> Constraints<'a> {
    pub fn len(&self) -> usize {
        self.facts.len() + self.texts.len()
    }

    /// Returns whether the constraint does not visibly contradict the others.
    pub fn allow(&self, fact: &Constraint) -> bool {
        self.facts
            .iter()
            .filter(|known| known.field == fact.field)
            .all(|known| {
                if known.mask == fact.mask {
                    !known.numbers.meet(&fact.numbers).is_empty()
                } else {
                    !known.excludes(fact)
                }
            })
    }

    /// Adds a constraint. Returns `false` if it contradicts the others, or if its intersection with
    /// one of them does.
    pub fn add(&mut self, fact: &Constraint) -> bool {
        if !self.allow(fact) {
            return false;
        }
        let known = self
            .facts
            .iter()
            .position(|known| known.field == fact.field && known.mask == fact.mask);
        let Some(index) = known else {
            self.facts.push(fact.clone());
            return true;
        };
        let mut met = self.facts.swap_remove(index);
        met.numbers = met.numbers.meet(&fact.numbers);
        let is_allowed = self.allow(&met);
        self.facts.push(met);
        is_allowed
    }

    pub fn allow_text(&self, fact: &TextConstraint) -> bool {
        !self.texts.iter().any(|known| known.excludes(fact))
    }

    pub fn add_text(&mut self, fact: &'a TextConstraint) -> bool {
        let is_allowed = self.allow_text(fact);
        self.texts.push(fact);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fact(mask: u128, numbers: Numbers) -> Constraint {
        Constraint {
            field: Variable::PacketDirection,
            mask,
            numbers,
        }
    }

    fn numbers() -> impl Strategy<Value = Numbers> {
        prop_oneof![
            (0_u128..256).prop_map(Numbers::one),
            (0_u128..256, 0_u128..256).prop_map(|(a, b)| Numbers::between(a.min(b), a.max(b))),
            proptest::collection::vec(0_u128..256, 0..4).prop_map(Numbers::of),
        ]
    }

    fn mask() -> impl Strategy<Value = u128> {
        prop_oneof![
            0_u128..256,
            proptest::sample::select(vec![255_u128, 240, 128, 15])
        ]
    }

    proptest! {
        #[test]
        fn sets_of_numbers_are_sets(one in numbers(), other in numbers()) {
            let (met, rest) = (one.meet(&other), one.complement(255));
            for number in 0..256 {
                prop_assert_eq!(met.contains(number), one.contains(number) && other.contains(number));
                prop_assert_eq!(rest.contains(number), !one.contains(number));
            }
        }

        /// Tries every value of a byte on constraints that are said to contradict each other.
        #[test]
        fn facts_that_a_value_makes_true_are_allowed(
            all in proptest::collection::vec((mask(), numbers()), 1..5),
        ) {
            let all: Vec<Constraint> = all.into_iter().map(|(mask, numbers)| fact(mask, numbers)).collect();
            let mut facts = Constraints::default();
            let are_allowed = all.iter().all(|fact| !fact.numbers.is_empty() && facts.add(fact));
            let is_possible = (0..256_u128)
                .any(|value| all.iter().all(|fact| fact.numbers.contains(value & fact.mask)));
            prop_assert!(are_allowed || !is_possible, "{:?}", all);
        }
    }

    #[test]
    fn names_and_patterns_exclude_each_other() {
        #[track_caller]
        fn check(one: (&str, bool), other: (&str, bool), excludes: bool) {
            let [one, other] = [one, other].map(|(pattern, fits)| TextConstraint {
                subject: TextVariable::Reason,
                pattern: Glob::new(pattern.as_bytes().to_vec()),
                fits,
            });
            assert_eq!(one.excludes(&other), excludes);
            assert_eq!(other.excludes(&one), excludes);
        }
        check(("A", true), ("B", true), true);
        check(("A", true), ("a", true), false);
        check(("AB", true), ("A*", true), false);
        check(("AB", true), ("B*", true), true);
        check(("AB", true), ("A*", false), true);
        check(("AB", true), ("B*", false), false);
        check(("A*", true), ("B*", true), true);
        check(("A*", true), ("AB*", true), false);
        check(("A*", true), ("*B", true), false);
        check(("A*", true), ("A", false), false);
        check(("A", false), ("B", false), false);
    }
}
