//! The part of the user's filter that the program evaluates before it hands a packet on.
//!
//! The filter is a program of classic BPF, as the drop monitor's socket has one, and each of its instructions
//! becomes one or a few of eBPF's: A is r0, X is r1, the memory words are after the record. Its message is
//! the record: the header's numbers, in this host's byte order, and after them the frame's first bytes. A load
//! of a byte that is not there keeps the packet, for user space may have that byte.
//!
//! Nothing is on the stack, nor longer in a register than needed: what the verifier knows of a number there it
//! keeps apart for each way that leads to an instruction, and there are too many.

use super::super::assembler::{
    AccessSize, AluOp, EbpfOperand, EbpfProgram, Helper, JumpCondition, JumpLabel, ProgramAssembler,
};
use super::super::report::{self, HEADER_LEN, HeaderField};
use super::{
    HEADER_ROOM, MAX_HEADERS_LEN, ProgramWriter, R0, R1, R2, R3, R4, R5, RECORD, SKB, STACK,
};
use crate::bpf::{Arithmetic, BpfProgram, Condition, Instruction, Op, Operand, Size, Slot};

/// The most bytes from `skb->data` on that a filter sees: enough for IP's and TCP's longest headers.
pub const WINDOW: i32 = 128;
/// The offset of the frame in a filter's message.
#[expect(clippy::cast_possible_truncation, reason = "a few dozen")]
pub const FRAME: u32 = HEADER_LEN as u32;

/// The largest end of those bytes, as an offset in the record.
const LAST_END: i32 = HEADER_ROOM + MAX_HEADERS_LEN + WINDOW;
/// Places after it: for the end of the bytes that are there, and for the memory words.
#[expect(clippy::cast_possible_truncation, reason = "1344")]
const END: i16 = LAST_END as i16;
const WORDS: i16 = END + 8;
/// Bytes of the record with all of this.
pub const ROOM: i32 = LAST_END + 8 + 16 * 4;
/// The place on the stack for the length of the record so far.
const RECORD_SO_FAR: i16 = -120;

/// Returns the operation that loads a number of the record's header.
///
/// # Panics
///
/// If the number has 64 bits.
pub const fn load(field: HeaderField) -> Op {
    let size = match field.size {
        AccessSize::Byte => Size::Byte,
        AccessSize::Half => Size::Half,
        AccessSize::Word => Size::Word,
        AccessSize::Double => panic!("classic BPF has 32 bits"),
    };
    Op::Load(size, field.at.unsigned_abs() as u32)
}

/// Returns the operations that load the two halves of a number of 64 bits, in the order of memory.
pub fn load_halves(field: HeaderField) -> [Op; 2] {
    let at = u32::from(field.at.unsigned_abs());
    [Op::Load(Size::Word, at), Op::Load(Size::Word, at + 4)]
}

/// Returns the operations that load the bytes from an offset in the header on, and the numbers that they give if
/// those are `bytes`.
pub fn load_bytes(at: i16, bytes: &[u8]) -> Vec<(Op, u32)> {
    let mut ops = Vec::new();
    let mut at = u32::from(at.unsigned_abs());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let (size, number) = match *rest {
            [a, b, c, d, ..] => (Size::Word, u32::from_ne_bytes([a, b, c, d])),
            [a, b, ..] => (Size::Half, u16::from_ne_bytes([a, b]).into()),
            _ => (Size::Byte, first.into()),
        };
        ops.push((Op::Load(size, at), number));
        at += size.bytes();
        rest = &rest[size.bytes() as usize..];
    }
    ops
}

/// Returns the instructions of a filter for a person to read: it returns 1 for what it keeps.
pub fn listing(filter: &BpfProgram) -> EbpfProgram {
    let mut asm = ProgramAssembler::default();
    let (kept, rejected) = (asm.label(), asm.label());
    let steps = Steps::new(filter);
    steps.write(&mut asm, kept, rejected);
    asm.bind(kept);
    asm.copy(R0, EbpfOperand::Number(1));
    asm.exit();
    if steps.rejects() {
        asm.bind(rejected);
        asm.copy(R0, EbpfOperand::Number(0));
        asm.exit();
    }
    asm.finish()
}

