//! The facts of a record in a form that can be stored and compared: numbers, with the bytes of
//! names in a separate buffer.

use std::hash::{Hash, Hasher};

use super::value::Parts;
use super::{DropRecord, Fact, Link, LinkType};

const COUNT: usize = Fact::ALL.len();

/// The numbers of facts that are stored, and of those among them that have bytes.
const STORED: usize = stored_before(COUNT).0;
const NAMES: usize = stored_before(COUNT).1;
/// The place of each stored fact's number.
const PLACES: [usize; COUNT] = {
    let mut places = [0; COUNT];
    let mut at = 0;
    while at < COUNT {
        places[at] = stored_before(at).0;
        at += 1;
    }
    places
};

/// The stored facts of a record, without the bytes of names, of which only the lengths are here. Two records
/// with equal values and equal [`Pieces`] have the same facts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packed {
    /// All numbers in one. It tells nearly all values apart, so it is compared first.
    mixed: u64,
    /// A bit for each fact that the record has.
    present: u32,
    /// A number of each fact, in the order of [`Fact::ALL`]; 0 of those that the record lacks.
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
    /// Returns one piece for each fact that has bytes.
    #[inline]
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.pieces[..self.count]
    }
}

impl Packed {
    /// Sets the facts to those of a record, without those that `keeps` rejects. It works in place, because copying
    /// the result costs as much as making it.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the caller's record has facts that are known to be absent"
    )]
    pub fn set<'a>(&mut self, record: &DropRecord<'a>, keeps: impl Fn(Fact) -> bool) -> Pieces<'a> {
        *self = Self::default();
        let mut names = Pieces::default();
        Fact::all_stored(record, |fact, (number, bytes)| {
            if keeps(fact) {
                self.present |= 1 << fact as usize;
                self.numbers[PLACES[fact as usize]] = number;
                self.mixed ^= number;
                if fact.kind().has_bytes() {
                    names.pieces[names.count] = bytes;
                    names.count += 1;
                }
            }
            true
        });
        names
    }

    /// Returns whether [`set`](Self::set) would give these facts and `names`, the bytes of all [`Pieces`]. For a
    /// record like the one before, that takes 200 instructions less than to make both and to compare them.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as of `set`")]
    pub fn is_of(
        &self,
        names: &[u8],
        record: &DropRecord<'_>,
        keeps: impl Fn(Fact) -> bool,
    ) -> bool {
        let mut rest = names;
        let mut present = 0;
        let are_same = Fact::all_stored(record, |fact, (number, bytes)| {
            if !keeps(fact) {
                return true;
            }
            present |= 1 << fact as usize;
            if self.numbers[PLACES[fact as usize]] != number {
                return false;
            }
            if fact.kind().has_bytes() {
                let Some(behind) = rest.strip_prefix(bytes) else {
                    return false;
                };
                rest = behind;
            }
            true
        });
        are_same && present == self.present
    }

    /// Stores the facts in a record. `names` holds the bytes of all [`Pieces`], one after the other.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the caller copies its record")]
    pub fn store<'a>(&self, mut names: &'a [u8], record: &mut DropRecord<'a>) {
        Fact::store_each(record, |fact| -> Option<Parts<'a>> {
            if self.present & 1 << fact as usize == 0 {
                return None;
            }
            let number = self.numbers[PLACES[fact as usize]];
            if !fact.kind().has_bytes() {
                return Some((number, &[]));
            }
            let (bytes, others) = names.split_at_checked(usize::try_from(number).ok()?)?;
            names = others;
            Some((number, bytes))
        });
    }

    /// Appends the numbers of the facts that there are.
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.present.to_ne_bytes());
        for number in self.places().map(|place| self.numbers[place]) {
            bytes.extend(number.to_ne_bytes());
        }
    }

    /// Takes what [`write_to`](Self::write_to) has appended.
    pub fn read_from(bytes: &mut &[u8]) -> Option<Self> {
        let (present, mut rest) = bytes.split_first_chunk()?;
        let mut packed = Self {
            present: u32::from_ne_bytes(*present),
            ..Self::default()
        };
        for place in packed.places() {
            let (number, others) = rest.split_first_chunk()?;
            let number = u64::from_ne_bytes(*number);
            packed.numbers[place] = number;
            packed.mixed ^= number;
            rest = others;
        }
        *bytes = rest;
        Some(packed)
    }

    /// Returns the places of the facts that there are.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let present = self.present;
        let facts = (0..COUNT).filter(move |fact| present & 1 << fact != 0);
        facts
            .map(|fact| PLACES[fact])
            .filter(|place| *place < STORED)
    }

    /// Returns a record that has these facts and nothing else.
    pub fn record<'a>(&self, names: &'a [u8]) -> DropRecord<'a> {
        let mut record = DropRecord::new(Link::known(LinkType::NO_PACKET), &[]);
        self.store(names, &mut record);
        record
    }
}

impl PartialEq for Packed {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        (self.mixed, self.present) == (other.mixed, other.present) && self.numbers == other.numbers
    }
}

impl Eq for Packed {}

impl Hash for Packed {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.mixed);
    }
}

/// A copy of a record's stored facts that borrows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedFacts {
    packed: Packed,
    /// The bytes of all [`Pieces`], one after the other.
    names: Vec<u8>,
}

impl OwnedFacts {
    /// Sets the facts to those of a record, and reuses the memory of the old ones.
    pub fn set(&mut self, record: &DropRecord<'_>) {
        let pieces = self.packed.set(record, |_| true);
        self.names.clear();
        for piece in pieces.as_slice() {
            self.names.extend_from_slice(piece);
        }
    }

    /// Stores the facts in a record.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the caller copies its record")]
    pub fn store<'a>(&'a self, record: &mut DropRecord<'a>) {
        self.packed.store(&self.names, record);
    }

    /// Returns how many bytes the facts own beside their own size.
    pub fn byte_count(&self) -> usize {
        self.names.capacity()
    }

    /// Returns a record that has these facts and nothing else.
    pub fn record(&self) -> DropRecord<'_> {
        self.packed.record(&self.names)
    }
}

/// Counts the facts before this one that are stored, and those among them that have bytes.
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
