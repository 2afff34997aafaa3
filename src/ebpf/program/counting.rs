//! The programs that count drops in the kernel in place of capturing them: by place, reason, input
//! interface and device. Nothing of a packet is copied.

use std::mem::offset_of;

use super::super::assembler::{
    AccessSize, AluOp, EbpfOperand, EbpfProgram, Helper, JumpCondition, JumpLabel, Map,
    ProgramAssembler,
};
use super::super::layout::{DEVICE_NAME_LEN, KernelLayout};
use super::super::report::{self, HEADER_LEN, HeaderField, ReportedSocket, SocketRole, Start};
use super::frame::NO_MAC_HEADER;
use super::{
    CONTEXT, DropSelection, ProgramRole, ProgramWriter, R0, R1, R2, R3, R4, R5, RECORD, RECORD_LEN,
    RECORDS, SKB, STACK,
};
use crate::record::DropSocket;

/// A key of the map of counts: what drops that are counted together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct CountKey {
    /// The return address of the call that freed the packet.
    pub pc: u64,
    /// The number of the drop reason.
    pub reason: u32,
    /// `skb->skb_iif`
    pub input: u32,
    /// The device's index, or some other number: see `Report::device`.
    pub device: u32,
    /// The inode of the device's namespace, or some other number.
    pub namespace: u32,
    /// The device's name.
    pub name: [u8; DEVICE_NAME_LEN],
    /// A [`SocketRole`] where there is no device, and the namespace is the socket's; else 0.
    pub socket: u64,
}

/// Bytes of a key.
pub const COUNT_KEY_LEN: usize = size_of::<CountKey>();
// There are no gaps, for which the kernel would have to be told a value.
const _: () = assert!(COUNT_KEY_LEN == 8 + 4 * 4 + DEVICE_NAME_LEN + 8);

impl CountKey {
    /// Reads what the program wrote; `None` where there are fewer bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at| part(bytes, at).map(u32::from_ne_bytes);
        Some(Self {
            pc: part(bytes, offset_of!(Self, pc)).map(u64::from_ne_bytes)?,
            reason: word(offset_of!(Self, reason))?,
            input: word(offset_of!(Self, input))?,
            device: word(offset_of!(Self, device))?,
            namespace: word(offset_of!(Self, namespace))?,
            name: part(bytes, offset_of!(Self, name))?,
            socket: part(bytes, offset_of!(Self, socket)).map(u64::from_ne_bytes)?,
        })
    }

    /// Returns the header of a report that tells as much: of a packet with a link-layer header, no bytes of
    /// which were captured.
    pub fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let mut put = |at: i16, bytes: &[u8]| {
            let at = usize::from(at.unsigned_abs());
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(report::PC.at, &self.pc.to_ne_bytes());
        put(report::REASON.at, &self.reason.to_ne_bytes());
        put(report::INPUT.at, &self.input.to_ne_bytes());
        put(report::DEVICE_INDEX.at, &self.device.to_ne_bytes());
        put(report::NAMESPACE.at, &self.namespace.to_ne_bytes());
        put(report::DEVICE_NAME, &self.name);
        put(report::START.at, &[Start::LinkLayer as u8]);
        header
    }

    /// Returns the socket whose namespace it has; of its facts, only the role is one.
    pub fn reported_socket(&self) -> Option<ReportedSocket> {
        let roles = [SocketRole::Owner, SocketRole::Receiver];
        let role = roles.into_iter().find(|&role| role as u64 == self.socket)?;
        Some(ReportedSocket {
            facts: DropSocket {
                role,
                family: 0,
                protocol: 0,
                port: 0,
                peer_port: 0,
                state: 0,
            },
            namespace: self.namespace,
        })
    }
}

fn part<const LEN: usize>(bytes: &[u8], at: usize) -> Option<[u8; LEN]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The offset of the key from the stack's end, in front of what the socket's code keeps there.
const KEY: i16 = -80;
/// The offset of a count of 1.
const ONE: i16 = -88;
/// `BPF_NOEXIST` (linux/bpf.h): adds a key, and changes none.
const ONLY_ADD: i32 = 1;

/// The least inode that a network namespace can have: that of the initial one since 6.18. Others begin at
/// 0xf0000000 (`PROC_DYNAMIC_FIRST`, fs/proc/generic.c).
pub const FIRST_NAMESPACE: u32 = 0xefff_fff0;
/// From there on, these many numbers may be inodes. Behind them are the upper halves of pointers.
pub const NAMESPACES: u32 = 0x0fff_0000;

