//! Assembles eBPF programs from instructions and labels, as bytes for the kernel
//! (Documentation/bpf/standardization/instruction-set.rst) and as a listing for people.

mod listing;

/// A register. 0 holds results; 1 to 5 hold arguments and do not survive a call; 6 to 9 do; 10 points to
/// the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

/// Bytes of a load or a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessSize {
    /// 1
    Byte,
    /// 2
    Half,
    /// 4
    Word,
    /// 8
    Double,
}

impl AccessSize {
    /// Returns the number.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
            Self::Double => 8,
        }
    }
}

/// The other operand of a calculation or a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EbpfOperand {
    /// A register.
    Register(Register),
    /// A number, with its sign extended to 64 bits.
    Number(i32),
}

/// A calculation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AluOp {
    /// a = b
    Move,
    /// a += b
    Add,
    /// a -= b
    Subtract,
    /// a |= b
    Or,
    /// a &= b
    And,
    /// a <<= b
    ShiftLeft,
    /// a >>= b
    ShiftRight,
}

/// A comparison, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JumpCondition {
    /// a == b
    Equal,
    /// a != b
    NotEqual,
    /// a <= b
    AtMost,
    /// a >= b
    AtLeast,
    /// a > b
    Greater,
    /// a < b
    Below,
    /// a & b != 0
    AnyBit,
}

/// A map that the program uses. Its file descriptor is known when the program is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// Counts, and places for records that are being made.
    Scratch,
    /// The perf buffers.
    Buffers,
    /// Drops by what they have in common.
    Counts,
    /// An address, and its name.
    Name,
    /// The format of a name.
    Format,
}

/// A function of the kernel (`BPF_FUNC_` of linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// `void *map_lookup_elem(map, key)`
    MapLookUp = 1,
    /// `long map_update_elem(map, key, value, flags)`
    MapUpdate = 2,
    /// `u64 ktime_get_ns()`: the monotonic clock.
    MonotonicTime = 5,
    /// `u32 get_smp_processor_id()`
    CpuNumber = 8,
    /// `u64 get_current_pid_tgid()`: the process of the running task in the upper half.
    RunningTask = 14,
    /// `long get_current_comm(to, size)`: the running task's name.
    RunningName = 16,
    /// `long get_stack(context, to, size, flags)`: writes the addresses of the call stack.
    CallStack = 67,
    /// `u64 get_current_cgroup_id()`: that of the running task.
    RunningCgroup = 80,
    /// `long skb_output(skb, map, flags, data, size)`: writes data and then bytes of the packet into a
    /// perf buffer.
    PacketOutput = 111,
    /// `long probe_read_kernel(to, size, from)`
    ReadKernel = 113,
    /// `long snprintf(to, size, format, arguments, arguments_size)`: the length with its NUL.
    Format = 165,
}

/// A place in a program that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JumpLabel(usize);

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EbpfInstruction {
    Load(AccessSize, Register, Register, i16),
    Store(AccessSize, Register, i16, EbpfOperand),
    Calculate(AluOp, Register, EbpfOperand),
    Calculate32(AluOp, Register, EbpfOperand),
    FromBigEndian(AccessSize, Register),
    AtomicAdd(Register, i16, Register),
    /// A number of 64 bits; takes the space of two instructions.
    Number(Register, u64),
    /// A map's address; takes the space of two instructions.
    Map(Register, Map),
    Call(Helper),
    Branch(JumpCondition, Register, EbpfOperand, JumpLabel),
    Branch32(JumpCondition, Register, EbpfOperand, JumpLabel),
    Jump(JumpLabel),
    Exit,
}

impl EbpfInstruction {
    /// Returns the number of the kernel's instructions that it takes.
    fn len(self) -> usize {
        match self {
            Self::Number(..) | Self::Map(..) => 2,
            _ => 1,
        }
    }
}

