//! Finds the line of the kernel's source that dropped a packet, by the symbol or address of the drop.
//!
//! A whole symbol, `gre_rcv+0x41/0xb0 [gre]`, identifies file and offset, wherever the kernel was
//! loaded. A symbol that was cut too early does not. Its address does, once a whole symbol in the same
//! region of code has shown how far that region was moved.
//!
//! # Example
//!
//! ```
//! use dwdump::record::Location;
//! use dwdump::symbol::debug_search::{Search, WantedKernel};
//! use dwdump::symbol::source_line::SourceLines;
//!
//! let mut lines = SourceLines::new(Search::new(WantedKernel::Running, None, None));
//! // The location of a record: `Cause::Software { location, .. }`.
//! if let Some(source) = lines.find(Location::default()) {
//!     println!("{source}, in {}", source.frame().function);
//! }
//! for problem in lines.problems() {
//!     eprintln!("{}\nhint: {}", problem.message, problem.hint);
//! }
//! ```

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use super::debug_file::{DebugFile, DebugFileError};
use super::debug_search::Search;
use super::functions::{Extent, Function};
use super::sent::{Module, Sent};
use super::source_location::SourceLocation;
use super::unpack::MemoryBudget;
use crate::record::{Escaped, Location, Name, Symbol};

/// The most functions of one name that are distinguished by their sizes. A kernel has a hundred of
/// some names; with more, only the address decides.
const MAX_TWINS: usize = 1000;
/// The most slides that are kept: one for the kernel, and one for each section of a module. A capture
/// whose symbols and addresses contradict each other would have more.
const MAX_SLIDES: usize = 2000;

/// Finds source lines. Each symbol or address is looked up once.
pub struct SourceLines {
    search: Search,
    /// The positions in `opened` by the module's name, which is empty for the kernel; `None` where no
    /// file was found.
    files: HashMap<Vec<u8>, Option<usize>>,
    opened: Vec<DebugFile>,
    /// The number of bytes that further files may keep in memory.
    budget: MemoryBudget,
    slides: Vec<Slide>,
    /// Whole symbols by their addresses that may give more slides and were not looked up yet.
    hints: HashMap<u64, Box<[u8]>>,
    by_symbol: HashMap<Box<[u8]>, BySymbol>,
    by_pc: HashMap<u64, ByPc>,
    problems: Vec<Problem>,
    reported: HashSet<String>,
}

/// The distance by which a region of code was moved from its address in the file.
struct Slide {
    file: usize,
    region: Range<u64>,
    /// The distance to add to the file's addresses, wrapping.
    distance: u64,
}

/// The result of looking up a whole symbol.
enum BySymbol {
    /// Its source location; `None` where there is none.
    Known(Option<SourceLocation>),
    /// Static functions of two source files have this name and this size: only the address
    /// distinguishes them.
    Ambiguous,
}

/// The address of a symbol in a file with debug information.
enum Located {
    /// The symbol is in this file, at this address.
    At(usize, u64),
    /// The symbol is at one of several addresses.
    Ambiguous,
    /// The symbol is not in this file, which should have it.
    Missing(usize, Misfit),
    /// The symbol is cut, or no file with debug information was found.
    Unknown,
}

/// The sign that a file is of another build.
enum Misfit {
    /// The file has no function of the name.
    Name,
    /// The file has a function of the name, of another size.
    Size,
}

/// The result of looking up an address whose symbol does not identify it.
struct ByPc {
    symbol: Box<[u8]>,
    source: Option<SourceLocation>,
    /// [`SourceLines::knowledge`] at the time of the lookup.
    knowledge: usize,
}

/// A reason why lines are missing, to be reported once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The description of the problem.
    pub message: String,
    /// The hint for the user.
    pub hint: String,
}

impl SourceLines {
    /// Creates a finder, which opens files of debug information as `search` finds them when they are
    /// needed.
    pub fn new(search: Search) -> Self {
        Self {
            search,
            files: HashMap::new(),
            opened: Vec::new(),
            budget: MemoryBudget::new(),
            slides: Vec::new(),
            hints: HashMap::new(),
            by_symbol: HashMap::new(),
            by_pc: HashMap::new(),
            problems: Vec::new(),
            reported: HashSet::new(),
        }
    }

    /// Remembers a location of the same boot of the same machine. Whole symbols show where code was
    /// loaded, which helps to find locations whose symbols were cut. [`Self::find`] remembers its
    /// locations anyway, so that only a reader that knows locations in advance gains from this.
    pub fn learn(&mut self, location: Location<'_>) {
        let (Some(pc), Some(symbol)) = (location.pc, location.symbol) else {
            return;
        };
        if Sent::new(symbol).is_whole() && !self.by_symbol.contains_key(symbol.0.as_bytes()) {
            self.hints.insert(pc, symbol.0.as_bytes().into());
        }
    }

