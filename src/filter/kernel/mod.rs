//! Compiles a filter for the kernel: a program that rejects drops before they are delivered, and only
//! drops that this process would reject too. The drop monitor's socket runs it on messages, the eBPF program
//! on its reports.
//!
//! Three rules ensure that. A test that the kernel cannot evaluate is left out of the expression if
//! the rest keeps at least as much (`part`). A message that is not a single whole packet alert is
//! accepted (`message`), and so is a report of what may be no packet (`report`), and a drop whose bytes
//! leave its link type open, unless the expression fails for both link types (`link`). And a predicate
//! answers from the same bytes in the same order as in user space (`writer`, `address`, `transport`, `word`,
//! `report_word`); missing bytes give no answer.

mod address;
mod code;
mod link;
mod message;
mod part;
mod report;
mod report_word;
mod transport;
mod word;
mod writer;

use std::fmt;

use super::Filter;
use super::ast::{Chain, Connective, Expr, PortRange};
use super::predicate::Predicate;
use crate::bpf::{BpfProgram, Condition, Label, Op};
use crate::ebpf::reasons::Reasons;
use code::{Code, Goal, UNDECIDED};
use link::{Links, PayloadLink};
use writer::{Inspected, PredicateWriter};

/// The part of a filter that runs in the kernel.
#[derive(Clone, Debug)]
pub struct KernelFilter {
    /// The extent of the part.
    pub part: KernelPart,
    /// The program for the socket, or for the eBPF program.
    pub program: BpfProgram,
}

/// The form in which the kernel has a drop when its filter sees it.
#[derive(Clone, Copy)]
pub(crate) enum DropForm<'r> {
    /// A message of NET_DM, whose family has this number.
    Message {
        /// The number.
        family: u16,
    },
    /// A report of the eBPF program, with the bytes that it copied of the packet.
    Report {
        /// The names of the running kernel's drop reasons.
        reasons: &'r Reasons,
    },
}

/// The extent to which the kernel evaluates a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelPart {
    /// The whole filter.
    Whole,
    /// A weaker filter, which keeps every drop that the whole one keeps, and more.
    Weaker(Filter),
}

/// The reason why the kernel evaluates no part of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInKernel {
    /// The kernel cannot evaluate any part of it.
    Nothing,
    /// No part of it fits into the permitted number of instructions.
    TooLong,
}

/// `the whole filter`, or the part.
impl fmt::Display for KernelPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the whole filter"),
            Self::Weaker(filter) => filter.fmt(f),
        }
    }
}

impl Filter {
    /// Compiles the largest part of this filter that the kernel can evaluate in at most `max_len`
    /// instructions, for messages of NET_DM's family number `family`.
    pub fn in_kernel(&self, family: u16, max_len: usize) -> Result<KernelFilter, NotInKernel> {
        self.for_form(DropForm::Message { family }, max_len)
    }

    /// Compiles the largest part of this filter that the eBPF program can evaluate in at most `max_len`
    /// instructions. Reasons without a name count as undecided.
    pub(crate) fn in_program(
        &self,
        reasons: &Reasons,
        max_len: usize,
    ) -> Result<KernelFilter, NotInKernel> {
        self.for_form(DropForm::Report { reasons }, max_len)
    }

    fn for_form(&self, form: DropForm<'_>, max_len: usize) -> Result<KernelFilter, NotInKernel> {
        let whole = self.expr.as_ref().ok_or(NotInKernel::Nothing)?;
        let longest = part::of(whole, form).ok_or(NotInKernel::Nothing)?;
        let counts: Vec<usize> = (0..=part::dispensable(&longest)).collect();
        let attempt = |count| {
            let part = part::shortened(&longest, count);
            let program = compile(&part, form);
            (part, program)
        };
        let too_long = |&count: &usize| attempt(count).1.len() > max_len;
        let enough = counts.get(counts.partition_point(too_long));
        let (part, program) = attempt(*enough.ok_or(NotInKernel::TooLong)?);
        let part = if part == *whole {
            KernelPart::Whole
        } else {
            KernelPart::Weaker(Self::from_expr(Some(part)))
        };
        Ok(KernelFilter { part, program })
    }
}

impl DropForm<'_> {
    /// Begins a program: accepts what is no drop of a packet.
    fn begin(self) -> Code {
        match self {
            Self::Message { family } => message::begin(family),
            Self::Report { .. } => report::begin(),
        }
    }

    /// Finds the payload and the packet's length.
    fn find_packet(self, code: &mut Code) {
        match self {
            Self::Message { .. } => message::find_packet(code),
            Self::Report { .. } => report::find_packet(code),
        }
    }

    /// Jumps to the link types that user space may infer.
    fn infer_link(self, code: &mut Code, links: Links) {
        match self {
            Self::Message { .. } => message::infer_link(code, links),
            Self::Report { .. } => report::infer_link(code, links),
        }
    }
}

