//! The sockets that a packet of TCP or UDP could go to, and the reasons for which the kernel passes them over.

use std::net::IpAddr;

use super::DropCase;
use crate::host::HostState;
use crate::host::holder::{HeldSocket, HostProcess, SocketHolders, SocketOptions};
use crate::host::inet_socket::{InetSocket, PortProtocol, PortSockets};
use crate::host::link::NetworkLinks;
use crate::host::sysctl::Sysctl;
use crate::packet::ip::number;

/// The most sockets whose processes are looked for.
const MAX_HELD: usize = 16;
/// The offset of the flags in a TCP header, and two of them (RFC 9293, 3.1).
const FLAGS: usize = 13;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The end to end part of a packet.
#[derive(Clone, Copy, Debug)]
pub struct EndPoints {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The address and port that it came from.
    pub source: (IpAddr, u16),
    /// The address and port that it went to.
    pub destination: (IpAddr, u16),
    /// It asks for a new connection; of UDP never.
    pub is_first: bool,
}

impl EndPoints {
    /// Returns those of the packet, if it has any.
    pub fn of(case: &DropCase) -> Option<Self> {
        let ip = case.ip()?;
        let (Some(source_port), Some(port)) = ip.ports() else {
            return None;
        };
        let protocol = match ip.protocol? {
            number::TCP => PortProtocol::Tcp,
            number::UDP => PortProtocol::Udp,
            _ => return None,
        };
        let flags = ip.payload.get(FLAGS).copied().unwrap_or(0);
        Some(Self {
            protocol,
            source: (ip.source?, source_port),
            destination: (ip.destination?, port),
            is_first: protocol == PortProtocol::Tcp && flags & (SYN | ACK) == SYN,
        })
    }

    /// Returns the sockets with the port: of TCP those that listen.
    pub fn question(&self) -> PortSockets {
        PortSockets {
            protocol: self.protocol,
            port: self.destination.1,
            is_connected: false,
        }
    }

    /// Returns the file with the sockets of this kind.
    pub fn file(&self) -> &'static str {
        self.protocol.file(self.destination.0.is_ipv6())
    }
}

/// A socket, with what is known of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The socket.
    pub socket: InetSocket,
    /// Who holds it, and its options.
    pub held: Option<HeldSocket>,
    /// The reasons for which the packet is not for it.
    pub mismatches: Vec<Mismatch>,
    /// Something that decides could not be seen.
    pub is_uncertain: bool,
}

/// A reason for which a packet is not for a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is for IPv6 alone.
    Ipv6Alone,
    /// It is for IPv4 alone.
    Ipv4Alone,
    /// It is bound to this other address.
    Address(IpAddr),
    /// It is connected to somebody else.
    Peer,
    /// It is bound to this other device.
    Device(String),
    /// The packet came in by this VRF, and the socket belongs to none.
    Vrf(String),
}

impl Mismatch {
    /// Returns the words for it, after "which is".
    pub fn text(&self) -> String {
        match self {
            Self::Ipv6Alone => "for IPv6 alone".into(),
            Self::Ipv4Alone => "for IPv4 alone".into(),
            Self::Address(address) => format!("bound to the address {address} alone"),
            Self::Peer => "connected to another peer".into(),
            Self::Device(device) => format!("bound to the device {device}"),
            Self::Vrf(vrf) => format!("not bound to the VRF {vrf}"),
        }
    }
}

impl Candidate {
    /// Names the socket, with the first process that holds it.
    pub fn name(&self, protocol: PortProtocol) -> String {
        let socket = &self.socket;
        let device = self.device().map(|device| format!(" on {device}"));
        let peer = (socket.peer_port != 0)
            .then(|| format!(" connected to {}", with_port(socket.peer, socket.peer_port)));
        let process = self
            .process()
            .map(|process| format!(" of {}", process_name(process)));
        let parts = [device, peer, process].map(Option::unwrap_or_default);
        format!(
            "{} socket {}{}",
            protocol.name(),
            self.address(),
            parts.concat()
        )
    }

    /// Returns its address and port.
    pub fn address(&self) -> String {
        with_port(self.socket.address, self.socket.port)
    }

    /// Returns its options, where they could be seen.
    pub fn options(&self) -> Option<&SocketOptions> {
        self.held.as_ref()?.options.as_ref()
    }

    /// Returns the first process that holds it.
    pub fn process(&self) -> Option<&HostProcess> {
        self.held.as_ref()?.processes.first()
    }

    /// Returns the device that it is bound to.
    fn device(&self) -> Option<&str> {
        let device = self.options()?.device.as_str();
        (!device.is_empty()).then_some(device)
    }

    /// Returns the words for the mismatches.
    pub fn differences(&self) -> String {
        let texts: Vec<_> = self.mismatches.iter().map(Mismatch::text).collect();
        texts.join(", ")
    }
}

/// Names a process.
pub fn process_name(process: &HostProcess) -> String {
    format!("{} (PID {})", process.name, process.pid)
}

