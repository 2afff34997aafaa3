//! The program's report of a dropped packet: a header of fixed length, then the packet's bytes.

use super::assembler::AccessSize;
use super::layout::DEVICE_NAME_LEN;
use crate::record::DropSocket;
pub use crate::record::SocketRole;

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
/// Bytes of the whole frame.
pub const ORIGINAL_LEN: HeaderField = place(8, AccessSize::Word);
/// Captured bytes from `skb->data` on. They follow those that [`HEADERS_LEN`] counts.
pub const DATA_LEN: HeaderField = place(12, AccessSize::Word);
/// Reports of drops that are alike are equal from this offset up to the frame.
const FACTS: usize = 16;
/// The return address of the call that freed the packet.
pub const PC: HeaderField = place(16, AccessSize::Double);
/// The number of the drop reason.
pub const REASON: HeaderField = place(24, AccessSize::Word);
/// Bytes behind the header and the call stack that were in front of `skb->data`.
pub const HEADERS_LEN: HeaderField = place(28, AccessSize::Word);
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
/// `skb->pkt_type`; 0xff where it is not known.
pub const PACKET_TYPE: HeaderField = place(53, AccessSize::Byte);
/// Not 0 where there may be a VLAN tag.
pub const VLAN_PRESENT: HeaderField = place(54, AccessSize::Byte);
/// A [`SocketRole`]; 0 where there is no socket, and nothing in the fields that describe it.
pub const SOCKET_ROLE: HeaderField = place(55, AccessSize::Byte);
/// The offset of the device's name.
pub const DEVICE_NAME: i16 = 56;
/// The running task: its process in the upper half.
pub const TASK: HeaderField = place(72, AccessSize::Double);
/// The number of the socket's cgroup, else of the running task's; 0 where there is none.
pub const CGROUP: HeaderField = place(80, AccessSize::Double);
/// The offset of the running task's name.
pub const TASK_NAME: i16 = 88;
/// `skb->mark`
pub const MARK: HeaderField = place(104, AccessSize::Word);
/// The inode of the socket's namespace.
pub const SOCKET_NAMESPACE: HeaderField = place(108, AccessSize::Word);
/// The tag's ethertype, big-endian.
pub const VLAN_PROTOCOL: HeaderField = place(112, AccessSize::Half);
/// The tag: priority and number.
pub const VLAN_TAG: HeaderField = place(114, AccessSize::Half);
/// The socket's address family.
pub const SOCKET_FAMILY: HeaderField = place(116, AccessSize::Half);
/// `SOCK_STREAM` and others; 0 where the socket is not whole.
pub const SOCKET_KIND: HeaderField = place(118, AccessSize::Half);
/// The socket's protocol; 0 where it is not whole.
pub const SOCKET_PROTOCOL: HeaderField = place(120, AccessSize::Half);
/// Its port.
pub const SOCKET_PORT: HeaderField = place(122, AccessSize::Half);
/// The other end's port, big-endian.
pub const SOCKET_PEER_PORT: HeaderField = place(124, AccessSize::Half);
/// Its state.
pub const SOCKET_STATE: HeaderField = place(126, AccessSize::Byte);
/// Addresses of the call stack between the header and the frame; 0 where it was not asked for.
pub const STACK_FRAMES: HeaderField = place(127, AccessSize::Byte);
/// Bytes of an address.
pub const ADDRESS_LEN: usize = 8;
/// Bytes of the header.
pub const HEADER_LEN: usize = 128;
type ReportHeader = [u8; HEADER_LEN];

/// Bytes of a task's name (`TASK_COMM_LEN`, linux/sched.h).
pub const TASK_NAME_LEN: usize = 16;
/// Bytes of any name in the header.
pub const NAME_LEN: usize = 16;
const _: () = assert!(DEVICE_NAME_LEN == NAME_LEN && TASK_NAME_LEN == NAME_LEN);
/// States of a socket that is not whole (net/tcp_states.h).
pub const TCP_TIME_WAIT: u8 = 6;
pub const TCP_NEW_SYN_RECV: u8 = 12;
/// `PACKET_OTHERHOST` (linux/if_packet.h). Only what was received has it or one of those before it,
/// `PACKET_BROADCAST` and `PACKET_MULTICAST`; 0 has both what it received for itself and what it sends.
const OTHER_HOST: u8 = 3;
/// A kind of sockets (linux/net.h).
const SOCK_RAW: u16 = 3;

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

