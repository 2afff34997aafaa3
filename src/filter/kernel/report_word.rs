//! Compiles tests of the drop's facts for the eBPF program: numbers of its report. Where user space may
//! have a fact or not, a number that fits is left to user space.

use super::code::{Code, Compiled, Goal};
use crate::bpf::{Arithmetic, Condition};
use crate::ebpf::program::filter::{load, load_bytes, load_halves};
use crate::ebpf::reasons::Reasons;
use crate::ebpf::report::{self, HeaderField, NAME_LEN};
use crate::filter::ast::{DropWord, NetnsWord};
use crate::filter::fact::NamedFact;
use crate::filter::glob::Glob;
use crate::packet::offset::vlan;
use crate::record::{Fact, MAX_NAME, Origin};

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
        DropWord::Number(Fact::Pc, Some(pc)) => is_long(code, report::PC, *pc, goal),
        // 0 stands for none.
        DropWord::Number(Fact::Mark | Fact::CgroupId, Some(0)) | DropWord::InterfaceIndex(0) => {
            answer(code, false, goal);
        }
        DropWord::Number(Fact::CgroupId, number) => {
            is_long(code, report::CGROUP, number.unwrap_or(0), goal);
        }
        DropWord::Number(Fact::Mark, number) => match u32::try_from(number.unwrap_or(0)) {
            Ok(number) => {
                code.op(load(report::MARK));
                is_number(code, number, goal);
            }
            Err(_) => answer(code, false, goal),
        },
        DropWord::Netns(NetnsWord::Inode(inode)) => {
            // That of the device if it is one, else that of the socket if it is the packet's.
            for place in [report::NAMESPACE, report::SOCKET_NAMESPACE] {
                code.op(load(place));
                code.except(*inode, goal.hit);
            }
            code.jump(goal.no());
        }
        DropWord::Named(Fact::Device, glob) => {
            let name = ReportedName::new(glob)?;
            // The device may be none.
            let goal = Goal {
                wanted: true,
                hit: goal.hit,
                miss: goal.no(),
            };
            name.write(code, report::DEVICE_NAME, goal);
        }
        DropWord::Exactly(NamedFact::Plain(Fact::Device), name) if !name.is_empty() => {
            let goal = Goal {
                wanted: true,
                hit: goal.hit,
                miss: goal.no(),
            };
            ReportedName::exact(name).write(code, report::DEVICE_NAME, goal);
        }
        DropWord::Named(Fact::Running, glob) => {
            ReportedName::new(glob)?.write(code, report::TASK_NAME, goal);
        }
        DropWord::Exactly(NamedFact::Plain(Fact::Running), name) if !name.is_empty() => {
            ReportedName::exact(name).write(code, report::TASK_NAME, goal);
        }
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
        | DropWord::Netns(_)
        | DropWord::Exactly(..)
        | DropWord::Noise => return None,
    }
    Some(())
}

/// Tests the VLAN whose tag a device took off; continues where none was taken off.
pub fn vlan(code: &mut Code, id: Option<u16>, goal: Goal) {
    let (zero, tagged, untagged) = (code.label(), code.label(), code.label());
    code.op(load(report::VLAN_PRESENT));
    code.except(0, untagged);
    code.op(load(report::VLAN_TAG));
    code.branch(Condition::Equal, 0, zero, tagged);
    code.bind(zero);
    code.op(load(report::VLAN_PROTOCOL));
    code.branch(Condition::Equal, 0, untagged, tagged);
    code.bind(tagged);
    match id {
        Some(id) => {
            code.op(load(report::VLAN_TAG));
            code.calculate(Arithmetic::And, vlan::ID.into());
            is_number(code, id.into(), goal);
        }
        None => code.jump(goal.yes()),
    }
    code.bind(untagged);
}

/// Writes an answer that is the same for all drops.
fn answer(code: &mut Code, is_so: bool, goal: Goal) {
    code.jump(if is_so { goal.yes() } else { goal.no() });
}

/// Tests whether A is a number.
fn is_number(code: &mut Code, number: u32, goal: Goal) {
    code.branch(Condition::Equal, number, goal.yes(), goal.no());
}

/// Tests a number of 64 bits.
fn is_long(code: &mut Code, place: HeaderField, number: u64, goal: Goal) {
    let [a, b, c, d, rest @ ..] = number.to_ne_bytes();
    let [first, second] = load_halves(place);
    code.op(first);
    code.require(u32::from_ne_bytes([a, b, c, d]), goal.no());
    code.op(second);
    is_number(code, u32::from_ne_bytes(rest), goal);
}

/// A pattern for a name in the report: bytes that end with NUL, unless they fill the field.
struct ReportedName<'g> {
    prefix: &'g [u8],
    /// Anything may follow.
    is_open: bool,
}

impl<'g> ReportedName<'g> {
    /// Converts a whole name, or a prefix with one `*` after it. Returns `None` for any other pattern.
    fn new(glob: &'g Glob) -> Option<Self> {
        let pattern = glob.as_bytes();
        let prefix = pattern.strip_suffix(b"*");
        let name = Self {
            prefix: prefix.unwrap_or(pattern),
            is_open: prefix.is_some(),
        };
        let is_plain = !name.prefix.iter().any(|byte| b"*?\0".contains(byte));
        (is_plain && !name.prefix.is_empty()).then_some(name)
    }

    /// Converts a name that is not empty.
    fn exact(name: &'g [u8]) -> Self {
        Self {
            prefix: name,
            is_open: false,
        }
    }

    fn write(&self, code: &mut Code, at: i16, goal: Goal) {
        let len = self.prefix.len();
        if len > NAME_LEN || self.prefix.contains(&0) {
            return code.jump(goal.no());
        }
        let end = if self.is_open || len == NAME_LEN {
            &[][..]
        } else {
            &[0]
        };
        for (op, number) in load_bytes(at, &[self.prefix, end].concat()) {
            code.op(op);
            code.require(number, goal.no());
        }
        code.jump(goal.yes());
    }
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
