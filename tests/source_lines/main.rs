//! Source lines, of a small kernel and a module that gcc builds here. Run it with
//! `cargo test --test source_lines`; it needs gcc, objcopy, gzip, xz and zstd.

mod build;

use std::fs;
use std::path::Path;

use build::{Built, Place};
use dwdump::record::{Location, Name, Symbol};
use dwdump::symbol::debug_search::{Search, WantedKernel};
use dwdump::symbol::source_line::SourceLines;
use proptest::prelude::*;

/// How far the kernel and a module were moved.
const KERNEL: u64 = 0x2260_0000;
const MODULE: u64 = 0xffff_ffff_c055_f000;

fn lines(built: &Built) -> SourceLines {
    let given = |name| Some(built.folder().join(name));
    SourceLines::new(Search::new(
        WantedKernel::Unknown,
        given("vmlinux"),
        given("modules"),
    ))
}

/// What the kernel would send of a place, when it was moved so far.
fn location(pc: Option<u64>, symbol: &str) -> Location<'_> {
    Location::new(pc, Name::new(symbol.as_bytes()).map(Symbol))
}

#[track_caller]
fn check(lines: &mut SourceLines, pc: impl Into<Option<u64>>, symbol: &str, wanted: &str) {
    let found = lines.find(location(pc.into(), symbol));
    let found = found.map_or("nothing".into(), ToString::to_string);
    assert_eq!(found, wanted, "{symbol}: {:?}", lines.problems());
}

/// As `%pS`, cut as NET_DM cuts it.
fn cut(symbol: &str) -> &str {
    &symbol[..symbol.len().min(39)]
}

fn pc(place: &Place, slide: u64) -> u64 {
    place.address.wrapping_add(slide)
}

#[test]
fn the_line_is_the_first_outside_of_kfree_skb() {
    let built = Built::new(&[]);
    let place = built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop");
    let mut lines = lines(&built);
    check(&mut lines, None, &place.symbol, &place.line);
    let source = lines.find(location(None, &place.symbol)).unwrap();
    let chain: Vec<String> = source
        .chain()
        .iter()
        .map(|frame| format!("{} {frame}", frame.function))
        .collect();
    let wrapper = built.line("include/linux/skbuff.h", "the wrapper");
    let wanted = [
        format!("kfree_skb {wrapper}"),
        format!("ip_rcv_finish_core {}", place.line),
    ];
    assert_eq!(chain, wanted);
    assert!(lines.problems().is_empty());
    // A function inlined into another is no wrapper: its own line is shown.
    let place = built.kernel_place("ip_rcv", "in an inlined function");
    check(&mut lines, None, &place.symbol, &place.line);
}

#[test]
fn sections_of_a_module_are_told_apart() {
    for flags in [&[][..], &["-gz=zlib"], &["-gdwarf-4"]] {
        let built = Built::new(flags);
        let mut lines = lines(&built);
        for (function, what) in [("gre_rcv", "module drop"), ("gre_init", "init drop")] {
            let place = built.module_place(function, what);
            check(&mut lines, None, &place.symbol, &place.line);
        }
        let place = built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop");
        check(&mut lines, None, &place.symbol, &place.line);
    }
}

#[test]
fn compressed_files_are_unpacked() {
    for (program, extension) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
        let built = Built::new(&[]);
        let places = [
            built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop"),
            built.module_place("gre_rcv", "module drop"),
        ];
        for name in ["vmlinux", "modules/gre.ko"] {
            let path = built.folder().join(name);
            build::run(program, &[path.to_str().unwrap()]);
            let packed = format!("{}.{extension}", path.display());
            // The kernel's file is given by its name, and a module is found by its own.
            if name == "vmlinux" {
                fs::rename(packed, &path).unwrap();
            } else {
                fs::remove_file(&path)
                    .or_else(|error| match error.kind() {
                        std::io::ErrorKind::NotFound => Ok(()),
                        _ => Err(error),
                    })
                    .unwrap();
            }
        }
        let mut lines = lines(&built);
        for place in places {
            check(&mut lines, None, &place.symbol, &place.line);
        }
    }
}

#[test]
fn compressed_sections_are_unpacked() {
    for format in ["zlib", "zlib-gnu", "zstd"] {
        let built = Built::new(&[]);
        let places = [
            built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop"),
            built.module_place("gre_rcv", "module drop"),
        ];
        for name in ["vmlinux", "modules/gre.ko"] {
            let path = built.folder().join(name);
            let option = format!("--compress-debug-sections={format}");
            build::run("objcopy", &[&option, path.to_str().unwrap()]);
        }
        let mut lines = lines(&built);
        for place in places {
            check(&mut lines, None, &place.symbol, &place.line);
        }
    }
}

