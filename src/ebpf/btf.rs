//! Parses BTF, the kernel's description of its own types (Documentation/bpf/btf.rst): the offsets of
//! structure members, the values of enumerations, the number of a tracepoint's arguments.
//!
//! The bytes come from `/sys/kernel/btf`, but they are not trusted: any bytes give a result or an error,
//! and every search is bounded.

use std::ops::Range;

/// The number of a type. 0 is `void`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(pub u32);

/// The kinds of types that are looked for by name (`BTF_KIND_` of linux/btf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedKind {
    /// `struct name`
    Struct,
    /// `typedef … name`
    Typedef,
}

impl NamedKind {
    fn number(self) -> u32 {
        match self {
            Self::Struct => kind::STRUCT,
            Self::Typedef => kind::TYPEDEF,
        }
    }
}

/// `BTF_KIND_` of linux/btf.h.
mod kind {
    pub const INT: u32 = 1;
    pub const POINTER: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FORWARD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNCTION: u32 = 12;
    pub const PROTOTYPE: u32 = 13;
    pub const VARIABLE: u32 = 14;
    pub const SECTION: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECLARATION_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// The reason for which bytes are not readable BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The magic number is missing, or is another byte order's.
    #[error("this is not BTF of this machine's byte order")]
    Magic,
    /// A section or a type is longer than the bytes that are there.
    #[error("BTF is truncated")]
    Cut,
    /// A kind whose length is unknown.
    #[error("BTF has a type of the unknown kind {0}")]
    UnknownKind(u32),
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the structure's beginning.
    pub offset: u32,
    /// Bytes that it takes.
    pub size: u32,
}

/// A bit field that lies within a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitField {
    /// Bytes from the structure's beginning.
    pub offset: u32,
    /// Its bits in that byte.
    pub mask: u8,
}

/// The place of a member.
#[derive(Clone, Copy)]
struct MemberPlace {
    /// Bits from the structure's beginning.
    bits: u32,
    /// The bits of a bit field; 0 where it is none.
    width: u32,
    of: TypeId,
}

/// The types of vmlinux, or of a module, which continue those of vmlinux.
pub struct Btf<'a> {
    base: Option<&'a Btf<'a>>,
    types: &'a [u8],
    strings: &'a [u8],
    /// The offset of each type in `types`.
    positions: Vec<u32>,
}

