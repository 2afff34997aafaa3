//! The programs that run at each drop (tracepoint `skb:kfree_skb`), written for the layout of one
//! kernel.
//!
//! The kernel does not start a program on a CPU where it already runs, so a drop in an interrupt that
//! came in the middle of another drop's capture would be missed. That is why there are two programs, which
//! the kernel starts one after the other: the second captures what the first was not started for. Each has
//! counts and a place for its record of its own, so neither disturbs the other.
//!
//! The first sets a flag while it is in progress, and leaves a note of the packet that it was started for, which the second looks for. An interrupt
//! between the two, in which they are both started for other packets, must not lose it: so the notes are a
//! stack. The second program removes the note of its packet, and where it captured one, those that came meanwhile:
//! it was never started for them.

mod counting;
mod facts;
pub mod filter;
mod frame;
mod socket;
mod stack;

use super::assembler::{
    AccessSize, AluOp, EbpfOperand, EbpfProgram, Helper, JumpCondition, JumpLabel, Map,
    ProgramAssembler, Register,
};
use super::layout::{KernelField, KernelLayout};
use super::report::{self, HEADER_LEN, HeaderField};
use crate::bpf::BpfProgram;
pub use counting::{
    AsideCount, COUNT_KEY_LEN, CountKey, FIRST_NAMESPACE, NAMESPACES, counting_program,
};
use filter::Steps;
use frame::FrameFollows;
use stack::MAX_STACK_LEN;
pub use stack::{MAX_STACK_FRAMES, USUAL_STACK_FRAMES};

/// The two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramRole {
    /// The one that captures every drop for which the kernel starts it.
    First,
    /// The one that captures the drops for which the first is not started, because that is in progress on the
    /// same CPU.
    Second,
}

impl ProgramRole {
    fn lost(self) -> Count {
        match self {
            Self::First => Count::FirstLost,
            Self::Second => Count::SecondLost,
        }
    }

    fn rejected(self) -> Count {
        match self {
            Self::First => Count::FirstRejected,
            Self::Second => Count::SecondRejected,
        }
    }
}

/// The most bytes of a record after its header: a perf record's length has 16 bits.
pub const MAX_DATA_LEN: u32 = 64_000;
/// The most bytes that are copied from before `skb->data`: headers, including those of tunnels.
const MAX_HEADERS_LEN: i32 = 1024;

/// A count that a program keeps for its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Drops that the first program captured.
    Seen,
    /// Drops that the second program was started for while the first one was in progress.
    Taken,
    /// Records of the first program that did not fit into the buffer.
    FirstLost,
    /// Records of the second program that did not fit into the buffer.
    SecondLost,
    /// Drops that the filter rejected in the first program.
    FirstRejected,
    /// Drops that the filter rejected in the second program.
    SecondRejected,
}

impl Count {
    /// Returns its offset in a value of the scratch map; each has 8 bytes.
    pub const fn offset(self) -> u8 {
        match self {
            Self::Seen => 0,
            Self::Taken => 8,
            Self::FirstLost => 16,
            Self::SecondLost => 24,
            Self::FirstRejected => 40,
            Self::SecondRejected => 48,
        }
    }
}

/// The offset of a flag: the first program is in progress, so that it was not started for any other packet. In its
/// first and last instructions it is not set. The notes tell then; but a later packet can have the address of one
/// whose note nobody removed, and is lost, and counted.
const IN_PROGRESS: i16 = 56;
/// The offset of the number of notes.
const NOTE_COUNT: i16 = 32;
/// The offset of the notes: of packets that the first program was started for, and the second not yet.
const NOTES: i16 = 64;
/// The most notes. Four would do, for a task, its softirq, a hard interrupt and an NMI. But a drop in an interrupt
/// that comes in the first or last instructions of the second program leaves a note that nobody removes.
const MAX_NOTES: i16 = 8;
/// The latest notes, which stay when there are too many: those that nobody removes are older.
const LATEST_NOTES: i16 = 4;
/// The offset from the stack's end at which the second program keeps the number of notes at its start.
const NOTES_BEFORE: i16 = -104;
/// The offset of the records: after counts and notes, which have two cache lines of their own.
const RECORDS: i32 = 128;
/// The most bytes of a record's header.
const HEADER_ROOM: i32 = 192;
/// The size of the place for one record, with a call stack and what a filter needs, in bytes.
const RECORD_LEN: i32 = filter::ROOM + MAX_STACK_LEN;
/// The size of a value of the scratch map, in bytes. Each CPU has one.
pub const SCRATCH_LEN: usize = (RECORDS + 2 * RECORD_LEN) as usize;
const _: () = assert!(HEADER_LEN <= HEADER_ROOM as usize);
const _: () = assert!((NOTES + 8 * MAX_NOTES) as i32 <= RECORDS);
/// A perf record's length has 16 bits and is a multiple of 8; 12 bytes stand in front.
const _: () = assert!(12 + 192 + MAX_STACK_LEN as u32 + MAX_DATA_LEN <= 0xfff8);

