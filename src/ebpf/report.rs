//! The program's report of a dropped packet: a header of fixed length, then the packet's bytes.

use super::assembler::AccessSize;
use super::layout::DEVICE_NAME_LEN;

/// A number in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField {
    /// Its offset.
    pub at: i16,
    /// Its length.
    pub size: AccessSize,
}

const fn place(at: i16, size: AccessSize) -> HeaderField {
    HeaderField { at, size }
}

/// Nanoseconds of the monotonic clock.
pub const TIME: HeaderField = place(0, AccessSize::Double);
/// The return address of the call that freed the packet.
pub const PC: HeaderField = place(8, AccessSize::Double);
/// The number of the drop reason.
pub const REASON: HeaderField = place(16, AccessSize::Word);
/// Bytes of the whole frame.
pub const ORIGINAL_LEN: HeaderField = place(20, AccessSize::Word);
/// Bytes behind the header that were in front of `skb->data`.
pub const HEADERS_LEN: HeaderField = place(24, AccessSize::Word);
/// Bytes behind those, from `skb->data` on.
pub const DATA_LEN: HeaderField = place(28, AccessSize::Word);
/// `skb->skb_iif`
pub const INPUT: HeaderField = place(32, AccessSize::Word);
/// The network header's offset from the frame's beginning, signed.
pub const NETWORK: HeaderField = place(36, AccessSize::Word);
/// The device's index, or some other number: see [`Report::device`].
pub const DEVICE_INDEX: HeaderField = place(40, AccessSize::Word);
/// The inode of the device's namespace, or some other number.
pub const NAMESPACE: HeaderField = place(44, AccessSize::Word);
/// `skb->protocol`, big-endian.
pub const PROTOCOL: HeaderField = place(48, AccessSize::Half);
/// The device's hardware type.
pub const DEVICE_TYPE: HeaderField = place(50, AccessSize::Half);
/// A [`Start`].
pub const START: HeaderField = place(52, AccessSize::Byte);
/// Bytes of the call stack between the header and the frame; 0 where it was not asked for.
pub const STACK_LEN: HeaderField = place(54, AccessSize::Half);
/// The offset of the device's name.
pub const DEVICE_NAME: i16 = 56;
/// Bytes of the header.
pub const HEADER_LEN: usize = 72;

/// The first byte of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Start {
    /// The link-layer header, as the kernel remembers it.
    LinkLayer = 1,
    /// The network header: there is no link-layer header in front of `skb->data`.
    Network = 2,
    /// `skb->data`: the headers that the kernel remembers lie behind it, or there are none.
    Data = 3,
}

/// The target of `skb->dev`: a device, unless something else stood there at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkbDevice<'a> {
    /// Its index in its namespace.
    pub index: u32,
    /// The inode of its namespace.
    pub namespace: u32,
    /// Its hardware type (`ARPHRD_`).
    pub hardware: u16,
    /// Its name, up to the first NUL.
    pub name: &'a [u8],
}

/// The addresses of a call stack, 8 bytes each, the innermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStack<'a>(pub &'a [u8]);

impl CallStack<'_> {
    /// Returns the addresses.
    pub fn addresses(self) -> impl ExactSizeIterator<Item = u64> + Clone {
        let addresses = self.0.chunks_exact(8);
        addresses.map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap_or_default()))
    }
}

/// A dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// The return address of the call that freed the packet.
    pub pc: u64,
    /// The number of the drop reason.
    pub reason: u32,
    /// Bytes of the whole frame.
    pub original_len: u32,
    /// The ifindex of the device that it came in by; 0 where it did not.
    pub input: u32,
    /// `skb->protocol`, in host order.
    pub protocol: u16,
    /// The network header's offset from the frame's beginning; negative or huge where there is none.
    pub network: i32,
    /// The beginning of the frame.
    pub start: Start,
    /// Present where `skb->dev` was not null.
    pub device: Option<SkbDevice<'a>>,
    /// The call stack.
    pub stack: CallStack<'a>,
    /// The frame's first bytes.
    pub data: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads what the program wrote; `None` where it cannot have.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_LEN)?;
        let word = |place| word(header, place);
        let len = (word(HEADERS_LEN)? as usize).checked_add(word(DATA_LEN)? as usize)?;
        let start = match header[START.at.unsigned_abs() as usize] {
            1 => Start::LinkLayer,
            2 => Start::Network,
            3 => Start::Data,
            _ => return None,
        };
        let name_at = DEVICE_NAME.unsigned_abs() as usize;
        let name = &header[name_at..name_at + DEVICE_NAME_LEN];
        let end = memchr::memchr(0, name).unwrap_or(name.len());
        let device = SkbDevice {
            index: word(DEVICE_INDEX)?,
            namespace: word(NAMESPACE)?,
            hardware: u16::from_ne_bytes(part(header, DEVICE_TYPE)?),
            name: &name[..end],
        };
        let stack_len = u16::from_ne_bytes(part(header, STACK_LEN)?);
        let (stack, rest) = rest.split_at_checked(stack_len.into())?;
        Some(Self {
            time: time(header)?,
            pc: u64::from_ne_bytes(part(header, PC)?),
            reason: word(REASON)?,
            original_len: word(ORIGINAL_LEN)?,
            input: word(INPUT)?,
            protocol: u16::from_be_bytes(part(header, PROTOCOL)?),
            network: word(NETWORK)?.cast_signed(),
            start,
            device: Some(device).filter(|device| device.index != 0 && !device.name.is_empty()),
            stack: CallStack(stack),
            data: rest.get(..len)?,
        })
    }
}