const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_type`, in front of what its kind adds.
const TYPE_LEN: usize = 12;
/// The longest chain of typedefs and qualifiers that is followed.
const MAX_CHAIN: usize = 32;
/// The depth to which structures without a name are searched for a member, and the members in all.
const MAX_DEPTH: usize = 16;
const MAX_MEMBERS: usize = 100_000;
/// The most bytes of a name (`KSYM_NAME_LEN`, linux/kallsyms.h, with the zero at its end). Many types may share one
/// name: without a bound, each of them would cost the time and the memory of all bytes of the names.
const MAX_NAME: usize = 512;

impl<'a> Btf<'a> {
    /// Reads the types of vmlinux.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        Self::new(bytes, None)
    }

    /// Reads the types of a module. Numbers of types and positions of names go on where those of
    /// vmlinux end.
    pub fn parse_module(bytes: &'a [u8], vmlinux: &'a Btf<'a>) -> Result<Self, BtfError> {
        Self::new(bytes, Some(vmlinux))
    }

    fn new(bytes: &'a [u8], base: Option<&'a Btf<'a>>) -> Result<Self, BtfError> {
        // struct btf_header: magic, version, flags, length; types and strings, offset and length each.
        if half(bytes, 0) != Some(MAGIC) {
            return Err(BtfError::Magic);
        }
        let section = |at: usize| {
            let [header, offset, len] = [4, at, at + 4].map(|at| word(bytes, at));
            let start = (header? as usize).checked_add(offset? as usize)?;
            bytes.get(start..start.checked_add(len? as usize)?)
        };
        let types = section(8).ok_or(BtfError::Cut)?;
        let strings = section(16).ok_or(BtfError::Cut)?;
        let mut positions = Vec::new();
        let mut at = 0;
        while at < types.len() {
            positions.push(u32::try_from(at).map_err(|_| BtfError::Cut)?);
            let info = word(types, at + 4).ok_or(BtfError::Cut)?;
            let more = added_len(info).ok_or(BtfError::UnknownKind(kind_of(info)))?;
            at += TYPE_LEN + more;
        }
        if at != types.len() {
            return Err(BtfError::Cut);
        }
        Ok(Self {
            base,
            types,
            strings,
            positions,
        })
    }

    /// Returns the first type of this kind and name.
    pub fn find(&self, kind: NamedKind, name: &str) -> Option<TypeId> {
        let mut all = self.own(|number| number == kind.number());
        let found = all.find(|one| self.name(one.name_offset) == Some(name.as_bytes()));
        found.map(|found| found.id)
    }

    /// Returns the member at a path (`nd_net.net`). The members of anonymous structures and unions count as
    /// those of the structure around them, as in C. A member that reaches out of the structure is none.
    pub fn member(&self, structure: TypeId, path: &str) -> Option<Member> {
        let mut budget = MAX_MEMBERS;
        let mut place = Member { offset: 0, size: 0 };
        let mut of = structure;
        for name in path.split('.') {
            if name.is_empty() {
                return None;
            }
            let found = self.find_member(of, name.as_bytes(), MAX_DEPTH, &mut budget)?;
            place.offset = place.offset.checked_add(found.bits / 8)?;
            of = found.of;
        }
        place.size = self.size(of)?;
        let end = place.offset.checked_add(place.size)?;
        (end <= self.size(structure)?).then_some(place)
    }

    /// Returns the bit field of this name, looked for through members without a name; `None` where it is
    /// no bit field, or takes several bytes.
    pub fn bit_field(&self, of: TypeId, name: &str) -> Option<BitField> {
        let found = self.find_member(of, name.as_bytes(), MAX_DEPTH, &mut { MAX_MEMBERS })?;
        let first = found.bits % 8;
        let end = first + found.width;
        if found.width == 0 || end > 8 {
            return None;
        }
        // Bits are counted from the lowest one, or on big-endian machines from the highest.
        let shift = if cfg!(target_endian = "little") {
            first
        } else {
            8 - end
        };
        let mask = ((1 << found.width) - 1) << shift;
        Some(BitField {
            offset: found.bits / 8,
            mask: u8::try_from(mask).ok()?,
        })
    }

    /// Returns the number of arguments that a tracepoint passes to its programs: those of the prototype
    /// after `btf_trace_NAME`, without the first.
    pub fn tracepoint_arguments(&self, tracepoint: TypeId) -> Option<usize> {
        let pointer = self.resolve(tracepoint)?;
        let prototype = self.resolve(TypeId(pointer.reference()))?;
        let is_prototype = pointer.kind() == kind::POINTER && prototype.kind() == kind::PROTOTYPE;
        prototype.members().checked_sub(1).filter(|_| is_prototype)
    }

    /// Calls `take` with each enumerator of the enumerations that `is_wanted` by their names, except of the base:
    /// the name of the enumeration, the name and the value. Values of more than 32 bits are left out.
    pub fn each_enumerator(
        &self,
        is_wanted: impl Fn(&[u8]) -> bool,
        mut take: impl FnMut(&'a [u8], &'a [u8], u32),
    ) {
        for one in self.own(|number| matches!(number, kind::ENUM | kind::ENUM64)) {
            let len = match one.kind() {
                kind::ENUM => 8,
                kind::ENUM64 => 12,
                _ => continue,
            };
            let Some(name) = self.name(one.name_offset).filter(|name| is_wanted(name)) else {
                continue;
            };
            for member in one.added.chunks_exact(len) {
                // name, value, and of an ENUM64 the value's upper half.
                let is_small = len == 8 || word(member, 8) == Some(0);
                let member_name = word(member, 0).and_then(|at| self.name(at));
                if let (Some(member_name), Some(value), true) =
                    (member_name, word(member, 4), is_small)
                {
                    take(name, member_name, value);
                }
            }
        }
    }

    /// Returns the place and the type of a member.
    fn find_member(
        &self,
        of: TypeId,
        name: &[u8],
        depth: usize,
        budget: &mut usize,
    ) -> Option<MemberPlace> {
        let depth = depth.checked_sub(1)?;
        let structure = self.resolve(of)?;
        if !matches!(structure.kind(), kind::STRUCT | kind::UNION) {
            return None;
        }
        for member in structure.added.chunks_exact(12) {
            *budget = budget.checked_sub(1)?;
            let [at, id, bits] = [0, 4, 8].map(|at| word(member, at));
            let (id, bits) = (TypeId(id?), bits?);
            // With bit fields, the upper byte is the member's width.
            let (bits, width) = if structure.has_bit_fields() {
                (bits & 0x00ff_ffff, bits >> 24)
            } else {
                (bits, 0)
            };
            match self.name(at?) {
                Some(found) if found == name => {
                    return Some(MemberPlace {
                        bits,
                        width,
                        of: id,
                    });
                }
                Some([]) => {
                    if let Some(inner) = self.find_member(id, name, depth, budget) {
                        let bits = bits.checked_add(inner.bits)?;
                        return Some(MemberPlace { bits, ..inner });
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn size(&self, id: TypeId) -> Option<u32> {
        let mut count = 1_u32;
        let mut id = id;
        for _ in 0..MAX_CHAIN {
            let one = self.resolve(id)?;
            let size = match one.kind() {
                kind::POINTER => 8,
                kind::INT
                | kind::STRUCT
                | kind::UNION
                | kind::ENUM
                | kind::ENUM64
                | kind::FLOAT => one.reference(),
                kind::ARRAY => {
                    // struct btf_array: type, index type, number of elements.
                    id = TypeId(word(one.added, 0)?);
                    count = count.checked_mul(word(one.added, 8)?)?;
                    continue;
                }
                _ => return None,
            };
            return size.checked_mul(count);
        }
        None
    }

    /// Returns the type after typedefs and qualifiers.
    fn resolve(&self, id: TypeId) -> Option<Type<'a>> {
        let mut one = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            match one.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    one = self.get(TypeId(one.reference()))?;
                }
                _ => return Some(one),
            }
        }
        None
    }

    fn get(&self, id: TypeId) -> Option<Type<'a>> {
        let first = self.first_id();
        let Some(index) = id.0.checked_sub(first) else {
            return self.base?.get(id);
        };
        let at = *self.positions.get(index as usize)? as usize;
        Type::new(self.types, at, id)
    }

    /// Returns the types of these kinds, except of the base. Most types are of other kinds, and vmlinux has 135,000:
    /// to read each of them whole takes 30 instructions more.
    fn own(&self, is_wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = Type<'a>> {
        let first = self.first_id();
        let all = (first..).zip(&self.positions);
        all.filter_map(move |(id, &at)| {
            let at = at as usize;
            let is_one = is_wanted(kind_of(word(self.types, at + 4)?));
            is_one.then(|| Type::new(self.types, at, TypeId(id)))?
        })
    }

    /// Returns the number of the first type in `types`. `void`, number 0, is in none.
    fn first_id(&self) -> u32 {
        let count = |base: &Btf<'_>| u32::try_from(base.positions.len()).unwrap_or(u32::MAX);
        self.base.map_or(0, count).saturating_add(1)
    }

    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        let before = self.base.map_or(0, |base| base.strings.len());
        let offset = offset as usize;
        let text = match offset.checked_sub(before) {
            Some(own) => self.strings.get(own..)?,
            None => self.base?.strings.get(offset..)?,
        };
        let end = memchr::memchr(0, &text[..text.len().min(MAX_NAME)])?;
        Some(&text[..end])
    }
}

/// `struct btf_type`, and the data that its kind adds.
#[derive(Clone, Copy)]
struct Type<'a> {
    id: TypeId,
    name_offset: u32,
    info: u32,
    /// Its size, or the type that it refers to.
    third: u32,
    added: &'a [u8],
}

impl<'a> Type<'a> {
    fn new(types: &'a [u8], at: usize, id: TypeId) -> Option<Self> {
        let [name_offset, info, third] = [at, at + 4, at + 8].map(|at| word(types, at));
        let added: Range<usize> = at + TYPE_LEN..at + TYPE_LEN + added_len(info?)?;
        Some(Self {
            id,
            name_offset: name_offset?,
            info: info?,
            third: third?,
            added: types.get(added)?,
        })
    }

    fn kind(self) -> u32 {
        kind_of(self.info)
    }

    fn members(self) -> usize {
        members_of(self.info)
    }

    fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }

    fn reference(self) -> u32 {
        self.third
    }
}

fn kind_of(info: u32) -> u32 {
    info >> 24 & 0x1f
}

fn members_of(info: u32) -> usize {
    (info & 0xffff) as usize
}

/// Returns the length of the data after `struct btf_type`; `None` for an unknown kind.
fn added_len(info: u32) -> Option<usize> {
    Some(match kind_of(info) {
        kind::INT | kind::VARIABLE | kind::DECLARATION_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::SECTION | kind::ENUM64 => 12 * members_of(info),
        kind::ENUM | kind::PROTOTYPE => 8 * members_of(info),
        kind::POINTER
        | kind::FORWARD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNCTION
        | kind::FLOAT
        | kind::TYPE_TAG => 0,
        _ => return None,
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;
