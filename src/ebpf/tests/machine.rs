//! A machine for the programs: rbpf runs them, and its memory has a packet, its device and its namespace where
//! the layout of a kernel has them.

use std::cell::{Cell, RefCell};

use rbpf::EbpfVmRaw;

use crate::bpf::BpfProgram;
use crate::ebpf::assembler::{Helper, Map};
use crate::ebpf::layout::{KernelField, KernelLayout};
use crate::ebpf::program::{Count, ProgramRole, ProgramSettings, SCRATCH_LEN, program};

/// A packet, as the kernel has it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedPacket {
    pub pc: u64,
    pub reason: u32,
    /// Where it came in; 0 where it did not.
    pub input: u32,
    pub protocol: u16,
    /// The whole frame. Behind the headers, `linear` bytes are in the buffer, and the others in pages.
    pub frame: Vec<u8>,
    /// Bytes in front of `skb->data`.
    pub headers: usize,
    pub linear: usize,
    /// The offset of the link-layer header in the frame.
    pub mac_header: Option<usize>,
    /// The offset of the network header in the frame.
    pub network_header: Option<usize>,
    /// The kernel has 0 for both offsets, as newer ones do for netlink messages.
    pub has_zero_offsets: bool,
    pub device: Option<SimulatedDevice>,
    pub mark: u32,
    /// The namespace of the owner's socket.
    pub socket: Option<u32>,
    pub cgroup: u64,
    pub running: &'static str,
    /// Frames of the call stack; `None` where the kernel finds none.
    pub stack: Option<u64>,
}

/// A device, or something that looks like one.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedDevice {
    pub index: u32,
    pub hardware: u16,
    pub namespace: u32,
    pub name: &'static str,
}

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The record that it handed on.
    pub record: Option<Vec<u8>>,
    pub rejected: u64,
    /// Drops that it was started for, and that it neither handed on nor rejected.
    pub lost: u64,
}

/// Places in the memory.
const SCRATCH: usize = 0;
const PACKET: usize = 0x1000;
const DEVICE: usize = 0x2000;
const NAMESPACE: usize = 0x3000;
const SOCKET: usize = 0x4000;
const SOCKET_NAMESPACE: usize = 0x5000;
const HEAD: usize = 0x6000;
const HEADROOM: usize = 64;
const LEN: usize = 0x8000;

const _: () = assert!(SCRATCH_LEN < PACKET);

thread_local! {
    static MEMORY: Vec<Cell<u8>> = vec![Cell::new(0); LEN];
    /// The bytes from `skb->data` on.
    static DATA: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    static CGROUP: Cell<u64> = const { Cell::new(0) };
    static RUNNING: Cell<&'static str> = const { Cell::new("") };
    static FRAMES: Cell<Option<u64>> = const { Cell::new(None) };
}

fn address(at: usize) -> u64 {
    MEMORY.with(|memory| (memory.as_ptr().expose_provenance() + at) as u64)
}

fn put(at: usize, bytes: &[u8]) {
    MEMORY.with(|memory| {
        for (cell, &byte) in memory[at..].iter().zip(bytes) {
            cell.set(byte);
        }
    });
}

/// Returns bytes; `None` where there is no memory.
fn get(address_of: u64, len: u64) -> Option<Vec<u8>> {
    let at = usize::try_from(address_of.checked_sub(address(0))?).ok()?;
    let end = at.checked_add(usize::try_from(len).ok()?)?;
    MEMORY.with(|memory| Some(memory.get(at..end)?.iter().map(Cell::get).collect()))
}

fn set(base: usize, field: KernelField, value: u64) {
    let bytes = value.to_le_bytes();
    put(
        base + usize::try_from(field.offset).unwrap(),
        &bytes[..field.size.bytes() as usize],
    );
}

fn zero(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    0
}

fn look_up(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    address(SCRATCH)
}

fn running_cgroup(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    CGROUP.get()
}

fn running_name(to: u64, len: u64, _: u64, _: u64, _: u64) -> u64 {
    let mut name = RUNNING.get().as_bytes().to_vec();
    name.resize(usize::try_from(len).unwrap(), 0);
    put(usize::try_from(to - address(0)).unwrap(), &name);
    0
}

fn call_stack(_: u64, to: u64, len: u64, _: u64, _: u64) -> u64 {
    let Some(frames) = FRAMES.get() else {
        return (-i64::from(libc::EFAULT)).cast_unsigned();
    };
    let addresses: Vec<u8> = (1..=frames.min(len / 8))
        .flat_map(u64::to_ne_bytes)
        .collect();
    put(usize::try_from(to - address(0)).unwrap(), &addresses);
    addresses.len() as u64
}

fn output(_: u64, _: u64, flags: u64, header: u64, len: u64) -> u64 {
    let mut record = get(header, len).expect("a record's beginning is in the scratch map");
    let data_len = usize::try_from(flags >> 32).unwrap();
    DATA.with_borrow(|data| record.extend(&data[..data_len]));
    OUTPUT.with_borrow_mut(|output| assert_eq!(output.replace(record), None, "one record"));
    0
}

