//! A drop, as the diagnosis sees it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dissect::{DissectedPacket, Fault};
use crate::packet;
use crate::packet::ip::Ip;
use crate::record::{Cause, Direction, DropRecord, DropSocket, EtherType, LinkType, SocketRole};

/// The most bytes of a packet that are kept: those of the headers.
const MAX_DATA: usize = 256;
/// The most bytes that are kept of a packet whose checksum is wrong: all of one that fits into an Ethernet frame.
const MAX_CHECKED: usize = 2048;

/// A drop whose cause is sought: an owned copy of what a record says, which can be sent to another process and
/// recorded for a test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DropCase {
    /// The time of the drop, in nanoseconds since the epoch (UTC); 0 where it is not known.
    pub time: u64,
    /// The drop reason, without its prefix.
    pub reason: Option<String>,
    /// The place as the kernel writes it: `ip_rcv_finish_core+0x234/0x3f0`.
    pub place: Option<String>,
    /// The function of that place, without the compiler's suffix.
    pub function: Option<String>,
    /// The functions that called each other, the innermost first, as far as they are known.
    pub stack: Vec<String>,
    /// The network namespace's inode; `None` where it is not known.
    pub netns: Option<u32>,
    /// The name that this host has for it.
    pub netns_name: Option<String>,
    /// It is the initial one.
    pub is_initial: bool,
    /// The device that the packet was at, on its way in or out.
    pub device: Option<String>,
    /// The ifindex of the interface that it came in by.
    pub input: Option<u32>,
    /// That interface's name, where it is known.
    pub input_name: Option<String>,
    /// `skb->protocol`
    pub protocol: Option<u16>,
    /// It was received; false: it was being sent; `None`: this is not known.
    pub is_inbound: Option<bool>,
    /// The link type's number.
    pub link: u16,
    /// The packet's first bytes.
    pub data: Vec<u8>,
    /// The packet's length in bytes.
    pub length: u32,
    /// The socket that the packet belongs to or would have gone to.
    pub socket: Option<CaseSocket>,
    /// The mark.
    pub mark: u32,
    /// The VLAN whose tag a device took off.
    pub vlan: Option<u32>,
    /// The path of the cgroup.
    pub cgroup: Option<String>,
}

/// The socket of a [`DropCase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseSocket {
    /// It owns the packet; otherwise it would have received it.
    pub is_owner: bool,
    /// The address family (`AF_INET`).
    pub family: u8,
    /// The protocol (`IPPROTO_TCP`).
    pub protocol: u16,
    /// The local port.
    pub port: u16,
    /// The port of the other end.
    pub peer_port: u16,
    /// The state (`TCP_ESTABLISHED`).
    pub state: u8,
}

impl From<DropSocket> for CaseSocket {
    fn from(socket: DropSocket) -> Self {
        Self {
            is_owner: socket.role == SocketRole::Owner,
            family: socket.family,
            protocol: socket.protocol,
            port: socket.port,
            peer_port: socket.peer_port,
            state: socket.state,
        }
    }
}

impl DropCase {
    /// Copies what a record says.
    pub fn of(record: &DropRecord<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (location, reason) = match record.cause {
            Cause::Software { location, reason } => (Some(location), reason),
            _ => (None, None),
        };
        let symbol = location.and_then(|location| location.symbol);
        let stack = location.and_then(|location| location.stack);
        let context = &record.context;
        let is_checked = reason.is_some_and(|reason| reason.as_bytes().ends_with(b"_CSUM"));
        let most = if is_checked { MAX_CHECKED } else { MAX_DATA };
        let data = &record.data[..record.data.len().min(most)];
        Self {
            time: record.time.map_or(0, |time| time.0),
            reason: reason.map(|reason| text(reason.as_bytes())),
            place: symbol.map(|symbol| text(symbol.0.as_bytes())),
            function: symbol.map(|symbol| plain_function(&text(symbol.function()))),
            stack: stack
                .into_iter()
                .flat_map(|stack| {
                    stack
                        .frames()
                        .map(|frame| plain_function(&frame.to_string()))
                })
                .collect(),
            netns: context.netns.map(|netns| netns.inode),
            netns_name: context.netns_name.map(|name| text(name.as_bytes())),
            is_initial: context.netns.is_some_and(|netns| netns.is_initial),
            device: context.device.map(|name| text(name.as_bytes())),
            input: record.input.map(|input| input.key.index),
            input_name: record
                .input
                .and_then(|input| Some(text(input.name()?.as_bytes()))),
            protocol: record.protocol.map(|protocol| protocol.0),
            is_inbound: record
                .direction()
                .map(|direction| direction == Direction::Inbound),
            link: record.link.kind.0,
            data: data.to_vec(),
            length: record.original_len,
            socket: context.socket.map(CaseSocket::from),
            mark: context.mark.unwrap_or(0),
            vlan: context.vlan,
            cgroup: context.cgroup.map(|path| text(path.as_bytes())),
        }
    }

    /// Returns the outermost IP packet.
    pub fn ip(&self) -> Option<Ip<'_>> {
        packet::ip(LinkType(self.link), &self.data)
    }

    /// Returns what is wrong with the packet, as far as its bytes were kept.
    pub fn fault(&self) -> Option<Fault> {
        let direction = self.is_inbound.map(|is_inbound| {
            if is_inbound {
                Direction::Inbound
            } else {
                Direction::Outbound
            }
        });
        let link = LinkType(self.link);
        let protocol = self.protocol.map(EtherType);
        DissectedPacket::without_record(link, protocol, &self.data, self.length, direction).fault()
    }

    /// Returns whether all bytes of the packet were kept.
    pub fn is_whole(&self) -> bool {
        self.data.len() >= self.length as usize
    }

    /// Returns the destination address of the outermost IP packet.
    pub fn destination(&self) -> Option<IpAddr> {
        self.ip()?.destination
    }

    /// Returns the source address of the outermost IP packet.
    pub fn source(&self) -> Option<IpAddr> {
        self.ip()?.source
    }

    /// Returns the name of the interface that the packet came in by, where it is certain: in its namespace, or
    /// because the packet was still at that device.
    pub fn input_interface(&self) -> Option<&str> {
        self.input_name.as_deref()
    }

    /// Returns whether the place is in this module.
    pub fn is_in_module(&self, module: &str) -> bool {
        let place = self.place.as_deref().unwrap_or_default();
        let named = place
            .strip_suffix(']')
            .and_then(|place| place.rsplit_once('['));
        named.is_some_and(|(_, name)| name == module)
    }

    /// Returns whether the drop has this reason.
    pub fn has_reason(&self, name: &str) -> bool {
        self.reason.as_deref() == Some(name)
    }

    /// Returns whether the kernel gave no reason.
    pub fn has_no_reason(&self) -> bool {
        self.reason
            .as_deref()
            .is_none_or(|name| name == "NOT_SPECIFIED")
    }

    /// Returns whether the packet was dropped in this function, whatever the compiler appended to its name.
    pub fn is_in(&self, function: &str) -> bool {
        self.function.as_deref() == Some(function)
    }

    /// Returns whether this function was on the way to the drop, or dropped the packet itself.
    pub fn went_through(&self, function: &str) -> bool {
        self.is_in(function) || self.stack.iter().any(|frame| frame == function)
    }
}

/// Returns a function's name without offset, module and what the compiler appends (`.constprop.0`, `.isra.0`).
fn plain_function(text: &str) -> String {
    let name = text.split(['+', ' ', '.']).next();
    name.unwrap_or_default().to_owned()
}
