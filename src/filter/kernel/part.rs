//! Selects the part of an expression that the kernel can evaluate. The part keeps every drop that
//! the whole expression keeps.

use super::writer::Inspected;
use crate::bpf::Label;
use crate::filter::ast::{Connective, Expr, Primitive};
use crate::filter::predicate::Predicate;

use super::DropForm;
use super::code::{Code, Goal};
use super::link::PayloadLink;
use super::writer::PredicateWriter;

/// Returns the strongest such part; `None` if nothing is left.
pub fn of(expr: &Expr, form: DropForm<'_>) -> Option<Expr> {
    let mut selector = PartSelector {
        form,
        has_moved: false,
    };
    selector.of(expr, true)
}

/// Returns the number of elements at the end that are joined by `and`, and that can therefore be
/// left out.
pub fn dispensable(expr: &Expr) -> usize {
    let Expr::Chain(chain) = expr else {
        return 0;
    };
    let connectives = chain.rest.iter().rev().map(|(connective, _)| connective);
    connectives
        .take_while(|&&connective| connective == Connective::And)
        .count()
}

/// Returns the expression without its last `count` elements, which are dispensable.
pub fn shortened(expr: &Expr, count: usize) -> Expr {
    let Expr::Chain(chain) = expr else {
        return expr.clone();
    };
    let left = chain.rest.len().saturating_sub(count);
    let first = (*chain.first).clone();
    first.chained(chain.rest[..left].to_vec())
}

struct PartSelector<'r> {
    form: DropForm<'r>,
    /// True if `vlan`, `mpls` or `pppoes` has moved the headers, in text order.
    has_moved: bool,
}

impl PartSelector<'_> {
    /// Returns the part of `expr` that is left when it should have the value `wanted`. A test that
    /// is left out counts as having that value.
    fn of(&mut self, expr: &Expr, wanted: bool) -> Option<Expr> {
        match expr {
            Expr::Chain(chain) => {
                let mut left = self.of(&chain.first, wanted);
                for (connective, expr) in &chain.rest {
                    let right = self.of(expr, wanted);
                    // `not (a or b)` is `not a and not b`.
                    let needs_both = (*connective == Connective::And) == wanted;
                    left = match (left, right) {
                        (Some(left), Some(right)) => Some(left.chained(vec![(*connective, right)])),
                        (one, other) if needs_both => one.or(other),
                        _ => None,
                    };
                }
                left
            }
            Expr::Not(expr) => self.of(expr, !wanted).map(Expr::negated),
            // Finding a packet inside another takes a walk through headers.
            Expr::Inner(_) => None,
            Expr::Primitive(primitive) => {
                let predicate = Predicate::new(primitive);
                let is_where_it_was =
                    !self.has_moved || Inspected::of(&predicate) != Inspected::Header;
                self.has_moved |= matches!(
                    primitive,
                    Primitive::Vlan(_) | Primitive::Mpls(_) | Primitive::Pppoes(_)
                );
                (is_where_it_was && can_do(&predicate, self.form)).then(|| expr.clone())
            }
        }
    }
}

/// Returns whether the predicate can be compiled for both link types.
fn can_do(predicate: &Predicate, form: DropForm<'_>) -> bool {
    [PayloadLink::Ethernet, PayloadLink::Raw]
        .into_iter()
        .all(|framing| {
            let mut code = Code::default();
            let goal = Goal {
                wanted: true,
                hit: Label::ACCEPT,
                miss: Label::REJECT,
            };
            let mut writer = PredicateWriter {
                code: &mut code,
                framing,
                form,
            };
            writer.write(predicate, goal).is_some()
        })
}
