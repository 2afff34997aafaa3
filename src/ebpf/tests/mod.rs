//! Tests the programs for four kernels, of whose BTF `fixtures/btf` has the parts that are read, and the
//! errors for kernels for which there can be no program.

pub mod machine;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::assembler::{EbpfProgram, Map};
use super::btf::Btf;
use super::layout::{KernelField, KernelLayout, LayoutError};
use super::program::{
    DropSelection, MAX_STACK_FRAMES, ProgramRole, ProgramSettings, counting_program, program,
};
use super::reasons::Reasons;
use super::report::{Report, Start};
use machine::SimulatedPacket;

pub const KERNELS: [&str; 4] = ["6.1", "6.12", "6.18", "7.2"];

pub fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/btf");
    fs::read(folder.join(format!("{name}.btf"))).unwrap()
}

fn write(kernel: &str, role: ProgramRole, settings: ProgramSettings) -> EbpfProgram {
    let bytes = fixture(kernel);
    let layout = KernelLayout::find(&Btf::parse(&bytes).unwrap()).unwrap();
    program(&layout, role, settings, None)
}

fn write_counting(kernel: &str, role: ProgramRole) -> EbpfProgram {
    let bytes = fixture(kernel);
    let layout = KernelLayout::find(&Btf::parse(&bytes).unwrap()).unwrap();
    counting_program(&layout, role)
}

/// A listing without the offsets of members, which have a name behind them.
fn plain(program: &EbpfProgram) -> Vec<String> {
    let is_offset = |word: &&str| word.trim_end_matches(')').parse::<i16>().is_ok();
    let listing = program.to_string();
    let lines = listing.lines().map(|line| {
        let words = line
            .split(' ')
            .filter(|word| !(line.contains("->") && is_offset(word)));
        words.collect()
    });
    lines.collect()
}
/// Whole frames.
const WHOLE: ProgramSettings = ProgramSettings {
    selection: DropSelection::All,
    snaplen: u32::MAX,
    stack_frames: None,
};
/// The beginning of each frame.
const SHORT: ProgramSettings = ProgramSettings {
    snaplen: 128,
    ..WHOLE
};
const WITH_STACK: ProgramSettings = ProgramSettings {
    stack_frames: Some(24),
    ..WHOLE
};

/// Compares a listing with the one in this folder. `UPDATE_GOLDEN=1` rewrites that one.
pub fn check(name: &str, listing: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/ebpf/tests")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, listing).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == listing,
        "{name} differs (if this is meant: UPDATE_GOLDEN=1 cargo test --lib ebpf):\n{listing}"
    );
}

#[test]
fn the_listings_of_both_programs_are_as_expected() {
    check(
        "first.listing",
        &write("6.12", ProgramRole::First, WHOLE).to_string(),
    );
    check(
        "second.listing",
        &write("6.12", ProgramRole::Second, SHORT).to_string(),
    );
    for (kernel, name) in [("6.12", "stack.listing"), ("6.1", "stack-6.1.listing")] {
        let listing = write(kernel, ProgramRole::First, WITH_STACK).to_string();
        check(name, &listing);
    }
    check(
        "counting.listing",
        &write_counting("6.12", ProgramRole::First).to_string(),
    );
    // It does not know the receiver, and has a bit for the presence of a VLAN tag.
    check(
        "first-6.1.listing",
        &write("6.1", ProgramRole::First, WHOLE).to_string(),
    );
}

#[test]
fn what_the_drop_monitor_reports_is_left_out_before_anything_is_written() {
    // The lines up to the jump, and those that it leads to; the ones between are as always.
    let shown = |role| {
        let settings = ProgramSettings {
            selection: DropSelection::WithoutMacHeader,
            ..WHOLE
        };
        let listing = write("6.12", role, settings).to_string();
        let lines: Vec<_> = listing.split_inclusive('\n').collect();
        let jump = lines.iter().position(|line| line.contains("<= 65534"));
        let (begin, rest) = lines.split_at(jump.unwrap() + 1);
        let (_, target) = begin[begin.len() - 1].trim().rsplit_once(' ').unwrap();
        let target = format!("{target}:");
        let mut after = rest.iter().map(|line| line.trim_start());
        let after = after.position(|line| line.starts_with(&target)).unwrap();
        [begin.concat(), rest[after..].concat()].join("  …\n")
    };
    let (first, second) = (shown(ProgramRole::First), shown(ProgramRole::Second));
    check("beside.listing", &format!("{first}\n{second}"));
}

#[test]
fn a_netlink_message_whose_header_offsets_are_zero_has_no_headers() {
    let mut message = vec![0; 36];
    message[..6].copy_from_slice(&[36, 0, 0, 0, 2, 0]);
    let packet = SimulatedPacket {
        linear: message.len(),
        frame: message.clone(),
        has_zero_offsets: true,
        ..SimulatedPacket::default()
    };
    for kernel in KERNELS {
        let layout = KernelLayout::find(&Btf::parse(&fixture(kernel)).unwrap()).unwrap();
        let record = packet.run(&layout, ProgramRole::First, WHOLE, None).record;
        let record = record.unwrap();
        let report = Report::decode(&record).unwrap();
        assert_eq!(
            (report.start, report.packet.data),
            (Start::Data, &message[..])
        );
    }
}

