//! Compares the filter in the eBPF programs with the filter in this process: a program that rejects a packet must
//! never reject what is kept here. rbpf runs the programs, with the layouts of four kernels.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::completer::{Completer, KnownHardware, Tables, content, link};
use super::verified::MORE;
use crate::bpf::{BpfProgram, MAX_LEN};
use crate::ebpf::btf::Btf;
use crate::ebpf::layout::KernelLayout;
use crate::ebpf::program::filter::listing;
use crate::ebpf::program::{
    DropSelection, MAX_STACK_FRAMES, ProgramRole, ProgramSettings, program as program_of,
};
use crate::ebpf::reasons::Reasons;
use crate::ebpf::report::Report;
use crate::ebpf::tests::machine::{Outcome, SimulatedDevice, SimulatedPacket};
use crate::ebpf::tests::{KERNELS, check, fixture};
use crate::filter::tests::kernel::{PRIMITIVES, TRANSPORT_WORDS, WHOLE, expression, expression_of};
use crate::filter::tests::kernel_socket::{DeviceTypes, for_each_record};
use crate::filter::tests::messages::{
    AlertPacket, captured, framed, ip4, ip6, no_packet, odd_packet, packet, transport,
};
use crate::filter::tests::parse;
use crate::filter::{Filter, KernelPart};
use crate::net_dm::content::Content;
use crate::packet::ArpHardware;
use crate::record::{Cause, DropRecord, LinkType};
use crate::source::{Event, NotPackets};
use crate::symbol::Symbols;

/// A kernel: where it has what, and the names of its reasons.
pub struct Kernel {
    pub layout: KernelLayout,
    reasons: Reasons,
}

impl Kernel {
    fn new(name: &str) -> Self {
        let bytes = fixture(name);
        let btf = Btf::parse(&bytes).unwrap();
        let mut reasons = Reasons::empty();
        reasons.learn(&btf);
        Self {
            layout: KernelLayout::find(&btf).unwrap(),
            reasons,
        }
    }

    fn compile(&self, filter: &Filter) -> Option<(KernelPart, BpfProgram)> {
        let kernel = filter.in_program(&self.reasons, MAX_LEN).ok()?;
        Some((kernel.part, kernel.program))
    }
}

pub static ALL: LazyLock<Vec<Kernel>> =
    LazyLock::new(|| KERNELS.iter().map(|name| Kernel::new(name)).collect());

/// The namespace of this process, whose device 1 is loopback.
static OWN: LazyLock<u32> = LazyLock::new(|| {
    let file = std::fs::metadata("/proc/self/ns/net").unwrap();
    u32::try_from(file.ino()).unwrap()
});

/// Without call stacks.
fn settings_of(snaplen: u32) -> ProgramSettings {
    ProgramSettings {
        selection: DropSelection::All,
        snaplen,
        stack_frames: None,
    }
}

/// No namespace's inode.
const OTHER: u32 = 9;

thread_local! {
    /// For each kernel.
    pub static COMPLETERS: RefCell<Vec<Completer>> = RefCell::new(
        KERNELS
            .iter()
            .map(|name| {
                let reasons = Kernel::new(name).reasons;
                let symbols = Symbols::of_running_kernel();
                let tables = Tables::new(reasons, symbols, None);
                Completer::new(tables, None, NotPackets::LeaveOut)
            })
            .collect(),
    );
}

