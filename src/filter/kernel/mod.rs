//! Filters in the kernel as well: a program for the socket that rejects messages before they are
//! delivered, and only such as this process would reject.
//!
//! Three things make that so. What the kernel cannot do is left out of the expression, where that
//! can only keep more (`part`). A message that is not one whole packet alert is accepted, and so is
//! what its bytes leave open: the link type, which user space infers, is inferred likewise, and
//! where it may be either, the expression has to fail for both (`message`). And a test answers from
//! the same bytes in the same order (`test`, `address`, `transport`, `word`); what was not captured is no answer, whatever
//! was asked.

mod address;
mod code;
mod message;
mod part;
mod test;
mod transport;
mod word;

use std::fmt;

use super::Filter;
use super::ast::{Connective, Expr};
use super::test::Test;
use crate::bpf::{Condition, Label, Op, Program};
use code::{Code, Goal, UNDECIDED};
use message::{Framing, Links};
use test::{Subject, Tests};

/// What the kernel does of a filter.
#[derive(Clone, Debug)]
pub struct KernelFilter {
    /// How much of it.
    pub part: Part,
    /// The program for the socket.
    pub program: Program,
}

/// How much of a filter the kernel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// A filter that keeps whatever the whole one keeps, and more.
    Weaker(Filter),
}

/// `the whole filter`, or the part.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the whole filter"),
            Self::Weaker(filter) => filter.fmt(f),
        }
    }
}

impl Filter {
    /// What the kernel can do of this filter by at most `max_len` instructions, for messages of
    /// NET_DM's number `family`; `None` where that is nothing.
    pub fn in_kernel(&self, family: u16, max_len: usize) -> Option<KernelFilter> {
        let whole = self.expr.as_ref()?;
        let longest = part::of(whole)?;
        let counts: Vec<usize> = (0..=part::dispensable(&longest)).collect();
        let attempt = |count| {
            let part = part::shortened(&longest, count);
            let program = compile(&part, family);
            (part, program)
        };
        let too_long = |&count: &usize| attempt(count).1.len() > max_len;
        let (part, program) = attempt(*counts.get(counts.partition_point(too_long))?);
        let part = if part == *whole {
            Part::Whole
        } else {
            Part::Weaker(Self::from_expr(Some(part)))
        };
        Some(KernelFilter { part, program })
    }
}

/// The program that accepts what `expr` keeps. All of it can be done.
fn compile(expr: &Expr, family: u16) -> Program {
    let mut code = Code::default();
    message::begin(&mut code, family);
    let subject = subject(expr);
    if subject >= Subject::Length {
        message::find_packet(&mut code);
    }
    if subject <= Subject::Length {
        write_all(&mut code, Framing::Ethernet, expr, Label::REJECT);
        return code.assemble();
    }
    let links = Links {
        ethernet: code.label(),
        raw: code.label(),
        both: code.label(),
    };
    message::infer_link(&mut code, links);
    code.bind(links.both);
    code.store(UNDECIDED, 1);
    code.bind(links.ethernet);
    message::find_kind(&mut code, Framing::Ethernet);
    let rejected = code.label();
    write_all(&mut code, Framing::Ethernet, expr, rejected);
    code.bind(rejected);
    code.op(Op::Recall(UNDECIDED));
    code.branch(Condition::Equal, 0, Label::REJECT, links.raw);
    code.bind(links.raw);
    message::find_kind(&mut code, Framing::Raw);
    write_all(&mut code, Framing::Raw, expr, Label::REJECT);
    code.assemble()
}

fn write_all(code: &mut Code, framing: Framing, expr: &Expr, rejected: Label) {
    let goal = Goal {
        wanted: true,
        hit: Label::ACCEPT,
        miss: rejected,
    };
    write(&mut Tests { code, framing }, expr, goal);
}

/// Writes an expression in text order. Each element leads to the ones behind it, or out.
fn write(tests: &mut Tests<'_>, expr: &Expr, goal: Goal) {
    match expr {
        Expr::Chain(chain) => {
            let mut goals = Vec::with_capacity(chain.rest.len());
            let mut first = goal;
            for (connective, expr) in chain.rest.iter().rev() {
                let start = tests.code.label();
                goals.push((start, expr, first));
                // `not (a or b)` is `not a and not b`.
                if (*connective == Connective::And) == goal.wanted {
                    first.hit = start;
                } else {
                    first.miss = start;
                }
            }
            write(tests, &chain.first, first);
            for (start, expr, goal) in goals.into_iter().rev() {
                tests.code.bind(start);
                write(tests, expr, goal);
            }
        }
        Expr::Not(expr) => write(
            tests,
            expr,
            Goal {
                wanted: !goal.wanted,
                ..goal
            },
        ),
        Expr::Inner(_) => tests.code.jump(goal.hit),
        Expr::Primitive(primitive) => {
            if tests.write(&Test::new(primitive), goal).is_none() {
                tests.code.jump(goal.hit);
            }
        }
    }
}

/// The most that any test of an expression looks at.
fn subject(expr: &Expr) -> Subject {
    match expr {
        Expr::Chain(chain) => chain
            .rest
            .iter()
            .map(|(_, expr)| subject(expr))
            .fold(subject(&chain.first), Subject::max),
        Expr::Not(expr) | Expr::Inner(expr) => subject(expr),
        Expr::Primitive(primitive) => Subject::of(&Test::new(primitive)),
    }
}