/// Returns the time of a report; `None` where its beginning is missing.
pub fn time(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(part(bytes, TIME)?))
}

fn word(header: &[u8], place: HeaderField) -> Option<u32> {
    Some(u32::from_ne_bytes(part(header, place)?))
}

fn part<const LEN: usize>(header: &[u8], place: HeaderField) -> Option<[u8; LEN]> {
    let at = usize::try_from(place.at).ok()?;
    header.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report's header, with these numbers in it.
    fn header(numbers: &[(HeaderField, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        for &(place, number) in numbers {
            let at = place.at.unsigned_abs() as usize;
            let len = match place.size {
                AccessSize::Byte => 1,
                AccessSize::Half => 2,
                AccessSize::Word => 4,
                AccessSize::Double => 8,
            };
            // In this machine's order, like those of the kernel.
            let number = (number << (64 - 8 * len)).to_be_bytes();
            let field = &mut bytes[at..at + len];
            field.copy_from_slice(&number[..len]);
            if cfg!(target_endian = "little") {
                field.reverse();
            }
        }
        bytes
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let numbers = [
            (TIME, 1 << 40),
            (PC, 2 << 40),
            (REASON, 3),
            (ORIGINAL_LEN, 60),
            (HEADERS_LEN, 2),
            (DATA_LEN, 3),
            (INPUT, 5),
            (NETWORK, 0xffff_fff2),
            (DEVICE_INDEX, 6),
            (NAMESPACE, 7),
            (PROTOCOL, 0x0800_u16.to_be().into()),
            (DEVICE_TYPE, 0xfffe),
            (START, 2),
        ];
        let mut bytes = header(&numbers);
        let name = DEVICE_NAME.unsigned_abs() as usize;
        bytes[name..name + 4].copy_from_slice(b"tun0");
        // With the padding of a perf record.
        bytes.extend(b"abcdepad");
        let report = Report::decode(&bytes).unwrap();
        let expected = Report {
            time: 1 << 40,
            pc: 2 << 40,
            reason: 3,
            original_len: 60,
            input: 5,
            protocol: 0x0800,
            network: -14,
            start: Start::Network,
            device: Some(SkbDevice {
                index: 6,
                namespace: 7,
                hardware: 0xfffe,
                name: b"tun0",
            }),
            stack: CallStack(&[]),
            data: b"abcde",
        };
        assert_eq!(report, expected);
        assert_eq!(Report::decode(&bytes[..bytes.len() - 4]), None);
        assert_eq!(time(&bytes[..8]), Some(1 << 40));
        let without = header(&[(START, 1)]);
        assert_eq!(Report::decode(&without).unwrap().device, None);
        assert_eq!(Report::decode(&header(&[(START, 4)])), None);
    }

    #[test]
    fn a_call_stack_stands_in_front_of_the_frame() {
        let with = |stack_len, data_len, rest: &[u8]| {
            let header = header(&[(START, 1), (STACK_LEN, stack_len), (DATA_LEN, data_len)]);
            [&header, rest].concat()
        };
        let addresses = [0x1111_2222_3333_4444_u64, 5];
        let stack = addresses.map(u64::to_ne_bytes).concat();
        let bytes = with(16, 2, &[&stack, &b"abpad"[..]].concat());
        let report = Report::decode(&bytes).unwrap();
        assert_eq!(report.stack.addresses().collect::<Vec<_>>(), addresses);
        assert_eq!(report.data, b"ab");
        // Part of an address is none.
        let bytes = with(15, 1, &[&stack[..15], &b"a"[..]].concat());
        let report = Report::decode(&bytes).unwrap();
        assert_eq!(report.stack.addresses().collect::<Vec<_>>(), addresses[..1]);
        assert_eq!(report.data, b"a");
        // Longer than what was written.
        for (stack_len, data_len) in [(17, 0), (16, 1), (0xffff, 0)] {
            assert_eq!(Report::decode(&with(stack_len, data_len, &stack)), None);
        }
    }
}
