//! Formulas: constraints joined by "and" and "or", and a search for a packet that satisfies them.

use crate::filter::ast::{DirQualifier, PortRange};

use super::constraint::{
    Base, Constraint, Constraints, Numbers, PlaceId, TextConstraint, Variable,
};

/// A condition that a packet must satisfy.
#[derive(Clone, Debug)]
pub enum Formula {
    True,
    False,
    Is(Constraint),
    Text(TextConstraint),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

impl Formula {
    /// Returns the formula that a variable under a mask is one of some numbers.
    pub fn masked(field: Variable, mask: u128, numbers: Numbers) -> Self {
        let numbers = numbers.up_to(mask);
        if numbers.is_empty() {
            Self::False
        } else if numbers.complement(mask).is_empty() {
            Self::True
        } else {
            Self::Is(Constraint {
                field,
                mask,
                numbers,
            })
        }
    }

    /// Returns the negation. It is valid only for a formula that is equivalent to its primitive,
    /// not weaker.
    pub fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Is(Constraint {
                field,
                mask,
                numbers,
            }) => Self::masked(field, mask, numbers.complement(mask)),
            Self::Text(fact) => Self::Text(TextConstraint {
                fits: !fact.fits,
                ..fact
            }),
            Self::All(parts) => Self::Any(parts.into_iter().map(Self::not).collect()),
            Self::Any(parts) => Self::All(parts.into_iter().map(Self::not).collect()),
        }
    }
}

pub fn all_of(parts: impl IntoIterator<Item = Formula>) -> Formula {
    Formula::All(parts.into_iter().collect())
}

pub fn any_of(parts: impl IntoIterator<Item = Formula>) -> Formula {
    Formula::Any(parts.into_iter().collect())
}

pub fn kind(place: PlaceId, kinds: &[u16]) -> Formula {
    let kinds = kinds.iter().copied().map(u128::from);
    Formula::masked(
        Variable::Kind(place),
        u128::from(u16::MAX),
        Numbers::of(kinds),
    )
}

pub fn bytes(place: PlaceId, base: Base, offset: usize, width: u32) -> Variable {
    Variable::Bytes {
        place,
        base,
        offset,
        width,
    }
}

/// Returns the formula that the whole variable is one of `numbers`.
pub fn among(field: Variable, numbers: Numbers) -> Formula {
    let mask = match field {
        Variable::Bytes { width, .. } => all_bits(width),
        _ => u128::MAX,
    };
    Formula::masked(field, mask, numbers)
}

fn all_bits(width: u32) -> u128 {
    u128::MAX >> (128 - 8 * width)
}

pub fn is_one(field: Variable, number: u128) -> Formula {
    among(field, Numbers::one(number))
}

pub fn in_range(field: Variable, range: PortRange) -> Formula {
    among(
        field,
        Numbers::between(range.first.into(), range.last.into()),
    )
}

pub fn judged(direction: DirQualifier, source: Formula, destination: Formula) -> Formula {
    match direction {
        DirQualifier::Source => source,
        DirQualifier::Destination => destination,
        DirQualifier::Either => any_of([source, destination]),
        DirQualifier::Both => all_of([source, destination]),
    }
}

/// The number of steps that are left for a search.
pub struct StepBudget(pub usize);

impl StepBudget {
    /// Counts one pass over all constraints; returns whether steps are left.
    fn spend(&mut self, facts: &Constraints<'_>) -> bool {
        self.0 = self.0.saturating_sub(1 + facts.len() / 16);
        self.0 > 0
    }
}

/// The deepest nesting of choices that is searched.
const MAX_DEPTH: usize = 400;

/// Returns whether no packet can satisfy all formulas; `false` if one may, or if the budget ran
/// out.
pub fn exclude_each_other<'a>(
    formulas: impl IntoIterator<Item = &'a Formula>,
    budget: &mut StepBudget,
) -> bool {
    let attempt = Attempt {
        facts: Constraints::default(),
        choices: Vec::new(),
        depth: 0,
    };
    !attempt.succeeds(formulas.into_iter().collect(), budget)
}

/// A set of constraints, and the choices that are still to be made.
#[derive(Clone)]
struct Attempt<'a> {
    facts: Constraints<'a>,
    choices: Vec<&'a [Formula]>,
    depth: usize,
}

impl<'a> Attempt<'a> {
    fn succeeds(mut self, mut todo: Vec<&'a Formula>, budget: &mut StepBudget) -> bool {
        loop {
            while let Some(formula) = todo.pop() {
                if !budget.spend(&self.facts) {
                    return true;
                }
                let is_possible = match formula {
                    Formula::True => true,
                    Formula::False => false,
                    Formula::Is(fact) => self.facts.add(fact),
                    Formula::Text(fact) => self.facts.add_text(fact),
                    Formula::All(parts) => {
                        todo.extend(parts);
                        true
                    }
                    Formula::Any(parts) => {
                        self.choices.push(parts);
                        true
                    }
                };
                if !is_possible {
                    return false;
                }
            }
            // The choice with the fewest alternatives comes first.
            let mut narrowest: Option<(usize, Vec<&Formula>)> = None;
            for (index, parts) in self.choices.iter().enumerate() {
                let left: Vec<_> = parts
                    .iter()
                    .filter(|part| self.allows(part, budget))
                    .collect();
                if narrowest
                    .as_ref()
                    .is_none_or(|(_, fewest)| left.len() < fewest.len())
                {
                    let is_decided = left.len() <= 1;
                    narrowest = Some((index, left));
                    if is_decided {
                        break;
                    }
                }
            }
            let Some((index, left)) = narrowest else {
                return true;
            };
            self.choices.swap_remove(index);
            match left[..] {
                [] => return false,
                [only] => todo.push(only),
                _ if self.depth >= MAX_DEPTH => return true,
                _ => {
                    self.depth += 1;
                    return left
                        .into_iter()
                        .any(|part| self.clone().succeeds(vec![part], budget));
                }
            }
        }
    }

    /// Returns whether no known constraint directly contradicts the formula.
    fn allows(&self, formula: &Formula, budget: &mut StepBudget) -> bool {
        if !budget.spend(&self.facts) {
            return true;
        }
        match formula {
            Formula::True => true,
            Formula::False => false,
            Formula::Is(fact) => self.facts.allow(fact),
            Formula::Text(fact) => self.facts.allow_text(fact),
            Formula::All(parts) => parts.iter().all(|part| self.allows(part, budget)),
            Formula::Any(parts) => parts.iter().any(|part| self.allows(part, budget)),
        }
    }
}