/// A program that is being written.
#[derive(Clone, Debug, Default)]
pub struct ProgramAssembler {
    ops: Vec<(EbpfInstruction, &'static str)>,
    /// The place of each label: the number of operations before it.
    labels: Vec<Option<usize>>,
}

impl ProgramAssembler {
    /// Creates a label, which has to be bound later.
    pub fn label(&mut self) -> JumpLabel {
        self.labels.push(None);
        JumpLabel(self.labels.len() - 1)
    }

    /// Binds a label to the next instruction. All jumps go forwards, so that the kernel can prove that the
    /// program ends.
    pub fn bind(&mut self, label: JumpLabel) {
        self.labels[label.0] = Some(self.ops.len());
    }

    /// Sets the comment of the last instruction in the listing.
    pub fn note(&mut self, note: &'static str) {
        if let Some((_, last)) = self.ops.last_mut() {
            *last = note;
        }
    }

    /// `to = *(from + offset)`
    pub fn load(&mut self, size: AccessSize, to: Register, from: Register, offset: i16) {
        self.push(EbpfInstruction::Load(size, to, from, offset));
    }

    /// `*(to + offset) = value`
    pub fn store(&mut self, size: AccessSize, to: Register, offset: i16, value: EbpfOperand) {
        self.push(EbpfInstruction::Store(size, to, offset, value));
    }

    /// `to = to op value`, of 64 bits.
    pub fn calculate(&mut self, arithmetic: AluOp, to: Register, value: EbpfOperand) {
        self.push(EbpfInstruction::Calculate(arithmetic, to, value));
    }

    /// `to = to op value`, of 32 bits; the upper half becomes 0.
    pub fn calculate32(&mut self, arithmetic: AluOp, to: Register, value: EbpfOperand) {
        self.push(EbpfInstruction::Calculate32(arithmetic, to, value));
    }

    /// Converts a number that was loaded from a packet; a byte needs no conversion.
    pub fn swap_from_big_endian(&mut self, size: AccessSize, register: Register) {
        if size != AccessSize::Byte {
            self.push(EbpfInstruction::FromBigEndian(size, register));
        }
    }

    /// `*(to + offset) += value`, of 64 bits, which nothing interrupts.
    pub fn atomic_add(&mut self, to: Register, offset: i16, value: Register) {
        self.push(EbpfInstruction::AtomicAdd(to, offset, value));
    }

    /// `to = value`
    pub fn copy(&mut self, to: Register, value: EbpfOperand) {
        self.calculate(AluOp::Move, to, value);
    }

    /// `to = value`, of 64 bits.
    pub fn number(&mut self, to: Register, value: u64) {
        self.push(EbpfInstruction::Number(to, value));
    }

    /// `to = map`
    pub fn map(&mut self, to: Register, map: Map) {
        self.push(EbpfInstruction::Map(to, map));
    }

    /// `r0 = helper(r1, …)`
    pub fn call(&mut self, helper: Helper) {
        self.push(EbpfInstruction::Call(helper));
    }

    /// `if one condition other goto label`, of 64 bits.
    pub fn branch(
        &mut self,
        condition: JumpCondition,
        one: Register,
        other: EbpfOperand,
        label: JumpLabel,
    ) {
        self.push(EbpfInstruction::Branch(condition, one, other, label));
    }

    /// The same of the lower 32 bits.
    pub fn branch32(
        &mut self,
        condition: JumpCondition,
        one: Register,
        other: EbpfOperand,
        label: JumpLabel,
    ) {
        self.push(EbpfInstruction::Branch32(condition, one, other, label));
    }

    /// `goto label`
    pub fn jump(&mut self, label: JumpLabel) {
        self.push(EbpfInstruction::Jump(label));
    }

    /// `return r0`
    pub fn exit(&mut self) {
        self.push(EbpfInstruction::Exit);
    }

    fn push(&mut self, op: EbpfInstruction) {
        self.ops.push((op, ""));
    }

