//! An ELF file with debug information, a vmlinux or a module: its functions, and the source lines of
//! an address.
//!
//! Addresses here are the file's own. A module is not linked: each of its sections starts at 0, so
//! they are laid out here one after the other.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use addr2line::{Context, LookupResult};
use gimli::{Reader as _, RunTimeEndian};
use object::elf::{SHF_ALLOC, SHF_EXECINSTR};
use object::{
    CompressionFormat, Object, ObjectKind, ObjectSection, ObjectSymbol, RelocationKind,
    RelocationTarget, SectionFlags, SymbolKind,
};
use thiserror::Error;

use super::functions::{ElfSymbol, Extent, Function, Functions};
use super::source_location::Frame;
use super::source_path;
use super::unpack::{MemoryBudget, PackedFormat, UnpackError};
use crate::errno::describe;
use crate::rights;
use crate::sys::SharedBytes;

type DwarfReader = gimli::EndianReader<RunTimeEndian, SharedBytes>;

/// An error for which a file cannot be used.
#[derive(Debug, Error)]
pub enum DebugFileError {
    /// The file cannot be read.
    #[error("{}", describe(.0))]
    Io(#[from] io::Error),
    /// The file or a section is compressed and cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A section is compressed in an unsupported way.
    #[error("its debug information is compressed in an unknown way")]
    Compression,
    /// The file is stripped, as installed modules usually are.
    #[error("it has no debug information")]
    NoDebugInformation,
    /// The file is not ELF, or malformed.
    #[error("it is not a valid ELF file: {0}")]
    Elf(#[from] object::Error),
    /// The DWARF data is malformed.
    #[error("its debug information cannot be read: {0}")]
    Dwarf(#[from] gimli::Error),
    /// The file is of an architecture whose modules use other relocations.
    #[error("its relocations are of an unsupported kind")]
    Relocation,
}

/// A file with debug information.
pub struct DebugFile {
    /// Its path.
    pub path: PathBuf,
    bytes: SharedBytes,
    context: Context<DwarfReader>,
    /// The number to add to the addresses of each section's symbols, by the section's number.
    bases: Vec<u64>,
    /// The regions of code, sorted. Addresses of a region keep their distances when it is loaded.
    regions: Vec<Range<u64>>,
    functions: OnceCell<Functions>,
    /// The number of bytes that it keeps in memory, without those that are mapped.
    pub kept: u64,
}

impl DebugFile {
    /// Opens a file with debug information, compressed or not, and keeps no more bytes of it than the
    /// budget allows.
    pub fn open(path: &Path, budget: MemoryBudget) -> Result<Self, DebugFileError> {
        let mut bytes = SharedBytes::map(&rights::of_caller(|| File::open(path))?)?;
        let whole = budget.of_file(bytes.len() as u64);
        let mut budget = whole;
        if let Some(format) = PackedFormat::of_file(&bytes) {
            bytes = budget.file(format, &bytes)?;
        }
        let elf = object::File::parse(&*bytes)?;
        let has_lines = debug_section(&elf, ".debug_info").is_some()
            && debug_section(&elf, ".debug_line").is_some();
        if !has_lines {
            return Err(DebugFileError::NoDebugInformation);
        }
        let (bases, regions) = lay_out(&elf);
        let dwarf = gimli::Dwarf::load(|id| section(&elf, &bytes, id.name(), &bases, &mut budget))?;
        let context = Context::from_dwarf(dwarf)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: bytes.clone(),
            context,
            bases,
            regions,
            functions: OnceCell::new(),
            kept: whole.spent(budget),
        })
    }

    /// Returns the build id, by which the linker identifies one build among all others.
    pub fn build_id(&self) -> Option<Vec<u8>> {
        Some(self.elf()?.build_id().ok()??.to_vec())
    }

    /// Parses the ELF headers again, which succeeded in [`Self::open`] and takes a few microseconds.
    fn elf(&self) -> Option<object::File<'_>> {
        object::File::parse(&*self.bytes).ok()
    }

    /// Returns the functions of a name, sorted by address.
    pub fn named<'f>(&'f self, name: &'f [u8]) -> impl Iterator<Item = Function> + 'f {
        self.functions().named(name, &self.bytes)
    }

