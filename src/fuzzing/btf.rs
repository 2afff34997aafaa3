//! The kernel's description of its own types.

use crate::ebpf::btf::{BitField, Btf, Member, NamedKind, TypeId};
use crate::ebpf::layout::KernelLayout;
use crate::ebpf::reasons::Reasons;

/// `BTF_KIND_` of linux/btf.h.
mod kind {
    pub const POINTER: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const PROTOTYPE: u32 = 13;
    pub const ENUM64: u32 = 19;
    /// Those that stand for the type they refer to: typedef, volatile, const, restrict, type tag.
    pub const PASSED: [u32; 5] = [8, 9, 10, 11, 18];
    /// Those that state their size: int, struct, union, enum, float, enum64.
    pub const SIZED: [u32; 6] = [1, 4, 5, 6, 16, 19];
}

/// The most types of a kind, and members of each, that are looked up.
const LOOKED_UP: usize = 8;
/// The most members of a structure for the plain reader, and the deepest nesting: far below the parser's own bounds.
const MANY: usize = 2000;
const DEEP: usize = 12;

/// Looks up in types what the eBPF programs need of them, and compares what is found with what a plain reader finds.
pub fn types(bytes: &[u8]) {
    let Ok(vmlinux) = Btf::parse(bytes) else {
        return;
    };
    let mut plain = PlainTypes::default();
    plain.read(bytes);
    look(&vmlinux);
    compare(&vmlinux, &plain);
    // The same bytes as a module's, whose numbers go on.
    if let Ok(module) = Btf::parse_module(bytes, &vmlinux) {
        plain.read(bytes);
        look(&module);
        compare(&module, &plain);
    }
}

fn look(types: &Btf<'_>) {
    if let Ok(layout) = KernelLayout::find(types) {
        for field in layout.fields() {
            assert!(i32::from(field.offset) >= 0);
        }
    }
    let mut names = Reasons::empty();
    names.learn(types);
    for (number, name) in names.known().take(100) {
        assert!(!name.is_empty(), "{number}");
    }
}

fn compare(types: &Btf<'_>, plain: &PlainTypes<'_>) {
    for (kind, number) in [
        (NamedKind::Struct, kind::STRUCT),
        (NamedKind::Typedef, kind::TYPEDEF),
    ] {
        for (id, name) in plain.named(number).take(LOOKED_UP) {
            let first = plain.named(number).find(|(_, other)| *other == name);
            if let (Ok(name), Some((first, _))) = (str::from_utf8(name), first) {
                assert_eq!(types.find(kind, name), Some(TypeId(first)), "{name}");
            }
            assert_eq!(
                types.tracepoint_arguments(TypeId(id)),
                plain.tracepoint_arguments(id)
            );
            if let Some(members) = plain.members(id) {
                for member in members.iter().take(LOOKED_UP) {
                    compare_member(types, plain, id, &members, member);
                }
            }
        }
    }
    let mut enumerators = Vec::new();
    types.each_enumerator(
        |_| true,
        |name, member, value| enumerators.push((name, member, value)),
    );
    assert_eq!(enumerators, plain.enumerators());
}

