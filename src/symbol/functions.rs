//! Finds the functions of a file with debug information by name and by address. An index is built
//! once, because a file can have any number of symbols, and a capture any number of addresses.

use std::cmp::Ordering;

/// A function of the symbol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The address of its first byte.
    pub address: u64,
    /// The size in bytes that the symbol table has, without padding; 0 for assembly code without one.
    pub size: u64,
    /// The bytes up to the next symbol, which the kernel takes for the size; `None` for the last
    /// function of a region.
    pub distance: Option<u64>,
}

/// A symbol of code. Its name stays in the file.
#[derive(Clone, Copy, Debug)]
pub struct ElfSymbol {
    /// The address.
    pub address: u64,
    /// The size in bytes that the file states.
    pub size: u64,
    /// The offset of its name in the file, and the length of the name.
    pub name: (usize, usize),
}

/// The symbols of a file, sorted.
pub struct Functions {
    /// Sorted by address, then by name.
    symbols: Vec<ElfSymbol>,
    /// The distance of each symbol to the next address of its region.
    distances: Vec<Option<u64>>,
    /// Positions in `symbols`, sorted by name, then by address.
    by_name: Vec<u32>,
}

/// The known part of a function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The whole name.
    Whole,
    /// Only its beginning.
    Beginning,
}

impl Functions {
    /// Sorts the symbols of a file. `file` is all its bytes; `same_region` returns whether two
    /// addresses keep their distance when the code is loaded.
    pub fn new(
        mut symbols: Vec<ElfSymbol>,
        file: &[u8],
        same_region: impl Fn(u64, u64) -> bool,
    ) -> Self {
        // A file with more symbols does not fit into memory.
        symbols.truncate(u32::MAX as usize);
        let key = |symbol: &ElfSymbol| (symbol.address, name(file, symbol));
        symbols.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        let mut distances = vec![None; symbols.len()];
        for at in (1..symbols.len()).rev() {
            let (here, next) = (symbols[at - 1].address, symbols[at].address);
            distances[at - 1] = match here.cmp(&next) {
                Ordering::Equal => distances[at],
                _ => same_region(here, next).then(|| next - here),
            };
        }
        let positions = 0..u32::try_from(symbols.len()).unwrap_or(u32::MAX);
        let mut by_name: Vec<u32> = positions.collect();
        by_name.sort_by(|one, other| {
            name(file, &symbols[*one as usize]).cmp(name(file, &symbols[*other as usize]))
        });
        Self {
            symbols,
            distances,
            by_name,
        }
    }

    /// Returns the functions of a name, sorted by address. Static functions can share a name.
    pub fn named<'f>(
        &'f self,
        wanted: &'f [u8],
        file: &'f [u8],
    ) -> impl Iterator<Item = Function> + 'f {
        let name_at = move |at: u32| name(file, &self.symbols[at as usize]);
        let first = self.by_name.partition_point(|at| name_at(*at) < wanted);
        let from_first = self.by_name[first..].iter();
        from_first
            .take_while(move |at| name_at(**at) == wanted)
            .map(|at| self.function(*at as usize))
    }

    /// Returns the function that an address belongs to, if its name is or begins with `wanted`. The
    /// address just after a function's end belongs to it as well: the function may end with a call
    /// that never returns.
    pub fn holding(
        &self,
        address: u64,
        wanted: &[u8],
        extent: Extent,
        file: &[u8],
    ) -> Option<Function> {
        let behind = self.first_at(address.saturating_add(1));
        let start = self.symbols[..behind].last()?.address;
        let before = self.symbols[..self.first_at(start)].last();
        let starts = [Some(start), before.map(|symbol| symbol.address)];
        starts.into_iter().flatten().find_map(|start| {
            let at = self
                .symbols
                .partition_point(|symbol| (symbol.address, name(file, symbol)) < (start, wanted));
            let symbol = self
                .symbols
                .get(at)
                .filter(|symbol| symbol.address == start)?;
            let found = name(file, symbol);
            let is_wanted = match extent {
                Extent::Whole => found == wanted,
                Extent::Beginning => found.starts_with(wanted),
            };
            let function = self.function(at);
            let end = function.distance.unwrap_or(u64::MAX);
            (is_wanted && address - start <= end).then_some(function)
        })
    }

    /// Returns the position of the first symbol at or after an address.
    fn first_at(&self, address: u64) -> usize {
        self.symbols
            .partition_point(|symbol| symbol.address < address)
    }

    fn function(&self, at: usize) -> Function {
        let ElfSymbol { address, size, .. } = self.symbols[at];
        Function {
            address,
            size,
            distance: self.distances[at],
        }
    }
}

fn name<'b>(file: &'b [u8], symbol: &ElfSymbol) -> &'b [u8] {
    let (start, len) = symbol.name;
    file.get(start..)
        .and_then(|bytes| bytes.get(..len))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: &[u8] = b"abcabcd";

    fn functions(symbols: &[(u64, usize, usize)]) -> Functions {
        let symbols = symbols.iter().map(|&(address, start, len)| ElfSymbol {
            address,
            size: 1,
            name: (start, len),
        });
        // Regions of 32 bytes.
        Functions::new(symbols.collect(), NAMES, |one, other| {
            one / 32 == other / 32
        })
    }

    proptest! {
        #[test]
        fn an_index_finds_what_a_scan_finds(
            symbols in proptest::collection::vec((0..100_u64, 0..5_usize, 1..4_usize), 0..40),
            address in 0..110_u64,
            wanted in (0..5_usize, 1..4_usize),
            is_whole in any::<bool>(),
        ) {
            let found = functions(&symbols);
            let name = |start: usize, len: usize| NAMES.get(start..start + len).unwrap_or_default();
            let wanted = name(wanted.0, wanted.1);
            let distance = |address: u64| {
                let others = symbols.iter().map(|symbol| symbol.0);
                let next = others.filter(|other| *other > address && other / 32 == address / 32);
                next.min().map(|next| next - address)
            };
            let scan = |is_wanted: &dyn Fn(&[u8]) -> bool| {
                let all = symbols.iter().filter(|symbol| is_wanted(name(symbol.1, symbol.2)));
                let mut all: Vec<_> = all
                    .map(|symbol| Function { address: symbol.0, size: 1, distance: distance(symbol.0) })
                    .collect();
                all.sort_by_key(|function| function.address);
                all
            };
            let named: Vec<_> = found.named(wanted, NAMES).collect();
            prop_assert_eq!(named, scan(&|name| name == wanted));
            let extent = if is_whole { Extent::Whole } else { Extent::Beginning };
            let candidates = scan(&|name| name == wanted || !is_whole && name.starts_with(wanted));
            let holds = |function: &&Function| {
                let offset = address.checked_sub(function.address);
                // Only the two nearest starts can hold it, unless it is after a region's last function.
                offset.is_some_and(|offset| offset <= function.distance.unwrap_or(u64::MAX))
            };
            let holding = found.holding(address, wanted, extent, NAMES);
            let nearest = candidates.iter().rev().find(holds);
            let starts: std::collections::BTreeSet<u64> = symbols.iter().map(|symbol| symbol.0).collect();
            let near: Vec<u64> = starts.range(..=address).rev().take(2).copied().collect();
            let nearest = nearest.filter(|function| near.contains(&function.address));
            prop_assert_eq!(holding.as_ref(), nearest);
        }
    }
}
