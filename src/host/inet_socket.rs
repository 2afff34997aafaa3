//! The sockets of TCP and UDP.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Question, Unseen, of_thread};

/// The most bytes of a file that are read.
const MAX_FILE: u64 = 32 << 20;
/// The most sockets of an answer.
const MAX_SOCKETS: usize = 256;
/// The state of a socket of TCP that listens (`TCP_LISTEN`).
const LISTEN: u8 = 10;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The sockets whose local port is this one: of UDP all, of TCP those that listen, or those that are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSockets {
    /// The protocol.
    pub protocol: PortProtocol,
    /// The port.
    pub port: u16,
    /// Those that are connected, of TCP.
    pub is_connected: bool,
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InetSocket {
    /// The address that it is bound to. That of a socket of IPv6 is one of IPv6.
    pub address: IpAddr,
    /// The port that it is bound to.
    pub port: u16,
    /// The address that it is connected to, which is unspecified for none.
    pub peer: IpAddr,
    /// The port that it is connected to, or 0.
    pub peer_port: u16,
    /// The number that a file descriptor shows it by.
    pub inode: u64,
    /// Of one of TCP that listens: connections that wait for accept(2). Of others: bytes that wait to be read.
    pub waiting: u32,
}

impl PortProtocol {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// Returns the file with its sockets of IPv4 or IPv6.
    pub fn file(self, is_ipv6: bool) -> &'static str {
        match (self, is_ipv6) {
            (Self::Tcp, false) => "/proc/net/tcp",
            (Self::Tcp, true) => "/proc/net/tcp6",
            (Self::Udp, false) => "/proc/net/udp",
            (Self::Udp, true) => "/proc/net/udp6",
        }
    }
}

impl Question for PortSockets {
    const NAME: &'static str = "sockets of port";
    type Answer = Vec<InetSocket>;

    // The files are there without sock_diag(7), whose modules asking would load. What they do not have, a
    // socket's options, is in the answer to `SocketHolders`.
    fn look(&self) -> Result<Vec<InetSocket>, Unseen> {
        let mut found = Vec::new();
        for is_ipv6 in [false, true] {
            match File::open(of_thread(self.protocol.file(is_ipv6))) {
                Ok(file) => self.read(BufReader::new(file.take(MAX_FILE)), &mut found)?,
                // Without IPv6.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

impl PortSockets {
    fn read(self, file: impl BufRead, found: &mut Vec<InetSocket>) -> Result<(), Unseen> {
        for line in file.split(b'\n').skip(1) {
            let line = line?;
            let Some((socket, state)) = socket(&String::from_utf8_lossy(&line)) else {
                continue;
            };
            let listens = state == LISTEN;
            if self.protocol == PortProtocol::Tcp && listens == self.is_connected {
                if listens {
                    continue;
                }
                // Those that listen are the first (`tcp_seq_start`, net/ipv4/tcp_ipv4.c).
                return Ok(());
            }
            if socket.port == self.port {
                if found.len() == MAX_SOCKETS {
                    return Err(Unseen::Failed("too many sockets have this port".into()));
                }
                found.push(socket);
            }
        }
        Ok(())
    }
}

/// Parses a line of `/proc/net/tcp`, `tcp6`, `udp` or `udp6` (proc_pid_net(5)); returns the state as well.
fn socket(line: &str) -> Option<(InetSocket, u8)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (address, port) = end_point(words.get(1)?)?;
    let (peer, peer_port) = end_point(words.get(2)?)?;
    let state = u8::from_str_radix(words.get(3)?, 16).ok()?;
    let (_, waiting) = words.get(4)?.split_once(':')?;
    let socket = InetSocket {
        address,
        port,
        peer,
        peer_port,
        inode: words.get(9)?.parse().ok()?,
        waiting: u32::from_str_radix(waiting, 16).ok()?,
    };
    Some((socket, state))
}

/// Parses `0100007F:1B58`: an address as numbers of 32 bits, which are written in the byte order of this machine.
fn end_point(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let address = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(8 * at)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(question: PortSockets, text: &str) -> Vec<InetSocket> {
        let mut found = Vec::new();
        question.read(text.as_bytes(), &mut found).unwrap();
        found
    }

    #[test]
    fn sockets_are_those_of_the_port() {
        let loopback = u32::from_ne_bytes([127, 0, 0, 1]);
        let row = |local: &str, state: &str, inode: u64| {
            format!(
                "  1: {local} 00000000:0000 {state} 00000000:00000A00 00:00000000 00000000 0 0 {inode} 2 0 0\n"
            )
        };
        let own = format!("{loopback:08X}:1B58");
        let text = format!(
            "head\n{}{}",
            row(&own, "07", 12),
            row("00000000:1B59", "07", 13)
        );
        let udp = PortSockets {
            protocol: PortProtocol::Udp,
            port: 7000,
            is_connected: false,
        };
        let [found] = read(udp, &text).try_into().unwrap();
        assert_eq!(found.address, IpAddr::from([127, 0, 0, 1]));
        assert_eq!((found.port, found.inode, found.waiting), (7000, 12, 2560));

        let text = format!("head\n{}{}", row(&own, "0A", 14), row(&own, "01", 15));
        let tcp = |is_connected| PortSockets {
            protocol: PortProtocol::Tcp,
            port: 7000,
            is_connected,
        };
        let inodes = |question| -> Vec<_> {
            let found = read(question, &text);
            found.iter().map(|socket| socket.inode).collect()
        };
        assert_eq!(inodes(tcp(false)), [14]);
        assert_eq!(inodes(tcp(true)), [15]);
    }

    #[test]
    fn addresses_of_ipv6_have_four_numbers() {
        let number = u32::from_ne_bytes([0, 0, 0, 1]);
        let text = format!("000000000000000000000000{number:08X}:0035");
        assert_eq!(end_point(&text), Some(("::1".parse().unwrap(), 53)));
        for text in ["", ":", "1:1", "0000000g:1", "00000000:10000", "é0000000:1"] {
            assert_eq!(end_point(text), None);
        }
    }
}