    /// Returns the program.
    ///
    /// # Panics
    ///
    /// If a label was never bound: a mistake in this crate, which any test finds, because the programs for
    /// different kernels differ only in offsets.
    pub fn finish(self) -> EbpfProgram {
        let mut at = vec![0];
        for (op, _) in &self.ops {
            at.push(at[at.len() - 1] + op.len());
        }
        let target = |label: JumpLabel| at[self.labels[label.0].expect("every label is bound")];
        let ops = self.ops.iter().zip(&at).map(|(&(op, note), &at)| Placed {
            op,
            note,
            at,
            target: match op {
                EbpfInstruction::Branch(.., label)
                | EbpfInstruction::Branch32(.., label)
                | EbpfInstruction::Jump(label) => target(label),
                _ => at,
            },
        });
        EbpfProgram(ops.collect())
    }
}

/// An instruction in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    op: EbpfInstruction,
    note: &'static str,
    at: usize,
    /// The target of its jump.
    target: usize,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EbpfProgram(Vec<Placed>);

/// Classes, sizes and modes (linux/bpf_common.h, linux/bpf.h).
mod code {
    pub const LD: u8 = 0x00;
    pub const LDX: u8 = 0x01;
    pub const ST: u8 = 0x02;
    pub const STX: u8 = 0x03;
    pub const ALU32: u8 = 0x04;
    pub const JMP: u8 = 0x05;
    pub const JMP32: u8 = 0x06;
    pub const ALU64: u8 = 0x07;
    pub const MEM: u8 = 0x60;
    /// With the number 0: an addition (`BPF_ATOMIC`, `BPF_ADD`).
    pub const ATOMIC: u8 = 0xc0;
    pub const REGISTER: u8 = 0x08;
    pub const CALL: u8 = 0x80;
    /// An operation of `ALU32`: to big-endian, which is the same as from there.
    pub const BIG_ENDIAN: u8 = 0xd0 | 0x08;
    pub const EXIT: u8 = 0x90;
    /// `src_reg` of a load of 64 bits: the number is a map's file descriptor (`BPF_PSEUDO_MAP_FD`).
    pub const MAP_FD: u8 = 1;
}

impl EbpfProgram {
    /// Returns the number of the kernel's instructions.
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| last.at + last.op.len())
    }

    /// Returns whether every jump is within the reach of its distance, which has 16 bits.
    pub fn jumps_fit(&self) -> bool {
        self.len() <= i16::MAX.unsigned_abs().into()
    }

    /// Encodes the instructions for the kernel (`struct bpf_insn`). `fd` returns a map's file descriptor.
    pub fn encode(&self, fd: impl Fn(Map) -> i32) -> Vec<u64> {
        let mut encoded = Vec::new();
        for &Placed { op, at, target, .. } in &self.0 {
            let distance = target.wrapping_sub(at + 1);
            let distance = i16::try_from(distance.cast_signed()).unwrap_or(0);
            match op {
                EbpfInstruction::Load(size, to, from, offset) => {
                    let code = code::LDX | code::MEM | size.code();
                    encoded.push(instruction(code, to.0, from.0, offset, 0));
                }
                EbpfInstruction::Store(size, to, offset, EbpfOperand::Register(from)) => {
                    let code = code::STX | code::MEM | size.code();
                    encoded.push(instruction(code, to.0, from.0, offset, 0));
                }
                EbpfInstruction::Store(size, to, offset, EbpfOperand::Number(number)) => {
                    let code = code::ST | code::MEM | size.code();
                    encoded.push(instruction(code, to.0, 0, offset, number));
                }
                EbpfInstruction::Calculate(arithmetic, to, value) => {
                    let (source, register, number) = value.encode();
                    let code = code::ALU64 | arithmetic.code() | source;
                    encoded.push(instruction(code, to.0, register, 0, number));
                }
                EbpfInstruction::Calculate32(arithmetic, to, value) => {
                    let (source, register, number) = value.encode();
                    let code = code::ALU32 | arithmetic.code() | source;
                    encoded.push(instruction(code, to.0, register, 0, number));
                }
                EbpfInstruction::FromBigEndian(size, to) => {
                    let code = code::ALU32 | code::BIG_ENDIAN;
                    encoded.push(instruction(code, to.0, 0, 0, size.bits()));
                }
                EbpfInstruction::AtomicAdd(to, offset, value) => {
                    let code = code::STX | code::ATOMIC | AccessSize::Double.code();
                    encoded.push(instruction(code, to.0, value.0, offset, 0));
                }
                EbpfInstruction::Number(to, value) => encoded.extend(long(to, 0, value)),
                EbpfInstruction::Map(to, map) => {
                    let fd = fd(map).cast_unsigned();
                    encoded.extend(long(to, code::MAP_FD, fd.into()));
                }
                EbpfInstruction::Call(helper) => {
                    let code = code::JMP | code::CALL;
                    encoded.push(instruction(code, 0, 0, 0, helper as i32));
                }
                EbpfInstruction::Branch(condition, one, other, _) => {
                    let (source, register, number) = other.encode();
                    let code = code::JMP | condition.code() | source;
                    encoded.push(instruction(code, one.0, register, distance, number));
                }
                EbpfInstruction::Branch32(condition, one, other, _) => {
                    let (source, register, number) = other.encode();
                    let code = code::JMP32 | condition.code() | source;
                    encoded.push(instruction(code, one.0, register, distance, number));
                }
                EbpfInstruction::Jump(_) => {
                    encoded.push(instruction(code::JMP, 0, 0, distance, 0));
                }
                EbpfInstruction::Exit => {
                    encoded.push(instruction(code::JMP | code::EXIT, 0, 0, 0, 0));
                }
            }
        }
        encoded
    }
}