const R0: Register = Register(0);
const R1: Register = Register(1);
const R2: Register = Register(2);
const R3: Register = Register(3);
const R4: Register = Register(4);
const R5: Register = Register(5);
/// The packet (`struct sk_buff *`).
const SKB: Register = Register(6);
/// The tracepoint's arguments.
const CONTEXT: Register = Register(7);
/// This CPU's value of the scratch map.
const SCRATCH: Register = Register(8);
/// The record that is being written.
const RECORD: Register = Register(9);
const STACK: Register = Register(10);

/// `BPF_F_CURRENT_CPU` (linux/bpf.h).
const CURRENT_CPU: u64 = 0xffff_ffff;

/// The drops that the programs capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropSelection {
    /// All.
    All,
    /// Those that the drop monitor skips: packets whose link-layer header was never set
    /// (`skb_mac_header_was_set`, net/core/drop_monitor.c). So nothing comes from both.
    WithoutMacHeader,
}

/// The settings of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramSettings {
    /// The drops that are captured.
    pub selection: DropSelection,
    /// The most bytes of each frame that are captured; never more than [`MAX_DATA_LEN`].
    pub snaplen: u32,
    /// Frames of the call stack, at most [`MAX_STACK_FRAMES`]; `None`: no call stack.
    pub stack_frames: Option<u8>,
}

/// Writes a program, which rejects what the filter rejects.
pub fn program(
    layout: &KernelLayout,
    role: ProgramRole,
    settings: ProgramSettings,
    filter: Option<&BpfProgram>,
) -> EbpfProgram {
    let snaplen = i32::try_from(settings.snaplen.min(MAX_DATA_LEN)).unwrap_or(i32::MAX);
    let mut writer = ProgramWriter {
        assembler: ProgramAssembler::default(),
        layout,
        selection: settings.selection,
        snaplen,
        stack_frames: settings.stack_frames,
    };
    writer.write(role, filter);
    writer.assembler.finish()
}

struct ProgramWriter<'l> {
    assembler: ProgramAssembler,
    layout: &'l KernelLayout,
    selection: DropSelection,
    snaplen: i32,
    stack_frames: Option<u8>,
}