impl ProgramWriter<'_> {
    /// Jumps to `rejected` if the filter rejects the packet. The length of the record so far stays in r5.
    pub(super) fn filter(&mut self, steps: &Steps<'_>, rejected: JumpLabel) {
        self.copy_window();
        let kept = self.assembler.label();
        steps.write(&mut self.assembler, kept, rejected);
        self.assembler.bind(kept);
    }

    /// Copies bytes from `skb->data` on, to those before it: no more than are captured, and only
    /// those of the linear part.
    fn copy_window(&mut self) {
        let layout = self.layout;
        let [captured, narrow, none] = [(); 3].map(|()| self.assembler.label());
        self.field(R2, SKB, layout.len);
        self.field(R1, SKB, layout.data_len);
        let asm = &mut self.assembler;
        asm.calculate(AluOp::Subtract, R2, EbpfOperand::Register(R1));
        let data = report::DATA_LEN;
        asm.load(data.size, R1, RECORD, data.at);
        asm.branch(
            JumpCondition::AtMost,
            R2,
            EbpfOperand::Register(R1),
            captured,
        );
        asm.copy(R2, EbpfOperand::Register(R1));
        asm.bind(captured);
        let window = EbpfOperand::Number(WINDOW);
        asm.branch(JumpCondition::AtMost, R2, window, narrow);
        asm.copy(R2, window);
        asm.bind(narrow);
        asm.copy(R4, EbpfOperand::Register(R5));
        asm.calculate(AluOp::Add, R4, EbpfOperand::Register(R2));
        for (base, place, register) in [(STACK, RECORD_SO_FAR, R5), (RECORD, END, R4)] {
            let value = EbpfOperand::Register(register);
            asm.store(AccessSize::Double, base, place, value);
        }
        asm.branch(JumpCondition::Equal, R2, EbpfOperand::Number(0), none);
        asm.copy(R1, EbpfOperand::Register(RECORD));
        asm.calculate(AluOp::Add, R1, EbpfOperand::Register(R5));
        self.field(R3, SKB, layout.data);
        let asm = &mut self.assembler;
        asm.call(Helper::ReadKernel);
        asm.bind(none);
        asm.load(AccessSize::Double, R5, STACK, RECORD_SO_FAR);
    }
}

/// A filter's instructions, of which those that can be reached are written: the kernel refuses a program with
/// others.
pub(super) struct Steps<'f> {
    instructions: &'f [Instruction],
    is_reached: Vec<bool>,
}

impl<'f> Steps<'f> {
    pub(super) fn new(filter: &'f BpfProgram) -> Self {
        let instructions = filter.instructions();
        let mut is_reached = vec![false; instructions.len()];
        let mut reach = |at: usize| {
            if let Some(is_reached) = is_reached.get_mut(at) {
                *is_reached = true;
            }
        };
        reach(0);
        for (at, &instruction) in instructions.iter().enumerate() {
            if !is_reached[at] {
                continue;
            }
            let mut reach = |skipped: usize| is_reached[at + 1 + skipped] = true;
            match instruction {
                Instruction::Op(op) if keeps_all(op) => {}
                Instruction::Op(_) => reach(0),
                Instruction::Branch(.., yes, no) => {
                    reach(yes.into());
                    reach(no.into());
                }
                Instruction::Jump(skipped) => reach(skipped as usize),
                Instruction::Return(_) => {}
            }
        }
        Self {
            instructions,
            is_reached,
        }
    }

    fn reached(&self) -> impl Iterator<Item = (usize, Instruction)> {
        let all = self.instructions.iter().copied().enumerate();
        all.filter(|&(at, _)| self.is_reached[at])
    }

    /// Returns whether any packet is rejected.
    pub(super) fn rejects(&self) -> bool {
        self.reached()
            .any(|(_, instruction)| instruction == Instruction::Return(0))
    }

    fn write(&self, asm: &mut ProgramAssembler, kept: JumpLabel, rejected: JumpLabel) {
        let labels: Vec<_> = self.instructions.iter().map(|_| asm.label()).collect();
        for (at, instruction) in self.reached() {
            asm.bind(labels[at]);
            let target = |skipped: usize| labels[at + 1 + skipped];
            match instruction {
                Instruction::Op(op) if keeps_all(op) => asm.jump(kept),
                Instruction::Op(op) => operate(asm, op, kept),
                Instruction::Branch(condition, operand, yes, no) => {
                    let operand = self::operand(operand);
                    let (yes, no) = (usize::from(yes), usize::from(no));
                    // Whatever comes next needs no jump.
                    match (jump_condition(condition), opposite(condition)) {
                        (_, Some(opposite)) if yes == 0 => {
                            asm.branch32(opposite, R0, operand, target(no));
                        }
                        (condition, _) => {
                            asm.branch32(condition, R0, operand, target(yes));
                            if no != 0 {
                                asm.jump(target(no));
                            }
                        }
                    }
                }
                Instruction::Jump(skipped) => asm.jump(target(skipped as usize)),
                Instruction::Return(0) => asm.jump(rejected),
                // What keeps a packet goes on there.
                Instruction::Return(_) if at + 1 == self.instructions.len() => {}
                Instruction::Return(_) => asm.jump(kept),
            }
        }
    }
}

