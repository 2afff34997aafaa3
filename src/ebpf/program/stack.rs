//! The call stack of a drop: the return addresses from the tracepoint outwards.

use super::super::assembler::{AccessSize, AluOp, EbpfOperand, Helper, JumpCondition};
use super::super::report::{self, HEADER_LEN};
use super::{CONTEXT, ProgramWriter, R0, R1, R2, R3, R4, RECORD, STACK};

/// The most frames of a call stack that are captured.
pub const MAX_STACK_FRAMES: u8 = 64;
/// Frames that are captured where the user chose no number.
pub const USUAL_STACK_FRAMES: u8 = 24;
/// Frames in front of the one that dropped the packet, of which there is room for so many more: those of the
/// program, of the tracepoint and of the function that frees packets. Their number differs between kernels and
/// functions, so whoever reads the report leaves them out.
const OWN_FRAMES: u8 = 6;
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "8"
)]
const ADDRESS_LEN: i32 = report::ADDRESS_LEN as i32;
/// The most bytes of a call stack.
pub const MAX_STACK_LEN: i32 = (MAX_STACK_FRAMES + OWN_FRAMES) as i32 * ADDRESS_LEN;
/// The place of the call stack's length on the machine's stack.
pub const STACK_LEN_AT: i16 = -24;

impl ProgramWriter<'_> {
    /// Copies the call stack of up to `frames` frames behind the record's header, and remembers its length at
    /// [`STACK_LEN_AT`]. Without it, the number of frames in the header stays what it is in a new map: 0.
    pub(super) fn stack(&mut self, frames: u8) {
        let room = i32::from(frames.min(MAX_STACK_FRAMES) + OWN_FRAMES) * ADDRESS_LEN;
        let asm = &mut self.assembler;
        let copied = asm.label();
        asm.copy(R1, EbpfOperand::Register(CONTEXT));
        asm.copy(R2, EbpfOperand::Register(RECORD));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "below 128"
        )]
        asm.calculate(AluOp::Add, R2, EbpfOperand::Number(HEADER_LEN as i32));
        asm.copy(R3, EbpfOperand::Number(room));
        asm.copy(R4, EbpfOperand::Number(0));
        asm.call(Helper::CallStack);
        // An error is negative, and so a large number.
        asm.branch(JumpCondition::AtMost, R0, EbpfOperand::Number(room), copied);
        asm.copy(R0, EbpfOperand::Number(0));
        asm.bind(copied);
        asm.store(
            AccessSize::Double,
            STACK,
            STACK_LEN_AT,
            EbpfOperand::Register(R0),
        );
        let asm = &mut self.assembler;
        asm.calculate(AluOp::ShiftRight, R0, EbpfOperand::Number(3));
        self.tell(report::STACK_FRAMES, EbpfOperand::Register(R0));
    }
}
