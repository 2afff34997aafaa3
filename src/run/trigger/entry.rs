//! A record as a byte string. No I/O.

use crate::record::{Basis, DropRecord, Link, LinkType, Packed, PacketFlags, Timestamp};
use crate::untrusted::Untrusted;

/// The time at the beginning of each string.
pub const TIME_LEN: usize = size_of::<u64>();

/// Appends the record. The string begins with `time`, by which it ages.
pub fn write(record: &DropRecord<'_>, time: Timestamp, bytes: &mut Vec<u8>) {
    let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes();
    bytes.extend(time.0.to_ne_bytes());
    bytes.push(record.time.is_some().into());
    bytes.extend(record.time.unwrap_or_default().0.to_ne_bytes());
    bytes.extend(record.link.kind.0.to_ne_bytes());
    bytes.push((record.link.basis == Basis::Known).into());
    bytes.extend(record.original_len.to_ne_bytes());
    bytes.extend(record.flags.0.to_ne_bytes());
    let mut packed = Packed::default();
    let pieces = packed.set(record, |_| true);
    packed.write_to(bytes);
    bytes.extend(len(pieces.as_slice().iter().map(|piece| piece.len()).sum()));
    for piece in pieces.as_slice() {
        bytes.extend_from_slice(piece);
    }
    bytes.extend(len(record.notes.len()));
    for note in record.notes {
        bytes.extend(len(note.raw().len()));
        bytes.extend_from_slice(note.raw().as_bytes());
    }
    bytes.extend_from_slice(record.data);
}

/// Returns the time of the beginning of a string.
pub fn time(beginning: [u8; TIME_LEN]) -> Timestamp {
    Timestamp(u64::from_ne_bytes(beginning))
}

/// Calls `take` with the record that [`write()`] has appended; `None` for any other bytes.
pub fn read<T>(bytes: &[u8], take: impl FnOnce(&DropRecord<'_>) -> T) -> Option<T> {
    let mut rest = bytes.get(TIME_LEN..)?;
    let has_time = number::<1>(&mut rest)? == [1];
    let time = Timestamp(u64::from_ne_bytes(number(&mut rest)?));
    let kind = LinkType(u16::from_ne_bytes(number(&mut rest)?));
    let basis = match number::<1>(&mut rest)? {
        [1] => Basis::Known,
        _ => Basis::Assumed,
    };
    let original_len = u32::from_ne_bytes(number(&mut rest)?);
    let flags = PacketFlags(u32::from_ne_bytes(number(&mut rest)?));
    let packed = Packed::read_from(&mut rest)?;
    let names = piece(&mut rest)?;
    let count = u32::from_ne_bytes(number(&mut rest)?);
    let mut notes = Vec::new();
    for _ in 0..count {
        notes.push(Untrusted::new(std::str::from_utf8(piece(&mut rest)?).ok()?));
    }
    Some(take(&DropRecord {
        time: has_time.then_some(time),
        link: Link { kind, basis },
        original_len,
        flags,
        data: rest,
        notes: &notes,
        ..packed.record(names)
    }))
}

fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (number, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*number)
}

fn piece<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32::from_ne_bytes(number(rest)?)).ok()?;
    let (piece, others) = rest.split_at_checked(len)?;
    *rest = others;
    Some(piece)
}
