//! Classic BPF: programs that the kernel runs on each message before a socket gets it, and an
//! assembler for them (linux/filter.h, linux/bpf_common.h). Nothing here talks to the kernel.

use std::fmt;

/// The longest program that the kernel takes, in instructions (`BPF_MAXINSNS`).
pub const MAX_LEN: usize = 4096;

/// One of the machine's 16 words of memory (`BPF_MEMWORDS`). The kernel refuses a program that
/// may read one before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u8);

/// Bytes of a load; numbers are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1
    Byte,
    /// 2
    Half,
    /// 4
    Word,
}

/// What is done with the accumulator A and the index register X. A load beyond the message's end
/// ends the program, and the message is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A becomes a number.
    Number(u32),
    /// A becomes the message's length in bytes.
    Length,
    /// A becomes what stands at an offset.
    Load(Size, u32),
    /// A becomes what stands at an offset from X.
    LoadBehindX(Size, u32),
    /// A becomes what was stored.
    Recall(Slot),
    /// X becomes a number.
    NumberToX(u32),
    /// X becomes what was stored.
    RecallToX(Slot),
    /// A is stored.
    Store(Slot),
    /// X becomes A.
    ToX,
    /// A becomes X.
    FromX,
    /// A becomes the offset of the first attribute of type X from offset A on, else 0
    /// (`SKF_AD_NLATTR`).
    FindAttribute,
    /// A becomes the offset of the first attribute of type X inside the nest at offset A, else 0
    /// (`SKF_AD_NLATTR_NEST`).
    FindNested,
    /// A becomes the result, modulo 2³².
    Calculate(Arithmetic, Operand),
}

/// What is done with A and another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// A + b
    Add,
    /// A - b
    Subtract,
    /// A | b
    Or,
    /// A & b
    And,
    /// A << b
    ShiftLeft,
}

/// The other number of a calculation or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// This one.
    Number(u32),
    /// X.
    X,
}

/// What is asked of A; unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A == b
    Equal,
    /// A > b
    Greater,
    /// A >= b
    GreaterOrEqual,
    /// A & b != 0
    AnyBit,
}

/// An instruction with its ways on, counted from the instruction behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    Op(Op),
    Branch(Condition, Operand, u8, u8),
    Jump(u32),
    Return(u32),
}

/// `struct sock_filter`: operation, ways on, operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The operation.
    pub code: u16,
    /// Instructions to skip where the condition holds.
    pub jump_true: u8,
    /// Instructions to skip where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// A program: a message is delivered where it ends with anything but 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfProgram(Vec<Instruction>);

impl BpfProgram {
    /// Its length in instructions.
    #[allow(clippy::len_without_is_empty)] // It never is: a program ends with a return.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As the kernel takes it.
    pub fn encode(&self) -> Vec<Encoded> {
        self.0.iter().map(|one| one.encode()).collect()
    }
}

/// A place in a program that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

impl Label {
    /// The message is delivered.
    pub const ACCEPT: Self = Self(0);
    /// The message is rejected.
    pub const REJECT: Self = Self(1);
}

/// What is written in order, with labels for what is not known yet.
#[derive(Clone, Copy, Debug)]
enum AssemblyItem {
    Op(Op),
    Branch(Condition, Operand, Label, Label),
    Jump(Label),
    Bound(Label),
}

/// Writes a program.
#[derive(Clone, Debug)]
pub struct Assembler {
    items: Vec<AssemblyItem>,
    labels: usize,
}

impl Default for Assembler {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            labels: 2,
        }
    }
}

impl Assembler {
    /// A place that is bound later; one that never is, accepts.
    pub fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// The place is here. All jumps to it have been written: there are none backwards.
    pub fn bind(&mut self, label: Label) {
        self.items.push(AssemblyItem::Bound(label));
    }

    /// Adds an operation.
    pub fn op(&mut self, op: Op) {
        self.items.push(AssemblyItem::Op(op));
    }