#[test]
fn a_cut_symbol_is_found_by_its_address() {
    let built = Built::new(&[]);
    let cut_place = built.kernel_place(
        "__a_function_with_a_name_that_is_much_too_long",
        "long name",
    );
    let other = built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop");
    let symbol = cut(&cut_place.symbol);
    let mut lines = lines(&built);
    // Nothing tells how far the kernel was moved.
    check(&mut lines, pc(&cut_place, KERNEL), symbol, "nothing");
    check(&mut lines, pc(&other, KERNEL), &other.symbol, &other.line);
    check(&mut lines, pc(&cut_place, KERNEL), symbol, &cut_place.line);
    check(&mut lines, pc(&cut_place, KERNEL), "", &cut_place.line);
    // An address elsewhere, and one that the name contradicts.
    check(&mut lines, Some(5), symbol, "nothing");
    check(&mut lines, pc(&other, KERNEL), symbol, "nothing");
}

#[test]
fn what_a_reader_saw_in_advance_helps() {
    let built = Built::new(&[]);
    let cut_place = built.module_place("gre_function_with_a_name_of_its_own", "cut in a module");
    let other = built.module_place("gre_rcv", "module drop");
    let symbol = cut(&cut_place.symbol);
    let mut lines = lines(&built);
    lines.learn(location(Some(pc(&other, MODULE)), &other.symbol));
    check(&mut lines, pc(&cut_place, MODULE), symbol, &cut_place.line);
}

#[test]
fn twins_are_told_apart_by_their_addresses() {
    let built = Built::new(&[]);
    let [one, two] = ["one twin", "other twin"].map(|what| built.kernel_place("twin", what));
    assert_eq!(one.symbol, two.symbol);
    assert_ne!(one.line, two.line);
    let other = built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop");
    let mut lines = lines(&built);
    check(&mut lines, pc(&one, KERNEL), &one.symbol, "nothing");
    lines.learn(location(Some(pc(&other, KERNEL)), &other.symbol));
    for place in [one, two] {
        check(&mut lines, pc(&place, KERNEL), &place.symbol, &place.line);
        check(&mut lines, None, &place.symbol, "nothing");
    }
}

#[test]
fn a_symbol_cut_behind_its_offset_needs_no_address() {
    let built = Built::new(&[]);
    let place = built.kernel_place("ip_rcv_finish_core.constprop.0", "first drop");
    let symbol = cut(&place.symbol);
    assert_eq!(symbol.len(), 39, "{symbol}");
    check(&mut lines(&built), pc(&place, 0x1000), symbol, &place.line);
}

#[test]
fn a_symbol_that_lost_its_module_accuses_no_file() {
    let built = Built::new(&[]);
    let mut lines = lines(&built);
    let symbol = "gre_function_with_a_name_of+0x15/0x30 [g";
    check(&mut lines, Some(0x1000), cut(symbol), "nothing");
    check(
        &mut lines,
        Some(0x1000),
        "gre_function_with_a_name_of_it+0x15/0x3",
        "nothing",
    );
    assert!(lines.problems().is_empty());
    // The part that is there is enough.
    let place = built.module_place("gre_function_with_a_name_of_its_own", "cut in a module");
    let other = built.module_place("gre_rcv", "module drop");
    check(&mut lines, pc(&other, MODULE), &other.symbol, &other.line);
    check(
        &mut lines,
        pc(&place, MODULE),
        cut(&place.symbol),
        &place.line,
    );
    // The kernel's file is missing, and would be needed.
    let search = Search::new(WantedKernel::Unknown, None, None);
    let mut lines = SourceLines::new(search);
    assert_eq!(lines.find(location(Some(5), cut(&place.symbol))), None);
    assert_eq!(
        lines.problems()[0].message,
        "no debug information for the kernel"
    );
}