/// Returns whether an operation keeps every packet: it reads what no record has.
fn keeps_all(op: Op) -> bool {
    match op {
        Op::Load(size, at) => {
            let end = at.saturating_add(size.bytes());
            let is_split = at < FRAME && end > FRAME;
            is_split || end > LAST_END.unsigned_abs()
        }
        Op::LoadBehindX(_, at) => at >= LAST_END.unsigned_abs() - 4,
        // A record has no attributes.
        Op::Length | Op::FindAttribute | Op::FindNested => true,
        _ => false,
    }
}

fn operate(asm: &mut ProgramAssembler, op: Op, kept: JumpLabel) {
    match op {
        Op::Number(number) => asm.calculate32(AluOp::Move, R0, immediate(number)),
        Op::NumberToX(number) => asm.calculate32(AluOp::Move, R1, immediate(number)),
        Op::ToX => asm.calculate32(AluOp::Move, R1, EbpfOperand::Register(R0)),
        Op::FromX => asm.calculate32(AluOp::Move, R0, EbpfOperand::Register(R1)),
        Op::Recall(slot) => asm.load(AccessSize::Word, R0, RECORD, word(slot)),
        Op::RecallToX(slot) => asm.load(AccessSize::Word, R1, RECORD, word(slot)),
        Op::Store(slot) => {
            let value = EbpfOperand::Register(R0);
            asm.store(AccessSize::Word, RECORD, word(slot), value);
        }
        Op::Calculate(arithmetic, operand) => {
            let op = match arithmetic {
                Arithmetic::Add => AluOp::Add,
                Arithmetic::Subtract => AluOp::Subtract,
                Arithmetic::Or => AluOp::Or,
                Arithmetic::And => AluOp::And,
                Arithmetic::ShiftLeft => AluOp::ShiftLeft,
            };
            asm.calculate32(op, R0, self::operand(operand));
        }
        Op::Load(size, at) => {
            if at >= FRAME {
                let end = immediate(at + size.bytes());
                asm.load(AccessSize::Double, R2, RECORD, END);
                asm.branch(JumpCondition::Below, R2, end, kept);
            }
            asm.load(access(size), R0, RECORD, offset(at));
            // Only the packet's own numbers are big-endian.
            if at >= FRAME || at == u32::from(report::PROTOCOL.at.unsigned_abs()) {
                asm.swap_from_big_endian(access(size), R0);
            }
        }
        Op::LoadBehindX(size, at) => {
            asm.copy(R2, EbpfOperand::Register(R1));
            asm.calculate(AluOp::Add, R2, immediate(at));
            // For the verifier, which does not know the end.
            let last = EbpfOperand::Number(LAST_END - 4);
            asm.branch(JumpCondition::Greater, R2, last, kept);
            asm.copy(R3, EbpfOperand::Register(R2));
            asm.calculate(AluOp::Add, R3, immediate(size.bytes()));
            asm.load(AccessSize::Double, R4, RECORD, END);
            asm.branch(JumpCondition::Greater, R3, EbpfOperand::Register(R4), kept);
            asm.calculate(AluOp::Add, R2, EbpfOperand::Register(RECORD));
            asm.load(access(size), R0, R2, 0);
            asm.swap_from_big_endian(access(size), R0);
        }
        Op::Length | Op::FindAttribute | Op::FindNested => {}
    }
}

fn operand(operand: Operand) -> EbpfOperand {
    match operand {
        Operand::Number(number) => immediate(number),
        Operand::X => EbpfOperand::Register(R1),
    }
}

fn immediate(number: u32) -> EbpfOperand {
    EbpfOperand::Number(number.cast_signed())
}

/// The offset of a load that [`keeps_all`] has found to be in the record.
fn offset(at: u32) -> i16 {
    i16::try_from(at).unwrap_or(i16::MAX)
}

fn word(slot: Slot) -> i16 {
    WORDS + 4 * i16::from(slot.0)
}

fn access(size: Size) -> AccessSize {
    match size {
        Size::Byte => AccessSize::Byte,
        Size::Half => AccessSize::Half,
        Size::Word => AccessSize::Word,
    }
}

fn jump_condition(condition: Condition) -> JumpCondition {
    match condition {
        Condition::Equal => JumpCondition::Equal,
        Condition::Greater => JumpCondition::Greater,
        Condition::GreaterOrEqual => JumpCondition::AtLeast,
        Condition::AnyBit => JumpCondition::AnyBit,
    }
}

/// Returns the condition that holds where the other does not, if the machine has it.
fn opposite(condition: Condition) -> Option<JumpCondition> {
    match condition {
        Condition::Equal => Some(JumpCondition::NotEqual),
        Condition::Greater => Some(JumpCondition::AtMost),
        Condition::GreaterOrEqual => Some(JumpCondition::Below),
        Condition::AnyBit => None,
    }
}
