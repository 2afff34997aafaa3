//! The two sockets: one for requests and their answers, one for the stream of alerts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use neli::consts::nl::{NlmF, NlmsgerrAttr};
use neli::consts::socket::NlFamily;
use neli::err::SocketError;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, NlattrBuilder};
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::socket::synchronous::NlSocketHandle;
use neli::types::{Buffer, GenlBuffer};
use neli::utils::Groups;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockopt, setsockopt, sockopt,
};

use super::control::{AnswerBytes, ControlError, Conversation, Operation, Refusal, Request};
use super::netlink::{Attributes, ByteOrder, GENL_ID_CTRL, MessageBuilder, Messages};
use super::{FAMILY_NAME, FAMILY_VERSION, GROUP_ID, family};
use crate::bpf::BpfProgram;
use crate::sys;

/// dwdump has its own constants for commands and attribute types, so neli's are plain numbers.
type GenericMessage = Genlmsghdr<u8, u16>;

/// The controller's command and attribute that find a family (linux/genetlink.h).
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_VERSION: u8 = 2;

/// The refusal of a message that could not be made.
const INVALID: Refusal = Refusal {
    errno: libc::EINVAL,
    words: None,
};

/// The socket for requests. NETLINK_CAP_ACK stays off, because neli expects the whole request in a
/// refusal, before the kernel's message.
pub struct KernelConversation {
    socket: NlSocketHandle,
    family: u16,
    sequence: u32,
}

/// The fate of the module drop_monitor where it is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// The kernel loads it, if it may load modules.
    Allowed,
    /// It stays unloaded.
    Never,
}

impl KernelConversation {
    /// Opens the socket and finds the family.
    pub fn open(loading: Loading) -> Result<Self, ControlError> {
        let resolve = |refusal| ControlError {
            operation: Operation::Resolve,
            refusal,
        };
        let socket = NlSocketHandle::connect(NlFamily::Generic, None, Groups::empty())
            .map_err(|error| resolve(refusal(&error)))?;
        // Before Linux 4.12 there are no extended acknowledgements; only the kernel's messages are
        // missing then.
        let _ = socket.enable_ext_ack(true);
        let mut conversation = Self {
            socket,
            family: GENL_ID_CTRL,
            sequence: 0,
        };
        let id = match loading {
            Loading::Allowed => conversation.look_up(),
            Loading::Never => conversation.look_through(),
        };
        conversation.family = id.map_err(resolve)?.ok_or_else(|| {
            resolve(Refusal {
                errno: libc::ENOENT,
                words: None,
            })
        })?;
        Ok(conversation)
    }

    /// Returns the family's number on this boot.
    pub fn family(&self) -> u16 {
        self.family
    }

    /// Asks for the family by its name, for which the kernel loads the module.
    fn look_up(&mut self) -> Result<Option<u16>, Refusal> {
        let name = [FAMILY_NAME.as_bytes(), b"\0"].concat();
        let request = Request {
            command: CTRL_CMD_GETFAMILY,
            attributes: vec![(CTRL_ATTR_FAMILY_NAME, name)],
        };
        let answer = self.exchange(&request, CTRL_VERSION)?;
        Ok(family::id(Attributes::native(&answer)))
    }

    /// Looks for the family among all that there are.
    fn look_through(&mut self) -> Result<Option<u16>, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = Request {
            command: CTRL_CMD_GETFAMILY,
            attributes: Vec::new(),
        };
        let flags = NlmF::REQUEST | NlmF::DUMP;
        let message = self.message(&request, CTRL_VERSION, flags).ok_or(INVALID)?;
        self.socket
            .send(&message)
            .map_err(|error| refusal(&error))?;
        // Read to the list's end: what a socket holds unread when it is closed is a drop of the kernel.
        let mut found = None;
        loop {
            let (messages, _) = self
                .socket
                .recv::<u16, GenericMessage>()
                .map_err(|error| refusal(&error))?;
            for message in messages {
                let message = message.map_err(|error| refusal(&error))?;
                let NlPayload::Payload(generic) = message.nl_payload() else {
                    return Ok(found);
                };
                found = found.or(family::id(Attributes::native(&answer_of(generic))));
            }
        }
    }

    fn exchange(&mut self, request: &Request, version: u8) -> Result<AnswerBytes, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = NlmF::REQUEST | NlmF::ACK;
        let message = self.message(request, version, flags).ok_or(INVALID)?;
        self.socket
            .send(&message)
            .map_err(|error| refusal(&error))?;
        let mut answer = AnswerBytes::new();
        loop {
            let (messages, _) = self
                .socket
                .recv::<u16, GenericMessage>()
                .map_err(|error| refusal(&error))?;
            for message in messages {
                let message = message.map_err(|error| refusal(&error))?;
                // The answer to an earlier request that timed out.
                if *message.nl_seq() != self.sequence {
                    continue;
                }
                match reply(message.nl_payload()) {
                    Reply::Answer(bytes) => answer = bytes,
                    Reply::Refusal(refusal) => return Err(refusal),
                    Reply::End => return Ok(answer),
                }
            }
        }
    }

    fn message(
        &self,
        request: &Request,
        version: u8,
        flags: NlmF,
    ) -> Option<Nlmsghdr<u16, GenericMessage>> {
        let attributes: Option<GenlBuffer<u16, Buffer>> = request
            .attributes
            .iter()
            .map(|(kind, value)| {
                let kind = AttrTypeBuilder::default().nla_type(*kind).build().ok()?;
                NlattrBuilder::default()
                    .nla_type(kind)
                    .nla_payload(Buffer::from(value.clone()))
                    .build()
                    .ok()
            })
            .collect();
        let generic = GenlmsghdrBuilder::default()
            .cmd(request.command)
            .version(version)
            .attrs(attributes?)
            .build()
            .ok()?;
        NlmsghdrBuilder::default()
            .nl_type(self.family)
            .nl_flags(flags)
            .nl_seq(self.sequence)
            .nl_payload(NlPayload::Payload(generic))
            .build()
            .ok()
    }
}