/// `struct bpf_insn`: code, registers, offset, number.
fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    let [low, high] = offset.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") {
        to | from << 4
    } else {
        to << 4 | from
    };
    let [a, b, c, d] = number.to_ne_bytes();
    u64::from_ne_bytes([code, registers, low, high, a, b, c, d])
}

/// Encodes a load of 64 bits. The upper half is in a second instruction.
fn long(to: Register, from: u8, value: u64) -> [u64; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let [low, high] = [value as u32, (value >> 32) as u32].map(u32::cast_signed);
    let code = code::LD | AccessSize::Double.code();
    [
        instruction(code, to.0, from, 0, low),
        instruction(0, 0, 0, 0, high),
    ]
}

impl EbpfOperand {
    /// Returns the bit that distinguishes a register from a number, then the register and the number, of
    /// which the other one is 0.
    fn encode(self) -> (u8, u8, i32) {
        match self {
            Self::Register(register) => (code::REGISTER, register.0, 0),
            Self::Number(number) => (0, 0, number),
        }
    }
}

impl AccessSize {
    fn code(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Byte => 0x10,
            Self::Double => 0x18,
        }
    }

    fn bits(self) -> i32 {
        8 * self.bytes().cast_signed()
    }
}

impl AluOp {
    fn code(self) -> u8 {
        match self {
            Self::Move => 0xb0,
            Self::Add => 0x00,
            Self::Subtract => 0x10,
            Self::Or => 0x40,
            Self::And => 0x50,
            Self::ShiftLeft => 0x60,
            Self::ShiftRight => 0x70,
        }
    }
}

impl JumpCondition {
    fn code(self) -> u8 {
        match self {
            Self::Equal => 0x10,
            Self::Greater => 0x20,
            Self::AtLeast => 0x30,
            Self::AnyBit => 0x40,
            Self::NotEqual => 0x50,
            Self::Below => 0xa0,
            Self::AtMost => 0xb0,
        }
    }
}
