use proptest::prelude::*;

use super::*;
use crate::ebpf::reasons::Reasons;

/// BTF under construction: strings and types.
#[derive(Default)]
struct BtfBuilder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl BtfBuilder {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend(name.bytes().chain([0]));
        u32::try_from(at).unwrap()
    }

    /// Adds a type: its kind and count of members, its third word and what follows.
    fn add(&mut self, name: &str, kind: u32, count: u32, third: u32, added: &[u32]) {
        let name = self.name(name);
        for word in [name, kind << 24 | count, third].iter().chain(added) {
            self.types.extend(word.to_ne_bytes());
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (types, strings) = (len(&self.types), len(&self.strings));
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        [bytes, self.types.clone(), self.strings.clone()].concat()
    }
}

/// `struct outer { u32 first; struct { union { u16 small; inner_t named; }; }; u8 array[2][8]; }`, with
/// `typedef const struct inner { u32 x; u32 y:3; } inner_t`.
fn nested() -> BtfBuilder {
    let mut btf = BtfBuilder::default();
    btf.add("u32", kind::INT, 0, 4, &[32]); // 1
    btf.add("u16", kind::INT, 0, 2, &[16]); // 2
    btf.add("u8", kind::INT, 0, 1, &[8]); // 3
    let (x, y) = (btf.name("x"), btf.name("y"));
    btf.add(
        "inner",
        kind::STRUCT,
        2 | 1 << 31,
        8,
        &[x, 1, 0, y, 1, 3 << 24 | 32],
    ); // 4
    btf.add("", kind::CONST, 0, 4, &[]); // 5
    btf.add("inner_t", kind::TYPEDEF, 0, 5, &[]); // 6
    let (small, named) = (btf.name("small"), btf.name("named"));
    btf.add("", kind::UNION, 2, 8, &[small, 2, 0, named, 6, 0]); // 7
    btf.add("", kind::STRUCT, 1, 8, &[0, 7, 64]); // 8
    btf.add("", kind::ARRAY, 0, 0, &[3, 1, 8]); // 9
    btf.add("", kind::ARRAY, 0, 0, &[9, 1, 2]); // 10
    let (first, array) = (btf.name("first"), btf.name("array"));
    btf.add(
        "outer",
        kind::STRUCT,
        3,
        40,
        &[first, 1, 0, 0, 8, 32, array, 10, 160],
    ); // 11
    btf
}

#[track_caller]
fn check(path: &str, expected: Option<(u32, u32)>) {
    let bytes = nested().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let outer = btf.find(NamedKind::Struct, "outer").unwrap();
    let found = btf.member(outer, path);
    assert_eq!(found.map(|found| (found.offset, found.size)), expected);
}

#[test]
fn members_are_found_through_structures_without_a_name() {
    check("first", Some((0, 4)));
    check("small", Some((12, 2)));
    check("named", Some((12, 8)));
    check("named.x", Some((12, 4)));
    // A bit field's byte.
    check("named.y", Some((16, 4)));
    check("array", Some((20, 16)));
}

#[test]
fn a_member_that_reaches_out_of_its_structure_is_none() {
    let mut btf = BtfBuilder::default();
    btf.add("u32", kind::INT, 0, 4, &[32]); // 1
    let names = ["last", "over", "far"].map(|name| btf.name(name));
    let [last, over, far] = names;
    let members = [last, 1, 32, over, 1, 40, far, 1, u32::MAX];
    btf.add("whole", kind::STRUCT, 3, 8, &members); // 2
    let whole = btf.name("whole");
    // Each step of a path could lead farther than the one before.
    btf.add("around", kind::STRUCT, 1, 8, &[whole, 2, u32::MAX]); // 3
    let bytes = btf.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let offset = |of, path| btf.member(TypeId(of), path).map(|found| found.offset);
    assert_eq!(offset(2, "last"), Some(4));
    assert_eq!(offset(2, "over"), None);
    assert_eq!(offset(2, "far"), None);
    assert_eq!(offset(3, "whole.last"), None);
}

#[test]
fn a_long_name_is_none_so_that_many_types_cannot_share_it() {
    let mut btf = BtfBuilder::default();
    let longest = "x".repeat(MAX_NAME - 1);
    let names = [&longest, &format!("{longest}x")].map(|name| btf.name(name));
    let [longest_name, longer] = names;
    let members = [longest_name, 1, longer, 2];
    btf.add("skb_drop_reason", kind::ENUM, 2, 4, &members);
    let bytes = btf.bytes();
    let mut reasons = Reasons::empty();
    reasons.learn(&Btf::parse(&bytes).unwrap());
    let known: Vec<_> = reasons.known().collect();
    assert_eq!(known, [(1, longest.as_bytes())]);
}

#[test]
fn a_name_that_is_only_the_prefix_is_no_reason() {
    let mut btf = BtfBuilder::default();
    let names = ["SKB_DROP_REASON_", "SKB_DROP_REASON_NO_SOCKET", ""].map(|name| btf.name(name));
    let members = [names[0], 0, names[1], 1, names[2], 2];
    btf.add("skb_drop_reason", kind::ENUM, 3, 4, &members);
    let bytes = btf.bytes();
    let mut reasons = Reasons::empty();
    reasons.learn(&Btf::parse(&bytes).unwrap());
    let known: Vec<_> = reasons.known().collect();
    assert_eq!(known, [(1, &b"NO_SOCKET"[..])]);
}

