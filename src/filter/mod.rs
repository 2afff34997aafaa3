//! The filter language: that of pcap-filter(7), with words for the facts of a drop.
//! dwdump-filter(7) describes it.
//!
//! `parse` turns an expression into a syntax tree (`ast`), looks names up and carries qualifiers
//! over. `program` compiles the tree into a list of `predicate`s, each with a branch for "true" and
//! one for "not true". A predicate has three possible answers, because bytes may be missing; a drop
//! is kept only if the whole expression is certainly true. A filter reads only the [`DropRecord`],
//! fails on no packet, and allocates nothing for one.
//!
//! Reading order: `ast`, `parse`, `primitive`, then `program`, `layout`, `predicate`. `kernel`
//! compiles the same expression into a program that the kernel runs on messages or in the eBPF program.
//!
//! # Example
//!
//! ```
//! # use dwdump::record::{
//! #     Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name, Symbol, Timestamp,
//! # };
//! #
//! # let data = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
//! # let mut record = DropRecord::new(Link::known(LinkType::RAW), &data);
//! # record.time = Some(Timestamp(1_700_000_000_000_000_000));
//! # let symbol = Name::new(b"udp_queue_rcv_one_skb+0x1f/0x2d0").map(Symbol);
//! # record.cause = Cause::Software {
//! #     location: Location::new(None, symbol),
//! #     reason: Name::new(b"SOCKET_RCVBUFF"),
//! # };
//! # record.input = Some(Interface::new(2, Name::new(b"eth0")));
//! # record.protocol = Some(EtherType::IPV4);
//! use dwdump::filter::{Filter, SystemNames};
//!
//! let filter = Filter::parse("udp and reason SOCKET_RCVBUFF", &SystemNames)?;
//! assert!(filter.matches(&record));
//! assert!(Filter::parse("udp and", &SystemNames).is_err());
//! # Ok::<(), dwdump::filter::FilterError>(())
//! ```

mod address;
mod advice;
mod arithmetic;
mod ast;
mod contradiction;
mod display;
mod drop_predicate;
mod drop_word;
mod error;
mod fact;
mod glob;
mod inner;
mod kernel;
mod layout;
mod lex;
mod names;
mod operand;
mod packet;
mod parse;
#[cfg(any(test, feature = "fuzzing"))]
mod plain;
mod port;
mod predicate;
mod primitive;
mod program;
mod relation;
mod source_text;
mod suggest;
#[cfg(test)]
pub(crate) mod tests;
mod transport_header;
mod view;
mod without_packet;
mod words;

use std::fmt;

use crate::record::{DropRecord, Fact, Tellers};

use ast::{Connective, Expr, Primitive};
use fact::NamedFact;
use packet::FramedPacket;
use program::Program;
use source_text::SourceText;

pub(crate) use ast::DropWord;
pub use contradiction::Contradiction;
pub use display::Text;
pub use error::FilterError;
pub(crate) use fact::FactText;
pub use kernel::{KernelFilter, KernelPart, NotInKernel};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use names::FixedNames;
pub use names::{NameLookup, Service, SystemNames};
pub use port::OneWay;
pub use suggest::nearest;
#[cfg(test)]
pub(crate) use words::completable;

/// A compiled filter expression.
#[derive(Clone, Debug)]
pub struct Filter {
    /// `None` keeps every drop.
    expr: Option<Expr>,
    program: Program,
    source: Box<SourceText>,
}

/// Two filters are equal if their expressions mean the same, regardless of spelling.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr
    }
}

impl Eq for Filter {}

impl Filter {
    /// Parses and compiles an expression. An empty one keeps every drop. Names are looked up here,
    /// once.
    pub fn parse(text: &str, names: &dyn NameLookup) -> Result<Self, FilterError> {
        let (expr, source) = parse::parse(text, names)?;
        Ok(Self {
            source: Box::new(source),
            ..Self::from_expr(expr)
        })
    }

    fn from_expr(expr: Option<Expr>) -> Self {
        let program = match &expr {
            Some(expr) => Program::new(expr, true),
            None => Program::all(),
        };
        Self {
            expr,
            program,
            source: Box::default(),
        }
    }

