//! Detects filters that no drop can match, before a capture waits in vain.
//!
//! An expression becomes a [`Formula`] over variables with one value each, such as the type of a
//! header, a byte, or a reason. If no values satisfy the formula, the expression is never true, and
//! the smallest contradicting parts are named. Errors go one way only: a part that is not
//! understood counts as one that can be true, and so does an expression that takes too long to
//! decide.

mod comparison;
mod constraint;
mod drop_word;
mod formula;
mod hint;
mod meaning;
mod primitive;
mod transport;

use std::fmt;
use std::ops::Range;

use super::ast::{Connective, Expr, Primitive};
use super::source_text::SourceText;
use constraint::{Numbers, PlaceId, Variable};
use formula::{Formula, StepBudget, exclude_each_other};
use meaning::{Meaning, Spot};
use primitive::meaning;
use transport::tunnelled;

/// The reason why no drop can match a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    reasons: Vec<Conflict>,
    /// A hint of one line about what was probably meant.
    pub hint: Option<String>,
}

/// The contradicting parts of an expression, as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Conflict {
    /// One part that is never true.
    Never(String),
    /// At least two parts that are never true together.
    Excluding(Vec<String>),
}

/// The most alternatives whose contradictions are reported.
const MAX_REASONS: usize = 3;
/// The most parts of a contradiction that are named.
const MAX_NAMES: usize = 8;

/// `no drop can match: `a` and `b` exclude each other`
impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no drop can match this filter: ")?;
        for (index, reason) in self.reasons.iter().take(MAX_REASONS).enumerate() {
            if index > 0 {
                f.write_str(", and ")?;
            }
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = match self {
            Self::Never(name) => return write!(f, "`{}` is never true", Short(name)),
            Self::Excluding(names) => names,
        };
        let shown = names.len().min(MAX_NAMES);
        for (index, name) in names[..shown].iter().enumerate() {
            let joint = match index {
                0 => "",
                index if index + 1 == names.len() => " and ",
                _ => ", ",
            };
            write!(f, "{joint}`{}`", Short(name))?;
        }
        if shown < names.len() {
            write!(f, " and {} more", names.len() - shown)?;
        }
        f.write_str(" exclude each other")
    }
}

/// The text of a part, shortened to fit a terminal.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX: usize = 80;
        match self.0.char_indices().nth(MAX) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
        }
    }
}

/// The most primitives of an expression that is examined.
const MAX_PRIMITIVES: usize = 1000;
/// The steps for detecting a contradiction.
const BUDGET: usize = 50_000;
/// The steps for finding the contradicting parts.
const BUDGET_TO_EXPLAIN: usize = 100_000;

/// Returns why `expr` is never true, if that is certain.
pub fn contradiction(expr: &Expr, source: &SourceText) -> Option<Contradiction> {
    if count_primitives(expr) > MAX_PRIMITIVES {
        return None;
    }
    let (formula, part) = FormulaBuilder::default().whole(expr);
    if !exclude_each_other([&formula], &mut StepBudget(BUDGET)) {
        return None;
    }
    let mut of_untagged = FormulaBuilder {
        is_tag_off: true,
        ..FormulaBuilder::default()
    };
    let (untagged, _) = of_untagged.whole(expr);
    if of_untagged.has_asked_for_tag && !exclude_each_other([&untagged], &mut StepBudget(BUDGET)) {
        return None;
    }
    let mut explanation = Explainer {
        source,
        budget: StepBudget(BUDGET_TO_EXPLAIN),
        reasons: Vec::new(),
        hint: None,
    };
    explanation.explain(&formula, &part);
    Some(Contradiction {
        reasons: explanation.reasons,
        hint: explanation.hint,
    })
}

pub(super) fn count_primitives(expr: &Expr) -> usize {
    match expr {
        Expr::Chain(chain) => {
            let rest = chain.rest.iter().map(|(_, expr)| count_primitives(expr));
            count_primitives(&chain.first) + rest.sum::<usize>()
        }
        Expr::Not(expr) | Expr::Inner(expr) => count_primitives(expr),
        Expr::Primitive(_) => 1,
    }
}

/// A part of the expression; it mirrors the formula that was built from it.
#[derive(Debug)]
struct ExprPart<'e> {
    /// The positions of its primitives in the expression.
    primitives: Range<usize>,
    shape: Shape<'e>,
}

#[derive(Debug)]
enum Shape<'e> {
    Primitive {
        primitive: &'e Primitive,
        /// The answer that makes the expression true.
        wanted: bool,
        place: PlaceId,
    },
    /// A packet inside a tunnel. The formula states that it exists and satisfies the expression,
    /// or, if negated, that one of the two is false.
    Inner {
        wanted: bool,
        inside: Box<ExprPart<'e>>,
    },
    /// A group, with one part for each element of the formula.
    Group(Connective, Vec<ExprPart<'e>>),
}

/// A word that moves the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Vlan,
    Mpls,
    Pppoes,
    /// All VLAN tags of the packet, without any word.
    AllTags,
    /// To the VLAN tag that a device took off, and which is not in the packet.
    TagOff,
}

