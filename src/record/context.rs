//! The circumstances of a drop, which eBPF tells and the drop monitor does not: device, namespace, socket,
//! running task.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Direction, Name};

/// The circumstances of a drop; each fact is absent where it is not certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DropContext<'a> {
    /// The name of the device that the packet was at, on its way in or out.
    pub device: Option<Name<'a>>,
    /// The network namespace.
    pub netns: Option<Netns>,
    /// The name that this host has for it.
    pub netns_name: Option<Name<'a>>,
    /// The name of the task that was running, which need not have to do with the packet.
    pub running: Option<Name<'a>>,
    /// The number of its process.
    pub running_pid: Option<u32>,
    /// The path of the socket's cgroup, or where there is no socket, of the running task's.
    pub cgroup: Option<Name<'a>>,
    /// That cgroup's number.
    pub cgroup_id: Option<u64>,
    /// The container or the systemd unit that the cgroup belongs to.
    pub unit: Option<Name<'a>>,
    /// The socket that would have received the packet, or that owns it.
    pub socket: Option<DropSocket>,
    /// The mark of firewalls and routing (`skb->mark`).
    pub mark: Option<u32>,
    /// The number of the VLAN whose tag a device took off.
    pub vlan: Option<u32>,
    /// The packet's direction. Where this is absent, the input interface decides.
    pub heading: Option<Heading>,
}

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Netns {
    /// The inode that identifies it on its host.
    pub inode: u32,
    /// The host's own, in which it started.
    pub is_initial: bool,
}

impl Netns {
    /// Returns the namespace with this inode.
    pub fn new(inode: u32, is_initial: bool) -> Self {
        Self { inode, is_initial }
    }

    /// Returns the inode, unless the namespace is the initial one.
    pub fn other(self) -> Option<u32> {
        (!self.is_initial).then_some(self.inode)
    }

    const INITIAL: u64 = 1 << 32;

    pub(super) fn number(self) -> u64 {
        u64::from(self.inode) | if self.is_initial { Self::INITIAL } else { 0 }
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        Some(Self {
            inode: u32::try_from(number & !Self::INITIAL).ok()?,
            is_initial: number & Self::INITIAL != 0,
        })
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let (digits, is_initial) = match text.strip_suffix(" (initial)") {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let inode = digits.parse().ok()?;
        Some(Self { inode, is_initial })
    }
}

/// Shows `4026532345`, or `4026531840 (initial)`.
impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inode.fmt(f)?;
        f.write_str(if self.is_initial { " (initial)" } else { "" })
    }
}

/// The direction of a drop, as far as its source knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// It is certain.
    Known(Direction),
    /// Nothing decides it, not even that there is no input interface.
    Unknown,
}

impl Heading {
    const ALL: [Self; 3] = [
        Self::Unknown,
        Self::Known(Direction::Inbound),
        Self::Known(Direction::Outbound),
    ];

    /// Returns whether it is certain.
    pub fn is_known(self) -> bool {
        self != Self::Unknown
    }

    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Known(Direction::Inbound) => 1,
            Self::Known(Direction::Outbound) => 2,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|heading| heading.number() == number)
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|heading| heading.word() == text)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Known(Direction::Inbound) => "inbound",
            Self::Known(Direction::Outbound) => "outbound",
        }
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which socket of a dropped packet is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SocketRole {
    /// The one that the packet is charged to: of a packet on its way out the sender's.
    Owner = 1,
    /// The one that would have received it.
    Receiver = 2,
}

impl SocketRole {
    fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Receiver => "receiver",
        }
    }
}

/// A socket that belongs to a dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DropSocket {
    /// Which one it is.
    pub role: SocketRole,
    /// The address family (`AF_INET`).
    pub family: u8,
    /// The protocol (`IPPROTO_TCP`); 0 where it is unknown, as in `TIME_WAIT`.
    pub protocol: u16,
    /// The local port; 0 where there is none.
    pub port: u16,
    /// The port of the other end; 0 where there is none.
    pub peer_port: u16,
    /// The state (`TCP_ESTABLISHED`), which sockets of all protocols have.
    pub state: u8,
}

/// Address families (linux/socket.h), and the names of those that have sockets in sight.
const FAMILIES: [(u8, &str); 8] = [
    (1, "unix"),
    (2, "inet"),
    (10, "inet6"),
    (15, "key"),
    (16, "netlink"),
    (17, "packet"),
    (40, "vsock"),
    (44, "xdp"),
];
const INET: u8 = 2;
const INET6: u8 = 10;
/// The first number that no family has; there are 46.
const FAMILIES_END: u8 = 64;