    /// Adds a question with two ways on.
    pub fn branch(&mut self, condition: Condition, operand: Operand, yes: Label, no: Label) {
        self.items
            .push(AssemblyItem::Branch(condition, operand, yes, no));
    }

    /// Adds a jump.
    pub fn jump(&mut self, label: Label) {
        self.items.push(AssemblyItem::Jump(label));
    }

    /// The program. From its end to its beginning, so that each jump knows how far it goes: a
    /// branch has a byte for that, and a farther one jumps to a jump behind it.
    pub fn assemble(&self) -> BpfProgram {
        let mut reversed = vec![Instruction::Return(u32::MAX), Instruction::Return(0)];
        // How many instructions there are from each label on.
        let mut left = vec![1; self.labels];
        left[Label::REJECT.0] = 2;
        for item in self.items.iter().rev() {
            let here = reversed.len();
            match *item {
                AssemblyItem::Op(op) => reversed.push(Instruction::Op(op)),
                AssemblyItem::Bound(label) => left[label.0] = here,
                AssemblyItem::Jump(label) if left[label.0] == here => {}
                AssemblyItem::Jump(label) => reversed.push(jump(here, left[label.0])),
                AssemblyItem::Branch(condition, operand, yes, no) => {
                    let mut near = |label: Label| {
                        let here = reversed.len();
                        // The other way may need a jump between.
                        if here - left[label.0] < usize::from(u8::MAX) {
                            return left[label.0];
                        }
                        reversed.push(jump(here, left[label.0]));
                        reversed.len()
                    };
                    let (yes, no) = (near(yes), near(no));
                    let skip = |left: usize| u8::try_from(reversed.len() - left).unwrap_or(u8::MAX);
                    let (yes, no) = (skip(yes), skip(no));
                    reversed.push(Instruction::Branch(condition, operand, yes, no));
                }
            }
        }
        reversed.reverse();
        BpfProgram(reversed)
    }
}

fn jump(here: usize, left: usize) -> Instruction {
    Instruction::Jump(u32::try_from(here - left).unwrap_or(u32::MAX))
}

/// Classes, sizes and modes of an operation (linux/bpf_common.h).
mod code {
    pub const LD: u16 = 0x00;
    pub const LDX: u16 = 0x01;
    pub const ST: u16 = 0x02;
    pub const ALU: u16 = 0x04;
    pub const JMP: u16 = 0x05;
    pub const RET: u16 = 0x06;
    pub const MISC: u16 = 0x07;
    pub const IMM: u16 = 0x00;
    pub const ABS: u16 = 0x20;
    pub const IND: u16 = 0x40;
    pub const MEM: u16 = 0x60;
    pub const LEN: u16 = 0x80;
    pub const X: u16 = 0x08;
    pub const TXA: u16 = 0x80;
}
/// Offsets at which the kernel answers instead of loading (`SKF_AD_OFF` and what is added to it,
/// linux/filter.h).
const FIND_ATTRIBUTE: u32 = 0xffff_f000 + 12;
const FIND_NESTED: u32 = 0xffff_f000 + 16;

impl Instruction {
    fn encode(self) -> Encoded {
        let operand = |operand| match operand {
            Operand::Number(number) => (0, number),
            Operand::X => (code::X, 0),
        };
        let (code, jump_true, jump_false, operand) = match self {
            Self::Op(op) => {
                let (code, number) = op.encode();
                (code, 0, 0, number)
            }
            Self::Branch(condition, other, yes, no) => {
                let (source, number) = operand(other);
                (code::JMP | condition.code() | source, yes, no, number)
            }
            Self::Jump(distance) => (code::JMP, 0, 0, distance),
            Self::Return(result) => (code::RET, 0, 0, result),
        };
        Encoded {
            code,
            jump_true,
            jump_false,
            operand,
        }
    }
}