    /// Returns the function that an address belongs to, if it has this name.
    pub fn holding(&self, address: u64, name: &[u8], extent: Extent) -> Option<Function> {
        self.functions().holding(address, name, extent, &self.bytes)
    }

    /// Returns the index of the functions, which is built at the first call.
    fn functions(&self) -> &Functions {
        self.functions.get_or_init(|| {
            let mut symbols = Vec::new();
            if let Some(elf) = &self.elf() {
                let file = self.bytes.as_ptr().addr();
                symbols.extend(elf.symbols().filter_map(|symbol| {
                    let name = symbol.name_bytes().ok()?;
                    Some(ElfSymbol {
                        address: self.address(&symbol)?,
                        size: symbol.size(),
                        name: (name.as_ptr().addr().checked_sub(file)?, name.len()),
                    })
                }));
            }
            Functions::new(symbols, &self.bytes, |one, other| {
                self.region(one).contains(&other)
            })
        })
    }

    /// Returns the region of code that an address belongs to; empty where it is not code.
    pub fn region(&self, address: u64) -> Range<u64> {
        let behind = self
            .regions
            .partition_point(|region| region.start <= address);
        let region = self.regions[..behind].last();
        region
            .filter(|region| region.contains(&address))
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the address of a symbol; `None` where it is not code.
    fn address<'a>(&self, symbol: &impl ObjectSymbol<'a>) -> Option<u64> {
        let is_code = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown);
        let section = symbol.section_index().filter(|_| is_code)?;
        let address = self.bases.get(section.0)?.wrapping_add(symbol.address());
        (!self.region(address).is_empty()).then_some(address)
    }

    /// Returns the source lines of an address: that of the innermost inlined function first, that of
    /// the function that they were inlined into last. Empty where nothing is known.
    pub fn frames(&self, address: u64) -> Vec<Frame> {
        let LookupResult::Output(Ok(mut frames)) = self.context.find_frames(address) else {
            // The kernel is not built with split DWARF, whose other half would have to be loaded.
            return Vec::new();
        };
        let folder = self.folder(address);
        let mut found = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let location = frame.location.as_ref();
            let function = frame.function.as_ref();
            let function = function.and_then(|name| name.raw_name().ok());
            // Some functions have a linkage name, with a compiler's suffix.
            let function = function.map(|name| match name.split_once('.') {
                Some((name, _)) if !name.is_empty() => name.to_owned(),
                _ => name.into_owned(),
            });
            let file = location.and_then(|location| location.file);
            found.push(Frame {
                function: function.unwrap_or_default().into(),
                file: file
                    .map_or_else(String::new, |file| source_path::shorten(file, &folder))
                    .into(),
                line: location
                    .and_then(|location| location.line)
                    .filter(|line| *line != 0),
            });
        }
        found.retain(|frame| !frame.file.raw().is_empty());
        found
    }

    /// Returns the folder in which the code at an address was compiled.
    fn folder(&self, address: u64) -> String {
        let unit = match self.context.find_dwarf_and_unit(address) {
            LookupResult::Output(unit) => unit,
            LookupResult::Load { .. } => None,
        };
        let folder = unit.and_then(|unit| unit.comp_dir.clone());
        folder
            .and_then(|folder| Some(folder.to_string_lossy().ok()?.into_owned()))
            .unwrap_or_default()
    }
}

/// Lays out the sections; returns the bases of all of them, and the regions of code.
fn lay_out(elf: &object::File<'_>) -> (Vec<u64>, Vec<Range<u64>>) {
    const FIRST: u64 = 0x10000;
    let is_linked = elf.kind() != ObjectKind::Relocatable;
    let (mut bases, mut regions) = (Vec::new(), Vec::new());
    let mut end = FIRST;
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        let number = section.index().0;
        if bases.len() <= number {
            bases.resize(number + 1, 0);
        }
        if sh_flags.0 & SHF_ALLOC.0 == 0 {
            continue;
        }
        let mut start = section.address();
        if !is_linked {
            start = end;
            bases[number] = start;
            end = start.saturating_add(section.size()).saturating_add(0xff) & !0xff;
        }
        if sh_flags.0 & SHF_EXECINSTR.0 != 0 && section.size() != 0 {
            regions.push(start..start.saturating_add(section.size()));
        }
    }
    // A linked file is loaded as a whole.
    if is_linked && let Some(start) = regions.iter().map(|region| region.start).min() {
        let end = regions.iter().map(|region| region.end).max();
        let whole = start..end.unwrap_or(start);
        regions.splice(.., [whole]);
    }
    regions.sort_unstable_by_key(|region| region.start);
    (bases, regions)
}