impl Conversation for KernelConversation {
    fn request(&mut self, request: &Request) -> Result<AnswerBytes, Refusal> {
        self.exchange(request, FAMILY_VERSION)
    }

    fn wait(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// A message of the kernel's answer to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The attributes of the answer.
    Answer(AnswerBytes),
    /// The request was refused.
    Refusal(Refusal),
    /// The answer is complete.
    End,
}

fn reply(payload: &NlPayload<u16, GenericMessage>) -> Reply {
    match payload {
        NlPayload::Payload(generic) => Reply::Answer(answer_of(generic)),
        NlPayload::Err(error) => {
            let words = error
                .ext_ack()
                .iter()
                .find(|attribute| *attribute.nla_type().nla_type() == NlmsgerrAttr::Msg);
            let words = words.map(|attribute| words_of(attribute.nla_payload().as_ref()).into());
            Reply::Refusal(Refusal {
                errno: error.error().saturating_neg(),
                words,
            })
        }
        // The acknowledgement ends every exchange. A message in it is not an error.
        NlPayload::Ack(_) | NlPayload::DumpExtAck(_) | NlPayload::Empty => Reply::End,
    }
}

/// Decodes the messages of a datagram, for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn replies(bytes: &[u8]) -> Vec<Reply> {
    use neli::FromBytes;
    let mut rest = io::Cursor::new(bytes);
    let mut found = Vec::new();
    while rest.position() < bytes.len() as u64 {
        match neli::nl::Nlmsghdr::<u16, GenericMessage>::from_bytes(&mut rest) {
            Ok(message) => found.push(reply(message.nl_payload())),
            Err(error) => {
                found.push(Reply::Refusal(refusal(&error.into())));
                break;
            }
        }
    }
    found
}

/// Returns the attributes of an answer as they were on the wire.
fn answer_of(message: &GenericMessage) -> AnswerBytes {
    let mut bytes = Vec::new();
    let mut builder = MessageBuilder::new(&mut bytes, 0, *message.cmd(), *message.version());
    for attribute in message.attrs().iter() {
        builder.attribute(
            *attribute.nla_type().nla_type(),
            attribute.nla_payload().as_ref(),
        );
    }
    builder.finish();
    let message = Messages::new(&bytes, ByteOrder::NATIVE).next();
    message
        .and_then(|message| message.generic(ByteOrder::NATIVE))
        .map(|generic| super::control::answer(&generic))
        .unwrap_or_default()
}

fn words_of(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn refusal(error: &SocketError) -> Refusal {
    match error {
        SocketError::Io(error) => Refusal {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            words: None,
        },
        other => Refusal {
            errno: libc::EPROTO,
            words: Some(other.to_string().into()),
        },
    }
}

/// More than the longest alert: 65531 bytes of payload and the other attributes.
const DATAGRAM_LEN: usize = 68 * 1024;

/// The stream of alerts, and the buffer that they are received into.
pub struct AlertSocket {
    socket: OwnedFd,
    family: u16,
    /// [`DATAGRAM_LEN`] bytes for each datagram of a batch. Only the memory that alerts have filled
    /// is ever touched.
    buffer: Vec<u8>,
    /// The true length of each datagram.
    lengths: Vec<usize>,
    drops_at_start: u32,
}

/// The size of the receive buffer that the kernel granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveBuffer {
    /// The size that was asked for.
    Granted,
    /// This many bytes, the limit of net.core.rmem_max.
    Clamped(u32),
}

/// A received datagram.
#[derive(Debug)]
pub enum AlertDatagram<'a> {
    /// One or more messages.
    Alerts(Messages<'a>),
    /// A datagram longer than [`DATAGRAM_LEN`], whose content is lost.
    TooLong,
}

impl AlertSocket {
    /// Opens the socket and joins the group. `family` is the number of NET_DM.
    pub fn join(family: u16) -> Result<Self, ControlError> {
        Self::open(family).map_err(|error| ControlError {
            operation: Operation::Join,
            refusal: Refusal {
                errno: error.raw_os_error().unwrap_or(libc::EIO),
                words: None,
            },
        })
    }