#[test]
fn a_bit_field_is_a_mask_in_a_byte() {
    let mut btf = BtfBuilder::default();
    btf.add("u8", kind::INT, 0, 1, &[8]); // 1
    let names = ["plain", "low", "high", "wide"].map(|name| btf.name(name));
    let [plain, low, high, wide] = names;
    let field = |name, width: u32, at| [name, 1, width << 24 | at];
    let members = [
        field(plain, 0, 0),
        field(low, 3, 8),
        field(high, 1, 15),
        field(wide, 9, 20),
    ];
    btf.add("flags", kind::STRUCT, 4 | 1 << 31, 4, &members.concat()); // 2
    btf.add("outer", kind::STRUCT, 1, 8, &[0, 2, 32]); // 3
    let bytes = btf.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let find = |name| btf.bit_field(TypeId(3), name);
    let [first, last] = if cfg!(target_endian = "little") {
        [0x07, 0x80]
    } else {
        [0xe0, 0x01]
    };
    let at = |offset, mask| Some(BitField { offset, mask });
    assert_eq!(find("low"), at(5, first));
    assert_eq!(find("high"), at(5, last));
    for name in ["plain", "wide", "none"] {
        assert_eq!(find(name), None, "{name}");
    }
}

#[test]
fn a_member_that_does_not_exist_is_not_found() {
    for path in ["", "second", "x", "first.x", "named.z", "array.x", "."] {
        check(path, None);
    }
    let bytes = nested().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.find(NamedKind::Struct, "inner_t"), None);
    assert_eq!(btf.find(NamedKind::Typedef, "inner_t"), Some(TypeId(6)));
    assert_eq!(btf.member(TypeId(0), "x"), None);
    assert_eq!(btf.member(TypeId(99), "x"), None);
}

#[test]
fn a_type_that_refers_to_itself_does_not_hang_the_search() {
    let mut btf = BtfBuilder::default();
    btf.add("a", kind::TYPEDEF, 0, 2, &[]);
    btf.add("b", kind::TYPEDEF, 0, 1, &[]);
    let many = [0, 3, 0].repeat(1000);
    btf.add("own", kind::STRUCT, 1000, 8, &many);
    btf.add("", kind::ARRAY, 0, 0, &[4, 4, 1]);
    let ring = btf.name("ring");
    btf.add("holder", kind::STRUCT, 1, 8, &[ring, 4, 0]);
    let bytes = btf.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.member(TypeId(1), "x"), None);
    assert_eq!(btf.member(TypeId(3), "x"), None);
    assert_eq!(btf.member(TypeId(5), "ring"), None);
    assert_eq!(btf.tracepoint_arguments(TypeId(1)), None);
}

#[test]
fn enumerators_of_more_than_32_bits_are_left_out() {
    let mut btf = BtfBuilder::default();
    let names = ["A", "B", "C"].map(|name| btf.name(name));
    let [a, b, c] = names;
    btf.add("small", kind::ENUM, 1, 4, &[a, 7]);
    btf.add("large", kind::ENUM64, 2, 8, &[b, 1, 1, c, 5, 0]);
    let bytes = btf.bytes();
    let mut found = Vec::new();
    let btf = Btf::parse(&bytes).unwrap();
    btf.each_enumerator(
        |_| true,
        |name, member, value| found.push((name, member, value)),
    );
    let expected: [(&[u8], &[u8], u32); 2] = [(b"small", b"A", 7), (b"large", b"C", 5)];
    assert_eq!(found, expected);
}

#[test]
fn bytes_that_are_not_btf_are_refused() {
    let refused = |bytes: &[u8]| Btf::parse(bytes).err();
    assert_eq!(refused(b""), Some(BtfError::Magic));
    let whole = nested().bytes();
    let mut swapped = whole.clone();
    swapped.swap(0, 1);
    assert_eq!(refused(&swapped), Some(BtfError::Magic));
    for len in 2..whole.len() {
        assert_eq!(refused(&whole[..len]), Some(BtfError::Cut), "{len}");
    }
    let mut unknown = BtfBuilder::default();
    unknown.add("a", 31, 0, 0, &[]);
    assert_eq!(refused(&unknown.bytes()), Some(BtfError::UnknownKind(31)));
}

proptest! {
    #[test]
    fn changed_bytes_do_no_harm(at in 0_usize..2000, value: u8, more in proptest::collection::vec((0_usize..2000, any::<u8>()), 0..8)) {
        let mut bytes = nested().bytes();
        for (at, value) in more.into_iter().chain([(at, value)]) {
            let len = bytes.len();
            bytes[at % len] = value;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            for id in 0..20 {
                for path in ["first", "small", "named.x", "array", ""] {
                    let _ = btf.member(TypeId(id), path);
                }
                let _ = btf.tracepoint_arguments(TypeId(id));
            }
            btf.each_enumerator(|_| true, |_, _, _| {});
            let _ = Btf::parse_module(&bytes, &btf).map(|module| module.find(NamedKind::Struct, "outer"));
        }
    }

    #[test]
    fn any_bytes_have_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        if let Some(magic) = bytes.first_chunk_mut::<2>() {
            *magic = MAGIC.to_ne_bytes();
        }
        let _ = Btf::parse(&bytes).map(|btf| btf.find(NamedKind::Struct, ""));
    }
}