/// Builds the formula of an expression, with every negation pushed down to its primitives.
#[derive(Default)]
struct FormulaBuilder<'e> {
    /// The known positions: the number of tunnels, and the moves from the beginning of the packet.
    places: Vec<(usize, Vec<Move>)>,
    /// The distinct primitives so far, each with its position.
    seen: Vec<(PlaceId, &'e Primitive)>,
    primitives: usize,
    /// True if a device took a VLAN tag off the packet: the first `vlan` asks for it, and moves nothing.
    is_tag_off: bool,
    has_asked_for_tag: bool,
}

impl<'e> FormulaBuilder<'e> {
    fn whole(&mut self, expr: &'e Expr) -> (Formula, ExprPart<'e>) {
        self.build(expr, true, 0, &mut Vec::new())
    }

    fn place(&mut self, depth: usize, moves: &[Move]) -> PlaceId {
        let known = self
            .places
            .iter()
            .position(|(known, by)| *known == depth && by == moves);
        PlaceId(known.unwrap_or_else(|| {
            self.places.push((depth, moves.to_vec()));
            self.places.len() - 1
        }))
    }

    fn build(
        &mut self,
        expr: &'e Expr,
        wanted: bool,
        depth: usize,
        moves: &mut Vec<Move>,
    ) -> (Formula, ExprPart<'e>) {
        match expr {
            Expr::Chain(chain) => {
                let mut whole = self.build(&chain.first, wanted, depth, moves);
                for (connective, expr) in &chain.rest {
                    let next = self.build(expr, wanted, depth, moves);
                    // `not (a or b)` is `not a and not b`.
                    let connective = match (connective, wanted) {
                        (Connective::And, true) | (Connective::Or, false) => Connective::And,
                        (Connective::Or, true) | (Connective::And, false) => Connective::Or,
                    };
                    whole = joined(whole, connective, next);
                }
                whole
            }
            Expr::Not(expr) => self.build(expr, !wanted, depth, moves),
            Expr::Inner(expr) => self.inner(expr, wanted, depth),
            Expr::Primitive(primitive) => self.primitive(primitive, wanted, depth, moves),
        }
    }

    fn inner(&mut self, expr: &'e Expr, wanted: bool, depth: usize) -> (Formula, ExprPart<'e>) {
        let spot = self.spot(depth, &[]);
        let has_tunnel = Formula::masked(Variable::HasTunnel(depth), 1, Numbers::one(1));
        // No word has moved the headers of the packet inside.
        let (inside, part) = self.build(expr, wanted, depth + 1, &mut Vec::new());
        let formula = if wanted {
            Formula::All(vec![inside, has_tunnel, tunnelled(spot)])
        } else {
            Formula::Any(vec![inside, has_tunnel.not()])
        };
        let primitives = part.primitives.clone();
        let shape = Shape::Inner {
            wanted,
            inside: Box::new(part),
        };
        (formula, ExprPart { primitives, shape })
    }

    fn spot(&mut self, depth: usize, moves: &[Move]) -> Spot {
        Spot {
            depth,
            here: self.place(depth, moves),
            start: self.place(depth, &[]),
            untagged: self.place(depth, &[Move::AllTags]),
            is_labelled: moves.contains(&Move::Mpls),
        }
    }

    fn primitive(
        &mut self,
        primitive: &'e Primitive,
        wanted: bool,
        depth: usize,
        moves: &mut Vec<Move>,
    ) -> (Formula, ExprPart<'e>) {
        let is_vlan = matches!(primitive, Primitive::Vlan(_));
        let is_of_tag = is_vlan && depth == 0 && self.is_tag_off && !self.has_asked_for_tag;
        let mut spot = self.spot(depth, moves);
        if is_of_tag {
            self.has_asked_for_tag = true;
            spot.here = self.place(depth, &[Move::TagOff]);
        }
        let place = spot.here;
        let known = self
            .seen
            .iter()
            .position(|&(at, known)| at == place && known == primitive);
        let number = known.unwrap_or_else(|| {
            self.seen.push((place, primitive));
            self.seen.len() - 1
        });
        let itself = Formula::masked(Variable::Holds(number), 1, Numbers::one(wanted.into()));
        let meaning = if is_of_tag {
            Meaning::at_most(Formula::True)
        } else {
            meaning(primitive, spot)
        };
        let meant = if wanted { meaning.holds } else { meaning.fails };
        match primitive {
            Primitive::Vlan(_) if is_of_tag => {}
            Primitive::Vlan(_) => moves.push(Move::Vlan),
            Primitive::Mpls(_) => moves.push(Move::Mpls),
            Primitive::Pppoes(_) => moves.push(Move::Pppoes),
            _ => {}
        }
        let part = ExprPart {
            primitives: self.primitives..self.primitives + 1,
            shape: Shape::Primitive {
                primitive,
                wanted,
                place,
            },
        };
        self.primitives += 1;
        (Formula::All(vec![itself, meant]), part)
    }
}

