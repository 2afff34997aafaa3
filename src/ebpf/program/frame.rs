//! The frame: where it begins, and how many bytes of it are captured.

use super::super::assembler::{AccessSize, AluOp, EbpfOperand, Helper, JumpCondition};
use super::super::report::{self, HEADER_LEN, Start};
use super::stack::STACK_LEN_AT;
use super::{MAX_HEADERS_LEN, ProgramWriter, R0, R1, R2, R3, R4, R5, RECORD, SKB, STACK};

/// `mac_header` of a packet that has none.
pub(super) const NO_MAC_HEADER: i32 = 0xffff;

/// The part of the record in front of the frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameFollows {
    Header,
    Stack,
}

impl ProgramWriter<'_> {
    /// Finds the beginning of the frame, and copies its bytes before `skb->data`. Leaves the length of the
    /// record so far in r5.
    pub(super) fn frame(&mut self, follows: FrameFollows) {
        let layout = self.layout;
        let asm = &mut self.assembler;
        let [no_mac, some_mac, no_network, start, short, none, told] =
            [(); 7].map(|()| asm.label());
        // r1: data, r2: the frame's beginning, r3: head, r4: the network header; offsets from head.
        self.field(R3, SKB, layout.head);
        self.field(R1, SKB, layout.data);
        let asm = &mut self.assembler;
        asm.calculate(AluOp::Subtract, R1, EbpfOperand::Register(R3));
        self.field(R4, SKB, layout.network_header);
        self.field(R2, SKB, layout.mac_header);
        self.begins_with(Start::LinkLayer);
        let asm = &mut self.assembler;
        asm.branch(
            JumpCondition::Equal,
            R2,
            EbpfOperand::Number(NO_MAC_HEADER),
            no_mac,
        );
        // Newer kernels have both offsets at 0 in a netlink message, which has no headers.
        asm.branch(
            JumpCondition::NotEqual,
            R2,
            EbpfOperand::Number(0),
            some_mac,
        );
        asm.branch(JumpCondition::Equal, R4, EbpfOperand::Number(0), no_network);
        asm.bind(some_mac);
        // An offset beyond data is that of a packet inside a tunnel, whose headers are before it already.
        asm.branch(JumpCondition::AtMost, R2, EbpfOperand::Register(R1), start);
        asm.bind(no_mac);
        asm.copy(R2, EbpfOperand::Register(R4));
        self.begins_with(Start::Network);
        let asm = &mut self.assembler;
        asm.branch(JumpCondition::Equal, R2, EbpfOperand::Number(0), no_network);
        asm.branch(JumpCondition::AtMost, R2, EbpfOperand::Register(R1), start);
        asm.bind(no_network);
        asm.copy(R2, EbpfOperand::Register(R1));
        self.begins_with(Start::Data);
        self.assembler.bind(start);

        let asm = &mut self.assembler;
        asm.calculate(AluOp::Subtract, R4, EbpfOperand::Register(R2));
        self.tell(report::NETWORK, EbpfOperand::Register(R4));
        let asm = &mut self.assembler;
        asm.calculate(AluOp::Subtract, R1, EbpfOperand::Register(R2));
        asm.calculate(AluOp::Add, R3, EbpfOperand::Register(R2));
        // r1: bytes in front of data, r3: where they are, r4: bytes from data on.
        self.field(R4, SKB, layout.len);
        let asm = &mut self.assembler;
        asm.copy(R5, EbpfOperand::Register(R4));
        asm.calculate(AluOp::Add, R5, EbpfOperand::Register(R1));
        self.tell(report::ORIGINAL_LEN, EbpfOperand::Register(R5));

        // At most as many as there is room for. If that is not all of them, nothing from data on is captured.
        let limit = EbpfOperand::Number(MAX_HEADERS_LEN.min(self.snaplen));
        let asm = &mut self.assembler;
        asm.copy(R2, EbpfOperand::Register(R1));
        asm.branch(JumpCondition::AtMost, R2, limit, short);
        asm.copy(R2, limit);
        asm.copy(R4, EbpfOperand::Number(0));
        asm.bind(short);
        self.tell(report::HEADERS_LEN, EbpfOperand::Register(R2));
        // As much from data on as the limit leaves.
        let asm = &mut self.assembler;
        asm.copy(R1, EbpfOperand::Number(self.snaplen));
        asm.calculate(AluOp::Subtract, R1, EbpfOperand::Register(R2));
        asm.branch(JumpCondition::AtMost, R4, EbpfOperand::Register(R1), told);
        asm.copy(R4, EbpfOperand::Register(R1));
        asm.bind(told);
        self.tell(report::DATA_LEN, EbpfOperand::Register(R4));

        let asm = &mut self.assembler;
        asm.copy(R5, EbpfOperand::Register(R2));
        asm.branch(JumpCondition::Equal, R2, EbpfOperand::Number(0), none);
        asm.store(AccessSize::Double, STACK, -16, EbpfOperand::Register(R2));
        asm.copy(R1, EbpfOperand::Register(RECORD));
        asm.calculate(AluOp::Add, R1, EbpfOperand::Number(HEADER_LEN_NUMBER));
        if follows == FrameFollows::Stack {
            asm.load(AccessSize::Double, R0, STACK, STACK_LEN_AT);
            asm.calculate(AluOp::Add, R1, EbpfOperand::Register(R0));
        }
        asm.call(Helper::ReadKernel);
        asm.load(AccessSize::Double, R5, STACK, -16);
        asm.bind(none);
        asm.calculate(AluOp::Add, R5, EbpfOperand::Number(HEADER_LEN_NUMBER));
        if follows == FrameFollows::Stack {
            asm.load(AccessSize::Double, R0, STACK, STACK_LEN_AT);
            asm.calculate(AluOp::Add, R5, EbpfOperand::Register(R0));
        }
    }

    fn begins_with(&mut self, start: Start) {
        self.tell(report::START, EbpfOperand::Number(start as i32));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "72"
)]
const HEADER_LEN_NUMBER: i32 = HEADER_LEN as i32;
