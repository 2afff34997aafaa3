//! Compiles tests of the drop's facts: values of attributes, and names byte by byte.

use super::code::{ATTRIBUTE, Code, Compiled, Goal, NLA_LEN, ORIGIN, VALUE, loaded16};
use crate::bpf::{Arithmetic, Condition, Op, Size};
use crate::filter::ast::DropWord;
use crate::filter::fact::NamedFact;
use crate::filter::glob::Glob;
use crate::net_dm::{ORIGIN_HW, ORIGIN_SW, attr};
use crate::record::{self, Origin};

/// The longest prefix of a name that is compared. The kernel's own names have up to 50 bytes.
const MAX_PREFIX: usize = 64;

/// Writes a predicate that leads to its goal.
pub fn write(code: &mut Code, word: &DropWord, goal: Goal) -> Compiled {
    match word {
        DropWord::Origin(origin) => {
            code.op(Op::Recall(ORIGIN));
            code.branch(Condition::Equal, loaded(*origin), goal.yes(), goal.no());
            Some(())
        }
        DropWord::Reason(glob) => {
            let name = NamePattern::new(glob, Case::Ignored)?;
            require_origin(code, Origin::Software, goal);
            name.write(code, attr::REASON, goal)
        }
        DropWord::Exactly(NamedFact::Reason, value) => {
            let name = NamePattern::exact(value)?;
            require_origin(code, Origin::Software, goal);
            name.write(code, attr::REASON, goal)
        }
        DropWord::Exactly(NamedFact::Plain(record::Fact::Trap), value) => {
            let name = NamePattern::exact(value)?;
            require_origin(code, Origin::Hardware, goal);
            name.write(code, attr::HW_TRAP_NAME, goal)
        }
        DropWord::Named(record::Fact::Trap, glob) => {
            let name = NamePattern::new(glob, Case::Minded)?;
            require_origin(code, Origin::Hardware, goal);
            name.write(code, attr::HW_TRAP_NAME, goal)
        }
        DropWord::Named(record::Fact::TrapGroup, glob) => {
            let name = NamePattern::new(glob, Case::Minded)?;
            require_origin(code, Origin::Hardware, goal);
            name.write(code, attr::HW_TRAP_GROUP_NAME, goal)
        }
        DropWord::Number(record::Fact::Pc, Some(pc)) => {
            require_origin(code, Origin::Software, goal);
            code.find(attr::PC, goal.no());
            code.require_value(8, goal.no());
            let [a, b, c, d, rest @ ..] = pc.to_ne_bytes();
            code.op(Op::LoadBehindX(Size::Word, VALUE));
            code.require(u32::from_be_bytes([a, b, c, d]), goal.no());
            code.op(Op::LoadBehindX(Size::Word, VALUE + 4));
            let rest = u32::from_be_bytes(rest);
            code.branch(Condition::Equal, rest, goal.yes(), goal.no());
            Some(())
        }
        DropWord::InterfaceIndex(index) if *index != 0 => {
            code.find(attr::IN_PORT, goal.no());
            code.find_nested(attr::in_port::NETDEV_IFINDEX, goal.no());
            code.require_value(4, goal.no());
            code.op(Op::LoadBehindX(Size::Word, VALUE));
            let index = u32::from_be_bytes(index.to_ne_bytes());
            code.branch(Condition::Equal, index, goal.yes(), goal.no());
            Some(())
        }
        // Index 0 stands for an interface that was sent without one. User space completes symbols
        // and guesses interface names.
        DropWord::InterfaceIndex(_)
        | DropWord::Location(_)
        | DropWord::Module(_)
        | DropWord::InterfaceName(_)
        | DropWord::NoInterface
        | DropWord::Netns(_)
        | DropWord::Named(..)
        | DropWord::Number(..)
        | DropWord::Protocol(_)
        | DropWord::Exactly(..)
        | DropWord::Noise => None,
    }
}

fn loaded(origin: Origin) -> u32 {
    loaded16(match origin {
        Origin::Software => ORIGIN_SW,
        Origin::Hardware => ORIGIN_HW,
    })
}