impl Op {
    fn encode(self) -> (u16, u32) {
        match self {
            Self::Number(number) => (code::LD | code::IMM, number),
            Self::Length => (code::LD | code::LEN, 0),
            Self::Load(size, at) => (code::LD | code::ABS | size.code(), at),
            Self::LoadBehindX(size, at) => (code::LD | code::IND | size.code(), at),
            Self::Recall(slot) => (code::LD | code::MEM, slot.0.into()),
            Self::NumberToX(number) => (code::LDX | code::IMM, number),
            Self::RecallToX(slot) => (code::LDX | code::MEM, slot.0.into()),
            Self::Store(slot) => (code::ST, slot.0.into()),
            Self::ToX => (code::MISC, 0),
            Self::FromX => (code::MISC | code::TXA, 0),
            Self::FindAttribute => (code::LD | code::ABS, FIND_ATTRIBUTE),
            Self::FindNested => (code::LD | code::ABS, FIND_NESTED),
            Self::Calculate(arithmetic, Operand::Number(number)) => {
                (code::ALU | arithmetic.code(), number)
            }
            Self::Calculate(arithmetic, Operand::X) => (code::ALU | arithmetic.code() | code::X, 0),
        }
    }
}

impl Size {
    fn code(self) -> u16 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
        }
    }
}

impl Arithmetic {
    fn code(self) -> u16 {
        match self {
            Self::Add => 0x00,
            Self::Subtract => 0x10,
            Self::Or => 0x40,
            Self::And => 0x50,
            Self::ShiftLeft => 0x60,
        }
    }
}

impl Condition {
    fn code(self) -> u16 {
        match self {
            Self::Equal => 0x10,
            Self::Greater => 0x20,
            Self::GreaterOrEqual => 0x30,
            Self::AnyBit => 0x40,
        }
    }
}

/// One instruction a line, numbered, in the notation of `tcpdump -d`; attributes are found by
/// `nla` and `nlan`, as in bpfc(8).
impl fmt::Display for BpfProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, instruction) in self.0.iter().enumerate() {
            write!(f, "({number:03}) ")?;
            let target = |skipped: usize| number + 1 + skipped;
            match *instruction {
                Instruction::Op(op) => write!(f, "{op}")?,
                Instruction::Branch(condition, operand, yes, no) => {
                    let name = match condition {
                        Condition::Equal => "jeq",
                        Condition::Greater => "jgt",
                        Condition::GreaterOrEqual => "jge",
                        Condition::AnyBit => "jset",
                    };
                    let (yes, no) = (target(yes.into()), target(no.into()));
                    let operand = operand.to_string();
                    write!(f, "{name:<8} {operand:<16} jt {yes} jf {no}")?;
                }
                Instruction::Jump(skipped) => {
                    write!(f, "ja       {}", target(skipped as usize))?;
                }
                Instruction::Return(result) => write!(f, "ret      #{result}")?,
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "ld       #{number:#x}"),
            Self::Length => f.write_str("ld       #pktlen"),
            Self::Load(size, at) => write!(f, "{:<8} [{at}]", size.name()),
            Self::LoadBehindX(size, at) => write!(f, "{:<8} [x + {at}]", size.name()),
            Self::Recall(slot) => write!(f, "ld       M[{}]", slot.0),
            Self::NumberToX(number) => write!(f, "ldx      #{number:#x}"),
            Self::RecallToX(slot) => write!(f, "ldx      M[{}]", slot.0),
            Self::Store(slot) => write!(f, "st       M[{}]", slot.0),
            Self::ToX => f.write_str("tax"),
            Self::FromX => f.write_str("txa"),
            Self::FindAttribute => f.write_str("ld       #nla"),
            Self::FindNested => f.write_str("ld       #nlan"),
            Self::Calculate(arithmetic, operand) => {
                let name = match arithmetic {
                    Arithmetic::Add => "add",
                    Arithmetic::Subtract => "sub",
                    Arithmetic::Or => "or",
                    Arithmetic::And => "and",
                    Arithmetic::ShiftLeft => "lsh",
                };
                write!(f, "{name:<8} {operand}")
            }
        }
    }
}

