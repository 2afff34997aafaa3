//! Looks values up in sets and maps.

use super::facts::{RuleValue, Truth, fits};
use super::ruleset::{ElementSet, Pattern, SetElement};

/// Returns the elements of a map that a value can lead to, and whether it can lead to none.
pub fn found<'s>(value: &RuleValue, map: &'s ElementSet) -> (Vec<&'s SetElement>, bool) {
    if *value == RuleValue::Missing {
        return (Vec::new(), true);
    }
    let mut possible = Vec::new();
    let mut any = None;
    for element in &map.elements {
        let is_certain = !map.is_changing && !element.is_uncertain;
        match has_key(value, element) {
            _ if element.key == [Pattern::Any] => any = Some(element),
            // Elements never overlap.
            Truth::Yes if is_certain => return (vec![element], false),
            Truth::No => {}
            _ => possible.push(element),
        }
    }
    possible.extend(any);
    (
        possible,
        map.is_changing || any.is_none_or(|any| any.is_uncertain),
    )
}

/// Returns whether a value is an element's key.
fn has_key(value: &RuleValue, element: &SetElement) -> Truth {
    match (value, element.key.as_slice()) {
        (RuleValue::Several(parts), patterns) if parts.len() == patterns.len() => parts
            .iter()
            .zip(patterns)
            .map(|(part, pattern)| fits(part, pattern))
            .fold(Truth::Yes, Truth::and),
        (RuleValue::Several(_), [Pattern::Any]) => Truth::Yes,
        (RuleValue::Several(_), _) => Truth::Maybe,
        (value, [pattern]) => fits(value, pattern),
        _ => Truth::Maybe,
    }
}

/// Returns whether a value compares so with the elements of a set, or with the only one.
pub fn compare(operator: &str, value: &RuleValue, set: &ElementSet) -> Truth {
    let mut is_one = Truth::No;
    for element in &set.elements {
        let is_it = match has_key(value, element) {
            Truth::Yes if element.is_uncertain => Truth::Maybe,
            truth => truth,
        };
        // Either of them.
        is_one = is_one.not().and(is_it.not()).not();
    }
    if set.is_changing {
        is_one = Truth::Maybe;
    }
    let right = match set.elements.as_slice() {
        [one] if !set.is_changing => one.key.first().and_then(Pattern::number),
        _ => None,
    };
    match (operator, value, right) {
        ("==", ..) => is_one,
        ("!=", ..) => is_one.not(),
        ("<", RuleValue::Number(left), Some(right)) => Truth::of(*left < right),
        (">", RuleValue::Number(left), Some(right)) => Truth::of(*left > right),
        ("<=", RuleValue::Number(left), Some(right)) => Truth::of(*left <= right),
        (">=", RuleValue::Number(left), Some(right)) => Truth::of(*left >= right),
        ("in", RuleValue::Number(left), Some(right)) => Truth::of(left & right != 0),
        _ => Truth::Maybe,
    }
}
