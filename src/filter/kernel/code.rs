//! Writes the program: slots of memory, loads that cannot fail, and numbers in the host's byte
//! order.

use crate::bpf::{Arithmetic, Assembler, BpfProgram, Condition, Label, Op, Operand, Size, Slot};

/// The offset of the payload in the message; valid if bytes of it were captured.
pub const PAYLOAD: Slot = Slot(0);
/// The length of the payload.
pub const CAPTURED: Slot = Slot(1);
/// The length of the whole packet.
pub const LENGTH: Slot = Slot(2);
/// The origin of the drop: the attribute's value as loaded.
pub const ORIGIN: Slot = Slot(3);
/// `skb->protocol`.
pub const PROTOCOL: Slot = Slot(4);
/// Set if the packet may be raw IP after it was rejected as Ethernet.
pub const UNDECIDED: Slot = Slot(5);
/// The Ethernet type of the network header, or [`UNKNOWN_KIND`].
pub const KIND: Slot = Slot(6);
/// The offset of the transport header in the payload.
pub const TRANSPORT: Slot = Slot(7);
/// The offset of an attribute in the message.
pub const ATTRIBUTE: Slot = Slot(8);
/// The bytes of a number that is being loaded.
const PARTS: [Slot; 3] = [Slot(9), Slot(10), Slot(11)];
/// The number of slots in use.
const SLOTS: u8 = 12;

/// The value of [`KIND`] if the type was not captured; above all Ethernet types.
pub const UNKNOWN_KIND: u32 = 0x1_0000;

/// The offset of the attributes in a generic netlink message (`struct nlmsghdr`, linux/netlink.h,
/// and `struct genlmsghdr`, linux/genetlink.h), and the offset of the value in an attribute
/// (`struct nlattr`).
pub const ATTRIBUTES: u32 = nlmsg::LEN + 4;
pub const VALUE: u32 = 4;

/// Offsets of `struct nlmsghdr` (linux/netlink.h); `struct genlmsghdr` begins after it.
pub mod nlmsg {
    pub const TOTAL_LEN: u32 = 0;
    pub const TYPE: u32 = 4;
    pub const LEN: u32 = 16;
}

/// The offset of the command in `struct genlmsghdr` (linux/genetlink.h).
pub const GENL_COMMAND: u32 = 0;

/// The offset of the length in `struct nlattr` (linux/netlink.h), and the header's length.
pub const NLA_LEN: u32 = 0;

/// The result of compiling a predicate; `None` if the kernel cannot evaluate it.
pub type Compiled = Option<()>;

/// The wanted answer, and the labels for it and for any other outcome. Missing bytes lead to
/// `miss`.
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

/// Returns the offset of a header's field as the operand of a load.
#[expect(clippy::cast_possible_truncation, reason = "offsets within a header")]
pub const fn field_offset(at: usize) -> u32 {
    at as u32
}

/// Returns the result of loading a number that the kernel wrote in this host's byte order.
pub fn loaded16(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()).into()
}

/// A program under construction.
#[derive(Default)]
pub struct Code {
    assembler: Assembler,
    /// The offset of the payload, where it is the same in all messages; else [`PAYLOAD`] has it.
    payload: Option<u32>,
}

impl Code {
    /// Begins a program for messages whose payload is always at this offset.
    pub fn with_payload_at(offset: u32) -> Self {
        Self {
            payload: Some(offset),
            ..Self::default()
        }
    }

    pub fn label(&mut self) -> Label {
        self.assembler.label()
    }

    pub fn bind(&mut self, label: Label) {
        self.assembler.bind(label);
    }

    pub fn op(&mut self, op: Op) {
        self.assembler.op(op);
    }

