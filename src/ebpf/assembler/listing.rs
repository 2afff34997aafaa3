//! Programs as listings for people.

use std::fmt;

use super::{
    AccessSize, AluOp, EbpfInstruction, EbpfOperand, EbpfProgram, JumpCondition, Placed, Register,
};

/// Writes one numbered instruction a line, in the notation of bpftool, with its comment.
impl fmt::Display for EbpfProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for placed in &self.0 {
            let text = placed.to_string();
            if placed.note.is_empty() {
                writeln!(f, "{:>3}: {text}", placed.at)?;
            } else {
                writeln!(f, "{:>3}: {text:<36} ; {}", placed.at, placed.note)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.op {
            EbpfInstruction::Load(size, to, from, offset) => {
                write!(f, "{to} = *({} *)({from} {offset:+})", size.name())
            }
            EbpfInstruction::Store(size, to, offset, value) => {
                write!(f, "*({} *)({to} {offset:+}) = {value}", size.name())
            }
            EbpfInstruction::Calculate(arithmetic, to, value) => {
                write!(f, "{to} {} {value}", arithmetic.sign())
            }
            EbpfInstruction::Calculate32(arithmetic, to, value) => {
                write!(
                    f,
                    "{} {} {}",
                    Lower(to),
                    arithmetic.sign(),
                    LowerOperand(value)
                )
            }
            EbpfInstruction::FromBigEndian(size, to) => write!(f, "{to} = be{} {to}", size.bits()),
            EbpfInstruction::AtomicAdd(to, offset, value) => {
                write!(f, "lock *(u64 *)({to} {offset:+}) += {value}")
            }
            EbpfInstruction::Number(to, value) => write!(f, "{to} = {value:#x} ll"),
            EbpfInstruction::Map(to, map) => write!(f, "{to} = map {map:?}"),
            EbpfInstruction::Call(helper) => write!(f, "call {helper:?}"),
            EbpfInstruction::Branch(condition, one, other, _) => {
                let (sign, target) = (condition.sign(), self.target);
                write!(f, "if {one} {sign} {other} goto {target}")
            }
            EbpfInstruction::Branch32(condition, one, other, _) => {
                let (sign, target) = (condition.sign(), self.target);
                let (one, other) = (Lower(one), LowerOperand(other));
                write!(f, "if {one} {sign} {other} goto {target}")
            }
            EbpfInstruction::Jump(_) => write!(f, "goto {}", self.target),
            EbpfInstruction::Exit => f.write_str("exit"),
        }
    }
}

impl fmt::Display for EbpfOperand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(register) => register.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The lower half of a register.
struct Lower(Register);

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0.0)
    }
}

/// An operand of 32 bits.
struct LowerOperand(EbpfOperand);

impl fmt::Display for LowerOperand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EbpfOperand::Register(register) => Lower(register).fmt(f),
            EbpfOperand::Number(number) => write!(f, "{:#x}", number.cast_unsigned()),
        }
    }
}

impl AccessSize {
    fn name(self) -> &'static str {
        match self {
            Self::Byte => "u8",
            Self::Half => "u16",
            Self::Word => "u32",
            Self::Double => "u64",
        }
    }
}

impl AluOp {
    fn sign(self) -> &'static str {
        match self {
            Self::Move => "=",
            Self::Add => "+=",
            Self::Subtract => "-=",
            Self::Or => "|=",
            Self::And => "&=",
            Self::ShiftLeft => "<<=",
            Self::ShiftRight => ">>=",
        }
    }
}

impl JumpCondition {
    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
            Self::Below => "<",
            Self::AnyBit => "&",
        }
    }
}