/// Calls `act` with the record of a report, with each link type that this process can infer, whatever it knows
/// of devices. Returns whether the report is of a packet.
fn for_each_link(kernel: usize, record: &[u8], mut act: impl FnMut(&DropRecord<'_>)) -> bool {
    let report = Report::decode(record).unwrap();
    if content(&report) != Content::Packet {
        return false;
    }
    COMPLETERS.with_borrow_mut(|completers| {
        let mut receive = |event: Event<'_, '_>| {
            let Event::Drop(record) = event else {
                panic!("a report is of a drop")
            };
            act(record);
            let device = report.device;
            let device = device.map(|device| (device.index, ArpHardware(device.hardware)));
            let loopback = (report.input == 1).then_some(ArpHardware(772));
            let guesses = [1, 772, 801, 0xfffe, 99].map(|kind| Some(ArpHardware(kind)));
            for device in [None, device] {
                for certain in [None, loopback] {
                    for guess in guesses.into_iter().chain([None]) {
                        let hardware = KnownHardware {
                            device,
                            certain,
                            guess,
                        };
                        let link = link(&report, hardware);
                        act(&DropRecord { link, ..*record });
                    }
                }
            }
            std::ops::ControlFlow::Continue(())
        };
        let _ = completers[kernel].hand_on(std::iter::once(record), 0, 0, &mut receive);
    });
    true
}

/// The parts of a kernel's view of a packet that its bytes do not determine.
#[derive(Clone, Debug)]
pub struct PacketShape {
    /// The offset of `skb->data` in the frame: a usual one, or any.
    headers: Result<usize, Index>,
    linear: Option<Index>,
    /// No link-layer header; one at the frame's beginning; one after `skb->data`.
    mac_header: Option<usize>,
    network_header: Option<usize>,
    device: Option<SimulatedDevice>,
    input: u32,
    reason: u32,
    mark: u32,
    socket: Option<u32>,
    cgroup: u64,
    running: &'static str,
    /// Bytes that the programs may capture, if not as many as the packet has here.
    snaplen: Option<Index>,
    pub role: ProgramRole,
    /// Frames of the call stack that are asked for.
    wanted_frames: Option<u8>,
    /// Frames that there are.
    frames: Option<u64>,
    pub kernel: usize,
}

pub fn shape() -> impl Strategy<Value = PacketShape> {
    let headers = prop_oneof![
        3 => select(&[0_usize, 14, 18, 34][..]).prop_map(Ok),
        1 => any::<Index>().prop_map(Err),
    ];
    let device = (
        select(&[1_u32, 2][..]),
        select(&[1_u16, 772, 0xfffe, 768, 801, 99, 0][..]),
        select(vec![*OWN, OTHER]),
        select(&["lo", "eth0"][..]),
    )
        .prop_map(|(index, hardware, namespace, name)| SimulatedDevice {
            index,
            hardware,
            namespace,
            name,
        });
    (
        (
            (headers, prop::option::weighted(0.3, any::<Index>())),
            (
                select(&[0_u32, 7, 9][..]),
                select(vec![None, Some(*OWN), Some(OTHER)]),
                select(&[0_u64, 7, 7 << 32 | 9][..]),
                select(&["nginx", "nginx: worker p", "swapper/0", ""][..]),
            ),
        ),
        select(&[Some(0), Some(0), Some(0), None, None, Some(200)][..]),
        select(&[Some(0), Some(14), Some(14), Some(18), None, Some(250)][..]),
        prop::option::weighted(0.7, device),
        select(&[0_u32, 0, 1, 2, 5][..]),
        select(&[2_u32, 3, 3, 5, 60, 0x2_0005, 0x3_0002, 0xdead_beef][..]),
        prop::option::weighted(0.2, any::<Index>()),
        (
            select(&[ProgramRole::First, ProgramRole::First, ProgramRole::Second][..]),
            select(&[None, None, Some(1), Some(24), Some(MAX_STACK_FRAMES)][..]),
            select(&[None, Some(0), Some(9), Some(99)][..]),
        ),
        0..KERNELS.len(),
    )
        .prop_map(
            |(
                ((headers, linear), (mark, socket, cgroup, running)),
                mac_header,
                network_header,
                device,
                input,
                reason,
                snaplen,
                (role, wanted_frames, frames),
                kernel,
            )| PacketShape {
                headers,
                linear,
                mac_header,
                network_header,
                device,
                input,
                reason,
                mark,
                socket,
                cgroup,
                running,
                snaplen,
                role,
                wanted_frames,
                frames,
                kernel,
            },
        )
}

impl PacketShape {
    /// Returns a packet of this shape, and how much of it is captured: what was missing of the bytes.
    pub fn of(&self, packet: &AlertPacket) -> (SimulatedPacket, ProgramSettings) {
        let mut frame = packet.data.clone();
        let whole = frame.len().max(packet.original_len as usize);
        frame.resize(whole, 0);
        let headers = match &self.headers {
            Ok(usual) => (*usual).min(whole),
            Err(any) => any.index(whole + 1),
        };
        let behind = whole - headers;
        let snaplen = match &self.snaplen {
            Some(any) => any.index(whole + 1),
            None => packet.data.len(),
        };
        let settings = ProgramSettings {
            stack_frames: self.wanted_frames,
            ..settings_of(u32::try_from(snaplen).unwrap())
        };
        let packet = SimulatedPacket {
            pc: 0xffff_ffff_b3d4_20b5,
            reason: self.reason,
            input: self.input,
            mark: self.mark,
            socket: self.socket,
            cgroup: self.cgroup,
            running: self.running,
            stack: self.frames,
            protocol: packet.protocol,
            headers,
            linear: self
                .linear
                .as_ref()
                .map_or(behind, |any| any.index(behind + 1)),
            mac_header: self.mac_header,
            network_header: self.network_header,
            has_zero_offsets: false,
            device: self.device,
            frame,
        };
        (packet, settings)
    }
}

pub fn any_packet() -> impl Strategy<Value = AlertPacket> {
    prop_oneof![5 => packet(), 2 => odd_packet(), 1 => no_packet()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_programs_reject_only_what_is_rejected_here(
        text in prop_oneof![2 => expression(), 1 => expression_of(MORE)],
        packet in any_packet(),
        shape in shape(),
    ) {
        let kernel = &ALL[shape.kernel];
        let filter = parse(&text);
        let Some((_, program)) = kernel.compile(&filter) else {
            return Ok(());
        };
        let (packet, settings) = shape.of(&packet);
        let run = |filter| packet.run(&kernel.layout, shape.role, settings, filter);
        let plain = run(None);
        let filtered = run(Some(&program));
        let Outcome { record: Some(record), .. } = &plain else {
            panic!("it has to be handed on")
        };
        let mut is_kept = false;
        let is_packet = for_each_link(shape.kernel, record, |record| {
            is_kept |= filter.matches(record);
        });
        if is_kept || !is_packet || filtered.rejected == 0 {
            prop_assert_eq!(&filtered, &plain, "{}\n{}", text, program);
        }
    }

    #[test]
    fn the_part_in_the_programs_keeps_whatever_the_filter_keeps(
        text in prop_oneof![2 => expression(), 1 => expression_of(MORE)],
        packet in any_packet(),
        shape in shape(),
    ) {
        let kernel = &ALL[shape.kernel];
        let filter = parse(&text);
        let Some((KernelPart::Weaker(part), _)) = kernel.compile(&filter) else {
            return Ok(());
        };
        let (packet, settings) = shape.of(&packet);
        let plain = packet.run(&kernel.layout, shape.role, settings, None);
        for_each_link(shape.kernel, &plain.record.unwrap(), |record| {
            assert!(part.matches(record) || !filter.matches(record), "{text}: {part}");
        });
    }
}

/// A load that finds no byte may not end the program where another part of the filter keeps the packet.
#[test]
fn no_end_of_a_packet_rejects_it() {
    let ports = transport(17, 0, 53, 80);
    let packets = [
        (
            0x0800,
            framed(0x0800, &ip4(15, 17, 0, [10, 0, 0, 1], &ports)),
        ),
        (
            0x86dd,
            framed(
                0x86dd,
                &ip6(60, [0x20, 1, 0x0d, 0xb8], &transport(60, 17, 53, 80)),
            ),
        ),
        (0x0806, framed(0x0806, &[0; 28])),
        (0x8100, framed(0x8100, &[0, 100, 8, 0])),
        (0x0800, ip4(5, 6, 0, [10, 0, 0, 1], &ports)),
    ];
    let kernel = &ALL[1];
    for primitive in PRIMITIVES {
        for sign in ["", "not "] {
            let filter = parse(&format!("{sign}({primitive}) or reason NO_SOCKET"));
            let Some((_, program)) = kernel.compile(&filter) else {
                continue;
            };
            for (protocol, data) in &packets {
                for len in 0..=data.len() {
                    let simulated = SimulatedPacket {
                        reason: 3,
                        protocol: *protocol,
                        headers: len.min(14),
                        linear: len.saturating_sub(14),
                        mac_header: Some(0),
                        frame: data[..len].to_vec(),
                        ..SimulatedPacket::default()
                    };
                    let snaplen = settings_of(u32::MAX);
                    let run =
                        simulated.run(&kernel.layout, ProgramRole::First, snaplen, Some(&program));
                    assert_eq!(run.rejected, 0, "{filter}: {:?}", &data[..len]);
                }
            }
        }
    }
}

/// Returns the packet of a software drop, as the kernel had it.
fn simulated(
    kernel: &Kernel,
    record: &DropRecord<'_>,
) -> Option<(SimulatedPacket, ProgramSettings)> {
    let Cause::Software { location, reason } = record.cause else {
        return None;
    };
    let reason = reason?;
    let mut names = kernel.reasons.known();
    let (reason, _) = names.find(|(_, name)| *name == reason.as_bytes())?;
    let is_ethernet = record.link.kind == LinkType::ETHERNET;
    let mut frame = record.data.to_vec();
    frame.resize(record.original_len as usize, 0);
    let headers = if is_ethernet { 14 } else { 0 };
    let packet = SimulatedPacket {
        pc: location.pc?,
        reason,
        input: record.input.map_or(0, |input| input.key.index),
        protocol: record.protocol?.0,
        headers,
        linear: frame.len() - headers,
        mac_header: Some(0),
        network_header: Some(headers),
        frame,
        ..SimulatedPacket::default()
    };
    let snaplen = u32::try_from(record.data.len()).unwrap();
    Some((packet, settings_of(snaplen)))
}

#[test]
fn the_programs_reject_all_that_is_rejected_here_where_they_do_the_whole_filter() {
    let unknown_devices = DeviceTypes {
        named: None,
        guess: None,
    };
    for (kernel, file) in [(0, "software-6.1.pcap"), (1, "software-6.12.pcap")] {
        let messages = captured(file);
        for text in WHOLE
            .iter()
            .chain(TRANSPORT_WORDS)
            .chain(&["reason *SOCKET*", "protocol arp"])
        {
            let (filter, kernel_of) = (parse(text), &ALL[kernel]);
            let (part, program) = kernel_of.compile(&filter).expect(text);
            assert_eq!(part, KernelPart::Whole, "{text}");
            let (mut seen, mut kept) = (0, 0);
            for message in &messages {
                for_each_record(message, unknown_devices, |record| {
                    let Some((packet, settings)) = simulated(kernel_of, record) else {
                        return;
                    };
                    let run = packet.run(
                        &kernel_of.layout,
                        ProgramRole::First,
                        settings,
                        Some(&program),
                    );
                    let is_kept = filter.matches(record);
                    if !TRANSPORT_WORDS.contains(text) {
                        assert_eq!(run.rejected == 0, is_kept, "{text}: {record:?}");
                    }
                    assert!(run.rejected == 0 || !is_kept, "{text}: {record:?}");
                    seen += 1;
                    kept += u64::from(run.rejected == 0);
                });
            }
            assert!(seen >= 20, "{file} has {seen} software drops");
            assert!(
                kept < seen || *text == "origin sw",
                "{text} keeps {kept} of {seen}"
            );
        }
    }
}

#[test]
fn what_the_programs_do_of_a_filter() {
    let kernel = &ALL[3];
    let is = |text: &str, expected: Option<&str>| {
        let part = kernel
            .compile(&parse(text))
            .map(|(part, _)| part.to_string());
        assert_eq!(part.as_deref(), expected, "{text}");
    };
    let whole = Some("the whole filter");
    is("", None);
    is("tcp and reason *_CSUM", whole);
    is("protocol 0x0800 and iface = \"\"", whole);
    is("trap l3_drops or udp", whole);
    is("location ip_rcv and tcp", Some("tcp"));
    is("location ip_rcv or tcp", None);
    is("iface eth0 and iface 5 and noise", Some("iface 5"));
}

#[test]
fn the_filter_of_a_program_is_listed() {
    let words = "tcp dst port 443";
    let reason = parse("reason NO_SOCKET");
    let (_, program) = ALL[1].compile(&parse(words)).unwrap();
    let mut text = format!("{words}\n{}", listing(&program));
    for (name, kernel) in KERNELS.iter().zip(ALL.iter()) {
        let (_, program) = kernel.compile(&reason).unwrap();
        write!(text, "\n{reason}, {name}\n{}", listing(&program)).unwrap();
    }
    check("filters.listing", &text);
    let settings = settings_of(128);
    let (_, filter) = ALL[1].compile(&parse("udp")).unwrap();
    let whole = |settings| program_of(&ALL[1].layout, ProgramRole::Second, settings, Some(&filter));
    check("filtering.listing", &whole(settings).to_string());
    let with_stack = ProgramSettings {
        stack_frames: Some(24),
        ..settings
    };
    check("filtering-stack.listing", &whole(with_stack).to_string());
}
