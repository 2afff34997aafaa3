//! Requests to the kernel's routing tables and devices (rtnetlink(7)), and to others that answer in the same way.

use std::fmt::Debug;
use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::{Unseen, read_file};

/// Answers larger than this are cut, and then not understood. The kernel makes them of at most 32 KiB.
const BUFFER: usize = 1 << 16;

/// The most objects of a kind: a router of the Internet has more, and a look must be short.
const MAX_OBJECTS: usize = 50_000;

/// The objects, or the kernel's error number.
type ObjectsOrErrno<M> = Result<Vec<M>, i32>;

/// Returns all objects of a kind.
pub fn dump(request: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Unseen> {
    dump_of(NETLINK_ROUTE, request)
}

/// Returns all objects of a kind, of another netlink family. A socket of a family whose module is not there loads
/// it: see [`has_family`].
pub fn dump_of<M: NetlinkSerializable + NetlinkDeserializable + Debug>(
    family: isize,
    request: M,
) -> Result<Vec<M>, Unseen> {
    ask(family, request, NLM_F_REQUEST | NLM_F_DUMP)?.map_err(|errno| {
        let error = io::Error::from_raw_os_error(errno);
        Unseen::Failed(error.to_string())
    })
}

/// Returns whether the kernel has a socket of a netlink family in this namespace, which each module that answers
/// makes when it is loaded.
pub fn has_family(family: isize) -> Result<bool, Unseen> {
    let text = read_file("/proc/thread-self/net/netlink")?;
    let is_kernels = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().and_then(|word| word.parse().ok()) == Some(family) && words.next() == Some("0")
    };
    Ok(text.lines().skip(1).any(is_kernels))
}

/// Returns the answer to a question about one object; where there is none, the kernel's error number.
pub fn get(request: RouteNetlinkMessage) -> Result<ObjectsOrErrno<RouteNetlinkMessage>, Unseen> {
    ask(NETLINK_ROUTE, request, NLM_F_REQUEST)
}

fn ask<M: NetlinkSerializable + NetlinkDeserializable + Debug>(
    family: isize,
    request: M,
    flags: u16,
) -> Result<ObjectsOrErrno<M>, Unseen> {
    let mut socket = Socket::new(family)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let mut buffer = Vec::with_capacity(BUFFER);
        socket.recv(&mut buffer, 0)?;
        match take(&buffer, flags, &mut answers)? {
            DatagramPart::All => return Ok(Ok(answers)),
            DatagramPart::Errno(errno) => return Ok(Err(errno)),
            DatagramPart::Part if answers.len() > MAX_OBJECTS => {
                return Err(Unseen::Failed(format!("more than {MAX_OBJECTS}")));
            }
            DatagramPart::Part => {}
        }
    }
}

/// The part of an answer that a datagram is.
enum DatagramPart {
    /// More is to come.
    Part,
    /// The answer ends here.
    All,
    /// The answer is an error number.
    Errno(i32),
}

/// Decodes a datagram, for fuzzing. Returns the number of objects in it.
#[cfg(any(test, feature = "fuzzing"))]
pub fn decode<M: NetlinkDeserializable + Debug>(bytes: &[u8]) -> usize {
    let mut answers = Vec::<M>::new();
    let _ = take(bytes, NLM_F_DUMP, &mut answers);
    answers.len()
}

/// Takes the messages of one datagram.
fn take<M: NetlinkDeserializable + Debug>(
    mut bytes: &[u8],
    flags: u16,
    answers: &mut Vec<M>,
) -> Result<DatagramPart, Unseen> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(bytes)
            .map_err(|error| Unseen::Failed(format!("the kernel's answer: {error}")))?;
        let len = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => answers.push(answer),
            NetlinkPayload::Done(_) => return Ok(DatagramPart::All),
            NetlinkPayload::Error(error) => match error.code {
                None => return Ok(DatagramPart::All),
                Some(code) => return Ok(DatagramPart::Errno(code.get().saturating_abs())),
            },
            _ => {}
        }
        // Each message begins at a multiple of 4.
        bytes = bytes
            .get(len.next_multiple_of(4).max(4)..)
            .unwrap_or_default();
    }
    Ok(match flags & NLM_F_DUMP {
        NLM_F_DUMP => DatagramPart::Part,
        _ => DatagramPart::All,
    })
}