/// Finds a section by its name, or by that of GNU's older compression, `.zdebug_info`.
fn debug_section<'f, 'b>(elf: &'f object::File<'b>, name: &str) -> Option<object::Section<'b, 'f>> {
    let compressed = || {
        let rest = name.strip_prefix(".debug_")?;
        elf.section_by_name(&format!(".zdebug_{rest}"))
    };
    elf.section_by_name(name).or_else(compressed)
}

/// Returns a section of debug information: mapped where it can be used as it is, otherwise copied.
fn section(
    elf: &object::File<'_>,
    bytes: &SharedBytes,
    name: &str,
    bases: &[u64],
    budget: &mut MemoryBudget,
) -> Result<DwarfReader, DebugFileError> {
    let endian = if elf.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    };
    let reader = |bytes: SharedBytes| gimli::EndianReader::new(bytes, endian);
    let Some(section) = debug_section(elf, name) else {
        return Ok(reader(Vec::new().into()));
    };
    // A linked vmlinux may still list its relocations (--emit-relocs), which are applied already.
    let is_linked = elf.kind() != ObjectKind::Relocatable;
    let place = section.compressed_file_range()?;
    if is_linked && place.format == CompressionFormat::None {
        let start = usize::try_from(place.offset).unwrap_or(usize::MAX);
        let len = usize::try_from(place.uncompressed_size).unwrap_or(usize::MAX);
        let end = start.saturating_add(len);
        if end > bytes.len() {
            return Err(gimli::Error::UnexpectedEof(gimli::ReaderOffsetId(0)).into());
        }
        return Ok(reader(bytes.clone()).range(start..end));
    }
    let packed = section.compressed_data()?;
    let size = packed.uncompressed_size;
    let mut data = match packed.format {
        CompressionFormat::None => budget.copy(packed.data)?,
        CompressionFormat::Zlib => budget.section(PackedFormat::Zlib, packed.data, size)?,
        CompressionFormat::Zstandard => budget.section(PackedFormat::Zstd, packed.data, size)?,
        _ => return Err(DebugFileError::Compression),
    };
    if !is_linked {
        relocate(elf, &section, &mut data, bases)?;
    }
    Ok(reader(data.into()))
}

/// Applies the relocations of a section of a file that is not linked.
fn relocate(
    elf: &object::File<'_>,
    section: &object::Section<'_, '_>,
    data: &mut [u8],
    bases: &[u64],
) -> Result<(), DebugFileError> {
    let base = |section: object::SectionIndex| bases.get(section.0).copied().unwrap_or(0);
    for (offset, relocation) in section.relocations() {
        let target = match (relocation.kind(), relocation.target()) {
            (RelocationKind::None, _) => continue,
            (RelocationKind::Absolute, RelocationTarget::Symbol(number)) => {
                let symbol = elf.symbol_by_index(number)?;
                let section = symbol.section_index().map_or(0, base);
                section.wrapping_add(symbol.address())
            }
            (RelocationKind::Absolute, RelocationTarget::Section(number)) => base(number),
            (RelocationKind::Absolute, RelocationTarget::Absolute) => 0,
            _ => return Err(DebugFileError::Relocation),
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let len = usize::from(relocation.size() / 8);
        let place = start
            .checked_add(len)
            .and_then(|end| data.get_mut(start..end))
            .filter(|_| len == 4 || len == 8)
            .ok_or(DebugFileError::Relocation)?;
        let is_little = elf.is_little_endian();
        let mut value = target.wrapping_add_signed(relocation.addend());
        if relocation.has_implicit_addend() {
            value = value.wrapping_add(read(place, is_little));
        }
        let bytes = value.to_le_bytes();
        place.copy_from_slice(&bytes[..len]);
        if !is_little {
            place.reverse();
        }
    }
    Ok(())
}

fn read(place: &[u8], is_little: bool) -> u64 {
    let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if is_little {
        place.iter().rev().fold(0, add)
    } else {
        place.iter().fold(0, add)
    }
}
