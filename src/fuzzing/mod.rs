//! Everything that reads bytes from outside, for fuzzing: a function for each kind of input. It takes any bytes, and panics
//! where dwdump does not keep what it promises: every input is answered or refused, what is written is read back
//! equal, a filter decides as a plain interpreter does, and memory is bounded.
//!
//! `fuzz/` runs these functions under libFuzzer. The unit tests run them with the inputs of `fuzz/corpus`.

mod alerts;
mod arguments;
mod btf;
mod captures;
mod control;
#[cfg(feature = "source-lines")]
mod debug_information;
mod filters;
mod kallsyms;
#[cfg(test)]
mod tests;

/// A kind of input.
#[derive(Clone, Copy, Debug)]
pub struct FuzzTarget {
    /// Its name, that of its corpus.
    pub name: &'static str,
    run: fn(&[u8]),
    /// The most bytes that are allocated at a time, besides those for each byte of the input.
    fixed_memory: u64,
    /// The most bytes for each byte of the input.
    memory_of_byte: u64,
}

impl FuzzTarget {
    const fn new(
        name: &'static str,
        run: fn(&[u8]),
        fixed_memory: u64,
        memory_of_byte: u64,
    ) -> Self {
        Self {
            name,
            run,
            fixed_memory,
            memory_of_byte,
        }
    }

    /// Returns the target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Gives an input to what reads it. Panics if a promise is not kept.
    pub fn run(&self, input: &[u8]) {
        (self.run)(input);
    }

    /// Returns the most bytes that an input of this length may have allocated at a time.
    pub fn memory_bound(&self, len: usize) -> u64 {
        self.fixed_memory + self.memory_of_byte * len as u64
    }
}

const MIB: u64 = 1 << 20;

/// All kinds of input.
pub const TARGETS: &[FuzzTarget] = &[
    FuzzTarget::new("alerts", alerts::datagram, 4 * MIB, 64),
    FuzzTarget::new("pcapng", captures::pcapng, 8 * MIB, 256),
    FuzzTarget::new("pcap", captures::pcap, 8 * MIB, 256),
    FuzzTarget::new("compressed", captures::compressed, 64 * MIB, 256),
    FuzzTarget::new("filter_text", filters::text, 4 * MIB, 16 << 10),
    FuzzTarget::new("filter_packets", filters::packets, 4 * MIB, 4 << 10),
    FuzzTarget::new("kallsyms", kallsyms::file, MIB, 64),
    #[cfg(feature = "source-lines")]
    FuzzTarget::new("debug_information", debug_information::file, 24 * MIB, 1100),
    FuzzTarget::new("btf", btf::types, MIB, 80),
    FuzzTarget::new("control", control::answers, MIB, 256),
    FuzzTarget::new("arguments", arguments::extcap, MIB, 256),
];
