//! Decides whether a filter can be evaluated without the packet.

use super::Filter;
use super::ast::{DropWord, Expr, Primitive};
use super::fact::NamedFact;
use crate::record::{Fact, Origin};

impl Filter {
    /// Returns whether the cause of a drop and its input interface decide the filter. For others the packet
    /// is needed, or facts that come with it.
    pub fn needs_no_packet(&self) -> bool {
        self.expr.as_ref().is_none_or(is_decided)
    }
}

fn is_decided(expr: &Expr) -> bool {
    match expr {
        Expr::Chain(chain) => {
            let mut rest = chain.rest.iter();
            is_decided(&chain.first) && rest.all(|(_, expr)| is_decided(expr))
        }
        Expr::Not(expr) => is_decided(expr),
        Expr::Primitive(Primitive::Drop(word)) => is_known(word),
        Expr::Inner(_) | Expr::Primitive(_) => false,
    }
}

fn is_known(word: &DropWord) -> bool {
    match word {
        DropWord::Reason(_)
        | DropWord::Location(_)
        | DropWord::Module(_)
        | DropWord::Origin(_)
        | DropWord::InterfaceIndex(_)
        | DropWord::InterfaceName(_)
        | DropWord::NoInterface
        | DropWord::Noise => true,
        DropWord::Exactly(named, _) => match named {
            NamedFact::Reason | NamedFact::Location | NamedFact::Module | NamedFact::IfName => true,
            NamedFact::Plain(fact) => is_of_cause(*fact),
        },
        DropWord::Named(fact, _) | DropWord::Number(fact, _) => is_of_cause(*fact),
        DropWord::Protocol(_) => false,
    }
}

/// Returns whether a fact belongs to the cause. Software drops never have those of hardware drops.
fn is_of_cause(fact: Fact) -> bool {
    fact == Fact::Pc || fact.about().origin == Some(Origin::Hardware)
}