/// A count that a program keeps for its CPU, in the place where it has a record while it captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsideCount {
    /// Of data that never was a packet.
    NotPackets,
    /// Of drops whose key found no room in the map.
    Unnamed,
}

impl AsideCount {
    /// Its offset in the program's place, behind what a record has at its beginning.
    const fn in_place(self) -> i16 {
        match self {
            Self::NotPackets => 512,
            Self::Unnamed => 520,
        }
    }

    /// Returns the offsets of the two programs' counts in the scratch map's value.
    pub fn offsets(self) -> [usize; 2] {
        [0, 1].map(|program| {
            let place = usize::try_from(RECORDS + program * RECORD_LEN).unwrap_or_default();
            place + usize::from(self.in_place().unsigned_abs())
        })
    }
}

/// Writes a program that counts.
pub fn counting_program(layout: &KernelLayout, role: ProgramRole) -> EbpfProgram {
    let mut writer = ProgramWriter {
        assembler: ProgramAssembler::default(),
        layout,
        selection: DropSelection::All,
        snaplen: 0,
        stack_frames: None,
    };
    writer.write_counting(role);
    writer.assembler.finish()
}

impl ProgramWriter<'_> {
    fn write_counting(&mut self, role: ProgramRole) {
        let [end, out] = [(); 2].map(|()| self.assembler.label());
        self.find_scratch(out);
        self.begin(role, out);
        self.leave_out_what_is_no_packet(end);
        self.key();
        self.add(end);
        self.end(role, end, out);
    }

    /// Counts what has no protocol and no headers, and came in by no device; for captured drops,
    /// `source::ebpf` says so of a report.
    fn leave_out_what_is_no_packet(&mut self, counted: JumpLabel) {
        let layout = self.layout;
        let [packet, none] = [(); 2].map(|()| self.assembler.label());
        for field in [layout.protocol, layout.input, layout.network_header] {
            self.field(R1, SKB, field);
            let nothing = EbpfOperand::Number(0);
            self.assembler
                .branch(JumpCondition::NotEqual, R1, nothing, packet);
        }
        self.field(R1, SKB, layout.mac_header);
        // 0, like the network header's, is the offset of no header: see `frame`.
        for no_header in [NO_MAC_HEADER, 0] {
            let no_header = EbpfOperand::Number(no_header);
            self.assembler
                .branch(JumpCondition::Equal, R1, no_header, none);
        }
        self.field(R2, SKB, layout.data);
        self.field(R3, SKB, layout.head);
        let asm = &mut self.assembler;
        asm.calculate(AluOp::Subtract, R2, EbpfOperand::Register(R3));
        asm.branch(JumpCondition::AtMost, R1, EbpfOperand::Register(R2), packet);
        asm.bind(none);
        self.count_aside(AsideCount::NotPackets, "not packets");
        self.assembler.jump(counted);
        self.assembler.bind(packet);
    }

    /// Writes the drop's key to the stack.
    fn key(&mut self) {
        self.device();
        let layout = self.layout;
        let asm = &mut self.assembler;
        asm.load(AccessSize::Double, R1, CONTEXT, 8);
        asm.note("place");
        asm.store(
            AccessSize::Double,
            STACK,
            key_at(offset_of!(CountKey, pc)),
            EbpfOperand::Register(R1),
        );
        asm.load(AccessSize::Double, R1, CONTEXT, 16);
        asm.note("reason");
        self.put(offset_of!(CountKey, reason));
        self.field(R1, SKB, layout.input);
        self.put(offset_of!(CountKey, input));
        self.device_of_key();
    }

    /// Writes the device. Where there is none, or something else, whose numbers would only fill the map, writes
    /// the namespace of the socket.
    fn device_of_key(&mut self) {
        let asm = &mut self.assembler;
        let [device, without, told] = [(); 3].map(|()| asm.label());
        let nothing = EbpfOperand::Number(0);
        // r1: the index, r2 and r3: the name, r4: the namespace, r5: the socket's role.
        asm.load(AccessSize::Word, R1, RECORD, report::DEVICE_INDEX.at);
        asm.branch(JumpCondition::Equal, R1, nothing, without);
        self.load_namespace(report::NAMESPACE, device);
        self.assembler.bind(without);
        self.socket_namespace();
        let asm = &mut self.assembler;
        for register in [R1, R2, R3] {
            asm.copy(register, nothing);
        }
        asm.load(AccessSize::Byte, R5, RECORD, report::SOCKET_ROLE.at);
        self.load_namespace(report::SOCKET_NAMESPACE, told);
        let asm = &mut self.assembler;
        asm.copy(R4, nothing);
        asm.copy(R5, nothing);
        asm.jump(told);
        asm.bind(device);
        asm.copy(R5, nothing);
        asm.load(AccessSize::Double, R2, RECORD, report::DEVICE_NAME);
        asm.note("name");
        asm.load(AccessSize::Double, R3, RECORD, report::DEVICE_NAME + 8);
        asm.bind(told);
        let name = offset_of!(CountKey, name);
        for (offset, size, value) in [
            (offset_of!(CountKey, device), AccessSize::Word, R1),
            (offset_of!(CountKey, namespace), AccessSize::Word, R4),
            (name, AccessSize::Double, R2),
            (name + 8, AccessSize::Double, R3),
            (offset_of!(CountKey, socket), AccessSize::Double, R5),
        ] {
            asm.store(size, STACK, key_at(offset), EbpfOperand::Register(value));
        }
    }

    /// Loads a namespace's inode into r4, and jumps to `found` if it can be one. Overwrites r0 and, behind the
    /// jump, nothing.
    fn load_namespace(&mut self, place: HeaderField, found: JumpLabel) {
        let asm = &mut self.assembler;
        asm.load(place.size, R4, RECORD, place.at);
        asm.copy(R0, EbpfOperand::Register(R4));
        asm.calculate(
            AluOp::Subtract,
            R0,
            EbpfOperand::Number(FIRST_NAMESPACE.cast_signed()),
        );
        asm.calculate(AluOp::ShiftLeft, R0, EbpfOperand::Number(32));
        asm.calculate(AluOp::ShiftRight, R0, EbpfOperand::Number(32));
        let namespaces = EbpfOperand::Number(NAMESPACES.cast_signed());
        asm.branch(JumpCondition::AtMost, R0, namespaces, found);
    }

    /// Writes r1 to a place of 32 bits in the key.
    fn put(&mut self, offset: usize) {
        let value = EbpfOperand::Register(R1);
        self.assembler
            .store(AccessSize::Word, STACK, key_at(offset), value);
    }

    /// Adds one to the key's count. The second program may come in between at any time, so the addition is
    /// a single instruction, and a key is added only if nobody else has added it.
    fn add(&mut self, counted: JumpLabel) {
        let found = self.assembler.label();
        self.look_up();
        let asm = &mut self.assembler;
        asm.branch(JumpCondition::NotEqual, R0, EbpfOperand::Number(0), found);
        asm.store(AccessSize::Double, STACK, ONE, EbpfOperand::Number(1));
        asm.map(R1, Map::Counts);
        self.key_to_r2();
        let asm = &mut self.assembler;
        asm.copy(R3, EbpfOperand::Register(STACK));
        asm.calculate(AluOp::Add, R3, EbpfOperand::Number(ONE.into()));
        asm.copy(R4, EbpfOperand::Number(ONLY_ADD));
        asm.call(Helper::MapUpdate);
        asm.branch(JumpCondition::Equal, R0, EbpfOperand::Number(0), counted);
        // It was added in the meantime, or there is no room.
        self.look_up();
        let asm = &mut self.assembler;
        asm.branch(JumpCondition::NotEqual, R0, EbpfOperand::Number(0), found);
        self.count_aside(AsideCount::Unnamed, "without room");
        let asm = &mut self.assembler;
        asm.jump(counted);
        asm.bind(found);
        asm.copy(R1, EbpfOperand::Number(1));
        asm.atomic_add(R0, 0, R1);
    }

    fn look_up(&mut self) {
        self.assembler.map(R1, Map::Counts);
        self.key_to_r2();
        self.assembler.call(Helper::MapLookUp);
    }

    fn key_to_r2(&mut self) {
        let asm = &mut self.assembler;
        asm.copy(R2, EbpfOperand::Register(STACK));
        asm.calculate(AluOp::Add, R2, EbpfOperand::Number(KEY.into()));
    }

    fn count_aside(&mut self, count: AsideCount, note: &'static str) {
        let asm = &mut self.assembler;
        let place = count.in_place();
        asm.load(AccessSize::Double, R1, RECORD, place);
        asm.note(note);
        asm.calculate(AluOp::Add, R1, EbpfOperand::Number(1));
        asm.store(AccessSize::Double, RECORD, place, EbpfOperand::Register(R1));
    }
}

/// The offset of a part of the key from the stack's end.
fn key_at(offset: usize) -> i16 {
    KEY + i16::try_from(offset).unwrap_or_default()
}
