//! TCP, UDP and what etherparse slices beside them.

use std::fmt;
use std::net::IpAddr;

use etherparse::{TcpSlice, TransportSlice, UdpSlice};

use super::{icmp, tunnel};

/// A packet from `source` to `destination` whose IP header says that it carries `carried` bytes.
pub fn write(
    f: &mut fmt::Formatter<'_>,
    source: IpAddr,
    destination: IpAddr,
    transport: &TransportSlice<'_>,
    carried: usize,
    depth: u8,
) -> fmt::Result {
    match transport {
        TransportSlice::Udp(udp) => {
            let (from, to) = (udp.source_port(), udp.destination_port());
            write!(f, "{source}.{from} > {destination}.{to}: ")?;
            write_udp(f, udp, depth)
        }
        TransportSlice::Tcp(tcp) => {
            let (from, to) = (tcp.source_port(), tcp.destination_port());
            write!(f, "{source}.{from} > {destination}.{to}: ")?;
            write_tcp(f, tcp, carried)
        }
        TransportSlice::Icmpv4(message) => {
            write!(f, "{source} > {destination}: ICMP ")?;
            icmp::write_v4(f, message, depth)?;
            write!(f, ", length {carried}")
        }
        TransportSlice::Icmpv6(message) => {
            write!(f, "{source} > {destination}: ICMP6, ")?;
            icmp::write_v6(f, message, depth)?;
            write!(f, ", length {carried}")
        }
        TransportSlice::Igmp(_) => write!(f, "{source} > {destination}: IGMP, length {carried}"),
    }
}

/// The length is the payload's, by the header's word, as tcpdump shows it.
fn write_udp(f: &mut fmt::Formatter<'_>, udp: &UdpSlice<'_>, depth: u8) -> fmt::Result {
    let length = udp.length().saturating_sub(8);
    if tunnel::write_udp_payload(f, udp.destination_port(), udp.payload(), depth)? {
        return Ok(());
    }
    write!(f, "UDP, length {length}")
}

/// `Flags [S], seq 1, win 64240, length 0`: the letters are tcpdump's.
fn write_tcp(f: &mut fmt::Formatter<'_>, tcp: &TcpSlice<'_>, carried: usize) -> fmt::Result {
    let flags = [
        (tcp.fin(), 'F'),
        (tcp.syn(), 'S'),
        (tcp.rst(), 'R'),
        (tcp.psh(), 'P'),
        (tcp.ack(), '.'),
        (tcp.urg(), 'U'),
        (tcp.ece(), 'E'),
        (tcp.cwr(), 'W'),
    ];
    f.write_str("Flags [")?;
    if flags.iter().all(|(is_set, _)| !is_set) {
        f.write_str("none")?;
    }
    for (_, letter) in flags.iter().filter(|(is_set, _)| *is_set) {
        write!(f, "{letter}")?;
    }
    let length = carried.saturating_sub(usize::from(tcp.data_offset()) * 4);
    write!(f, "], seq {}", tcp.sequence_number())?;
    if tcp.ack() {
        write!(f, ", ack {}", tcp.acknowledgment_number())?;
    }
    write!(f, ", win {}, length {length}", tcp.window_size())
}
