//! ELF files of a few sections, written by hand (elf(5)): what no compiler makes.

/// Where the code begins.
pub const START: u64 = 0xffff_ffff_8100_0000;

/// Bytes of a section header, a symbol and the file's header.
const HEADER: usize = 64;

struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    address: u64,
    content: Vec<u8>,
    /// The size of code whose bytes are not there.
    size: u64,
    link: u32,
    entry: u64,
}

impl Section {
    fn new(name: &'static str, kind: u32, content: Vec<u8>) -> Self {
        Self {
            name,
            kind,
            flags: 0,
            address: 0,
            size: content.len() as u64,
            content,
            link: 0,
            entry: 0,
        }
    }

    /// `SHT_NOBITS` with `SHF_ALLOC` and `SHF_EXECINSTR`.
    fn code(address: u64, size: u64) -> Self {
        Self {
            flags: 6,
            address,
            size,
            ..Self::new(".text", 8, Vec::new())
        }
    }
}

/// A linked kernel with so many functions of 16 bytes each.
pub fn with_functions(number: usize, name: impl Fn(usize) -> String) -> Vec<u8> {
    let symbols = (0..number).map(|at| (name(at), 1, START + 16 * at as u64));
    let (table, names) = symbol_table(symbols);
    file(
        2,
        vec![Section::code(START, 16 * number as u64)],
        table,
        names,
    )
}

/// A module with so many sections of code, and a symbol in each.
pub fn with_sections(number: usize) -> Vec<u8> {
    let sections = (0..number).map(|_| Section::code(0, 16)).collect();
    let symbols = (0..number).map(|at| ("function".into(), u16::try_from(at + 1).unwrap(), 0));
    let (table, names) = symbol_table(symbols);
    file(1, sections, table, names)
}

/// A kernel whose debug information claims to have so many bytes when it is unpacked.
pub fn with_claim(kind: u32, claim: u64, packed: &[u8]) -> Vec<u8> {
    let mut content = kind.to_le_bytes().to_vec();
    content.extend([0; 4]);
    content.extend(claim.to_le_bytes());
    content.extend(1_u64.to_le_bytes());
    content.extend(packed);
    let info = Section {
        // `SHF_COMPRESSED`
        flags: 0x800,
        ..Section::new(".debug_info", 1, content)
    };
    let (table, names) = symbol_table([("function".into(), 1, START)].into_iter());
    file(2, vec![Section::code(START, 16), info], table, names)
}

/// The symbols (`STT_FUNC`, 16 bytes each) of names, section numbers and addresses, and their names.
fn symbol_table(symbols: impl Iterator<Item = (String, u16, u64)>) -> (Vec<u8>, Vec<u8>) {
    let (mut table, mut names) = (vec![0; 24], vec![0]);
    for (name, section, address) in symbols {
        table.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
        table.extend([2, 0]);
        table.extend(section.to_le_bytes());
        table.extend(address.to_le_bytes());
        table.extend(16_u64.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    (table, names)
}

/// A file for x86-64 with these sections, symbols, and empty debug information where there is none.
fn file(kind: u16, mut sections: Vec<Section>, table: Vec<u8>, names: Vec<u8>) -> Vec<u8> {
    for name in [".debug_info", ".debug_line"] {
        if !sections.iter().any(|section| section.name == name) {
            sections.push(Section::new(name, 1, Vec::new()));
        }
    }
    let strings = u32::try_from(sections.len() + 2).unwrap();
    sections.push(Section {
        link: strings,
        entry: 24,
        ..Section::new(".symtab", 2, table)
    });
    sections.push(Section::new(".strtab", 3, names));
    let mut section_names = vec![0];
    let mut headers = vec![0; HEADER];
    let mut content = Vec::new();
    sections.push(Section::new(".shstrtab", 3, Vec::new()));
    let last = sections.len();
    for (number, section) in sections.into_iter().enumerate() {
        headers.extend(u32::try_from(section_names.len()).unwrap().to_le_bytes());
        section_names.extend(section.name.as_bytes());
        section_names.push(0);
        let is_names = number + 1 == last;
        let bytes = if is_names {
            section_names.clone()
        } else {
            section.content
        };
        let size = if is_names {
            bytes.len() as u64
        } else {
            section.size
        };
        headers.extend(section.kind.to_le_bytes());
        for word in [
            section.flags,
            section.address,
            (HEADER + content.len()) as u64,
            size,
        ] {
            headers.extend(word.to_le_bytes());
        }
        headers.extend(section.link.to_le_bytes());
        headers.extend([0; 4]);
        headers.extend(1_u64.to_le_bytes());
        headers.extend(section.entry.to_le_bytes());
        content.extend(bytes);
    }
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend(kind.to_le_bytes());
    file.extend(62_u16.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend([0; 16]);
    file.extend(((HEADER + content.len()) as u64).to_le_bytes());
    file.extend([0; 4]);
    for half in [
        64_u16,
        0,
        0,
        64,
        u16::try_from(last + 1).unwrap(),
        u16::try_from(last).unwrap(),
    ] {
        file.extend(half.to_le_bytes());
    }
    [file, content, headers].concat()
}
