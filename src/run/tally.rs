//! Counts the most frequent places for the lines at the end of a text capture.

use std::collections::HashMap;
use std::fmt;

use crate::record::{Cause, DropRecord, Escaped};

/// The most reasons and locations that are counted separately. Later ones are counted together, so
/// that the memory is bounded.
const MAX_KEYS: usize = 10_000;
/// The number of lines at the end.
const SHOWN: usize = 5;

/// Drops by reason (or trap) and location (or trap group).
#[derive(Debug, Default)]
pub struct Tally {
    counts: HashMap<Key, u64>,
    others: u64,
    /// Reused, so that counting a known pair allocates nothing.
    key: Key,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    why: Vec<u8>,
    place: Vec<u8>,
}

impl Tally {
    /// Counts one drop.
    pub fn count(&mut self, record: &DropRecord<'_>) {
        let (why, place) = match record.cause {
            Cause::Software { location, reason } => {
                (reason, location.symbol.map(|symbol| symbol.0))
            }
            Cause::Hardware { group, trap, .. } => (trap, group),
            Cause::Unknown => return,
        };
        for (field, name) in [(&mut self.key.why, why), (&mut self.key.place, place)] {
            field.clear();
            field.extend(name.iter().flat_map(|name| name.as_bytes()));
        }
        if let Some(count) = self.counts.get_mut(&self.key) {
            *count += 1;
        } else if self.counts.len() < MAX_KEYS {
            self.counts.insert(self.key.clone(), 1);
        } else {
            self.others += 1;
        }
    }
}

/// Writes the most frequent pairs, ordered by count, then by name; nothing if nothing was counted.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts.is_empty() {
            return Ok(());
        }
        let mut pairs: Vec<(&Key, &u64)> = self.counts.iter().collect();
        pairs.sort_by(|(key, count), (other, others)| {
            others.cmp(count).then_with(|| key.cmp(other))
        });
        writeln!(f, "most frequent:")?;
        let width = pairs[0].1.to_string().len();
        for (Key { why, place }, count) in pairs.iter().take(SHOWN) {
            let (why, place) = (Escaped(why), Escaped(place));
            writeln!(f, "  {count:>width$}  {why} {place}")?;
        }
        let rest: u64 = pairs.iter().skip(SHOWN).map(|(_, count)| **count).sum();
        if rest + self.others > 0 {
            writeln!(f, "  {:>width$}  elsewhere", rest + self.others)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_ties_by_name() {
        let mut tally = Tally::default();
        for (why, place, count) in [
            ("B", "f", 2),
            ("A", "g", 2),
            ("C", "h", 12),
            ("D", "i", 1),
            ("E", "j", 1),
            ("F", "k", 1),
        ] {
            let key = Key {
                why: why.into(),
                place: place.into(),
            };
            tally.counts.insert(key, count);
        }
        let lines = "most frequent:\n  12  C h\n   2  A g\n   2  B f\n   1  D i\n   1  E j\n   1  elsewhere\n";
        assert_eq!(tally.to_string(), lines);
        assert_eq!(Tally::default().to_string(), "");
    }
}