fn read(to: u64, len: u64, from: u64, _: u64, _: u64) -> u64 {
    let bytes = get(from, len);
    assert!(get(to, len).is_some(), "a place in memory");
    let at = usize::try_from(to - address(0)).unwrap();
    put(
        at,
        &bytes.unwrap_or_else(|| vec![0; usize::try_from(len).unwrap()]),
    );
    0
}

impl SimulatedPacket {
    fn place(&self, layout: &KernelLayout) {
        MEMORY.with(|memory| memory.iter().for_each(|cell| cell.set(0)));
        let in_head = |at: Option<usize>, otherwise| match at {
            _ if self.has_zero_offsets => 0,
            None => otherwise,
            Some(at) => HEADROOM + at,
        };
        let behind = self.frame.len() - self.headers;
        let set = |field, value| set(PACKET, field, u64::try_from(value).unwrap());
        set(layout.len, behind);
        set(layout.data_len, behind - self.linear);
        set(layout.input, self.input as usize);
        set(layout.protocol, self.protocol.to_be().into());
        set(layout.mac_header, in_head(self.mac_header, 0xffff));
        set(layout.network_header, in_head(self.network_header, 0));
        let head = usize::try_from(address(HEAD)).unwrap();
        set(layout.head, head);
        set(layout.data, head + HEADROOM + self.headers);
        put(HEAD + HEADROOM, &self.frame[..self.headers + self.linear]);
        // What is after the linear part is no part of the packet.
        put(HEAD + HEADROOM + self.headers + self.linear, &[0x55; 256]);
        DATA.set(self.frame[self.headers..].to_vec());
        if let Some(mark) = layout.mark {
            set(mark, self.mark as usize);
        }
        CGROUP.set(self.cgroup);
        RUNNING.set(self.running);
        FRAMES.set(self.stack);
        if let (Some(namespace), Some(of)) = (self.socket, layout.socket) {
            set(of.socket, usize::try_from(address(SOCKET)).unwrap());
            let set = |field, value| self::set(SOCKET, field, value);
            set(of.family, 2);
            set(of.state, 7);
            set(of.port, 53);
            set(of.namespace, address(SOCKET_NAMESPACE));
            let inode = layout.namespace_inode;
            self::set(SOCKET_NAMESPACE, inode, namespace.into());
        }
        if let Some(device) = self.device {
            set(layout.device, usize::try_from(address(DEVICE)).unwrap());
            let set = |field, value| self::set(DEVICE, field, value);
            set(layout.device_index, device.index.into());
            set(layout.device_type, device.hardware.into());
            set(layout.device_namespace, address(NAMESPACE));
            let name = usize::try_from(layout.device_name.offset).unwrap();
            put(DEVICE + name, device.name.as_bytes());
            self::set(NAMESPACE, layout.namespace_inode, device.namespace.into());
        }
    }

    /// Runs a program on it.
    pub fn run(
        &self,
        layout: &KernelLayout,
        role: ProgramRole,
        settings: ProgramSettings,
        filter: Option<&BpfProgram>,
    ) -> Outcome {
        self.place(layout);
        // The second program acts only while the first is in progress.
        if role == ProgramRole::Second {
            put(SCRATCH + 32, &[1]);
        }
        let code = program(layout, role, settings, filter).encode(|map| match map {
            Map::Scratch => 5,
            Map::Buffers => 6,
            Map::Counts => 7,
            Map::Name => 8,
            Map::Format => 9,
        });
        let code: Vec<u8> = code.into_iter().flat_map(u64::to_ne_bytes).collect();
        let mut machine = EbpfVmRaw::new(Some(&code)).unwrap();
        machine.register_allowed_memory(address(0)..address(LEN));
        for (helper, function) in [
            (Helper::MapLookUp, look_up as rbpf::ebpf::Helper),
            (Helper::MonotonicTime, zero),
            (Helper::CpuNumber, zero),
            (Helper::RunningTask, zero),
            (Helper::RunningName, running_name),
            (Helper::RunningCgroup, running_cgroup),
            (Helper::CallStack, call_stack),
            (Helper::PacketOutput, output),
            (Helper::ReadKernel, read),
        ] {
            machine.register_helper(helper as u32, function).unwrap();
        }
        // The last one is a receiving socket, which there is none of.
        let arguments = [address(PACKET), self.pc, self.reason.into(), 0];
        let mut context: Vec<u8> = arguments.into_iter().flat_map(u64::to_ne_bytes).collect();
        OUTPUT.set(None);
        assert_eq!(machine.execute_program(&mut context).unwrap(), 0);
        let count = |count: Count| {
            let bytes = get(address(SCRATCH) + u64::from(count.offset()), 8).unwrap();
            u64::from_ne_bytes(bytes.try_into().unwrap())
        };
        let (started, rejected, lost) = match role {
            ProgramRole::First => (Count::Seen, Count::FirstRejected, Count::FirstLost),
            ProgramRole::Second => (Count::Taken, Count::SecondRejected, Count::SecondLost),
        };
        let outcome = Outcome {
            record: OUTPUT.take(),
            rejected: count(rejected),
            lost: count(lost),
        };
        let ends = u64::from(outcome.record.is_some()) + outcome.rejected + outcome.lost;
        assert_eq!((count(started), ends), (1, 1), "each drop is counted once");
        outcome
    }
}
