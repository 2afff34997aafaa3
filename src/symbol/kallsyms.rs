//! Parses `/proc/kallsyms` into a compact list of functions, sorted by address, which gives the name
//! that the kernel's `%pS` would print for an address.
//!
//! # Example
//!
//! ```
//! use dwdump::symbol::kallsyms::Kallsyms;
//!
//! let text = "ffffffffc0561160 t gre_rcv\t[gre]\nffffffffc0561210 t gre_err\t[gre]\n";
//! let Kallsyms::Visible(functions) = Kallsyms::read(text.as_bytes()).unwrap() else {
//!     panic!("no addresses");
//! };
//! let symbol = functions.find(0xffff_ffff_c056_11a1).unwrap();
//! assert_eq!(symbol.to_string(), "gre_rcv+0x41/0xb0 [gre]");
//! ```

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

/// The result of reading a kallsyms file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Kallsyms {
    /// The file has functions with their addresses.
    Visible(KernelFunctions),
    /// All addresses are zero: the kernel hides them from this process.
    Hidden,
    /// The file has no function: it is another file, or of a kernel without CONFIG_KALLSYMS.
    Empty,
}

/// The functions of the kernel and its modules, sorted by address.
///
/// All names are in one buffer. A kernel with 250,000 symbols, 150,000 of them functions, takes 6 MB.
#[derive(Debug, Default)]
pub struct KernelFunctions {
    /// Sorted by address; symbols with the same address keep the order of the file.
    functions: Vec<CompactFunction>,
    names: Vec<u8>,
    /// The names of the modules; [`CompactFunction::module`] counts from 1.
    modules: Vec<Box<[u8]>>,
}

/// A function in 16 bytes, because a kernel has 150,000 of them.
#[derive(Clone, Copy, Debug)]
struct CompactFunction {
    address: u64,
    /// The offset of its name in [`KernelFunctions::names`].
    name: u32,
    name_len: u16,
    /// The number of its module; 0 is the kernel itself.
    module: u16,
}

/// An address as the kernel's `%pS` prints it (`__sprint_symbol`, kernel/kallsyms.c):
/// `gre_rcv+0x41/0xb0 [gre]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvedSymbol<'t> {
    /// The function's name, with a compiler's suffix (`.isra.0`) where it has one.
    pub function: &'t [u8],
    /// The offset in the function, in bytes.
    pub offset: u64,
    /// The bytes from the function's start to the next symbol at another address.
    pub size: u64,
    /// The module that the function belongs to; `None` for the kernel itself.
    pub module: Option<&'t [u8]>,
}

impl ResolvedSymbol<'_> {
    /// Appends the unescaped `function+0x41/0xb0 [module]` to a text.
    pub fn write(&self, text: &mut Vec<u8>) {
        use io::Write;
        text.extend_from_slice(self.function);
        // Writing to a Vec cannot fail.
        let _ = write!(text, "+{:#x}/{:#x}", self.offset, self.size);
        if let Some(module) = self.module {
            text.extend_from_slice(b" [");
            text.extend_from_slice(module);
            text.push(b']');
        }
    }
}

impl fmt::Display for ResolvedSymbol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        crate::record::Escaped(&text).fmt(f)
    }
}

/// The longest line that the kernel writes, rounded up: its names have at most 511 characters
/// (`KSYM_NAME_LEN`, linux/kallsyms.h) and its modules' names 55 (`MODULE_NAME_LEN`).
const MAX_LINE: u64 = 1024;
/// The size of a page of code. Where pages are larger, the last function seems shorter than it is.
const PAGE: u64 = 4096;
/// The largest last function of the kernel or of a module. The file does not say where the last one
/// ends; an address further after its start is in code that the file does not list.
const MAX_LAST_FUNCTION: u64 = 64 * 1024;