/// Protocols (linux/in.h).
const PROTOCOLS: [(u16, &str); 9] = [
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (58, "icmp6"),
    (132, "sctp"),
    (136, "udplite"),
    (262, "mptcp"),
];

/// States (net/tcp_states.h), from 1 on.
const STATES: [&str; 13] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
    "bound_inactive",
];

impl DropSocket {
    /// Returns the socket, without ports where its family has none; `None` where it cannot be one.
    pub fn plausible(self) -> Option<Self> {
        let is_state = (1..=STATES.len()).contains(&self.state.into());
        if !is_state || !(1..FAMILIES_END).contains(&self.family) {
            return None;
        }
        if !matches!(self.family, INET | INET6) {
            let protocol = 0;
            return Some(Self { protocol, ..self }.without_ports());
        }
        Some(self)
    }

    /// Returns the socket without ports.
    #[must_use]
    pub fn without_ports(self) -> Self {
        Self {
            port: 0,
            peer_port: 0,
            ..self
        }
    }

    fn family_name(self) -> Option<&'static str> {
        let mut families = FAMILIES.iter();
        families.find_map(|&(number, name)| (number == self.family).then_some(name))
    }

    fn protocol_name(self) -> Option<&'static str> {
        let mut protocols = PROTOCOLS.iter();
        protocols.find_map(|&(number, name)| (number == self.protocol).then_some(name))
    }

    fn state_name(self) -> Option<&'static str> {
        STATES.get(usize::from(self.state).checked_sub(1)?).copied()
    }

    /// All in one: 16 bits each for the ports and the protocol, 8 for the state, 6 for the family, 2 for the
    /// role.
    pub(super) fn number(self) -> u64 {
        let ports = u64::from(self.port) | u64::from(self.peer_port) << 16;
        let kind = u64::from(self.protocol) | u64::from(self.state) << 16;
        let family = u64::from(self.family % FAMILIES_END) | (self.role as u64) << 6;
        ports | kind << 32 | family << 56
    }

    pub(super) fn from_number(number: u64) -> Option<Self> {
        let half = |shift: u32| (number >> shift & 0xffff) as u16;
        let byte = |shift: u32| (number >> shift & 0xff) as u8;
        let last = byte(56);
        Some(Self {
            role: match last >> 6 {
                1 => SocketRole::Owner,
                2 => SocketRole::Receiver,
                _ => return None,
            },
            family: last % FAMILIES_END,
            protocol: half(32),
            port: half(0),
            peer_port: half(16),
            state: byte(48),
        })
    }

    /// Parses what `Display` writes.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ').peekable();
        let role = match words.next()? {
            "owner" => SocketRole::Owner,
            "receiver" => SocketRole::Receiver,
            _ => return None,
        };
        let family = number_of(&FAMILIES, "family", words.next()?)?;
        let protocol = words
            .peek()
            .and_then(|word| number_of(&PROTOCOLS, "protocol", word));
        if protocol.is_some() {
            words.next();
        }
        let mut port = || {
            let port = words.peek()?.parse::<u16>().ok()?;
            words.next();
            Some(port)
        };
        let local = port();
        let (state, peer) = match words.next()? {
            ">" => (None, Some(words.next()?.parse::<u16>().ok()?)),
            state => (Some(state), None),
        };
        let state = state.or_else(|| words.next())?;
        let named = STATES.iter().position(|name| *name == state);
        let state = match named {
            Some(at) => u8::try_from(at + 1).ok()?,
            None => state.strip_prefix("state")?.parse().ok()?,
        };
        let socket = Self {
            role,
            family,
            protocol: protocol.unwrap_or(0),
            port: local.unwrap_or(0),
            peer_port: peer.unwrap_or(0),
            state,
        };
        // Nothing but what this program would have written.
        (socket.to_string() == text).then_some(socket)
    }
}

/// Returns the number of a name, or that behind `prefix`.
fn number_of<N: Copy + std::str::FromStr>(
    names: &[(N, &str)],
    prefix: &str,
    word: &str,
) -> Option<N> {
    let mut known = names.iter();
    let known = known.find_map(|&(number, name)| (name == word).then_some(number));
    known.or_else(|| word.strip_prefix(prefix)?.parse().ok())
}