    /// Returns the source of a location, if it can be found. A later call may find more, when more
    /// symbols were seen.
    pub fn find(&mut self, location: Location<'_>) -> Option<&SourceLocation> {
        let Some(symbol) = location.symbol else {
            return self.find_by_pc(location, None);
        };
        let text = symbol.0.as_bytes();
        if !self.by_symbol.contains_key(text) {
            let sent = Sent::new(symbol);
            if !sent.is_whole() {
                return self.find_by_pc(location, Some(&sent));
            }
            let known = match self.locate(&sent, location.pc) {
                Located::At(file, address) => BySymbol::Known(self.source(file, address)),
                Located::Ambiguous => BySymbol::Ambiguous,
                Located::Missing(file, misfit) => {
                    self.report_misfit(file, &sent, &misfit);
                    BySymbol::Known(None)
                }
                Located::Unknown => BySymbol::Known(None),
            };
            self.by_symbol.insert(text.into(), known);
        }
        if matches!(self.by_symbol[text], BySymbol::Ambiguous) {
            return self.find_by_pc(location, Some(&Sent::new(symbol)));
        }
        match &self.by_symbol[text] {
            BySymbol::Known(source) => source.as_ref(),
            BySymbol::Ambiguous => None,
        }
    }

    fn find_by_pc(
        &mut self,
        location: Location<'_>,
        sent: Option<&Sent<'_>>,
    ) -> Option<&SourceLocation> {
        let text = location
            .symbol
            .map_or(&[][..], |symbol| symbol.0.as_bytes());
        let pc = location.pc?;
        let is_settled = self.by_pc.get(&pc).is_some_and(|known| {
            let is_final = known.source.is_some() || known.knowledge == self.knowledge();
            *known.symbol == *text && is_final
        });
        if !is_settled {
            // Most locations are in the kernel itself: opening its file here reports if it is missing.
            self.file(&[]);
            let place = self
                .locate_by_slide(pc, sent)
                .or_else(|| self.locate_by_name(pc, sent?));
            let source = place.and_then(|(file, address)| self.source(file, address));
            let known = ByPc {
                symbol: text.into(),
                source,
                knowledge: self.knowledge(),
            };
            self.by_pc.insert(pc, known);
        }
        self.by_pc[&pc].source.as_ref()
    }

    /// Returns the problems since the last call.
    pub fn problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Returns a number that grows with everything that may help to find more.
    fn knowledge(&self) -> usize {
        self.slides.len() + self.hints.len()
    }

    /// Returns the source of an address. It is a return address: the call that dropped the packet is
    /// before it.
    fn source(&self, file: usize, address: u64) -> Option<SourceLocation> {
        SourceLocation::new(self.opened[file].frames(address.checked_sub(1)?))
    }

    /// Finds the file and address of a whole symbol.
    fn locate(&mut self, sent: &Sent<'_>, pc: Option<u64>) -> Located {
        let module = match sent.module {
            Module::Kernel => &[][..],
            Module::Named(name) => name,
            Module::Prefix(_) | Module::Unknown => return Located::Unknown,
        };
        let (Some(file), Some(offset)) = (self.file(module), sent.offset) else {
            return Located::Unknown;
        };
        let mut misfit = Misfit::Name;
        let mut found = None;
        for (number, function) in self.opened[file].named(sent.function).enumerate() {
            misfit = Misfit::Size;
            let is_fitting = fits(&function, sent);
            if number == MAX_TWINS || is_fitting && found.is_some() {
                return Located::Ambiguous;
            }
            found = found.or(is_fitting.then_some(function));
        }
        let Some(function) = found else {
            return Located::Missing(file, misfit);
        };
        let address = function.address.wrapping_add(offset);
        if let Some(pc) = pc {
            self.add_slide(file, address, pc);
        }
        Located::At(file, address)
    }

    fn has_slide(&self, file: usize, address: u64, pc: u64) -> bool {
        self.slides.iter().any(|slide| {
            slide.file == file
                && slide.region.contains(&address)
                && address.wrapping_add(slide.distance) == pc
        })
    }

    fn add_slide(&mut self, file: usize, address: u64, pc: u64) {
        if self.slides.len() < MAX_SLIDES && !self.has_slide(file, address, pc) {
            self.slides.push(Slide {
                file,
                region: self.opened[file].region(address),
                distance: pc.wrapping_sub(address),
            });
        }
    }

    /// Finds the file and address of a PC in a region whose slide is known.
    fn locate_by_slide(&mut self, pc: u64, sent: Option<&Sent<'_>>) -> Option<(usize, u64)> {
        for (pc, text) in std::mem::take(&mut self.hints) {
            if let Some(name) = Name::new(&text) {
                self.locate(&Sent::new(Symbol(name)), Some(pc));
            }
        }
        let places = self.slides.iter().map(|slide| {
            let address = pc.wrapping_sub(slide.distance);
            (slide, address)
        });
        let mut places = places.filter(|(slide, address)| slide.region.contains(address));
        places
            .find(|(slide, address)| {
                sent.is_none_or(|sent| names(&self.opened[slide.file], sent, *address))
            })
            .map(|(slide, address)| (slide.file, address))
    }