/// The task that was running when the packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningTask<'a> {
    /// The number of its process; 0 for an idle CPU.
    pub process: u32,
    /// Its name, up to the first NUL.
    pub name: &'a [u8],
}

/// A socket, and what else only its source knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedSocket {
    /// The facts of it.
    pub facts: DropSocket,
    /// The inode of its namespace; 0 where that is unknown.
    pub namespace: u32,
}

/// The addresses of a call stack, 8 bytes each, the innermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStack<'a>(pub &'a [u8]);

impl CallStack<'_> {
    /// Returns the addresses.
    pub fn addresses(self) -> impl ExactSizeIterator<Item = u64> + Clone {
        let addresses = self.0.chunks_exact(ADDRESS_LEN);
        addresses.map(|bytes| u64::from_ne_bytes(bytes.try_into().unwrap_or_default()))
    }
}

/// A dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The time and the packet, which differ even where all facts are the same.
    pub packet: ReportedPacket<'a>,
    /// The return address of the call that freed the packet.
    pub pc: u64,
    /// The number of the drop reason.
    pub reason: u32,
    /// The ifindex of the device that it came in by; 0 where it did not.
    pub input: u32,
    /// `skb->protocol`, in host order.
    pub protocol: u16,
    /// The network header's offset from the frame's beginning; negative or huge where there is none.
    pub network: i32,
    /// The beginning of the frame.
    pub start: Start,
    /// Bytes of the frame that were in front of `skb->data`.
    pub headers_len: u32,
    /// Present where `skb->dev` was not null.
    pub device: Option<SkbDevice<'a>>,
    /// The running task.
    pub running: RunningTask<'a>,
    /// The number of the socket's cgroup, else of the running task's.
    pub cgroup: Option<u64>,
    /// The receiver or the owner.
    pub socket: Option<ReportedSocket>,
    /// `skb->mark`, unless it is 0.
    pub mark: Option<u32>,
    /// The tag that a device took off: priority and number.
    pub vlan: Option<u16>,
    /// It is addressed to everybody, to several or to another host, which only what was received can be.
    pub is_marked_received: bool,
    /// The call stack.
    pub stack: CallStack<'a>,
}

/// The part of a report that differs even where all facts of the drops are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedPacket<'a> {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// Bytes of the whole frame.
    pub original_len: u32,
    /// The frame's first bytes.
    pub data: &'a [u8],
}

impl<'a> ReportedPacket<'a> {
    /// Reads it from a report; `None` where that is not whole.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk()?;
        let word = |place| Some(word(header, place)? as usize);
        let len = word(HEADERS_LEN)?.checked_add(word(DATA_LEN)?)?;
        Some(Self {
            time: double(header, TIME)?,
            original_len: self::word(header, ORIGINAL_LEN)?,
            data: bytes.get(facts_end(header)?..)?.get(..len)?,
        })
    }

    /// Returns the length of the whole frame, which is at least that of the captured bytes.
    pub fn whole_len(self) -> u32 {
        let captured = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        self.original_len.max(captured)
    }
}

/// Returns the part of a report in which all facts of the drop are, the call stack included: where it is the same, the
/// reports differ in their [`ReportedPacket`] alone.
#[inline]
pub fn facts(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(FACTS..facts_end(bytes.first_chunk()?)?)
}

/// Returns the offset of the frame.
fn facts_end(header: &ReportHeader) -> Option<usize> {
    Some(HEADER_LEN + usize::from(byte(header, STACK_FRAMES)?) * ADDRESS_LEN)
}

