//! Converts the time of a pcapng packet: `if_tsresol` and `if_tsoffset` (section 4.2 of the draft).

use crate::record::Timestamp;

/// The unit and the origin of an interface's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    unit: Unit,
    /// Seconds to add.
    offset: i64,
}

/// The number of units in a second: a power of ten or of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Decimal(u8),
    Binary(u8),
}

const NANOSECONDS: u128 = 1_000_000_000;

/// Microseconds since 1970, the draft's default.
impl Default for Resolution {
    fn default() -> Self {
        Self {
            unit: Unit::Decimal(6),
            offset: 0,
        }
    }
}

impl Resolution {
    /// Sets `if_tsresol`: the highest bit distinguishes base 2 from base 10, the others are the
    /// exponent.
    pub fn set_unit(&mut self, value: u8) {
        let exponent = value & 0x7f;
        self.unit = if value & 0x80 == 0 {
            Unit::Decimal(exponent)
        } else {
            Unit::Binary(exponent)
        };
    }

    /// Sets `if_tsoffset`.
    pub fn set_offset(&mut self, seconds: i64) {
        self.offset = seconds;
    }

    /// Returns the time, truncated to nanoseconds; `None` before 1970 and after 2554, which
    /// [`Timestamp`] cannot represent.
    #[inline]
    pub fn time(&self, count: u64) -> Option<Timestamp> {
        if *self == Self::NANOSECONDS {
            return Some(Timestamp(count));
        }
        self.convert(count)
    }

    const NANOSECONDS: Self = Self {
        unit: Unit::Decimal(9),
        offset: 0,
    };

    fn convert(self, count: u64) -> Option<Timestamp> {
        let count = u128::from(count);
        let nanoseconds = match self.unit {
            Unit::Decimal(exponent @ ..=9) => count * 10_u128.pow(9 - u32::from(exponent)),
            // For such small units, no count reaches a nanosecond.
            Unit::Decimal(exponent) => 10_u128
                .checked_pow(u32::from(exponent) - 9)
                .map_or(0, |units| count / units),
            // At most 94 bits, so only the fraction is shifted out.
            Unit::Binary(exponent) => (count * NANOSECONDS) >> exponent,
        };
        let offset = i128::from(self.offset) * NANOSECONDS.cast_signed();
        let sum = nanoseconds.cast_signed() + offset;
        u64::try_from(sum).ok().map(Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_unit_and_offset_gives_nanoseconds() {
        #[track_caller]
        fn check(unit: u8, offset: i64, count: u64, nanoseconds: Option<u64>) {
            let mut resolution = Resolution::default();
            resolution.set_unit(unit);
            resolution.set_offset(offset);
            assert_eq!(resolution.time(count), nanoseconds.map(Timestamp));
        }
        check(0, 0, 7, Some(7_000_000_000));
        check(6, 0, 7, Some(7000));
        check(9, 0, u64::MAX, Some(u64::MAX));
        check(12, 0, 1_999, Some(1));
        check(19, 0, u64::MAX, Some(1_844_674_407));
        check(29, 0, u64::MAX, Some(0));
        check(127, 0, u64::MAX, Some(0));
        check(0x80, 0, 7, Some(7_000_000_000));
        check(0x8a, 0, 1536, Some(1_500_000_000));
        check(0xa0, 0, 1 << 31, Some(500_000_000));
        check(0xff, 0, u64::MAX, Some(0));
        check(6, -1, 1_500_000, Some(500_000_000));
        check(6, -1, 999_999, None);
        check(6, 1, 0, Some(1_000_000_000));
        check(0, 0, u64::MAX, None);
        check(6, i64::MIN, u64::MAX, None);
        check(6, i64::MAX, 0, None);
        check(9, 0, 0, Some(0));
    }
}