    /// Finds the file and address of a symbol that has an offset, but not its module's whole name.
    fn locate_by_name(&mut self, pc: u64, sent: &Sent<'_>) -> Option<(usize, u64)> {
        sent.offset?;
        let module = match sent.module {
            Module::Prefix(prefix) => {
                let prefix = std::str::from_utf8(prefix).ok()?;
                let mut names = self.search.modules_with_prefix(prefix);
                names.pop().filter(|_| names.is_empty())?
            }
            // Most locations are in the kernel itself; if this one is not, the kernel has no such function.
            Module::Unknown => String::new(),
            Module::Kernel | Module::Named(_) => return None,
        };
        let module = match module.as_bytes() {
            [] => Module::Kernel,
            name => Module::Named(name),
        };
        match self.locate(&Sent { module, ..*sent }, Some(pc)) {
            Located::At(file, address) => Some((file, address)),
            Located::Ambiguous | Located::Missing(..) | Located::Unknown => None,
        }
    }

    /// Returns the opened file of a module, or of the kernel where the name is empty.
    fn file(&mut self, module: &[u8]) -> Option<usize> {
        if let Some(file) = self.files.get(module) {
            return *file;
        }
        let file = self.open(module);
        self.files.insert(module.into(), file);
        file
    }

    fn open(&mut self, module: &[u8]) -> Option<usize> {
        let name = std::str::from_utf8(module).ok()?;
        let name = (!name.is_empty()).then_some(name);
        let paths = match name {
            None => self.search.vmlinux(),
            Some(name) => self.search.module(name),
        };
        let build_id = self.search.build_id(name);
        let mut found = Vec::new();
        for path in paths {
            match DebugFile::open(&path, self.budget) {
                Ok(file) if is_other_build(&file, build_id.as_deref()) => {
                    found.push(format!("{} is of another build", shown(&path)));
                }
                Ok(file) => {
                    self.budget = self.budget.less(file.kept);
                    self.opened.push(file);
                    return Some(self.opened.len() - 1);
                }
                Err(DebugFileError::Io(error))
                    if error.kind() == ErrorKind::NotFound && !self.search.is_given(&path) => {}
                Err(error) => found.push(format!("{}: {error}", shown(&path))),
            }
        }
        let what = match (name, self.search.release()) {
            (Some(name), _) => format!("the module {}", Escaped(name.as_bytes())),
            (None, Some(release)) => format!("the kernel {}", Escaped(release.as_bytes())),
            (None, None) => "the kernel".into(),
        };
        found.insert(0, format!("no debug information for {what}"));
        let hint = self.search.advice();
        self.report(found.join("; "), hint);
        None
    }

    fn report_misfit(&mut self, file: usize, sent: &Sent<'_>, misfit: &Misfit) {
        let path = shown(&self.opened[file].path);
        let name = Escaped(sent.function);
        let message = match misfit {
            Misfit::Name => format!("{path} has no function {name}, so it is of another build"),
            Misfit::Size => {
                format!("{path} has a function {name} of another size, so it is of another build")
            }
        };
        // One function is enough to report the file.
        if self.reported.insert(path.clone()) {
            let hint = self.search.advice();
            self.report(message, hint);
        }
    }

    fn report(&mut self, message: String, hint: String) {
        if self.reported.insert(message.clone()) {
            self.problems.push(Problem { message, hint });
        }
    }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_encoded_bytes()).to_string()
}

fn is_other_build(file: &DebugFile, wanted: Option<&[u8]>) -> bool {
    match (file.build_id(), wanted) {
        (Some(id), Some(wanted)) => id != wanted,
        _ => false,
    }
}

/// Returns whether a function is the one that the symbol means, by its size.
fn fits(function: &Function, sent: &Sent<'_>) -> bool {
    /// The most padding: functions are aligned to at most 64 bytes, and may have as many before them.
    const MAX_PADDING: u64 = 128;
    let is_inside = |end: u64| sent.offset.is_none_or(|offset| offset <= end);
    let Some(size) = sent.size else {
        return is_inside(function.distance.unwrap_or(u64::MAX));
    };
    // The kernel may lack some symbols that the file has, and pads modules to a page.
    let is_last = function.distance.is_none();
    let padding = size.checked_sub(function.size);
    let is_fitting = function.distance == Some(size)
        || function.size == 0
        || padding.is_some_and(|padding| padding < MAX_PADDING || is_last);
    is_fitting && is_inside(size)
}

/// Returns whether the file's symbol for an address agrees with the sent one, as far as that goes.
fn names(file: &DebugFile, sent: &Sent<'_>, address: u64) -> bool {
    let extent = if sent.is_function_cut {
        Extent::Beginning
    } else {
        Extent::Whole
    };
    let function = file.holding(address, sent.function, extent);
    function.is_some_and(|function| {
        let offset = address - function.address;
        sent.offset.is_none_or(|wanted| wanted == offset)
    })
}