impl ProgramWriter<'_> {
    fn write(&mut self, role: ProgramRole, filter: Option<&BpfProgram>) {
        let [end, rejected, out] = [(); 3].map(|()| self.assembler.label());
        self.find_scratch(out);
        self.begin(role, out);
        if self.selection == DropSelection::WithoutMacHeader {
            self.leave_out_mac_headers(end);
        }
        if role == ProgramRole::First {
            self.count(Count::Seen, "seen");
        }
        self.facts();
        self.running();
        self.socket();
        self.device();
        let filter = filter.map(Steps::new).filter(Steps::rejects);
        if let Some(filter) = &filter {
            // Its message has no call stack, which is captured of what it keeps, in front of the frame.
            self.frame(FrameFollows::Header);
            self.filter(filter, rejected);
        }
        if let Some(frames) = self.stack_frames {
            self.stack(frames);
            self.frame(FrameFollows::Stack);
        } else if filter.is_none() {
            self.frame(FrameFollows::Header);
        }
        self.output(role);
        if filter.is_some() {
            self.assembler.jump(end);
            self.assembler.bind(rejected);
            self.count(role.rejected(), "rejected");
        }
        self.end(role, end, out);
    }

    /// Ends the program. The second one goes to `out` where it has removed its note already.
    fn end(&mut self, role: ProgramRole, end: JumpLabel, out: JumpLabel) {
        let asm = &mut self.assembler;
        asm.bind(end);
        match role {
            ProgramRole::First => {
                asm.store(
                    AccessSize::Double,
                    SCRATCH,
                    IN_PROGRESS,
                    EbpfOperand::Number(0),
                );
                asm.note("in progress");
            }
            ProgramRole::Second => {
                asm.load(AccessSize::Double, R1, STACK, NOTES_BEFORE);
                let before = EbpfOperand::Register(R1);
                asm.store(AccessSize::Double, SCRATCH, NOTE_COUNT, before);
                asm.note("notes");
            }
        }
        asm.bind(out);
        asm.copy(R0, EbpfOperand::Number(0));
        asm.exit();
    }

    /// Loads the packet's address, and finds this CPU's value of the scratch map.
    fn find_scratch(&mut self, out: JumpLabel) {
        let asm = &mut self.assembler;
        asm.copy(CONTEXT, EbpfOperand::Register(R1));
        asm.load(AccessSize::Double, SKB, CONTEXT, 0);
        asm.note("skb");
        asm.call(Helper::CpuNumber);
        asm.store(AccessSize::Word, STACK, -4, EbpfOperand::Register(R0));
        asm.copy(R2, EbpfOperand::Register(STACK));
        asm.calculate(AluOp::Add, R2, EbpfOperand::Number(-4));
        asm.map(R1, Map::Scratch);
        asm.call(Helper::MapLookUp);
        asm.branch(JumpCondition::Equal, R0, EbpfOperand::Number(0), out);
        asm.copy(SCRATCH, EbpfOperand::Register(R0));
    }

    /// Finds the place of the record, or goes out if the other program captures the drop. The second program
    /// counts every drop that the first one missed, before any is left out.
    fn begin(&mut self, role: ProgramRole, out: JumpLabel) {
        let record = match role {
            ProgramRole::First => {
                self.note_packet();
                RECORDS
            }
            ProgramRole::Second => {
                self.skip_noted(out);
                self.count(Count::Taken, "taken");
                RECORDS + RECORD_LEN
            }
        };
        let asm = &mut self.assembler;
        asm.copy(RECORD, EbpfOperand::Register(SCRATCH));
        asm.calculate(AluOp::Add, RECORD, EbpfOperand::Number(record));
    }

    /// Leaves the drop to the drop monitor, where that reports it.
    fn leave_out_mac_headers(&mut self, end: JumpLabel) {
        self.field(R1, SKB, self.layout.mac_header);
        let last = EbpfOperand::Number(frame::NO_MAC_HEADER - 1);
        self.assembler.branch(JumpCondition::AtMost, R1, last, end);
    }

    /// Notes that the first program was started for this packet.
    fn note_packet(&mut self) {
        let asm = &mut self.assembler;
        let fits = asm.label();
        asm.store(
            AccessSize::Double,
            SCRATCH,
            IN_PROGRESS,
            EbpfOperand::Number(1),
        );
        asm.note("in progress");
        asm.load(AccessSize::Double, R1, SCRATCH, NOTE_COUNT);
        asm.note("notes");
        let last = EbpfOperand::Number(i32::from(MAX_NOTES) - 1);
        asm.branch(JumpCondition::AtMost, R1, last, fits);
        for number in 0..LATEST_NOTES {
            let latest = NOTES + 8 * (MAX_NOTES - LATEST_NOTES + number);
            asm.load(AccessSize::Double, R2, SCRATCH, latest);
            let place = NOTES + 8 * number;
            asm.store(
                AccessSize::Double,
                SCRATCH,
                place,
                EbpfOperand::Register(R2),
            );
        }
        asm.copy(R1, EbpfOperand::Number(LATEST_NOTES.into()));
        asm.bind(fits);
        asm.copy(R2, EbpfOperand::Register(R1));
        asm.calculate(AluOp::ShiftLeft, R2, EbpfOperand::Number(3));
        asm.calculate(AluOp::Add, R2, EbpfOperand::Register(SCRATCH));
        asm.store(AccessSize::Double, R2, NOTES, EbpfOperand::Register(SKB));
        asm.calculate(AluOp::Add, R1, EbpfOperand::Number(1));
        let notes = EbpfOperand::Register(R1);
        asm.store(AccessSize::Double, SCRATCH, NOTE_COUNT, notes);
        asm.note("notes");
    }

    /// Goes out where the first program was started for this packet.
    fn skip_noted(&mut self, out: JumpLabel) {
        let asm = &mut self.assembler;
        asm.load(AccessSize::Double, R1, SCRATCH, NOTE_COUNT);
        asm.note("notes");
        let before = EbpfOperand::Register(R1);
        asm.store(AccessSize::Double, STACK, NOTES_BEFORE, before);
        let missed = asm.label();
        asm.load(AccessSize::Double, R2, SCRATCH, IN_PROGRESS);
        asm.note("in progress");
        asm.branch(JumpCondition::NotEqual, R2, EbpfOperand::Number(0), missed);
        for below in (0..MAX_NOTES).rev() {
            let next = asm.label();
            let number = EbpfOperand::Number(below.into());
            asm.branch(JumpCondition::AtMost, R1, number, next);
            asm.load(AccessSize::Double, R2, SCRATCH, NOTES + 8 * below);
            let packet = EbpfOperand::Register(SKB);
            asm.branch(JumpCondition::NotEqual, R2, packet, next);
            asm.store(
                AccessSize::Double,
                SCRATCH,
                NOTES + 8 * below,
                EbpfOperand::Number(0),
            );
            let count = EbpfOperand::Number(i32::from(below) + 1);
            asm.branch(JumpCondition::NotEqual, R1, count, out);
            asm.store(AccessSize::Double, SCRATCH, NOTE_COUNT, number);
            asm.note("notes");
            asm.jump(out);
            asm.bind(next);
        }
        asm.bind(missed);
    }

    fn count(&mut self, count: Count, note: &'static str) {
        let asm = &mut self.assembler;
        let offset = count.offset().into();
        asm.load(AccessSize::Double, R1, SCRATCH, offset);
        asm.note(note);
        asm.calculate(AluOp::Add, R1, EbpfOperand::Number(1));
        asm.store(
            AccessSize::Double,
            SCRATCH,
            offset,
            EbpfOperand::Register(R1),
        );
    }

    /// Writes the record and the packet's bytes to the perf buffer of this CPU.
    fn output(&mut self, role: ProgramRole) {
        let asm = &mut self.assembler;
        let sent = asm.label();
        let data = report::DATA_LEN;
        asm.load(data.size, R3, RECORD, data.at);
        asm.calculate(AluOp::ShiftLeft, R3, EbpfOperand::Number(32));
        asm.number(R1, CURRENT_CPU);
        asm.calculate(AluOp::Or, R3, EbpfOperand::Register(R1));
        asm.map(R2, Map::Buffers);
        asm.copy(R1, EbpfOperand::Register(SKB));
        asm.copy(R4, EbpfOperand::Register(RECORD));
        asm.call(Helper::PacketOutput);
        asm.branch(JumpCondition::Equal, R0, EbpfOperand::Number(0), sent);
        self.count(role.lost(), "lost");
        self.assembler.bind(sent);
    }

    /// Loads a member.
    fn field(&mut self, to: Register, from: Register, field: KernelField) {
        self.assembler.load(field.size, to, from, field.offset);
        self.assembler.note(field.name);
    }

    /// Copies memory of the kernel's at r3, wherever that leads, into the record.
    fn read(&mut self, at: i16, len: i32) {
        let asm = &mut self.assembler;
        asm.copy(R1, EbpfOperand::Register(RECORD));
        asm.calculate(AluOp::Add, R1, EbpfOperand::Number(at.into()));
        asm.copy(R2, EbpfOperand::Number(len));
        asm.call(Helper::ReadKernel);
    }

    /// Writes a number into the record.
    fn tell(&mut self, place: HeaderField, value: EbpfOperand) {
        self.assembler.store(place.size, RECORD, place.at, value);
    }
}
