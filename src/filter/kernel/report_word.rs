//! Compiles tests of the drop's facts for the eBPF program: numbers of its report. Where user space may
//! have a fact or not, a number that fits is left to user space.

use super::code::{Code, Compiled, Goal};
use crate::bpf::Condition;
use crate::ebpf::program::filter::{load, load_halves};
use crate::ebpf::reasons::Reasons;
use crate::ebpf::report;
use crate::filter::ast::DropWord;
use crate::filter::fact::NamedFact;
use crate::record::{self, MAX_NAME, Origin};

/// Writes a predicate that leads to its goal.
pub fn write(code: &mut Code, word: &DropWord, reasons: &Reasons, goal: Goal) -> Compiled {
    match word {
        DropWord::Origin(origin) => answer(code, *origin == Origin::Software, goal),
        DropWord::Reason(glob) => {
            is_reason(code, reasons, |name| glob.matches_any_case(name), goal);
        }
        DropWord::Exactly(NamedFact::Reason, value) => {
            is_reason(code, reasons, |name| name == value, goal);
        }
        // All drops are the kernel's.
        DropWord::Named(fact, _)
        | DropWord::Number(fact, _)
        | DropWord::Exactly(NamedFact::Plain(fact), _)
            if fact.about().origin == Some(Origin::Hardware) =>
        {
            answer(code, false, goal);
        }
        DropWord::Number(record::Fact::Pc, Some(pc)) => {
            let [a, b, c, d, rest @ ..] = pc.to_ne_bytes();
            let [first, second] = load_halves(report::PC);
            code.op(first);
            code.require(u32::from_ne_bytes([a, b, c, d]), goal.no());
            code.op(second);
            is_number(code, u32::from_ne_bytes(rest), goal);
        }
        DropWord::InterfaceIndex(0) => answer(code, false, goal),
        DropWord::InterfaceIndex(index) => {
            code.op(load(report::INPUT));
            is_number(code, *index, goal);
        }
        DropWord::NoInterface => {
            code.op(load(report::INPUT));
            is_number(code, 0, goal);
        }
        DropWord::Protocol(protocol) => match protocol {
            Some(protocol) => {
                code.op(load(report::PROTOCOL));
                is_number(code, protocol.0.into(), goal);
            }
            None => answer(code, false, goal),
        },
        // User space completes symbols and knows interfaces' names.
        DropWord::Location(_)
        | DropWord::Module(_)
        | DropWord::InterfaceName(_)
        | DropWord::Named(..)
        | DropWord::Number(..)
        | DropWord::Exactly(..)
        | DropWord::Noise => return None,
    }
    Some(())
}

/// Writes an answer that is the same for all drops.
fn answer(code: &mut Code, is_so: bool, goal: Goal) {
    code.jump(if is_so { goal.yes() } else { goal.no() });
}

/// Tests whether A is a number.
fn is_number(code: &mut Code, number: u32, goal: Goal) {
    code.branch(Condition::Equal, number, goal.yes(), goal.no());
}

/// Tests the number of the reason: whether its name fits. One without a name, which user space may learn from
/// a module, is a hit.
fn is_reason(code: &mut Code, reasons: &Reasons, fits: impl Fn(&[u8]) -> bool, goal: Goal) {
    let names = reasons.known();
    // Longer ones are cut, and an empty one is none.
    let mut known: Vec<_> = names
        .filter(|(_, name)| (1..=MAX_NAME).contains(&name.len()))
        .map(|(number, name)| (number, fits(name)))
        .collect();
    known.sort_unstable();
    code.op(load(report::REASON));
    for (first, last, fits) in ranges(&known) {
        let answer = if fits { goal.yes() } else { goal.no() };
        if first == last {
            code.except(first, answer);
            continue;
        }
        let (reached, next) = (code.label(), code.label());
        code.branch(Condition::GreaterOrEqual, first, reached, next);
        code.bind(reached);
        code.branch(Condition::Greater, last, next, answer);
        code.bind(next);
    }
    code.jump(goal.hit);
}

/// Returns the ranges of successive numbers with the same answer: the first, the last and the answer.
fn ranges(known: &[(u32, bool)]) -> Vec<(u32, u32, bool)> {
    let mut ranges: Vec<(u32, u32, bool)> = Vec::new();
    for &(number, answer) in known {
        match ranges.last_mut() {
            Some((_, last, same)) if *same == answer && last.checked_add(1) == Some(number) => {
                *last = number;
            }
            _ => ranges.push((number, number, answer)),
        }
    }
    ranges
}