/// Joins two parts. Groups of the same connective become one group.
fn joined<'e>(
    (one, one_part): (Formula, ExprPart<'e>),
    connective: Connective,
    (other, other_part): (Formula, ExprPart<'e>),
) -> (Formula, ExprPart<'e>) {
    let primitives = one_part.primitives.start..other_part.primitives.end;
    let (mut formulas, mut parts) = elements(one, one_part, connective);
    let (more_formulas, more_parts) = elements(other, other_part, connective);
    formulas.extend(more_formulas);
    parts.extend(more_parts);
    let formula = match connective {
        Connective::And => Formula::All(formulas),
        Connective::Or => Formula::Any(formulas),
    };
    let shape = Shape::Group(connective, parts);
    (formula, ExprPart { primitives, shape })
}

fn elements(
    formula: Formula,
    part: ExprPart<'_>,
    connective: Connective,
) -> (Vec<Formula>, Vec<ExprPart<'_>>) {
    match (formula, part) {
        (
            Formula::All(formulas) | Formula::Any(formulas),
            ExprPart {
                shape: Shape::Group(same, parts),
                ..
            },
        ) if same == connective => (formulas, parts),
        (formula, part) => (vec![formula], vec![part]),
    }
}

struct Explainer<'s> {
    source: &'s SourceText,
    budget: StepBudget,
    reasons: Vec<Conflict>,
    hint: Option<String>,
}

impl Explainer<'_> {
    /// Finds the smallest contradicting parts of a part that is never true.
    fn explain(&mut self, formula: &Formula, part: &ExprPart<'_>) {
        match (formula, &part.shape) {
            (Formula::Any(formulas), Shape::Group(Connective::Or, parts)) => {
                for (formula, part) in formulas.iter().zip(parts) {
                    if self.reasons.len() < MAX_REASONS {
                        self.explain(formula, part);
                    }
                }
            }
            (Formula::All(formulas), Shape::Group(Connective::And, parts)) => {
                let needed = self.needed(formulas);
                match needed[..] {
                    [only] => self.explain(&formulas[only], &parts[only]),
                    _ => self.excluding(
                        &needed
                            .iter()
                            .map(|&index| &parts[index])
                            .collect::<Vec<_>>(),
                    ),
                }
            }
            (Formula::All(formulas), Shape::Inner { inside, .. })
                if exclude_each_other(&formulas[..1], &mut self.budget) =>
            {
                self.explain(&formulas[0], inside);
            }
            _ => {
                let name = self.source.named(part);
                self.hint = self.hint.take().or_else(|| hint::of_one(part));
                self.add(Conflict::Never(name));
            }
        }
    }

    /// Returns a minimal set of formulas that contradict each other.
    fn needed(&mut self, formulas: &[Formula]) -> Vec<usize> {
        let mut needed: Vec<usize> = (0..formulas.len()).collect();
        // From the end, so that the parts that were written first stay.
        for index in (0..formulas.len()).rev() {
            let without = needed.iter().filter(|&&other| other != index);
            if exclude_each_other(without.map(|&other| &formulas[other]), &mut self.budget) {
                needed.retain(|&other| other != index);
            }
        }
        needed
    }

    fn excluding(&mut self, parts: &[&ExprPart<'_>]) {
        let names: Vec<_> = parts.iter().map(|part| self.source.named(part)).collect();
        let has_option = names.iter().any(|name| name.starts_with("-i "));
        let hint = hint::of_several(parts, has_option);
        self.hint = self.hint.take().or(hint);
        self.add(Conflict::Excluding(names));
    }

    fn add(&mut self, reason: Conflict) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

impl SourceText {
    /// Returns a part as it was written, or in its canonical form if the text is no complete
    /// expression.
    fn named(&self, part: &ExprPart<'_>) -> String {
        match &part.shape {
            Shape::Primitive {
                primitive, wanted, ..
            } => {
                let text = self.text(part.primitives.clone());
                let name = text.map_or_else(|| primitive.to_string(), str::to_owned);
                format!("{}{name}", if *wanted { "" } else { "not " })
            }
            Shape::Inner { wanted, inside } => {
                let not = if *wanted { "" } else { "not " };
                // The negation was pushed inside.
                let name = if *wanted {
                    self.named(inside)
                } else {
                    "…".to_owned()
                };
                match inside.shape {
                    Shape::Group(..) => format!("{not}inner ({name})"),
                    _ => format!("{not}inner {name}"),
                }
            }
            Shape::Group(connective, parts) => {
                if is_positive(part)
                    && let Some(text) = self.text(part.primitives.clone())
                {
                    return text.to_owned();
                }
                let names = parts.iter().map(|part| match part.shape {
                    Shape::Group(..) => format!("({})", self.named(part)),
                    _ => self.named(part),
                });
                let joint = match connective {
                    Connective::And => " and ",
                    Connective::Or => " or ",
                };
                names.collect::<Vec<_>>().join(joint)
            }
        }
    }
}

/// Returns whether no primitive in the part is negated.
fn is_positive(part: &ExprPart<'_>) -> bool {
    match &part.shape {
        Shape::Primitive { wanted, .. } | Shape::Inner { wanted, .. } => *wanted,
        Shape::Group(_, parts) => parts.iter().all(is_positive),
    }
}