#[test]
fn the_usual_places_are_looked_through() {
    let built = Built::new(&[]);
    let root = tempfile::tempdir().unwrap();
    let debug = root.path().join("usr/lib/debug");
    let put = |from: &str, to: &str| {
        let to = debug.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(built.folder().join(from), to).unwrap();
    };
    put("vmlinux", "boot/vmlinux-6.1.0-55-amd64");
    put(
        "modules/gre.ko",
        "lib/modules/6.1.0-55-amd64/kernel/net/ipv4/gre.ko.debug",
    );
    let search = Search::new(WantedKernel::Release("6.1.0-55-amd64".into()), None, None);
    let mut lines = SourceLines::new(search.below(root.path().into()));
    for place in [
        built.kernel_place("ip_rcv", "in an inlined function"),
        built.module_place("gre_rcv", "module drop"),
    ] {
        check(&mut lines, None, &place.symbol, &place.line);
    }
}

#[test]
fn what_is_missing_is_told_once() {
    #[track_caller]
    fn check(folder: &Path, wanted: &[&str]) {
        let modules = Some(folder.join("modules"));
        let search = Search::new(
            WantedKernel::Release("6.1.0-55-amd64".into()),
            None,
            modules,
        );
        let mut lines = SourceLines::new(search.below(folder.into()));
        for symbol in [
            "gre_rcv+0x3b/0xb0 [gre]",
            "gre_rcv+0x3c/0xb0 [gre]",
            "ip_rcv+0x1/0x2",
        ] {
            assert_eq!(lines.find(location(None, symbol)), None);
        }
        let problems = lines.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        for wanted in wanted {
            assert!(problems[0].message.contains(wanted), "{problems:?}");
        }
        assert_eq!(
            problems[1].message,
            "no debug information for the kernel 6.1.0-55-amd64"
        );
        assert!(problems[1].hint.contains("linux-image-6.1.0-55-amd64-dbg"));
        assert!(lines.problems().is_empty());
    }
    let built = Built::new(&[]);
    let module = built.folder().join("modules/gre.ko");
    check(
        built.folder(),
        &["gre.ko has a function gre_rcv of another size, so it is of another build"],
    );
    let path = module.to_str().unwrap();
    build::run("objcopy", &["--strip-debug", path]);
    let stripped = ["the module gre; ", "gre.ko: it has no debug information"];
    check(built.folder(), &stripped);
    build::run("gzip", &[path]);
    let stripped = ["the module gre; ", "gre.ko.gz: it has no debug information"];
    check(built.folder(), &stripped);
    fs::write(module.with_extension("ko.gz"), b"\x1f\x8b\x08no gzip").unwrap();
    check(built.folder(), &["gre.ko.gz: it cannot be unpacked: "]);
    fs::remove_file(module.with_extension("ko.gz")).unwrap();
    check(built.folder(), &["no debug information for the module gre"]);
    // A file that was asked for is named.
    let vmlinux = Some("/nonexistent/vmlinux".into());
    let mut lines = SourceLines::new(Search::new(WantedKernel::Unknown, vmlinux, None));
    assert_eq!(lines.find(location(None, "ip_rcv+0x1/0x2")), None);
    assert_eq!(
        lines.problems()[0].message,
        "no debug information for the kernel; /nonexistent/vmlinux: No such file or directory"
    );
}

#[test]
fn no_damaged_file_panics_or_fills_the_memory() {
    let built = Built::new(&[]);
    let kernel = built
        .kernel_place("ip_rcv", "in an inlined function")
        .symbol;
    let module = built.module_place("gre_rcv", "module drop").symbol;
    let whole = ["vmlinux", "modules/gre.ko"].map(|name| {
        let path = built.folder().join(name);
        (fs::read(&path).unwrap(), path)
    });
    let damage = (any::<prop::sample::Index>(), any::<[u8; 4]>());
    let damages = (
        prop::collection::vec(damage, 1..200),
        any::<prop::sample::Index>(),
    );
    proptest!(ProptestConfig::with_cases(100), |((damages, end) in damages, is_cut in any::<bool>())| {
        for (bytes, path) in &whole {
            let mut bytes = bytes.clone();
            for (place, new) in &damages {
                let place = place.index(bytes.len() - 4);
                bytes[place..place + 4].copy_from_slice(new);
            }
            if is_cut {
                bytes.truncate(end.index(bytes.len()));
            }
            // A new file: the old one is mapped.
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let taken = allocation_counter::measure(|| {
            let mut lines = lines(&built);
            for symbol in [&kernel, &module] {
                let _ = lines.find(location(Some(7), symbol));
            }
        });
        // The files have some 20 KB each.
        prop_assert!(taken.bytes_max < 64 << 20, "{} bytes", taken.bytes_max);
    });
}