/// Compares a member of a structure, and the members of that.
fn compare_member(
    types: &Btf<'_>,
    plain: &PlainTypes<'_>,
    structure: u32,
    members: &[PlainMember<'_>],
    member: &PlainMember<'_>,
) {
    let id = TypeId(structure);
    let first = members.iter().find(|other| other.name == member.name);
    let (Some(first), Some(name)) = (first, step(member.name)) else {
        return;
    };
    assert_eq!(types.bit_field(id, name), first.bit_field(), "{name}");
    let (Ok(size), Ok(whole)) = (plain.size(first.of), plain.size(structure)) else {
        return;
    };
    let is_inside = |member: &Member| {
        let end = u64::from(member.offset) + u64::from(member.size);
        whole.is_some_and(|whole| end <= u64::from(whole))
    };
    let offset = first.bits / 8;
    let expected = size.map(|size| Member { offset, size }).filter(is_inside);
    assert_eq!(types.member(id, name), expected, "{name}");
    let Some(inner) = plain.members(first.of) else {
        return;
    };
    if let Some(second) = inner.first()
        && let Some(next) = step(second.name)
        && let Ok(size) = plain.size(second.of)
    {
        let expected = size.and_then(|size| {
            let offset = offset.checked_add(second.bits / 8)?;
            Some(Member { offset, size })
        });
        let path = format!("{name}.{next}");
        let found = types.member(id, &path);
        assert_eq!(found, expected.filter(is_inside), "{path}");
    }
}

/// Returns a name that can be a step of a path.
fn step(name: &[u8]) -> Option<&str> {
    let name = str::from_utf8(name).ok()?;
    (!name.is_empty() && !name.contains('.')).then_some(name)
}

/// The types of BTF that the parser took, read without its shortcuts: the types of a module follow those of vmlinux in
/// one list, and the members of anonymous structures those of the structure around them.
#[derive(Default)]
struct PlainTypes<'a> {
    /// The first type is number 1.
    types: Vec<PlainType<'a>>,
    /// The number of those of vmlinux in front of a module's own.
    before: usize,
    /// The names of vmlinux, and of the module.
    names: Vec<&'a [u8]>,
}

struct PlainType<'a> {
    name: u32,
    info: u32,
    /// Its size, or the type that it refers to.
    third: u32,
    added: &'a [u8],
}

impl PlainType<'_> {
    fn kind(&self) -> u32 {
        self.info >> 24 & 31
    }

    /// Returns the words after those that all types have.
    fn words(&self) -> Vec<u32> {
        words(self.added)
    }
}

/// A member that C code can name.
struct PlainMember<'a> {
    name: &'a [u8],
    /// Bits from the beginning of the structure.
    bits: u32,
    /// The bits of a bit field, or 0.
    width: u32,
    of: u32,
}

impl PlainMember<'_> {
    fn bit_field(&self) -> Option<BitField> {
        let bits = self.bits % 8..self.bits % 8 + self.width;
        if bits.is_empty() || bits.end > 8 {
            return None;
        }
        let in_byte = |bit: u32| {
            if cfg!(target_endian = "little") {
                1 << bit
            } else {
                0x80 >> bit
            }
        };
        Some(BitField {
            offset: self.bits / 8,
            mask: bits.map(in_byte).fold(0, |mask, bit: u8| mask | bit),
        })
    }
}

/// The plain reader gives no answer: it would be beyond the parser's bounds, or is beyond its own.
struct TooMuch;

impl<'a> PlainTypes<'a> {
    /// Adds the types and the names of a file.
    fn read(&mut self, bytes: &'a [u8]) {
        self.before = self.types.len();
        let header = words(&bytes[..24]);
        let section = |at: usize| {
            let start = (header[1] + header[at]) as usize;
            &bytes[start..start + header[at + 1] as usize]
        };
        let mut rest = section(2);
        while let Some((first, after)) = rest.split_at_checked(12) {
            let [name, info, third] = words(first)[..] else {
                break;
            };
            let count = (info & 0xffff) as usize;
            let len = match info >> 24 & 31 {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * count,
                6 | 13 => 8 * count,
                _ => 0,
            };
            let (added, after) = after.split_at(len);
            self.types.push(PlainType {
                name,
                info,
                third,
                added,
            });
            rest = after;
        }
        self.names.push(section(4));
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        let mut at = at as usize;
        for names in &self.names {
            if at < names.len() {
                let end = names[at..].iter().position(|byte| *byte == 0)?;
                // `KSYM_NAME_LEN`, with the zero.
                return (end < 512).then(|| &names[at..at + end]);
            }
            at -= names.len();
        }
        None
    }