impl Kallsyms {
    /// Reads lines such as `ffffffffc0561160 t gre_rcv [gre]`. Other lines are skipped.
    pub fn read(input: impl Read) -> io::Result<Self> {
        let mut functions = KernelFunctions::default();
        let mut is_hidden = false;
        let mut input = BufReader::with_capacity(64 * 1024, input);
        let mut line = Vec::new();
        loop {
            line.clear();
            if (&mut input).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.pop_if(|byte| *byte == b'\n').is_none() && line.len() as u64 == MAX_LINE {
                input.skip_until(b'\n')?;
                continue;
            }
            match parse(&line) {
                Some(symbol) if symbol.address == 0 => is_hidden = true,
                Some(symbol) => functions.add(&symbol),
                None => {}
            }
        }
        // A stable sort: of several names at an address the kernel takes the first of the file.
        functions.functions.sort_by_key(|function| function.address);
        Ok(if !functions.functions.is_empty() {
            Self::Visible(functions)
        } else if is_hidden {
            Self::Hidden
        } else {
            Self::Empty
        })
    }
}

/// A line of the file that names a function.
struct KallsymsLine<'l> {
    address: u64,
    name: &'l [u8],
    module: Option<&'l [u8]>,
}

/// Parses a line; `None` where it names no function.
fn parse(line: &[u8]) -> Option<KallsymsLine<'_>> {
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let address = std::str::from_utf8(words.next()?).ok()?;
    // `from_str_radix` would accept a sign.
    if address.starts_with('+') {
        return None;
    }
    let address = u64::from_str_radix(address, 16).ok()?;
    // The letters of nm(1): code, and weak symbols that are not data.
    if !matches!(words.next()?, b"t" | b"T" | b"w" | b"W") {
        return None;
    }
    let name = words.next()?;
    // The kernel skips the same names (is_mapping_symbol, linux/module_symbol.h).
    let is_mapping = name[0] == b'$' || name.starts_with(b".L") || name.starts_with(b"L0");
    if is_mapping {
        return None;
    }
    let module = match words.next() {
        Some(word) => Some(word.strip_prefix(b"[")?.strip_suffix(b"]")?),
        None => None,
    };
    // The file lists BPF programs as a module, which `%pS` does not print.
    let module = module.filter(|module| !module.is_empty() && *module != b"bpf");
    Some(KallsymsLine {
        address,
        name,
        module,
    })
}

impl KernelFunctions {
    fn add(&mut self, symbol: &KallsymsLine<'_>) {
        let module = match symbol.module {
            None => Some(0),
            Some(name) => self.module_number(name),
        };
        let (Some(module), Ok(name), Ok(name_len)) = (
            module,
            u32::try_from(self.names.len()),
            u16::try_from(symbol.name.len()),
        ) else {
            // No kernel has 4 GB of names, or 65536 modules.
            return;
        };
        self.names.extend_from_slice(symbol.name);
        self.functions.push(CompactFunction {
            address: symbol.address,
            name,
            name_len,
            module,
        });
    }

    /// Returns the number of a module, adding it if it is not the last one: the file lists the
    /// symbols of a module together.
    fn module_number(&mut self, name: &[u8]) -> Option<u16> {
        if self.modules.last().is_none_or(|last| **last != *name) {
            self.modules.push(name.into());
        }
        u16::try_from(self.modules.len()).ok()
    }

