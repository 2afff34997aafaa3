//! The facts of a record in a form that can be kept and compared: numbers, and the bytes of names
//! beside them.

use std::hash::{Hash, Hasher};

use super::value::Parts;
use super::{DropRecord, Fact, Link, LinkType};

const COUNT: usize = Fact::ALL.len();

/// The stored facts of a record, but for the bytes of names, of which only the lengths are here. With
/// the same bytes beside it, an equal value is of a record with the same facts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packed {
    /// A bit for each fact that there is.
    present: u32,
    /// How many there are.
    count: usize,
    /// One for each fact that there is, in the order of [`Fact::ALL`]; 0 behind those.
    numbers: [u64; COUNT],
}

const _: () = assert!(COUNT <= u32::BITS as usize);

/// The bytes of a record's names, in the order of [`Fact::ALL`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Pieces<'a> {
    pieces: [&'a [u8]; COUNT],
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
    /// Takes the facts of a record apart.
    #[inline]
    pub fn new<'a>(record: &DropRecord<'a>) -> (Self, Pieces<'a>) {
        let (mut packed, mut names) = (Self::default(), Pieces::default());
        Fact::each_stored(record, |fact, (number, bytes)| {
            packed.present |= 1 << fact as usize;
            packed.numbers[packed.count] = number;
            packed.count += 1;
            if fact.kind().has_bytes() {
                names.pieces[names.count] = bytes;
                names.count += 1;
            }
        });
        (packed, names)
    }

    /// Makes a record of the facts and of nothing else; `names` holds the bytes of all
    /// [`Pieces`], one behind the other.
    pub fn record<'a>(&self, mut names: &'a [u8]) -> DropRecord<'a> {
        let mut record = DropRecord::new(Link::known(LinkType::NO_PACKET), &[]);
        let mut numbers = self.numbers();
        Fact::store_each(&mut record, |fact| -> Option<Parts<'a>> {
            if self.present & 1 << fact as usize == 0 {
                return None;
            }
            let (&number, others) = numbers.split_first()?;
            numbers = others;
            if !fact.kind().has_bytes() {
                return Some((number, &[]));
            }
            let (bytes, others) = names.split_at_checked(usize::try_from(number).ok()?)?;
            names = others;
            Some((number, bytes))
        });
        record
    }

    #[inline]
    fn numbers(&self) -> &[u64] {
        &self.numbers[..self.count]
    }
}

impl PartialEq for Packed {
    /// Numbers one by one: there are few, and most that differ do so in one of the first.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.numbers().iter().zip(&other.numbers);
        self.present == other.present && pairs.all(|(one, other)| one == other)
    }
}

impl Eq for Packed {}

impl Hash for Packed {
    /// Mixes the numbers: one that tells records apart is enough.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let numbers = self.numbers().iter();
        state.write_u64(numbers.fold(0, |mixed, number| mixed ^ number));
    }
}
