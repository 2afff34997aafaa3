//! Decides whether a filter can be evaluated without the packet.

use super::Filter;
use super::ast::{DropWord, Expr, Primitive};
use super::fact::NamedFact;
use crate::record::{Fact, Origin};

impl Filter {
    /// Returns whether the cause of a drop, its interfaces and its namespace decide the filter. For others the
    /// packet is needed, or facts that come with it.
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
        | DropWord::Netns(_)
        | DropWord::Noise => true,
        DropWord::Exactly(named, _) => match named {
            NamedFact::Reason | NamedFact::Location | NamedFact::Module | NamedFact::IfName => true,
            NamedFact::Plain(fact) => is_known_fact(*fact),
        },
        DropWord::Named(fact, _) | DropWord::Number(fact, _) => is_known_fact(*fact),
        DropWord::Protocol(_) => false,
    }
}

/// Returns whether a fact is known without the packet. Software drops never have those of hardware drops.
fn is_known_fact(fact: Fact) -> bool {
    matches!(
        fact,
        Fact::Pc | Fact::Device | Fact::Netns | Fact::NetnsName
    ) || fact.about().origin == Some(Origin::Hardware)
}