/// Compiles the program that accepts what `expr` keeps. The kernel can evaluate all of `expr`.
fn compile(expr: &Expr, form: DropForm<'_>) -> BpfProgram {
    let mut code = form.begin();
    let subject = subject(expr);
    if subject >= Inspected::Length {
        form.find_packet(&mut code);
    }
    let write_all = |code: &mut Code, framing, rejected| {
        let goal = Goal {
            wanted: true,
            hit: Label::ACCEPT,
            miss: rejected,
        };
        let mut writer = PredicateWriter {
            code,
            framing,
            form,
        };
        write(&mut writer, expr, goal);
    };
    if subject <= Inspected::Length {
        write_all(&mut code, PayloadLink::Ethernet, Label::REJECT);
        return code.assemble();
    }
    let links = Links {
        ethernet: code.label(),
        raw: code.label(),
        both: code.label(),
    };
    form.infer_link(&mut code, links);
    code.bind(links.both);
    code.store(UNDECIDED, 1);
    code.bind(links.ethernet);
    link::find_kind(&mut code, PayloadLink::Ethernet);
    let rejected = code.label();
    write_all(&mut code, PayloadLink::Ethernet, rejected);
    code.bind(rejected);
    code.op(Op::Recall(UNDECIDED));
    code.branch(Condition::Equal, 0, Label::REJECT, links.raw);
    code.bind(links.raw);
    link::find_kind(&mut code, PayloadLink::Raw);
    write_all(&mut code, PayloadLink::Raw, Label::REJECT);
    code.assemble()
}

/// Writes an expression in text order. Each element jumps to later elements, or out of the
/// expression.
fn write(writer: &mut PredicateWriter<'_>, expr: &Expr, goal: Goal) {
    match expr {
        Expr::Chain(chain) => {
            let mut elements = elements(chain);
            let mut goals = Vec::with_capacity(elements.len());
            let mut first = goal;
            for element in elements.drain(1..).rev() {
                let start = writer.code.label();
                let goal = first;
                // `not (a or b)` is `not a and not b`.
                if (element.connective == Connective::And) == goal.wanted {
                    first.hit = start;
                } else {
                    first.miss = start;
                }
                goals.push((start, element, goal));
            }
            for element in elements {
                element.write(writer, first);
            }
            for (start, element, goal) in goals.into_iter().rev() {
                writer.code.bind(start);
                element.write(writer, goal);
            }
        }
        Expr::Not(expr) => {
            let wanted = !goal.wanted;
            write(writer, expr, Goal { wanted, ..goal });
        }
        Expr::Inner(_) => writer.code.jump(goal.hit),
        Expr::Primitive(primitive) => write_predicate(writer, &Predicate::new(primitive), goal),
    }
}

/// Writes a predicate. One that could not be written would count as a hit, but `part` has left
/// those out.
fn write_predicate(writer: &mut PredicateWriter<'_>, predicate: &Predicate, goal: Goal) {
    if writer.write(predicate, goal).is_none() {
        writer.code.jump(goal.hit);
    }
}

/// An element of a chain.
struct Element<'e> {
    /// The connective between it and the elements before.
    connective: Connective,
    expr: &'e Expr,
    /// Further port ranges, if it is a test of ports.
    ports: Vec<PortRange>,
}

/// Returns the elements of a chain, at least one. Successive tests of ports, as in `port 80 or
/// 443`, become one element, so that the ports are located once.
fn elements(chain: &Chain) -> Vec<Element<'_>> {
    let element = |connective, expr| Element {
        connective,
        expr,
        ports: Vec::new(),
    };
    // The first element has nothing before it, which is the same as `false or`.
    let mut found = vec![element(Connective::Or, &*chain.first)];
    for (connective, expr) in &chain.rest {
        match (found.last_mut(), expr) {
            (
                Some(Element {
                    connective: Connective::Or,
                    expr: Expr::Primitive(before),
                    ports,
                }),
                Expr::Primitive(primitive),
            ) if *connective == Connective::Or => {
                if let Some(range) = Predicate::new(before).joined_port(&Predicate::new(primitive))
                {
                    ports.push(range);
                    continue;
                }
            }
            _ => {}
        }
        found.push(element(*connective, expr));
    }
    found
}

impl Element<'_> {
    fn write(self, writer: &mut PredicateWriter<'_>, goal: Goal) {
        match self.expr {
            Expr::Primitive(primitive) => {
                let predicate = Predicate::new(primitive).with_ports(self.ports);
                write_predicate(writer, &predicate, goal);
            }
            expr => write(writer, expr, goal),
        }
    }
}

/// Returns the deepest part of a drop that any predicate of an expression inspects.
fn subject(expr: &Expr) -> Inspected {
    match expr {
        Expr::Chain(chain) => chain
            .rest
            .iter()
            .map(|(_, expr)| subject(expr))
            .fold(subject(&chain.first), Inspected::max),
        Expr::Not(expr) | Expr::Inner(expr) => subject(expr),
        Expr::Primitive(primitive) => Inspected::of(&Predicate::new(primitive)),
    }
}
