//! Runs a classic BPF program on a packet, as the kernel does (linux/filter.h): for filters that are made of one.

/// The most instructions that are executed. A program has at most 4,096, and no loop.
const MAX_STEPS: usize = 4096;
/// Words of memory (`BPF_MEMWORDS`).
const MEMORY: usize = 16;

/// An instruction: code, jump if true, jump if false, operand.
pub type ClassicInstruction = (u16, u8, u8, u32);

/// The end of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassicResult {
    /// It returned this value. A load beyond the packet's end returns 0.
    Returned(u32),
    /// It depends on more than the bytes of the packet that are known.
    Undecided,
}

/// Runs a program on the first bytes of a packet of this length.
pub fn run(program: &[ClassicInstruction], data: &[u8], length: u32) -> ClassicResult {
    run_known(program, data, length).map_or(ClassicResult::Undecided, ClassicResult::Returned)
}

fn run_known(program: &[ClassicInstruction], data: &[u8], length: u32) -> Option<u32> {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; MEMORY]);
    let mut at = 0_usize;
    for _ in 0..MAX_STEPS {
        let &(code, yes, no, operand) = program.get(at)?;
        at += 1;
        let slot = usize::try_from(operand).ok()?;
        let source = if code & 0x08 == 0 { operand } else { x };
        match code {
            // ld and ldx of packet bytes, absolute (0x20) or relative to X (0x40)
            0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 => {
                let size = [4, 2, 1][usize::from(code >> 3 & 3)];
                // Negative offsets are of the kernel's own facts.
                let offset = i32::try_from(operand).ok()?.unsigned_abs();
                let offset = if code & 0x40 == 0 {
                    offset
                } else {
                    offset.checked_add(x)?
                };
                match load(data, length, offset, size) {
                    LoadResult::Value(value) => a = value,
                    LoadResult::BeyondEnd => return Some(0),
                    LoadResult::NotCaptured => return None,
                }
            }
            // 4 times the low half of a byte: the length of an IPv4 header
            0xb1 => match load(data, length, operand, 1) {
                LoadResult::Value(value) => x = (value & 0xf) * 4,
                LoadResult::BeyondEnd => return Some(0),
                LoadResult::NotCaptured => return None,
            },
            0x80 => a = length,
            0x81 => x = length,
            0x00 => a = operand,
            0x01 => x = operand,
            0x60 => a = *memory.get(slot)?,
            0x61 => x = *memory.get(slot)?,
            0x02 => *memory.get_mut(slot)? = a,
            0x03 => *memory.get_mut(slot)? = x,
            0x04 | 0x0c => a = a.wrapping_add(source),
            0x14 | 0x1c => a = a.wrapping_sub(source),
            0x24 | 0x2c => a = a.wrapping_mul(source),
            0x34 | 0x3c => match a.checked_div(source) {
                Some(value) => a = value,
                None => return Some(0),
            },
            0x94 | 0x9c => match a.checked_rem(source) {
                Some(value) => a = value,
                None => return Some(0),
            },
            0x44 | 0x4c => a |= source,
            0x54 | 0x5c => a &= source,
            0xa4 | 0xac => a ^= source,
            0x64 | 0x6c => a = a.checked_shl(source)?,
            0x74 | 0x7c => a = a.checked_shr(source)?,
            0x84 => a = a.wrapping_neg(),
            0x05 => at = at.checked_add(slot)?,
            0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
                let holds = match code & 0xf0 {
                    0x10 => a == source,
                    0x20 => a > source,
                    0x30 => a >= source,
                    _ => a & source != 0,
                };
                at += usize::from(if holds { yes } else { no });
            }
            0x06 => return Some(operand),
            0x16 => return Some(a),
            0x07 => x = a,
            0x87 => a = x,
            _ => return None,
        }
    }
    None
}

/// The result of reading a number from a packet.
enum LoadResult {
    Value(u32),
    /// The packet ends before.
    BeyondEnd,
    /// That part of the packet is not known.
    NotCaptured,
}

/// Reads the number at an offset.
fn load(data: &[u8], length: u32, offset: u32, size: u32) -> LoadResult {
    let Some(end) = offset.checked_add(size).filter(|&end| end <= length) else {
        return LoadResult::BeyondEnd;
    };
    let bytes = match (usize::try_from(offset), usize::try_from(end)) {
        (Ok(offset), Ok(end)) => data.get(offset..end),
        _ => None,
    };
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte))
    };
    bytes.map_or(LoadResult::NotCaptured, |bytes| {
        LoadResult::Value(number(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_returns_what_the_kernel_would() {
        // Of a datagram to port 7000: 2; otherwise -1.
        let by_port = [
            (0x28, 0, 0, 36),
            (0x15, 0, 1, 7000),
            (0x06, 0, 0, 2),
            (0x06, 0, 0, u32::MAX),
        ];
        let mut data = vec![0; 60];
        data[36..38].copy_from_slice(&7000_u16.to_be_bytes());
        let returned = ClassicResult::Returned;
        assert_eq!(run(&by_port, &data, 60), returned(2));
        assert_eq!(run(&by_port, &data, 100), returned(2));
        data[37] += 1;
        assert_eq!(run(&by_port, &data, 60), returned(u32::MAX));
        // Beyond the packet's end it ends, beyond what was captured nobody knows.
        assert_eq!(run(&by_port, &data[..20], 20), returned(0));
        assert_eq!(run(&by_port, &data[..20], 60), ClassicResult::Undecided);
    }

    #[test]
    fn arithmetic_memory_and_jumps() {
        let check = |program: &[ClassicInstruction], expected| {
            assert_eq!(run(program, &[0x45, 1, 2, 3], 4), expected, "{program:?}");
        };
        let returned = ClassicResult::Returned;
        // The length of the header, plus that of the packet.
        let header = [
            (0xb1, 0, 0, 0),
            (0x80, 0, 0, 0),
            (0x0c, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];
        check(&header, returned(24));
        let memory = [
            (0x00, 0, 0, 7),
            (0x02, 0, 0, 3),
            (0x61, 0, 0, 3),
            (0x87, 0, 0, 0),
            (0x16, 0, 0, 0),
        ];
        check(&memory, returned(7));
        let relative = [(0x01, 0, 0, 1), (0x50, 0, 0, 2), (0x16, 0, 0, 0)];
        check(&relative, returned(3));
        check(&[(0x34, 0, 0, 0)], returned(0));
        // The kernel's own facts, a slot that is not there, no end, an unknown code.
        let unknown = ClassicResult::Undecided;
        check(&[(0x28, 0, 0, 0xffff_f000)], unknown);
        check(&[(0x02, 0, 0, 16)], unknown);
        check(&[], unknown);
        check(&[(0xff, 0, 0, 0)], unknown);
    }
}
