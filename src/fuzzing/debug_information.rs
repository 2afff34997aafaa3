//! ELF files with DWARF.

use std::io::Write;
use std::os::fd::AsRawFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use object::{Object, ObjectSymbol};

use crate::record::{Location, Name, Symbol};
use crate::symbol::debug_search::{Search, WantedKernel};
use crate::symbol::source_line::SourceLines;
use crate::symbol::source_location::SourceLocation;

/// The most symbols that are looked for.
const MAX_SYMBOLS: usize = 6;

/// Looks for the source lines of a file's functions.
pub fn file(bytes: &[u8]) {
    let descriptor = memfd_create(c"debug", MFdFlags::MFD_CLOEXEC).expect("memory for a file");
    let mut file = std::fs::File::from(descriptor);
    file.write_all(bytes).expect("memory for a file");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let search = Search::new(WantedKernel::Unknown, Some(path.into()), None);
    let mut lines = SourceLines::new(search);
    let mut places = vec![(0x1000, "f+0x1/0x10".to_owned())];
    if let Ok(elf) = object::File::parse(bytes) {
        let symbols = elf.symbols().filter(|symbol| symbol.size() > 0);
        places.extend(symbols.take(MAX_SYMBOLS).filter_map(|symbol| {
            let (name, size) = (symbol.name().ok()?, symbol.size());
            let text = format!("{name}+{:#x}/{size:#x}", size / 2 + 1);
            Some((symbol.address().wrapping_add(size / 2 + 1), text))
        }));
    }
    for (pc, text) in &places {
        let symbol = Name::new(text.as_bytes()).map(Symbol);
        let first = lines.find(Location::new(Some(*pc), symbol)).cloned();
        // The kernel cuts symbols.
        let cut = &text.as_bytes()[..text.len().min(39)];
        lines.find(Location::new(Some(*pc), Name::new(cut).map(Symbol)));
        lines.find(Location::new(Some(*pc), None));
        let again = lines.find(Location::new(Some(*pc), symbol)).cloned();
        assert!(
            first.is_none() || first == again,
            "{text}: {first:?}, {again:?}"
        );
        for frame in first.iter().flat_map(SourceLocation::chain) {
            assert_ne!(frame.line, Some(0));
            assert!(!frame.file.raw().is_empty());
        }
    }
    for problem in lines.problems() {
        assert!(!problem.message.is_empty());
    }
}