/// Writes an address with a port.
pub fn with_port(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// Returns the sockets with the packet's port, the best first; `None` where they could not be seen.
pub fn candidates(
    case: &DropCase,
    packet: &EndPoints,
    question: PortSockets,
    host: &HostState,
) -> Option<Vec<Candidate>> {
    let sockets = host.ask(&question).ok()?;
    let inodes: Vec<_> = sockets.iter().map(|socket| socket.inode).collect();
    let held = match inodes.as_slice() {
        [] => Vec::new(),
        inodes if inodes.len() > MAX_HELD => Vec::new(),
        inodes => host
            .ask(&SocketHolders(inodes.to_vec()))
            .map(|found| found.sockets)
            .unwrap_or_default(),
    };
    let way = InputWay::of(case, packet, host);
    let candidate = |socket: InetSocket| {
        let held = held.iter().find(|held| held.inode == socket.inode).cloned();
        let mut candidate = Candidate {
            socket,
            held,
            mismatches: Vec::new(),
            is_uncertain: false,
        };
        compare(&mut candidate, packet, &way);
        candidate
    };
    let mut candidates: Vec<_> = sockets.into_iter().map(candidate).collect();
    candidates.sort_by_key(|candidate| candidate.mismatches.len());
    Some(candidates)
}

/// The devices by which a packet came to the sockets.
struct InputWay {
    /// The names that a socket for it may be bound to; `None` where the input interface is not known.
    devices: Option<Vec<String>>,
    /// The VRF.
    vrf: Option<String>,
    /// Sockets outside a VRF take its packets (`udp_l3mdev_accept`, `tcp_l3mdev_accept`).
    accepts_vrf: bool,
}

impl InputWay {
    fn of(case: &DropCase, packet: &EndPoints, host: &HostState) -> Self {
        let mut names: Vec<String> = Vec::new();
        names.extend(case.input_interface().map(str::to_owned));
        // At the sockets, the packet's device is a VRF or the input interface.
        names.extend(case.device.clone());
        let mut vrf = None;
        let links = host.ask(&NetworkLinks).unwrap_or_default();
        let is_vrf = |kind: Option<&str>| kind == Some("vrf");
        for link in links.iter().filter(|link| names.contains(&link.name)) {
            if is_vrf(link.kind.as_deref()) {
                vrf = Some(link.name.clone());
            }
            let master = links.iter().find(|other| Some(other.index) == link.master);
            if let Some(master) = master.filter(|master| is_vrf(master.kind.as_deref())) {
                vrf = Some(master.name.clone());
            }
        }
        let is_known = !names.is_empty();
        names.extend(vrf.clone());
        let accepts_vrf =
            vrf.is_some() && host.ask(&accepting(packet.protocol)).as_deref() != Ok("0");
        Self {
            devices: is_known.then_some(names),
            vrf,
            accepts_vrf,
        }
    }
}

/// Returns the sysctl that has sockets outside of VRFs take packets that came in by one.
pub fn accepting(protocol: PortProtocol) -> Sysctl {
    let name = match protocol {
        PortProtocol::Tcp => "tcp_l3mdev_accept",
        PortProtocol::Udp => "udp_l3mdev_accept",
    };
    Sysctl::new(["net", "ipv4", name])
}

/// Compares as `compute_score` does (net/ipv4/udp.c, net/ipv6/udp.c, net/ipv4/inet_hashtables.c).
fn compare(candidate: &mut Candidate, packet: &EndPoints, way: &InputWay) {
    let socket = &candidate.socket;
    let options = candidate.options().cloned();
    let mut mismatches = Vec::new();
    let source = packet.source;
    let is_mapped = socket.address.to_canonical().is_ipv4();
    let is_any = socket.address.is_unspecified();
    match (packet.destination.0.is_ipv4(), socket.address.is_ipv4()) {
        // The socket of IPv6 takes IPv4 as well, unless it was told not to.
        (true, false) if is_any => match &options {
            Some(options) if options.is_ipv6_only => mismatches.push(Mismatch::Ipv6Alone),
            Some(_) => {}
            None => candidate.is_uncertain = true,
        },
        (true, false) if !is_mapped => mismatches.push(Mismatch::Ipv6Alone),
        (false, true) => mismatches.push(Mismatch::Ipv4Alone),
        _ => {}
    }
    let address = socket.address.to_canonical();
    if !is_any && address != packet.destination.0 {
        mismatches.push(Mismatch::Address(address));
    }
    let peer = socket.peer.to_canonical();
    if socket.peer_port != 0 && (peer, socket.peer_port) != source {
        mismatches.push(Mismatch::Peer);
    }
    match (&options, &way.devices) {
        (Some(options), Some(devices)) if !options.device.is_empty() => {
            if !devices.contains(&options.device) {
                mismatches.push(Mismatch::Device(options.device.clone()));
            }
        }
        (Some(options), _) if options.device.is_empty() => {
            if let Some(vrf) = way.vrf.as_ref().filter(|_| !way.accepts_vrf) {
                mismatches.push(Mismatch::Vrf(vrf.clone()));
            }
        }
        _ => candidate.is_uncertain = true,
    }
    candidate.mismatches = mismatches;
}