    /// Returns the filter `iface NAME and (…)`, which `-i NAME` stands for. `name` is an interface's
    /// name or index.
    #[must_use]
    pub fn on_interface(self, name: &str) -> Self {
        // tcpdump's word for all interfaces.
        if name == "any" {
            return self;
        }
        let word = match name.parse() {
            Ok(index) => DropWord::InterfaceIndex(index),
            Err(_) => DropWord::InterfaceName(name.as_bytes().to_vec()),
        };
        let interface = Expr::from(Primitive::Drop(word));
        let rest = self.expr.map(|expr| (Connective::And, expr));
        let source = self.source.behind(&format!("-i {name}"));
        Self {
            source: Box::new(source),
            ..Self::from_expr(Some(interface.chained(rest.into_iter().collect())))
        }
    }

    /// Returns whether the filter keeps the drop, that is, whether the expression is certainly
    /// true.
    pub fn matches(&self, record: &DropRecord<'_>) -> bool {
        // Without an expression, no header is looked at: 86 instructions less.
        self.keeps_all() || self.program.holds(&FramedPacket::new(record))
    }

    /// Returns whether the filter keeps every drop.
    pub fn keeps_all(&self) -> bool {
        self.expr.is_none()
    }

    /// Returns the parts that contradict each other, if certainly no drop can match.
    pub fn contradiction(&self) -> Option<Contradiction> {
        contradiction::contradiction(self.expr.as_ref()?, &self.source)
    }

    /// Returns the patterns of `reason` in the order of the expression, in upper case.
    pub fn reasons(&self) -> Vec<ReasonPattern> {
        let mut found = Vec::new();
        self.each_drop_word(&mut |word| {
            found.extend(match word {
                DropWord::Reason(glob) => Some(ReasonPattern(glob.clone())),
                DropWord::Exactly(NamedFact::Reason, name) if !name.is_empty() => {
                    Some(ReasonPattern(glob::Glob::new(name.clone())))
                }
                _ => None,
            });
        });
        found
    }

    /// Returns the first fact of the expression that only eBPF programs tell.
    pub fn fact_of_ebpf(&self) -> Option<Fact> {
        let mut found = None;
        self.each_drop_word(&mut |word| {
            let fact = match word {
                DropWord::Named(fact, _)
                | DropWord::Number(fact, _)
                | DropWord::Exactly(NamedFact::Plain(fact), _) => *fact,
                DropWord::Netns(_) => Fact::Netns,
                _ => return,
            };
            if fact.about().told_by == Tellers::Ebpf {
                // Stacks have to be asked for: whoever chooses the sources has to know.
                if found.is_none() || fact == Fact::Stack {
                    found = Some(fact);
                }
            }
        });
        found
    }

    /// Returns whether the expression asks for a VLAN tag: eBPF programs tell of those that were taken off.
    pub fn asks_for_vlan(&self) -> bool {
        let mut asks = false;
        // Devices take off tags of frames, not of what tunnels carry.
        self.each_primitive(&mut |primitive, is_inner| {
            asks |= !is_inner && matches!(primitive, Primitive::Vlan(_));
        });
        asks
    }

    fn each_drop_word(&self, take: &mut dyn FnMut(&DropWord)) {
        self.each_primitive(&mut |primitive, _| {
            if let Primitive::Drop(word) = primitive {
                take(word);
            }
        });
    }

    fn each_primitive(&self, take: &mut dyn FnMut(&Primitive, bool)) {
        if let Some(expr) = &self.expr {
            each_primitive(expr, false, take);
        }
    }
}

/// Shows the canonical form, which parses to the same filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.as_ref().map_or(Ok(()), |expr| expr.fmt(f))
    }
}

/// A pattern that an expression compares the drop reason with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonPattern(glob::Glob);

impl ReasonPattern {
    /// Returns whether a reason matches.
    pub fn matches(&self, reason: &str) -> bool {
        self.0.matches_any_case(reason.as_bytes())
    }
}

impl fmt::Display for ReasonPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::record::Escaped(self.0.as_bytes()).fmt(f)
    }
}

/// Calls `take` with each primitive, and whether it asks for a packet in a tunnel.
fn each_primitive(expr: &Expr, is_inner: bool, take: &mut dyn FnMut(&Primitive, bool)) {
    match expr {
        Expr::Chain(chain) => {
            each_primitive(&chain.first, is_inner, take);
            for (_, expr) in &chain.rest {
                each_primitive(expr, is_inner, take);
            }
        }
        Expr::Not(expr) => each_primitive(expr, is_inner, take),
        Expr::Inner(expr) => each_primitive(expr, true, take),
        Expr::Primitive(primitive) => take(primitive, is_inner),
    }
}