#[test]
fn later_kernels_differ_in_nothing_but_offsets() {
    let kinds = |kernel| {
        let capturing = |settings| write(kernel, ProgramRole::First, settings);
        let counting = write_counting(kernel, ProgramRole::First);
        [capturing(WHOLE), capturing(WITH_STACK), counting].map(|program| plain(&program))
    };
    let usual = kinds("6.12");
    let mut offsets = String::new();
    for kernel in KERNELS {
        let bytes = fixture(kernel);
        let layout = KernelLayout::find(&Btf::parse(&bytes).unwrap()).unwrap();
        writeln!(offsets, "{kernel}:").unwrap();
        for field in layout.fields() {
            let KernelField { name, offset, size } = field;
            writeln!(offsets, "  {name:<22} {offset:>5} {size:?}").unwrap();
        }
        if kernel != "6.1" {
            assert_eq!(kinds(kernel), usual, "{kernel}");
        }
    }
    check("offsets", &offsets);
}

#[test]
fn every_jump_goes_forwards_into_the_program() {
    let roles = [ProgramRole::First, ProgramRole::Second];
    let selections = [DropSelection::All, DropSelection::WithoutMacHeader];
    for (role, selection) in roles
        .into_iter()
        .flat_map(|role| selections.map(|one| (role, one)))
    {
        for kernel in KERNELS {
            let settings = ProgramSettings {
                selection,
                stack_frames: Some(MAX_STACK_FRAMES),
                ..SHORT
            };
            let capturing = write(kernel, role, settings);
            for program in [capturing, write_counting(kernel, role)] {
                let code = program.encode(|map| match map {
                    Map::Scratch => 5,
                    Map::Buffers => 6,
                    Map::Counts => 7,
                    Map::Name => 8,
                    Map::Format => 9,
                });
                let len = code.len();
                for (at, instruction) in code.iter().enumerate() {
                    let [code, _, low, high, ..] = instruction.to_ne_bytes();
                    let class = code & 7;
                    // Neither a call nor the exit.
                    if class == 6 || class == 5 && !matches!(code, 0x85 | 0x95) {
                        let distance = usize::try_from(i16::from_ne_bytes([low, high])).unwrap();
                        assert!(distance > 0 && at + 1 + distance < len, "{at}");
                    }
                }
                assert_eq!(code[len - 1].to_ne_bytes()[0], 0x95);
            }
        }
    }
}

/// The layout of a kernel that has no such name.
fn layout_without(name: &str) -> Result<KernelLayout, LayoutError> {
    let mut bytes = fixture("6.12");
    // The names are all at the end.
    let whole = [b"\0", name.as_bytes(), b"\0"].concat();
    let at = memchr::memmem::rfind(&bytes, &whole).unwrap();
    bytes[at + 1] = b'X';
    KernelLayout::find(&Btf::parse(&bytes).unwrap())
}

#[test]
fn a_kernel_that_lacks_an_optional_member_has_no_such_fact() {
    let whole = KernelLayout::find(&Btf::parse(&fixture("6.12")).unwrap()).unwrap();
    assert!(whole.mark.is_some() && whole.vlan.is_some() && whole.packet_type.is_some());
    assert!(whole.socket.is_some_and(|socket| socket.cgroup.is_some()));
    assert!(whole.has_cgroups && whole.has_receiver);
    let len = |layout: &KernelLayout| {
        let program = program(layout, ProgramRole::First, SHORT, None);
        program.encode(|_| 5).len()
    };
    for (name, is_without) in [
        ("mark", (|it| it.mark.is_none()) as fn(KernelLayout) -> bool),
        ("vlan_tci", |it| it.vlan.is_none()),
        ("pkt_type", |it| it.packet_type.is_none()),
        ("sock", |it| it.socket.is_none()),
        ("sk_type", |it| it.socket.is_none()),
        ("sk_cgrp_data", |it| {
            it.socket.is_some_and(|socket| socket.cgroup.is_none())
        }),
        ("kernfs_node", |it| {
            it.socket.is_some_and(|socket| socket.cgroup.is_none())
        }),
    ] {
        let layout = layout_without(name).unwrap();
        assert!(is_without(layout), "{name}");
        // The rest of the program is as it was.
        assert!(len(&layout) < len(&whole), "{name}");
        assert_eq!(layout.len, whole.len);
    }
}

#[test]
fn the_error_names_the_member_that_a_kernel_lacks() {
    let without = |name| layout_without(name).unwrap_err();
    assert_eq!(without("skb_iif"), LayoutError::NoMember("skb->skb_iif"));
    assert_eq!(without("nd_net"), LayoutError::NoMember("dev->nd_net.net"));
    assert_eq!(without("inum"), LayoutError::NoMember("net->ns.inum"));
    assert_eq!(without("sk_buff"), LayoutError::NoType("sk_buff"));
    assert_eq!(
        without("btf_trace_kfree_skb").to_string(),
        "this kernel's BTF has no btf_trace_kfree_skb"
    );
}

#[test]
fn reasons_have_the_names_of_their_kernel() {
    let bytes = fixture("7.2");
    let vmlinux = Btf::parse(&bytes).unwrap();
    let mut reasons = Reasons::empty();
    let check = |reasons: &mut Reasons, number, name: &str| {
        let found = String::from_utf8_lossy(reasons.name(number)).into_owned();
        assert_eq!(found, name);
    };
    reasons.learn(&vmlinux);
    check(&mut reasons, 3, "NO_SOCKET");
    check(&mut reasons, 0x30002, "QDISC_DROP_OVERLIMIT");
    // Not the subsystem's own number, nor what only marks a range.
    check(&mut reasons, 0x30000, "0x30000");
    check(&mut reasons, 0x20005, "0x20005");
    // The module's names stand in its own strings, after the kernel's.
    let bytes = fixture("7.2-openvswitch");
    let module = Btf::parse_module(&bytes, &vmlinux).unwrap();
    reasons.learn(&module);
    check(&mut reasons, 0x20005, "OVS_DROP_METER");

    let bytes = fixture("6.1");
    let mut reasons = Reasons::empty();
    reasons.learn(&Btf::parse(&bytes).unwrap());
    check(&mut reasons, 2, "NO_SOCKET");
}
