//! Time and memory of everything that keeps state, for so much of it and for ten times as much.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dwdump::record::{
    CaptureHost, Cause, DropRecord, Interface, Link, LinkType, Name, Stack, Timestamp,
};
use dwdump::sink::{Ending, Linking, PcapngSink, Sink};
use dwdump::source::savefile::Savefile;
use dwdump::summary::{Counted, GroupedCounts, Grouping};
use dwdump::symbol::kallsyms::Kallsyms;
use nix::sys::resource::{UsageWho, getrusage};

use super::{cost, elf, lines, place};

/// The memory that is kept of ever more.
enum Kept {
    /// A part of it, of at most so many MB.
    AtMost(f64),
    /// All that is there, which is there for as long.
    All,
}

/// What is measured: milliseconds and MB.
type Measured = (f64, f64);

/// Measures what a thread does: milliseconds, and the MB that it had allocated at a time.
fn measure(mut work: impl FnMut()) -> Measured {
    let memory = allocation_counter::measure(&mut work).bytes_max;
    #[allow(clippy::cast_precision_loss)] // No test takes that much.
    (cost(work), memory as f64 / 1e6)
}

/// A packet of a flow: UDP from a port and an address.
fn packet(number: usize) -> Vec<u8> {
    let number = u32::try_from(number).unwrap();
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend((0x0a00_0000 | number >> 4).to_be_bytes());
    packet.extend([10, 0, 0, 1]);
    packet.extend(u16::try_from(number & 0xf).unwrap().to_be_bytes());
    packet.extend([0, 53, 0, 8, 0, 0]);
    packet
}

/// A drop with a reason, at a place.
fn drop_at<'a>(data: &'a [u8], reason: &'a str, symbol: &'a str) -> DropRecord<'a> {
    let mut record = DropRecord::new(Link::known(LinkType::RAW), data);
    record.time = Some(Timestamp(1));
    record.cause = Cause::Software {
        location: place(0x1000, symbol),
        reason: Name::new(reason.as_bytes()),
    };
    record
}

