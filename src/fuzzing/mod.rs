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
///
/// A program of `fuzz/` names one of them, and has the code of that one alone: after every input, libFuzzer reads the
/// counters of all the code that the program has.
pub const TARGETS: &[FuzzTarget] = &[
    ALERTS,
    PCAPNG,
    PCAP,
    COMPRESSED,
    FILTER_TEXT,
    FILTER_PACKETS,
    KALLSYMS,
    #[cfg(feature = "source-lines")]
    DEBUG_INFORMATION,
    BTF,
    CONTROL,
    ARGUMENTS,
];

/// The messages in which the drop monitor reports drops.
pub const ALERTS: FuzzTarget = FuzzTarget::new("alerts", alerts::datagram, 4 * MIB, 64);
/// A pcapng file.
pub const PCAPNG: FuzzTarget = FuzzTarget::new("pcapng", captures::pcapng, 8 * MIB, 256);
/// A pcap file.
pub const PCAP: FuzzTarget = FuzzTarget::new("pcap", captures::pcap, 8 * MIB, 256);
/// A compressed capture file.
pub const COMPRESSED: FuzzTarget =
    FuzzTarget::new("compressed", captures::compressed, 64 * MIB, 256);
/// A filter's text.
pub const FILTER_TEXT: FuzzTarget =
    FuzzTarget::new("filter_text", filters::text, 4 * MIB, 16 << 10);
/// A filter, and a packet that it decides about.
pub const FILTER_PACKETS: FuzzTarget =
    FuzzTarget::new("filter_packets", filters::packets, 4 * MIB, 4 << 10);
/// The kernel's list of its symbols.
pub const KALLSYMS: FuzzTarget = FuzzTarget::new("kallsyms", kallsyms::file, MIB, 64);
/// An ELF file with line numbers.
#[cfg(feature = "source-lines")]
pub const DEBUG_INFORMATION: FuzzTarget =
    FuzzTarget::new("debug_information", debug_information::file, 24 * MIB, 1100);
/// The kernel's description of its types.
pub const BTF: FuzzTarget = FuzzTarget::new("btf", btf::types, MIB, 80);
/// The kernel's answers to commands.
pub const CONTROL: FuzzTarget = FuzzTarget::new("control", control::answers, MIB, 256);
/// Wireshark's arguments.
pub const ARGUMENTS: FuzzTarget = FuzzTarget::new("arguments", arguments::extcap, MIB, 256);
