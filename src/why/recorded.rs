//! Recorded hosts and drops for the tests of families.

use serde_json::{Map, Value, json};

use super::DropCase;
use crate::host::holder::{HeldSocket, HeldSockets, HostProcess, SocketHolders, SocketOptions};
use crate::host::inet_socket::{InetSocket, PortProtocol, PortSockets};
use crate::host::link::{NetworkLink, NetworkLinks};
use crate::host::{HostState, Question, key};

/// A host with some answers.
#[derive(Clone, Default)]
pub struct RecordedHost(Map<String, Value>);

impl RecordedHost {
    /// Adds an answer.
    pub fn answer<Q: Question>(mut self, question: &Q, answer: &Q::Answer) -> Self {
        self.0
            .insert(key(question).unwrap(), json!({ "Ok": answer }));
        self
    }

    /// Adds a socket on port 7000, which the process 42 holds.
    pub fn socket(self, protocol: PortProtocol, address: &str, options: SocketOptions) -> Self {
        let socket = InetSocket {
            address: address.parse().unwrap(),
            port: 7000,
            peer: if address.contains(':') {
                "::"
            } else {
                "0.0.0.0"
            }
            .parse()
            .unwrap(),
            peer_port: 0,
            inode: 9,
            waiting: options.accept_queue.map_or(0, |(waiting, _)| waiting),
        };
        let held = HeldSocket {
            inode: 9,
            processes: vec![HostProcess {
                pid: 42,
                name: "daemon".into(),
                state: 'S',
            }],
            options: Some(options),
        };
        let held = HeldSockets {
            sockets: vec![held],
            is_complete: true,
        };
        self.links(&[("in0", None), ("out0", None)])
            .answer(&sockets(protocol), &vec![socket])
            .answer(&SocketHolders(vec![9]), &held)
    }

    /// Adds devices with their kinds.
    pub fn links(self, links: &[(&str, Option<&str>)]) -> Self {
        let links = links
            .iter()
            .zip(2..)
            .map(|(&(name, kind), index)| NetworkLink {
                index,
                name: name.into(),
                kind: kind.map(str::to_owned),
                ..NetworkLink::default()
            });
        self.answer(&NetworkLinks, &links.collect())
    }

    /// Returns the host.
    pub fn state(self) -> HostState {
        HostState::replay(&Value::Object(self.0).to_string()).unwrap()
    }
}

/// The question for the sockets on port 7000.
pub fn sockets(protocol: PortProtocol) -> PortSockets {
    PortSockets {
        protocol,
        port: 7000,
        is_connected: false,
    }
}

/// A drop of a packet from 10.1.0.1 to port 7000 of 10.1.0.2, which came in by in0. Of TCP, with these flags.
pub fn drop_of(protocol: PortProtocol, flags: u8, reason: &str, function: &str) -> DropCase {
    let number = match protocol {
        PortProtocol::Tcp => 6,
        PortProtocol::Udp => 17,
    };
    let mut data = vec![0; 12];
    data.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, number, 0, 0]);
    data.extend([10, 1, 0, 1, 10, 1, 0, 2]);
    data.extend([0x9c, 0x40, 0x1b, 0x58, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags]);
    data.resize(54, 0);
    DropCase {
        reason: Some(reason.into()),
        function: Some(function.into()),
        device: Some("in0".into()),
        input_name: Some("in0".into()),
        protocol: Some(0x0800),
        link: 1,
        data,
        length: 54,
        ..DropCase::default()
    }
}