    fn get(&self, id: u32) -> Option<&PlainType<'a>> {
        self.types.get((id as usize).checked_sub(1)?)
    }

    /// Returns the types of a kind that have a name and are not those of vmlinux: number and name.
    fn named(&self, kind: u32) -> impl Iterator<Item = (u32, &'a [u8])> {
        let all = (1..).zip(&self.types).skip(self.before);
        let all = all.filter(move |(_, one)| one.kind() == kind);
        all.filter_map(|(id, one)| Some((id, self.name(one.name)?)))
    }

    /// Returns the type after typedefs and qualifiers. More than the parser follows are not worth a comparison: it
    /// finds none, as here.
    fn resolve(&self, id: u32) -> Option<&PlainType<'a>> {
        let mut one = self.get(id)?;
        for _ in 0..32 {
            if !kind::PASSED.contains(&one.kind()) {
                return Some(one);
            }
            one = self.get(one.third)?;
        }
        None
    }

    /// Returns the bytes that a type takes; `Ok(None)` if it has no size.
    fn size(&self, mut id: u32) -> Result<Option<u32>, TooMuch> {
        let mut count = 1_u32;
        for _ in 0..DEEP {
            let Some(one) = self.resolve(id) else {
                return Ok(None);
            };
            let of_one = match one.kind() {
                kind::POINTER => 8,
                kind::ARRAY => {
                    let array = one.words();
                    id = array[0];
                    count = count.checked_mul(array[2]).ok_or(TooMuch)?;
                    continue;
                }
                sized if kind::SIZED.contains(&sized) => one.third,
                _ => return Ok(None),
            };
            return Ok(of_one.checked_mul(count));
        }
        Err(TooMuch)
    }

    /// Returns all members of a structure that C code can name, in their order; `None` if it is none, or too large.
    fn members(&self, structure: u32) -> Option<Vec<PlainMember<'a>>> {
        let mut found = Vec::new();
        self.add_members(structure, 0, DEEP, &mut found, &mut { MANY })
            .ok()?;
        Some(found)
    }

    fn add_members(
        &self,
        structure: u32,
        base: u32,
        depth: usize,
        found: &mut Vec<PlainMember<'a>>,
        budget: &mut usize,
    ) -> Result<(), TooMuch> {
        let depth = depth.checked_sub(1).ok_or(TooMuch)?;
        let Some(structure) = self.resolve(structure) else {
            return Ok(());
        };
        if ![kind::STRUCT, kind::UNION].contains(&structure.kind()) {
            return Ok(());
        }
        let has_bit_fields = structure.info >> 31 == 1;
        for member in structure.words().chunks(3) {
            *budget = budget.checked_sub(1).ok_or(TooMuch)?;
            let (mut bits, mut width) = (member[2], 0);
            if has_bit_fields {
                width = bits >> 24;
                bits &= 0x00ff_ffff;
            }
            let bits = base.checked_add(bits).ok_or(TooMuch)?;
            let of = member[1];
            match self.name(member[0]) {
                None => {}
                Some([]) => self.add_members(of, bits, depth, found, budget)?,
                Some(name) => found.push(PlainMember {
                    name,
                    bits,
                    width,
                    of,
                }),
            }
        }
        Ok(())
    }

    /// Returns the number of arguments after the first of the function that a type points to.
    fn tracepoint_arguments(&self, id: u32) -> Option<usize> {
        let pointer = self.resolve(id)?;
        if pointer.kind() != kind::POINTER {
            return None;
        }
        let function = self.resolve(pointer.third)?;
        let is_function = function.kind() == kind::PROTOTYPE && !function.added.is_empty();
        is_function.then(|| function.added.len() / 8 - 1)
    }

    /// Returns the enumerators that are not those of vmlinux: the enumeration, the name, the value.
    fn enumerators(&self) -> Vec<(&'a [u8], &'a [u8], u32)> {
        let mut found = Vec::new();
        for one in &self.types[self.before..] {
            let len = match one.kind() {
                kind::ENUM => 2,
                kind::ENUM64 => 3,
                _ => continue,
            };
            for enumerator in one.words().chunks(len) {
                if let (Some(enumeration), Some(name), [.., 0] | [_, _]) =
                    (self.name(one.name), self.name(enumerator[0]), enumerator)
                {
                    found.push((enumeration, name, enumerator[1]));
                }
            }
        }
        found
    }
}

/// Returns bytes as words of this machine's byte order.
fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().copied().map(u32::from_ne_bytes).collect()
}