    fn open(family: u16) -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkGeneric;
        let socket = nix::sys::socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        nix::sys::socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        sys::set_no_enobufs(socket.as_fd())?;
        sys::join_group(socket.as_fd(), GROUP_ID)?;
        let drops_at_start = sys::socket_drops(socket.as_fd())?;
        Ok(Self {
            socket,
            family,
            buffer: vec![0; sys::BATCH * DATAGRAM_LEN],
            lengths: Vec::with_capacity(sys::BATCH),
            drops_at_start,
        })
    }

    /// Leaves the group: no more alerts come, and the waiting ones can still be received.
    pub fn leave(&self) -> io::Result<()> {
        sys::leave_group(self.as_fd(), GROUP_ID)
    }

    /// Returns the family's number.
    pub fn family(&self) -> u16 {
        self.family
    }

    /// Sets the size of the receive buffer, beyond `net.core.rmem_max` where that is allowed.
    pub fn set_receive_buffer(&self, bytes: u32) -> io::Result<ReceiveBuffer> {
        // The kernel doubles the number, which is an int.
        let wanted = bytes.min(i32::MAX as u32 / 2) as usize;
        if setsockopt(self, sockopt::RcvBufForce, &wanted).is_err() {
            setsockopt(self, sockopt::RcvBuf, &wanted)?;
        }
        let got = self.receive_buffer()?;
        // The kernel has a minimum of its own, so a larger buffer counts as granted.
        Ok(if got as usize >= wanted {
            ReceiveBuffer::Granted
        } else {
            ReceiveBuffer::Clamped(got)
        })
    }

    /// Returns the size of the receive buffer in bytes, as it is asked for: the kernel reports
    /// twice that.
    pub fn receive_buffer(&self) -> io::Result<u32> {
        let doubled = getsockopt(self, sockopt::RcvBuf)?;
        Ok(u32::try_from(doubled / 2).unwrap_or(0))
    }

    /// Attaches a filter in the kernel. The messages that it rejects are not counted as lost, nor
    /// at all.
    pub fn attach_filter(&self, program: &BpfProgram) -> io::Result<()> {
        attach_filter(self.as_fd(), program)
    }

    /// Detaches the filter.
    pub fn detach_filter(&self) -> io::Result<()> {
        sys::detach_filter(self.as_fd())
    }

    /// Returns the netlink port of this socket (`nl_pid`).
    pub fn port(&self) -> io::Result<u32> {
        let address: NetlinkAddr = nix::sys::socket::getsockname(self.socket.as_raw_fd())?;
        Ok(address.pid())
    }

    /// Receives the waiting datagrams, up to a batch; none where none are waiting.
    pub fn receive(&mut self) -> io::Result<impl ExactSizeIterator<Item = AlertDatagram<'_>>> {
        let socket = self.socket.as_fd();
        match sys::receive_batch(socket, &mut self.buffer, DATAGRAM_LEN, &mut self.lengths) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
        let places = self.buffer.chunks_exact(DATAGRAM_LEN);
        let datagrams = self.lengths.iter().zip(places);
        Ok(datagrams.map(|(len, place)| {
            place.get(..*len).map_or(AlertDatagram::TooLong, |bytes| {
                AlertDatagram::Alerts(Messages::new(bytes, ByteOrder::NATIVE))
            })
        }))
    }

    /// Returns the number of messages lost in the receive buffer since the socket was opened.
    pub fn lost(&self) -> io::Result<u64> {
        Ok(u64::from(
            sys::socket_drops(self.as_fd())?.wrapping_sub(self.drops_at_start),
        ))
    }
}

/// Attaches a program that the kernel runs on each message for the socket.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &BpfProgram) -> io::Result<()> {
    let instructions: Vec<libc::sock_filter> = program
        .encode()
        .into_iter()
        .map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.jump_true,
            jf: instruction.jump_false,
            k: instruction.operand,
        })
        .collect();
    sys::attach_filter(socket, &instructions)
}

impl AsFd for AlertSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_batch_has_each_datagram_at_its_own_offset() {
        const PLACES: usize = 4;
        const PLACE_LEN: usize = 5;
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        for len in 1..=6 {
            sender.send(&vec![7; len]).unwrap();
        }
        let (mut memory, mut lengths) = (vec![0; PLACES * PLACE_LEN], Vec::new());
        let mut receive = || {
            let socket = receiver.as_fd();
            sys::receive_batch(socket, &mut memory, PLACE_LEN, &mut lengths)?;
            Ok::<_, io::Error>((memory.clone(), lengths.clone()))
        };
        let (first, lengths) = receive().unwrap();
        assert_eq!(lengths, [1, 2, 3, 4]);
        let all = [7, 0, 0, 0, 0, 7, 7, 0, 0, 0, 7, 7, 7, 0, 0, 7, 7, 7, 7, 0];
        assert_eq!(first, all);
        let (_, lengths) = receive().unwrap();
        assert_eq!(
            lengths,
            [5, 6],
            "the last was truncated, with its true length"
        );
        let nothing = receive().unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }
}
