//! Has the kernel name its own addresses, as its drop monitor and its messages name them (`%pS`).
//!
//! A program formats one address each time it is run. Unlike `/proc/kallsyms` that takes microseconds, shows
//! names whoever asks and whatever the kernel hides, knows modules that were loaded just now, and knows where
//! the last function of a module ends.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::assembler::{
    AccessSize, AluOp, EbpfOperand, EbpfProgram, Helper, JumpCondition, Map, ProgramAssembler,
    Register,
};
use crate::sys::bpf::{self, ArrayMap};

/// The format in which the kernel prints an address.
const FORMAT: &[u8; 8] = b"%pS\0\0\0\0\0";
/// Bytes of the address in front of the text.
const ADDRESS_LEN: u16 = 8;
/// Bytes of the map's value: more than the address and the longest text, of a name (`KSYM_NAME_LEN`), a module
/// (`MODULE_NAME_LEN`) and two numbers (`KSYM_SYMBOL_LEN` of linux/kallsyms.h).
const VALUE_LEN: u16 = 1024;

/// The program, and its input and output.
pub struct AddressNames {
    program: OwnedFd,
    map: ArrayMap,
    value: Vec<u8>,
}

impl AddressNames {
    /// Loads the program.
    pub fn new() -> io::Result<Self> {
        let map = ArrayMap::new(VALUE_LEN.into(), 1)?;
        let format = ArrayMap::constant(FORMAT)?;
        let fd = |name| match name {
            Map::Name => map.as_fd().as_raw_fd(),
            Map::Format => format.as_fd().as_raw_fd(),
            _ => -1,
        };
        let program = bpf::load_syscall(&naming_program().encode(fd))?;
        Ok(Self {
            program,
            map,
            value: Vec::new(),
        })
    }

    /// Returns the name of an address: `gre_rcv+0x41/0xb0 [gre]`; `None` where the kernel knows none.
    pub fn find(&mut self, address: u64) -> io::Result<Option<&[u8]>> {
        self.value.clear();
        self.value.extend(address.to_ne_bytes());
        self.value.resize(VALUE_LEN.into(), 0);
        self.map.set(0, &self.value)?;
        let len = bpf::run(self.program.as_fd())?;
        self.map.get(0, &mut self.value)?;
        let text = self.value.get(ADDRESS_LEN.into()..).unwrap_or_default();
        // With the NUL; an error is negative.
        let len = usize::try_from(len).ok().and_then(|len| len.checked_sub(1));
        let text = len.and_then(|len| text.get(..len));
        let text = text.ok_or(io::ErrorKind::InvalidData)?;
        // For what is no function it prints the number.
        let is_name = !text.is_empty() && !text.starts_with(b"0x");
        Ok(is_name.then_some(text))
    }
}

/// Writes the program: formats the number at the beginning of [`Map::Name`]'s value into the rest of it, and
/// returns the length.
fn naming_program() -> EbpfProgram {
    const VALUE: Register = Register(6);
    const STACK: Register = Register(10);
    const KEY_AT: i16 = -4;
    let [r0, r1, r2, r3, r4, r5] = [0, 1, 2, 3, 4, 5].map(Register);
    let mut asm = ProgramAssembler::default();
    let end = asm.label();
    let number = EbpfOperand::Number;
    let register = EbpfOperand::Register;
    let value = |asm: &mut ProgramAssembler, map| {
        asm.map(r1, map);
        asm.copy(r2, register(STACK));
        asm.calculate(AluOp::Add, r2, number(KEY_AT.into()));
        asm.call(Helper::MapLookUp);
        asm.branch(JumpCondition::Equal, r0, number(0), end);
    };
    asm.store(AccessSize::Word, STACK, KEY_AT, number(0));
    value(&mut asm, Map::Name);
    asm.copy(VALUE, register(r0));
    value(&mut asm, Map::Format);
    asm.copy(r3, register(r0));
    asm.copy(r1, register(VALUE));
    asm.calculate(AluOp::Add, r1, number(ADDRESS_LEN.into()));
    asm.copy(r2, number(i32::from(VALUE_LEN) - i32::from(ADDRESS_LEN)));
    asm.copy(r4, register(VALUE));
    asm.copy(r5, number(ADDRESS_LEN.into()));
    asm.call(Helper::Format);
    asm.bind(end);
    asm.exit();
    asm.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use crate::ebpf::tests::check;
    use crate::symbol::kallsyms::Kallsyms;

    #[test]
    fn the_listing_is_as_expected() {
        check("names.listing", &naming_program().to_string());
    }

    /// Skipped, aloud, where this process may load no program, or not see the kernel's addresses.
    #[test]
    fn the_kernel_names_its_functions_as_kallsyms_does() {
        let text = fs::read("/proc/kallsyms").unwrap_or_default();
        let skipped = |why: &str| {
            // Not by eprintln!, whose text a passing test does not show.
            writeln!(io::stderr(), "SKIPPED: {why}").unwrap();
        };
        let Ok(Kallsyms::Visible(functions)) = Kallsyms::read(&text[..]) else {
            return skipped("the kernel hides its addresses");
        };
        let mut names = match AddressNames::new() {
            Ok(names) => names,
            Err(error) => return skipped(&format!("no program can be loaded: {error}")),
        };
        let mut count = 0;
        for line in text.split(|&byte| byte == b'\n').step_by(101) {
            let line = String::from_utf8_lossy(line);
            let address = line.split(' ').next().unwrap_or_default();
            let address = u64::from_str_radix(address, 16).unwrap_or(0) + 1;
            let (Some(found), true) = (functions.find(address), line.contains(" t ")) else {
                continue;
            };
            let name = names.find(address).unwrap();
            let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            assert_eq!(name, found.to_string(), "{address:#x}");
            count += 1;
        }
        assert!(count > 100, "{count}");
        assert_eq!(names.find(1).unwrap(), None);
    }
}