    pub fn ops(&mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.op(op);
        }
    }

    pub fn jump(&mut self, label: Label) {
        self.assembler.jump(label);
    }

    pub fn branch(&mut self, condition: Condition, number: u32, yes: Label, no: Label) {
        self.assembler
            .branch(condition, Operand::Number(number), yes, no);
    }

    /// Branches on a comparison of A with X.
    pub fn branch_x(&mut self, condition: Condition, yes: Label, no: Label) {
        self.assembler.branch(condition, Operand::X, yes, no);
    }

    /// Continues if A is `number`; else jumps to `otherwise`.
    pub fn require(&mut self, number: u32, otherwise: Label) {
        let next = self.label();
        self.branch(Condition::Equal, number, next, otherwise);
        self.bind(next);
    }

    /// Jumps to `elsewhere` if A is `number`; else continues.
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

    /// Sets all slots to zero, since the kernel refuses to read a slot before it is written.
    pub fn clear(&mut self) {
        self.op(Op::Number(0));
        self.ops((0..SLOTS).map(|slot| Op::Store(Slot(slot))));
    }

    /// Loads into A the number at offset `at` from X, which the kernel wrote in this host's byte
    /// order. X is overwritten.
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

    /// Sets X to the offset of the first attribute of this type; jumps to `absent` if there is
    /// none.
    pub fn find(&mut self, kind: u16, absent: Label) {
        self.ops([
            Op::NumberToX(kind.into()),
            Op::Number(ATTRIBUTES),
            Op::FindAttribute,
        ]);
        self.except(0, absent);
        self.op(Op::ToX);
    }

    /// Sets X to the offset of the first attribute of type `kind` inside the nested attribute at X;
    /// jumps to `absent` if there is none.
    pub fn find_nested(&mut self, kind: u16, absent: Label) {
        self.ops([Op::FromX, Op::NumberToX(kind.into()), Op::FindNested]);
        self.except(0, absent);
        self.op(Op::ToX);
    }

    /// Continues if the attribute at X has a value of `len` bytes.
    pub fn require_value(&mut self, len: u16, otherwise: Label) {
        const HEADER: u16 = 4;
        self.op(Op::LoadBehindX(Size::Half, NLA_LEN));
        self.require(loaded16(HEADER + len), otherwise);
    }

    /// Stores the length of the whole packet, which is in A, unless fewer bytes than were captured: the
    /// slot has their number.
    pub fn store_length(&mut self) {
        let (longer, measured) = (self.label(), self.label());
        self.op(Op::RecallToX(CAPTURED));
        self.branch_x(Condition::Greater, longer, measured);
        self.bind(longer);
        self.op(Op::Store(LENGTH));
        self.bind(measured);
    }

    /// Loads into A the number at offset `at` in the payload; jumps to `missing` if it was not
    /// captured.
    pub fn fetch(&mut self, size: Size, at: u32, missing: Label) {
        let next = self.label();
        self.op(Op::Recall(CAPTURED));
        let end = at + size.bytes();
        self.branch(Condition::GreaterOrEqual, end, next, missing);
        self.bind(next);
        if self.payload.is_none() {
            self.op(Op::RecallToX(PAYLOAD));
        }
        self.fetch_again(size, at);
    }

    /// Loads into A a number of the payload of which at least as many bytes have just been fetched, and
    /// nothing but A has changed since.
    pub fn fetch_again(&mut self, size: Size, at: u32) {
        self.op(match self.payload {
            Some(payload) => Op::Load(size, payload + at),
            None => Op::LoadBehindX(size, at),
        });
    }

    /// Loads into A the number at offset `at` from the transport header; jumps to `missing` if it
    /// was not captured.
    pub fn fetch_transport(&mut self, size: Size, at: u32, missing: Label) {
        let next = self.label();
        self.op(Op::Recall(TRANSPORT));
        self.calculate(Arithmetic::Add, at + size.bytes());
        self.op(Op::RecallToX(CAPTURED));
        self.branch_x(Condition::Greater, missing, next);
        self.bind(next);
        match self.payload {
            Some(payload) => {
                self.op(Op::RecallToX(TRANSPORT));
                self.op(Op::LoadBehindX(size, payload + at));
            }
            None => self.ops([
                Op::RecallToX(PAYLOAD),
                Op::Recall(TRANSPORT),
                Op::Calculate(Arithmetic::Add, Operand::X),
                Op::ToX,
                Op::LoadBehindX(size, at),
            ]),
        }
    }

    pub fn assemble(&self) -> BpfProgram {
        self.assembler.assemble()
    }
}