    /// Returns the function that holds `pc`, as the kernel itself would print it.
    pub fn find(&self, pc: u64) -> Option<ResolvedSymbol<'_>> {
        let end = self
            .functions
            .partition_point(|function| function.address <= pc);
        let address = self.functions[..end].last()?.address;
        let first = self.functions[..end].partition_point(|function| function.address < address);
        let function = self.functions[first];
        let next = self.functions.get(end);
        let offset = pc - address;
        // For the last function, the kernel takes the end of the module's code, which ends with a page.
        let page_end = (pc | (PAGE - 1)).saturating_add(1);
        let end = match next {
            Some(next) if self.is_same_module(function, *next) => next.address,
            _ if offset >= MAX_LAST_FUNCTION => return None,
            Some(next) => next.address.min(page_end),
            None => page_end,
        };
        Some(ResolvedSymbol {
            function: self.name(function),
            offset,
            size: end - address,
            module: match function.module {
                0 => None,
                number => Some(&self.modules[usize::from(number) - 1]),
            },
        })
    }

    fn is_same_module(&self, one: CompactFunction, other: CompactFunction) -> bool {
        let name = |function: CompactFunction| {
            let number = usize::from(function.module).checked_sub(1)?;
            Some(&self.modules[number])
        };
        one.module == other.module || name(one) == name(other)
    }

    fn name(&self, function: CompactFunction) -> &[u8] {
        let start = function.name as usize;
        &self.names[start..start + usize::from(function.name_len)]
    }

    /// Returns the number of functions.
    pub fn len(&self) -> usize {
        self.functions.len()
    }

    /// Returns whether there is no function, which is never the case after [`Kallsyms::read`].
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIXTURE: &[u8] = include_bytes!("../../fixtures/kallsyms.txt");

    fn functions(text: &[u8]) -> KernelFunctions {
        match Kallsyms::read(text).unwrap() {
            Kallsyms::Visible(functions) => functions,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn places_are_named_as_the_kernel_names_them() {
        let functions = functions(FIXTURE);
        let check = |pc, shown| {
            let place = functions.find(pc).map(|place| place.to_string());
            assert_eq!(place.as_deref().unwrap_or("unknown"), shown, "{pc:#x}");
        };
        // Longer than the symbol that the kernel sends.
        check(
            0xffff_ffff_a3dd_e5ca,
            "__netif_receive_skb_core.constprop.0+0x14/0xdf0",
        );
        // The first and the last byte of a function with several names, which data follows.
        check(0xffff_ffff_a3dd_f3a6, "ip_rcv+0x0/0x5a");
        check(0xffff_ffff_a3dd_f3ff, "ip_rcv+0x59/0x5a");
        // Functions that the file does not list in order. Padding has a symbol of its own.
        check(0xffff_ffff_a3dd_f400, "__pfx_ip_output+0x0/0x10");
        check(0xffff_ffff_a3dd_f411, "ip_output+0x1/0xbf0");
        // The last function of the kernel ends with its page.
        check(0xffff_ffff_a3de_0001, "last_of_the_kernel+0x1/0x1000");
        // The last function of a module ends with its page, or where another module begins.
        check(0xffff_ffff_c055_f14b, "gre_rcv+0x3b/0xb0 [gre]");
        check(0xffff_ffff_c055_f1c8, "gre_err+0x8/0x3c0 [gre]");
        check(0xffff_ffff_c055_f5ff, "gre_cleanup+0x7f/0x80 [gre]");
        check(0xffff_ffff_c055_f601, "vxlan_rcv+0x1/0xa00 [vxlan]");
        check(0xffff_ffff_c056_0000, "unknown_to_c+0x0/0x1000");
        // Addresses before, between and after all functions.
        check(0, "unknown");
        check(0xffff_ffff_a3dd_e5b5, "unknown");
        check(0xffff_ffff_b000_0000, "unknown");
        check(u64::MAX, "unknown");
    }

    #[test]
    fn hidden_addresses_are_told_from_no_functions() {
        let zeros = b"0000000000000000 T _stext\n0000000000000000 t gre_rcv\t[gre]\n";
        assert!(matches!(
            Kallsyms::read(&zeros[..]).unwrap(),
            Kallsyms::Hidden
        ));
        for text in [&b""[..], b"no such thing\n", b"0000000000000010 D data\n"] {
            assert!(matches!(Kallsyms::read(text).unwrap(), Kallsyms::Empty));
        }
    }

    #[test]
    fn an_overlong_line_is_skipped_whole() {
        let mut text = b"1000 T a\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 5000));
        text.extend(b" 2000 T hidden_in_it\n3000 T b\n");
        let functions = functions(&text);
        assert_eq!(functions.len(), 2);
        assert_eq!(
            functions.find(0x2000).unwrap().to_string(),
            "a+0x1000/0x2000"
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..500),
            start in 0..FIXTURE.len(),
            pc in prop_oneof![any::<u64>(), 0xffff_ffff_a3dd_e000..0xffff_ffff_c057_0000_u64],
        ) {
            // Half random, half the fixture with random bytes in it.
            let mut damaged = FIXTURE.to_vec();
            let end = damaged.len().min(start + bytes.len());
            damaged[start..end].copy_from_slice(&bytes[..end - start]);
            for text in [&bytes, &damaged] {
                if let Kallsyms::Visible(functions) = Kallsyms::read(&text[..]).unwrap()
                    && let Some(place) = functions.find(pc)
                {
                    prop_assert!(place.offset < place.size);
                    prop_assert!(!place.function.is_empty());
                }
            }
        }
    }
}
