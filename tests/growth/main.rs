//! Work that grows with its input, and not with its square; memory that grows with what is there, and
//! not with what is claimed.

#[path = "../elf/mod.rs"]
mod elf;
mod table;

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::path::Path;

use dwdump::comment::ParsedComments;
use dwdump::record::{Cause, Location, Name, Symbol};
use dwdump::summary::{Counted, GroupOrder, GroupedCounts, Grouping};
use dwdump::symbol::debug_search::{Search, WantedKernel};
use dwdump::symbol::kallsyms::Kallsyms;
use dwdump::symbol::source_line::SourceLines;
use nix::time::{ClockId, clock_gettime};

/// Milliseconds that this thread computes, the shortest of several times: others use the machine too.
fn cost(mut work: impl FnMut()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        std::time::Duration::from(time).as_secs_f64() * 1000.0
    };
    let mut times = [0.0; 3].map(|_| {
        let start = now();
        work();
        now() - start
    });
    times.sort_by(f64::total_cmp);
    times[0]
}

/// Four times as much to do takes four times as long, or a little more where there is sorting; were
/// it the square, sixteen times.
#[track_caller]
fn check(size: usize, work: impl Fn(usize)) {
    let [one, four] = [size, 4 * size].map(|size| cost(|| work(size)));
    assert!(
        four < 9.0 * one + 1.0,
        "{size}: {one:.2} ms, four times as many: {four:.2} ms"
    );
    assert!(four < 10_000.0, "{four:.0} ms");
}

fn place(pc: u64, symbol: &str) -> Location<'_> {
    Location::new(Some(pc), Name::new(symbol.as_bytes()).map(Symbol))
}

fn lines(vmlinux: &Path) -> SourceLines {
    SourceLines::new(Search::new(
        WantedKernel::Unknown,
        Some(vmlinux.into()),
        None,
    ))
}

#[test]
fn many_symbols_of_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    check(5000, |size| {
        fs::write(&vmlinux, elf::with_functions(size, |_| "twin".into())).unwrap();
        let mut lines = lines(&vmlinux);
        for number in 0..size {
            let symbol = format!("twin+{number:#x}/0x10");
            black_box(lines.find(place(number as u64, &symbol)));
        }
    });
}

#[test]
fn many_symbols_and_as_many_places() {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    check(5000, |size| {
        fs::write(
            &vmlinux,
            elf::with_functions(size, |at| format!("function_{at}")),
        )
        .unwrap();
        let mut lines = lines(&vmlinux);
        for number in 0..size as u64 {
            // Each place was loaded somewhere else, which nobody can believe.
            let symbol = format!("function_{number}+0x1/0x10");
            black_box(lines.find(place(number << 20, &symbol)));
        }
    });
}

#[test]
fn many_places_whose_symbols_were_cut() {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    let cut = "a_function_with_a_name_that_is_much_too_";
    let cut = &cut[..39];
    check(5000, |size| {
        fs::write(
            &vmlinux,
            elf::with_functions(size, |at| format!("{cut}{at}")),
        )
        .unwrap();
        let mut lines = lines(&vmlinux);
        for number in 0..size as u64 {
            let whole = format!("{cut}{number}+0x1/0x10");
            let pc = elf::START + 16 * number;
            // Each was loaded somewhere else, and all of them reach over the place.
            lines.learn(place(pc.wrapping_add(number << 4), &whole));
            black_box(lines.find(place(pc, cut)));
        }
    });
}

#[test]
fn many_sections_of_code() {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    check(4000, |size| {
        fs::write(&vmlinux, elf::with_sections(size)).unwrap();
        black_box(lines(&vmlinux).find(place(0, "function+0x1/0x10")));
    });
}

#[test]
fn a_claim_of_gigabytes_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let vmlinux = folder.path().join("vmlinux");
    // zlib and zstd (`ELFCOMPRESS_`, elf.h).
    for kind in [1, 2] {
        for claim in [4 << 30, u64::MAX, 64 << 20] {
            fs::write(&vmlinux, elf::with_claim(kind, claim, &[b'x'; 10_000])).unwrap();
            let mut problems = Vec::new();
            let taken = allocation_counter::measure(|| {
                let mut lines = lines(&vmlinux);
                assert_eq!(lines.find(place(0, "function+0x1/0x10")), None);
                problems = lines.problems();
            });
            assert!(taken.bytes_max < 1 << 20, "{} bytes", taken.bytes_max);
            assert!(
                problems[0].message.contains("too large when unpacked"),
                "{problems:?}"
            );
        }
    }
}

#[test]
fn kernel_symbols_of_alternating_modules() {
    check(20_000, |size| {
        let mut text = String::new();
        for number in 0..size {
            let module = ["a", "b"][number % 2];
            writeln!(text, "{:x} t f [{module}]", 0x1000 + 16 * number).unwrap();
        }
        let Kallsyms::Visible(functions) = Kallsyms::read(text.as_bytes()).unwrap() else {
            panic!("there are functions");
        };
        for number in 0..size as u64 {
            black_box(functions.find(0x1000 + 16 * number));
        }
    });
}

#[test]
fn rows_that_come_and_go() {
    // Twice and eight times as many keys as there are groups.
    check(20_000, |size| {
        let mut counts = GroupedCounts::new(Grouping::Location);
        for number in 0..size as u64 {
            let cause = Cause::Software {
                location: place(number, ""),
                reason: None,
            };
            counts.count(&Counted::Kernel {
                cause,
                count: 1 + number % 3,
            });
        }
        black_box(counts.groups(GroupOrder::Total).len());
    });
}

#[test]
fn comments_of_one_packet() {
    check(20_000, |size| {
        let texts: Vec<String> = (0..size)
            .map(|number| format!("reason: {number}\\x"))
            .collect();
        let mut facts = ParsedComments::default();
        for text in &texts {
            facts.read(text);
        }
        black_box(facts.notes().len());
        black_box(dwdump::record::unescape(&"\\x41".repeat(size)));
    });
}
