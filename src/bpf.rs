//! Classic BPF: programs that the kernel runs on each message before it delivers it to a socket,
//! and an assembler for them (linux/filter.h, linux/bpf_common.h). Nothing here talks to the
//! kernel.

use std::fmt;

/// The longest program that the kernel takes, in instructions (`BPF_MAXINSNS`).
pub const MAX_LEN: usize = 4096;

/// One of the virtual machine's 16 words of scratch memory (`BPF_MEMWORDS`). The kernel refuses a
/// program that may read a word before writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u8);

/// The number of bytes that a load reads, as a big-endian number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1
    Byte,
    /// 2
    Half,
    /// 4
    Word,
}

/// An operation on the accumulator A and the index register X. A load beyond the end of the message
/// ends the program, and the message is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets A to a number.
    Number(u32),
    /// Sets A to the length of the message in bytes.
    Length,
    /// Loads A from an offset in the message.
    Load(Size, u32),
    /// Loads A from an offset after X in the message.
    LoadBehindX(Size, u32),
    /// Loads A from a memory word.
    Recall(Slot),
    /// Sets X to a number.
    NumberToX(u32),
    /// Loads X from a memory word.
    RecallToX(Slot),
    /// Stores A in a memory word.
    Store(Slot),
    /// Copies A to X.
    ToX,
    /// Copies X to A.
    FromX,
    /// Sets A to the offset of the first attribute of type X from offset A on, or to 0 if there is
    /// none (`SKF_AD_NLATTR`).
    FindAttribute,
    /// Sets A to the offset of the first attribute of type X inside the nested attribute at offset
    /// A, or to 0 if there is none (`SKF_AD_NLATTR_NEST`).
    FindNested,
    /// Sets A to the result of a calculation, modulo 2³².
    Calculate(Arithmetic, Operand),
}

/// A calculation with A and the operand b.
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

/// The second operand of a calculation or comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    Number(u32),
    /// The register X.
    X,
}

/// An unsigned comparison of A with the operand b.
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

/// An instruction, whose jump distances count from the instruction after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// An operation.
    Op(Op),
    /// A comparison of A with the operand, and the distances where it holds and where it does not.
    Branch(Condition, Operand, u8, u8),
    /// A jump.
    Jump(u32),
    /// The end, with a result.
    Return(u32),
}

/// An instruction as in `struct sock_filter`.
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

/// A program. A message is delivered if the program returns anything but 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BpfProgram(Vec<Instruction>);

impl BpfProgram {
    /// Returns the length in instructions.
    #[allow(clippy::len_without_is_empty)] // It never is: a program ends with a return.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// Encodes the instructions for the kernel.
    pub fn encode(&self) -> Vec<Encoded> {
        self.0.iter().map(|one| one.encode()).collect()
    }
}

/// A jump target in a program under construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

impl Label {
    /// The end of the program where the message is delivered.
    pub const ACCEPT: Self = Self(0);
    /// The end of the program where the message is rejected.
    pub const REJECT: Self = Self(1);
}

/// An instruction or label under construction, whose jump distances are not known yet.
#[derive(Clone, Copy, Debug)]
enum AssemblyItem {
    Op(Op),
    Branch(Condition, Operand, Label, Label),
    Jump(Label),
    Bound(Label),
}

/// Assembles a program from instructions and labels.
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
    /// Creates a label to be bound later. A label that is never bound accepts the message.
    pub fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// Binds a label to the next instruction. All jumps to it have been written: BPF has no
    /// backward jumps.
    pub fn bind(&mut self, label: Label) {
        self.items.push(AssemblyItem::Bound(label));
    }

    /// Adds an operation.
    pub fn op(&mut self, op: Op) {
        self.items.push(AssemblyItem::Op(op));
    }

    /// Adds a conditional branch.
    pub fn branch(&mut self, condition: Condition, operand: Operand, yes: Label, no: Label) {
        self.items
            .push(AssemblyItem::Branch(condition, operand, yes, no));
    }

    /// Adds a jump.
    pub fn jump(&mut self, label: Label) {
        self.items.push(AssemblyItem::Jump(label));
    }

    /// Assembles the program from its end to its beginning, so that the distance of each jump is
    /// known. A branch has one byte for a distance; a longer one branches to an extra jump.
    pub fn assemble(&self) -> BpfProgram {
        let mut reversed = vec![Instruction::Return(u32::MAX), Instruction::Return(0)];
        // The number of instructions from each label to the end.
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
                        // The other branch may need an extra jump in between.
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
/// Offsets at which a load calls a function of the kernel instead (`SKF_AD_OFF` plus the function's
/// number, linux/filter.h).
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
    /// Returns the number of bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }

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

/// Shows one numbered instruction a line, in the notation of `tcpdump -d`; `nla` and `nlan` find
/// attributes, as in bpfc(8).
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
mod tests;
