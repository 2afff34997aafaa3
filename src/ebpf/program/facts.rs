//! The facts of a drop beside its bytes: what the tracepoint, the packet, its device and the running task
//! tell.

use super::super::assembler::{AccessSize, AluOp, EbpfOperand, Helper, JumpCondition};
use super::super::layout::{DEVICE_NAME_LEN, KernelBits};
use super::super::report::{self, HeaderField, TASK_NAME_LEN};
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
        let vlan = layout.vlan;
        for (field, place) in [
            (Some(layout.input), report::INPUT),
            (Some(layout.protocol), report::PROTOCOL),
            (layout.mark, report::MARK),
            (vlan.map(|vlan| vlan.protocol), report::VLAN_PROTOCOL),
            (vlan.map(|vlan| vlan.tag), report::VLAN_TAG),
        ] {
            match field {
                Some(field) => {
                    self.field(R1, SKB, field);
                    self.tell(place, EbpfOperand::Register(R1));
                }
                None => self.tell(place, EbpfOperand::Number(0)),
            }
        }
        self.bits(layout.packet_type, report::PACKET_TYPE);
        match vlan.and_then(|vlan| vlan.present) {
            present @ Some(_) => self.bits(present, report::VLAN_PRESENT),
            None => self.tell(report::VLAN_PRESENT, EbpfOperand::Number(1)),
        }
    }

    /// Copies the number in a bit field, and tells 0xff where there is none.
    fn bits(&mut self, bits: Option<KernelBits>, place: HeaderField) {
        let Some(KernelBits { byte, mask }) = bits else {
            self.tell(place, EbpfOperand::Number(0xff));
            return;
        };
        self.field(R1, SKB, byte);
        self.assembler
            .calculate(AluOp::And, R1, EbpfOperand::Number(mask.into()));
        if let Ok(shift @ 1..) = i32::try_from(mask.trailing_zeros()) {
            let shift = EbpfOperand::Number(shift);
            self.assembler.calculate(AluOp::ShiftRight, R1, shift);
        }
        self.tell(place, EbpfOperand::Register(R1));
    }

    /// Copies the process and the name of the running task, and the number of its cgroup.
    pub(super) fn running(&mut self) {
        self.assembler.call(Helper::RunningTask);
        self.tell(report::TASK, EbpfOperand::Register(R0));
        let asm = &mut self.assembler;
        asm.copy(R1, EbpfOperand::Register(RECORD));
        let at = report::TASK_NAME.into();
        asm.calculate(AluOp::Add, R1, EbpfOperand::Number(at));
        asm.copy(R2, EbpfOperand::Number(TASK_NAME_LEN_NUMBER));
        asm.call(Helper::RunningName);
        if self.layout.has_cgroups {
            self.assembler.call(Helper::RunningCgroup);
            self.tell(report::CGROUP, EbpfOperand::Register(R0));
        } else {
            self.tell(report::CGROUP, EbpfOperand::Number(0));
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
        self.read(report::DEVICE_NAME, DEVICE_NAME_LEN_NUMBER);
        self.assembler.bind(none);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "16"
)]
const DEVICE_NAME_LEN_NUMBER: i32 = DEVICE_NAME_LEN as i32;
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "16"
)]
const TASK_NAME_LEN_NUMBER: i32 = TASK_NAME_LEN as i32;