/// Shows `owner inet udp 40000 > 53 established`: the role, the family, the protocol, the local port, that of
/// the other end and the state; without what is unknown.
impl fmt::Display for DropSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.word())?;
        match self.family_name() {
            Some(name) => write!(f, " {name}")?,
            None => write!(f, " family{}", self.family)?,
        }
        match self.protocol_name() {
            Some(name) => write!(f, " {name}")?,
            None if self.protocol == 0 => {}
            None => write!(f, " protocol{}", self.protocol)?,
        }
        match (self.port, self.peer_port) {
            (0, 0) => {}
            (port, 0) => write!(f, " {port}")?,
            (port, peer) => write!(f, " {port} > {peer}")?,
        }
        match self.state_name() {
            Some(name) => write!(f, " {name}"),
            None => write!(f, " state{}", self.state),
        }
    }
}

/// An object with the parts that `Display` shows.
impl Serialize for DropSocket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;

        let or_number = |name: Option<&str>, prefix, number| {
            name.map_or_else(|| format!("{prefix}{number}"), str::to_owned)
        };
        let family = or_number(self.family_name(), "family", self.family.into());
        let protocol = or_number(self.protocol_name(), "protocol", self.protocol);
        let state = or_number(self.state_name(), "state", self.state.into());
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("role", self.role.word())?;
        fields.serialize_entry("family", &family)?;
        if self.protocol != 0 {
            fields.serialize_entry("protocol", &protocol)?;
        }
        for (name, port) in [("port", self.port), ("peer_port", self.peer_port)] {
            if port != 0 {
                fields.serialize_entry(name, &port)?;
            }
        }
        fields.serialize_entry("state", &state)?;
        fields.end()
    }
}

/// The part of the JSON schema that describes a socket.
pub(super) const SOCKET_SCHEMA: &str = r#""type": "object", "required": ["role", "family", "state"], "additionalProperties": false, "properties": { "role": { "enum": ["owner", "receiver"] }, "family": { "type": "string" }, "protocol": { "type": "string" }, "port": { "type": "integer", "minimum": 1, "maximum": 65535 }, "peer_port": { "type": "integer", "minimum": 1, "maximum": 65535 }, "state": { "type": "string" } }"#;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DNS: DropSocket = DropSocket {
        role: SocketRole::Owner,
        family: INET,
        protocol: 17,
        port: 40000,
        peer_port: 53,
        state: 1,
    };

    #[test]
    fn a_socket_is_said_in_a_line() {
        #[track_caller]
        fn check(socket: DropSocket, text: &str) {
            assert_eq!(socket.to_string(), text);
            assert_eq!(DropSocket::read(text), Some(socket));
        }
        check(DNS, "owner inet udp 40000 > 53 established");
        let listener = DropSocket {
            role: SocketRole::Receiver,
            family: INET6,
            protocol: 6,
            port: 22,
            peer_port: 0,
            state: 10,
        };
        check(listener, "receiver inet6 tcp 22 listen");
        let raw = DropSocket {
            protocol: 255,
            ..DNS.without_ports()
        };
        check(raw, "owner inet protocol255 established");
        let packet = DropSocket { family: 17, ..DNS };
        let packet = packet.plausible().unwrap();
        check(packet, "owner packet established");
        for text in [
            "owner inet",
            "owner inet udp 07 established",
            "owner inet udp 0 > 0 established",
            "owner inet udp established ",
            "sender inet udp established",
            "owner inet protocol17 established",
        ] {
            assert_eq!(DropSocket::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_socket_is_none() {
        assert_eq!(DNS.plausible(), Some(DNS));
        assert_eq!(DropSocket { state: 0, ..DNS }.plausible(), None);
        assert_eq!(DropSocket { state: 14, ..DNS }.plausible(), None);
        assert_eq!(DropSocket { family: 0, ..DNS }.plausible(), None);
        assert_eq!(DropSocket { family: 200, ..DNS }.plausible(), None);
    }

    #[test]
    fn a_namespace_says_if_it_is_the_initial_one() {
        for (inode, is_initial, text) in [
            (4_026_531_840, true, "4026531840 (initial)"),
            (4_026_532_345, false, "4026532345"),
        ] {
            let netns = Netns::new(inode, is_initial);
            assert_eq!(netns.to_string(), text);
            assert_eq!(Netns::read(text), Some(netns));
            assert_eq!(Netns::from_number(netns.number()), Some(netns));
            assert_eq!(netns.other().is_some(), !is_initial);
        }
    }

    proptest! {
        #[test]
        fn every_socket_comes_back_from_its_number_and_its_text(number: u64) {
            if let Some(socket) = DropSocket::from_number(number) {
                prop_assert_eq!(socket.number(), number);
                prop_assert_eq!(DropSocket::read(&socket.to_string()), Some(socket));
            }
        }

        #[test]
        fn no_text_panics_the_reader(text in "(owner|receiver)? ?(inet|family[0-9]*)? ?[a-z0-9> ]*") {
            let _ = DropSocket::read(&text);
        }
    }
}
