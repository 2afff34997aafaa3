//! The facts of a record in a form that can be kept and compared: numbers, and the bytes of names
//! beside them.

use std::hash::{Hash, Hasher};

use super::value::Parts;
use super::{DropRecord, Fact, Link, LinkType};

const COUNT: usize = Fact::ALL.len();

/// How many facts are stored, and how many of these have bytes.
const STORED: usize = stored_before(COUNT).0;
const NAMES: usize = stored_before(COUNT).1;

/// Where the number of each stored fact is.
const SLOTS: [usize; COUNT] = {
    let (mut slots, mut at) = ([0; COUNT], 0);
    while at < COUNT {
        slots[at] = stored_before(at).0;
        at += 1;
    }
    slots
};

/// The stored facts of a record, but for the bytes of names, of which only the lengths are here. With
/// the same bytes beside it, an equal value is of a record with the same facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// All numbers in one: tells nearly all values apart, so it is compared first.
    mixed: u64,
    /// A bit for each fact that there is.
    present: u32,
    /// One for each fact that can be stored; 0 where there is none.
    numbers: [u64; STORED],
}

const _: () = assert!(COUNT <= u32::BITS as usize);

/// The bytes of a record's names, in the order of [`Fact::ALL`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces<'a> {
    pieces: [&'a [u8]; NAMES],
    count: usize,
}

impl<'a> Pieces<'a> {
    /// One piece for each fact that has bytes.
    #[inline]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.pieces[..self.count]
    }
}

impl Packed {
    /// Becomes the facts of this record. In place, for a copy costs as much as the rest.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most of the record is not looked at then"
    )]
    pub fn set<'a>(&mut self, record: &DropRecord<'a>) -> Pieces<'a> {
        *self = Self::default();
        let mut names = Pieces::default();
        Fact::each_stored(record, |fact, (number, bytes)| {
            self.present |= 1 << fact as usize;
            self.numbers[SLOTS[fact as usize]] = number;
            self.mixed ^= number;
            if fact.kind().has_bytes() {
                names.pieces[names.count] = bytes;
                names.count += 1;
            }
        });
        names
    }

    /// Makes a record of the facts and of nothing else; `names` holds the bytes of all
    /// [`Pieces`], one behind the other.
    pub fn record<'a>(&self, mut names: &'a [u8]) -> DropRecord<'a> {
        let mut record = DropRecord::new(Link::known(LinkType::NO_PACKET), &[]);
        Fact::store_each(&mut record, |fact| -> Option<Parts<'a>> {
            if self.present & 1 << fact as usize == 0 {
                return None;
            }
            let number = self.numbers[SLOTS[fact as usize]];
            if !fact.kind().has_bytes() {
                return Some((number, &[]));
            }
            let (bytes, others) = names.split_at_checked(usize::try_from(number).ok()?)?;
            names = others;
            Some((number, bytes))
        });
        record
    }
}

impl Hash for Packed {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.mixed);
    }
}

/// How many of the facts before this one are stored, and how many of these have bytes.
const fn stored_before(end: usize) -> (usize, usize) {
    let (mut at, mut stored, mut names) = (0, 0, 0);
    while at < end {
        let kind = Fact::ALL[at].kind();
        stored += kind.is_stored() as usize;
        names += kind.has_bytes() as usize;
        at += 1;
    }
    (stored, names)
}