impl<'a> Report<'a> {
    /// Reads what the program wrote; `None` where it cannot have.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        Self::decode_facts(ReportedPacket::decode(bytes)?, bytes)
    }

    /// Reads the facts of a report whose packet has been read.
    pub fn decode_facts(packet: ReportedPacket<'a>, bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk()?;
        let word = |place| word(header, place);
        let start = match byte(header, START)? {
            1 => Start::LinkLayer,
            2 => Start::Network,
            3 => Start::Data,
            _ => return None,
        };
        let device = SkbDevice {
            index: word(DEVICE_INDEX)?,
            namespace: word(NAMESPACE)?,
            hardware: half(header, DEVICE_TYPE)?,
            name: text(header, DEVICE_NAME)?,
        };
        // The process is in the upper half.
        let task = double(header, TASK)? >> 32;
        let (tag, tag_protocol) = (half(header, VLAN_TAG)?, half(header, VLAN_PROTOCOL)?);
        let has_tag = byte(header, VLAN_PRESENT)? != 0 && (tag, tag_protocol) != (0, 0);
        let packet_type = byte(header, PACKET_TYPE)?;
        let cgroup = double(header, CGROUP)?;
        let mark = word(MARK)?;
        Some(Self {
            packet,
            pc: double(header, PC)?,
            reason: word(REASON)?,
            input: word(INPUT)?,
            protocol: u16::from_be(half(header, PROTOCOL)?),
            network: word(NETWORK)?.cast_signed(),
            start,
            headers_len: word(HEADERS_LEN)?,
            running: RunningTask {
                process: u32::try_from(task).ok()?,
                name: text(header, TASK_NAME)?,
            },
            cgroup: Some(cgroup).filter(|&number| number != 0),
            socket: socket(header),
            mark: Some(mark).filter(|&mark| mark != 0),
            vlan: Some(tag).filter(|_| has_tag),
            is_marked_received: (1..=OTHER_HOST).contains(&packet_type),
            device: Some(device).filter(|device| device.index != 0 && !device.name.is_empty()),
            stack: CallStack(rest.get(..facts_end(header)? - HEADER_LEN)?),
        })
    }
}

/// Returns the time of a report; `None` where its beginning is missing.
pub fn time(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.first_chunk()?))
}

/// Returns the socket, where there is one of a known family.
fn socket(header: &ReportHeader) -> Option<ReportedSocket> {
    let role = match byte(header, SOCKET_ROLE)? {
        1 => SocketRole::Owner,
        2 => SocketRole::Receiver,
        _ => return None,
    };
    let family = u8::try_from(half(header, SOCKET_FAMILY)?).ok()?;
    let facts = DropSocket {
        role,
        family,
        protocol: half(header, SOCKET_PROTOCOL)?,
        port: half(header, SOCKET_PORT)?,
        peer_port: u16::from_be(half(header, SOCKET_PEER_PORT)?),
        state: byte(header, SOCKET_STATE)?,
    };
    // A raw socket keeps its protocol where others have their port.
    let is_raw = half(header, SOCKET_KIND)? == SOCK_RAW;
    let facts = if is_raw { facts.without_ports() } else { facts };
    Some(ReportedSocket {
        facts: facts.plausible()?,
        namespace: word(header, SOCKET_NAMESPACE)?,
    })
}

fn double(header: &ReportHeader, place: HeaderField) -> Option<u64> {
    Some(u64::from_ne_bytes(part(header, place)?))
}

fn half(header: &ReportHeader, place: HeaderField) -> Option<u16> {
    Some(u16::from_ne_bytes(part(header, place)?))
}

fn byte(header: &ReportHeader, place: HeaderField) -> Option<u8> {
    part(header, place).map(|[byte]| byte)
}

/// Returns the bytes of a name in front of the first NUL. All 16 are looked at together: two searches byte by byte, of
/// which there are two in each report, take 90 instructions more.
fn text(header: &ReportHeader, at: i16) -> Option<&[u8]> {
    const LOWEST: u128 = u128::MAX / 0xff;
    const HIGHEST: u128 = LOWEST << 7;
    let text: &[u8; NAME_LEN] = header.get(usize::try_from(at).ok()?..)?.first_chunk()?;
    let bytes = u128::from_le_bytes(*text);
    // The highest bit of the first byte that is 0; behind it, others may have theirs, too.
    let zeros = bytes.wrapping_sub(LOWEST) & !bytes & HIGHEST;
    text.get(..zeros.trailing_zeros() as usize / 8)
}

fn word(header: &ReportHeader, place: HeaderField) -> Option<u32> {
    Some(u32::from_ne_bytes(part(header, place)?))
}

fn part<const LEN: usize>(header: &ReportHeader, place: HeaderField) -> Option<[u8; LEN]> {
    let at = usize::try_from(place.at).ok()?;
    header.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
impl Report<'static> {
    /// Returns a report that tells nothing, for tests to fill in what they are about.
    pub fn of_nothing() -> Self {
        Self {
            packet: ReportedPacket {
                time: 0,
                original_len: 0,
                data: &[],
            },
            pc: 0,
            reason: 0,
            input: 0,
            protocol: 0,
            network: 0,
            start: Start::Data,
            headers_len: 0,
            device: None,
            running: RunningTask {
                process: 0,
                name: b"",
            },
            cgroup: None,
            socket: None,
            mark: None,
            vlan: None,
            is_marked_received: false,
            stack: CallStack::default(),
        }
    }
}

#[cfg(test)]
mod tests;