impl Size {
    fn name(self) -> &'static str {
        match self {
            Self::Byte => "ldb",
            Self::Half => "ldh",
            Self::Word => "ld",
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "#{number:#x}"),
            Self::X => f.write_str("x"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A branch over `skipped` operations.
    fn over(skipped: usize) -> BpfProgram {
        let mut assembler = Assembler::default();
        let (far, near) = (assembler.label(), assembler.label());
        assembler.branch(Condition::Equal, Operand::Number(1), far, near);
        assembler.bind(near);
        for _ in 0..skipped {
            assembler.op(Op::Length);
        }
        assembler.bind(far);
        assembler.jump(Label::REJECT);
        assembler.assemble()
    }

    #[test]
    fn a_far_branch_jumps_to_a_jump() {
        let near = over(254);
        assert_eq!(near.len(), 1 + 254 + 2);
        let Encoded {
            jump_true,
            jump_false,
            ..
        } = near.encode()[0];
        assert_eq!((jump_true, jump_false), (254, 0));
        let far = over(255);
        assert_eq!(far.len(), 2 + 255 + 2);
        let lines: Vec<String> = far.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines[0], "(000) jeq      #0x1             jt 1 jf 2");
        assert_eq!(lines[1], "(001) ja       257");
        assert_eq!(lines[257], "(257) ret      #0");
    }

    #[test]
    fn the_numbers_are_those_of_the_kernels_headers() {
        #[track_caller]
        fn check(op: Op, code: i32, operand: i32) {
            let (found, number) = op.encode();
            assert_eq!(u32::from(found), code.unsigned_abs(), "{op}");
            assert_eq!(number, operand.cast_unsigned(), "{op}");
        }
        use Operand::{Number, X};
        #[allow(clippy::cast_possible_wrap)]
        fn of(parts: &[u32]) -> i32 {
            parts.iter().sum::<u32>() as i32
        }
        use libc::{
            BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_LD, BPF_LDX, BPF_LEN,
            BPF_LSH, BPF_MEM, BPF_MISC, BPF_ST, BPF_TAX, BPF_TXA, BPF_W, BPF_X,
        };
        check(Op::Number(5), of(&[BPF_LD, BPF_IMM]), 5);
        check(Op::Length, of(&[BPF_LD, BPF_W, BPF_LEN]), 0);
        check(Op::Load(Size::Half, 4), of(&[BPF_LD, BPF_H, BPF_ABS]), 4);
        check(
            Op::LoadBehindX(Size::Byte, 4),
            of(&[BPF_LD, BPF_B, BPF_IND]),
            4,
        );
        check(Op::Recall(Slot(3)), of(&[BPF_LD, BPF_MEM]), 3);
        check(Op::NumberToX(5), of(&[BPF_LDX, BPF_IMM]), 5);
        check(Op::RecallToX(Slot(3)), of(&[BPF_LDX, BPF_MEM]), 3);
        check(Op::Store(Slot(3)), of(&[BPF_ST]), 3);
        check(Op::ToX, of(&[BPF_MISC, BPF_TAX]), 0);
        check(Op::FromX, of(&[BPF_MISC, BPF_TXA]), 0);
        let (attribute, nested) = (libc::SKF_AD_NLATTR, libc::SKF_AD_NLATTR_NEST);
        let load = of(&[BPF_LD, BPF_W, BPF_ABS]);
        check(Op::FindAttribute, load, libc::SKF_AD_OFF + attribute);
        check(Op::FindNested, load, libc::SKF_AD_OFF + nested);
        let and = of(&[BPF_ALU, BPF_AND]);
        check(Op::Calculate(Arithmetic::And, Number(7)), and, 7);
        let shift = of(&[BPF_ALU, BPF_LSH, BPF_X]);
        check(Op::Calculate(Arithmetic::ShiftLeft, X), shift, 0);
    }
}
