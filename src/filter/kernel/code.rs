//! A program as it is written: the machine's memory, loads that cannot fail, numbers in the host's
//! byte order.

use crate::bpf::{Arithmetic, Assembler, BpfProgram, Condition, Label, Op, Operand, Size, Slot};

/// Where the payload begins in the message; of use where bytes of it were captured.
pub const PAYLOAD: Slot = Slot(0);
/// Bytes of the payload.
pub const CAPTURED: Slot = Slot(1);
/// Bytes of the whole packet.
pub const LENGTH: Slot = Slot(2);
/// Who dropped it: the attribute's value, as it is loaded.
pub const ORIGIN: Slot = Slot(3);
/// `skb->protocol`.
pub const PROTOCOL: Slot = Slot(4);
/// Whether the packet may be raw IP where it was rejected as Ethernet.
pub const UNDECIDED: Slot = Slot(5);
/// The Ethernet type of the network header, or [`UNKNOWN_KIND`].
pub const KIND: Slot = Slot(6);
/// Where the transport header begins in the payload.
pub const TRANSPORT: Slot = Slot(7);
/// Where an attribute begins in the message.
pub const ATTRIBUTE: Slot = Slot(8);
/// Parts of a number.
const PARTS: [Slot; 3] = [Slot(9), Slot(10), Slot(11)];
/// All of them.
const SLOTS: u8 = 12;

/// No Ethernet type: it was not captured.
pub const UNKNOWN_KIND: u32 = 0x1_0000;

/// Where the attributes of a generic netlink message begin (`struct nlmsghdr`, linux/netlink.h, and
/// `struct genlmsghdr`, linux/genetlink.h), and where the value of one does (`struct nlattr`).
pub const ATTRIBUTES: u32 = 16 + 4;
pub const VALUE: u32 = 4;

/// What a predicate became; `None` where the kernel cannot do it.
pub type Compiled = Option<()>;

/// An answer that is asked for, and where it leads; where bytes are missing there is none, and the
/// way on is `miss`.
#[derive(Clone, Copy)]
pub struct Goal {
    pub wanted: bool,
    pub hit: Label,
    pub miss: Label,
}

impl Goal {
    pub fn yes(self) -> Label {
        if self.wanted { self.hit } else { self.miss }
    }

    pub fn no(self) -> Label {
        if self.wanted { self.miss } else { self.hit }
    }
}

/// What a load gives for a number that the kernel wrote in this machine's byte order.
pub fn loaded16(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()).into()
}

/// The program so far.
#[derive(Default)]
pub struct Code(Assembler);

impl Code {
    pub fn label(&mut self) -> Label {
        self.0.label()
    }

    pub fn bind(&mut self, label: Label) {
        self.0.bind(label);
    }

    pub fn op(&mut self, op: Op) {
        self.0.op(op);
    }

    pub fn ops(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.op(op);
        }
    }

    pub fn jump(&mut self, label: Label) {
        self.0.jump(label);
    }

    pub fn branch(&mut self, condition: Condition, number: u32, yes: Label, no: Label) {
        self.0.branch(condition, Operand::Number(number), yes, no);
    }

    /// Asks of A and X.
    pub fn branch_x(&mut self, condition: Condition, yes: Label, no: Label) {
        self.0.branch(condition, Operand::X, yes, no);
    }

    /// Goes on where A is `number`, else elsewhere.
    pub fn require(&mut self, number: u32, otherwise: Label) {
        let next = self.label();
        self.branch(Condition::Equal, number, next, otherwise);
        self.bind(next);
    }

    /// Goes elsewhere where A is `number`, else on.
    pub fn except(&mut self, number: u32, elsewhere: Label) {
        let next = self.label();
        self.branch(Condition::Equal, number, elsewhere, next);
        self.bind(next);
    }

    pub fn calculate(&mut self, arithmetic: Arithmetic, number: u32) {
        self.op(Op::Calculate(arithmetic, Operand::Number(number)));
    }

    pub fn mask(&mut self, mask: u32, all: u32) {
        if mask & all != all {
            self.calculate(Arithmetic::And, mask);
        }
    }

    pub fn store(&mut self, slot: Slot, number: u32) {
        self.ops([Op::Number(number), Op::Store(slot)]);
    }

    /// All of the memory is zero.
    pub fn clear(&mut self) {
        self.op(Op::Number(0));
        self.ops((0..SLOTS).map(|slot| Op::Store(Slot(slot))));
    }

    /// A becomes the number at `at` behind X that the kernel wrote in this machine's byte order; X
    /// is lost.
    pub fn load_host(&mut self, size: Size, at: u32) {
        if cfg!(target_endian = "big") {
            self.op(Op::LoadBehindX(size, at));
            return;
        }
        let len = size.bytes();
        let parts = &PARTS[..len as usize - 1];
        for (part, byte) in parts.iter().zip(1..) {
            self.op(Op::LoadBehindX(Size::Byte, at + byte));
            self.calculate(Arithmetic::ShiftLeft, 8 * byte);
            self.op(Op::Store(*part));
        }
        self.op(Op::LoadBehindX(Size::Byte, at));
        for part in parts {
            self.op(Op::RecallToX(*part));
            self.op(Op::Calculate(Arithmetic::Or, Operand::X));
        }
    }

    /// X becomes the offset of the first attribute of this type.
    pub fn find(&mut self, kind: u16, absent: Label) {
        self.ops([
            Op::NumberToX(kind.into()),
            Op::Number(ATTRIBUTES),
            Op::FindAttribute,
        ]);
        self.except(0, absent);
        self.op(Op::ToX);
    }

    /// X becomes the offset of the first attribute of type `kind` in the nest at X.
    pub fn find_nested(&mut self, kind: u16, absent: Label) {
        self.ops([Op::FromX, Op::NumberToX(kind.into()), Op::FindNested]);
        self.except(0, absent);
        self.op(Op::ToX);
    }

    /// Goes on where the attribute at X has a value of `len` bytes.
    pub fn require_value(&mut self, len: u16, otherwise: Label) {
        const HEADER: u16 = 4;
        self.op(Op::LoadBehindX(Size::Half, 0));
        self.require(loaded16(HEADER + len), otherwise);
    }

    /// A becomes the number at `at` in the payload.
    pub fn fetch(&mut self, size: Size, at: u32, missing: Label) {
        let next = self.label();
        self.op(Op::Recall(CAPTURED));
        let end = at + size.bytes();
        self.branch(Condition::GreaterOrEqual, end, next, missing);
        self.bind(next);
        self.ops([Op::RecallToX(PAYLOAD), Op::LoadBehindX(size, at)]);
    }

    /// A becomes the number at `at` behind the transport header's beginning.
    pub fn fetch_transport(&mut self, size: Size, at: u32, missing: Label) {
        let next = self.label();
        self.op(Op::Recall(TRANSPORT));
        self.calculate(Arithmetic::Add, at + size.bytes());
        self.op(Op::RecallToX(CAPTURED));
        self.branch_x(Condition::Greater, missing, next);
        self.bind(next);
        self.ops([
            Op::RecallToX(PAYLOAD),
            Op::Recall(TRANSPORT),
            Op::Calculate(Arithmetic::Add, Operand::X),
            Op::ToX,
            Op::LoadBehindX(size, at),
        ]);
    }

    pub fn assemble(&self) -> BpfProgram {
        self.0.assemble()
    }
}

impl Size {
    fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }
}
