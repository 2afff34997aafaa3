//! The facts of a drop beside its bytes: what the tracepoint, the packet and its device tell.

use super::super::assembler::{AccessSize, AluOp, EbpfOperand, Helper, JumpCondition};
use super::super::layout::DEVICE_NAME_LEN;
use super::super::report;
use super::{CONTEXT, ProgramWriter, R0, R1, R2, R3, RECORD, SKB};

impl ProgramWriter<'_> {
    /// Copies the facts that are a single load.
    pub(super) fn facts(&mut self) {
        let layout = self.layout;
        self.assembler.call(Helper::MonotonicTime);
        self.tell(report::TIME, EbpfOperand::Register(R0));
        for (argument, place, note) in [(8, report::PC, "place"), (16, report::REASON, "reason")] {
            self.assembler
                .load(AccessSize::Double, R1, CONTEXT, argument);
            self.assembler.note(note);
            self.tell(place, EbpfOperand::Register(R1));
        }
        for (field, place) in [
            (layout.input, report::INPUT),
            (layout.protocol, report::PROTOCOL),
        ] {
            self.field(R1, SKB, field);
            self.tell(place, EbpfOperand::Register(R1));
        }
    }

    /// Copies the device at `skb->dev`. The kernel reads 0 where a pointer leads nowhere, so whatever it is,
    /// it does no harm; the reader of the report decides whether it is a device.
    pub(super) fn device(&mut self) {
        let layout = self.layout;
        let none = self.assembler.label();
        for place in [report::DEVICE_INDEX, report::NAMESPACE, report::DEVICE_TYPE] {
            self.tell(place, EbpfOperand::Number(0));
        }
        self.field(R3, SKB, layout.device);
        let asm = &mut self.assembler;
        asm.branch(JumpCondition::Equal, R3, EbpfOperand::Number(0), none);
        for (field, place) in [
            (layout.device_index, report::DEVICE_INDEX),
            (layout.device_type, report::DEVICE_TYPE),
        ] {
            self.field(R1, R3, field);
            self.tell(place, EbpfOperand::Register(R1));
        }
        self.field(R1, R3, layout.device_namespace);
        self.field(R1, R1, layout.namespace_inode);
        self.tell(report::NAMESPACE, EbpfOperand::Register(R1));
        let asm = &mut self.assembler;
        let name = layout.device_name;
        asm.calculate(AluOp::Add, R3, EbpfOperand::Number(name.offset.into()));
        asm.note(name.name);
        asm.copy(R1, EbpfOperand::Register(RECORD));
        asm.calculate(
            AluOp::Add,
            R1,
            EbpfOperand::Number(report::DEVICE_NAME.into()),
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "16"
        )]
        asm.copy(R2, EbpfOperand::Number(DEVICE_NAME_LEN as i32));
        asm.call(Helper::ReadKernel);
        asm.bind(none);
    }
}