/// Writes drops into a capture.
fn capture(count: usize, mut each: impl FnMut(usize, &mut dyn FnMut(&DropRecord<'_>))) -> Vec<u8> {
    let mut file = Vec::new();
    let host = CaptureHost::default();
    let mut sink = PcapngSink::new(&mut file, Linking::Auto, "growth", &host).unwrap();
    for number in 0..count {
        each(number, &mut |record| {
            sink.write(record).unwrap();
        });
    }
    sink.finish(&Ending::default()).unwrap();
    drop(sink);
    file
}

fn read(file: &[u8]) -> Measured {
    measure(|| {
        let mut count = 0_u64;
        let _ = Savefile::open(file).unwrap().for_each(|record| {
            black_box(record);
            count += 1;
            ControlFlow::<()>::Continue(())
        });
        assert!(count > 0);
    })
}

fn with_interface(number: usize, take: &mut dyn FnMut(&DropRecord<'_>)) {
    let mut record = drop_at(&[0x45; 20], "NO_SOCKET", "ip_rcv+0x1/0x2");
    record.input = Some(Interface::new(u32::try_from(number + 1).unwrap(), None));
    take(&record);
}

fn counted(grouping: Grouping, size: usize) -> Measured {
    let packets: Vec<_> = (0..size).map(packet).collect();
    let names: Vec<_> = (0..size).map(|number| format!("REASON_{number}")).collect();
    let symbols: Vec<_> = (0..size)
        .map(|number| format!("function_{number}+0x1/0x10 [module_{number}]"))
        .collect();
    measure(|| {
        let mut counts = GroupedCounts::new(grouping);
        for number in 0..size {
            let record = drop_at(&packets[number], &names[number], &symbols[number]);
            counts.count(&Counted::Packet(&record));
        }
        black_box(&counts);
    })
}

fn written_interfaces(size: usize) -> Measured {
    measure(|| {
        let host = CaptureHost::default();
        let mut sink = PcapngSink::new(io::sink(), Linking::Auto, "growth", &host).unwrap();
        for number in 0..size {
            with_interface(number, &mut |record| {
                sink.write(record).unwrap();
            });
        }
        sink.finish(&Ending::default()).unwrap();
    })
}

fn kernel_symbols(size: usize) -> Measured {
    let mut text = String::new();
    for number in 0..size {
        writeln!(text, "{:x} t function_{number}", 0x1000 + 16 * number).unwrap();
    }
    measure(|| {
        black_box(Kallsyms::read(text.as_bytes()).unwrap());
    })
}

fn debug_symbols(size: usize) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    let name = |at: usize| format!("function_{at}");
    std::fs::write(&vmlinux, elf::with_functions(size, name)).unwrap();
    measure(|| {
        let mut lines = lines(&vmlinux);
        for number in 0..size as u64 {
            let symbol = format!("function_{number}+0x1/0x10");
            black_box(lines.find(place(number << 20, &symbol)));
        }
    })
}

fn sections(size: usize) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    std::fs::write(&vmlinux, elf::with_sections(size)).unwrap();
    measure(|| {
        black_box(lines(&vmlinux).find(place(0, "function+0x1/0x10")));
    })
}

/// The file of drops with a stack each, of 16 frames.
fn stacks(size: usize) -> Vec<u8> {
    capture(size, |number, take| {
        let frames = (0..16).map(|frame| format!("function_{number}_{frame}+0x1/0x10"));
        let folded = frames.collect::<Vec<_>>().join(";");
        let mut record = drop_at(&[0x45; 20], "NO_SOCKET", "ip_rcv+0x1/0x2");
        let mut location = place(0x1000, "ip_rcv+0x1/0x2");
        location.stack = Stack::new(folded.as_bytes());
        assert!(location.stack.is_some());
        record.cause = Cause::Software {
            location,
            reason: Name::new(b"NO_SOCKET"),
        };
        take(&record);
    })
}

fn counted_stacks(size: usize) -> Measured {
    let file = stacks(size);
    measure(|| {
        let mut counts = GroupedCounts::new(Grouping::Stack);
        let _ = Savefile::open(&file[..]).unwrap().for_each(|record| {
            counts.count(&Counted::Packet(record));
            ControlFlow::<()>::Continue(())
        });
        black_box(&counts);
    })
}

/// `--why` for a file with so many kinds of drops: milliseconds of the process, and its memory.
#[allow(clippy::cast_precision_loss)] // Neither runs for years.
fn causes(size: usize) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("kinds.pcapng");
    let file = capture(size, |number, take| {
        let reason = format!("REASON_{number}");
        take(&drop_at(&[0x45; 20], &reason, "ip_rcv+0x1/0x2"));
    });
    std::fs::write(&path, file).unwrap();
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let [user, system] = [usage.user_time(), usage.system_time()];
        let millis = [user, system].map(|time| (time.tv_sec() * 1_000_000 + time.tv_usec()) as f64);
        // Of all children so far, hence the smaller one is measured first.
        (
            (millis[0] + millis[1]) / 1000.0,
            usage.max_rss() as f64 / 1000.0,
        )
    };
    let before = spent();
    let status = Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(["--why", "-r"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let after = spent();
    (after.0 - before.0, after.1)
}

#[test]
fn ten_times_as_much_of_everything_that_keeps_state() {
    use Kept::{All, AtMost};
    type Row = (&'static str, usize, fn(usize) -> Measured, Kept);
    let rows: [Row; 12] = [
        // First: the memory of a child is that of the largest one so far.
        ("causes (--why -r)", 150, causes, AtMost(150.0)),
        (
            "interfaces, written",
            2000,
            written_interfaces,
            AtMost(40.0),
        ),
        (
            "interfaces, read",
            2000,
            |size| read(&capture(size, with_interface)),
            AtMost(80.0),
        ),
        (
            "places",
            10_000,
            |size| counted(Grouping::Location, size),
            AtMost(16.0),
        ),
        (
            "reasons",
            10_000,
            |size| counted(Grouping::Reason, size),
            AtMost(16.0),
        ),
        (
            "flows",
            10_000,
            |size| counted(Grouping::Flow, size),
            AtMost(16.0),
        ),
        ("symbols of the kernel", 20_000, kernel_symbols, All),
        ("symbols of debug information", 3000, debug_symbols, All),
        ("sections", 2000, sections, All),
        (
            "stacks, read",
            500,
            |size| read(&stacks(size)),
            AtMost(16.0),
        ),
        ("stacks, counted", 500, counted_stacks, AtMost(64.0)),
        (
            "modules of the kernel",
            5000,
            |size| counted(Grouping::Module, size),
            AtMost(16.0),
        ),
    ];
    let mut table = String::from(
        "| state | n | ms | ms for 10 n | times | MB | MB for 10 n |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut faults = Vec::new();
    for (what, size, work, kept) in rows {
        let (one, ten) = (work(size), work(10 * size));
        writeln!(
            table,
            "| {what} | {size} | {:.2} | {:.2} | {:.1} | {:.2} | {:.2} |",
            one.0,
            ten.0,
            ten.0 / one.0.max(0.001),
            one.1,
            ten.1
        )
        .unwrap();
        // With sorting, a little more than ten times; were it the square, a hundred times.
        if ten.0 > 30.0 * one.0 + 5.0 {
            faults.push(format!("{what}: {:.2} ms, then {:.2} ms", one.0, ten.0));
        }
        let most = match kept {
            AtMost(most) => most,
            All => 15.0 * one.1 + 1.0,
        };
        if ten.1 > most {
            faults.push(format!("{what}: {:.2} MB of {most:.0} MB", ten.1));
        }
    }
    println!("{table}");
    assert!(faults.is_empty(), "{faults:#?}");
}