/// Continues for drops of this origin; other drops do not have such names.
fn require_origin(code: &mut Code, origin: Origin, goal: Goal) {
    code.op(Op::Recall(ORIGIN));
    code.require(loaded(origin), goal.no());
}

/// The bit that distinguishes a lower-case letter from its upper-case form.
const SMALL: u8 = 0x20;

/// The treatment of upper and lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Minded,
    Ignored,
}

/// A pattern for the value of an attribute: a prefix and what may follow.
struct NamePattern<'g> {
    prefix: &'g [u8],
    case: Case,
    then: Then,
}

/// The bytes that may follow the prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing: the name ends there.
    End,
    /// Any bytes.
    Anything,
}

impl<'g> NamePattern<'g> {
    /// Converts a whole name, or a prefix with one `*` after it. Returns `None` for any other
    /// pattern.
    fn new(glob: &'g Glob, case: Case) -> Option<Self> {
        let pattern = glob.as_bytes();
        let (prefix, then) = match pattern.strip_suffix(b"*") {
            Some(prefix) => (prefix, Then::Anything),
            None => (pattern, Then::End),
        };
        let is_plain = !prefix.iter().any(|byte| b"*?\0".contains(byte));
        let fits = (1..=MAX_PREFIX).contains(&prefix.len());
        (is_plain && fits).then_some(Self { prefix, case, then })
    }

    /// Converts a whole name that is compared byte by byte.
    fn exact(name: &'g [u8]) -> Option<Self> {
        let fits = (1..=MAX_PREFIX).contains(&name.len()) && !name.contains(&0);
        fits.then_some(Self {
            prefix: name,
            case: Case::Minded,
            then: Then::End,
        })
    }

    /// Writes the comparison with an attribute's value, a string that ends with NUL or at the end
    /// of the attribute.
    fn write(&self, code: &mut Code, kind: u16, goal: Goal) -> Compiled {
        code.find(kind, goal.no());
        // Loading a number overwrites X.
        code.op(Op::FromX);
        code.op(Op::Store(ATTRIBUTE));
        code.load_host(Size::Half, NLA_LEN);
        let end = VALUE + u32::try_from(self.prefix.len()).ok()?;
        let long_enough = code.label();
        code.branch(Condition::GreaterOrEqual, end, long_enough, goal.no());
        code.bind(long_enough);
        code.op(Op::RecallToX(ATTRIBUTE));
        let mut at = VALUE;
        for bytes in self.prefix.chunks(4) {
            // Three bytes are loaded as two and one.
            for bytes in bytes.chunks(if bytes.len() == 3 { 2 } else { 4 }) {
                let size = match bytes.len() {
                    1 => Size::Byte,
                    2 => Size::Half,
                    _ => Size::Word,
                };
                code.op(Op::LoadBehindX(size, at));
                let (mask, number) = self.masked(bytes);
                if mask != u32::MAX {
                    code.calculate(Arithmetic::And, mask);
                }
                code.require(number, goal.no());
                at += u32::try_from(bytes.len()).ok()?;
            }
        }
        if self.then == Then::Anything {
            code.jump(goal.yes());
            return Some(());
        }
        code.load_host(Size::Half, NLA_LEN);
        code.except(end, goal.yes());
        code.op(Op::RecallToX(ATTRIBUTE));
        code.op(Op::LoadBehindX(Size::Byte, end));
        code.branch(Condition::Equal, 0, goal.yes(), goal.no());
        Some(())
    }

    /// Returns the mask for a load of these bytes, and the number to compare with.
    fn masked(&self, bytes: &[u8]) -> (u32, u32) {
        let number = |bytes: &mut dyn Iterator<Item = u8>| {
            bytes.fold(0, |number: u32, byte| number << 8 | u32::from(byte))
        };
        let ignores = |byte: u8| self.case == Case::Ignored && byte.is_ascii_alphabetic();
        let mask = |byte: u8| if ignores(byte) { !SMALL } else { 0xff };
        let asked = number(&mut bytes.iter().map(|&byte| byte & mask(byte)));
        let mask = number(&mut bytes.iter().map(|&byte| mask(byte)));
        let all = u32::MAX >> (32 - 8 * bytes.len());
        (if mask == all { u32::MAX } else { mask }, asked)
    }
}
